"""relay/channel.py: what processes tell each other through a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from relay import channel
from relay.channel import Channel
from relay.engine import Engine
from relay.hints import Held, Pinned, Told
from tests import servers
from tests.relay.asks import Ask
from tests.relay.harness import House, house

CHAT = Ask("openai_chat")
TWO = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")


def held(worker: str, number: int = 1) -> Held:
    return Held(worker, "key", number, "open", 0.0, "")


@asynccontextmanager
async def member(
    url: str, worker: str, name: str = "aether:test:hints"
) -> AsyncIterator[tuple[Channel, list[Told]]]:
    """One process's end, listening, and what it heard."""
    heard: list[Told] = []
    made = Channel(url, name, worker, heard.append)
    task = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(5):
            await made.listening.wait()
        yield made, heard
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def reach(heard: list[Told], count: int) -> None:
    async with asyncio.timeout(5):
        while len(heard) < count:
            await asyncio.sleep(0.005)


async def test_what_one_tells_the_others_hear_in_order_and_it_does_not(redis: str) -> None:
    async with member(redis, "a") as (a, heard_a), member(redis, "b") as (b, heard_b):
        pinned = Pinned("a", 7, "sim", "openai_chat", ("tools",), 1, 2, "sim-1", 300.0)
        a.tell([held("a", 1), pinned])
        b.tell([held("b", 3)])
        await reach(heard_b, 2)
        await reach(heard_a, 1)
        assert heard_b == [held("a", 1), pinned]
        assert heard_a == [held("b", 3)]


async def test_installations_on_one_redis_do_not_hear_each_other(redis: str) -> None:
    async with (
        member(redis, "a", "aether:one:hints") as (a, _),
        member(redis, "b", "aether:two:hints") as (b, heard),
    ):
        a.tell([held("a")])
        await asyncio.sleep(0.05)
        b.tell([held("b")])
        await asyncio.sleep(0.05)
        assert heard == []


async def test_what_cannot_be_read_is_passed_over(redis: str, caplog: pytest.LogCaptureFixture) -> None:
    async with member(redis, "a") as (_, heard), Redis.from_url(redis) as other:
        await other.publish("aether:test:hints", b'[["Told","by a later version"]]')
        await other.publish("aether:test:hints", b'[["Held","b","key",1,"open",0,""]]')
        await reach(heard, 1)
        assert heard == [held("b")]
    assert "cannot be read" in caplog.text


async def test_it_waits_for_a_redis_that_is_away_and_finds_it_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channel, "PAUSE", 0.05)
    with servers.redis() as url:
        async with member(url, "a") as (a, _), member(url, "b") as (_, heard), Redis.from_url(url) as other:
            await other.client_kill_filter(_type="pubsub")
            await other.client_kill_filter(_type="normal", skipme=True)
            async with asyncio.timeout(5):
                while not heard:
                    a.tell([held("a")])
                    await asyncio.sleep(0.02)
    a.tell(held("a", number) for number in range(10_000))
    assert len(a._waiting) <= channel.MOST_WAITING
    assert caplog.text.count("Redis does not answer") <= 8


# Two relays: while the second is open, requests go to it


@asynccontextmanager
async def beside(each: House, folder: Path) -> AsyncIterator[Engine]:
    """A second process's engine, with a data directory of its own, once both listen."""
    folder.mkdir()
    async with Engine(replace(each.engine.knobs, data_dir=folder)) as engine:
        for one in (each.engine, engine):
            assert one.channel is not None
            async with asyncio.timeout(5):
                await one.channel.listening.wait()
        yield engine


@pytest.mark.django_db(transaction=True)
async def test_a_session_keeps_its_key_wherever_it_asks(redis: str, tmp_path: Path) -> None:
    async with house("asgi", keys=TWO, knobs={"redis_url": redis}) as each:
        async with beside(each, tmp_path / "second"):
            each.vendor.script(["fault-503"], secret=TWO[0])
            assert (await CHAT.send(each)).status_code == 200
            each.vendor.script(secret=TWO[0])
            async with asyncio.timeout(5):
                while not len(each.engine.affinity):
                    await asyncio.sleep(0.01)
        assert (await CHAT.send(each)).status_code == 200
        assert [one["key_name"] for one in each.attempts()] == ["key-2"]


@pytest.mark.django_db(transaction=True)
async def test_a_vendor_s_pause_holds_for_every_process(redis: str, tmp_path: Path) -> None:
    async with (
        house("asgi", keys=TWO, knobs={"redis_url": redis}) as each,
        beside(each, tmp_path / "second") as second,
    ):
        each.vendor.script(["fault-429.retry-9"], secret=TWO[0])
        assert (await CHAT.send(each)).status_code == 200
        async with asyncio.timeout(5):
            while each.engine.health.well:
                await asyncio.sleep(0.01)
        ((number, part),) = each.engine.health.keys.items()
        assert part.cooling_for == "throttled"
        assert abs(part.cooling_until - second.health.keys[number].cooling_until) < 1


@pytest.mark.django_db(transaction=True)
async def test_a_model_that_a_key_or_an_endpoint_does_not_serve_is_told_to_every_process(
    redis: str, tmp_path: Path
) -> None:
    async with (
        house("asgi", keys=TWO, knobs={"redis_url": redis}) as each,
        beside(each, tmp_path / "second") as second,
    ):
        each.vendor.script(["fault-403-model"], secret=TWO[0])
        each.vendor.script(["fault-404"], secret=TWO[1])
        assert (await CHAT.send(each)).status_code == 404
        async with asyncio.timeout(5):
            while len(each.engine.health.parked) < 2:
                await asyncio.sleep(0.01)
        assert each.engine.health.parked.keys() == second.health.parked.keys()
        assert {table for table, *_ in each.engine.health.parked} == {"key", "endpoint"}
