"""Sums by quarter of an hour: what each record and attempt adds to them, and how they are stored.

`usage.summing` arrives at the same by SQL, and a test at the same by plain loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.columns import Row, Table
from usage.measures import BUCKETS, FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures, bucket
from usage.models import ApiKeyRollup, AttemptRollup, Rollup

QUARTER = 15 * 60
COLUMNS = (*Measures.SUMS, *Measures.FIRST_TOKEN, *Measures.TOTAL)
_FIRST_TOKEN_AT = len(Measures.SUMS)
_TOTAL_AT = _FIRST_TOKEN_AT + BUCKETS

Key = tuple[Any, ...]
"""A rollup's dimensions; the first is the quarter in Unix seconds."""


class RecordFacts(NamedTuple):
    """What of a record enters the sums; None where the database has NULL. Costs are pico-dollars."""

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


def quarter_of(identifier: UUID) -> int:
    """The quarter of an hour, in Unix seconds, in which the request of this record or attempt started: the
    one that its id tells."""
    return (identifier.int >> 80) // 1000 // QUARTER * QUARTER


class Sums:
    """Sums over records and attempts, by dimension, in the order of `COLUMNS`."""

    def __init__(self) -> None:
        self.by_dimension: dict[Key, list[int]] = {}
        self.by_api_key: dict[Key, list[int]] = {}
        self.by_target: dict[Key, list[int]] = {}

    def add_record(self, quarter: int, facts: RecordFacts, sign: int = 1) -> None:
        """Adds a record that started in `quarter`; takes it away with `sign` -1."""
        one = _contribution(facts, facts.saved_cost, facts.outcome == "ok", facts.estimated)
        model = facts.model_id or 0
        _add(
            self.by_dimension,
            (
                quarter,
                facts.consumer_id or 0,
                model,
                facts.provider_id or 0,
                facts.key_id or 0,
                facts.client_format,
                facts.upstream_format,
                facts.outcome,
            ),
            one,
            facts,
            sign,
        )
        _add(self.by_api_key, (quarter, facts.api_key_id or 0, model), one, facts, sign)

    def add_attempt(self, quarter: int, facts: AttemptFacts, sign: int = 1) -> None:
        """Adds an attempt of a record that started in `quarter`; takes it away with `sign` -1."""
        key = (
            quarter,
            facts.provider_id or 0,
            facts.endpoint_id or 0,
            facts.key_id or 0,
            facts.model_id or 0,
            facts.verdict,
        )
        _add(self.by_target, key, _contribution(facts, 0, facts.verdict == "ok", False), facts, sign)

    def tables(self) -> tuple[tuple[type[Any], dict[Key, list[int]]], ...]:
        """Each rollup's model and its sums."""
        return (
            (Rollup, self.by_dimension),
            (ApiKeyRollup, self.by_api_key),
            (AttemptRollup, self.by_target),
        )


def _contribution(
    facts: RecordFacts | AttemptFacts, saved_cost: int, succeeded: bool, estimated: bool
) -> tuple[int, ...]:
    """What one row adds to the columns `Measures.SUMS`."""
    first = facts.first_token_ms
    return (
        1,
        facts.input_tokens,
        facts.output_tokens,
        facts.cached_tokens,
        facts.cache_creation_tokens,
        facts.cache_creation_1h_tokens,
        facts.reasoning_tokens,
        facts.list_cost or 0,
        facts.own_cost,
        saved_cost,
        1 if succeeded else 0,
        1 if facts.list_cost is None else 0,
        1 if estimated else 0,
        0 if first is None else 1,
        first or 0,
        facts.total_ms,
    )


def _add(
    sums: dict[Key, list[int]], key: Key, one: tuple[int, ...], facts: RecordFacts | AttemptFacts, sign: int
) -> None:
    known = sums.get(key)
    if known is None:
        known = sums[key] = [0] * len(COLUMNS)
    for place, value in enumerate(one):
        if value:
            known[place] += sign * value
    if facts.first_token_ms is not None:
        known[_FIRST_TOKEN_AT + bucket(FIRST_TOKEN_BOUNDS, facts.first_token_ms)] += sign
    known[_TOTAL_AT + bucket(TOTAL_BOUNDS, facts.total_ms)] += sign


class RollupTables:
    """Stores sums in the three rollups of a database."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._tables: dict[type[Any], Table] = {}
        self._adding: dict[type[Any], str] = {}
        self._replacing: dict[type[Any], str] = {}
        for model in (Rollup, ApiKeyRollup, AttemptRollup):
            table = self._tables[model] = Table(model, connection, (*model.DIMENSIONS, *COLUMNS))
            conflict = f"({', '.join(model.DIMENSIONS)}) DO UPDATE SET "
            self._adding[model] = conflict + ", ".join(
                f"{column} = {table.name}.{column} + excluded.{column}" for column in COLUMNS
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
