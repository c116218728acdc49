"""Journeys are made on the server's own event loop, through both doors, past any proxy of this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.journeys.kit import Home, at_home
from tests.journeys.openai_kit import Sdk, both
from tests.relay.conftest import door, pytest_asyncio_loop_factories

__all__ = ("door", "home", "no_proxy", "pytest_asyncio_loop_factories", "sdks")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
async def home(door: str, transactional_db: None) -> AsyncIterator[Home]:
    """A relay behind each door, that must be found idle at the end."""
    async with at_home(door) as each:
        yield each


@pytest.fixture
async def sdks(home: Home) -> AsyncIterator[list[Sdk]]:
    """Both of OpenAI's clients, at home."""
    async with both(home) as clients:
        yield clients
