"""Many random requests at once, with their attempts, for what sums them up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from usage.ids import attempt_id, request_id
from usage.models import Attempt, Outcome, Record
from usage.pico import from_pico

MOST_PICO = 3 * 10**13
"""Thirty dollars."""


def settled(chance: random.Random, moment: datetime, **columns: Any) -> Record:
    """One random request that began at `moment`."""
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    milliseconds = round(moment.timestamp() * 1000)
    outcome = chance.choices(Outcome.values, (80, 4, 6, 4, 4, 2))[0]
    answered = outcome != Outcome.REJECTED
    tokens = chance.randrange(200_000)
    written = chance.randrange(tokens // 4 + 1)
    output = chance.randrange(20_000)
    filled: dict[str, Any] = {
        "request_id": UUID(request_id(milliseconds, chance.randbytes(9))), "started_at": moment,
        "consumer_id": chance.choice([1, 2, 3]), "api_key_id": chance.choice([1, 2, 3, 4, None]),
        "model_id": chance.choices([*range(1, 14), None], [40, *[5] * 12, 1])[0],
        "provider_id": chance.choice([1, 2]) if answered else None,
        "key_id": chance.choice([1, 2, 3]) if answered else None,
        "client_format": chance.choice(["openai_chat", "anthropic"]),
        "upstream_format": "openai_chat" if answered else "", "is_stream": chance.random() < 0.7,
        "outcome": outcome, "status_code": 200 if outcome == Outcome.OK else 502,
        "input_tokens": tokens, "output_tokens": output, "cached_tokens": chance.randrange(tokens // 2 + 1),
        "cache_creation_tokens": written, "cache_creation_1h_tokens": chance.randrange(written + 1),
        "reasoning_tokens": chance.randrange(output + 1),
        "list_cost": None if chance.random() < 0.02 else from_pico(chance.randrange(MOST_PICO)),
        "saved_cost": from_pico(chance.randrange(-(10**9), MOST_PICO)),
        "estimated": chance.random() < 0.1,
        "first_token_ms": chance.choice([None, round(chance.lognormvariate(6, 1))]),
        "total_ms": round(chance.lognormvariate(8, 1.2)),
    }  # fmt: skip
    filled["unpriced"] = filled["list_cost"] is None
    return Record(**{**filled, **columns})


def tried(chance: random.Random, record: Record) -> list[Attempt]:
    """Its attempts, the last one at the target that the record names; sets the record's own cost."""
    number = 0 if record.outcome == Outcome.REJECTED else chance.choices([1, 2, 3], [8, 2, 1])[0]
    attempts = []
    for each in range(1, number + 1):
        last = each == number
        row: Any = record
        cost: Any = from_pico(chance.randrange(MOST_PICO))
        attempts.append(
            Attempt(
                id=attempt_id(UUID(str(record.request_id)), each), record=record, number=each,
                started_at=record.started_at + timedelta(milliseconds=40 * (each - 1)),
                provider_id=row.provider_id if last else chance.choice([1, 2, 3]),
                key_id=row.key_id if last else chance.choice([1, 2, 3, 4]),
                model_id=row.model_id, verdict="ok" if last and record.outcome == "ok" else "next_key",
                total_ms=record.total_ms, own_cost=cost,
            )
        )  # fmt: skip
    record.attempt_count = number
    record.own_cost = sum((each.own_cost for each in attempts), from_pico(0))
    return attempts


def sow(chance: random.Random, moments: Sequence[datetime], **columns: Any) -> list[Record]:
    """Stores a random request for each of `moments`, with its attempts; no sums."""
    records = [settled(chance, moment, **columns) for moment in moments]
    attempts = [attempt for record in records for attempt in tried(chance, record)]
    Record.objects.bulk_create(records, batch_size=400)
    Attempt.objects.bulk_create(attempts, batch_size=400)
    return records


def moments(chance: random.Random, number: int, first: datetime, last: datetime) -> list[datetime]:
    """Random instants from `first` up to `last`."""
    span = int((last - first).total_seconds() * 1000)
    found = [first + timedelta(milliseconds=chance.randrange(span)) for _each in range(number)]
    return [each.astimezone(UTC) for each in found]
