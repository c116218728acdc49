"""The server is shown on its own event loop, and through both doors."""

from __future__ import annotations

from tests.relay.conftest import door, pytest_asyncio_loop_factories

__all__ = ("door", "pytest_asyncio_loop_factories")
