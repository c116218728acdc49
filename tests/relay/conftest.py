"""The relay's tests run on uvloop, as the server does, and most of them through both doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


@pytest.fixture(params=["asgi", "django"])
def door(request: pytest.FixtureRequest) -> str:
    """Which of the two doors a test goes through."""
    return str(request.param)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The server's event loop, for each test of this folder."""
    return {"uvloop": uvloop.new_event_loop}
