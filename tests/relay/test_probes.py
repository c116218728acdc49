"""relay/probes.py: which keys and endpoints are probed, and when."""

from __future__ import annotations

from typing import Any

from providers.types import Target
from relay.breaker import Part, Rules
from relay.health import Health
from relay.probes import EARLY, Probe, Probes
from tests.relay.targets import target

FIRST, SECOND = target(key_id=1), target(key_id=2)
WATCHED = (target(key_id=1, probe_seconds=60.0), target(key_id=2, probe_seconds=60.0))


def health(**rules: Any) -> Health:
    return Health(Rules(**rules), keys_at=lambda endpoint_id: 2, chance=lambda: 0.0)


def probes(chance: float = 0.0) -> Probes:
    return Probes(lambda: chance)


def told(found: list[Probe]) -> list[tuple[str, int, int | None]]:
    """Places, and the key through which each is probed."""
    return [(*each.place, each.target.key_id if each.target else None) for each in found]


def kill(made: Health, one: Target, now: float = 0.0) -> None:
    for _ in range(5):
        made.failed(one, "server_error", None, now, kind="")


def test_who_is_well_and_not_watched_is_never_probed() -> None:
    plan, made = probes(), health()
    assert [plan.due((FIRST, SECOND), made, now) for now in (0, 1_000, 9_999)] == [[], [], []]


def test_a_watched_endpoint_is_probed_at_its_pace_with_a_key_that_is_well() -> None:
    plan, made = probes(0.5), health()
    seen = {now: told(plan.due(WATCHED, made, now)) for now in (0, 29, 30, 31, 89, 90, 150)}
    assert [now for now, found in seen.items() if found] == [30, 90, 150]
    assert seen[30] == [("endpoint", 1, 1)]
    made.failed(WATCHED[0], "throttled", 1_000.0, 150, kind="")
    assert told(plan.due(WATCHED, made, 210)) == [("endpoint", 1, 2)]
    made.failed(WATCHED[1], "throttled", 1_000.0, 210, kind="")
    assert plan.due(WATCHED, made, 270) == []


def test_a_refused_key_is_probed_just_before_a_request_would_try_it() -> None:
    plan, made = probes(), health(refused=600.0)
    made.failed(FIRST, "key_refused", None, 0, kind="")
    assert plan.due((FIRST, SECOND), made, 600 - EARLY - 0.1) == []
    assert told(plan.due((FIRST, SECOND), made, 600 - EARLY)) == [("key", 1, 1)]


def test_a_key_that_only_cools_is_left_in_peace() -> None:
    plan, made = probes(), health()
    made.failed(FIRST, "throttled", 10.0, 0, kind="")
    made.failed(SECOND, "out_of_money", None, 0, kind="")
    assert [plan.due((FIRST, SECOND), made, now) for now in (9.5, 11, 599.5)] == [[], [], []]


def test_an_open_key_is_probed_where_its_endpoint_is_watched_and_before_the_opening_ends() -> None:
    plan, made = probes(1.0), health()
    kill(made, WATCHED[0])
    assert plan.due(WATCHED, made, 1) == []
    assert told(plan.due(WATCHED, made, 30 - EARLY)) == [("key", 1, 1)]
    plan = probes()
    assert plan.due((FIRST, SECOND), made, 30 - EARLY) == []


def test_an_open_endpoint_is_probed_before_its_time_when_its_opening_ends_earlier() -> None:
    plan, made = probes(), health()
    assert told(plan.due(WATCHED, made, 0)) == [("endpoint", 1, 1)]
    made.endpoints[1] = part = Part(Rules())
    part.reopen(30.0, 1)
    assert plan.due(WATCHED, made, 20) == []
    assert told(plan.due(WATCHED, made, 30 - EARLY)) == [("endpoint", 1, 1)]


def test_what_an_operator_parked_is_left_in_peace() -> None:
    plan, made = probes(), health()
    made.endpoints[1], made.keys[2] = Part(Rules()), Part(Rules())
    for part in (made.endpoints[1], made.keys[2]):
        part.leave_alone(1_000.0, "parked")
    assert plan.due(WATCHED, made, 500) == []


def test_what_an_operator_asks_is_done_once_whatever_keeps_the_place_out() -> None:
    plan, made = probes(), health()
    made.failed(FIRST, "key_refused", None, 0, kind="")
    for place in (("key", 1), ("endpoint", 1), ("key", 99)):
        plan.ask(place)
    found = plan.due((FIRST, SECOND), made, 1)
    assert told(found) == [("key", 1, 1), ("endpoint", 1, 2), ("key", 99, None)]
    assert all(each.asked for each in found)
    assert plan.due((FIRST, SECOND), made, 2) == []


def test_what_could_not_be_sent_is_due_again_at_once() -> None:
    plan, made = probes(), health()
    plan.ask(("key", 2))
    first = plan.due(WATCHED, made, 0)
    assert told(first) == [("key", 2, 2), ("endpoint", 1, 1)]
    for each in first:
        plan.put_off(each)
    assert plan.due(WATCHED, made, 0.1) == first
    assert plan.due(WATCHED, made, 0.2) == []


def test_a_new_catalog_is_learned_and_what_is_gone_forgotten() -> None:
    plan, made = probes(), health()
    assert told(plan.due(WATCHED, made, 0)) == [("endpoint", 1, 1)]
    assert plan.due((), made, 100) == []
    assert plan._next == {}
    assert told(plan.due((WATCHED[1],), made, 200)) == [("endpoint", 1, 2)]
