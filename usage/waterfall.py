"""The attempts of a request one below the other: where each went, how it ended, when it began and how long it
took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _, gettext_lazy

from usage import words
from usage.cells import target, tokens
from usage.models import Attempt, Record
from usage.pages import badge, link, milliseconds, money

VERDICTS = {
    "ok": gettext_lazy("ok"),
    "partial": gettext_lazy("partial"),
    "next": gettext_lazy("next target"),
    "pass_on": gettext_lazy("passed on"),
    "stop": gettext_lazy("stop"),
    "client_gone": gettext_lazy("client gone"),
    "interrupted": gettext_lazy("interrupted"),
}


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt, ready to be shown. `left` and `width` place its bar, in percent of the whole request;
    `first` is where in the bar the first token came."""

    number: SafeString
    target: str
    model: str
    verdict: SafeString
    reason: str
    status: str
    began: str
    first_token: str
    took: str
    tokens: SafeString
    own_cost: str
    error: str
    decided_by: SafeString | str
    maybe_billed: bool
    left: str
    width: str
    first: str


def waterfall(record: Record, attempts: Sequence[Attempt]) -> list[Try]:
    """The attempts of a request in their order."""
    begins = [max(0, (each.started_at - record.started_at) // timedelta(milliseconds=1)) for each in attempts]
    ends = [begin + each.total_ms for begin, each in zip(begins, attempts, strict=True)]
    whole = max([record.total_ms, *ends, 1])
    return [_try(each, begin, whole) for each, begin in zip(attempts, begins, strict=True)]


def _try(attempt: Attempt, begin: int, whole: int) -> Try:
    ended_well = attempt.verdict == "ok"
    first = attempt.first_token_ms
    return Try(
        number=link(f"#{attempt.number}", "usage_attempt_change", attempt.pk),
        target=target(attempt),
        model=attempt.upstream_model or "–",
        verdict=badge(VERDICTS.get(attempt.verdict, attempt.verdict), "good" if ended_well else "warn"),
        reason=words.reason(attempt.reason) or "–",
        status=str(attempt.status_code) if attempt.status_code else _("none"),
        began=_after(begin),
        first_token=milliseconds(first),
        took=milliseconds(attempt.total_ms),
        tokens=tokens(attempt),
        own_cost=money(attempt.own_cost),
        error=attempt.error_text,
        decided_by=words.decided_by(attempt),
        maybe_billed=attempt.maybe_billed,
        left=_percent(begin, whole),
        width=_percent(max(attempt.total_ms, whole / 200), whole),
        first="" if first is None else _percent(begin + first, whole),
    )


def _after(begin: int) -> str:
    return _("after %s") % milliseconds(begin)


def _percent(part: Any, whole: int) -> str:
    return f"{min(100.0, 100 * part / whole):.2f}"
