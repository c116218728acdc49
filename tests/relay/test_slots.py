"""relay/slots.py: slots at targets, limits set and learned, and those who wait."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from providers.types import Limit, Target
from relay.breaker import Rules
from relay.health import Health
from relay.learned import Learned
from relay.slots import InFlight, Slot
from tests.counts import count
from tests.relay.targets import target

ALICE, BOB = 1, 2


def made(**options: Any) -> InFlight:
    return InFlight(Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.5), **options)


def limited(concurrency: int, place: Any = "key", **fields: Any) -> Target:
    """A target whose key, endpoint or provider has a limit."""
    found = target(**fields)
    return target(**fields, limits=(Limit(place, getattr(found, f"{place}_id"), concurrency),))


async def taken(in_flight: InFlight, at: Target, consumer: int = ALICE, now: float = 0) -> Slot:
    slot = await in_flight.take(at, consumer, now)
    assert slot is not None
    return slot


async def waiting(in_flight: InFlight, *at: Target, consumer: int = ALICE, seconds: float = 5) -> Any:
    """A task that waits for a slot, once it does."""
    before = sum(pool.waiting for pool in in_flight.pools.values())
    task = asyncio.create_task(in_flight.wait(at, consumer, seconds))
    for _ in range(20):
        await asyncio.sleep(0)
        if task.done() or sum(pool.waiting for pool in in_flight.pools.values()) > before:
            break
    return task


async def test_a_slot_is_held_until_it_is_released_and_given_back_once() -> None:
    in_flight = made()
    first, second = await taken(in_flight, target(key_id=1)), await taken(in_flight, target(key_id=2))
    assert {slot.target.key_id for slot in in_flight.slots} == {1, 2}
    first.release()
    first.release()
    assert in_flight.slots == {second}
    second.release()
    assert not in_flight.slots


async def test_what_has_no_limit_has_no_pool() -> None:
    in_flight = made()
    for _ in range(100):
        await taken(in_flight, target())
    assert in_flight.pools == {}


@pytest.mark.parametrize("place", ["key", "endpoint", "provider"])
async def test_a_limit_holds_for_all_targets_of_its_place(place: str) -> None:
    in_flight = made()
    ids = {"key": "endpoint_id", "endpoint": "key_id", "provider": "key_id"}
    one, two = (limited(3, place, **{ids[place]: number}) for number in (1, 2))
    slots = [await taken(in_flight, each) for each in (one, two, one)]
    assert await in_flight.take(two, ALICE, 0) is None
    assert in_flight.limit_of(two, ALICE) == f"{place}: at concurrency limit, 3 of 3"
    slots[0].release()
    await taken(in_flight, two)


async def test_the_least_of_several_limits_holds() -> None:
    in_flight = made()
    both = target(limits=(Limit("key", 1, 5), Limit("provider", 1, 2)))
    await taken(in_flight, both)
    await taken(in_flight, both)
    assert await in_flight.take(both, ALICE, 0) is None
    assert in_flight.limit_of(both, ALICE) == "provider: at concurrency limit, 2 of 2"
    assert in_flight.pools["key", 1].held == 2


async def test_a_limit_that_is_new_counts_what_is_under_way_already() -> None:
    in_flight = made()
    slots = [await taken(in_flight, target()) for _ in range(3)]
    assert await in_flight.take(limited(3), ALICE, 0) is None
    for slot in slots:
        slot.release()
    assert in_flight.pools["key", 1].held == 0


async def test_a_limit_that_changes_or_goes_is_obeyed_at_once() -> None:
    in_flight = made()
    await taken(in_flight, limited(1))
    assert await in_flight.take(limited(1), ALICE, 0) is None
    await taken(in_flight, limited(2))
    assert await in_flight.take(limited(1), ALICE, 0) is None
    await taken(in_flight, target())
    for slot in list(in_flight.slots):
        slot.release()
    in_flight.forget()
    assert in_flight.pools == {}


# Those who wait


async def test_who_waits_gets_the_next_slot() -> None:
    in_flight = made()
    slot = await taken(in_flight, limited(1))
    task = await waiting(in_flight, limited(1))
    assert not task.done()
    slot.release()
    got = await task
    assert got.target == limited(1)
    assert in_flight.slots == {got}
    assert in_flight.pools["key", 1].waiting == 0


async def test_who_waits_for_several_gets_the_first_that_is_free() -> None:
    in_flight = made()
    targets = [limited(1, key_id=number) for number in (1, 2, 3)]
    slots = [await taken(in_flight, each) for each in targets]
    task = await waiting(in_flight, *targets)
    slots[1].release()
    assert (await task).target is targets[1]
    assert [pool.waiting for pool in in_flight.pools.values()] == [0, 0, 0]


BOTH = target(limits=(Limit("key", 1, 4), Limit("provider", 1, 1)))


async def test_who_needs_slots_of_two_limits_gets_them_at_once() -> None:
    in_flight = made()
    of_provider = await taken(in_flight, limited(1, "provider", key_id=9))
    of_key = [await taken(in_flight, limited(4, provider_id=9)) for _ in range(4)]
    task = await waiting(in_flight, BOTH)
    of_key[0].release()
    await asyncio.sleep(0)
    assert not task.done()
    again = await taken(in_flight, limited(4, provider_id=9))
    of_provider.release()
    await asyncio.sleep(0)
    assert not task.done()
    again.release()
    assert (await task).target is BOTH


async def test_one_who_gives_up_lets_in_whom_its_waiting_held_back() -> None:
    in_flight = made()
    await taken(in_flight, limited(1, "provider", key_id=9))
    of_key = [await taken(in_flight, limited(4, provider_id=9)) for _ in range(4)]
    bob = await waiting(in_flight, BOTH, consumer=BOB)
    alice = await waiting(in_flight, limited(4, provider_id=9))
    of_key[0].release()
    await asyncio.sleep(0)
    assert not alice.done()  # holds more than half, and Bob waits
    bob.cancel()
    assert (await alice).consumer == ALICE


async def test_patience_ends() -> None:
    in_flight = made()
    await taken(in_flight, limited(1))
    assert await in_flight.wait((limited(1),), ALICE, 0.01) is None
    assert in_flight.pools["key", 1].waiting == 0


async def test_the_queue_is_bounded() -> None:
    in_flight = made()
    await taken(in_flight, limited(1))
    first = await waiting(in_flight, limited(1))
    assert await in_flight.wait((limited(1),), ALICE, 5) is None
    first.cancel()


async def test_who_is_pushed_out_of_the_queue_hears_of_it_at_once() -> None:
    in_flight = made()
    two = limited(2)
    for _ in range(2):
        await taken(in_flight, two)
    crowd = [await waiting(in_flight, two) for _ in range(2)]
    bob = await waiting(in_flight, two, consumer=BOB)
    assert await crowd[0] is None
    assert not bob.done()
    for task in (crowd[1], bob):
        task.cancel()


async def test_a_cancelled_wait_leaves_the_queue_and_gives_back_what_it_was_given() -> None:
    in_flight = made()
    one = limited(1)
    slot = await taken(in_flight, one)
    gone, granted = await waiting(in_flight, one), None
    gone.cancel()
    await asyncio.wait({gone})
    assert in_flight.pools["key", 1].waiting == 0
    granted = await waiting(in_flight, one)
    slot.release()  # grants it
    granted.cancel()  # before it could look
    await asyncio.wait({granted})
    assert granted.cancelled()
    assert not in_flight.slots
    assert in_flight.pools["key", 1].held == 0


async def test_slots_that_nobody_gave_back_are_reaped() -> None:
    in_flight = made()
    await taken(in_flight, limited(1), now=0)
    young = await taken(in_flight, target(), now=3_000)
    long = await taken(in_flight, target(total_timeout=9_000.0), now=0)
    in_flight.reap(3_600, 3_660)
    assert len(in_flight.slots) == 3
    in_flight.reap(3_600, 3_661)
    assert in_flight.slots == {young, long}
    assert in_flight.pools["key", 1].held == 0


# What keys teach


async def test_the_first_throttle_teaches_a_limit_from_what_is_under_way() -> None:
    told: list[tuple[int, int | None]] = []
    in_flight = made(told=lambda key_id, known: told.append((key_id, known and known.limit)))
    slots = [await taken(in_flight, target()) for _ in range(10)]
    await taken(in_flight, target(key_id=2))
    in_flight.throttled(target(), "throttled", 1)
    assert told == [(1, 7)]
    slots[0].release()
    assert await in_flight.take(target(), BOB, 1) is None
    assert in_flight.limit_of(target(), BOB) == "key: at concurrency limit, 9 of 7"
    await taken(in_flight, target(key_id=2))
    for slot in slots[1:4]:
        slot.release()
    await taken(in_flight, target(), BOB)
    in_flight.throttled(target(), "overloaded", 3)
    in_flight.throttled(target(), "overloaded", 7)
    assert told == [(1, 7), (1, 4)]


async def test_full_use_lets_a_learned_limit_grow() -> None:
    told: list[int | None] = []
    in_flight = made(told=lambda key_id, known: told.append(known and known.limit))
    in_flight.learned[1] = Learned.restored(2, {}, 0)
    for now in range(12):
        slots = [await taken(in_flight, target(), now=now) for _ in range(2)]
        for slot in slots:
            slot.release()
    assert told == [3]
    for _ in range(3):
        await taken(in_flight, target(), now=13)


async def test_a_key_with_a_limit_of_its_own_has_nothing_to_learn() -> None:
    in_flight = made()
    await taken(in_flight, limited(5))
    in_flight.throttled(limited(5), "throttled", 1)
    assert in_flight.learned == {}
    in_flight.learned[1] = Learned.restored(1, {}, 0)  # from before it was set
    await taken(in_flight, limited(5))
    in_flight.throttled(limited(5, "endpoint"), "throttled", 10)
    assert in_flight.learned[1].reason == "throttled"


async def test_what_a_recovered_key_taught_is_forgotten_and_whoever_waited_goes_on() -> None:
    told: list[int | None] = []
    in_flight = made(told=lambda key_id, known: told.append(known and known.limit))
    slots = [await taken(in_flight, target()) for _ in range(2)]
    in_flight.throttled(target(), "throttled", 1)
    asked = await waiting(in_flight, target())
    in_flight.unlearn(2, 2)
    assert not asked.done()
    in_flight.unlearn(1, 2)
    slots.append(await asked)
    assert told == [1, None]
    assert (in_flight.learned, in_flight.pools) == ({}, {})
    for slot in slots:
        slot.release()
    await taken(in_flight, target(), now=3)
    in_flight.throttled(target(), "throttled", 4)
    assert in_flight.limit_of(target(), BOB) == "key: at concurrency limit, 1 of 1"


async def test_a_limit_that_an_operator_set_stays_though_the_key_is_recovered() -> None:
    in_flight = made()
    await taken(in_flight, limited(1))
    in_flight.learned[1] = Learned.restored(1, {}, 0)  # from before it was set
    asked = await waiting(in_flight, limited(1))
    in_flight.unlearn(1, 2)
    assert in_flight.learned == {}
    assert not asked.done()
    assert in_flight.limit_of(limited(1), BOB) == "key: at concurrency limit, 1 of 1"
    asked.cancel()
    await asyncio.wait({asked})


# Who is pushed out of one queue while slots of another are given


def tightly(key_id: int, endpoint_id: int, provider_id: int = 1) -> Target:
    """A target with a slot for one at its key and at its endpoint, and for two at its provider."""
    limits = (Limit("key", key_id, 1), Limit("endpoint", endpoint_id, 1), Limit("provider", provider_id, 2))
    return target(key_id=key_id, endpoint_id=endpoint_id, provider_id=provider_id, limits=limits)


@pytest.mark.parametrize("seed", range(count(10, 500)))
async def test_whatever_is_taken_given_and_left_each_who_waits_is_told_once(seed: int) -> None:
    """Nobody who still waits has been answered, and whoever does not is in no queue: so nobody is answered
    twice."""
    chance, in_flight = random.Random(seed), made()
    tasks: list[asyncio.Task[Slot | None]] = []
    loop_errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: loop_errors.append(told))
    for now in range(150):
        some = [tightly(chance.randint(1, 3), chance.randint(1, 3)) for _ in range(chance.randint(1, 4))]
        match chance.choice(("take", "wait", "wait", "release", "release", "cancel", "teach", "unlearn")):
            case "take":
                await in_flight.take(some[0], chance.randint(1, 3), now)
            case "wait":
                tasks.append(asyncio.create_task(in_flight.wait(some, chance.randint(1, 3), 60)))
            case "release" if in_flight.slots:
                chance.choice(sorted(in_flight.slots, key=lambda slot: slot.began)).release()
            case "cancel" if tasks:
                chance.choice(tasks).cancel()
            case "teach":
                in_flight.throttled(target(key_id=chance.randint(1, 3)), "throttled", now)
            case "unlearn":
                in_flight.unlearn(chance.randint(1, 3), now)
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        for pool in in_flight.pools.values():
            for waiter in pool.in_turn():
                assert not waiter.slot.done()
                assert pool in waiter.pools
    for task in tasks:
        task.cancel()
    for each in await asyncio.gather(*tasks, return_exceptions=True):
        assert each is None or isinstance(each, Slot | asyncio.CancelledError)
    for slot in list(in_flight.slots):
        slot.release()
    assert not loop_errors
    assert not in_flight.slots
    assert not any(pool.held or pool.waiting for pool in in_flight.pools.values())
