"""Which new requests are turned away while the process has too much to do (resilience.md, "Shedding").

Pure: times are monotonic seconds, readings and chance are handed in.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Final

SPAN: Final = 1.0
"""Seconds of the loop's lateness that are judged together."""
MOSTLY: Final = 0.5
TWICE: Final = 2
"""Part of that span for which the loop must have been late, and how often at least: what stood still for once
is no load."""
CALM: Final = 0.5
"""Part of the greatest lateness below which there is room for more."""
LESS, MORE = 0.5, 0.15
"""What a second of too much takes from the rate at which requests are let in, and what one of room adds."""
FIRST, FIRST_LEAST = 0.9, 50.0
"""The rate let in first, of that at which requests were answered just before; so many a second at least."""
SLOWEST = 1.0
"""Requests a second that are let in, however late the loop."""
BURST, BURST_LEAST = 0.05, 4.0
"""Seconds of that rate that may come at once; so many requests at least."""
TELL = 10.0
"""Seconds between two lines in the log."""
AFTER = 2.0
"""Seconds in which nobody was turned away, after which all is as before."""


class Rank(IntEnum):
    """Whose requests are turned away first."""

    ANONYMOUS = 0
    OVER_QUOTA = 1
    BATCH = 2
    INTERACTIVE = 3


_LEAST = {Rank.ANONYMOUS: 0.75, Rank.OVER_QUOTA: 0.5, Rank.BATCH: 0.25, Rank.INTERACTIVE: 0.0}
"""The part of the burst that must be left for those who come after a rank."""
_CROWD = {Rank.ANONYMOUS: 0.85, Rank.OVER_QUOTA: 0.9, Rank.BATCH: 0.95, Rank.INTERACTIVE: 1.0}
"""The part of all requests that may be under way with which a rank's are still let in."""
LOOP, MEMORY, BACKLOG, CROWD = "event loop", "memory", "journal", "requests under way"


class Shedding:
    """Learns of the loop's lateness with each beat, and of memory and backlog now and then.

    While the loop is late (95th percentile of a second above `max_lag`), requests are let in at a rate that
    follows it: less while it is late, more while it is not; so that what is let in is served as fast as ever.
    """

    def __init__(
        self,
        *,
        max_lag: float,
        max_in_flight: int,
        memory_close: float,
        memory_refuse: float,
        max_backlog: int,
        chance: Callable[[int, int], int] = random.randint,
    ) -> None:
        self._max_lag = max_lag
        self._max_in_flight = max_in_flight
        self._memory_close = memory_close
        self._memory_refuse = memory_refuse
        self._max_backlog = max_backlog
        self._chance = chance
        self.crowd = math.ceil(max_in_flight * _CROWD[Rank.ANONYMOUS])
        """Requests under way from which on somebody is turned away."""
        self.pressed = False
        """Whether there is reason to ask `refuses`, the crowd aside."""
        self.closing = False
        """Whether connections are to be closed after their answer."""
        self.turned_away: Counter[str] = Counter()
        """How many were, by reason and rank."""
        self.rate = math.inf
        """Requests a second that are let in."""
        self._full = ""
        """Why nobody at all is let in: MEMORY or BACKLOG."""
        self._memory, self._backlog = 0.0, 0
        self._lags: deque[tuple[float, float, int]] = deque()
        self._tokens = 0.0
        self._filled_at = 0.0
        self._steered_at = 0.0
        self._refused_at = 0.0
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0

    @property
    def lag(self) -> float:
        """95th percentile of the loop's lateness within the last second, in seconds."""
        lags = sorted(late for _, late, _ in self._lags)
        return lags[math.ceil(len(lags) * 0.95) - 1] if lags else 0.0

    def beat(self, late: float, now: float, ended: int) -> None:
        """Takes a beat of the loop that came `late` seconds late; `ended` counts the requests that were
        answered since the start."""
        lags = self._lags
        lags.append((now, late, ended))
        while len(lags) > TWICE and lags[0][0] < now - SPAN:
            lags.popleft()
        if self.rate != math.inf:
            self._steer(late, now)
        elif late > self._max_lag and self._mostly_late():
            self._begin(now)

    def look(self, memory: float, backlog: int) -> None:
        """Takes the part of the memory that is in use, and the bytes of journal that the database lacks."""
        self._memory, self._backlog = memory, backlog
        self.closing, self._full = memory > self._memory_close, ""
        if memory > self._memory_refuse:
            self._full = MEMORY
        elif backlog > self._max_backlog:
            self._full = BACKLOG
        self._press()

    def refuses(self, rank: Rank, under_way: int, now: float) -> str:
        """Why a request is turned away; "" where it is let in."""
        reason = self._full
        if not reason and under_way >= self._max_in_flight * _CROWD[rank]:
            reason = CROWD
        if not reason and not self._admits(rank, now):
            reason, self._refused_at = LOOP, now
        if reason:
            self.turned_away[f"{reason}, {rank.name.lower()}"] += 1
        return reason

    def measured(self, reason: str, under_way: int) -> int:
        """What a reason of `refuses` went by: milliseconds of the newest lateness, percent of memory, MB of
        backlog, requests under way."""
        if reason == LOOP:
            return round(self._lags[-1][1] * 1000)
        if reason == MEMORY:
            return round(self._memory * 100)
        return self._backlog // 1_000_000 if reason == BACKLOG else under_way

    def news(self, now: float) -> str:
        """How many were turned away since it was last told, by reason and rank; "" for nobody, or if that was
        just now."""
        if now < self._tell_at or self._told == self.turned_away:
            return ""
        since = self.turned_away - self._told
        self._told, self._tell_at = self.turned_away.copy(), now + TELL
        return "; ".join(f"{count} ({each})" for each, count in since.items())

    def retry_after(self, reason: str) -> int:
        """Whole seconds after which a client may try again: not all of them at once."""
        return self._chance(1, 4) if reason in {LOOP, CROWD} else self._chance(5, 20)

    def _mostly_late(self) -> bool:
        lates = [late for _, late, _ in self._lags if late > self._max_lag]
        return len(lates) >= TWICE and self.lag > self._max_lag and sum(lates) > SPAN * MOSTLY

    def _press(self) -> None:
        self.pressed = bool(self._full) or self.rate != math.inf

    def _begin(self, now: float) -> None:
        first, last = self._lags[0], self._lags[-1]
        answered = (last[2] - first[2]) / max(last[0] - first[0], SPAN / 2)
        self.rate = max(FIRST_LEAST, answered * FIRST)
        self._tokens, self._filled_at = 0.0, now
        self._steered_at = self._refused_at = now
        self._press()

    def _steer(self, late: float, now: float) -> None:
        span, self._steered_at = min(now - self._steered_at, SPAN), now
        if late > self._max_lag:
            self.rate = max(SLOWEST, self.rate * (1 - LESS * span))
        elif late < self._max_lag * CALM:
            self.rate += max(SLOWEST, self.rate * MORE) * span
        if now - self._refused_at > AFTER:
            self.rate = math.inf
            self._press()

    def _admits(self, rank: Rank, now: float) -> bool:
        if self.rate == math.inf:
            return True
        room = max(BURST_LEAST, self.rate * BURST)
        self._tokens = min(room, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        if self._tokens < 1.0 + room * _LEAST[rank]:
            return False
        self._tokens -= 1.0
        return True
