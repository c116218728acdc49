"""relay/health.py: who may be asked, and what follows from a failure."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from providers import states
from providers.machine import KeyState
from providers.models import Key
from providers.types import Stored, Target
from relay.breaker import Rules
from relay.health import Health
from relay.hints import Held
from tests.relay.asks import Ask
from tests.relay.harness import House, house
from tests.relay.targets import target
from wire.types import COUNT_TOKENS, GENERATE

CHAT = Ask("openai_chat")
FAR = 10_000.0


def health(keys: int = 3) -> Health:
    return Health(Rules(), keys_at=lambda endpoint_id: keys, chance=lambda: 0.0)


def targets(number: int) -> list[Target]:
    return [target(key_id=each) for each in range(1, number + 1)]


def keys(order: tuple[Target, ...]) -> list[int]:
    return [each.key_id for each in order]


def kill(made: Health, one: Target, now: float = 0.0) -> None:
    """Opens the key's breaker."""
    for _ in range(5):
        made.failed(one, "server_error", None, now, kind=GENERATE)


def test_nothing_is_held_against_anybody_at_first() -> None:
    made, three = health(), targets(3)
    assert made.well
    assert made.order(three, GENERATE, 0) == (tuple(three), [])
    assert made.succeeded(three[0], 0) == []


@pytest.mark.parametrize(
    ("reason", "retry_after", "barred", "until"),
    [
        ("throttled", None, "key: cooling", 30),
        ("throttled", 7.0, "key: cooling", 7),
        ("overloaded", 7.0, "key: cooling", 7),
        ("out_of_money", None, "key: out of money", 600),
        ("key_refused", None, "key: key refused", 600),
    ],
)
def test_what_one_failure_means(reason: str, retry_after: float | None, barred: str, until: float) -> None:
    made, one = health(), target()
    made.failed(one, reason, retry_after, 0, kind=GENERATE)
    assert (made.barred(one, until - 0.1), made.barred(one, until)) == (barred, "")
    assert made.barred(target(model_id=2), 1) == barred


@pytest.mark.parametrize(
    ("reason", "same"),
    [
        ("not_permitted", {"endpoint_id": 2}),
        ("unsupported", {"key_id": 2}),
        ("unsupported_request", {"key_id": 2}),
    ],
)
def test_who_does_not_serve_a_model_is_asked_for_it_after_all_others(
    reason: str, same: dict[str, int]
) -> None:
    made, one = health(), target()
    made.failed(one, reason, None, 0, kind=COUNT_TOKENS)
    sharer, other = target(**same), target(key_id=3, endpoint_id=3)
    assert made.order([one, sharer, other], COUNT_TOKENS, 299)[0] == (other, one, sharer)
    assert made.order([one, sharer], COUNT_TOKENS, 299)[0] == (one, sharer)
    for kind, now in ((COUNT_TOKENS, 300), (GENERATE, 299)):
        assert made.order([one, sharer, other], kind, now) == ((one, sharer, other), [])


@pytest.mark.parametrize("reason", ["caller", "blocked_address", "redirect"])
def test_what_is_not_the_vendor_s_fault_changes_nothing(reason: str) -> None:
    made = health()
    for _ in range(20):
        assert made.failed(target(), reason, None, 0, kind=GENERATE) == []
    assert made.well


@pytest.mark.parametrize("reason", ["encoding", "too_large"])
def test_an_answer_that_cannot_be_taken_is_a_failure(reason: str) -> None:
    made, one = health(), target()
    for _ in range(5):
        made.failed(one, reason, None, 0, kind=GENERATE)
    assert made.barred(one, 1) == "key: breaker open"


def test_one_key_that_is_overloaded_again_and_again_is_left_alone_unless_it_is_the_only_one() -> None:
    for number, barred in ((3, "key: breaker open"), (1, "endpoint: breaker open")):
        made, one = health(number), target()
        for _ in range(5):
            made.failed(one, "overloaded", None, 0, kind=GENERATE)
        assert made.barred(one, 1) == barred
        assert (1 in made.keys) is (number > 1)


def test_a_dead_key_is_left_alone_and_its_endpoint_is_not_blamed() -> None:
    made, three = health(), targets(3)
    kill(made, three[0])
    order, skipped = made.order(three, GENERATE, 1)
    assert keys(order) == [2, 3]
    assert [(each.target.key_id, each.reason) for each in skipped] == [(1, "key: breaker open, 29 s left")]
    assert made.endpoints[1].state == "closed"


def test_an_endpoint_at_which_two_keys_fail_is_to_blame() -> None:
    made, three = health(), targets(3)
    for each in (three[0], three[1]) * 3:
        made.failed(each, "server_error", None, 0, kind=GENERATE)
    assert made.barred(three[2], 1) == "endpoint: breaker open"


def test_an_endpoint_with_one_key_falls_with_it() -> None:
    made, one = health(keys=1), target()
    kill(made, one)
    assert made.endpoints[1].state == "open"


def test_breakers_take_half_of_a_pool_out_at_most() -> None:
    made, four = health(), [target(key_id=each, endpoint_id=each) for each in range(1, 5)]
    for now, each in enumerate(four):
        kill(made, each, now)
    order, skipped = made.order(four, GENERATE, 5)
    assert keys(order) == [1, 2]
    assert [each.target.key_id for each in skipped] == [3, 4]


def test_to_a_sole_place_that_is_open_one_request_a_second_goes_through() -> None:
    made, one = health(keys=1), target()
    kill(made, one)
    sent = [bool(made.order([one], GENERATE, 1 + tenth / 10)[0]) for tenth in range(25)]
    assert sent.count(True) == 3


def test_a_half_open_place_gets_one_probe_and_no_trickle() -> None:
    made, one = health(keys=1), target()
    kill(made, one)
    assert made.order([one], GENERATE, 30)[0] == (one,)
    probe: Any = object()
    made.enter(one, probe, 30)
    assert made.order([one], GENERATE, 30)[0] == ()
    assert made.order([one], GENERATE, 40)[0] == ()
    made.leave(one, probe)
    assert made.order([one], GENERATE, 40)[0] == (one,)


def test_the_earliest_return_is_told() -> None:
    made, two = health(), targets(2)
    made.failed(two[0], "throttled", 40.0, 0, kind=GENERATE)
    made.failed(two[1], "throttled", 25.0, 0, kind=GENERATE)
    assert made.returns_in(two, 5) == 20
    assert made.returns_in([], 5) is None


def test_what_has_passed_is_forgotten() -> None:
    made, one = health(), target()
    made.failed(one, "throttled", 5.0, 0, kind=GENERATE)
    made.failed(one, "unsupported", None, 0, kind=GENERATE)
    made.failed(one, "server_error", None, 0, kind=GENERATE)
    made.forget(1)
    assert not made.well
    made.forget(FAR)
    assert made.well


def test_an_opening_that_ends_is_told_before_its_probe_has_an_outcome() -> None:
    made, (one,) = health(), targets(1)
    told: list[tuple[str, int, str, str]] = []
    made.changed = lambda turns: told.extend(
        (each.table, each.id, each.part.state, each.reason) for each in turns
    )
    for _ in range(5):
        made.failed(one, "reset", None, 0, kind=GENERATE)
    for now in (29, 30, 31):
        made.enter(one, object(), now)
    assert told == [("key", one.key_id, "half_open", "breaker half open: a probe")]


def test_each_turn_is_told_once_with_its_reason() -> None:
    made, one = health(), target()
    turns = [turn for _ in range(6) for turn in made.failed(one, "reset", None, 0, kind=GENERATE)]
    assert [(turn.table, turn.reason) for turn in turns] == [("key", "breaker open: reset")]
    back = []
    for number in range(3):
        slot: Any = object()
        made.enter(one, slot, 30 + number)
        back += made.succeeded(one, 30 + number)
        made.leave(one, slot)
    assert [(turn.table, turn.part.state, turn.reason) for turn in back] == [
        ("key", "closed", "answers again")
    ]


# From our own probes


def refused(made: Health, one: Target, now: float = 0.0) -> None:
    made.failed(one, "key_refused", None, now, kind=GENERATE)


def probe(made: Health, one: Target, reason: str, now: float) -> list[str]:
    """One probe from its beginning to its end; what turned."""
    mark: Any = object()
    assert made.probing(one, mark, now, 10.0)
    turns = made.probed(one, reason, None, now)
    made.leave(one, mark)
    return [f"{turn.table} {turn.part.state}{' again' * turn.again}: {turn.reason}" for turn in turns]


@pytest.mark.parametrize("reason", ["", "unsupported", "caller", "not_permitted"])
def test_a_refused_key_is_asked_again_once_a_probe_is_answered(reason: str) -> None:
    made, one = health(), target()
    refused(made, one)
    assert probe(made, one, reason, 500) == ["key closed: answers again"]
    assert made.well


@pytest.mark.parametrize("reason", ["key_refused", "connect", "first_byte_timeout", "throttled"])
def test_a_refused_key_stays_out_while_probes_fail_and_no_new_turn_is_told_of_it(reason: str) -> None:
    made, one = health(), target()
    refused(made, one)
    for now in (599, 1_198, 1_797):
        told = probe(made, one, reason, now)
        assert "key closed again: key_refused" in told
        assert all("key_refused" not in each or "again" in each for each in told)
        assert made.barred(one, now + 599) == "key: key refused"


def test_no_request_tries_a_refused_key_while_it_is_probed() -> None:
    made, one, mark = health(), target(), object()
    refused(made, one)
    assert made.probing(one, mark, 599.5, 10.0)
    assert made.barred(one, 605) == "key: key refused"


def test_a_probe_ends_an_opening_early_and_three_close_it() -> None:
    made, one = health(keys=1), target()
    kill(made, one)
    assert [probe(made, one, "", 5 + number) for number in range(3)][:2] == [[], []]
    assert made.barred(one, 9) == ""
    assert made.keys[1].state == "closed"


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    made, one = health(), target()
    kill(made, one)
    assert "key open: breaker open: connect" in probe(made, one, "connect", 29)
    assert made.keys[1].opened_until == pytest.approx(29 + 60)


def test_a_probe_that_was_never_sent_tells_nothing() -> None:
    made, one = health(), target()
    refused(made, one)
    assert probe(made, one, "blocked_address", 500) == []
    assert made.barred(one, 501) == "key: key refused"


def test_one_probe_at_a_time_finds_out_and_no_request_beside_it() -> None:
    made, one, mark = health(), target(), object()
    kill(made, one)
    assert made.probing(one, mark, 31, 10.0)
    assert not made.probing(one, object(), 32, 10.0)
    assert made.barred(one, 32) == "key: breaker half open, a probe is under way"
    made.leave(one, mark)
    assert made.probing(one, object(), 33, 10.0)


# From the tables

WALL = 1_800_000_000.0


def row(**columns: Any) -> Stored:
    """What the tables say of key 1, of which nothing is held but `columns`; seconds from WALL as instants."""
    nothing: dict[str, Any] = dict.fromkeys(Stored._fields) | {
        "table": "key", "id": 1, "breaker": "", "openings": 0, "verdict": "", "reason": "",
    }  # fmt: skip
    instants = {
        name: round((WALL + value) * 1000) if name.endswith(("_at", "_until")) else value
        for name, value in columns.items()
    }
    return Stored(**(nothing | instants))


@pytest.mark.parametrize(
    ("columns", "barred", "free_at"),
    [
        ({"cooling_until": 20, "verdict": "throttled"}, "key: cooling", 120),
        ({"cooling_until": 900, "verdict": "key_refused"}, "key: key refused", 1000),
        ({"breaker": "open", "opened_until": 25, "openings": 2}, "key: breaker open", 125),
        ({"parked_until": 5000}, "key: parked by an operator", 5100),
        (
            {"parked_until": 5000, "cooling_until": 20, "verdict": "throttled"},
            "key: parked by an operator",
            5100,
        ),
        ({"cooling_until": -1, "verdict": "throttled"}, "", 100),
        ({"breaker": "half_open"}, "", 100),
        ({"breaker": "closed", "recovered_at": -5}, "", 100),
    ],
)
def test_what_was_held_before_a_restart_is_held_on(
    columns: dict[str, Any], barred: str, free_at: float
) -> None:
    made, one = health(), target()
    made.know(row(**columns), WALL, 100)
    assert made.barred(one, 100) == barred
    assert made.barred(one, free_at) == ""


def test_an_operator_s_recovery_holds_once_for_what_was_before_it() -> None:
    made, one = health(), target()
    kill(made, one)
    made.know(row(recovered_at=0), WALL, 1)
    assert made.barred(one, 1) == ""
    kill(made, one, 2)
    made.know(row(recovered_at=0), WALL, 3)
    assert made.barred(one, 3) == "key: breaker open"


def test_what_is_parked_without_an_end_is_told_without_one() -> None:
    made, one = health(), target()
    made.know(row(parked_until=10**9), WALL, 0)
    assert [each.reason for each in made.order([one], GENERATE, 1)[1]] == ["key: parked by an operator"]


# From other processes


def test_a_vendor_s_word_counts_for_all_and_another_s_experience_as_a_warning() -> None:
    made, three = health(keys=1), [target(key_id=each, endpoint_id=each) for each in (1, 2, 3)]
    made.heard(Held("b", "key", 1, "closed", 20.0, "throttled"), 0)
    made.heard(Held("b", "endpoint", 2, "open", 0.0, ""), 0)
    made.heard(Held("b", "key", 3, "closed", 0.0, ""), 0)
    assert [made.barred(each, 1) for each in three] == ["key: cooling", "", ""]
    made.failed(three[1], "server_error", None, 1, kind=GENERATE)
    assert made.barred(three[1], 1) == "endpoint: breaker open"
    made.heard(Held("b", "endpoint", 2, "closed", 0.0, ""), 5)
    assert made.barred(three[1], 5) == ""


def test_who_is_recovered_has_nothing_against_it() -> None:
    made, two = health(), targets(2)
    for each in two:
        made.failed(each, "throttled", None, 0, kind=GENERATE)
        made.failed(each, "not_permitted", None, 0, kind=GENERATE)
    made.recover("key", 1)
    assert keys(made.order(two, GENERATE, 1)[0]) == [1]
    assert {pair[1] for pair in made.parked} == {2}


# Through the whole relay

TWO = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")
THREE = (*TWO, "sk-vendor-third-key-3")
pytestmark = pytest.mark.django_db(transaction=True)


async def used(each: House, count: int) -> list[list[str]]:
    """The keys tried by each of the newest requests."""
    finals = (await each.settled(count))[-count:]
    return [[attempt["key_name"] for attempt in final["attempts"]] for final in finals]


def without_affinity(_url: str) -> None:
    Key.objects.update(affinity_seconds=0)


async def test_after_one_429_traffic_moves_and_returns_on_time(door: str) -> None:
    async with house(door, keys=TWO, prepare=without_affinity) as each:
        each.vendor.script(["fault-429.retry-1"], secret=TWO[0])
        for _ in range(3):
            assert (await CHAT.send(each, "sim")).status_code == 200
        assert await used(each, 3) == [["key-1", "key-2"], ["key-2"], ["key-2"]]
        each.vendor.script(secret=TWO[0])
        (part,) = each.engine.health.keys.values()
        await asyncio.sleep(part.cooling_until - time.monotonic())
        assert (await CHAT.send(each, "sim")).status_code == 200
        assert (await used(each, 4))[-1] == ["key-1"]
        async with asyncio.timeout(5):
            while not each.engine.health.well:
                await asyncio.sleep(0.02)


async def test_all_cooling_is_told_with_the_earliest_return(door: str) -> None:
    async with house(door, keys=TWO) as each:
        for secret in TWO:
            each.vendor.script(["fault-429"], secret=secret)
        first = await CHAT.send(each, "sim")
        second = await CHAT.send(each, "sim")
        assert (first.status_code, second.status_code) == (429, 429)
        assert 25 <= int(second.headers["retry-after"]) <= 31
        final = (await each.settled(2))[-1]
        assert final["attempts"] == []
        reasons = [one["reason"] for one in final["record"]["explanation"]["skipped"]]
        assert all(re.fullmatch(r"key: cooling, (29|30) s left", each) for each in reasons)


async def test_a_dead_key_is_left_alone_after_a_few_requests(door: str) -> None:
    async with house(door, keys=THREE) as each:
        each.vendor.script(["fault-502"] * 100, secret=THREE[0])
        for _ in range(12):
            assert (await CHAT.send(each, "sim")).status_code == 200
            each.engine.affinity._pins.clear()  # each as if by another caller
        wasted = sum(tried.count("key-1") for tried in await used(each, 12))
        assert wasted <= 6


async def test_what_an_operator_parks_or_recovers_is_obeyed_at_once(door: str) -> None:
    async def first_key() -> str:
        assert (await CHAT.send(each, "sim")).status_code == 200
        each.engine.affinity.clear()
        return str(each.vendor.requests[-1].secret)

    async with house(door, keys=TWO) as each:
        key = await sync_to_async(Key.objects.get)(name="key-1")
        for change, secret in (
            (partial(states.park, [key], None, by="root", reason="being looked at"), TWO[1]),
            (partial(states.recover, [key], by="root"), TWO[0]),
        ):
            await sync_to_async(change)()
            await each.engine._follow()
            assert await first_key() == secret
        async with asyncio.timeout(5):
            while not each.engine.health.well:
                await asyncio.sleep(0.02)


async def test_a_pause_outlives_the_process(door: str) -> None:
    def prepare(_url: str) -> None:
        until = timezone.now() + timedelta(seconds=60)
        KeyState.objects.create(key=Key.objects.get(name="key-1"), cooling_until=until, verdict="throttled")

    async with house(door, keys=TWO, prepare=prepare) as each:
        assert (await CHAT.send(each, "sim")).status_code == 200
        assert [attempt["key_name"] for attempt in each.attempts()] == ["key-2"]


async def test_a_long_stream_that_is_a_probe_keeps_nobody_waiting(door: str) -> None:
    async with house(door, rules=Rules(first_opening=0.1, jitter=0.0)) as each:
        for _ in range(5):
            each.vendor.script(["fault-502"])
            await CHAT.send(each, "sim")
        each.vendor.script(["chunks-4000.delay-25"])
        (part,) = each.engine.health.keys.values()
        async with asyncio.timeout(5):
            while part.state != "open":
                await CHAT.send(each, "sim")
        await asyncio.sleep(max(0.0, part.opened_until - time.monotonic()))
        ask = Ask("openai_chat", stream=True)
        async with each.http.stream("POST", ask.path(), json=ask.body(), headers=ask.headers) as stream:
            await anext(stream.aiter_bytes())
            each.vendor.script(["ok"])
            assert (await CHAT.send(each, "sim")).status_code == 200
