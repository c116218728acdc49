"""Who keeps to which target: a caller that comes back finds the vendor's prompt cache warm (routing.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from providers.types import Target
from relay.hints import Pinned
from relay.scheduler import Plan

Session = tuple[int, str, str, frozenset[str]]
"""API key, model, format, and what is needed of a key: whose requests should stay together."""
Place = tuple[int, int, str]


Tell = Callable[[Session, Place, float], None]
"""Hands on where a session went and for how many seconds; 0: it left."""
TOLD_AGAIN = 4
"""Times in a time to live that a session which stays is told of."""


@dataclass(slots=True)
class _Pin:
    place: Place
    until: float
    tell_at: float = 0.0


class Affinity:
    """A bounded map from sessions to their last good target. Times are monotonic seconds, handed in. What
    other processes should know goes to `tell`."""

    def __init__(self, size: int, tell: Tell | None = None) -> None:
        self._size = size
        self._tell = tell
        self._pins: dict[Session, _Pin] = {}

    def __len__(self) -> int:
        return len(self._pins)

    def order(self, session: Session, plan: Plan, now: float) -> tuple[Target, ...]:
        """The plan's targets, the one that the session keeps to first."""
        pin = self._pins.get(session)
        if pin is None:
            return plan.targets
        if now < pin.until:
            for index, target in enumerate(plan.targets):
                if _place(target) == pin.place:
                    return (target, *plan.targets[:index], *plan.targets[index + 1 :])
        del self._pins[session]
        return plan.targets

    def keep(self, session: Session, target: Target, plan: Plan, now: float) -> None:
        """Notes that `target` answered. On a target of the plan's first rank a session stays as long as it
        keeps coming; on a lower one, where it landed because better ones failed, for one time to live: then
        these are tried again. Where the plan itself has it first each time there is nothing to remember."""
        pin = self._pins.get(session)
        if pin is None and plan.steady and target is plan.targets[0]:
            return
        place, seconds = _place(target), target.affinity_seconds
        if pin is not None and pin.place == place:
            for each in plan.targets[: plan.equals]:
                if each is target:
                    pin.until = now + seconds
                    self._spread(session, pin, seconds, now)
        elif seconds:
            pin = self._put(session, place, now + seconds)
            self._spread(session, pin, seconds, now)
        elif pin is not None:
            del self._pins[session]

    def clear(self) -> None:
        """Lets every session go."""
        self._pins.clear()

    def drop(self, session: Session, target: Target) -> None:
        """Notes that `target` failed."""
        place = _place(target)
        if self._remove(session, place) and self._tell is not None:
            self._tell(session, place, 0)

    def heard(self, hint: Pinned, now: float) -> None:
        """Takes in what another process told."""
        session = hint.api_key_id, hint.model, hint.format, frozenset(hint.needs)
        place = hint.endpoint_id, hint.key_id, hint.upstream_name
        if hint.seconds:
            self._put(session, place, now + hint.seconds)
        else:
            self._remove(session, place)

    def _put(self, session: Session, place: Place, until: float) -> _Pin:
        if session not in self._pins and len(self._pins) >= self._size:
            del self._pins[next(iter(self._pins))]
        pin = self._pins[session] = _Pin(place, until)
        return pin

    def _remove(self, session: Session, place: Place) -> bool:
        pin = self._pins.get(session)
        if pin is None or pin.place != place:
            return False
        del self._pins[session]
        return True

    def _spread(self, session: Session, pin: _Pin, seconds: float, now: float) -> None:
        if self._tell is not None and now >= pin.tell_at:
            pin.tell_at = now + seconds / TOLD_AGAIN
            self._tell(session, pin.place, seconds)


def _place(target: Target) -> Place:
    return target.endpoint_id, target.key_id, target.upstream_name
