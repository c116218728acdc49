"""The cost of a record in words: computed again by the ledger's own `usage.pricing` from the price snapshot
and the token counts, and held against what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _, ngettext

from usage.auditing import price_of
from usage.forms import plain
from usage.models import Attempt, PriceSnapshot, Record, UsageSource
from usage.pages import whole
from usage.pico import EXACT, clamped_pico, from_pico, to_pico
from usage.pricing import ONE, Part, Price
from wire.types import Usage


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the arithmetic: what is multiplied, and what that gives."""

    text: str
    amount: str


@dataclass(slots=True)
class Bill:
    """The list cost, line by line. `agrees` tells whether the lines give what is stored, None where there is
    nothing to compute; `notes` say what else to know."""

    steps: list[Step] = field(default_factory=list)
    sum: str = ""
    stored: str = ""
    agrees: bool | None = None
    notes: list[str] = field(default_factory=list)
    own: list[Step] = field(default_factory=list)
    own_sum: str = ""
    own_agrees: bool | None = None


def usage_of(record: Record) -> Usage:
    """The token counts that a record was billed by. Its snapshot has the service tier's factor already."""
    for_an_hour = record.cache_creation_1h_tokens
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cache_read_tokens=record.cached_tokens,
        cache_write_5m_tokens=record.cache_creation_tokens - for_an_hour,
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=record.reasoning_tokens,
        tool_uses=record.tool_uses or {},
    )


def bill(record: Record, snapshot: PriceSnapshot | None, attempts: Sequence[Attempt]) -> Bill:
    """How the costs of a record come about."""
    made = Bill(notes=_notes(record, snapshot))
    unrounded: Decimal | None = None
    if snapshot is not None and record.list_cost is not None:
        parts = _parts(price_of(snapshot), usage_of(record), record)
        unrounded = from_parts(parts)
        made.steps = [_step(part, snapshot) for part in parts]
        made.sum = _dollars(from_pico(clamped_pico(unrounded)))
        made.stored = _dollars(record.list_cost)
        made.agrees = clamped_pico(unrounded) == to_pico(record.list_cost)
    _add_own(made, record, attempts, unrounded)
    return made


def from_parts(parts: Sequence[Part]) -> Decimal:
    """The sum of the parts, unrounded."""
    total = Decimal(0)
    for part in parts:
        total = EXACT.add(total, part.amount)
    return total


def _parts(price: Price, usage: Usage, record: Record) -> list[Part]:
    """The parts of the list cost. How often the price per request was charged no column tells: as often as
    the rest of the stored cost says."""
    if not price.request or record.list_cost is None:
        return price.parts(usage, delivered=False)
    rest = to_pico(record.list_cost) - clamped_pico(price.cost(usage, delivered=False))
    times = max(0, (rest + price.request // 2) // price.request)
    return price.parts(usage, delivered=times > 0, requests=times)


def _step(part: Part, snapshot: PriceSnapshot) -> Step:
    rate, count = _dollars(from_pico(abs(part.rate))), whole(part.number)
    if part.name.startswith("fee "):
        text = ngettext(
            "%(count)s use of %(tool)s at %(rate)s", "%(count)s uses of %(tool)s at %(rate)s", part.number
        )
        text %= {"count": count, "tool": part.name.removeprefix("fee "), "rate": rate}
    elif part.name == "request":
        text = ngettext("%(count)s request at %(rate)s", "%(count)s requests at %(rate)s", part.number)
        text %= {"count": count, "rate": rate}
    else:
        text = _TOKENS["less" if part.rate < 0 else part.name]() % {"count": count, "rate": rate}
        factor = to_pico(snapshot.tier_factor)
        if factor != ONE:
            text = _("%(text)s, times %(factor)s for the service tier") % {
                "text": text, "factor": plain(snapshot.tier_factor)
            }  # fmt: skip
    return Step(text, _dollars(part.amount))


_TOKENS = {
    "input": lambda: _("%(count)s input tokens at %(rate)s a million"),
    "cache_read": lambda: _("%(count)s tokens read from the cache at %(rate)s a million"),
    "cache_write_5m": lambda: _("%(count)s tokens written to the cache for 5 minutes at %(rate)s a million"),
    "cache_write_1h": lambda: _("%(count)s tokens written to the cache for an hour at %(rate)s a million"),
    "output": lambda: _("%(count)s output tokens at %(rate)s a million"),
    "reasoning": lambda: _("%(count)s of these for reasoning, at %(rate)s a million more"),
    "less": lambda: _("%(count)s of these for reasoning, at %(rate)s a million less"),
}


def _notes(record: Record, snapshot: PriceSnapshot | None) -> list[str]:
    notes = []
    if record.unpriced:
        notes.append(
            _("No price was known when this was asked for, so that it counts as nothing in every sum of list"
              " costs. A price that is set now holds for later requests.")
        )  # fmt: skip
    elif snapshot is None:
        notes.append(_("Nothing was used that has a price: the consumer pays nothing."))
    elif snapshot.tier:
        notes.append(
            _("The price of the tier “%(tier)s”, chosen by the whole input of %(count)s tokens, cache too.")
            % {"tier": snapshot.tier, "count": whole(record.input_tokens)}
        )
    if snapshot is not None and snapshot.defaulted:
        names = ", ".join(name.replace("_", " ") for name in snapshot.defaulted)
        notes.append(_("The price list did not name these, they follow from the input price: %s.") % names)
    if record.estimated and record.usage_source == UsageSource.ESTIMATED:
        notes.append(
            _("Estimated: not all counts came with a proper end of the answer. What was missing was counted"
              " by us, from the text that went through.")
        )  # fmt: skip
    elif record.estimated:
        notes.append(_("Estimated: the counts are upstream's, but not all that the price needs was told."))
    if record.suspect:
        notes.append(
            _("Suspect: upstream reported a number that cannot be, such as more cached tokens than input. It"
              " was cut, or counts as not reported.")
        )  # fmt: skip
    if record.amendments:
        notes.append(_("Corrected after the end, by usage that came late."))
    return notes


def _add_own(made: Bill, record: Record, attempts: Sequence[Attempt], unrounded: Decimal | None) -> None:
    """What each attempt cost us: its list cost times the key's multiplier, from the unrounded cost where
    that is known."""
    total = 0
    for attempt in attempts:
        own = to_pico(attempt.own_cost)
        total += own
        made.own.append(Step(_own(attempt, own, record, unrounded), _dollars(attempt.own_cost)))
    made.own_sum = _dollars(record.own_cost)
    made.own_agrees = total == to_pico(record.own_cost)


def _own(attempt: Attempt, own: int, record: Record, unrounded: Decimal | None) -> str:
    values: dict[str, Any] = {
        "number": attempt.number,
        "list": "" if attempt.list_cost is None else _dollars(attempt.list_cost),
        "factor": plain(attempt.cost_multiplier),
    }
    if attempt.list_cost is None:
        return _("attempt %(number)d: no price was known") % values
    if not own and attempt.list_cost and attempt.cost_multiplier:
        return _("attempt %(number)d: list cost %(list)s, but this provider is set to cost nothing") % values
    candidates = [attempt.list_cost]
    if unrounded is not None and attempt.list_cost == record.list_cost:
        candidates.append(unrounded)
    if not any(clamped_pico(EXACT.multiply(each, attempt.cost_multiplier)) == own for each in candidates):
        return (
            _("attempt %(number)d: unrounded list cost, about %(list)s, times the key's %(factor)s") % values
        )
    return _("attempt %(number)d: list cost %(list)s times the key's %(factor)s") % values


def _dollars(amount: Decimal) -> str:
    return f"-${plain(-amount)}" if amount < 0 else f"${plain(amount)}"
