"""relay/affinity.py: who keeps to which target."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from relay.affinity import Affinity, Session
from relay.hints import Pinned
from relay.scheduler import Plan, plan
from tests.relay.asks import STREAMED, WHOLE
from tests.relay.harness import house
from tests.relay.targets import candidate

ONE: Session = (1, "fast", "openai_chat", frozenset())


def three(**fields: Any) -> Plan:
    """Two equal keys and a third of lower rank."""
    keys = [(1, 100), (2, 100), (3, 500)]
    return plan(
        [
            candidate(key_id=number, key_priority=priority, **{"affinity_seconds": 300, **fields})
            for number, priority in keys
        ],
        caller=1,
    )


def first(affinity: Affinity, made: Plan, now: float, session: Session = ONE) -> int:
    return affinity.order(session, made, now)[0].key_id


def by_key(made: Plan, key_id: int) -> Any:
    return next(each for each in made.targets if each.key_id == key_id)


def test_a_session_goes_where_it_was_answered() -> None:
    affinity, made = Affinity(10), three()
    other = made.targets[1]
    affinity.keep(ONE, other, made, 0)
    assert affinity.order(ONE, made, 1) == (other, made.targets[0], made.targets[2])
    assert first(affinity, made, 1, (2, "fast", "openai_chat", frozenset())) == made.targets[0].key_id


def test_a_session_stays_as_long_as_it_keeps_coming() -> None:
    affinity, made = Affinity(10), three()
    other = made.targets[1]
    for now in range(0, 2000, 200):
        affinity.keep(ONE, other, made, now)
    assert first(affinity, made, 2099) == other.key_id
    assert first(affinity, made, 2101) == made.targets[0].key_id
    assert not len(affinity)


def test_a_session_that_landed_on_a_lower_rank_returns_after_one_time_to_live() -> None:
    affinity, made = Affinity(10), three()
    spare = by_key(made, 3)
    for now in range(0, 299, 50):
        affinity.keep(ONE, spare, made, now)
    assert first(affinity, made, 299) == 3
    assert first(affinity, made, 301) != 3


def test_a_session_leaves_a_target_that_failed() -> None:
    affinity, made = Affinity(10), three()
    best, other = made.targets[:2]
    affinity.keep(ONE, other, made, 0)
    affinity.drop(ONE, best)
    assert first(affinity, made, 1) == other.key_id
    affinity.drop(ONE, other)
    assert first(affinity, made, 1) == best.key_id


def test_a_target_that_is_gone_is_forgotten() -> None:
    affinity, made = Affinity(10), three()
    affinity.keep(ONE, made.targets[1], made, 0)
    left = Plan((made.targets[0], made.targets[2]), equals=1)
    assert affinity.order(ONE, left, 1) == left.targets
    assert not len(affinity)


def test_a_key_without_affinity_keeps_nobody() -> None:
    affinity, made = Affinity(10), three(affinity_seconds=0)
    affinity.keep(ONE, made.targets[1], made, 0)
    assert affinity.order(ONE, made, 0) == made.targets
    assert not len(affinity)


def test_the_oldest_session_goes_first_at_the_bound() -> None:
    affinity, made = Affinity(2), three()
    sessions: list[Session] = [(number, "fast", "openai_chat", frozenset()) for number in (1, 2, 3)]
    for session in sessions:
        affinity.keep(session, made.targets[1], made, 0)
    kept = [session for session in sessions if affinity.order(session, made, 1) != made.targets]
    assert kept == sessions[1:]


def test_others_are_told_of_a_new_place_now_and_again_and_of_its_end() -> None:
    told: list[tuple[int, float]] = []
    affinity, made = Affinity(10, lambda _, place, seconds: told.append((place[1], seconds))), three()
    other = made.targets[1]
    for now in range(0, 300, 20):
        affinity.keep(ONE, other, made, now)
    assert told == [(other.key_id, 300)] * 4
    affinity.drop(ONE, other)
    affinity.drop(ONE, other)
    assert told[4:] == [(other.key_id, 0)]


def test_what_others_tell_is_taken_in_and_not_told_again() -> None:
    told: list[Any] = []
    affinity, made = Affinity(10, lambda *word: told.append(word)), three()
    other = made.targets[1]
    word = Pinned("b", *ONE[:3], (), other.endpoint_id, other.key_id, other.upstream_name, 300.0)
    affinity.heard(word, 0)
    assert first(affinity, made, 299) == other.key_id
    affinity.heard(msgspec.structs.replace(word, key_id=99, seconds=0.0), 0)
    assert first(affinity, made, 299) == other.key_id
    affinity.heard(msgspec.structs.replace(word, seconds=0.0), 0)
    assert first(affinity, made, 299) == made.targets[0].key_id
    assert told == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ask", [WHOLE[0], STREAMED[0]], ids=["whole", "streamed"])
async def test_after_a_failover_a_session_stays_where_it_was_answered(door: str, ask: Any) -> None:
    keys = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")
    async with house(door, keys=keys) as each:
        each.vendor.script(["fault-503"], secret=keys[0])
        for _ in range(4):
            answer = await ask.send(each, "sim")
            assert answer.status_code == 200
            await each.idle()
        used = [attempt["key_name"] for final in await each.settled(4) for attempt in final["attempts"]]
        assert used == ["key-1", "key-2", "key-2", "key-2", "key-2"]
