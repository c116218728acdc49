"""relay/leases.py and relay/redis_leases.py: limits of one process, and limits that several share through a
real Redis."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from providers.models import Key
from providers.types import Limit, Target
from relay import redis_leases
from relay.breaker import Rules
from relay.engine import Engine
from relay.health import Health
from relay.leases import Alone, Lease, Leases
from relay.redis_leases import RedisLeases
from relay.slots import InFlight, Slot
from tests import servers
from tests.counts import count
from tests.relay.asks import Ask
from tests.relay.harness import house
from tests.relay.targets import target

ALICE, BOB, CAROL = 1, 2, 3
PREFIX = "aether:test:"
NAME = f"{PREFIX}slots:key:1"
CHAT = Ask("openai_chat")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that answers is not taken for lost because this machine is busy."""
    monkeypatch.setattr(redis_leases, "TIMEOUT", 5.0)


@pytest.fixture
async def store(redis: str) -> str:
    """The address of a Redis that knows nothing yet."""
    async with Redis.from_url(redis) as client:
        await client.flushall()
    return redis


def limited(concurrency: int) -> Target:
    return target(limits=(Limit("key", 1, concurrency),))


@asynccontextmanager
async def process(url: str, worker: str) -> AsyncIterator[tuple[InFlight, RedisLeases]]:
    """The slots of one process, once it has found Redis."""
    leases = RedisLeases(url, PREFIX, worker)
    task = asyncio.create_task(leases.run())
    try:
        async with asyncio.timeout(5):
            await leases.answers.wait()
        yield (
            InFlight(Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.5), leases=leases),
            leases,
        )
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def taken(in_flight: InFlight, at: Target, consumer: int = ALICE) -> Slot:
    slot = await in_flight.take(at, consumer, 0)
    assert slot is not None
    return slot


async def held(url: str, expected: int) -> None:
    """Waits until Redis knows of so many slots of the key."""
    async with Redis.from_url(url) as client, asyncio.timeout(5):
        while await client.zcard(NAME) != expected:
            await asyncio.sleep(0.005)


@pytest.fixture(params=["alone", "redis"])
async def leases(request: pytest.FixtureRequest, store: str, patient: None) -> AsyncIterator[Leases]:
    """Both stores, each with one process."""
    if request.param == "alone":
        yield Alone()
        return
    async with process(store, "a") as (_, made):
        yield made


async def test_one_process_has_the_whole_of_a_limit_with_either_store(leases: Leases) -> None:
    health = Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.5)
    in_flight = InFlight(health, leases=leases)
    slots = [await taken(in_flight, limited(3)) for _ in range(3)]
    assert await in_flight.take(limited(3), ALICE, 0) is None
    waiting = asyncio.create_task(in_flight.wait((limited(3),), ALICE, 5))
    await asyncio.sleep(0)
    slots[0].release()
    got = await waiting
    assert got is not None
    for slot in (*slots[1:], got):
        slot.release()
    ten = limited(10)
    of_alice = 0
    while await in_flight.take(ten, ALICE, 0) is not None:
        of_alice += 1
    assert of_alice == 9
    await taken(in_flight, ten, BOB)


async def test_two_processes_share_a_limit(store: str, patient: None) -> None:
    async with process(store, "a") as (a, _), process(store, "b") as (b, _):
        slots = [await taken(each, limited(4)) for each in (a, b, a, b)]
        for each in (a, b):
            assert await each.take(limited(4), ALICE, 0) is None
            assert each.limit_of(limited(4), ALICE) == "key: at concurrency limit, 4 of 4"
        slots[0].release()
        async with asyncio.timeout(5):
            while await b.take(limited(4), ALICE, 0) is None:
                await asyncio.sleep(0.01)
        assert a.pools["key", 1].held + b.pools["key", 1].held == 4


async def test_who_waits_hears_of_a_slot_that_another_process_gave_back(store: str, patient: None) -> None:
    async with process(store, "a") as (a, _), process(store, "b") as (b, _):
        slots = [await taken(a, limited(2)) for _ in range(2)]
        waiting = [asyncio.create_task(b.wait((limited(2),), ALICE, 20)) for _ in range(2)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        for slot in slots:
            slot.release()
        got = await asyncio.gather(*waiting)
        assert None not in got
        assert b.pools["key", 1].held == 2


async def test_what_is_kept_for_others_is_kept_over_all_processes(store: str, patient: None) -> None:
    async with process(store, "a") as (a, _), process(store, "b") as (b, _):
        for _ in range(5):
            await taken(a, limited(10))
        for _ in range(4):
            await taken(b, limited(10))
        assert await b.take(limited(10), ALICE, 0) is None
        await taken(b, limited(10), BOB)


async def test_a_consumer_holds_at_most_half_of_all_processes_while_others_wait(
    store: str, patient: None
) -> None:
    async with process(store, "a") as (_, a), process(store, "b") as (_, b):
        limits = (Limit("key", 1, 8),)
        for number in range(1, 4):
            assert await a.take(Lease(number, ALICE, limits), wanted=False) is None
        assert await b.take(Lease(1, ALICE, limits), wanted=False) is None
        assert await b.take(Lease(2, ALICE, limits), wanted=True) == (limits[0], 4)
        assert await b.take(Lease(2, ALICE, limits), wanted=False) is None


async def test_the_slots_of_a_process_that_died_are_reaped(store: str, patient: None) -> None:
    async with process(store, "a") as (a, _):
        await taken(a, limited(1))
    async with process(store, "b") as (b, leases), Redis.from_url(store) as client:
        assert leases.processes == 2
        assert await b.take(limited(1), ALICE, 0) is None
        for name in await client.keys(f"{PREFIX}*"):
            for member in await client.zrange(name, 0, -1):
                assert isinstance(member, bytes)
                if member.startswith(b"a"):
                    await client.zadd(name, {member.decode(): 1})  # as it is once its time has passed
        async with asyncio.timeout(5):
            while await b.take(limited(1), ALICE, 0) is None:
                await asyncio.sleep(0.01)
        assert await client.zcard(NAME) == 1


async def test_what_redis_has_lost_is_told_it_again(
    store: str, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "BEAT", 0.05)
    async with process(store, "a") as (a, _), process(store, "b") as (b, _):
        for each in (a, b):
            await taken(each, limited(2))
        async with Redis.from_url(store) as client:
            await client.flushall()
        await held(store, 2)
        assert await a.take(limited(2), ALICE, 0) is None


async def test_a_client_that_leaves_while_redis_is_asked_holds_nothing(store: str, patient: None) -> None:
    async with process(store, "a") as (a, _):
        task = asyncio.create_task(a.take(limited(1), ALICE, 0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert not a.slots
        await held(store, 0)
        await taken(a, limited(1))


async def test_without_redis_a_process_keeps_to_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_leases, "BEAT", 0.05)
    with servers.redis() as url:
        async with process(url, "b") as (_, of_b), process(url, "a") as (a, of_a):
            assert of_a.processes == 2
            assert of_a.share(10) == 10
            async with Redis.from_url(url) as client:
                await client.shutdown(nosave=True)
            async with asyncio.timeout(5):
                while of_a.answers.is_set() or of_b.answers.is_set():
                    await asyncio.sleep(0.01)
            assert (of_a.share(10), of_a.share(1)) == (5, 1)
            slots = [await taken(a, limited(4)) for _ in range(2)]
            assert await a.take(limited(4), ALICE, 0) is None
            for slot in slots:
                slot.release()


async def test_it_ends_when_it_is_told_to_whatever_it_is_about(store: str, patient: None) -> None:
    for number in range(count(30, 1_000)):
        async with asyncio.timeout(5), process(store, "a") as (a, _):
            slot = await taken(a, limited(3))
            slot.release()
            for _ in range(number % 6):
                await asyncio.sleep(0)
        await held(store, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("trouble", ["killed", "paused", "flushed"])
async def test_no_request_fails_with_redis(trouble: str) -> None:
    """Redis goes away under load: nobody is refused, and hardly anybody waits."""

    def prepare(_url: str) -> None:
        Key.objects.update(concurrency_limit=1_000)

    loop = asyncio.get_running_loop()
    took: list[tuple[float, float]] = []
    with servers.redis() as url:
        async with house("asgi", prepare=prepare, knobs={"redis_url": url}) as each:
            leases = each.engine.in_flight._leases
            assert isinstance(leases, RedisLeases)
            async with asyncio.timeout(5):
                await leases.answers.wait()

            async def ask() -> None:
                began = loop.time()
                answer = await CHAT.send(each)
                took.append((began, loop.time() - began))
                assert answer.status_code == 200, answer.text

            async def load(number: int) -> None:
                for _ in range(number):
                    await asyncio.gather(*(ask() for _ in range(5)))

            rounds = count(5, 200)
            await load(rounds)
            async with Redis.from_url(url) as client:
                pid = (await client.info("server"))["process_id"]
            match trouble:
                case "killed":
                    os.kill(pid, signal.SIGKILL)
                case "paused":
                    os.kill(pid, signal.SIGSTOP)
                case _:
                    async with Redis.from_url(url) as client:
                        await client.flushall()
            at = loop.time()
            await load(rounds)
            if trouble == "paused":
                os.kill(pid, signal.SIGCONT)
            usual = sorted(lasted for began, lasted in took if began < at)
            after = sorted(lasted for began, lasted in took if began >= at)
            assert len(after) == rounds * 5
            if count(0, 1):
                assert after[int(len(after) * 0.99)] <= usual[int(len(usual) * 0.99)] + 0.1
            await each.idle()


@pytest.mark.django_db(transaction=True)
async def test_two_relays_share_the_limit_of_a_key(store: str, tmp_path: Path, patient: None) -> None:
    def prepare(_url: str) -> None:
        Key.objects.update(concurrency_limit=2)

    knobs = {"redis_url": store, "queue_timeout": 0.1}
    async with house("asgi", prepare=prepare, knobs=knobs) as each:
        (tmp_path / "second").mkdir()
        async with Engine(replace(each.engine.knobs, data_dir=tmp_path / "second")) as second:
            for engine in (each.engine, second):
                found = engine.in_flight._leases
                assert isinstance(found, RedisLeases)
                async with asyncio.timeout(5):
                    await found.answers.wait()
            (candidate,) = second.catalog.candidates("sim", "openai_chat")
            mine = await each.engine.in_flight.take(candidate.target, ALICE, 0)
            other = await second.in_flight.take(candidate.target, CAROL, 0)
            assert mine is not None
            assert other is not None
            assert (await CHAT.send(each)).status_code == 429  # requests go to the second while it is open
            mine.release()
            assert (await CHAT.send(each)).status_code == 200
            other.release()
