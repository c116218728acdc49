"""Modules whose fixtures are dear are run on one worker."""

from __future__ import annotations

import pytest

from tests.grouping import group_of


@pytest.mark.parametrize(
    ("module", "group"),
    [
        ("tests/endings/test_kill.py", "kill"),
        ("tests/endings/test_away.py", "kill"),
        ("tests/endings/test_memory.py", "memory"),
        ("tests/test_docs.py", ""),
        ("tests/no_such_module.py", ""),
    ],
)
def test_a_module_says_its_group(module: str, group: str) -> None:
    assert group_of(module) == group
