"""None of the 66 cases is without a test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.counts import ROOT
from tests.wire.pairs.answers import STREAMS, WHOLE
from tests.wire.pairs.cases import ELSEWHERE, NAMES
from tests.wire.pairs.requests import REQUESTS

DIALECTS_TESTS = sorted((ROOT / "tests/wire/neutral").glob("test_*.py"))


def numbers(names: Iterable[str]) -> set[int]:
    """Those that stand in front of names."""
    return {int(number) for name in names for number in name.partition(":")[0].split()}


def named(path: Path) -> set[int]:
    """The numbers in the names of a file's tests."""
    found = re.findall(r"^(?:async )?def test_case_((?:\d+_(?:and_)?)+)", path.read_text(), re.MULTILINE)
    return {int(number) for each in found for number in re.findall(r"\d+", each)}


CORPUS = numbers(REQUESTS) | numbers(STREAMS)
BY_DIALECT = set[int]().union(*map(named, DIALECTS_TESTS))


def test_there_are_66_cases() -> None:
    assert [*NAMES] == [*range(1, 67)]


@pytest.mark.parametrize("number", NAMES)
def test_a_case_is_shown_by_a_test(number: int) -> None:
    assert number in CORPUS | BY_DIALECT | ELSEWHERE.keys(), NAMES[number]


@pytest.mark.parametrize("number", [*range(24, 62), 64, 66])
def test_a_case_of_content_is_in_the_golden_corpus(number: int) -> None:
    assert number in CORPUS, NAMES[number]


def test_no_other_case_is_named() -> None:
    assert CORPUS | BY_DIALECT | ELSEWHERE.keys() <= NAMES.keys()
    assert WHOLE.keys() <= STREAMS.keys()


@pytest.mark.parametrize("test", sorted({test for tests in ELSEWHERE.values() for test in tests}))
def test_a_test_that_a_case_names_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
