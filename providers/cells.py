"""What the cells of the supply side's pages show, and what is said after saving."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _, gettext_lazy

from providers.dialer import Forbidden, check_host
from providers.events import Condition
from providers.formats import Format
from providers.machine import MachineState
from providers.models import Endpoint, Key, Model
from providers.priced import Priced
from providers.states import out, standing
from usage import words
from usage.pages import badge, money

FORMAT_NAMES = dict(Format.choices)
LIMIT_REASONS = {
    "throttled": gettext_lazy("throttled"),
    "overloaded": gettext_lazy("overloaded"),
    "full use": gettext_lazy("in full use without a throttle"),
}
"""Why a learned limit changed, in people's words."""


def formats_named(formats: list[str]) -> str:
    return ", ".join(FORMAT_NAMES.get(each, each) for each in formats) if formats else _("all")


OPENED = "breaker open: "
TURNS = {
    "answers again": gettext_lazy("answers again"),
    "may be asked again": gettext_lazy("may be asked again"),
    "breaker half open: a probe": gettext_lazy("breaker half open: a probe"),
}
"""Why a state changed, where no failure did it, as `relay.health` tells it."""
TONES = {
    Condition.PARKED: "info",
    Condition.REFUSED: "bad",
    Condition.COOLING: "warn",
    Condition.OPEN: "bad",
    Condition.HALF_OPEN: "warn",
    Condition.READY: "good",
}


def left(until: datetime) -> str:
    """How long it is until then, as people say it."""
    seconds = max(0, round((until - timezone.now()).total_seconds()))
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    for place, (size, name) in enumerate(units):
        if seconds >= size or size == 1:
            told = [f"{seconds // size}\u00a0{name}"]
            if size > 1 and (rest := seconds % size // units[place + 1][0]):
                told.append(f"{rest}\u00a0{units[place + 1][1]}")
            return "\u00a0".join(told)
    return ""


def countdown(until: datetime) -> SafeString:
    """How long it is until then; the browser goes on counting."""
    return format_html('<span data-until="{}">{}</span>', until.isoformat(), left(until))


def reason_of(text: str) -> str:
    """The machine's reason as people read it; an operator's own words as they are."""
    if text in TURNS:
        return str(TURNS[text])
    if text.startswith(OPENED):
        return _("breaker open: %(reason)s") % {"reason": words.reason(text.removeprefix(OPENED))}
    return words.reason(text) if text in words.REASONS else text


def machine_state(state: MachineState | None) -> SafeString:
    """What automation made of a key or an endpoint, in a word, with the reason to be seen on it."""
    if state is None:
        return badge(_("not used yet"))
    holds = standing(state, timezone.now())
    if holds.condition == Condition.READY and state.updated_at is None:
        return badge(_("not used yet"))
    text: Any = holds.condition.label
    if holds.until is not None:
        text = format_html(_("{state}, {time} left"), state=text, time=countdown(holds.until))
    return badge(text, TONES[holds.condition], title=reason_of(holds.reason))


def learned_limit(state: MachineState) -> str:
    """The limit of concurrency that throttling taught, with the recent peak and the last change."""
    if state.learned_limit is None:
        return "–"
    shown = _("%(limit)d at a time") % {"limit": state.learned_limit}
    told = state.detail if isinstance(state.detail, dict) else {}
    if isinstance(peak := told.get("peak"), int):
        shown += ", " + _("of late at most %(peak)d") % {"peak": peak}
    if isinstance(at := told.get("limit_changed_at"), int):
        changed = timezone.localtime(datetime.fromtimestamp(at / 1000, UTC))
        reason = LIMIT_REASONS.get(str(told.get("limit_reason")), told.get("limit_reason"))
        shown += "; " + _("since %(time)s: %(reason)s") % {
            "time": f"{changed:%Y-%m-%d %H:%M:%S}",
            "reason": reason,
        }
    return shown


def ending(key: Key) -> SafeString | str:
    """The last characters of a secret, which are all that is ever shown of it."""
    return format_html('<span class="whole">…{}</span>', key.hint) if key.hint else "–"


def state_of(row: Key | Endpoint) -> Any:
    """The machine state of a row that was fetched with it; None where the machine has not met it."""
    return getattr(row, "state", None)


def price_of_row(row: Priced) -> SafeString | str:
    if row.price_input is not None:
        text = _("%(input)s in, %(output)s out") % {
            "input": money(row.price_input),
            "output": money(row.price_output),
        }
        return f"{text} …" if row.price_tiers else text
    if row.price_request is not None:
        return _("%(amount)s a request") % {"amount": money(row.price_request)}
    return badge(_("no price"), "warn", title=_("Requests to it are recorded as unpriced."))


def lies_inside(endpoint: Endpoint) -> bool:
    """Whether the base URL names this machine or a private address in so many words."""
    host = urlsplit(endpoint.base_url).hostname or ""
    if host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost"):
        return True
    try:
        check_host(host, allow_private=False)
    except Forbidden:
        return True
    return False


def warn_of_private(request: HttpRequest, endpoint: Endpoint) -> None:
    """Says after saving that an endpoint cannot be reached as it stands."""
    if not endpoint.allow_private and lies_inside(endpoint):
        messages.warning(
            request,
            _(
                "%(endpoint)s points to a private address, which is not allowed: every request to it fails. "
                "A superuser may tick “private addresses allowed”."
            )
            % {"endpoint": endpoint},
        )


def warn_of_price(request: HttpRequest, model: Model) -> None:
    """Says after saving that requests to a model will have no cost."""
    if model.price() is None:
        messages.warning(
            request, _("%(model)s has no price: requests to it are recorded as unpriced.") % {"model": model}
        )


def working(prefix: str = "state__") -> Q:
    """Rows that are on and that nothing else keeps out."""
    return Q(is_active=True) & ~out(prefix, timezone.now())
