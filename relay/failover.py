"""What a failed attempt means for the next try. Pure: one table, by meaning and not by status alone
(routing.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from providers.rules import FailureRule, Said, folded
from relay.errors import UpstreamFailure
from wire.types import Fault, InbandError

GATEWAY, SERVER_TIMEOUT, THROTTLED, OVERLOADED, AUTH, MONEY, CALLER, UNSUPPORTED, CLOSED = (
    "gateway", "timeout", "throttled", "overloaded", "auth", "money", "caller", "unsupported", "closed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows a failed attempt.

    `stop`: no other target is tried. `answered`: the attempt counts among those that reached an upstream
    answer. `once`: at most one such failure is followed by another target, as the vendor may have done the
    work already. `again`: a sole candidate may be tried once more. `status` is the client's if all fail; 0:
    as upstream gave it.
    """

    name: str
    meaning: str
    code: str
    status: int = 0
    stop: bool = False
    answered: bool = True
    once: bool = False
    again: bool = False


def _next(meaning: str, code: str, status: int, **more: bool) -> Verdict:
    return Verdict("next", meaning, code, status, **more)


VERDICTS: dict[str, Verdict] = {
    # the transport failed
    "dns": _next(GATEWAY, "upstream_error", 502, answered=False, again=True),
    "connect": _next(GATEWAY, "upstream_error", 502, answered=False, again=True),
    "connect_timeout": _next(SERVER_TIMEOUT, "timeout", 504, answered=False, again=True),
    "tls": _next(GATEWAY, "upstream_error", 502, answered=False),
    "blocked_address": Verdict("stop", CLOSED, "upstream_error", 502, stop=True, answered=False),
    "redirect": Verdict("stop", CLOSED, "upstream_error", 502, stop=True),
    "reset": _next(GATEWAY, "upstream_error", 502, once=True, again=True),
    "first_byte_timeout": _next(SERVER_TIMEOUT, "timeout", 504, once=True),
    "first_event_timeout": _next(SERVER_TIMEOUT, "timeout", 504, once=True),
    "total_timeout": Verdict("stop", SERVER_TIMEOUT, "timeout", 504, stop=True),
    # upstream answered, but not with an answer
    "html": _next(GATEWAY, "upstream_error", 502, again=True),
    "wrong_type": _next(GATEWAY, "upstream_error", 502, again=True),
    "empty": _next(GATEWAY, "upstream_error", 502, once=True, again=True),
    "truncated": _next(GATEWAY, "upstream_error", 502, again=True),
    "bad_frame": _next(GATEWAY, "upstream_error", 502, again=True),
    "too_large": Verdict("stop", CLOSED, "upstream_error", 502, stop=True),
    "encoding": Verdict("stop", CLOSED, "upstream_error", 502, stop=True),
    # upstream said what is wrong
    "key_refused": _next(AUTH, "upstream_error", 502, answered=False),
    "not_permitted": _next(AUTH, "upstream_error", 502, answered=False),
    "out_of_money": _next(MONEY, "upstream_error", 502, answered=False),
    "throttled": _next(THROTTLED, "rate_limited", 429, answered=False),
    "overloaded": _next(OVERLOADED, "overloaded", 503, again=True),
    "unsupported": _next(UNSUPPORTED, "model_not_found", 404),
    "unsupported_request": _next(UNSUPPORTED, "invalid_request", 400),
    "caller": Verdict("pass_on", CALLER, "invalid_request", 0, stop=True),
    "policy": Verdict("pass_on", CALLER, "invalid_request", 0, stop=True),  # only where an operator says so
    "timeout_status": _next(SERVER_TIMEOUT, "timeout", 504, again=True),
    "unavailable": _next(GATEWAY, "unavailable", 503, again=True),
    "server_error": _next(GATEWAY, "upstream_error", 502, again=True),
}

_ADDRESS = re.compile(r"https?://\S+")
_KEY_REFUSED = re.compile(
    r"(invalid|incorrect|expired|revoked|disabled|missing)[ _-]*(x-)?api[ _-]?key|"
    r"api[ _-]?key[ _-]*(not valid|is invalid|invalid|expired|not found)|reported as leaked|"
    r"authentication_error|invalid_authentication|unauthenticated|account_deactivated|"
    r"(organization|account|project|workspace|consumer)\b[^.]{0,100}\b"
    r"(disabled|deactivated|suspended|terminated|denied access)",
    re.I,
)
_MONEY = re.compile(
    r"insufficient[ _-]*(user[ _-]*)?(quota|credit|balance|fund)|credit balance|quota is not enough|"
    r"exceeded[ _](your[ _])?(current|monthly)[ _]quota|billing_(error|hard_limit|not_active)|"
    r"billing (hard )?limit|billing is not|enable billing|payment[ _]required|past invoices|arrearage|"
    r"overdue[ _-]payment|in good standing|(out of|no|any|more|available) credits|"
    r"reached your [\w ]{0,20}usage limit|spend(ing)? limit|余额不足|额度不足|欠费|充值",
    re.I,
)
_MONEY_ASIDE = re.compile(r"\b(credits?|quota|billing)\b", re.I)
"""Words that mean an empty account only where nothing says that waiting helps."""
_RATE = re.compile(
    r"per[ _-]?(min|second|hour|day)|\b[RT]P[MD]\b|rate[ _-]?limit|(retry|try again) (in|after)|check quota",
    re.I,
)
_OVERLOADED = re.compile(r"overloaded|capacity_exceeded", re.I)
_NO_MODEL = re.compile(
    r"model_not_found|unsupported_model|invalid_model|not_found_error|not a valid model|"
    r"(unknown|unsupported|invalid|no such) model|"
    r"model[^.]{0,120}(not (found|exist|support|available)|does ?n[o']t exist|unknown|no access)",
    re.I,
)
_ELSEWHERE = re.compile(
    r"user location is not supported|unsupported_country|(country|region|territory)[^.]{0,40}not supported",
    re.I,
)
"""Where our side of the line stands, not what the caller asked for."""
_NOT_PERMITTED = re.compile(r"permission|\bmodel\b|does not have access", re.I)
_MODERATED = re.compile(r"moderation|\bflagged\b|content[ _](policy|filter)", re.I)


class Reading(NamedTuple):
    """An error as the lines below read it: its status, its message without addresses, and that with type and
    code before it."""

    status: int
    text: str
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: where `holds`, the error means `reason`. `name` is what records call it by."""

    name: str
    reason: str
    holds: Callable[[Reading], bool]


def _status(*statuses: int) -> Callable[[Reading], bool]:
    return lambda error: error.status in statuses


def _text(pattern: re.Pattern[str]) -> Callable[[Reading], bool]:
    return lambda error: pattern.search(error.text) is not None


def _words(*patterns: re.Pattern[str]) -> Callable[[Reading], bool]:
    return lambda error: any(each.search(error.words) for each in patterns)


def _both(one: Callable[[Reading], bool], other: Callable[[Reading], bool]) -> Callable[[Reading], bool]:
    return lambda error: one(error) and other(error)


_REFUSED, _FAILED = _status(*range(400, 500)), _status(498, *range(500, 600))


def _no_money(error: Reading) -> bool:
    limited = error.status == 413 and _RATE.search(error.text)
    return not limited and _MONEY.search(error.words) is not None


LINES: tuple[Line, ...] = (
    # Words decide before numbers: vendors put empty accounts into 400, 403, 412 and 429, dead keys into 400
    # and 403, and advertise their billing pages in a plain rate limit, so addresses are left out.
    Line("429_overloaded", "overloaded", _both(_status(429), _words(_OVERLOADED))),
    Line("429_wait", "throttled", _both(_status(429), _text(_RATE))),
    Line("429_money", "out_of_money", _both(_status(429), _words(_MONEY, _MONEY_ASIDE))),
    Line("429", "throttled", _status(429)),
    Line("5xx_overloaded", "overloaded", _both(_FAILED, _words(_OVERLOADED))),
    Line("402", "out_of_money", _status(402)),
    Line("4xx_money", "out_of_money", _both(_REFUSED, _no_money)),
    Line("401", "key_refused", _status(401)),
    Line("4xx_key", "key_refused", _both(_REFUSED, _words(_KEY_REFUSED))),
    Line("4xx_elsewhere", "not_permitted", _both(_REFUSED, _words(_ELSEWHERE))),
    Line("403_moderated", "caller", _both(_status(403), _text(_MODERATED))),
    Line("403_model", "not_permitted", _both(_status(403), _text(_NOT_PERMITTED))),
    Line("403", "key_refused", _status(403)),
    Line("400_model", "unsupported_request", _both(_status(400), _words(_NO_MODEL))),
    Line("404", "unsupported", _status(404, 405, 501)),
    Line("408", "timeout_status", _status(408, 504, 522, 524)),
    Line("425", "overloaded", _status(425, 498, 529)),
    Line("503", "unavailable", _status(503)),
    Line("424", "server_error", _status(424, 499)),
    Line("4xx", "caller", _REFUSED),
    Line("5xx", "server_error", lambda error: True),
)
"""What an error means, asked from top to bottom: the first that holds."""


class Judgement(NamedTuple):
    """What a failure means, a key of `VERDICTS`, and what told: `rule` of an operator, or the built-in `line`
    (its name; "" where the transport failed, so that nothing was said)."""

    reason: str
    line: str = ""
    rule: FailureRule | None = None


def meaning_of(
    error: InbandError, rules: Sequence[FailureRule] = (), *, provider_id: int = 0, wire_format: str = ""
) -> Judgement:
    """What an error means that upstream answered with, be it with its own status or inside a 200. `rules` are
    asked first."""
    if rules:
        said = Said(
            provider_id,
            wire_format,
            error.status,
            (folded(error.type), folded(error.code)),
            folded(error.text),
        )
        for rule in rules:
            if rule.holds(said):
                return Judgement(rule.reason, rule=rule)
    text = _ADDRESS.sub("", error.text)
    reading = Reading(error.status, text, f"{error.type} {error.code} {text}")
    line = next(line for line in LINES if line.holds(reading))
    return Judgement(line.reason, line.name)


def meant(
    failure: UpstreamFailure, rules: Sequence[FailureRule], *, provider_id: int, wire_format: str
) -> Judgement:
    """What the failure of an attempt means. Where the transport failed nothing was said, and no rule is
    asked."""
    if failure.reason:
        return Judgement(failure.reason)
    error = failure.error or InbandError(failure.status, "", failure.text)
    return meaning_of(error, rules, provider_id=provider_id, wire_format=wire_format)


def judge(reason: str) -> Verdict:
    """The verdict for a reason. Raises KeyError for one that is not in the table."""
    return VERDICTS[reason]


@dataclass(frozen=True, slots=True)
class Failed:
    """One failed attempt, as the rules below need it."""

    reason: str
    endpoint_id: int
    status: int = 0
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """How often a request may be tried: attempts that reached an answer, those on one endpoint, and all
    together."""

    answered: int = 3
    per_endpoint: int = 2
    tries: int = 8


def may_go_on(failures: Sequence[Failed], endpoint_id: int, caps: Caps) -> bool:
    """Whether another attempt, at `endpoint_id`, is allowed after these failures (resilience.md,
    "Retries")."""
    verdicts = [judge(each.reason) for each in failures]
    if len(failures) >= caps.tries or any(each.stop for each in verdicts):
        return False
    if sum(each.once for each in verdicts) > 1:
        return False
    if sum(each.answered for each in verdicts) >= caps.answered:
        return False
    there = sum(
        verdict.answered
        for verdict, each in zip(verdicts, failures, strict=True)
        if each.endpoint_id == endpoint_id
    )
    return there < caps.per_endpoint


_RANK = (CALLER, THROTTLED, OVERLOADED, SERVER_TIMEOUT, GATEWAY, UNSUPPORTED, MONEY, AUTH, CLOSED)
"""Whose status the client gets when several targets failed for different reasons: what is worth waiting for
first."""

_TEXT = {
    THROTTLED: "Every upstream for this model is rate limited right now.",
    OVERLOADED: "The upstream is overloaded right now.",
    SERVER_TIMEOUT: "The upstream took too long to answer.",
    GATEWAY: "The upstream failed to answer.",
    UNSUPPORTED: "No upstream serves this model or this kind of request right now.",
    MONEY: "The upstream could not serve the request.",
    AUTH: "The upstream could not serve the request.",
    CLOSED: "The upstream could not serve the request.",
}


def final_fault(failures: Sequence[Failed]) -> tuple[Fault, float | None]:
    """What the client is told when every target failed, and the least Retry-After in seconds. The caller's
    own fault is told by whoever holds upstream's words, not here."""
    worst = min(failures, key=lambda each: _RANK.index(judge(each.reason).meaning))
    verdict = judge(worst.reason)
    delays = [each.retry_after for each in failures if each.retry_after is not None]
    waits = min(delays) if delays and verdict.meaning in (THROTTLED, OVERLOADED, GATEWAY) else None
    return Fault(verdict.code, _TEXT[verdict.meaning]), waits


RETURNS = frozenset({"rate_limited", "overloaded", "unavailable"})
"""Codes of faults that pass by themselves: a client is told when to come back (resilience.md, "Retries")."""


def wait_told(fault: Fault, given: float | None, back: float | None, jitter: int) -> int | None:
    """The Retry-After of a final fault, in whole seconds; None for none. `given` is the vendors' least, told
    as it is. Where they gave none: `back`, the seconds until the first target may be asked again (None: there
    is none), exact for a cooldown, as that was promised; after a breaker, or where nothing is held against
    anybody, with `jitter` seconds more, 1 or above, or a crowd would come back as one."""
    if given is not None:
        return max(1, math.ceil(given))
    if fault.code not in RETURNS or back is None:
        return None
    return max(1, math.ceil(back)) if fault.code == "rate_limited" else math.ceil(back) + jitter
