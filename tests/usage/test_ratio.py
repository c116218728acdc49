"""usage/ratio.py: how many bytes make a token."""

from __future__ import annotations

import pytest

from usage.ratio import Ratios


def test_an_unknown_model_has_four_bytes_a_token() -> None:
    assert Ratios().get("fast") == 4.0


def test_the_first_answer_sets_it_and_later_ones_move_it_a_little() -> None:
    ratios = Ratios()
    ratios.learn("fast", text_bytes=300, tokens=100)
    assert ratios.get("fast") == 3.0
    ratios.learn("fast", text_bytes=500, tokens=100)
    assert ratios.get("fast") == pytest.approx(3.1)
    assert ratios.get("slow") == 4.0


@pytest.mark.parametrize(("text_bytes", "tokens"), [(0, 500), (3, 1), (100, 0), (-5, 100)])
def test_an_answer_that_says_little_teaches_nothing(text_bytes: int, tokens: int) -> None:
    ratios = Ratios()
    ratios.learn("fast", text_bytes=text_bytes, tokens=tokens)
    assert ratios.get("fast") == 4.0


@pytest.mark.parametrize(("text_bytes", "learned"), [(10, 1.0), (100_000, 12.0)])
def test_one_odd_answer_moves_it_no_further_than_its_bounds(text_bytes: int, learned: float) -> None:
    ratios = Ratios()
    ratios.learn("fast", text_bytes=text_bytes, tokens=1_000)
    assert ratios.get("fast") == learned


def test_it_remembers_only_the_models_used_last() -> None:
    ratios = Ratios(limit=2)
    for model in ("a", "b", "a", "c"):
        ratios.learn(model, text_bytes=200, tokens=100)
    assert [ratios.get(model) for model in ("a", "b", "c")] == [2.0, 4.0, 2.0]
