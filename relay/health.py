"""What is under way where. Learned limits and breakers come with routing's own work."""

from __future__ import annotations

from providers.types import Target


class InFlight:
    """Concurrency slots: one for each attempt under way, whichever target serves it."""

    def __init__(self) -> None:
        self.slots: set[Slot] = set()

    def take(self, target: Target) -> Slot:
        """Counts an attempt in; the slot given must be released in every ending."""
        slot = Slot(self.slots, target)
        self.slots.add(slot)
        return slot


class Slot:
    """A place at a target, held from dispatch to the end of the answer."""

    __slots__ = ("_held", "target")

    def __init__(self, held: set[Slot], target: Target) -> None:
        self._held = held
        self.target = target

    def release(self) -> None:
        """Gives the place back; a second call does nothing."""
        self._held.discard(self)
