"use strict";

// Copy buttons: what stands in the element that data-copy names.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = button.dataset.copied;
  } catch {
    // No clipboard without https: select it, for the person to copy.
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = button.dataset.selected;
  }
});

// A model without a price says so while it is being filled in.
document.addEventListener("input", (event) => {
  const notice = document.querySelector("[data-price-missing]");
  if (!notice || !event.target.closest("form")) return;
  const empty = (name) => !(document.querySelector(`[name="${name}"]`)?.value ?? "").trim();
  notice.hidden = !(empty("price_input") && empty("price_request"));
});

// A field that hides the rows of a table that do not hold its text.
document.addEventListener("input", (event) => {
  const table = document.getElementById(event.target.dataset?.filter ?? "");
  if (!table) return;
  const wanted = event.target.value.trim().toLowerCase();
  for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
});

// An icon is a word in a font of signs: a screen reader would read "deployed_code Models".
document.addEventListener("DOMContentLoaded", () => {
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) icon.setAttribute("aria-hidden", "true");
});

// What ends at a known time: how long it still is, second by second.
const left = (until) => {
  let seconds = Math.max(0, Math.round((new Date(until) - Date.now()) / 1000));
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const place = Math.max(0, units.findIndex(([size]) => seconds >= size || size === 1));
  return units.slice(place, place + 2).map(([size, name]) => {
    const number = Math.floor(seconds / size);
    seconds -= number * size;
    return number || size === units[place][0] ? `${number}\u00a0${name}` : "";
  }).filter(Boolean).join("\u00a0");
};
setInterval(() => {
  for (const each of document.querySelectorAll("[data-until]")) each.textContent = left(each.dataset.until);
}, 1000);
