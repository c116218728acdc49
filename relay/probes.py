"""Which keys and endpoints the relay probes by itself, and when (routing.md, resilience.md). Pure: monotonic
seconds and chance are handed in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from providers.types import Target
from relay.breaker import REFUSED, Part
from relay.health import Health

EARLY = 1.0
"""Seconds before a place would be asked again by a request: the probe goes first."""
Place = tuple[str, int]
"""`key` or `endpoint`, and its id."""


class Probe(NamedTuple):
    """A probe that is due: of which place, through which target (None where nothing can be sent there), and
    whether an operator asked for it."""

    place: Place
    target: Target | None
    asked: bool = False


class Probes:
    """The plan of all probes. An endpoint is probed each `probe_seconds`, if it has any, and so is a key
    there whose breaker is not closed; at the latest shortly before an opening ends. A key whose secret is
    refused is probed shortly before a request would try it. `chance` (0 to 1) spreads the first of each, as
    several processes may have started together."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._asked: dict[Place, None] = {}
        self._next: dict[Place, float] = {}
        self._targets: Sequence[Target] = ()
        self._watched: dict[int, list[Target]] = {}
        self._at_endpoint: dict[int, list[Target]] = {}
        self._with_key: dict[int, list[Target]] = {}

    def ask(self, place: Place) -> None:
        """An operator wants this place probed now."""
        self._asked[place] = None

    def put_off(self, probe: Probe) -> None:
        """One that was due cannot be sent right now, and is due again at once."""
        if probe.asked:
            self._asked[probe.place] = None
        elif probe.place in self._next:
            self._next[probe.place] = 0.0

    def due(self, targets: Sequence[Target], health: Health, now: float) -> list[Probe]:
        """The probes to send now; each is told once. `targets` holds one for each endpoint with each key."""
        if targets is not self._targets:
            self._learn(targets)
        return [*self._asked_for(health, now), *self._of_endpoints(health, now), *self._of_keys(health, now)]

    def _learn(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._at_endpoint, self._with_key = defaultdict(list), defaultdict(list)
        for target in targets:
            self._at_endpoint[target.endpoint_id].append(target)
            self._with_key[target.key_id].append(target)
        self._watched = {
            number: those for number, those in self._at_endpoint.items() if those[0].probe_seconds
        }

    def _asked_for(self, health: Health, now: float) -> Iterator[Probe]:
        for place in list(self._asked):
            table, number = place
            those = (self._with_key if table == "key" else self._at_endpoint).get(number, [])
            free = (target for target in those if not health.barred(target, now))
            yield Probe(place, next(free, those[0] if those else None), asked=True)
        self._asked.clear()

    def _of_endpoints(self, health: Health, now: float) -> Iterator[Probe]:
        for number, those in self._watched.items():
            part = health.endpoints.get(number)
            if part is not None and part.cooling_until > now:
                continue  # parked
            if self._is_due(("endpoint", number), those[0].probe_seconds or 0, part, now):
                # With a key that is out, an answer would say little of the endpoint.
                well = (target for target in those if not _is_out(health.keys.get(target.key_id), now))
                target = next(well, None)
                if target is not None:
                    yield Probe(("endpoint", number), target)

    def _of_keys(self, health: Health, now: float) -> Iterator[Probe]:
        for number, part in health.keys.items():
            place, those = ("key", number), self._with_key.get(number, [])
            if part.cooling_until > now:
                if part.cooling_for == REFUSED and part.cooling_until - now <= EARLY and those:
                    yield Probe(place, those[0])
            elif part.state != "closed":
                watched = next((target for target in those if target.probe_seconds), None)
                if watched is not None and self._is_due(place, watched.probe_seconds or 0, part, now):
                    yield Probe(place, watched)
        self._forget(health)

    def _is_due(self, place: Place, seconds: float, part: Part | None, now: float) -> bool:
        when = self._next.setdefault(place, now + self._chance() * seconds)
        if part is not None and part.state == "open":
            when = min(when, part.opened_until - EARLY)
        if now < when:
            return False
        self._next[place] = now + seconds
        return True

    def _forget(self, health: Health) -> None:
        for place in list(self._next):
            table, number = place
            if number not in (health.keys if table == "key" else self._watched):
                del self._next[place]


def _is_out(part: Part | None, now: float) -> bool:
    return part is not None and (part.cooling_until > now or part.state != "closed")
