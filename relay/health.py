"""What is under way where. Pure counting; learned limits and breakers come with routing's own work."""

from __future__ import annotations

from collections import defaultdict

from providers.types import Target


class InFlight:
    """Concurrency slots: how many requests each key, endpoint and provider serves at this moment."""

    def __init__(self) -> None:
        self.keys: dict[int, int] = defaultdict(int)
        self.endpoints: dict[int, int] = defaultdict(int)
        self.providers: dict[int, int] = defaultdict(int)

    def take(self, target: Target) -> Slot:
        """Counts one request in; the slot given must be released in every ending."""
        self.keys[target.key_id] += 1
        self.endpoints[target.endpoint_id] += 1
        self.providers[target.provider_id] += 1
        return Slot(self, target)

    @property
    def total(self) -> int:
        return sum(self.providers.values())


class Slot:
    """A place at a target, held from dispatch to the end of the answer."""

    __slots__ = ("_counts", "_target")

    def __init__(self, counts: InFlight, target: Target) -> None:
        self._counts: InFlight | None = counts
        self._target = target

    def release(self) -> None:
        """Gives the place back; a second call does nothing."""
        counts, self._counts = self._counts, None
        if counts is None:
            return
        target = self._target
        for counter, identifier in (
            (counts.keys, target.key_id),
            (counts.endpoints, target.endpoint_id),
            (counts.providers, target.provider_id),
        ):
            counter[identifier] -= 1
            if not counter[identifier]:
                del counter[identifier]
