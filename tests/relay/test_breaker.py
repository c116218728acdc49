"""relay/breaker.py: when a key or an endpoint is left alone, and when it is asked again."""

from __future__ import annotations

import pytest

from relay.breaker import MOST_REMEMBERED, Part, Rules


def part(**rules: float) -> Part:
    return Part(Rules(**rules))  # type: ignore[arg-type]


def opened(now: float = 0.0) -> Part:
    made = part()
    for _ in range(5):
        made.failed(now, 0.0)
    assert made.state == "open"
    return made


def probed(made: Part, now: float, *, good: bool) -> bool:
    """One attempt from its beginning to its end; whether it changed the breaker."""
    attempt = object()
    assert made.barred(now) == ""
    made.enter(attempt, now)
    changed = made.succeeded(now) if good else made.failed(now, 0.0)
    made.leave(attempt)
    return changed


def test_five_failures_in_a_row_open_it() -> None:
    made = part()
    assert [made.failed(number, 0.0) for number in range(5)] == [False, False, False, False, True]
    assert made.barred(4) == "breaker open"


def test_a_success_between_starts_the_row_anew() -> None:
    made = part()
    for round_ in range(2):
        for number in range(4):
            assert not made.failed(round_ * 100 + number, 0.0)
        made.succeeded(round_ * 100 + 5)
    assert made.state == "closed"


def test_half_of_ten_within_a_minute_open_it() -> None:
    made = part()
    changes = [made.failed(each, 0.0) if each % 2 else made.succeeded(each) for each in range(10)]
    assert changes == [False] * 9 + [True]


def test_what_is_older_than_the_window_does_not_count() -> None:
    made = part()
    for number in range(9):
        made.failed(number * 13, 0.0) if number % 2 else made.succeeded(number * 13)
    assert not made.failed(130, 0.0)


@pytest.mark.parametrize(
    ("opening", "seconds"), [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300), (60, 300)]
)
def test_each_opening_lasts_twice_as_long_up_to_a_bound(opening: int, seconds: float) -> None:
    made, now = opened(), 0.0
    for _ in range(opening - 1):
        now = made.opened_until
        probed(made, now, good=False)
    assert made.opened_until - now == pytest.approx(seconds)


def test_openings_are_spread_by_a_fifth() -> None:
    made = part()
    for _ in range(5):
        made.failed(0, 0.5)
    assert made.opened_until == pytest.approx(33)


def test_after_an_opening_one_probe_at_a_time_goes_through() -> None:
    made, probe = opened(), object()
    assert made.barred(29.9) == "breaker open"
    assert made.barred(30) == ""
    made.enter(probe, 30)
    assert made.barred(30) == "breaker half open, a probe is under way"
    made.leave(probe)
    assert made.barred(31) == ""


def test_a_probe_that_ends_without_an_outcome_makes_room_for_the_next() -> None:
    made, probe = opened(), object()
    made.enter(probe, 30)
    made.leave(object())
    assert made.barred(30) != ""
    made.leave(probe)
    assert made.barred(30) == ""
    assert made.state == "half_open"


def test_three_good_probes_close_it() -> None:
    made = opened()
    assert [probed(made, 30 + number, good=True) for number in range(3)] == [False, False, True]
    assert (made.state, made.barred(33)) == ("closed", "")


def test_a_bad_probe_opens_it_again() -> None:
    made = opened()
    assert not probed(made, 30, good=True)
    assert probed(made, 31, good=False)
    assert made.state == "open"
    assert made.opened_until == pytest.approx(91)


def test_openings_are_forgotten_after_a_long_time_closed() -> None:
    made = opened()
    for number in range(3):
        probed(made, 30 + number, good=True)
    made.succeeded(100)
    assert made.openings == 1
    made.succeeded(400)
    assert made.openings == 0


def test_an_endpoint_is_not_blamed_for_one_of_its_keys() -> None:
    made = part()
    assert not any(made.failed(number, 0.0, by=1, others=True) for number in range(50))
    assert made.failed(50, 0.0, by=2, others=True)


def test_a_pause_that_is_asked_for_is_kept() -> None:
    made = part()
    made.throttled(0, 12.5)
    assert (made.barred(12.4), made.barred(12.5)) == ("cooling", "")


def test_pauses_nobody_asked_for_double_until_an_answer_comes() -> None:
    made, now, pauses = part(), 0.0, []
    for _ in range(7):
        made.throttled(now, None)
        pauses.append(made.cooling_until - now)
        now = made.cooling_until
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    made.succeeded(now)
    made.throttled(now, None)
    assert made.cooling_until - now == 30


def test_several_answers_at_once_ask_for_one_pause() -> None:
    made = part()
    for moment in range(6):
        made.throttled(moment / 100, None)
    assert made.cooling_until == pytest.approx(30)


def test_a_pause_is_never_shortened() -> None:
    made = part()
    made.throttled(0, 100)
    made.throttled(1, 5)
    made.throttled(2, None)
    assert made.cooling_until == 100


def test_it_is_well_once_nothing_is_held_against_it() -> None:
    made = part()
    assert made.is_well(0)
    made.failed(0, 0.0)
    assert (made.is_well(59), made.is_well(61)) == (False, True)
    made.throttled(70, 10)
    assert (made.is_well(79), made.is_well(80)) == (False, True)
    assert not opened().is_well(29)


def test_memory_is_bounded() -> None:
    made = part()
    for _ in range(3 * MOST_REMEMBERED):
        made.succeeded(0)
    assert len(made._outcomes) == MOST_REMEMBERED


def test_where_another_process_saw_it_fail_one_failure_is_enough_for_a_minute() -> None:
    made = part()
    made.suspect(0)
    assert made.barred(1) == ""
    assert not made.is_well(59)
    assert made.failed(59, 0.0)
    late = part()
    late.suspect(0)
    assert not late.failed(60, 0.0)


def test_where_another_process_found_it_well_a_probe_may_go_at_once() -> None:
    made = opened()
    made.clear_suspicion(5)
    assert made.barred(5) == ""
    assert made.state == "open"


def test_a_success_lets_the_next_probe_go_while_its_stream_goes_on() -> None:
    made, stream = opened(), object()
    made.enter(stream, 30)
    assert made.barred(30) == "breaker half open, a probe is under way"
    made.succeeded(31)
    assert made.barred(31) == ""


def test_a_time_of_being_left_alone_ends_once() -> None:
    made = part()
    made.throttled(0, 10)
    assert not made.has_cooled(9)
    assert made.has_cooled(10)
    assert not made.has_cooled(11)


def test_what_is_left_alone_longer_already_keeps_its_reason() -> None:
    made = part()
    made.leave_alone(600, "key_refused")
    made.throttled(0, 10)
    assert (made.barred(1), made.barred(599), made.barred(600)) == ("key refused", "key refused", "")


def test_what_was_known_before_a_restart_holds_on() -> None:
    made = part()
    made.reopen(45, 3)
    assert (made.barred(44), made.barred(45)) == ("breaker open", "")
    made.enter(object(), 45)
    made.failed(46, 0.0)
    assert made.opened_until == 46 + 240
