"""Waiting for what another process does, where there is no event to await."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(happened: Callable[[], object], *, what: str, seconds: float = 30) -> None:
    """Returns once `happened()` is true; raises TimeoutError naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)
