"""Keeps an eye on the event loop: how late it is, and what it does when it does nothing else for too long."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

log = logging.getLogger("aether.relay")

BEAT = 0.05
"""Seconds between two beats of the loop."""
QUIET = 10.0
"""Seconds between two stacks in the log: an overloaded loop may be late each time."""
RECENT = 60.0
"""Seconds for which a blocked loop is told in `/readyz`."""


class Watchdog:
    """The loop beats; a thread listens. Where no beat comes for `limit` seconds it writes the loop's stack to
    the log. `heard` is told of each beat: how many seconds late it came, and the monotonic time."""

    def __init__(self, limit: float, heard: Callable[[float, float], object]) -> None:
        self.limit = limit
        self.blocked = 0
        """How often the loop was late by more than the limit."""
        self.longest = 0.0
        self.blocked_at = float("-inf")
        self._heard = heard
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop_thread = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="relay-watchdog", daemon=True)

    def start(self) -> None:
        """Begins, on the loop that runs."""
        self._loop_thread = threading.get_ident()
        self._arm()
        self._thread.start()

    def stop(self) -> None:
        """Ends. A second call does nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._ended.set()
            self._thread.join()

    def recently(self, now: float) -> bool:
        """Whether the loop was blocked within the last minute."""
        return now - self.blocked_at < RECENT

    def _arm(self) -> None:
        self._due = time.monotonic() + BEAT
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        late = max(0.0, now - self._due)
        if late > self.limit:
            self.blocked += 1
            self.longest, self.blocked_at = max(self.longest, late), now
        try:
            self._heard(late, now)
        finally:
            self._arm()

    def _listen(self) -> None:
        told_for, quiet_until = 0.0, float("-inf")
        while not self._ended.wait(self.limit / 4):
            due, now = self._due, time.monotonic()
            if now - due <= self.limit or due == told_for:
                continue
            told_for = due
            if now < quiet_until:
                continue
            quiet_until = now + QUIET
            frame = sys._current_frames().get(self._loop_thread)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown"
            log.warning("the event loop has been blocked for %d ms, in\n%s", (now - due) * 1000, stack)
