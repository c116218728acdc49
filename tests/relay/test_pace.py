"""relay/pace.py: how soon each target gave its first token."""

from __future__ import annotations

import pytest

from relay.pace import Paces
from tests.relay.targets import target


def test_nothing_is_known_before_a_measurement() -> None:
    assert Paces().of(target()) is None


def test_an_average_moves_by_a_fifth_towards_each_measurement() -> None:
    paces = Paces()
    paces.learn(target(), 1000)
    assert paces.of(target()) == 1000
    paces.learn(target(), 500)
    assert paces.of(target()) == pytest.approx(900)
    assert paces.of(target(key_id=2)) is None


def test_memory_is_bounded() -> None:
    paces = Paces(size=2)
    for number in range(1, 4):
        paces.learn(target(key_id=number), 100)
    assert [paces.of(target(key_id=number)) for number in range(1, 4)] == [None, None, 100]
