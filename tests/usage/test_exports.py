"""usage/exports.py: CSV that no spreadsheet runs, exact to the last digit."""

from __future__ import annotations

import csv
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncRequestFactory, RequestFactory

from usage.exports import download, lines, safe


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("gpt-5 = best", "gpt-5 = best"),
        (Decimal("-0.000000000001"), "-0.000000000001"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("9223372.036854775807"), "9223372.036854775807"),
        (-3, "-3"),
        (0.5, "0.5"),
        (None, ""),
        ("", ""),
    ],
)
def test_a_cell_is_no_formula_and_a_number_stays_one(cell: Any, written: str) -> None:
    assert safe(cell) == written


def test_what_is_read_back_is_what_was_written() -> None:
    rows: list[list[Any]] = [["name", "cost"], ['a "b", c\nd', Decimal("0.1")], ["=x", -1]]
    text = "".join(lines(rows))
    assert list(csv.reader(StringIO(text, newline=""))) == [
        ["name", "cost"],
        ['a "b", c\nd', "0.1"],
        ["'=x", "-1"],
    ]


def test_a_thread_is_handed_lines(rf: RequestFactory) -> None:
    answer: Any = download(rf.get("/"), "u.csv", [["a"], ["b"]])
    assert b"".join(answer.streaming_content) == b"a\r\nb\r\n"
    assert answer["Content-Disposition"] == 'attachment; filename="u.csv"'
    assert answer["Content-Type"].startswith("text/csv")


async def test_an_event_loop_is_handed_lines_it_can_await(async_rf: AsyncRequestFactory) -> None:
    request: HttpRequest = async_rf.get("/")
    answer: Any = download(request, "u.csv", [["a"], ["b"]])
    assert answer.is_async
    assert [line async for line in answer.streaming_content] == [b"a\r\n", b"b\r\n"]
