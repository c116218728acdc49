"""relay/retries.py: what a retry costs, and who can afford one."""

from __future__ import annotations

import pytest

from relay.failover import VERDICTS
from relay.retries import Group, Retries, Retry, Rules, pause

GROUP: Group = (1, "openai_chat")
OTHER: Group = (1, "anthropic")
BROKEN, LATE = VERDICTS["unavailable"], VERDICTS["first_byte_timeout"]


def made(active: int = 0, **rules: float) -> Retries:
    return Retries(Rules(**rules), lambda group: active if group == GROUP else 0)  # type: ignore[arg-type]


def spent(retries: Retries, reason: str = "unavailable", *, doubtful: bool = False) -> int:
    """How many retries there are, one after the other, none of them answered."""
    for count in range(10_000):
        retry = retries.begin(GROUP, VERDICTS[reason], doubtful=doubtful)
        if retry is None:
            return count
        retries.end(retry, answered=False)
    raise AssertionError("no end of retries")


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (("unavailable", "server_error", "overloaded", "reset"), 100),
        (("first_byte_timeout", "first_event_timeout", "connect_timeout"), 50),
    ],
)
def test_where_nothing_works_the_tokens_are_all_there_is(reasons: tuple[str, ...], expected: int) -> None:
    for reason in reasons:
        assert spent(made(), reason) == expected


@pytest.mark.parametrize("reason", ["connect", "dns", "key_refused", "out_of_money", "throttled"])
def test_a_failure_that_cost_the_vendor_nothing_is_followed_for_free(reason: str) -> None:
    retries = made(tokens=0)
    for _ in range(1_000):
        retry = retries.begin(GROUP, VERDICTS[reason], doubtful=True)
        assert retry is not None
        retries.end(retry, answered=False)
    assert retries.groups == {}


def test_an_answer_gives_back_what_its_retry_took() -> None:
    retries = made(tokens=10)
    for _ in range(100):
        retry = retries.begin(GROUP, LATE, doubtful=False)
        assert retry == Retry(GROUP, 10)
        retries.end(retry, answered=True)
    assert retries.groups == {}


def test_requests_that_are_answered_at_once_earn_retries() -> None:
    retries = made(tokens=5)
    assert spent(retries) == 1
    for _ in range(4):
        retries.succeeded(GROUP)
    assert spent(retries) == 0
    retries.succeeded(GROUP)
    assert spent(retries) == 1


def test_a_group_in_full_funds_is_forgotten() -> None:
    retries = made(tokens=5)
    spent(retries)
    for _ in range(5):
        retries.succeeded(GROUP)
    assert retries.groups == {}
    retries.succeeded(GROUP)
    assert retries.groups == {}


def test_each_group_has_its_own_tokens() -> None:
    retries = made()
    spent(retries)
    assert retries.begin(OTHER, BROKEN, doubtful=False) is not None


@pytest.mark.parametrize(("active", "expected"), [(0, 3), (1, 3), (15, 3), (16, 4), (20, 4), (100, 20)])
def test_at_doubtful_targets_a_share_of_what_is_under_way_may_be_retries(active: int, expected: int) -> None:
    retries = made(active)
    begun = [retries.begin(GROUP, BROKEN, doubtful=True) for _ in range(expected)]
    assert None not in begun
    assert retries.begin(GROUP, BROKEN, doubtful=True) is None
    assert retries.begin(GROUP, BROKEN, doubtful=False) is not None
    first = begun[0]
    assert first is not None
    retries.end(first, answered=False)
    retries.end(first, answered=False)  # the one that was not doubtful, which counts as well
    assert retries.begin(GROUP, BROKEN, doubtful=True) is not None


@pytest.mark.parametrize(
    ("again", "most"), [(0, 0.25), (1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 4.0), (900, 4.0)]
)
def test_the_pause_before_the_same_target_is_full_jitter(again: int, most: float) -> None:
    assert pause(again, 0.0) == 0
    assert pause(again, 1.0) == most
    assert pause(again, 0.5) == most / 2
