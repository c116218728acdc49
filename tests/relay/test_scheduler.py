"""Who is tried, in which order."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from providers.types import Candidate
from relay.scheduler import EXCLUSIVE, Mode, Skipped, explain, plan, rendezvous, unfit
from tests.counts import count
from tests.relay.targets import candidate, target
from usage.pricing import Price

CALLERS = range(1, 2001)


def order(candidates: list[Candidate], caller: int = 1) -> list[tuple[int, int]]:
    return [(each.provider_id, each.key_id) for each in plan(candidates, caller=caller).targets]


def test_no_candidate_gives_an_empty_plan() -> None:
    chosen = plan([], caller=1)
    assert (chosen.targets, chosen.skipped) == ((), ())


def test_provider_priority_goes_before_key_priority() -> None:
    far = candidate(provider_id=1, key_id=1, provider_priority=200, key_priority=1)
    near = candidate(provider_id=2, key_id=2, provider_priority=100, key_priority=900)
    assert order([far, near]) == [(2, 2), (1, 1)]


def test_within_a_provider_the_lower_key_priority_goes_first() -> None:
    keys = [
        candidate(key_id=number, key_priority=priority) for number, priority in ((1, 30), (2, 10), (3, 20))
    ]
    for caller in range(20):
        assert order(keys, caller) == [(1, 2), (1, 3), (1, 1)]


def test_one_caller_keeps_its_order() -> None:
    keys = [candidate(key_id=number) for number in range(1, 9)]
    assert order(keys, 7) == order(list(reversed(keys)), 7)


def test_callers_spread_over_equal_keys() -> None:
    keys = [candidate(key_id=number) for number in (1, 2, 3, 4)]
    first = Counter(order(keys, caller)[0][1] for caller in CALLERS)
    assert set(first) == {1, 2, 3, 4}
    assert all(400 < share < 600 for share in first.values()), first


def test_callers_spread_by_weight() -> None:
    keys = [candidate(key_id=1, weight=3), candidate(key_id=2, weight=1)]
    first = Counter(order(keys, caller)[0][1] for caller in CALLERS)
    assert 0.7 < first[1] / len(CALLERS) < 0.8, first


def test_when_a_key_goes_only_its_own_callers_move() -> None:
    keys = [candidate(key_id=number) for number in range(1, 6)]
    for caller in CALLERS[:200]:
        before = order(keys, caller)
        gone = before[0]
        after = order([each for each in keys if each.target.key_id != gone[1]], caller)
        assert after == before[1:]


@given(st.integers(1, 10**9), st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_score_is_a_finite_number_at_any_weight(caller: int, key: int, weight: int) -> None:
    score = rendezvous(caller, target(key_id=key, weight=weight))
    assert 0 <= score < 1000


def test_a_skipped_candidate_stays_in_the_plan_with_its_reason() -> None:
    chosen = plan([candidate("key disabled", key_id=1), candidate(key_id=2)], caller=1)
    assert [each.key_id for each in chosen.targets] == [2]
    assert chosen.skipped == (Skipped(target(key_id=1), "key disabled"),)


def test_providers_out_of_the_callers_reach_are_skipped() -> None:
    candidates = [candidate(provider_id=1, key_id=1), candidate(provider_id=2, key_id=2)]
    chosen = plan(candidates, caller=1, providers=frozenset({2}))
    assert [each.key_id for each in chosen.targets] == [2]
    assert [each.reason for each in chosen.skipped] == ["provider not allowed for this caller"]
    assert plan(candidates, caller=1, providers=frozenset()).targets == ()


def test_a_continued_response_goes_to_the_key_that_holds_it_or_nowhere() -> None:
    candidates = [candidate(endpoint_id=1, key_id=number) for number in (1, 2)]
    assert [each.key_id for each in plan(candidates, caller=1, pinned=(1, 2)).targets] == [2]
    nowhere = plan(candidates, caller=1, pinned=(1, 3))
    assert nowhere.targets == ()
    assert len(nowhere.skipped) == 2


def test_a_skipped_candidate_is_not_pinned_back_in() -> None:
    chosen = plan([candidate("key disabled", endpoint_id=1, key_id=1)], caller=1, pinned=(1, 1))
    assert chosen.targets == ()
    assert chosen.skipped[0].reason == "key disabled"


def test_the_explanation_names_everything_but_secrets() -> None:
    secret = "sk-CANARY-0123456789"
    chosen = plan(
        [candidate(secret=secret, key_name="one"), candidate("no key", secret=secret, key_name="two")],
        caller=1,
    )
    told = explain(chosen)
    assert told == {
        "targets": [{"provider": "acme", "format": "openai_chat", "key": "one", "model": "acme-fast"}],
        "skipped": [
            {
                "provider": "acme",
                "format": "openai_chat",
                "key": "two",
                "model": "acme-fast",
                "reason": "no key",
            }
        ],
    }
    assert secret not in repr(chosen)


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_a_plan_is_a_permutation_sorted_by_rank(size: int) -> None:
    for caller in range(count(20, 200)):
        candidates = [
            candidate(key_id=number, provider_priority=number % 3, key_priority=number % 2)
            for number in range(size)
        ]
        chosen = plan(candidates, caller=caller).targets
        assert {each.key_id for each in chosen} == set(range(size))
        ranks = [(each.provider_priority, each.key_priority) for each in chosen]
        assert ranks == sorted(ranks)


# Modes


PRICES = {
    "dear": Price.build(source="t", input="3", output="15"),
    "cheap": Price.build(source="t", input="1", output="5"),
}


@pytest.mark.parametrize(
    ("mode", "fields", "expected"),
    [
        ("key_first", {1: {"provider_priority": 1, "key_priority": 9}, 2: {"key_priority": 3}}, [2, 1]),
        ("key_first", {1: {"key_priority": 9}, 2: {"provider_priority": 999, "key_priority": 3}}, [2, 1]),
        ("cheapest", {1: {"price": PRICES["dear"]}, 2: {"price": PRICES["cheap"]}}, [2, 1]),
        ("cheapest", {1: {"price": PRICES["cheap"]}, 2: {"price": PRICES["dear"], "free": True}}, [2, 1]),
        ("cheapest", {1: {"price": None}, 2: {"price": PRICES["dear"]}}, [2, 1]),
        (
            "cheapest",
            {1: {"price": PRICES["cheap"]}, 2: {"price": PRICES["dear"], "cost_multiplier": 10**11}},
            [2, 1],
        ),
    ],
    ids=["priority of keys", "whatever the provider's", "price", "free", "unpriced last", "multiplier"],
)
def test_each_mode_puts_its_own_first(
    mode: Mode, fields: dict[int, dict[str, Any]], expected: list[int]
) -> None:
    keys = [candidate(key_id=number, **more) for number, more in fields.items()]
    for caller in range(1, 30):
        assert [each.key_id for each in plan(keys, caller=caller, mode=mode).targets] == expected


def test_weighted_heeds_no_priority() -> None:
    keys = [candidate(key_id=1, key_priority=1, provider_priority=1), candidate(key_id=2, weight=3)]
    first = Counter(plan(keys, caller=each, mode="weighted").targets[0].key_id for each in CALLERS)
    assert 0.7 < first[2] / len(CALLERS) < 0.8, first


def test_fastest_goes_by_pace_and_tries_the_unknown_first() -> None:
    paces = {1: 900.0, 2: 300.0, 3: None}
    keys = [candidate(key_id=number) for number in paces]
    chosen = plan(keys, caller=1, mode="fastest", pace=lambda target: paces[target.key_id])
    assert [each.key_id for each in chosen.targets] == [3, 2, 1]


def test_paces_that_hardly_differ_count_as_one() -> None:
    paces = {1: 520.0, 2: 540.0}
    keys = [candidate(key_id=number) for number in paces]
    first = {
        plan(keys, caller=each, mode="fastest", pace=lambda target: paces[target.key_id]).targets[0].key_id
        for each in range(1, 50)
    }
    assert first == {1, 2}


def test_a_plan_tells_how_many_are_of_its_first_rank() -> None:
    keys = [candidate(key_id=1), candidate(key_id=2), candidate(key_id=3, key_priority=500)]
    assert plan(keys, caller=1).equals == 2
    assert plan([], caller=1).equals == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 3)])
def test_ten_thousand_api_keys_spread_by_weight(seed: int, weights: tuple[int, ...]) -> None:
    keys = [candidate(key_id=number, weight=each) for number, each in enumerate(weights, 1)]
    callers = random.Random(seed).sample(range(1, 10**9), count(2_000, 10_000))
    first = Counter(plan(keys, caller=each).targets[0].key_id for each in callers)
    for number, weight in enumerate(weights, 1):
        share = weight / sum(weights)
        assert abs(first[number] / len(callers) - share) <= 0.15 * share, first


# Capabilities


SOME = frozenset({"vision", "tools"})


@pytest.mark.parametrize(
    ("needs", "fields", "reason"),
    [
        ({"vision"}, {}, ""),
        ({"vision"}, {"capabilities": SOME}, ""),
        ({"thinking", "audio"}, {"capabilities": SOME}, "capability missing: audio, thinking"),
        ({"context_1m"}, {"capabilities": SOME}, "capability missing: context_1m"),
        ({"context_1m"}, {"capabilities": SOME, "key_capabilities": frozenset({"context_1m"})}, ""),
        ({"context_1m"}, {"key_capabilities": frozenset({"cache_1h"})}, "capability missing: context_1m"),
        ({"vision"}, {"key_capabilities": frozenset({"cache_1h"})}, ""),
        (set(), {"exclusive": True, "key_capabilities": frozenset({"cache_1h"})}, EXCLUSIVE),
        ({"vision"}, {"exclusive": True, "key_capabilities": frozenset({"cache_1h"})}, EXCLUSIVE),
        ({"cache_1h"}, {"exclusive": True, "key_capabilities": frozenset({"cache_1h"})}, ""),
    ],
)
def test_a_target_must_offer_what_a_request_needs(
    needs: set[str], fields: dict[str, Any], reason: str
) -> None:
    assert unfit(target(**fields), frozenset(needs)) == reason
    chosen = plan([candidate(**fields)], caller=1, needs=frozenset(needs))
    assert [each.reason for each in chosen.skipped] == ([reason] if reason else [])


def test_a_key_that_names_what_is_needed_of_a_key_goes_first() -> None:
    keys = [candidate(key_id=1), candidate(key_id=2, key_capabilities=frozenset({"context_1m"}))]
    for caller in range(20):
        chosen = plan(keys, caller=caller, needs=frozenset({"context_1m", "vision"}))
        assert [each.key_id for each in chosen.targets] == [2, 1]
        assert chosen.equals == 1
