from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def data_dir() -> None:
    """Nothing here touches a disk, and there are very many of these tests."""
