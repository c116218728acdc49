"""Conversions are made on the server's own event loop, past any proxy of this machine."""

from __future__ import annotations

import pytest

from tests.relay.conftest import pytest_asyncio_loop_factories

__all__ = ("no_proxy", "pytest_asyncio_loop_factories")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
