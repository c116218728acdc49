"""Where the numbers of a report come from: the smallest table that holds what is asked for, and the SQL that
sums it up.

Money is summed as whole pico-dollars, its millions and what is left of them apart: SQLite's SUM fails beyond
63 bits, which is 9.2 million dollars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, models

from usage.columns import placeholders
from usage.ids import lower_bound
from usage.measures import FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, Record, Rollup

Filters = Mapping[str, int | str]
"""Dimension -> the one value asked for; 0 and "" stand for none."""

MONEY = ("list_cost", "own_cost", "saved_cost")
MILLION = 10**6
IDS = ("model", "provider", "key", "consumer", "api_key")


@dataclass(frozen=True, slots=True)
class Source:
    """A table, or two joined, that can be summed: `dimensions` are columns by the name of what they tell,
    `span` is the column that holds when a request began."""

    table: str
    dimensions: Mapping[str, str]
    span: models.Field[Any, Any]
    span_column: str
    by_id: bool = False
    """Whether the rows are records or attempts, each with an id that holds its instant."""

    def edge(self, moment: datetime) -> Any:
        """The value of `span` at a point in time, as the database takes it."""
        return self.span.get_db_prep_value(lower_bound(moment) if self.by_id else moment, connection)

    def value(self, name: str) -> str:
        """What a row adds to a measure, in SQL."""
        if not self.by_id:
            return name
        if name in _OF_ROWS:
            return _OF_ROWS[name]
        for columns, column, bounds in _HISTOGRAMS:
            if name in columns:
                return _within(column, bounds, columns.index(name))
        return f"COALESCE({name}, 0)"

    def condition(self, name: str, value: int | str) -> tuple[str, list[Any]]:
        """What rows with this value of a dimension fulfil, in SQL, and its parameters."""
        if self.by_id and name in IDS:
            return (f"{name}_id = %s", [value]) if value else (f"{name}_id IS NULL", [])
        return f"{self.dimensions[name]} = %s", [value]


class Sum(NamedTuple):
    """What one group adds up to: `place` counts the pieces of time from 0, `group` holds the values that were
    grouped by, in their order."""

    place: int
    group: tuple[Any, ...]
    values: dict[str, int]


def _table(model: type[models.Model]) -> str:
    return str(model._meta.db_table)


def _rollup(model: type[Any], *, texts: tuple[str, ...] = ()) -> Source:
    held = {column.removesuffix("_id"): column for column in model.DIMENSIONS}
    return Source(
        _table(model),
        {name: column for name, column in held.items() if name in (*IDS, *texts)},
        model._meta.get_field("quarter"),
        "quarter",
    )


def _columns(names: Sequence[str], table: str = "") -> dict[str, str]:
    prefix = f"{table}." if table else ""
    return {name: f"COALESCE({prefix}{name}_id, 0)" if name in IDS else prefix + name for name in names}


ROLLUP = _rollup(Rollup, texts=("client_format", "outcome"))
API_KEYS = _rollup(ApiKeyRollup)
ATTEMPTS = _rollup(AttemptRollup)
RECORDS = Source(
    _table(Record), _columns((*IDS, "client_format", "outcome")), Record._meta.pk, "request_id", by_id=True
)
ATTEMPTS_OF_RECORDS = Source(
    "(SELECT a.id, a.record_id, a.verdict AS outcome, a.own_cost, a.model_id, a.provider_id, a.key_id,"
    " r.consumer_id, r.api_key_id, r.client_format, r.outcome AS record_outcome"
    f" FROM {_table(Attempt)} a JOIN {_table(Record)} r ON r.request_id = a.record_id) tried",
    {**_columns((*IDS, "client_format")), "outcome": "record_outcome"},
    Attempt._meta.pk,
    "id",
    by_id=True,
)
"""Attempts with what only their record tells."""

_OF_ROWS = {
    "requests": "1",
    "succeeded": "CASE WHEN outcome = 'ok' THEN 1 ELSE 0 END",
    "unpriced": "CASE WHEN list_cost IS NULL THEN 1 ELSE 0 END",
    "estimated": "CASE WHEN estimated THEN 1 ELSE 0 END",
    "first_token_count": "CASE WHEN first_token_ms IS NULL THEN 0 ELSE 1 END",
}
_HISTOGRAMS = (
    (Measures.FIRST_TOKEN, "first_token_ms", FIRST_TOKEN_BOUNDS),
    (Measures.TOTAL, "total_ms", TOTAL_BOUNDS),
)


def _within(column: str, bounds: tuple[int, ...], index: int) -> str:
    """1 for a row in one bucket of a histogram: above the bound below, up to the bound itself."""
    sides = [f"{column} > {bounds[index - 1]}"] if index else []
    sides += [f"{column} <= {bounds[index]}"] if index < len(bounds) else []
    return f"CASE WHEN {' AND '.join(sides)} THEN 1 ELSE 0 END"


def source_of(dimensions: set[str]) -> Source:
    """The smallest table that holds all of `dimensions` together: a rollup, or else the records."""
    for source in (ROLLUP, API_KEYS):
        if dimensions <= source.dimensions.keys():
            return source
    return RECORDS


def attempts_source(dimensions: set[str]) -> Source:
    """As `source_of`, for the attempts."""
    return ATTEMPTS if dimensions <= ATTEMPTS.dimensions.keys() else ATTEMPTS_OF_RECORDS


def summed(
    source: Source,
    edges: Sequence[datetime],
    *,
    measures: Sequence[str],
    by: Sequence[str] = (),
    filters: Filters | None = None,
    only: tuple[str, Sequence[Any]] | None = None,
    limit: int | None = None,
) -> list[Sum]:
    """The sums of `measures` between the first and the last of `edges`, for each piece between two of them
    and each group of `by`. `only` keeps a dimension to some values. With `limit` the groups that cost or ask
    most come first, and no others."""
    place, parameters = _place(source, edges[1:-1])
    groups = [source.dimensions[name] for name in by]
    columns = [column for name in measures for column in _sums(name, source.value(name))]
    where = [f"{source.span_column} >= %s", f"{source.span_column} < %s"]
    parameters += [source.edge(edges[0]), source.edge(edges[-1])]
    for name, value in (filters or {}).items():
        condition, asked = source.condition(name, value)
        where.append(condition)
        parameters += asked
    if only is not None:
        where.append(f"{source.dimensions[only[0]]} IN ({placeholders(only[1])})")
        parameters += only[1]
    keys = ", ".join(str(number) for number in range(1, len(groups) + 2))
    statement = (
        f"SELECT {', '.join([place, *groups, *columns])} FROM {source.table}"
        f" WHERE {' AND '.join(where)} GROUP BY {keys}"
    )
    if limit is not None:
        most = [name for name in ("list_cost", "own_cost", "requests") if name in measures]
        order = ", ".join(f"{1 + len(groups) + _position(measures, name)} DESC" for name in most)
        statement += f" ORDER BY {order}, {keys} LIMIT {limit:d}"
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [_read(row, len(groups), measures) for row in cursor.fetchall()]


def _place(source: Source, inner: Sequence[datetime]) -> tuple[str, list[Any]]:
    """An expression for the number of the piece that a row falls into, found by halves, and its
    parameters."""

    def between(low: int, high: int) -> tuple[str, list[Any]]:
        if low == high:
            return str(low), []
        middle = (low + high) // 2
        left, first = between(low, middle)
        right, second = between(middle + 1, high)
        edge = source.edge(inner[middle])
        return f"CASE WHEN {source.span_column} < %s THEN {left} ELSE {right} END", [edge, *first, *second]

    return between(0, len(inner))


def _sums(name: str, value: str) -> list[str]:
    """The selected columns of a measure: of money its millions of pico-dollars, and what each row has beyond
    them."""
    if name not in MONEY:
        return [f"SUM({value})"]
    return [f"SUM({value} / {MILLION})", f"SUM({value} %% {MILLION})"]  # a single % would be a parameter


def _position(measures: Sequence[str], wanted: str) -> int:
    """Which of the columns of all measures is the first of `wanted`, counted from 1."""
    before = measures[: measures.index(wanted)]
    return 1 + len(before) + sum(name in MONEY for name in before)


def _read(row: Sequence[Any], groups: int, measures: Sequence[str]) -> Sum:
    values: dict[str, int] = {}
    rest = iter(row[1 + groups :])
    for name in measures:
        number = int(next(rest) or 0)
        values[name] = number * MILLION + int(next(rest) or 0) if name in MONEY else number
    return Sum(int(row[0]), tuple(row[1 : 1 + groups]), values)
