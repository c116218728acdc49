"""Slots at keys, endpoints and providers."""

from __future__ import annotations

from relay.health import InFlight
from tests.relay.targets import target


def test_a_slot_counts_at_key_endpoint_and_provider_until_it_is_released() -> None:
    counts = InFlight()
    first, second = counts.take(target(key_id=1)), counts.take(target(key_id=2))
    assert (counts.keys[1], counts.keys[2], counts.total) == (1, 1, 2)
    assert sum(counts.endpoints.values()) == sum(counts.providers.values()) == 2
    first.release()
    assert (1 in counts.keys, counts.total) == (False, 1)
    second.release()
    assert not counts.keys
    assert not counts.endpoints
    assert not counts.providers


def test_a_slot_released_twice_is_given_back_once() -> None:
    counts = InFlight()
    first, second = counts.take(target()), counts.take(target())
    first.release()
    first.release()
    assert counts.total == 1
    second.release()
    assert counts.total == 0
