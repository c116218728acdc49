"""Reads the table `Change` forward, by id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Max

from changes.models import Change

KEPT_FOR = timedelta(days=1)
BATCH = 1_000


class Seen(NamedTuple):
    """One change, as a plain value. An empty `object_id` means all rows of the kind."""

    id: int
    kind: str
    object_id: str


def latest() -> int:
    """Id of the newest change; 0 where there is none."""
    return Change.objects.aggregate(newest=Max("id"))["newest"] or 0


def since(position: int) -> Sequence[Seen]:
    """The changes after `position`, oldest first, at most `BATCH` of them."""
    rows = Change.objects.filter(id__gt=position).order_by("id").values_list("id", "kind", "object_id")
    return [Seen(*row) for row in rows[:BATCH]]


def forget(now: datetime) -> int:
    """Deletes what is older than a day, the newest row excepted; returns how many rows went."""
    deleted, _ = Change.objects.filter(created_at__lt=now - KEPT_FOR, id__lt=latest()).delete()
    return deleted
