"""One timer for the many waits of a stream: moving a deadline costs an assignment, not a timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


class Alarm:
    """Belongs to the task that makes it. Deadlines are monotonic seconds. `close` it at the end."""

    __slots__ = ("_due", "_rang", "_task", "_timer", "_timer_due", "waiting")

    def __init__(self) -> None:
        self.waiting = False
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = self._due = 0.0
        self._rang = False

    async def wait(self, awaited: Awaitable[Result], due: float) -> Result:
        """What `awaited` gives. Raises TimeoutError at `due`, or when `ring` was called."""
        self._due = due
        if self._timer is None or due < self._timer_due:
            self._set()
        before = self._task.cancelling()
        self.waiting = True
        try:
            return await awaited
        except asyncio.CancelledError:
            if self._rang and self._task.uncancel() <= before:
                raise TimeoutError from None
            raise
        finally:
            self.waiting = self._rang = False

    def ring(self) -> None:
        """Ends the wait at once."""
        if self.waiting and not self._rang:
            self._rang = True
            self._task.cancel()

    def close(self) -> None:
        """Drops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self.close()
        self._timer_due = self._due
        delay = max(0.0, self._due - time.monotonic())
        self._timer = self._task.get_loop().call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self.waiting:
            return  # the next wait sets it again
        if time.monotonic() < self._due:
            self._set()
        else:
            self.ring()
