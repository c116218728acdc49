"""Plans and refusals in words: who would be tried, who was left out and why, and which rule refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from usage import words
from usage.models import Attempt, Record


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


def explanation_of(record: Record, attempts: Sequence[Attempt]) -> Explanation | None:
    """What is stored with a request that failed; None with one that was answered, or of which nothing more
    is known than its error."""
    stored = record.explanation
    if not isinstance(stored, dict):
        return None
    sentences = [str(words.RULES.get(rule, rule)) for rule in [stored.get("rule")] if rule]
    tried = {(each.provider_name, each.key_name, each.upstream_model): each.number for each in attempts}
    targets = [
        {**each, "notes": [_tried(tried.get((each.get("provider"), each.get("key"), each.get("model"))))]}
        for each in stored.get("targets", ())
    ]
    return Explanation(sentences, plan_rows(targets, stored.get("skipped", ()), record.started_at))


def _tried(number: int | None) -> str:
    if number is None:
        return _("not tried: the rules for retries, or the time, ended it before")
    return _("tried: attempt #%(number)d") % {"number": number}


def _row(told: Mapping[str, Any], place: str, why: str) -> Row:
    target = " / ".join(filter(None, (str(told.get("provider", "")), str(told.get("key", "")))))
    return Row(place, target or "–", str(told.get("format", "")), str(told.get("model", "")), why)
