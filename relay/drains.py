"""Streams that are read on though their client has left, for what the vendor bills in the end (faults.md,
"gone mid-stream")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Drains:
    """Those under way in this process, at most `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, drain: Callable[[], Coroutine[Any, Any, None]], over: Callable[[], None]) -> bool:
        """Runs `drain` in a task of its own, and calls `over` after it, however it ends. False, and neither,
        where there are too many."""
        if len(self._tasks) >= self._most:
            return False
        task = asyncio.get_running_loop().create_task(drain())
        self._tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:  # no `finally`: one cancelled at once never begins
            self._tasks.discard(task)
            over()

        task.add_done_callback(ended)
        return True

    async def close(self) -> None:
        """Ends those that are left, and takes no more."""
        self._most = 0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
