"""Slots at targets."""

from __future__ import annotations

from relay.breaker import Rules
from relay.health import Health
from relay.slots import InFlight
from tests.relay.targets import target


def test_a_slot_is_held_until_it_is_released() -> None:
    in_flight = InFlight(Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.0))
    first, second = in_flight.take(target(key_id=1), 0), in_flight.take(target(key_id=2), 0)
    assert {slot.target.key_id for slot in in_flight.slots} == {1, 2}
    first.release()
    assert in_flight.slots == {second}
    second.release()
    assert not in_flight.slots


def test_a_slot_released_twice_is_given_back_once() -> None:
    in_flight = InFlight(Health(Rules(), keys_at=lambda endpoint_id: 1, chance=lambda: 0.0))
    first, second = in_flight.take(target(), 0), in_flight.take(target(), 0)
    first.release()
    first.release()
    assert in_flight.slots == {second}
