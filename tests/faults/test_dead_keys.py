"""What a key that is dead, throttled or mute costs the requests that could have gone elsewhere, and when it
is used again (pains.md, 17, 18, 21 and 22). Breakers run on a clock that is a hundred times faster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from providers.models import Endpoint, Key
from relay.breaker import Rules
from simulator import ports
from tests.counts import PROOF, count
from tests.faults.stage import NAMES, SECRETS, assert_clean, assert_refused, stage
from tests.relay.asks import STREAMED, WHOLE, Ask, openers, text
from tests.relay.harness import BASES, House, house

pytestmark = pytest.mark.django_db(transaction=True)

SCALE = 100
FAST = Rules(first_opening=30 / SCALE, longest_opening=300 / SCALE, first_cooling=30 / SCALE)
KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2", "sk-vendor-third-key-3")
CHAT = WHOLE[0]
DEAD = (b'{"error":{"message":"The service is unavailable.","type":"server_error","code":null}}',)


def free_spirits(_url: str) -> None:
    """Nobody keeps to a key: every request is as if by another caller."""
    Key.objects.update(affinity_seconds=0)


def by(each: House, secret: str) -> int:
    """How many requests came to the vendors with this secret."""
    return sum(seen.secret == secret for seen in each.vendor.requests)


def script_503(each: House, secret: str, *, overloaded: bool) -> None:
    """A vendor that answers 503 to one key: in the words of one that is overloaded, or in others."""
    if overloaded:
        each.vendor.script(["fault-503"], secret=secret)
    else:
        headers = {"content-type": "application/json"}
        each.vendor.script(body=DEAD, status=503, headers=headers, then="keep", secret=secret)


@pytest.mark.parametrize("overloaded", [False, True], ids=["unavailable", "overloaded"])
async def test_one_dead_key_of_three_costs_a_few_attempts_and_no_answer(
    door: str, overloaded: bool, record_property: Callable[[str, object], None]
) -> None:
    number = count(200, 2_000)
    async with house(door, keys=KEYS, prepare=free_spirits, rules=Rules()) as each:
        script_503(each, KEYS[0], overloaded=overloaded)
        answers = [await CHAT.send(each) for _ in range(number)]
        assert sum(answer.status_code == 200 for answer in answers) >= 0.999 * number
        wasted = [final["attempts"][0]["key_name"] for final in await each.settled(number)].count("key-1")
        assert wasted <= 6
        record_property(
            "measured", f"{number:,} requests: {wasted} wasted, all but these on a key that works"
        )


async def test_one_of_three_vendors_that_refuses_connections_costs_a_few_attempts_and_no_answer(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    number = count(200, 2_000)
    with ports.refused() as port:

        def prepare(url: str) -> None:
            free_spirits(url)
            for form, base in BASES.items():
                found = Endpoint.objects.filter(provider__name=NAMES[0], format=form)
                found.update(base_url=f"http://127.0.0.1:{port}{base}")

        async with stage(door, prepare=prepare, rules=Rules()) as on:
            for _ in range(number):
                assert (await CHAT.send(on.house)).status_code == 200
            finals = await on.house.settled(number)
            wasted = sum(final["attempts"][0]["reason"] == "connect" for final in finals)
            assert wasted <= 6
            record_property("measured", f"{number:,} requests: {wasted} wasted, none failed")


async def test_a_key_healed_during_its_first_opening_is_used_again_after_it(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    async with house(door, keys=KEYS, prepare=free_spirits, rules=FAST) as each:
        script_503(each, KEYS[0], overloaded=False)
        while by(each, KEYS[0]) < 5:
            assert (await CHAT.send(each)).status_code == 200
        (part,) = each.engine.health.keys.values()
        ejected = part.failed_at
        each.vendor.script(secret=KEYS[0])
        async with asyncio.timeout(10):
            while by(each, KEYS[0]) < 6:
                assert (await CHAT.send(each)).status_code == 200
        back = (time.monotonic() - ejected) * SCALE
        assert back >= 30
        assert back <= 40 or not PROOF
        record_property("measured", f"used again {back:.0f} s (scaled by {SCALE}) after it was ejected")
        async with asyncio.timeout(5):
            while each.engine.health.keys:
                await CHAT.send(each)
                await asyncio.sleep(0.05)


async def test_a_key_healed_during_a_later_opening_is_used_again_within_that_opening(door: str) -> None:
    async with house(door, keys=KEYS, prepare=free_spirits, rules=replace(FAST, jitter=0)) as each:
        script_503(each, KEYS[0], overloaded=False)
        async with asyncio.timeout(10):
            while by(each, KEYS[0]) < 7:  # five, and two probes: it is open for the third time
                assert (await CHAT.send(each)).status_code == 200
        (part,) = each.engine.health.keys.values()
        assert part.openings == 3
        opened = part.opened_until
        assert opened - time.monotonic() <= 120 / SCALE
        each.vendor.script(secret=KEYS[0])
        async with asyncio.timeout(5):
            while by(each, KEYS[0]) < 8:
                assert (await CHAT.send(each)).status_code == 200
        assert time.monotonic() - opened < 5 / SCALE or not PROOF


async def test_a_key_that_is_throttled_is_left_until_it_said(door: str) -> None:
    """Traffic moves after one answer, and comes back on time."""
    pause = 0.5
    async with house(door, keys=KEYS, prepare=free_spirits) as each:
        each.vendor.script(
            body=[b'{"error":{"message":"Rate limit reached","type":"requests","code":null}}'], status=429,
            headers={"content-type": "application/json", "retry-after-ms": str(int(pause * 1000))},
            then="keep", secret=KEYS[0],
        )  # fmt: skip
        began = time.monotonic()
        assert_clean(CHAT, await CHAT.send(each))
        told = time.monotonic()
        each.vendor.script(secret=KEYS[0])
        while (now := time.monotonic()) < told + 2 * pause:
            assert_clean(CHAT, await CHAT.send(each))
            if by(each, KEYS[0]) > 1:
                break
        assert began + pause <= time.monotonic()
        assert by(each, KEYS[0]) == 2
        assert now - told <= pause + 0.1 or not PROOF
        tried = [len(final["attempts"]) for final in await each.settled()]
        assert Counter(tried) == {2: 1, 1: len(tried) - 1}


async def test_of_several_pauses_the_client_is_told_the_least(door: str) -> None:
    async with stage(door) as on:
        for ask in (*WHOLE, *STREAMED):
            on.forgive()
            for secret, seconds in zip(SECRETS, (30, 7, 20), strict=True):
                on.house.vendor.script([f"fault-429.retry-{seconds}"], secret=secret)
            limited = "Every upstream for this model is rate limited right now."
            assert_refused(ask, await ask.send(on.house), "rate_limited", limited, 7)
            again = await ask.send(on.house)
            assert (again.status_code, again.headers["retry-after"]) == (429, "7"), str(ask)
            assert on.house.vendor.total == 3


async def test_a_hung_vendor_is_counted_once_an_attempt_and_probed_by_one_request(door: str) -> None:
    """It takes connections and says nothing. Its breaker opens, and then lets a single one through."""
    knobs = {"first_byte_timeout": 0.1, "whole_first_byte_timeout": 0.1}
    rules = Rules(first_opening=0.3, jitter=0)
    async with stage(door, knobs=knobs, rules=rules, prepare=free_spirits) as on:
        each, key = on.house, on.keys[0]
        each.vendor.script(["fault-stall-head"], secret=SECRETS[0])
        for number in range(1, 6):
            assert_clean(CHAT, await CHAT.send(each))
            assert each.engine.health.keys[key].in_a_row == by(each, SECRETS[0]) == number
        assert each.engine.health.keys[key].state == "open"
        opened = each.engine.health.keys[key].opened_until
        for answer in await asyncio.gather(*(CHAT.send(each) for _ in range(10))):
            assert_clean(CHAT, answer)
        assert by(each, SECRETS[0]) == 5
        await asyncio.sleep(opened - time.monotonic() + 0.01)
        for answer in await asyncio.gather(*(CHAT.send(each) for _ in range(10))):
            assert_clean(CHAT, answer)
        assert by(each, SECRETS[0]) == 6
        assert each.engine.health.keys[key].openings == 2


@pytest.mark.parametrize("ask", STREAMED, ids=str)
async def test_streams_that_break_open_the_breaker_like_answers_that_fail(door: str, ask: Ask) -> None:
    """An error or a cut in mid-stream is no success, whatever its status was."""
    async with stage(door, rules=Rules(), prepare=free_spirits) as on:
        plays = ["chunks-8.fault-cut.after-6.delay-1", "chunks-8.fault-truncated.after-6"]
        on.house.vendor.script([*plays, *plays, plays[0]], secret=SECRETS[0])
        for _ in range(5):
            assert (await ask.send(on.house)).status_code == 200
        finals = await on.house.settled(5)
        assert {final["record"]["outcome"] for final in finals} == {"partial"}
        assert on.house.engine.health.keys[on.keys[0]].state == "open"
        answer = await ask.send(on.house)
        assert_clean(ask, answer)
        assert openers(ask, answer.text) == 1
        assert by(on.house, SECRETS[0]) == 5


async def test_a_session_of_ten_turns_stays_on_one_key_of_three_and_finds_a_new_one(door: str) -> None:
    """What comes before is the same to the byte, so that the vendor's cache may know it."""
    async with house(door, keys=KEYS, prepare=lambda _: Key.objects.update(priority=0)) as each:
        turns: list[dict[str, str]] = []

        async def turn(number: int) -> tuple[str, bytes]:
            turns.append({"role": "user", "content": f"turn {number}"})
            answer = await CHAT.send(each, messages=turns)
            turns.append({"role": "assistant", "content": text(CHAT, answer.text)})
            seen = each.vendor.requests[-1]
            return seen.secret, seen.body

        said = [await turn(number) for number in range(10)]
        (pinned, times), *_ = Counter(secret for secret, _ in said).most_common(1)
        assert times >= 9
        for (_, before), (_, after) in pairwise(said):
            assert after.startswith(before.removesuffix(b"]}"))
        script_503(each, pinned, overloaded=False)
        after_failure = [(await turn(number))[0] for number in range(10, 15)]
        assert pinned not in after_failure
        assert len(set(after_failure)) == 1
