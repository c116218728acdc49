"""usage/framing.py: a line is read whole or not at all."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.counts import count
from usage.framing import Line, encode, parse

LINES = [
    encode(kind, {"request_id": f"r{place}", "text": "é" * place})
    for place, kind in enumerate(("start", "attempt", "final", "amend"))
]
JOURNAL = b"".join(LINES)
ENDS = [sum(map(len, LINES[: place + 1])) for place in range(len(LINES))]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=5))
def test_what_is_written_is_read(payloads: list[dict[str, Any]]) -> None:
    written = [("final", payload) for payload in payloads]
    parsed = parse(b"".join(encode(kind, presentable) for kind, presentable in written), base=1_000)
    assert [(line.kind, line.payload()) for line in parsed.lines] == written
    assert not parsed.torn
    assert not parsed.damage
    assert [line.start for line in parsed.lines] == [1_000, *[line.end for line in parsed.lines]][
        : len(written)
    ]


@pytest.mark.parametrize("cut", range(len(JOURNAL)))
def test_a_journal_cut_at_any_byte_gives_the_whole_lines_before_it(cut: int) -> None:
    parsed = parse(JOURNAL[:cut])
    whole = [end for end in ENDS if end <= cut]
    assert [line.end for line in parsed.lines] == whole
    assert parsed.end == (whole[-1] if whole else 0)
    assert parsed.torn == (parsed.end < cut)


@pytest.mark.parametrize("place", range(len(JOURNAL)))
def test_a_changed_byte_costs_its_own_line_and_no_other(place: int) -> None:
    broken = bytearray(JOURNAL)
    broken[place] ^= 0x01
    parsed = parse(bytes(broken))
    hit = next(number for number, end in enumerate(ENDS) if place < end)
    untouched = [line for number, line in enumerate(parse(JOURNAL).lines) if number != hit]
    assert parsed.lines == untouched
    start = ENDS[hit - 1] if hit else 0
    if hit < len(LINES) - 1:
        assert parsed.damage == [(start, ENDS[hit])]
    else:
        assert parsed.torn
        assert parsed.end == start


def test_zeros_that_a_power_cut_left_are_no_line() -> None:
    parsed = parse(LINES[0] + bytes(5_000))
    assert len(parsed.lines) == 1
    assert parsed.torn
    again = parse(LINES[0] + bytes(5_000) + LINES[1])
    assert [line.kind for line in again.lines] == ["start", "attempt"]
    assert again.damage == [(ENDS[0], ENDS[0] + 5_000)]


def test_garbage_of_any_kind_is_never_a_line() -> None:
    chance = random.Random(7)
    for _ in range(count(300, 20_000)):
        garbage = bytes(chance.choices(b"0123456789abcdef \n{}", k=chance.randrange(200)))
        assert parse(garbage).lines == []
        assert [line.kind for line in parse(garbage + b"\n" + JOURNAL).lines] == [
            "start",
            "attempt",
            "final",
            "amend",
        ]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\ud800b", "a\ufffdb"),
        ({"k\udfff": 1}, {"k\ufffd": 1}),
        (2**80, 2**63 - 1),
        (-(2**80), -(2**63)),
        ([{"deep": ("\ud800", 2**64)}], [{"deep": ["\ufffd", 2**63 - 1]}]),
        ({7: "number as key"}, {"7": "number as key"}),
        ("NUL \0 is the database's matter", "NUL \0 is the database's matter"),
    ],
)
def test_what_json_cannot_hold_is_replaced_and_the_line_written(value: Any, kept: Any) -> None:
    (line,) = parse(encode("final", {"value": value, "beside": 1})).lines
    assert line.payload() == {"value": kept, "beside": 1}


def test_a_line_holds_its_text_readably() -> None:
    line = encode("start", {"model": "fast"})
    assert line.endswith(b'start {"model":"fast"}\n')
    assert parse(line).lines == [Line("start", b'{"model":"fast"}', 0, len(line))]
