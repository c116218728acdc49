"""Rollups made again from the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from usage.columns import MOST_PARAMETERS, in_parts, placeholders, uuid_hex
from usage.ids import lower_bound
from usage.models import Attempt, Record
from usage.rollup import QUARTER, RollupTables, quarter_of, quarter_value
from usage.summing import SOURCES, Comparison, table_of

Progress = Callable[[int, int], None]
"""Hears how much is done, and of how much."""


class Rebuilt(NamedTuple):
    """What a rebuild went through: quarters looked at, rollup rows that were wrong, missing or left over."""

    quarters: int
    corrected: int


def silent(done: int, of: int) -> None:
    """Progress that nobody watches."""


def rebuild(
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    using: str = "default",
    progress: Progress = silent,
) -> Rebuilt:
    """Makes all rollups again from the records, from the quarter that holds `since` on, or from the oldest
    record's, with those that begin before `until`. Quarters older than the oldest record are left alone.
    Each quarter is one transaction, for which the recorder waits."""
    builder = Builder(connections[using])
    done = corrected = 0
    for quarter in quarters(builder.connection, since, until, progress):
        corrected += builder.rebuild(quarter)
        done += 1
    return Rebuilt(done, corrected)


class Builder:
    """Makes the rollups of single quarters again."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._tables = RollupTables(connection)
        self._comparison = Comparison(connection)

    def rebuild(self, quarter: int) -> int:
        """Brings the rows of one quarter to what the records say; returns how many were not. Those that are
        right stay untouched."""
        corrected = 0
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            if self.connection.vendor == "postgresql":
                names = ", ".join(table_of(self.connection, model) for model in SOURCES)
                cursor.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
            for model in SOURCES:
                wrong = self._comparison.compare(cursor, model, quarter).wrong
                for part in in_parts([each.id for each in wrong if each.ledger is None], MOST_PARAMETERS):
                    table = table_of(self.connection, model)
                    cursor.execute(f"DELETE FROM {table} WHERE id IN ({placeholders(part)})", part)
                wanted = [(each.key, each.ledger) for each in wrong if each.ledger is not None]
                self._tables.replace(cursor, model, wanted)
                corrected += len(wrong)
        return corrected


def quarters(
    connection: BaseDatabaseWrapper,
    since: datetime | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
) -> Iterator[int]:
    """The quarters, in Unix seconds, that have a record, an attempt or a rollup: from the one that holds
    `since` on, those that begin before `until`, none older than the oldest record's. `progress` hears how far
    it is, in quarters of the time spanned."""
    oldest, newest = _quarter_of_row(connection, Record, "ASC"), _quarter_of_row(connection, Record, "DESC")
    if oldest is None or newest is None:
        return
    first = oldest if since is None else max(oldest, int(since.timestamp()) // QUARTER * QUARTER)
    end = None if until is None else int(until.timestamp())
    last = newest if end is None else min(newest, end)
    quarter = _next_quarter(connection, first)
    while quarter is not None and (end is None or quarter < end):
        progress((quarter - first) // QUARTER, (max(last, quarter) - first) // QUARTER + 1)
        yield quarter
        quarter = _next_quarter(connection, quarter + QUARTER)
    progress(1, 1)


def _next_quarter(connection: BaseDatabaseWrapper, quarter: int) -> int | None:
    """The first quarter from `quarter` on that has a record, an attempt or a rollup."""
    found = [_quarter_of_row(connection, model, "ASC", quarter) for model in (Record, Attempt)]
    with connection.cursor() as cursor:
        for model in SOURCES:
            cursor.execute(
                f"SELECT MIN(quarter) FROM {table_of(connection, model)} WHERE quarter >= %s",
                [quarter_value(connection, quarter)],
            )
            found.append(_unix_seconds(cursor.fetchone()[0]))
    return min((each for each in found if each is not None), default=None)


def _quarter_of_row(
    connection: BaseDatabaseWrapper, model: type[Any], order: str, quarter: int = 0
) -> int | None:
    """The quarter of the oldest (ASC) or newest (DESC) row from `quarter` on. PostgreSQL 15 has no MIN of
    UUIDs."""
    key = model._meta.pk
    least = key.get_db_prep_value(lower_bound(datetime.fromtimestamp(quarter, UTC)), connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {key.column} FROM {table_of(connection, model)} WHERE {key.column} >= %s"
            f" ORDER BY {key.column} {order} LIMIT 1",
            [least],
        )
        row = cursor.fetchone()
    return None if row is None else quarter_of(uuid_hex(row[0]))


def _unix_seconds(value: Any) -> int | None:
    """A quarter as the database gives it, in Unix seconds."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return int((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp())
