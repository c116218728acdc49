"""An event loop that stands still is seen, told with what it did, and counted."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from relay.watchdog import RECENT, Watchdog
from tests.waiting import until


def stand_still(seconds: float) -> None:
    time.sleep(seconds)  # what no coroutine should do


async def test_a_blocked_loop_is_told_with_its_stack_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[float] = []
    watchdog = Watchdog(0.1, lambda late, now: heard.append(late))
    watchdog.start()
    try:
        await asyncio.sleep(0.12)
        assert watchdog.blocked == 0
        with caplog.at_level(logging.WARNING, "aether.relay"):
            stand_still(0.5)
            while not watchdog.blocked:
                await asyncio.sleep(0.01)
        (told,) = [each.getMessage() for each in caplog.records]
        assert "stand_still(0.5)" in told
        assert watchdog.longest > 0.3
        assert max(heard) == watchdog.longest
        assert watchdog.recently(time.monotonic())
        assert not watchdog.recently(time.monotonic() + RECENT)
    finally:
        watchdog.stop()


async def test_one_blocked_again_at_once_is_counted_and_not_told_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchdog = Watchdog(0.05, lambda late, now: None)
    watchdog.start()
    try:
        with caplog.at_level(logging.WARNING, "aether.relay"):
            for count in (1, 2):
                stand_still(0.3)
                while watchdog.blocked < count:
                    await asyncio.sleep(0.01)
        assert len(caplog.records) == 1
    finally:
        watchdog.stop()


async def test_it_leaves_nothing_behind() -> None:
    watchdog = Watchdog(0.05, lambda late, now: None)
    watchdog.start()
    watchdog.stop()
    watchdog.stop()
    until(
        lambda: not any(each.name == "relay-watchdog" for each in threading.enumerate()),
        what="the end of the watchdog's thread",
    )
