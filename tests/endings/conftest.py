"""Endings are shown on the server's own event loop, and through both doors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.killer import Template, template
from tests.relay.conftest import door, pytest_asyncio_loop_factories

pytest.register_assert_rewrite("tests.endings.books")

__all__ = ("door", "pytest_asyncio_loop_factories")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Template]:
    """A configured database, for servers that are killed or left without it."""
    with template(tmp_path_factory.mktemp("kill"), migrated) as each:
        yield each
