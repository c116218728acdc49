"""What a reconciliation finds: one value that is not what the ledger says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from usage.pico import from_pico
from usage.summing import MONEY

RECORDS, ATTEMPTS, POSITIONS, LETTERS = (
    "usage_record",
    "usage_attempt",
    "usage_journalposition",
    "usage_deadletter",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """`table` is the database's name of the table, `row` what the row is known by there: a rollup's
    dimensions, a record's id. `ledger` is what `column` must be, `found` what it is; None where the ledger
    knows no such row, or the table has none. Money is whole pico-dollars. `quarter` is the quarter of an
    hour (UTC) in which the request started, None for what belongs to none."""

    table: str
    row: Mapping[str, Any]
    column: str
    ledger: int | str | None
    found: int | str | None
    quarter: datetime | None = None

    @property
    def ledger_shown(self) -> Decimal | int | str | None:
        """`ledger`, money in dollars."""
        return _shown(self.column, self.ledger)

    @property
    def found_shown(self) -> Decimal | int | str | None:
        """`found`, money in dollars."""
        return _shown(self.column, self.found)


def _shown(column: str, value: int | str | None) -> Decimal | int | str | None:
    return from_pico(value) if column in MONEY and isinstance(value, int) else value
