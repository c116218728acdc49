"""What the cells of the supply side's pages show, and what is said after saving."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from providers.dialer import Forbidden, check_host
from providers.models import Endpoint, Format, Key, MachineState, Model
from providers.priced import Priced
from usage.pages import badge, money

FORMAT_NAMES = dict(Format.choices)


def formats_named(formats: list[str]) -> str:
    return ", ".join(FORMAT_NAMES.get(each, each) for each in formats) if formats else _("all")


def machine_state(state: MachineState | None) -> SafeString:
    """What automation made of a key or an endpoint, in a word, with the reason to be seen on it."""
    if state is None or state.updated_at is None:
        return badge(_("not used yet"))
    if state.disabled_at:
        return badge(_("disabled by machine"), "bad", title=state.reason)
    if state.cooling_until and state.cooling_until > timezone.now():
        until = timezone.localtime(state.cooling_until)
        return badge(_("cooling until %(time)s") % {"time": f"{until:%H:%M:%S}"}, "warn", title=state.reason)
    if state.breaker not in {"", "closed"}:
        return badge(_("breaker %(state)s") % {"state": state.breaker}, "warn", title=state.reason)
    return badge(_("ready"), "good")


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
    """Rows that are on and that the machine has not taken out."""
    awake = Q(**{f"{prefix}cooling_until": None}) | Q(**{f"{prefix}cooling_until__lte": timezone.now()})
    return Q(is_active=True) & Q(**{f"{prefix}disabled_at": None}) & awake
