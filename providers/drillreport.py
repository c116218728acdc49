"""What a drill showed, read from the ledger: who met the fault, what they were told, and how soon the key was
left alone and used again."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, Q

from providers.drills import Drill
from providers.events import Condition, StateEvent
from usage.ids import lower_bound
from usage.models import Attempt, Outcome, Record

LEFT_ALONE = (Condition.OPEN, Condition.COOLING, Condition.REFUSED)


class Saw(NamedTuple):
    """What so many clients were told."""

    outcome: str
    status: int
    requests: int


class Report(NamedTuple):
    """`requests` met the fault; `failovers` of them were answered by another key. `ejected` is seconds from
    the first failure until the key, or its endpoint, was left alone, `returned` from the end of the drill to
    its first good answer; None where that did not happen, or has not yet."""

    requests: int
    saw: tuple[Saw, ...]
    failures: int
    failovers: int
    ejected: float | None
    returned: float | None


def report(drill: Drill, now: datetime) -> Report:
    """What is known of a drill by now, as far as the recorder has brought it to the database."""
    end = min(drill.ends_at, now)
    low, high = lower_bound(drill.starts_at), lower_bound(end)
    if drill.key_id is not None:
        met = Attempt.objects.filter(id__gte=low, id__lt=high, key_id=drill.key_id)
        records = Record.objects.filter(request_id__in=met.values("record_id"))
    else:
        records = Record.objects.filter(request_id__gte=low, request_id__lt=high, api_key_id=drill.api_key_id)
        records = records.filter(attempt_count__gt=0)
        met = Attempt.objects.filter(id__gte=low, id__lt=high, record_id__in=records.values("request_id"))
    failed = met.exclude(reason="")
    answered = records.filter(outcome=Outcome.OK, request_id__in=failed.values("record_id"))
    counted = records.values("outcome", "status_code").annotate(n=Count("pk"))
    saw = sorted((Saw(each["outcome"], each["status_code"], each["n"]) for each in counted), key=_most_first)
    return Report(
        requests=sum(each.requests for each in saw),
        saw=tuple(saw),
        failures=failed.count(),
        failovers=answered.count(),
        ejected=None if drill.key_id is None else _ejected(drill, end, met),
        returned=_returned(drill, now),
    )


def _most_first(saw: Saw) -> tuple[int, str, int]:
    return -saw.requests, saw.outcome, saw.status


def _ejected(drill: Drill, end: datetime, met: Any) -> float | None:
    first = met.exclude(reason="").order_by("started_at").values_list("started_at", flat=True).first()
    endpoints = list(met.order_by().values_list("endpoint_id", flat=True).distinct())
    turns = StateEvent.objects.filter(id__gte=lower_bound(drill.starts_at), id__lt=lower_bound(end))
    left = (
        turns.filter(Q(key_id=drill.key_id) | Q(endpoint_id__in=endpoints))
        .filter(condition__in=LEFT_ALONE, action="")
        .order_by("id")
        .values_list("at", flat=True)
        .first()
    )
    return None if first is None or left is None else max(0.0, (left - first).total_seconds())


def _returned(drill: Drill, now: datetime) -> float | None:
    if now < drill.ends_at or drill.key_id is None:
        return None
    back = (
        Attempt.objects.filter(id__gte=lower_bound(drill.ends_at), key_id=drill.key_id, verdict="ok")
        .filter(started_at__gte=drill.ends_at)
        .order_by("id")
        .values_list("started_at", flat=True)
        .first()
    )
    return None if back is None else max(0.0, (back - drill.ends_at).total_seconds())
