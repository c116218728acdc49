"""Health in numbers: what the attempts at each endpoint with each key came to, moment by moment, for the
timelines.

Buckets of forty seconds are kept for two hours, those of sixteen minutes for thirty days: ninety cells of
either make an hour and a day, and a week and a month come out even. The recorder counts an attempt in the
transaction that inserts it; `rebuild` counts once more, from the attempts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.columns import MOST_PARAMETERS, Table, in_parts, placeholders
from usage.ids import instant, lower_bound
from usage.models import Attempt, HealthBucket

FINE, COARSE = 40, 960
KEPT: Mapping[int, timedelta] = {FINE: timedelta(hours=2), COARSE: timedelta(days=30)}
"""Length of a bucket in seconds, and how long it is kept."""
AT_ONCE = 5_000

FAILURES = ("gateway", "timeout", "throttled", "overloaded", "auth", "money", "unsupported", "other")
"""Classes of failures that are the vendor's, or the key's."""
COUNTS = ("attempts", "succeeded", *FAILURES, "aside", "first_token_count", "first_token_ms")
CLASSES: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "dns", "connect", "tls", "reset", "html", "wrong_type", "empty", "truncated", "bad_frame",
            "unavailable", "server_error",
        ),
        "gateway",
    ),
    **dict.fromkeys(
        (
            "connect_timeout", "first_byte_timeout", "first_event_timeout", "total_timeout",
            "timeout_status",
        ),
        "timeout",
    ),
    "throttled": "throttled",
    "overloaded": "overloaded",
    "key_refused": "auth",
    "not_permitted": "auth",
    "out_of_money": "money",
    "unsupported": "unsupported",
    "unsupported_request": "unsupported",
    "caller": "aside",
    "policy": "aside",
}  # fmt: skip
"""An attempt's reason, and its class; any other is `other`."""
ENDED: Mapping[str, str] = {
    "ok": "succeeded", "pass_on": "aside", "client_gone": "aside", "interrupted": "aside",
}  # fmt: skip
"""Verdicts that tell the class without a reason."""

Key = tuple[int, int, int, int, int, str]
"""A bucket's dimensions."""
_ATTEMPTS, _FIRST_COUNT, _FIRST_MS = (
    COUNTS.index(name) for name in ("attempts", "first_token_count", "first_token_ms")
)
FACTS = ("provider_id", "endpoint_id", "key_id", "upstream_format", "verdict", "reason", "first_token_ms")
"""What of an attempt is counted."""


def class_of(verdict: str, reason: str) -> str:
    """The column in which an attempt counts."""
    return ENDED.get(verdict) or CLASSES.get(reason, "other")


_PLACES = {name: place for place, name in enumerate(COUNTS)}


class Vitals:
    """The counts of a batch of attempts."""

    def __init__(self) -> None:
        self._fine: dict[tuple[Any, ...], list[int]] = {}

    def add(self, hexed: str, facts: Sequence[Any]) -> None:
        """Counts an attempt by its id, in hex digits, and its `FACTS`."""
        provider, endpoint, key, wire_format, verdict, reason, first_token_ms = facts
        begins = int(hexed[:12], 16) // 1000 // FINE * FINE
        dimensions = (begins, provider or 0, endpoint or 0, key or 0, wire_format)
        counts = self._fine.get(dimensions)
        if counts is None:
            counts = self._fine[dimensions] = [0] * len(COUNTS)
        counts[_ATTEMPTS] += 1
        counts[_PLACES[class_of(verdict, reason)]] += 1
        if first_token_ms is not None:
            counts[_FIRST_COUNT] += 1
            counts[_FIRST_MS] += first_token_ms

    def buckets(self) -> dict[Key, list[int]]:
        """The counts of both lengths, by dimension."""
        found: dict[Key, list[int]] = {}
        for (begins, *place), counts in self._fine.items():
            found[(FINE, begins, *place)] = counts
            coarse = (COARSE, begins // COARSE * COARSE, *place)
            known = found.get(coarse)
            found[coarse] = counts if known is None else [a + b for a, b in zip(known, counts, strict=True)]
        return found


class VitalTables:
    """Stores counts in a database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._table = Table(HealthBucket, connection, (*HealthBucket.DIMENSIONS, *COUNTS))
        conflict = f"({', '.join(HealthBucket.DIMENSIONS)}) DO UPDATE SET "
        self._adding = conflict + ", ".join(f"{each} = old.{each} + excluded.{each}" for each in COUNTS)
        self._replacing = conflict + ", ".join(f"{each} = excluded.{each}" for each in COUNTS)

    def add(self, cursor: CursorWrapper, vitals: Vitals) -> None:
        """Adds to what is there, in the order of the keys, as `RollupTables.add` does."""
        self._insert(cursor, vitals.buckets(), self._adding)

    def replace(self, cursor: CursorWrapper, buckets: Mapping[Key, list[int]]) -> None:
        """Puts counts in the place of what is there."""
        self._insert(cursor, buckets, self._replacing)

    def _insert(self, cursor: CursorWrapper, buckets: Mapping[Key, list[int]], conflict: str) -> None:
        rows = [[*key, *buckets[key]] for key in sorted(buckets)]
        self._table.insert(cursor, rows, conflict=conflict)


def forget(now: datetime, *, using: str = "default") -> bool:
    """Deletes a part of the buckets that had their time; tells whether there are more."""
    for seconds, kept in KEPT.items():
        rows = HealthBucket.objects.using(using).filter(
            seconds=seconds, begins__lt=int((now - kept).timestamp()) - seconds
        )
        gone = list(rows.order_by("begins").values_list("pk", flat=True)[:AT_ONCE])
        HealthBucket.objects.using(using).filter(pk__in=gone).delete()
        if len(gone) == AT_ONCE:
            return True
    return False


class Wrong(NamedTuple):
    """A row that is not what the attempts say. `ledger` and `found` are in the order of `COUNTS`; None where
    the attempts know no such bucket, or the table has none. `id` is the row's, 0 for none."""

    key: Key
    ledger: list[int] | None
    found: list[int] | None
    id: int = 0


def spans(
    connection: BaseDatabaseWrapper, now: datetime, since: datetime | None, until: datetime | None
) -> Iterator[tuple[int, int]]:
    """Length and beginning, in Unix seconds, of the buckets that are still kept: those that hold `since` or
    begin later, and before `until`. What is older than the oldest attempt is left out."""
    oldest = Attempt.objects.using(connection.alias).order_by("id").values_list("id", flat=True).first()
    if oldest is None:
        return
    for seconds, kept in KEPT.items():
        first = max(instant(oldest), now - kept, since or now - kept)
        last = min(now, until) if until else now + timedelta(seconds=seconds)
        for begins in range(int(first.timestamp()) // seconds * seconds, ceil(last.timestamp()), seconds):
            yield seconds, begins


def check(connection: BaseDatabaseWrapper, seconds: int, begins: int) -> list[Wrong]:
    """The rows of one bucket that are wrong, missing or left over. What differs is looked at once more with
    the recorder kept out: it may have written between two statements."""
    with connection.cursor() as cursor:
        wrong = _compared(connection, cursor, seconds, begins)
    if not wrong:
        return []
    with _alone(connection) as cursor:
        return _compared(connection, cursor, seconds, begins)


def mend(connection: BaseDatabaseWrapper, seconds: int, begins: int) -> int:
    """Brings the rows of one bucket to what the attempts say; returns how many were not."""
    with _alone(connection) as cursor:
        wrong = _compared(connection, cursor, seconds, begins)
        stray = [each.id for each in wrong if each.ledger is None]
        for part in in_parts(stray, MOST_PARAMETERS):
            cursor.execute(f"DELETE FROM {_table(connection)} WHERE id IN ({placeholders(part)})", part)
        VitalTables(connection).replace(
            cursor, {each.key: each.ledger for each in wrong if each.ledger is not None}
        )
        return len(wrong)


def rebuild(
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    using: str = "default",
) -> int:
    """Makes the buckets of `spans` again from the attempts. Each bucket is one transaction, for which the
    recorder waits. Returns how many rows were wrong, missing or left over."""
    connection = connections[using]
    return sum(mend(connection, *span) for span in spans(connection, now, since, until))


@contextmanager
def _alone(connection: BaseDatabaseWrapper) -> Iterator[CursorWrapper]:
    """A transaction in which nobody else writes attempts or buckets."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            attempts = connection.ops.quote_name(Attempt._meta.db_table)
            cursor.execute(f"LOCK TABLE {attempts}, {_table(connection)} IN SHARE ROW EXCLUSIVE MODE")
        yield cursor


def _table(connection: BaseDatabaseWrapper) -> str:
    return connection.ops.quote_name(HealthBucket._meta.db_table)


def _compared(
    connection: BaseDatabaseWrapper, cursor: CursorWrapper, seconds: int, begins: int
) -> list[Wrong]:
    wanted = dict(_counted(connection, cursor, seconds, begins))
    cursor.execute(
        f"SELECT id, {', '.join((*HealthBucket.DIMENSIONS, *COUNTS))} FROM {_table(connection)}"
        " WHERE seconds = %s AND begins = %s",
        [seconds, begins],
    )
    size = len(HealthBucket.DIMENSIONS)
    wrong = []
    for number, *row in cursor.fetchall():
        key: Key = tuple(row[:size])
        found, ledger = list(row[size:]), wanted.pop(key, None)
        if found != (ledger or [0] * len(COUNTS)):
            wrong.append(Wrong(key, ledger, found, number))
    return wrong + [Wrong(key, ledger, None) for key, ledger in wanted.items()]


def _counted(
    connection: BaseDatabaseWrapper, cursor: CursorWrapper, seconds: int, begins: int
) -> Iterator[tuple[Key, list[int]]]:
    """The counts of one bucket, by SQL from the attempts."""
    key = Attempt._meta.pk
    low, high = (
        key.get_db_prep_value(lower_bound(datetime.fromtimestamp(second, UTC)), connection)
        for second in (begins, begins + seconds)
    )
    ids = ("provider_id", "endpoint_id", "key_id")
    cursor.execute(
        f"SELECT {', '.join(f'COALESCE({each}, 0)' for each in ids)}, upstream_format, verdict, reason,"
        " COUNT(*), COUNT(first_token_ms), COALESCE(SUM(first_token_ms), 0)"
        f" FROM {connection.ops.quote_name(Attempt._meta.db_table)}"
        f" WHERE {key.column} >= %s AND {key.column} < %s GROUP BY 1, 2, 3, 4, 5, 6",
        [low, high],
    )
    found: dict[Key, list[int]] = {}
    for provider, endpoint, api_key, wire_format, verdict, reason, number, told, total in cursor.fetchall():
        counts = found.setdefault(
            (seconds, begins, provider, endpoint, api_key, wire_format), [0] * len(COUNTS)
        )
        counts[_ATTEMPTS] += number
        counts[_PLACES[class_of(verdict, reason)]] += number
        counts[_FIRST_COUNT] += told
        counts[_FIRST_MS] += int(total)
    yield from found.items()
