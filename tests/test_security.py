"""docs/security.md names tests that exist, one row for each check that this version must hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
ROWS = {
    int(number): re.findall(r"`([^`]+)`", tests)
    for number, _, tests in ROW.findall((ROOT / "docs/security.md").read_text())
}
CHECKS = {*range(1, 5), *range(6, 35), 36, 38, 39, 40, 43, 45, 50, 51, 55, 56, 57, 58, 59}


def test_every_check_has_its_row() -> None:
    assert set(ROWS) == CHECKS


@pytest.mark.parametrize("number", ROWS)
def test_every_test_that_a_row_names_is_there(number: int) -> None:
    assert ROWS[number]
    for each in ROWS[number]:
        path, _, name = each.partition("::")
        assert re.search(rf"^ *(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), each
