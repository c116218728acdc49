"""How soon each target gave its first token of late."""

from __future__ import annotations

from providers.types import Target

WEIGHT = 0.2
"""Share of the newest measurement in the average."""
Place = tuple[int, int, str]


class Paces:
    """Moving averages of the milliseconds to a stream's first token, by endpoint, key and model; bounded."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._known: dict[Place, float] = {}

    def learn(self, target: Target, milliseconds: float) -> None:
        """Takes in one measurement."""
        place = target.endpoint_id, target.key_id, target.upstream_name
        known = self._known.get(place)
        if known is None:
            if len(self._known) >= self._size:
                self._known.clear()
            known = milliseconds
        self._known[place] = known + WEIGHT * (milliseconds - known)

    def of(self, target: Target) -> float | None:
        """A target's average in milliseconds; None while it was not measured."""
        return self._known.get((target.endpoint_id, target.key_id, target.upstream_name))
