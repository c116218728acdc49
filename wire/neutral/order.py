"""Parts one after another, for dialects whose parts cannot be open at the same time (conversion.md, 25)."""

from __future__ import annotations

from collections.abc import Iterator

from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart

Place = tuple[int, int]


class OneByOne:
    """Lets the events of the part that began first pass, and holds those of later parts until it has ended.
    A part's index may change: it counts parts in the order in which they are told. What is held is bounded
    by what bounds the answer."""

    def __init__(self) -> None:
        self._now: Place | None = None
        self._held: dict[Place, list[PartStart | PartDelta | PartEnd]] = {}
        self._told: dict[int, int] = {}
        """Parts told so far, by choice."""

    @property
    def now(self) -> Place | None:
        """The choice and index of the part whose events pass."""
        return self._now

    def feed(self, event: Event) -> Iterator[Event]:
        """What may be told now."""
        if not isinstance(event, PartStart | PartDelta | PartEnd):
            if isinstance(event, Finish | Over):
                yield from self._rest()
            yield event
            return
        place = (event.choice, event.index)
        if self._now is None:
            self._now = place
        if place != self._now:
            self._held.setdefault(place, []).append(event)
            return
        waiting: list[PartStart | PartDelta | PartEnd] = [event]
        while waiting:
            for each in waiting:
                yield self._placed(each)
            last = waiting[-1]
            if not isinstance(last, PartEnd):
                return
            self._told[last.choice] = self._told.get(last.choice, 0) + 1
            self._now = next(iter(self._held), None)
            waiting = self._held.pop(self._now) if self._now is not None else []

    def _rest(self) -> Iterator[Event]:
        """Parts that nobody ended, where the vendor ends the answer all the same."""
        while self._now is not None:
            yield from self.feed(PartEnd(self._now[1], choice=self._now[0]))

    def _placed(self, event: PartStart | PartDelta | PartEnd) -> Event:
        index = self._told.get(event.choice, 0)
        if isinstance(event, PartStart):
            return PartStart(index, event.part, event.choice)
        if isinstance(event, PartDelta):
            return PartDelta(index, event.text, event.choice)
        return PartEnd(index, event.signature, event.extras, event.choice)
