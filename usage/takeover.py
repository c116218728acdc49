"""What a dead worker left unfinished: a `start` without `final` becomes one `interrupted` record, billed from
the last that its journal knows of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from usage.charge import Charge, charge
from usage.framing import Line
from usage.lines import request_of
from usage.pricing import ONE, Price
from wire.types import GENERATE, Usage

INTERRUPTED = "interrupted"
COPIED = (
    "provider_id", "provider_name", "endpoint_id", "key_id", "key_name", "model_id", "upstream_model",
    "upstream_format", "started_at",
)  # fmt: skip
"""What a record or an attempt takes over from the attempt line."""
COUNTS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "cache_creation_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip


@dataclass(slots=True)
class Orphan:
    """The lines of a request that was never finished. `segment` and `line` are its start."""

    segment: str
    line: Line
    start: dict[str, Any]
    attempts: dict[int, dict[str, Any]] = field(default_factory=dict)
    ends: dict[int, dict[str, Any]] = field(default_factory=dict)
    checkpoints: dict[int, dict[str, Any]] = field(default_factory=dict)


class Unfinished:
    """Follows a dead worker's lines, in their order, and keeps what has no final line. Lines may come twice:
    each segment repeats at its head what was open."""

    def __init__(self) -> None:
        self._open: dict[str, Orphan] = {}

    def follow(self, segment: str, lines: Iterable[Line]) -> None:
        """Takes in lines of a segment. Lines that make no sense are passed over."""
        for line in lines:
            try:
                self._take(segment, line)
            except (ValueError, TypeError, LookupError, AttributeError):
                continue

    def _take(self, segment: str, line: Line) -> None:
        if line.kind == "start":
            start = line.payload()
            first = start.pop("attempt", None)
            attempts = {int(first["number"]): first} if first else {}
            self._open[start["request_id"]] = Orphan(segment, line, start, attempts)
        elif line.kind == "final":
            self._open.pop(request_of(line.payload()), None)
        elif line.kind in ("attempt", "attempt_end", "checkpoint"):
            payload = line.payload()
            orphan = self._open.get(payload["request_id"])
            if orphan:
                by_number = {
                    "attempt": orphan.attempts,
                    "attempt_end": orphan.ends,
                    "checkpoint": orphan.checkpoints,
                }[line.kind]
                by_number[int(payload["number"])] = payload

    def orphans(self) -> Iterator[Orphan]:
        """What is open, oldest first."""
        yield from self._open.values()


def final_of(orphan: Orphan, ended_at: int) -> dict[str, Any]:
    """The payload of the `final` line that the dead worker did not write. `ended_at`, in Unix milliseconds,
    is when its journal was last written. Raises ValueError, TypeError or KeyError if the lines do not make
    sense."""
    start = orphan.start
    total_ms = max(0, ended_at - int(start["started_at"]))
    record = {
        **{
            name: value
            for name, value in start.items()
            if name not in ("user_agent", "bound", "request_bytes")
        },
        "outcome": INTERRUPTED,
        "error_code": INTERRUPTED,
        "error_text": "the server process ended",
        "total_ms": total_ms,
        "attempt_count": len(orphan.attempts),
        "list_cost": 0,
    }
    attempts, own, snapshot = [], 0, None
    last = max(orphan.attempts, default=0)
    for number in sorted(orphan.attempts):
        row, charged, price = _attempt(orphan, number, ended_at)
        attempts.append(row)
        own += int(row.get("own_cost") or 0)
        if number != last:
            continue
        record |= {name: row[name] for name in COPIED if name in row and name != "started_at"}
        committed = bool(orphan.checkpoints.get(number, {}).get("committed"))
        if committed:
            record |= {"status_code": 200, **_billed(row, charged)}
            usage = charged.usage if charged else _usage(row)
            snapshot = price.snapshot(usage) if price else None
    record["own_cost"] = own
    return {
        "record": record,
        "user_agent": start.get("user_agent", ""),
        "price": snapshot,
        "attempts": attempts,
        "stored": None,
    }


def _attempt(
    orphan: Orphan, number: int, ended_at: int
) -> tuple[dict[str, Any], Charge | None, Price | None]:
    """An attempt's columns; its charge if it was still running; its price."""
    begun = orphan.attempts[number]
    price = Price.from_plain(begun["price"]) if begun.get("price") else None
    row = {name: begun[name] for name in COPIED if name in begun} | {"number": number}
    row["cost_multiplier"] = int(begun.get("cost_multiplier", ONE))
    end = orphan.ends.get(number)
    if end is not None:
        return row | {name: value for name, value in end.items() if name != "request_id"}, None, price
    checkpoint = orphan.checkpoints.get(number, {})
    text_bytes = int(checkpoint.get("text_bytes", 0))
    committed = bool(checkpoint.get("committed"))
    charged = charge(
        price,
        Usage(**checkpoint.get("usage", {})),
        kind=orphan.start.get("kind", GENERATE),
        outcome=INTERRUPTED,
        sent=True,
        delivered=committed or text_bytes > 0,
        committed=committed,
        ended=False,
        text_bytes=text_bytes,
        request_bytes=int(orphan.start.get("request_bytes", 0)),
        bytes_per_token=float(begun.get("bytes_per_token", 4.0)),
        input_limit=begun.get("context_window"),
        cost_multiplier=row["cost_multiplier"],
        free=bool(begun.get("free")),
    )
    row |= _tokens(charged.attempt_usage)
    row |= {
        "verdict": INTERRUPTED,
        "reason": INTERRUPTED,
        "total_ms": max(0, ended_at - int(begun.get("started_at", orphan.start["started_at"]))),
        "list_cost": charged.attempt_list_pico,
        "own_cost": charged.own_pico,
        "maybe_billed": not checkpoint,
    }
    return row, charged, price


def _billed(row: dict[str, Any], charged: Charge | None) -> dict[str, Any]:
    """What the consumer is billed for an attempt that had reached the client: columns of the record."""
    if charged is not None:
        return {
            **_tokens(charged.usage),
            "list_cost": charged.list_pico,
            "saved_cost": charged.saved_pico,
            "usage_source": charged.usage_source,
            "estimated": charged.estimated,
            "suspect": charged.suspect,
            "unpriced": charged.unpriced,
        }
    cost = row.get("list_cost", 0)
    return {
        **{name: row.get(name, 0) for name in COUNTS},
        "list_cost": cost,
        "unpriced": cost is None,
        "usage_source": "reported",
    }


def _usage(row: dict[str, Any]) -> Usage:
    written = int(row.get("cache_creation_tokens", 0))
    for_an_hour = int(row.get("cache_creation_1h_tokens", 0))
    return Usage(
        input_tokens=int(row.get("input_tokens", 0)),
        output_tokens=int(row.get("output_tokens", 0)),
        cache_read_tokens=int(row.get("cached_tokens", 0)),
        cache_write_5m_tokens=written - for_an_hour,
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=int(row.get("reasoning_tokens", 0)),
    )


def _tokens(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "cache_creation_tokens": usage.cache_write_tokens,
        "cache_creation_1h_tokens": usage.cache_write_1h_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
