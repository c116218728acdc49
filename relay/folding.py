"""Which changes of state become events. A key that is throttled for a second at a time, again and again,
would leave two events a second for as long as they are kept. Pure: monotonic seconds are handed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from relay.breaker import REFUSED
from relay.health import Turn

APART = 60.0
"""Seconds within which a place that is left alone once more for the same reason makes no event."""
MOST = 10_000
"""Places that are remembered; beyond it all are forgotten, and tell once more."""


@dataclass(slots=True)
class _Place:
    """What was told of a key or endpoint last, whether the newest change was folded, and when each reason was
    told."""

    state: str = ""
    reason: str = ""
    folded: bool = False
    told: dict[str, float] = field(default_factory=dict)


class Folding:
    """Remembers what was told. A cooldown for a reason that was told within `APART` is folded, and its end
    with it, so that what is told still begins and ends. What moves a breaker, or a secret that is refused, is
    always told: the row has to say it."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, int], _Place] = {}

    def fold(self, turn: Turn, now: float) -> Turn:
        """The same change; where it is folded, as one that makes no event though its row is written
        (`again`)."""
        if turn.again:
            return turn
        if len(self._places) >= MOST:
            self._places.clear()
        place = self._places.setdefault((turn.table, turn.id), _Place())
        begins = turn.part.cooling_until > now
        plain = turn.part.state == place.state == "closed" and REFUSED not in (place.reason, turn.reason)
        repeated = now - place.told.get(turn.reason, -math.inf) < APART if begins else place.folded
        place.folded = plain and repeated
        if place.folded:
            return turn._replace(again=True)
        place.state, place.reason = turn.part.state, turn.reason
        if begins:
            place.told[turn.reason] = now
        return turn
