"""What a failed attempt means for the next try. Pure: one table, by meaning and not by status alone
(routing.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wire.types import Fault

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

_KEY_REFUSED = re.compile(
    r"(invalid|incorrect|expired|revoked|disabled|missing)[ _-]*(x-)?api[ _-]?key|"
    r"api[ _-]?key[ _-]*(not valid|is invalid|invalid|expired|not found)|"
    r"authentication_error|invalid_authentication|unauthenticated",
    re.I,
)
_MONEY_SURE = re.compile(
    r"insufficient[ _-]*(quota|credit|balance|fund)|credit balance|exceeded your (current|monthly) quota|"
    r"billing_(error|hard_limit|not_active)|billing (hard )?limit|payment[ _]required|"
    r"out of credits|no credits",
    re.I,
)
_MONEY_WORDS = re.compile(r"\bcredits?\b|\bquota\b|\bbilling\b|\bspend(ing)? limit\b", re.I)
_NO_MODEL = re.compile(
    r"model_not_found|unsupported_model|(unknown|unsupported|invalid|no such) model|not_found_error|"
    r"model[^.]{0,120}(not (found|exist|support|available)|does ?n[o']t exist|unknown|no access)",
    re.I,
)


def reason_of(status: int, kind: str = "", text: str = "") -> str:
    """The reason (a key of `VERDICTS`) why upstream answered with `status` and an error of type `kind`.

    A status inside a 200 counts as the real one: the caller hands in what the error event means. Words decide
    before numbers: vendors put empty accounts into 400 and 429, and dead keys into 400 and 403.
    """
    words = f"{kind} {text}"
    if 300 <= status < 400:
        return "redirect"
    if status == 402 or (status in (400, 403, 429) and _MONEY_SURE.search(words)):
        return "out_of_money"
    if status == 401 or (400 <= status < 500 and status != 429 and _KEY_REFUSED.search(words)):
        return "key_refused"
    if status == 429:
        return (
            "out_of_money"
            if _MONEY_WORDS.search(words) and "per minute" not in words.lower()
            else "throttled"
        )
    if status == 529 or kind == "overloaded_error":
        return "overloaded"
    if status == 403:
        return "key_refused"
    if status in (404, 405, 501):
        return "unsupported"
    if status in (408, 504):
        return "timeout_status"
    if status == 503:
        return "unavailable"
    if status >= 500:
        return "server_error"
    if status == 400 and _NO_MODEL.search(words):
        return "unsupported_request"
    return "caller"


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
