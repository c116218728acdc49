"""What a failed attempt means for the next try. Pure: one table, by meaning and not by status alone
(routing.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

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


def reason_of(error: InbandError) -> str:
    """The reason (a key of `VERDICTS`) for an error that upstream answered with, be it with its own status or
    inside a 200.

    Words decide before numbers: vendors put empty accounts into 400, 403, 412 and 429, dead keys into 400 and
    403, and advertise their billing pages in a plain rate limit, so addresses are left out of the reading.
    """
    status, text = error.status, _ADDRESS.sub("", error.text)
    words = f"{error.type} {error.code} {text}"
    if status == 429:
        return _throttled(words, text)
    if _OVERLOADED.search(words) and (status >= 500 or status == 498):
        return "overloaded"
    if 400 <= status < 500:
        return _refused(status, words, text)
    return _BY_STATUS.get(status, "server_error")


_BY_STATUS = {
    402: "out_of_money", 404: "unsupported", 405: "unsupported", 408: "timeout_status", 424: "server_error",
    425: "overloaded", 498: "overloaded", 499: "server_error", 501: "unsupported", 503: "unavailable",
    504: "timeout_status", 522: "timeout_status", 524: "timeout_status", 529: "overloaded",
}  # fmt: skip


def _throttled(words: str, text: str) -> str:
    if _OVERLOADED.search(words):
        return "overloaded"
    if _RATE.search(text):
        return "throttled"
    return "out_of_money" if _MONEY.search(words) or _MONEY_ASIDE.search(words) else "throttled"


def _refused(status: int, words: str, text: str) -> str:
    """A 4xx other than 429."""
    limited = status == 413 and _RATE.search(text)
    if status == 402 or (_MONEY.search(words) and not limited):
        return "out_of_money"
    if status == 401 or _KEY_REFUSED.search(words):
        return "key_refused"
    if _ELSEWHERE.search(words):
        return "not_permitted"
    if status == 403:
        if _MODERATED.search(text):
            return "caller"
        return "not_permitted" if _NOT_PERMITTED.search(text) else "key_refused"
    if status == 400 and _NO_MODEL.search(words):
        return "unsupported_request"
    return _BY_STATUS.get(status, "caller")


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
