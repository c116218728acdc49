"""Clients that leave at random moments of random requests, many at a time: each that was taken leaves one
record, and nothing else stays behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import psutil
import pytest

from tests.counts import count
from tests.endings.kit import FORM, clean_house, form
from tests.relay.asks import ASKS, STREAMED
from tests.relay.harness import House
from tests.rude import Rude, rude

pytestmark = pytest.mark.django_db(transaction=True)

PARALLEL = 40
KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")
PACED = "sim.chunks-40.size-40.delay-5.in-100.out-50"
QUICK = "sim.chunks-3.size-40.in-100.out-50"
LATE = "sim.wait-20.chunks-8.size-40.in-100.out-50"
MUTE = ("sim.fault-stall-head", "sim.fault-stall-first")
BIG = "sim.chunks-12.size-400000.in-100.out-50"
MODELS = (PACED, QUICK, LATE, *MUTE, BIG)
FIRST_FAILS = ("", "fault-500", "fault-429", "fault-error-overloaded", "fault-close-head", "fault-empty")
"""What the first key plays, so that many requests fail over to the second."""

HALF, SOON, TAKEN, HEAD, MIDDLE, BLOCKED = "half a body", "soon", "taken", "head", "middle", "blocked"
MOMENTS = (HALF, SOON, TAKEN, TAKEN, HEAD, MIDDLE, MIDDLE, BLOCKED)
HELD_UP = 0.03
"""Seconds after which a piece that its client does not take counts as one that waits for it."""


@dataclass
class Left:
    """One request and what its client saw before it left."""

    label: str
    moment: str
    status: int = 0


async def leave_at_random(each: House, number: int) -> Left:
    """One request of a random kind, and its client gone at a random moment."""
    moment = random.choice(MOMENTS)
    left = Left(f"left-{number}", moment)
    with suppress(EOFError, ConnectionError, TimeoutError):
        async with rude(each.url, stubborn=moment == BLOCKED) as client:
            try:
                await _follow(each, client, left)
            finally:
                left.status = client.heard.status
                client.leave(reset=random.random() < 0.5)
    return left


async def _follow(each: House, client: Rude, left: Left) -> None:
    """Asks, and reads up to the moment."""
    path, body, headers = _request(left)
    headers |= {"x-api-key": each.secret, "x-request-id": left.label}
    only = random.randrange(1, len(body)) if left.moment == HALF else None
    await client.ask(path, body, headers, only=only)
    match left.moment:
        case "half a body" | "soon":
            await asyncio.sleep(random.uniform(0, 0.03))
        case "taken":
            await _taken(each, left.label)
            await asyncio.sleep(random.choice((0, 0, 0.01)))
        case "head":
            await client.head()
        case "middle":
            await client.head()
            for _ in range(random.randint(1, 20)):
                await client.piece()
        case "blocked":
            await client.head()
            await _held_up(each, left.label)


def _request(left: Left) -> tuple[str, bytes, dict[str, str]]:
    """A path, a body and headers: any format, whole or streamed, or an upload."""
    models = {HALF: (QUICK,), SOON: (PACED, QUICK, *MUTE), TAKEN: (PACED, LATE, *MUTE), BLOCKED: (BIG,)}
    model = random.choice(models.get(left.moment, (PACED, PACED, QUICK, LATE)))
    if left.moment in (HALF, SOON, TAKEN) and random.random() < 0.2:
        return "/v1/audio/transcriptions", form(random.choice((2_000, 300_000)), model), dict(FORM)
    ask = random.choice(STREAMED if left.moment == MIDDLE else ASKS)
    padding = {} if ask.format == "gemini" else {"user": "x" * random.choice((1, 1, 100_000))}
    return ask.path(model), orjson.dumps({**ask.body(model), **padding}), dict(ask.headers)


async def _taken(each: House, label: str) -> None:
    """Waits until the relay has the request."""
    async with asyncio.timeout(10):
        while all(ctx.client_request_id != label for ctx in each.engine.open):
            await asyncio.sleep(0.002)


async def _held_up(each: House, label: str) -> None:
    """Waits until the relay waits for this client, or has given it all."""
    while ctx := next((ctx for ctx in each.engine.sending if ctx.client_request_id == label), None):
        if ctx.blocked_since is not None and time.monotonic() - ctx.blocked_since > HELD_UP:
            return
        await asyncio.sleep(0.01)


async def nobody_is_connected(each: House) -> None:
    """Waits until the relay holds no connection with a client. Raises TimeoutError."""
    port = urlsplit(each.url).port
    async with asyncio.timeout(10):
        while any(
            held.laddr[1:] == (port,) and held.status != psutil.CONN_LISTEN
            for held in psutil.Process().net_connections("tcp4")
        ):
            await asyncio.sleep(0.02)


def descriptors() -> Counter[str]:
    """The open files of this process by what they are: sockets all count as one thing."""
    found: Counter[str] = Counter()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[str(link.readlink()).partition(":")[0]] += 1
    return found


async def only_the_pool_is_open(each: House, before: Counter[str], idle: int) -> None:
    """Waits until this process holds what it held `before`, and the sockets, its own and the vendor's, of
    connections that were pooled since; `idle` is how many were. Raises TimeoutError naming the rest."""
    end = time.monotonic() + 10
    while True:
        expected = Counter(before)
        expected["socket"] += 2 * (each.engine.upstream.connections[1] - idle)
        kept = descriptors()
        if kept == expected and each.vendor.open_connections == each.engine.upstream.connections[1]:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"open: {kept - expected}, closed: {expected - kept}")
        await asyncio.sleep(0.02)


def assert_one_record_each(each: House, gone: list[Left]) -> Counter[str]:
    """Every request that was begun has one final line, and every answer that a client saw. Returns how many
    records ended how."""
    finals = [final["record"] for final in each.journal()]
    ids = [record["request_id"] for record in finals]
    labels = Counter(record["client_request_id"] for record in finals)
    assert len(set(ids)) == len(ids)
    assert {line["request_id"] for line in each.journal("start")} <= set(ids)
    assert set(labels.values()) <= {1}
    assert {left.label for left in gone if left.status} <= labels.keys()
    assert not {left.label for left in gone if left.moment == HALF} & labels.keys()
    for record in finals:
        assert record["outcome"] in {"client_gone", "ok", "upstream_error"}, record
        if record["status_code"] in (0, 502):
            assert record["list_cost"] == 0, record
        if record["outcome"] == "client_gone" and record["status_code"] == 200:
            assert record["estimated"] or record["output_tokens"] in (0, 50), record
    return Counter(record["outcome"] for record in finals)


async def test_clients_that_leave_at_random_moments_leave_one_record_each_and_nothing_else(
    door: str, caplog: pytest.LogCaptureFixture, record_property: Any
) -> None:
    total = count(150, 5_000)
    async with clean_house(door, keys=KEYS, models=MODELS) as each:
        each.vendor.script(random.choices(FIRST_FAILS, weights=(10, 1, 1, 1, 1, 1), k=9_999), secret=KEYS[0])
        await each.http.aclose()
        await nobody_is_connected(each)
        before, idle = descriptors(), each.engine.upstream.connections[1]
        numbers = iter(range(total))
        gone: list[Left] = []

        async def leavers() -> None:
            gone.extend([await leave_at_random(each, number) for number in numbers])

        await asyncio.gather(*(leavers() for _ in range(PARALLEL)))
        await each.idle(within=30)
        gc.collect()
        await nobody_is_connected(each)
        await only_the_pool_is_open(each, before, idle)
        assert not each.engine.sending
        assert len(gone) == total
        outcomes = assert_one_record_each(each, gone)
        assert outcomes["client_gone"] > total / 4
        assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    told = ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items()))
    record_property(
        "measured", f"{door}: {total:,} cancels ({told}): 0 connections, tasks, files, slots kept"
    )
