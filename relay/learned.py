"""How many requests at a time a key bears, learned from its throttling: additive increase, multiplicative
decrease (resilience.md, "Adaptive concurrency"). Pure: monotonic seconds are handed in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rules:
    """A throttle lowers the limit to `factor` of it, once in `pause` seconds. A `window` of seconds without
    one, in which at least `use` of the limit was held, raises it by one, unless first tokens took more than
    `slow` times their usual time in it."""

    factor: float = 0.7
    pause: float = 5.0
    window: float = 10.0
    use: float = 0.8
    slow: float = 1.5


USUAL = 0.05
"""Weight of the newest first token in a model's usual time."""
MOST_MODELS = 1_000


@dataclass(slots=True)
class Learned:
    """A key's learned limit, and why it is what it is."""

    limit: int
    peak: int = 0
    """Most requests at a time in this window and the one before."""
    reason: str = ""
    rules: Rules = field(default_factory=Rules)
    _began: float = 0.0
    _most: int = 0
    _lowered_at: float = -math.inf
    _slowness: float = 0.0
    _measured: int = 0
    _usual: dict[int, float] = field(default_factory=dict)

    @classmethod
    def first(cls, in_flight: int, reason: str, now: float, rules: Rules | None = None) -> Learned:
        """What the first throttle of a key teaches, with so many requests under way there."""
        rules = rules or Rules()
        limit = _lowered(in_flight, rules.factor)
        return cls(limit, in_flight, reason, rules, _began=now, _lowered_at=now)

    def throttled(self, reason: str, now: float) -> bool:
        """The key was throttled. True where that lowered the limit."""
        self._start(now, 0)
        if now - self._lowered_at < self.rules.pause:
            return False
        self.limit, self.reason, self._lowered_at = _lowered(self.limit, self.rules.factor), reason, now
        return True

    def taken(self, in_flight: int, now: float) -> bool:
        """A request begins; with it so many are under way. True where the limit grew."""
        grew = False
        if now - self._began >= self.rules.window:
            busy = self._most >= self.rules.use * self.limit
            slow = self._measured and self._slowness / self._measured > self.rules.slow
            if grew := busy and not slow:
                self.limit += 1
                self.reason = "full use"
            self._start(now, in_flight)
        self._most = max(self._most, in_flight)
        self.peak = max(self.peak, in_flight)
        return grew

    def first_token(self, model_id: int, milliseconds: float) -> None:
        """How long a stream's first token took."""
        usual = self._usual.get(model_id)
        if usual is None:
            if len(self._usual) < MOST_MODELS:
                self._usual[model_id] = milliseconds
            return
        self._usual[model_id] = usual + USUAL * (milliseconds - usual)
        self._slowness += milliseconds / max(usual, 1.0)
        self._measured += 1

    def detail(self) -> dict[str, Any]:
        """What people are shown beside the limit."""
        return {"peak": self.peak, "limit_reason": self.reason}

    @classmethod
    def restored(cls, limit: float, detail: Any, now: float) -> Learned:
        """What was learned before a restart, as a table kept it."""
        known: Mapping[str, Any] = detail if isinstance(detail, dict) else {}
        peak, reason = known.get("peak"), known.get("limit_reason", "")
        return cls(max(1, int(limit)), peak if isinstance(peak, int) else 0, str(reason), _began=now)

    def _start(self, now: float, in_flight: int) -> None:
        self._began, self.peak, self._most = now, self._most, in_flight
        self._slowness, self._measured = 0.0, 0


def _lowered(requests: int, factor: float) -> int:
    return max(1, int(requests * factor + 1e-9))
