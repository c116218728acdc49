"""Refusals of ours in words: which rule, by what count, until when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _now, gettext_lazy as _

from usage.refusal import MOST_MEASURED, Refusal


class Cause(NamedTuple):
    """Why a rule refuses; the settings that it goes by; what it measures, with `%(measured)s` in it."""

    why: Any
    knobs: tuple[str, ...] = ()
    measured: Any = ""


CAUSES: Mapping[str, Cause] = {
    "event_loop": Cause(
        _("the event loop was late, or had been a moment before"),
        ("RELAY_MAX_LAG",),
        _("it was late by %(measured)s ms"),
    ),
    "memory": Cause(
        _("too much memory was in use"), ("RELAY_MEMORY_REFUSE",), _("%(measured)s %% were in use")
    ),
    "journal": Cause(
        _("too much of the journal had not reached the database"),
        ("RELAY_MAX_BACKLOG_BYTES",),
        _("%(measured)s MB were behind"),
    ),
    "under_way": Cause(
        _("too many requests were under way for one of its rank"),
        ("RELAY_MAX_IN_FLIGHT",),
        _("%(measured)s were under way"),
    ),
    "key_in_flight": Cause(
        _("its API key had as many requests under way as it may have"),
        ("RELAY_KEY_IN_FLIGHT",),
        _("%(measured)s were under way"),
    ),
    "bad_keys": Cause(
        _("too many bad API keys had come from its address"),
        ("RELAY_BAD_KEYS",),
        _("%(measured)s had come within a minute"),
    ),
    "closed": Cause(_("the server was starting or stopping")),
    "draining": Cause(
        _("the server was going down"), ("RELAY_DRAIN_SECONDS",), _("%(measured)s requests were under way")
    ),
    "database": Cause(_("the database did not answer, and memory did not know its API key")),
    "body_memory": Cause(
        _("too many request bodies were held in memory"),
        ("RELAY_BODY_MEMORY",),
        _("%(measured)s MB were held"),
    ),
    "body_size": Cause(_("its body was too large"), ("RELAY_MAX_BODY_BYTES", "RELAY_MAX_UPLOAD_BYTES")),
    "body_late": Cause(_("its body did not arrive in time"), ("RELAY_CLIENT_BODY_TIMEOUT",)),
    "body_slow": Cause(_("its body came too slowly"), ("RELAY_BODY_RATE", "RELAY_CLIENT_BODY_TIMEOUT")),
    "head_slow": Cause(_("its head came too slowly"), ("RELAY_HEADER_TIMEOUT",)),
    "head_size": Cause(_("its head was too large"), ("RELAY_MAX_HEADERS", "RELAY_MAX_HEADER_BYTES")),
    "malformed": Cause(_("it was not well-formed HTTP")),
    "framing": Cause(_("its body had more framing than content")),
    "protocol": Cause(_("it spoke another protocol than HTTP/1.1")),
    "host": Cause(_("it named no host, or two")),
    "coding": Cause(_("its body had a transfer coding other than chunked")),
    "upgrade": Cause(_("it brought a body and wanted the connection upgraded")),
    "fragment": Cause(_("its address had a fragment")),
    "no_api_key": Cause(_("it carried no API key")),
    "bad_api_key": Cause(
        _("its API key is unknown, switched off or expired"),
        ("RELAY_BAD_KEYS",),
        _("bad API keys of its address within a minute: %(measured)s"),
    ),
    "two_api_keys": Cause(_("it carried two different API keys")),
    "network": Cause(_("its API key may not be used from its address")),
    "no_path": Cause(_("there is no such path")),
    "method": Cause(_("the path has no such method")),
    "not_listed": Cause(_("the model is unknown, or out of reach of its API key")),
}
"""By the names of `usage.refusal.Rule`."""


def told(refusal: Refusal) -> list[str]:
    """A refusal in sentences, with its instants in the reader's time zone and the settings as they are now;
    a rule that nobody knows any more by its name."""
    cause = CAUSES.get(refusal.rule, Cause(refusal.rule.replace("_", " ")))
    at = datetime.fromtimestamp(refusal.at / 1000, UTC)
    sentences = [_now("Refused at %(time)s: %(why)s.") % {"time": _instant(at), "why": cause.why}]
    if cause.measured:
        most = "≥ " if refusal.measured >= MOST_MEASURED else ""
        measured = str(cause.measured) % {"measured": f"{most}{refusal.measured}"}
        sentences.append(_now("Measured then: %(measured)s.") % {"measured": measured})
    sentences += [
        _now("%(setting)s is %(value)s now.") % {"setting": each, "value": getattr(settings, each)}
        for each in cause.knobs
    ]
    return [*sentences, *waits(refusal.wait, at)]


def waits(seconds: int, at: datetime) -> list[str]:
    """When a client that was refused then was told to come back; nothing for 0 seconds."""
    if not seconds:
        return []
    again = timezone.localtime(at + timedelta(seconds=seconds))
    return [
        _now("The client was told to wait %(seconds)s s, until %(time)s.")
        % {"seconds": seconds, "time": f"{again:%H:%M:%S}"}
    ]


def _instant(at: datetime) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {timezone.localtime(at):%Z}"
