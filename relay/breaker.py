"""One key or endpoint in the eyes of the relay: a window of outcomes, a breaker, a cooldown (resilience.md).
Pure: monotonic seconds and chance are handed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

State = Literal["closed", "open", "half_open"]
OPEN = "breaker open"
REFUSED, PARKED = "key_refused", "parked"
COOLING = {REFUSED: "key refused", "out_of_money": "out of money", PARKED: "parked by an operator"}
"""What it is called when a place is left alone for a time, by the reason; else `cooling`."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Seconds and counts. The breaker opens on `in_a_row` failures, or where of `least` outcomes or more in
    `window` the `share` failed; for `first_opening`, twice as long with each opening that follows, at most
    `longest_opening`, and up to `jitter` longer. Then one probe at a time; `closing` successes close it.
    Throttled without a word for how long, it cools for `first_cooling`, doubling, at most
    `longest_cooling`. `refused` lie between two probes of a key whose secret is refused."""

    in_a_row: int = 5
    share: float = 0.5
    least: int = 10
    window: float = 60.0
    first_opening: float = 30.0
    longest_opening: float = 300.0
    jitter: float = 0.2
    closing: int = 3
    first_cooling: float = 30.0
    longest_cooling: float = 600.0
    refused: float = 600.0


@dataclass(slots=True)
class Part:
    """A key or an endpoint. `by` names who failed there: at an endpoint, the keys."""

    rules: Rules
    state: State = "closed"
    opened_until: float = 0.0
    openings: int = 0
    """In a row; forgotten once it was closed for as long as the longest opening."""
    closed_at: float = 0.0
    failed_at: float = 0.0
    suspected_until: float = 0.0
    """Another process saw it fail: until then one failure is enough."""
    cooling_until: float = 0.0
    cooling_for: str = ""
    """Why it is left alone: a reason of `failover.VERDICTS`, or `parked` by an operator."""
    coolings: int = 0
    in_a_row: int = 0
    failed_by: set[int] = field(default_factory=set)
    _outcomes: deque[tuple[float, bool]] = field(default_factory=deque)
    _failures: int = 0
    _probe: object | None = None
    _successes: int = 0

    def barred(self, now: float) -> str:
        """Why nothing may be sent there now; "" where it may."""
        if self.cooling_until > now:
            return COOLING.get(self.cooling_for, "cooling")
        if self.state == "open" and self.opened_until > now:
            return OPEN
        if self.state != "closed" and self._probe is not None:
            return "breaker half open, a probe is under way"
        return ""

    def returns_at(self) -> float:
        """When it may be asked again, as far as that is known."""
        return max(self.cooling_until, self.opened_until if self.state == "open" else 0.0)

    def enter(self, attempt: object, now: float) -> bool:
        """An attempt begins. After an opening it is the probe. True where it ends an opening."""
        if over := self.state == "open" and self.opened_until <= now:
            self.state, self._successes = "half_open", 0
        if self.state == "half_open" and self._probe is None:
            self._probe = attempt
        return over

    def leave(self, attempt: object) -> None:
        """An attempt is over, however it ended. Called after its outcome was told, if it had one."""
        if self._probe is attempt:
            self._probe = None

    def succeeded(self, now: float) -> bool:
        """An answer came. True where that closed the breaker, or ended a time of being left alone."""
        self.in_a_row = self.coolings = 0
        self.failed_by.clear()
        self._probe = None  # or a long stream would keep the next probe waiting for its end
        self._note(True, now)
        if self.state == "closed":
            if self.openings and now - self.closed_at > self.rules.longest_opening:
                self.openings = 0
            return self.has_cooled(now)
        self._successes += 1
        if self._successes < self.rules.closing:
            return False
        self.state, self.closed_at = "closed", now
        self._clear()
        return True

    def failed(self, now: float, chance: float, *, by: int = 0, others: bool = False) -> bool:
        """A failure that is its own, or may be. `others`: more than the one that failed could have been asked
        there, so that it takes two of them to blame the place. `chance` is 0 to 1. True where that opened the
        breaker."""
        rules = self.rules
        self.failed_at = now
        self.in_a_row += 1
        self.failed_by.add(by)
        self._note(False, now)
        if self.state == "half_open":
            self._open(now, chance)
            return True
        if self.state == "open" or (others and len(self.failed_by) < 2):
            return False
        enough = len(self._outcomes) >= rules.least and self._failures >= rules.share * len(self._outcomes)
        if self.in_a_row < rules.in_a_row and not enough and now >= self.suspected_until:
            return False
        self._open(now, chance)
        return True

    def throttled(self, now: float, seconds: float | None, reason: str = "throttled") -> None:
        """It asked for a pause: for so many seconds, or for longer each time where it does not say. A
        cooldown is never shortened."""
        rules = self.rules
        if seconds is None and self.cooling_until > now:
            return  # sent before it asked for the pause that holds
        if seconds is None:
            seconds = rules.first_cooling * 2**self.coolings
        if self.cooling_until <= now or seconds > self.cooling_until - now:
            self.coolings += 1
        self.leave_alone(now + min(seconds, rules.longest_cooling), reason)

    def leave_alone(self, until: float, reason: str) -> None:
        """Nothing is sent there before `until`, unless that was to be later already."""
        if until > self.cooling_until:
            self.cooling_until, self.cooling_for = until, reason

    def begin_probe(self, probe: object, now: float) -> bool:
        """A probe of our own begins. An opening ends with it, so that no request has to find out; True where
        there was one."""
        self.opened_until = min(self.opened_until, now)
        return self.enter(probe, now)

    @property
    def is_probed(self) -> bool:
        """Whether a probe, or a request in the place of one, is under way."""
        return self.state != "closed" and self._probe is not None

    def refuse(self, now: float, seconds: float) -> None:
        """Its secret is refused; so many seconds until the next probe."""
        if self.cooling_for == REFUSED:
            self.cooling_until = now + seconds
        else:
            self.leave_alone(now + seconds, REFUSED)

    def accept(self, now: float) -> None:
        """Its secret is not refused any more."""
        if self.cooling_for == REFUSED:
            self.cooling_until = min(self.cooling_until, now)

    def suspect(self, now: float) -> None:
        """Another process opened its breaker."""
        self.suspected_until = now + self.rules.window

    def clear_suspicion(self, now: float) -> None:
        """Another process found that it answers again: now is the time for a probe."""
        self.suspected_until = 0.0
        self.opened_until = min(self.opened_until, now)

    def reopen(self, until: float, openings: int) -> None:
        """What this process knew of the breaker before it was started anew."""
        self.state, self.opened_until, self.openings = "open", until, max(openings, 1)

    def has_cooled(self, now: float) -> bool:
        """True, once, where the time for which it was left alone has passed."""
        if not self.cooling_for or self.cooling_until > now:
            return False
        self.cooling_for = ""
        return True

    def is_well(self, now: float) -> bool:
        """Whether nothing is held against it any more."""
        self._forget(now)
        if max(self.cooling_until, self.suspected_until) > now:
            return False
        return self.state == "closed" and not (self.openings or self._failures)

    def _open(self, now: float, chance: float) -> None:
        rules = self.rules
        self.openings += 1
        seconds = min(rules.first_opening * 2 ** min(self.openings - 1, 20), rules.longest_opening)
        self.state = "open"
        self.opened_until = now + seconds * (1 + rules.jitter * chance)
        self._successes = 0
        self._probe = None

    def _note(self, good: bool, now: float) -> None:
        self._outcomes.append((now, good))
        self._failures += not good
        self._forget(now)

    def _forget(self, now: float) -> None:
        outcomes = self._outcomes
        while outcomes and (outcomes[0][0] < now - self.rules.window or len(outcomes) > MOST_REMEMBERED):
            self._failures -= not outcomes.popleft()[1]

    def _clear(self) -> None:
        self._outcomes.clear()
        self._failures = 0


MOST_REMEMBERED = 500
"""Outcomes in a window: of a busy place the newest tell enough."""
