"""Faults are played on the server's own event loop; through both doors where the proof asks for it."""

from __future__ import annotations

import pytest

from tests.counts import count
from tests.relay.conftest import pytest_asyncio_loop_factories

__all__ = ("pytest_asyncio_loop_factories",)

DOORS = ("asgi", "django")[: count(1, 2)]


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """Which of the two doors a test goes through."""
    return str(request.param)
