"""The golden corpus: what every ordered pair of formats makes of each case. `python -m tests.wire.pairs`
writes it anew, for people to read; no test does."""

from __future__ import annotations

import pytest

from tests.wire.pairs.kit import GOLDEN, PAGE, PAIRS, documented, golden

EXPECTED = dict(golden())


@pytest.mark.parametrize("name", EXPECTED)
def test_what_becomes_of_a_case_is_as_it_was_reviewed(name: str) -> None:
    assert (GOLDEN / name).read_text() == EXPECTED[name]


def test_the_corpus_has_nothing_else() -> None:
    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*.*")} == EXPECTED.keys()


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_every_pair_has_requests_replies_and_streams(one: str, other: str) -> None:
    for folder, kind in (("requests", "json"), ("replies", "json"), ("streams", "sse")):
        assert EXPECTED[f"{folder}/{one}-to-{other}.{kind}"]


def test_the_table_of_the_docs_is_that_of_the_corpus() -> None:
    page = PAGE.read_text()
    assert documented(page) == page
