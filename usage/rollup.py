"""Sums by quarter of an hour: what each record and attempt adds to them, and how they are stored.

`usage.summing` arrives at the same by SQL, and a test at the same by plain loops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.columns import Row, Table
from usage.measures import BUCKETS, FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures, bucket
from usage.models import ApiKeyRollup, AttemptRollup, Rollup

QUARTER = 15 * 60
COLUMNS = (*Measures.SUMS, *Measures.FIRST_TOKEN, *Measures.TOTAL)
_FIRST_TOKEN_AT = len(Measures.SUMS)
_TOTAL_AT = _FIRST_TOKEN_AT + BUCKETS
_SUCCEEDED_AT = COLUMNS.index("succeeded")
_NOTHING = (0,) * len(COLUMNS)

Key = tuple[Any, ...]
"""A rollup's dimensions; the first is the quarter in Unix seconds."""
Facts = tuple[Any, ...]
Column = tuple[Any, ...]


class RecordFacts(NamedTuple):
    """What of a record enters the sums: dimensions, then measures; None where the database has NULL. Costs
    are pico-dollars."""

    consumer_id: int | None
    api_key_id: int | None
    model_id: int | None
    provider_id: int | None
    key_id: int | None
    client_format: str
    upstream_format: str
    outcome: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_creation_tokens: int
    cache_creation_1h_tokens: int
    reasoning_tokens: int
    list_cost: int | None
    own_cost: int
    saved_cost: int
    estimated: bool
    first_token_ms: int | None
    total_ms: int


class AttemptFacts(NamedTuple):
    """What of an attempt enters the sums."""

    provider_id: int | None
    endpoint_id: int | None
    key_id: int | None
    model_id: int | None
    verdict: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_creation_tokens: int
    cache_creation_1h_tokens: int
    reasoning_tokens: int
    list_cost: int | None
    own_cost: int
    first_token_ms: int | None
    total_ms: int


RECORD_DIMENSIONS = RecordFacts._fields.index("input_tokens")
ATTEMPT_DIMENSIONS = AttemptFacts._fields.index("input_tokens")


def quarter_of(hexed: str) -> int:
    """The quarter of an hour, in Unix seconds, in which the request of this record or attempt started: the
    one that its id, in hex digits, tells."""
    return int(hexed[:12], 16) // 1000 // QUARTER * QUARTER


class Sums:
    """Sums over records and attempts by dimension. Rows are kept by their own dimensions, and each group is
    added up column by column at the end."""

    def __init__(self) -> None:
        self._records: dict[Key, list[Facts]] = defaultdict(list)
        self._attempts: dict[Key, list[Facts]] = defaultdict(list)

    def add_record(self, quarter: int, facts: Facts, sign: int = 1) -> None:
        """Adds a record, in the order of RecordFacts, that started in `quarter`; takes it away with `sign`
        -1."""
        self._records[quarter, sign, facts[:RECORD_DIMENSIONS]].append(facts[RECORD_DIMENSIONS:])

    def add_attempt(self, quarter: int, facts: Facts, sign: int = 1) -> None:
        """Adds an attempt, in the order of AttemptFacts, of a record that started in `quarter`."""
        self._attempts[quarter, sign, facts[:ATTEMPT_DIMENSIONS]].append(facts[ATTEMPT_DIMENSIONS:])

    def tables(self) -> tuple[tuple[type[Any], dict[Key, list[int]]], ...]:
        """Each rollup's model and its sums, in the order of `COLUMNS`."""
        by_dimension: dict[Key, list[int]] = {}
        by_api_key: dict[Key, list[int]] = {}
        by_target: dict[Key, list[int]] = {}
        for (quarter, sign, dimensions), rows in self._records.items():
            consumer, api_key, model, provider, key, client_format, upstream_format, outcome = dimensions
            *tokens, cost, own, saved, estimated, first, total = zip(*rows, strict=True)
            sums = _summed(tokens, cost, own, first, total, saved=sum(saved), estimated=sum(estimated))
            sums[_SUCCEEDED_AT] = len(rows) if outcome == "ok" else 0
            ids = (quarter, consumer or 0, model or 0, provider or 0, key or 0)
            _add(by_dimension, (*ids, client_format, upstream_format, outcome), sums, sign)
            _add(by_api_key, (quarter, api_key or 0, model or 0), sums, sign)
        for (quarter, sign, dimensions), rows in self._attempts.items():
            provider, endpoint, key, model, verdict = dimensions
            *tokens, cost, own, first, total = zip(*rows, strict=True)
            sums = _summed(tokens, cost, own, first, total)
            sums[_SUCCEEDED_AT] = len(rows) if verdict == "ok" else 0
            _add(
                by_target, (quarter, provider or 0, endpoint or 0, key or 0, model or 0, verdict), sums, sign
            )
        return (Rollup, by_dimension), (ApiKeyRollup, by_api_key), (AttemptRollup, by_target)


def _summed(
    tokens: Sequence[Column],
    list_cost: Column,
    own_cost: Column,
    first_token_ms: Column,
    total_ms: Column,
    *,
    saved: int = 0,
    estimated: int = 0,
) -> list[int]:
    """The columns of a group's rows added up, in the order of `COLUMNS`; `succeeded` is left at 0."""
    number = len(total_ms)
    told = [each for each in first_token_ms if each is not None]
    sums = [
        number,
        *map(sum, tokens),
        sum(filter(None, list_cost)),
        sum(own_cost),
        saved,
        0,
        list_cost.count(None),
        estimated,
        len(told),
        sum(told),
        sum(total_ms),
        *([0] * (2 * BUCKETS)),
    ]
    for each in told:
        sums[_FIRST_TOKEN_AT + bucket(FIRST_TOKEN_BOUNDS, each)] += 1
    for each in total_ms:
        sums[_TOTAL_AT + bucket(TOTAL_BOUNDS, each)] += 1
    return sums


def _add(sums: dict[Key, list[int]], key: Key, more: Sequence[int], sign: int) -> None:
    known = sums.get(key, _NOTHING)
    sums[key] = [before + sign * each for before, each in zip(known, more, strict=True)]


class RollupTables:
    """Stores sums in the three rollups of a database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._tables: dict[type[Any], Table] = {}
        self._adding: dict[type[Any], str] = {}
        self._replacing: dict[type[Any], str] = {}
        for model in (Rollup, ApiKeyRollup, AttemptRollup):
            self._tables[model] = Table(model, connection, (*model.DIMENSIONS, *COLUMNS))
            conflict = f"({', '.join(model.DIMENSIONS)}) DO UPDATE SET "
            self._adding[model] = conflict + ", ".join(
                f"{column} = old.{column} + excluded.{column}" for column in COLUMNS
            )
            self._replacing[model] = conflict + ", ".join(
                f"{column} = excluded.{column}" for column in COLUMNS
            )

    def add(self, cursor: CursorWrapper, sums: Sums) -> None:
        """Adds to what is there, one statement a table, in the order of their keys: two writers that meet
        wait for each other and never in a circle."""
        for model, by_key in sums.tables():
            changes = sorted((key, values) for key, values in by_key.items() if any(values))
            self._tables[model].insert(cursor, self._rows(changes), conflict=self._adding[model])

    def replace(self, cursor: CursorWrapper, model: type[Any], sums: Sequence[tuple[Key, list[int]]]) -> None:
        """Puts rows in the place of what is there."""
        self._tables[model].insert(cursor, self._rows(sums), conflict=self._replacing[model])

    def _rows(self, sums: Sequence[tuple[Key, list[int]]]) -> list[Row]:
        return [[quarter_value(self.connection, key[0]), *key[1:], *values] for key, values in sums]


def quarter_value(connection: BaseDatabaseWrapper, quarter: int) -> Any:
    """The database value of a quarter given in Unix seconds."""
    return connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(quarter, UTC))
