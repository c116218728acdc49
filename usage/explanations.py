"""Plans and refusals in words: who would be tried, who was left out and why, and which rule refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from usage import causes, words
from usage.cells import named_by_id
from usage.models import Attempt, Record
from usage.refusal import Refusal, read


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate, ready to be shown: its place in the order ("" where it was left out), and why."""

    place: str
    target: str
    format: str
    model: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request was answered as it was."""

    sentences: Sequence[str]
    rows: Sequence[Row]


def plan_rows(
    targets: Sequence[Mapping[str, Any]], skipped: Sequence[Mapping[str, Any]], at: datetime
) -> list[Row]:
    """The candidates of a plan that was made at an instant, those in order first."""
    rows = [
        _row(each, str(place), "; ".join(words.note(note, at) for note in each.get("notes", ())))
        for place, each in enumerate(targets, 1)
    ]
    return rows + [_row(each, "", words.skipped(str(each.get("reason", "")), at)) for each in skipped]


@dataclass(frozen=True, slots=True)
class Found:
    """What a request's id leads to: its record, or what the id itself tells, in sentences."""

    sentences: Sequence[str]
    rows: Sequence[Row] = ()
    record: Record | None = None


def found_by(term: str, *, records: bool = True) -> Found:
    """What the request id that somebody pasted leads to. `records`: whether records may be looked for."""
    identifier = named_by_id(term)
    if identifier is None:
        return Found([_("This is no request id: it stands in the answer's x-request-id.")])
    refusal = read(identifier)
    if refusal is not None:
        return Found(causes.told(refusal))
    record = Record.objects.filter(pk=identifier).first() if records else None
    if record is None:
        return Found([_("There is no record with this id, or none that you may see.")])
    why = explanation_of(record, list(record.attempts.order_by("number"))) or Explanation((), ())
    sentences = [
        _("Recorded at %(time)s: %(outcome)s, status %(status)s.")
        % {
            "time": f"{timezone.localtime(record.started_at):%Y-%m-%d %H:%M:%S %Z}",
            "outcome": record.get_outcome_display(),
            "status": record.status_code,
        },
        *filter(None, [record.error_text]),
        *why.sentences,
    ]
    return Found(sentences, why.rows, record)


def explanation_of(record: Record, attempts: Sequence[Attempt]) -> Explanation | None:
    """What is stored with a request that failed; None with one that was answered, or of which nothing more
    is known than its error."""
    stored = record.explanation
    if not isinstance(stored, dict):
        return None
    sentences = [str(words.RULES.get(rule, rule)) for rule in [stored.get("rule")] if rule]
    sentences += _refused(stored, record)
    tried = {(each.provider_name, each.key_name, each.upstream_model): each.number for each in attempts}
    targets = [
        {**each, "notes": [_tried(tried.get((each.get("provider"), each.get("key"), each.get("model"))))]}
        for each in stored.get("targets", ())
    ]
    return Explanation(sentences, plan_rows(targets, stored.get("skipped", ()), record.started_at))


def _refused(stored: Mapping[str, Any], record: Record) -> list[str]:
    """By which rule of ours, and when the client may come back."""
    at, wait = record.started_at + timedelta(milliseconds=record.total_ms or 0), stored.get("retry_after")
    seconds = wait if isinstance(wait, int) else 0
    ours = stored.get("refused")
    if not isinstance(ours, dict):
        return causes.waits(seconds, at)
    milliseconds = round(at.timestamp() * 1000)
    return causes.told(
        Refusal(milliseconds, str(ours.get("rule", "")), int(ours.get("measured") or 0), seconds)
    )


def _tried(number: int | None) -> str:
    if number is None:
        return _("not tried: the rules for retries, or the time, ended it before")
    return _("tried: attempt #%(number)d") % {"number": number}


def _row(told: Mapping[str, Any], place: str, why: str) -> Row:
    target = " / ".join(filter(None, (str(told.get("provider", "")), str(told.get("key", "")))))
    spoken = str(told.get("format", ""))
    return Row(place, target or "–", words.FORMATS.get(spoken, spoken), str(told.get("model", "")), why)
