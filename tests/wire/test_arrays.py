from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import cut_at, every_cut, in_reads, transcript
from wire.arrays import ArrayFramer, read_element
from wire.sse import Frame
from wire.types import FrameTooLarge


def framed(pieces: list[bytes]) -> tuple[list[Frame], bytes]:
    framer = ArrayFramer()
    blocks = [block for piece in pieces for block in framer.feed(piece)]
    rest = framer.pending
    blocks += framer.finish()
    return [read_element(block) for block in blocks], rest


def test_it_gives_whole_elements_under_every_cut() -> None:
    stream = transcript("gemini/text.array")
    found, rest = every_cut(stream, framed, times=count(50, 1000))
    assert b"".join(frame.raw for frame in found) == stream
    assert [json.loads(frame.data) for frame in found if frame.data] == json.loads(stream)
    assert rest == b"\n"


@pytest.mark.parametrize(
    "elements",
    [
        [{"a": "]}"}, {"b": '"'}],
        [{"a": "\\"}, {"b": '\\"]'}],
        [{"a": [1, [2, {"x": []}]]}, {}],
        [{"ключ": "ü🎉"}],
        [],
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_brackets_and_quotes_inside_strings_do_not_count(elements: list[Any], indent: int | None) -> None:
    stream = json.dumps(elements, indent=indent, ensure_ascii=False).encode()
    found, _ = every_cut(stream, framed, times=count(20, 500))
    assert [json.loads(frame.data) for frame in found if frame.data] == elements
    assert b"".join(frame.raw for frame in found) == stream


def test_a_lone_object_is_an_element() -> None:
    stream = transcript("gemini/error_lone.array")
    found, _ = every_cut(stream, framed, times=count(20, 500))
    assert [json.loads(frame.data)["error"]["code"] for frame in found] == [429]


def test_it_drops_an_element_that_never_ends() -> None:
    found, rest = every_cut(b'[{"a":1},{"b":"', framed, times=count(20, 500))
    assert [frame.data for frame in found] == [b'{"a":1}']
    assert rest == b',{"b":"'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=4), st.lists(st.integers(0, 999)))
def test_any_array_of_objects_comes_out_element_by_element(elements: list[Any], places: list[int]) -> None:
    stream = json.dumps(elements).encode()
    found, _ = framed(cut_at(stream, places))
    assert [json.loads(frame.data) for frame in found if frame.data] == elements
    assert b"".join(frame.raw for frame in found) == stream


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.binary(max_size=100), st.lists(st.integers(0, 100)))
def test_any_bytes_at_all_are_kept_in_order(stream: bytes, places: list[int]) -> None:
    framer = ArrayFramer()
    blocks = [block for piece in cut_at(stream, places) for block in framer.feed(piece)]
    assert b"".join(blocks) + framer.pending == stream


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_element_over_its_cap_is_refused(size: int) -> None:
    framer = ArrayFramer(max_event=100)
    with pytest.raises(FrameTooLarge):
        list(map(framer.feed, in_reads(b'[{"a":"' + b"x" * 100, size)))


def test_a_huge_element_byte_by_byte_costs_time_in_proportion_to_its_size() -> None:
    def seconds(size: int) -> float:
        framer = ArrayFramer()
        stream = b'[{"a":"' + b"x" * size + b'"}]'
        began = time.process_time()
        for at in range(len(stream)):
            framer.feed(stream[at : at + 1])
        return time.process_time() - began

    small = min(seconds(3_000) for _ in range(3))
    assert seconds(160_000) < 30 * small + 0.5
