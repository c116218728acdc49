"""Redis that falls silent, is gone, or loses all it held, while requests run: none fails, none waits for it,
and it is used again once it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

import pytest
from redis.asyncio import Redis

from relay import channel
from relay.engine import Engine
from tests.counts import PROOF, count
from tests.faults.stage import assert_clean
from tests.gate import Gate
from tests.journals import lines
from tests.relay.asks import ASKS
from tests.relay.harness import House, house
from wire.types import GENERATE

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")
CALLERS = 4
ADDED = 0.1
"""Seconds that a lost Redis may add to the slowest of a hundred answers."""

Trouble = Callable[[Gate, str], Awaitable[None]]


async def silent(gate: Gate, _url: str) -> None:
    """It takes what it is sent and does not answer."""
    gate.mute()


async def gone(gate: Gate, _url: str) -> None:
    """Its connections are cut, and new ones refused."""
    gate.shut()


async def flushed(_gate: Gate, url: str) -> None:
    """It forgets everything."""
    async with Redis.from_url(url) as other:
        await other.flushall()


@asynccontextmanager
async def asking(each: House) -> AsyncIterator[list[float]]:
    """Callers that ask again and again. Yields the seconds that each answer took; they all must be clean."""
    took: list[float] = []
    stopping = False

    async def ask_on(number: int) -> None:
        turn = number
        while not stopping:
            ask = ASKS[turn % len(ASKS)]
            began = time.monotonic()
            assert_clean(ask, await ask.send(each))
            took.append(time.monotonic() - began)
            turn += 1

    tasks = [asyncio.create_task(ask_on(number)) for number in range(CALLERS)]
    try:
        yield took
    finally:
        stopping = True
        await asyncio.gather(*tasks)


async def reached(took: list[float], number: int) -> None:
    """Waits until so many answers have come."""
    async with asyncio.timeout(60):
        while len(took) < number:
            await asyncio.sleep(0.01)


async def listening(*engines: Engine) -> None:
    """Waits until all of them hear what the others tell."""
    async with asyncio.timeout(10):
        for each in engines:
            assert each.channel is not None
            await each.channel.listening.wait()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is looked for again and again without much delay."""
    monkeypatch.setattr(channel, "PAUSE", 0.05)


@pytest.mark.parametrize("trouble", [silent, gone, flushed])
async def test_requests_go_on_without_redis_and_it_is_used_again(
    trouble: Trouble, redis: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Of two processes the second serves, and reaches Redis through the gate."""
    with Gate() as gate:
        async with house("asgi", keys=KEYS, knobs={"redis_url": redis}) as each:
            (tmp_path / "second").mkdir()
            knobs = replace(each.engine.knobs, redis_url=gate.before(redis), data_dir=tmp_path / "second")
            async with Engine(knobs) as served:
                await listening(each.engine, served)
                async with asking(each) as took:
                    await reached(took, count(20, 1_000))
                    usual = list(took)
                    await trouble(gate, redis)
                    await reached(took, len(usual) + count(20, 2_000))
                    lost = took[len(usual) :]
                    gate.open()
                added = quantiles(lost, n=100)[98] - quantiles(usual, n=100)[98]
                record_property(
                    "measured", f"{trouble.__name__}: {len(lost):,} answers, p99 {added * 1000:+.0f} ms"
                )
                assert added < ADDED or not PROOF
                await assert_heard(served, each.engine)
            finals = lines(knobs.data_dir / "journals", "final")
            assert {final["record"]["outcome"] for final in finals} == {"ok"}
            assert len(finals) >= len(took)


async def assert_heard(told: Engine, other: Engine) -> None:
    """What one learns of a vendor, the other hears once Redis is there again."""
    target = next(iter(told.plans.values())).targets[0]
    async with asyncio.timeout(20):
        while target.key_id not in other.health.keys:
            told.monitor.failed(target, "throttled", 60.0, GENERATE)
            await asyncio.sleep(0.1)
