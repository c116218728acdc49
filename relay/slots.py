"""Who is being served at this moment. Learned limits come with them."""

from __future__ import annotations

from providers.types import Target
from relay.health import Health


class InFlight:
    """Concurrency slots: one for each attempt under way, whichever target serves it. `health` hears of each
    beginning and end."""

    def __init__(self, health: Health) -> None:
        self.slots: set[Slot] = set()
        self.health = health

    def take(self, target: Target, now: float) -> Slot:
        """Counts an attempt in; the slot given must be released in every ending. `now` is monotonic
        seconds."""
        slot = Slot(self, target)
        self.slots.add(slot)
        if not self.health.well:
            self.health.enter(target, slot, now)
        return slot


class Slot:
    """A place at a target, held from dispatch to the end of the answer."""

    __slots__ = ("_in_flight", "target")

    def __init__(self, in_flight: InFlight, target: Target) -> None:
        self._in_flight = in_flight
        self.target = target

    def release(self) -> None:
        """Gives the place back; a second call does nothing."""
        self._in_flight.slots.discard(self)
        if not self._in_flight.health.well:
            self._in_flight.health.leave(self.target, self)
