"""Journal lines as a worker writes them, for tests of what the recorder makes of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw

from usage.ids import request_id
from usage.lines import AttemptLine, Final, RecordLine
from usage.pricing import Price
from wire.types import Usage

START = int(datetime(2026, 11, 22, 10, 7, 30, 123_000, tzinfo=UTC).timestamp() * 1000)
PRICE = Price.build(source="model fast", input="1", output="2", request="0.001")
PICO = 10**12


def name(number: int, at: int = START) -> str:
    """The id of the request `number`, which starts `number` milliseconds after `at`."""
    return request_id(at + number, (number * 7919 << 8).to_bytes(9))


def started(number: int, at: int = START, **columns: Any) -> dict[str, Any]:
    """A `start` line."""
    return {
        "request_id": name(number, at),
        "kind": "generate",
        "started_at": at + number,
        "consumer_id": 1,
        "consumer_name": "alice",
        "api_key_id": 3,
        "api_key_name": "laptop",
        "model_id": 4,
        "model_name": "fast",
        "client_format": "openai_chat",
        "is_stream": True,
        "address": "127.0.0.1",
        "client_request_id": "",
        "request_bytes": 4_000,
        "user_agent": "OpenAI/Python 3.54",
        **columns,
    }


def begun(number: int, attempt: int = 1, at: int = START, **columns: Any) -> dict[str, Any]:
    """An `attempt` line."""
    return {
        "request_id": name(number, at),
        "number": attempt,
        "started_at": at + number + attempt,
        "provider_id": 5,
        "provider_name": "acme",
        "endpoint_id": 6,
        "key_id": 7,
        "key_name": "k1",
        "model_id": 4,
        "upstream_model": "acme-fast-1",
        "upstream_format": "openai_chat",
        "cost_multiplier": PICO // 2,
        "free": False,
        "price": PRICE.plain(),
        "bytes_per_token": 4.0,
        **columns,
    }


def checkpoint(number: int, attempt: int = 1, **columns: Any) -> dict[str, Any]:
    """A `checkpoint` line: the client has had a frame, the provider has told 1,000 tokens in."""
    return {
        "request_id": name(number),
        "number": attempt,
        "committed": True,
        "usage": {"input_tokens": 1_000, "output_tokens": 1, "input_reported": True, "output_reported": True},
        "text_bytes": 400,
        **columns,
    }


def finished(number: int, at: int = START, attempts: int = 1, **columns: Any) -> dict[str, Any]:
    """A `final` line: 1,000 tokens in, 100 out, for 0.0022 dollars at list and half of that at the
    provider."""
    record = {
        key: value for key, value in started(number, at).items() if key not in ("request_bytes", "user_agent")
    }
    target = {
        key: value
        for key, value in begun(number, at=at).items()
        if key
        not in ("request_id", "number", "started_at", "cost_multiplier", "free", "price", "bytes_per_token")
    }
    tries = [
        {
            **target,
            "number": each,
            "started_at": at + number + each,
            "verdict": "ok" if each == attempts else "next_key",
            "status_code": 200 if each == attempts else 429,
            "total_ms": 200,
            "first_token_ms": 150 if each == attempts else None,
            "input_tokens": 1_000 if each == attempts else 0,
            "output_tokens": 100 if each == attempts else 0,
            "list_cost": 2_200_000_000 if each == attempts else 0,
            "own_cost": 1_100_000_000 if each == attempts else 0,
            "cost_multiplier": PICO // 2,
        }
        for each in range(1, attempts + 1)
    ]
    record |= target | {
        "outcome": "ok",
        "status_code": 200,
        "usage_source": "reported",
        "input_tokens": 1_000,
        "output_tokens": 100,
        "list_cost": 2_200_000_000,
        "own_cost": 1_100_000_000,
        "attempt_count": attempts,
        "first_byte_ms": 100,
        "first_token_ms": 150,
        "total_ms": 900,
        **columns,
    }
    return {
        "record": record,
        "user_agent": "OpenAI/Python 3.54",
        "price": PRICE.snapshot(Usage(1_000, 100)),
        "attempts": tries,
        "stored": None,
    }


def amended(number: int, amendment: int = 1, at: int = START, **columns: Any) -> dict[str, Any]:
    """An `amend` line: 200 tokens out after all, for 0.0024 dollars."""
    return {
        "request_id": name(number, at),
        "amendment": amendment,
        "record": {"output_tokens": 200, "list_cost": 2_400_000_000, "own_cost": 1_200_000_000, **columns},
        "attempt": {"number": 1, "output_tokens": 200, "list_cost": 2_400_000_000, "own_cost": 1_200_000_000},
        "price": None,
    }


def by_place(payload: dict[str, Any]) -> Final:
    """A `final` line as the relay writes it, from its names; what they do not tell is empty."""
    return Final(
        record=_filled(RecordLine, payload["record"]),
        attempts=[_filled(AttemptLine, each) for each in payload["attempts"]],
        user_agent=payload["user_agent"],
        price=Raw(msgspec.json.encode(payload["price"])),
        stored=Raw(msgspec.json.encode(payload["stored"])),
    )


def _filled(line: type[Any], given: dict[str, Any]) -> Any:
    empty: dict[Any, Any] = {str: "", int: 0, bool: False}
    values = {}
    for name, kind in get_type_hints(line).items():
        values[name] = given.get(name, empty.get(kind))
        if kind is Raw:
            values[name] = Raw(msgspec.json.encode(values[name]))
    return line(**values)
