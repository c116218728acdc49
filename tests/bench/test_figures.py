"""From rounds to figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.figures import Figure, Measured, Results, percentile


def measured(server: float, recorder: float = 0.0, units: int = 1000) -> Measured:
    return Measured(units, server, recorder, 1.0, 2.0, 100.0, 1.0, 3.0)


def test_a_cost_is_milliseconds_for_a_unit_with_the_recorders() -> None:
    assert measured(0.5, 0.1).cost == pytest.approx(0.6)
    assert measured(0.5, 0.1).recorder_cost == pytest.approx(0.1)


def test_a_ratio_is_taken_within_a_round_and_the_figure_is_their_median() -> None:
    results = Results()
    for control, relay in ((1.0, 2.0), (2.0, 5.0), (4.0, 6.0)):  # slow rounds are slow for both
        results.add("whole", "control", measured(control))
        results.add("whole", "relay", measured(relay))
    assert results.ratio("whole", "relay") == Figure(2.0, 1.75, 2.25)


def test_a_converted_stream_is_measured_by_the_same_one_passed_through_in_its_round() -> None:
    results = Results()
    for plain, converted, later in ((1.0, 2.0, 1.0), (2.0, 5.0, 2.0), (4.0, 6.0, 4.0)):
        results.add("paced", "relay", measured(plain))
        results.add("converted", "relay", replace(measured(converted), first_p50=later))
    cost, delay = results.beyond("converted", "paced", "relay")
    assert cost == Figure(2.0, 1.75, 2.25)
    assert delay == Figure(2.0, 1.5, 3.0)


def test_one_round_is_its_own_median() -> None:
    assert Figure.of([1.5]) == Figure(1.5, 1.5, 1.5)
    assert Figure.of([1.5]).text() == "1.50 (1.50 to 1.50)"


@pytest.mark.parametrize(("share", "value"), [(0.5, 3.0), (0.99, 4.0), (0.0, 1.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
    assert percentile([], share) == 0.0
