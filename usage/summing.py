"""The sums of a quarter of an hour, as the records give them and as the rollups hold them, by SQL.

The recorder adds up line by line (`usage.rollup`); this adds up once more from the rows themselves, so that
each checks the other. Both sides come with one statement: what a recorder at work writes meanwhile is seen in
both or in neither.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.ids import lower_bound
from usage.measures import FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, Record, Rollup
from usage.rollup import COLUMNS, QUARTER, Key, quarter_value

SOURCES: dict[type[Any], type[Any]] = {Rollup: Record, ApiKeyRollup: Record, AttemptRollup: Attempt}
"""Each rollup, and the table that it sums."""
MONEY = ("list_cost", "own_cost", "saved_cost")
PART = 1_000_000
"""Money is summed in two parts, of millions of pico-dollars and of the rest: SQLite's SUM ends at 2^63."""
ABSENT = {Attempt: ("saved_cost", "estimated")}
"""Columns of the rollup that its source does not have."""
ENDED = {Record: "outcome", Attempt: "verdict"}
"""The column that says how a row ended."""


class Wrong(NamedTuple):
    """A rollup row that is not what the records say, in the order of `COLUMNS`. `ledger` is None where there
    should be no row, `rollup` where there is none; `id` is the rollup row's, 0 for none."""

    key: Key
    ledger: list[int] | None
    rollup: list[int] | None
    id: int


class Compared(NamedTuple):
    """One rollup in one quarter: how many rows of its source were summed, and what is wrong."""

    summed: int
    wrong: list[Wrong]


class Comparison:
    """Compares the rollups of a database with the rows that they sum."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._sql = {model: _statement(connection, model) for model in SOURCES}

    def compare(self, cursor: CursorWrapper, model: type[Any], quarter: int) -> Compared:
        """The rollup `model` in the quarter that begins at `quarter`, in Unix seconds. A row of zeros counts
        as none."""
        low, high = id_range(self.connection, SOURCES[model], quarter)
        cursor.execute(self._sql[model], [low, high, quarter_value(self.connection, quarter)])
        size = len(model.DIMENSIONS) - 1
        ledger: dict[Key, list[int]] = {}
        rollup: dict[Key, tuple[int, list[int]]] = {}
        for number, *row in cursor:
            key = (quarter, *row[:size])
            values = _joined(row[size:])
            if not any(values):
                continue
            if number:
                rollup[key] = number, values
            else:
                ledger[key] = values
        wrong = []
        for key in sorted(ledger.keys() | rollup.keys()):
            number, there = rollup.get(key, (0, None))
            if ledger.get(key) != there:
                wrong.append(Wrong(key, ledger.get(key), there, number))
        return Compared(sum(values[0] for values in ledger.values()), wrong)


def id_range(connection: BaseDatabaseWrapper, model: type[Any], quarter: int) -> tuple[Any, Any]:
    """The least id of requests that started in the quarter, and the least of those after it, as the database
    compares them."""
    low, high = (
        model._meta.pk.get_db_prep_value(lower_bound(datetime.fromtimestamp(second, UTC)), connection)
        for second in (quarter, quarter + QUARTER)
    )
    return low, high


def table_of(connection: BaseDatabaseWrapper, model: type[Any]) -> str:
    """The table's quoted name."""
    return connection.ops.quote_name(model._meta.db_table)


def _statement(connection: BaseDatabaseWrapper, model: type[Any]) -> str:
    """Rows of a number (0: summed now, else the rollup row's id), the dimensions and the columns."""
    source = SOURCES[model]
    dimensions = model.DIMENSIONS[1:]
    own = ", ".join(f"COALESCE({name}, 0)" if name.endswith("_id") else name for name in dimensions)
    grouped = ", ".join(str(place) for place in range(2, 2 + len(dimensions)))
    summed = ", ".join(each for column in COLUMNS for each in _summed(column, source))
    held = ", ".join(each for column in COLUMNS for each in _held(column))
    key = source._meta.pk.column
    return (
        f"SELECT 0, {own}, {summed} FROM {table_of(connection, source)}"
        f" WHERE {key} >= %s AND {key} < %s GROUP BY {grouped}"
        f" UNION ALL SELECT id, {', '.join(dimensions)}, {held} FROM {table_of(connection, model)}"
        " WHERE quarter = %s"
    )


def _summed(column: str, source: type[Any]) -> tuple[str, ...]:
    if column in ABSENT.get(source, ()):
        return ("0", "0") if column in MONEY else ("0",)
    if column in MONEY:
        return (
            f"COALESCE(SUM({column} / {PART}), 0)",
            f"COALESCE(SUM({column} %% {PART}), 0)",
        )
    if column == "succeeded":
        return (f"COUNT(*) FILTER (WHERE {ENDED[source]} = 'ok')",)
    return (_EXPRESSIONS.get(column) or f"COALESCE(SUM({column}), 0)",)


def _held(column: str) -> tuple[str, ...]:
    return (f"{column} / {PART}", f"{column} %% {PART}") if column in MONEY else (column,)


def _joined(row: list[Any]) -> list[int]:
    """The columns with both parts of each sum of money put together."""
    parts = iter(row)
    return [
        int(next(parts)) * PART + int(next(parts)) if column in MONEY else int(next(parts))
        for column in COLUMNS
    ]


def _within(measure: str, bounds: tuple[int, ...], place: int) -> str:
    """How many durations are in a histogram's bucket; a bound belongs to the bucket below it."""
    low = f"{measure} > {bounds[place - 1]}" if place else f"{measure} IS NOT NULL"
    high = f" AND {measure} <= {bounds[place]}" if place < len(bounds) else ""
    return f"COUNT(*) FILTER (WHERE {low}{high})"


_EXPRESSIONS = {
    "requests": "COUNT(*)",
    "unpriced": "COUNT(*) FILTER (WHERE list_cost IS NULL)",
    "estimated": "COUNT(*) FILTER (WHERE estimated)",
    "first_token_count": "COUNT(first_token_ms)",
    **{
        name: _within("first_token_ms", FIRST_TOKEN_BOUNDS, place)
        for place, name in enumerate(Measures.FIRST_TOKEN)
    },
    **{name: _within("total_ms", TOTAL_BOUNDS, place) for place, name in enumerate(Measures.TOTAL)},
}
