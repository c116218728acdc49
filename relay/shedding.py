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
LATE: Final = 0.2
"""Seconds by which the loop must have been late within that span, the longest time aside: what stood still
for once is no load."""
TWICE: Final = 2
"""Beats that are judged together at least: of a loop that is very late there are no more in a second."""
BEST = 10.0
"""Seconds for which the second in which most requests were answered is remembered."""
MORE, LESS = 1.2, 0.25
"""What is let in of what was answered in that second: while the loop is not late at all; and however late it
is, at least."""
BEST_LEAST = 50.0
"""What is taken for that second's answers at least: a server that had little to do has shown nothing."""
BURST, BURST_LEAST = 0.03, 4.0
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

    Once the loop is late (95th percentile of a second above `max_lag`), requests are let in at a rate: as
    TCP's BBR does, by the most that was delivered of late, somewhat more to find out whether there is room,
    and less the later the loop is right now; few beyond `max_lag`. What is let in is dealt out in order of
    rank.
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
        self._lags: deque[tuple[float, float]] = deque()
        """Beats of the last second: when, and how late."""
        self._paces: deque[tuple[float, float]] = deque()
        """Seconds of late: when each ended, and how many requests were answered in it."""
        self._mark = (0.0, 0)
        """When the present second began, and how many requests had been answered by then."""
        self._tokens = 0.0
        self._filled_at = 0.0
        self._steered_at = 0.0
        self._asked = [0, 0, 0, 0]
        """How many of each rank asked since then."""
        self._asking = [0.0, 0.0, 0.0, 0.0]
        """How many ask in a second, smoothed."""
        self._shares = [1.0, 1.0, 1.0, 1.0]
        """The part of them that is let in."""
        self._credit = [0.0, 0.0, 0.0, 0.0]
        """What each has of its next request that is let in."""
        self._refused_at = 0.0
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0

    @property
    def lag(self) -> float:
        """95th percentile of the loop's lateness within the last second, in seconds."""
        lags = sorted(late for _, late in self._lags)
        return lags[math.ceil(len(lags) * 0.95) - 1] if lags else 0.0

    def beat(self, late: float, now: float, ended: int) -> None:
        """Takes a beat of the loop that came `late` seconds late; `ended` counts the requests that were
        answered since the start."""
        lags = self._lags
        lags.append((now, late))
        while len(lags) > TWICE and lags[0][0] < now - SPAN:
            lags.popleft()
        begun, before = self._mark
        if now - begun >= SPAN:
            self._paces.append((now, (ended - before) / (now - begun)))
            self._mark = (now, ended)
            while self._paces[0][0] < now - BEST:
                self._paces.popleft()
        if self.rate != math.inf:
            self._steer(late, now)
        elif late > self._max_lag and self._overloaded():
            self._tokens, self._filled_at, self._refused_at = 0.0, now, now
            self._steered_at, self._asking = now, [0.0] * len(Rank)
            self._steer(late, now)

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

    def _overloaded(self) -> bool:
        lates = [late for _, late in self._lags if late > self._max_lag]
        return self.lag > self._max_lag and sum(lates) - max(lates) > LATE

    def _press(self) -> None:
        self.pressed = bool(self._full) or self.rate != math.inf

    def _steer(self, late: float, now: float) -> None:
        best = max((pace for _, pace in self._paces), default=0.0)
        share = max(LESS, MORE * (1 - late / self._max_lag))
        self.rate = max(best, BEST_LEAST) * share
        self._deal(now)
        if now - self._refused_at > AFTER:
            self.rate = math.inf
        self._press()

    def _deal(self, now: float) -> None:
        """Deals the rate out: to the first rank what it asks for, what is left of it to the next."""
        span, self._steered_at = max(now - self._steered_at, 0.001), now
        weight, left = min(1.0, span / SPAN), self.rate
        for rank in reversed(Rank):
            asking = self._asking[rank]
            asking += (self._asked[rank] / span - asking) * weight
            self._asking[rank], self._asked[rank] = asking, 0
            self._shares[rank] = min(1.0, left / asking) if asking else 1.0
            left = max(0.0, left - asking)

    def _admits(self, rank: Rank, now: float) -> bool:
        if self.rate == math.inf:
            return True
        room = max(BURST_LEAST, self.rate * BURST)
        self._tokens = min(room, self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
        self._asked[rank] += 1
        self._credit[rank] += self._shares[rank]
        if self._credit[rank] < 1.0 or self._tokens < 1.0 + room * _LEAST[rank]:
            self._credit[rank] = min(1.0, self._credit[rank])
            return False
        self._credit[rank] -= 1.0
        self._tokens -= 1.0
        return True
