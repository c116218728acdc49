"""The rollups worked out again from the records by plain loops, to compare."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from usage.measures import FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, Record, Rollup, StoredResponse

TOKENS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "cache_creation_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip


def assert_sums_agree() -> None:
    """Every rollup row, and no other, is what the records say; rows of zeros count as none."""
    records: dict[Any, list[Any]] = defaultdict(list)
    keys: dict[Any, list[Any]] = defaultdict(list)
    targets: dict[Any, list[Any]] = defaultdict(list)
    starts = {}
    for record in Record.objects.all():
        quarter = quarter_of(record.started_at)
        starts[record.pk] = quarter
        records[
            quarter,
            record.consumer_id or 0,
            record.model_id or 0,
            record.provider_id or 0,
            record.key_id or 0,
            record.client_format,
            record.upstream_format,
            record.outcome,
        ].append(record)
        keys[quarter, record.api_key_id or 0, record.model_id or 0].append(record)
    for attempt in Attempt.objects.all():
        targets[
            starts[attempt.record_id],
            attempt.provider_id or 0,
            attempt.endpoint_id or 0,
            attempt.key_id or 0,
            attempt.model_id or 0,
            attempt.verdict,
        ].append(attempt)
    for model, wanted in ((Rollup, records), (ApiKeyRollup, keys), (AttemptRollup, targets)):
        there: dict[Any, dict[str, Any]] = {}
        for row in model.objects.all():
            values = measures(row)
            if any(values.values()):
                there[tuple(getattr(row, column) for column in row.DIMENSIONS)] = values
        assert there == {key: summed(rows) for key, rows in wanted.items()}


def quarter_of(moment: datetime) -> datetime:
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def measures(row: Any) -> dict[str, Any]:
    return {
        column: getattr(row, column) for column in (*Measures.SUMS, *Measures.FIRST_TOKEN, *Measures.TOTAL)
    }


def summed(rows: list[Any]) -> dict[str, Any]:
    sums: dict[str, Any] = {
        "requests": len(rows),
        **{column: sum(getattr(row, column) for row in rows) for column in TOKENS},
        "list_cost": sum((row.list_cost or Decimal(0) for row in rows), Decimal(0)),
        "own_cost": sum((row.own_cost for row in rows), Decimal(0)),
        "saved_cost": sum((getattr(row, "saved_cost", Decimal(0)) for row in rows), Decimal(0)),
        "succeeded": sum((row.outcome if isinstance(row, Record) else row.verdict) == "ok" for row in rows),
        "unpriced": sum(row.list_cost is None for row in rows),
        "estimated": sum(getattr(row, "estimated", False) for row in rows),
        "first_token_count": sum(row.first_token_ms is not None for row in rows),
        "first_token_ms": sum(row.first_token_ms or 0 for row in rows),
        "total_ms": sum(row.total_ms for row in rows),
    }
    for columns, bounds, times in (
        (
            Measures.FIRST_TOKEN,
            FIRST_TOKEN_BOUNDS,
            [row.first_token_ms for row in rows if row.first_token_ms is not None],
        ),
        (Measures.TOTAL, TOTAL_BOUNDS, [row.total_ms for row in rows]),
    ):
        for place, column in enumerate(columns):
            low = bounds[place - 1] if place else float("-inf")
            high = bounds[place] if place < len(bounds) else float("inf")
            sums[column] = sum(low < time <= high for time in times)
    return sums


def snapshot() -> list[list[tuple[Any, ...]]]:
    """All rows of the ledger, without their serial numbers."""
    found = []
    for model in (Record, Attempt, Rollup, ApiKeyRollup, AttemptRollup, StoredResponse):
        columns = [
            field.attname
            for field in model._meta.concrete_fields
            if field.attname not in ("id", "price_id", "user_agent_id") or model is Attempt
        ]
        found.append(sorted(model.objects.values_list(*columns), key=str))
    return found
