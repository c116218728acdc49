"""Rollups made again from the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.columns import MOST_PARAMETERS, in_parts, placeholders
from usage.ids import lower_bound
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, Record, Rollup
from usage.rollup import (
    COLUMNS,
    QUARTER,
    AttemptFacts,
    Key,
    RecordFacts,
    RollupTables,
    Sums,
    quarter_of,
    quarter_value,
)

MODELS = (Rollup, ApiKeyRollup, AttemptRollup)


class Rebuilt(NamedTuple):
    """What a rebuild went through: quarters looked at, rollup rows that were wrong, missing or left over."""

    quarters: int
    corrected: int


def rebuild(
    first_quarter: datetime | None = None,
    *,
    using: str = "default",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Rebuilt:
    """Makes all rollups again from the records, from the quarter that holds `first_quarter` on, or from the
    oldest record's. Quarters older than the oldest record are left alone. Each quarter is one transaction,
    for which the recorder waits. `progress` hears how far it is, in quarters of the time spanned."""
    connection = connections[using]
    oldest = _record_quarter(connection, "MIN")
    newest = _record_quarter(connection, "MAX")
    if oldest is None or newest is None:
        return Rebuilt(0, 0)
    first = oldest
    if first_quarter is not None:
        first = max(oldest, int(first_quarter.timestamp()) // QUARTER * QUARTER)
    tables, quarters, corrected = RollupTables(connection), 0, 0
    quarter = _next_quarter(connection, first)
    while quarter is not None:
        progress((quarter - first) // QUARTER, max(newest, quarter) // QUARTER - first // QUARTER + 1)
        corrected += _rebuild_quarter(tables, quarter)
        quarters += 1
        quarter = _next_quarter(connection, quarter + QUARTER)
    progress(1, 1)
    return Rebuilt(quarters, corrected)


def _rebuild_quarter(tables: RollupTables, quarter: int) -> int:
    connection = tables.connection
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            names = ", ".join(_table(connection, model) for model in MODELS)
            cursor.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
        sums = Sums()
        for row in _rows(connection, cursor, quarter, Record, RecordFacts._fields):
            sums.add_record(quarter, RecordFacts(*row))
        for row in _rows(connection, cursor, quarter, Attempt, AttemptFacts._fields):
            sums.add_attempt(quarter, AttemptFacts(*row))
        return sum(_correct(tables, cursor, quarter, model, wanted) for model, wanted in sums.tables())


def _rows(
    connection: BaseDatabaseWrapper,
    cursor: CursorWrapper,
    quarter: int,
    model: type[Any],
    columns: tuple[str, ...],
) -> Iterator[tuple[Any, ...]]:
    """The rows of requests that started in the quarter: a range of ids."""
    key = model._meta.pk
    cursor.execute(
        f"SELECT {', '.join(columns)} FROM {_table(connection, model)}"
        f" WHERE {key.column} >= %s AND {key.column} < %s",
        [_least_id(connection, model, quarter), _least_id(connection, model, quarter + QUARTER)],
    )
    while rows := cursor.fetchmany(2_000):
        yield from rows


def _correct(
    tables: RollupTables,
    cursor: CursorWrapper,
    quarter: int,
    model: type[Any],
    wanted: dict[Key, list[int]],
) -> int:
    """Brings one table's rows of one quarter to `wanted`; returns how many were not."""
    table = _table(tables.connection, model)
    size = len(model.DIMENSIONS)
    cursor.execute(
        f"SELECT id, {', '.join((*model.DIMENSIONS[1:], *COLUMNS))} FROM {table} WHERE quarter = %s",
        [quarter_value(tables.connection, quarter)],
    )
    there = {(quarter, *row[1:size]): (row[0], list(row[size:])) for row in cursor.fetchall()}
    left_over = [number for key, (number, values) in there.items() if key not in wanted and any(values)]
    for part in in_parts(left_over, MOST_PARAMETERS):
        cursor.execute(f"DELETE FROM {table} WHERE id IN ({placeholders(part)})", part)
    wrong = sorted((key, values) for key, values in wanted.items() if there.get(key, (0, None))[1] != values)
    tables.replace(cursor, model, wrong)
    return len(left_over) + len(wrong)


def _next_quarter(connection: BaseDatabaseWrapper, quarter: int) -> int | None:
    """The first quarter from `quarter` on that has a record or a rollup."""
    found = [_record_quarter(connection, "MIN", quarter)]
    with connection.cursor() as cursor:
        for model in MODELS:
            cursor.execute(
                f"SELECT MIN(quarter) FROM {_table(connection, model)} WHERE quarter >= %s",
                [quarter_value(connection, quarter)],
            )
            found.append(_unix_seconds(cursor.fetchone()[0]))
    return min((each for each in found if each is not None), default=None)


def _record_quarter(connection: BaseDatabaseWrapper, which: str, quarter: int = 0) -> int | None:
    """The quarter of the oldest or newest record from `quarter` on. PostgreSQL 15 has no MIN of UUIDs."""
    order = "ASC" if which == "MIN" else "DESC"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT request_id FROM {_table(connection, Record)} WHERE request_id >= %s"
            f" ORDER BY request_id {order} LIMIT 1",
            [_least_id(connection, Record, quarter)],
        )
        row = cursor.fetchone()
    return None if row is None else quarter_of(row[0] if isinstance(row[0], UUID) else UUID(row[0]))


def _least_id(connection: BaseDatabaseWrapper, model: type[Any], quarter: int) -> Any:
    return model._meta.pk.get_db_prep_value(lower_bound(datetime.fromtimestamp(quarter, UTC)), connection)


def _table(connection: BaseDatabaseWrapper, model: type[Any]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _unix_seconds(value: Any) -> int | None:
    """A quarter as the database gives it, in Unix seconds."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return int((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp())
