"""relay/keeping.py: thoughts that clients lose, kept for the consumer whose they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from relay import keeping
from relay.keeping import Keeping
from tests import servers
from wire.neutral.keepsakes import Keepsake
from wire.neutral.parts import Signature, Thinking

SIGNED = Keepsake((Thinking("hm", Signature("anthropic", "sig")),))
OTHER = Keepsake((), Signature("gemini", "c2ln"))


@asynccontextmanager
async def process(url: str) -> AsyncIterator[Keeping[Keepsake]]:
    made = Keeping(url, "aether:test:", Keepsake, kind="keepsake")
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_consumer_finds_what_was_kept_for_it_and_nobody_else_does() -> None:
    kept = Keeping("", "", Keepsake, kind="keepsake")
    kept.put(1, {"call_1": SIGNED, "call_2": OTHER})
    assert await kept.find(1, ["call_2", "call_1", "call_3"]) == {"call_1": SIGNED, "call_2": OTHER}
    assert await kept.find(2, ["call_1"]) == {}


async def test_beyond_the_bound_the_oldest_go_and_what_was_asked_for_is_young() -> None:
    room = Keeping("", "", Keepsake, kind="keepsake", size=10_000)
    for number in range(4):
        room.put(1, {f"call_{number}": Keepsake((Thinking("x" * 3_000, Signature("anthropic", "s")),))})
        await room.find(1, ["call_0"])
    assert set(await room.find(1, [f"call_{number}" for number in range(4)])) == {
        "call_0",
        "call_2",
        "call_3",
    }


async def test_an_id_of_any_length_is_looked_for_without_being_kept() -> None:
    kept = Keeping("", "", Keepsake, kind="keepsake")
    assert await kept.find(1, ["x" * 100_000]) == {}


async def test_another_process_finds_it_in_redis(redis: str) -> None:
    async with process(redis) as one, process(redis) as other:
        one.put(1, {"call_1": SIGNED})
        async with asyncio.timeout(5):
            while not (found := await other.find(1, ["call_1"])):
                await asyncio.sleep(0.01)
        assert found == {"call_1": SIGNED}
        assert await other.find(2, ["call_1"]) == {}


async def test_what_redis_holds_goes_after_a_day(redis: str) -> None:
    async with process(redis) as one, Redis.from_url(redis) as client:
        one.put(1, {"call_9": SIGNED})
        async with asyncio.timeout(5):
            while not (seconds := await client.ttl("aether:test:keepsake:1:call_9")) > 0:
                await asyncio.sleep(0.01)
        assert seconds <= keeping.LIFE


async def test_what_another_version_wrote_is_told_and_left(
    redis: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(redis) as one, Redis.from_url(redis) as client:
        await client.set("aether:test:keepsake:1:call_8", b"\xff")
        assert await one.find(1, ["call_8"]) == {}
        assert "cannot be read" in caplog.text


async def test_without_its_redis_a_process_goes_by_its_own(caplog: pytest.LogCaptureFixture) -> None:
    async with process(f"redis://127.0.0.1:{servers.free_port()}/0") as alone:
        alone.put(1, {"call_1": SIGNED})
        assert await alone.find(1, ["call_1", "call_2"]) == {"call_1": SIGNED}
        assert "each process has its own" in caplog.text
