"""What the ledger's short names say to people: why an attempt failed, what told so, why a target was left
out."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext

from usage.models import Attempt
from usage.pages import link

REASONS: dict[str, Any] = {
    "dns": _("the host's name was not found"),
    "connect": _("no connection"),
    "connect_timeout": _("connecting took too long"),
    "tls": _("TLS failed"),
    "blocked_address": _("an address that may not be called"),
    "redirect": _("a redirect"),
    "reset": _("the connection broke"),
    "first_byte_timeout": _("no answer in time"),
    "first_event_timeout": _("no event in time"),
    "idle_timeout": _("silence in the middle of a stream"),
    "total_timeout": _("the time for the whole request was over"),
    "html": _("an HTML page in place of an answer"),
    "wrong_type": _("JSON for a stream, or a stream for JSON"),
    "empty": _("an empty answer"),
    "truncated": _("the answer ended in the middle"),
    "bad_frame": _("an answer that is not of this format"),
    "too_large": _("an answer past the cap"),
    "encoding": _("an encoding that cannot be read"),
    "key_refused": _("key refused"),
    "not_permitted": _("model not open to this key"),
    "out_of_money": _("key out of money"),
    "throttled": _("throttled"),
    "overloaded": _("vendor overloaded"),
    "unsupported": _("model not served there"),
    "unsupported_request": _("kind of request not served there"),
    "caller": _("the caller's own mistake"),
    "policy": _("passed on verbatim"),
    "timeout_status": _("the vendor took too long"),
    "unavailable": _("vendor unavailable"),
    "server_error": _("vendor failed"),
    "client_gone": _("client gone"),
    "interrupted": _("interrupted"),
}
"""Keys of `relay.failover.VERDICTS`, and what a client or we ended."""

LINES: dict[str, Any] = {
    "429_overloaded": _("status 429 with words of an overload"),
    "429_wait": _("status 429 with words that waiting helps"),
    "429_money": _("status 429 with words of an empty account"),
    "429": _("status 429"),
    "5xx_overloaded": _("status 498 or 5xx with words of an overload"),
    "402": _("status 402"),
    "4xx_money": _("status 4xx with words of an empty account"),
    "401": _("status 401"),
    "4xx_key": _("status 4xx with words of a bad key or a closed account"),
    "4xx_elsewhere": _("status 4xx with words of a country not served"),
    "403_moderated": _("status 403 with words of moderation"),
    "403_model": _("status 403 with words of a permission or a model"),
    "403": _("status 403"),
    "400_model": _("status 400 with words of an unknown model"),
    "404": _("status 404, 405 or 501"),
    "408": _("status 408, 504, 522 or 524"),
    "425": _("status 425, 498 or 529"),
    "503": _("status 503"),
    "424": _("status 424 or 499"),
    "4xx": _("any other status 4xx"),
    "5xx": _("any other status"),
}
"""The lines of `relay.failover.LINES`."""

SKIPPED: dict[str, Any] = {
    "key disabled": _("the key is switched off"),
    "endpoint disabled": _("the endpoint is switched off"),
    "provider disabled": _("the provider is switched off"),
    "deployment disabled": _("the deployment is switched off"),
    "no key": _("the provider has no key"),
    "secret cannot be opened": _("the key's secret cannot be opened"),
    "private address": _("a private address, which is not allowed there"),
    "price not valid": _("its price cannot be read"),
    "no price yet": _("it has no price, and requests without a price are refused"),
    "format not served": _("the provider has no endpoint of this format"),
    "format not served for this model": _("the deployment is not for this format"),
    "format not allowed on this model": _("the model may not be asked for in this format"),
    "key not used for this format": _("the key is not used for this format"),
    "key not allowed on this model": _("the key may not be used for this model"),
    "provider not allowed for this caller": _("the API key may not reach this provider"),
    "another key holds the response that this one continues": _(
        "another key holds the response that this one continues"
    ),
    "kept for requests that need what it alone offers": _(
        "the key is kept for requests that need what it alone offers"
    ),
    "key: cooling": _("the key cools after being throttled"),
    "key: key refused": _("the key was refused"),
    "key: out of money": _("the key is out of money"),
    "key: parked by an operator": _("the key was parked by an operator"),
    "key: breaker open": _("the key's breaker is open"),
    "key: breaker half open, a probe is under way": _(
        "the key's breaker is half open, with its probe under way"
    ),
    "at concurrency limit": _("it is at its limit of requests at a time"),
    "retry budget spent": _("the budget for retries was spent"),
    "attempts used up": _("the attempts that one request may take were used up"),
    "its key was tried already": _("its key was tried already, under another name of the model"),
    "too little time left": _("too little of the request's time was left"),
    "the request is over": _("the request was over"),
    "endpoint: cooling": _("the endpoint cools after being throttled"),
    "endpoint: parked by an operator": _("the endpoint was parked by an operator"),
    "endpoint: breaker open": _("the endpoint's breaker is open"),
    "endpoint: breaker half open, a probe is under way": _(
        "the endpoint's breaker is half open, with its probe under way"
    ),
}
"""Why a candidate was left out of a plan, as the catalog, the scheduler and health tell it."""
NOTES: dict[str, Any] = {
    "affinity": _("goes first, as this caller's session stays there"),
    "converted": _("by conversion: it speaks another format"),
    "parked": _("asked late: of late it did not serve this model"),
    "spared": _("its breaker is open, but too much is out already: asked last"),
    "probe": _("its breaker is half open: this request would be its probe"),
}
"""What is special about a target in its place in a plan (`relay.explaining`)."""
RULES: dict[str, Any] = {
    "models of the API key": _("The model exists, but the API key's allowed models do not hold it."),
    "formats of the API key": _("The API key's allowed formats do not hold this one."),
    "formats of the model": _("The model's allowed formats do not hold this one."),
}
"""Allow-lists that keep a model away from a caller (`relay.planning`)."""
PLACES = {"key": _("the key"), "endpoint": _("the endpoint"), "provider": _("the provider")}
LACKING = "capability missing: "
FOUND = " (refused when conformance was run)"
UNHELD = "not in its format: "
INEXACT = "exact: it would lose "
FORMATS: dict[str, str] = {
    "openai_chat": "OpenAI Chat",
    "openai_responses": "OpenAI Responses",
    "anthropic": "Anthropic Messages",
    "gemini": "Gemini",
}
"""Wire formats under the names that forms give them."""
_TIMED = re.compile(r"(.*), (\d+) s left")
_FULL = re.compile(r"(key|endpoint|provider): at concurrency limit, (\d+) of (\d+)")


def reason(name: str) -> str:
    """Why an attempt failed, in words; a reason that nobody knows any more as it is."""
    return str(REASONS.get(name, name.replace("_", " ")))


def skipped(told: str, at: datetime) -> str:
    """Why a target was left out, in words; where that passes by itself, with the time at which it does. `at`
    is when it was told."""
    if timed := _TIMED.fullmatch(told):
        until = timezone.localtime(at + timedelta(seconds=int(timed[2])))
        return _now("%(reason)s, until %(time)s (%(seconds)s s)") % {
            "reason": skipped(timed[1], at),
            "time": f"{until:%H:%M:%S}",
            "seconds": timed[2],
        }
    if full := _FULL.fullmatch(told):
        return _now("%(place)s is at its limit: %(held)s of %(limit)s requests at a time") % {
            "place": PLACES[full[1]],
            "held": full[2],
            "limit": full[3],
        }
    if told.startswith(LACKING):
        needs = told.removeprefix(LACKING)
        if needs.endswith(FOUND):
            return _now("it does not offer: %(needs)s (refused when conformance was run)") % {
                "needs": needs.removesuffix(FOUND)
            }
        return _now("it does not offer: %(needs)s") % {"needs": needs}
    if told.startswith(UNHELD):
        return _now("its format has no place for this: %(what)s") % {"what": told.removeprefix(UNHELD)}
    if told.startswith(INEXACT):
        return _now("the model asks for exactness, and this would be lost: %(names)s") % {
            "names": told.removeprefix(INEXACT)
        }
    return str(SKIPPED.get(told, told))


def note(told: str, at: datetime) -> str:
    """What is special about a target in its place in a plan that was made then."""
    return str(NOTES[told]) if told in NOTES else skipped(told, at)


def conversion(told: str) -> str:
    """What conversion did to a request, as the header and the record tell it, in words; "" for a request that
    was passed through."""
    if told in {"", "lossless"}:
        return _now("lossless: nothing was dropped") if told else ""
    kind, _mark, names = told.partition("; dropped=")
    if kind != "lossy" or not names:
        return told
    if names.isdecimal():
        count = int(names)
        return ngettext("lossy: dropped %(count)d setting", "lossy: dropped %(count)d settings", count) % {
            "count": count
        }
    return _now("lossy: dropped these settings: %(names)s") % {"names": ", ".join(names.split(","))}


def decided_by(attempt: Attempt) -> SafeString | str:
    """What told how a failed attempt is judged: a rule, a built-in line, or neither, as nothing was said."""
    rule = getattr(attempt, "rule_id", None)
    if rule is not None:
        return link(
            _now("failure rule “%(name)s”") % {"name": attempt.decided_by},
            "providers_failurerule_change",
            rule,
        )
    if attempt.decided_by:
        return _now("built-in line: %(line)s") % {"line": LINES.get(attempt.decided_by, attempt.decided_by)}
    return ""
