"""Who keeps to which target: a caller that comes back finds the vendor's prompt cache warm (routing.md)."""

from __future__ import annotations

from dataclasses import dataclass

from providers.types import Target
from relay.scheduler import Plan

Session = tuple[int, str, str, frozenset[str]]
"""API key, model, format, and what is needed of a key: whose requests should stay together."""
Place = tuple[int, int, str]


@dataclass(slots=True)
class _Pin:
    place: Place
    until: float


class Affinity:
    """A bounded map from sessions to their last good target. Times are monotonic seconds, handed in."""

    def __init__(self, size: int) -> None:
        self._size = size
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
        these are tried again."""
        pin, place = self._pins.get(session), _place(target)
        if pin is not None and pin.place == place:
            for each in plan.targets[: plan.equals]:
                if each is target:
                    pin.until = now + target.affinity_seconds
        elif target.affinity_seconds:
            if pin is None and len(self._pins) >= self._size:
                del self._pins[next(iter(self._pins))]
            self._pins[session] = _Pin(place, now + target.affinity_seconds)
        elif pin is not None:
            del self._pins[session]

    def drop(self, session: Session, target: Target) -> None:
        """Notes that `target` failed."""
        pin = self._pins.get(session)
        if pin is not None and pin.place == _place(target):
            del self._pins[session]


def _place(target: Target) -> Place:
    return target.endpoint_id, target.key_id, target.upstream_name
