"""No row of the fault matrix is without a test, and no table has a row that is not in it."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from simulator.faults import FAULTS
from tests.counts import ROOT
from tests.faults.matrix import CLIENT, OWN, UPSTREAM
from tests.faults.rows import AFTER, BEFORE, CALLERS, THROUGH
from tests.faults.test_places import PLACES

TABLES = (BEFORE, AFTER, CALLERS, THROUGH, PLACES)
ROWS = UPSTREAM | CLIENT | OWN


def test_the_matrix_has_all_its_rows() -> None:
    assert (len(UPSTREAM), len(CLIENT), len(OWN)) == (32, 5, 16)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_shown_by_a_test(row: str) -> None:
    assert ROWS[row] or any(row in table for table in TABLES)


@pytest.mark.parametrize("row", UPSTREAM)
def test_an_upstream_row_is_played_in_every_format(row: str) -> None:
    assert any(row in table for table in TABLES)


def test_the_tables_know_no_other_row() -> None:
    assert set(chain.from_iterable(TABLES)) <= UPSTREAM.keys()


def test_the_simulator_names_rows_of_the_matrix() -> None:
    named = {row for fault in FAULTS.values() for row in fault.row.split("; ")} - {"-"}
    assert {row for row in named if not any(each.startswith(row) for each in UPSTREAM)} == set()


@pytest.mark.parametrize("test", sorted(set(chain.from_iterable(ROWS.values()))))
def test_a_test_that_a_row_names_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    source = (ROOT / "tests" / path).read_text()
    assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE)
