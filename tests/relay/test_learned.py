"""relay/learned.py: what throttling teaches of a key's concurrency."""

from __future__ import annotations

import pytest

from relay.learned import Learned


def first(in_flight: int = 10) -> Learned:
    return Learned.first(in_flight, "throttled", 0)


def busy(made: Learned, seconds: float, *, use: int | None = None, began: float = 0) -> list[int]:
    """A request a second, with `use` of them under way (None: as many as may be); the limit after each."""
    limits = []
    for second in range(1, int(seconds) + 1):
        made.taken(made.limit if use is None else use, began + second)
        limits.append(made.limit)
    return limits


@pytest.mark.parametrize(
    ("in_flight", "expected"), [(10, 7), (100, 70), (90, 63), (3, 2), (2, 1), (1, 1), (0, 1)]
)
def test_the_first_throttle_leaves_seven_tenths_of_what_was_under_way(in_flight: int, expected: int) -> None:
    made = first(in_flight)
    assert (made.limit, made.peak, made.reason) == (expected, in_flight, "throttled")


def test_each_throttle_lowers_the_limit_but_once_in_five_seconds() -> None:
    made = first(100)
    assert [made.throttled("throttled", at) for at in (1, 4.9, 5, 6, 9.9, 10)] == [
        False, False, True, False, False, True,
    ]  # fmt: skip
    assert made.limit == 34  # 70, 49, 34


def test_the_limit_never_falls_below_one() -> None:
    made = first(1)
    for at in range(5, 100, 5):
        made.throttled("overloaded", at)
    assert (made.limit, made.reason) == (1, "overloaded")


def test_ten_seconds_in_full_use_without_a_throttle_raise_it_by_one() -> None:
    made = first(10)
    limits = busy(made, 35)
    assert limits[8:10] == [7, 8]
    assert limits[18:20] == [8, 9]
    assert limits[-1] == 10
    assert made.reason == "full use"


@pytest.mark.parametrize(("use", "grows"), [(5, False), (6, True), (7, True)])
def test_it_grows_where_four_fifths_of_it_are_used(use: int, grows: bool) -> None:
    assert (busy(first(10), 11, use=use)[-1] > 7) is grows


def test_a_throttle_begins_the_ten_seconds_anew() -> None:
    made = first(10)
    busy(made, 9)
    made.throttled("throttled", 9.5)
    assert made.limit == 4
    assert busy(made, 9, began=9)[-1] == 4
    assert busy(made, 2, began=18)[-1] == 5


def test_a_quiet_key_keeps_its_limit() -> None:
    made = first(10)
    for at in range(100, 1_000, 100):
        made.taken(1, at)
    assert made.limit == 7


def test_slow_first_tokens_keep_it_from_growing_and_do_no_more() -> None:
    made, other = first(10), first(10)
    for each in (made, other):
        each.first_token(1, 100)
        each.taken(1, 10)
    for second in range(11, 22):
        for each, milliseconds in ((made, 250), (other, 120)):
            each.first_token(1, milliseconds)
            each.taken(each.limit, second)
    assert (made.limit, other.limit) == (7, 8)


def test_models_are_measured_each_by_its_own_usual_time() -> None:
    made = first(10)
    for _ in range(20):
        made.first_token(1, 50)
        made.first_token(2, 5_000)
    assert busy(made, 11)[-1] == 8


def test_a_slowness_that_lasts_becomes_the_usual_time() -> None:
    made = first(10)
    made.first_token(1, 100)
    for second in range(1, 200):
        made.first_token(1, 300)
        made.taken(made.limit, second)
    assert made.limit > 10


def test_the_peak_is_that_of_this_window_and_the_one_before() -> None:
    made = first(10)
    busy(made, 9, use=4)
    assert made.peak == 10
    busy(made, 9, use=3, began=9)
    assert made.peak == 4
    made.taken(6, 18.5)
    assert made.peak == 6
    busy(made, 20, use=3, began=20)
    assert made.peak == 3


def test_it_survives_a_restart() -> None:
    made = first(20)
    again = Learned.restored(float(made.limit), made.detail(), now=1_000)
    assert (again.limit, again.peak, again.reason) == (14, 20, "throttled")
    assert again.throttled("throttled", 1_000.5)
    assert again.limit == 9


@pytest.mark.parametrize("detail", [{}, {"peak": "many", "limit_reason": None}, {"other": 1}, ["junk"], None])
def test_what_a_table_holds_of_it_may_be_anything(detail: object) -> None:
    assert Learned.restored(0.2, detail, now=0).limit == 1
