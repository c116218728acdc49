from __future__ import annotations

import time

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import cut_at, every_cut, in_reads
from wire.sse import Frame, Framer, count_frames, frames
from wire.types import FrameTooLarge


def framed(pieces: list[bytes]) -> tuple[list[Frame], bytes]:
    """All frames of a stream, and the bytes of the unfinished one."""
    framer = Framer()
    found: list[Frame] = []
    for piece in pieces:
        found += frames(framer.feed(piece))
    found += frames(framer.finish())
    return found, bytes(framer.held)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\n", [("", b"a")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"data: a\n\r\n", [("", b"a")]),
        (b"data: a\r\n\n", [("", b"a")]),
        (b"data: a\r\r\n", [("", b"a")]),
        (b"data: a\n\rdata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data: a\r\ndata: b\rdata: c\n\n", [("", b"a\nb\nc")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\ndata: a\n\n", [("", b"\na")]),
        (b": comment\n\ndata: a\n\n", [("", b""), ("", b"a")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"event:ping\nid: 7\nretry: 5\ndata:{}\n\n", [("ping", b"{}")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        ("data: Grüße 你好 🎉\n\n".encode(), [("", "Grüße 你好 🎉".encode())]),
        ("data: a\u2028b\u0085c\n\n".encode(), [("", "a\u2028b\u0085c".encode())]),
        (b"data: \xff\xfe\n\n", [("", b"\xff\xfe")]),
        (b"datax: a\nno colon\n\n", [("", b"")]),
    ],
)
def test_it_reads_events_under_every_cut(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    found, rest = every_cut(stream, framed, times=count(20, 500))
    assert [(frame.event, frame.data) for frame in found] == events
    assert b"".join(frame.raw for frame in found) == stream
    assert rest == b""


@pytest.mark.parametrize(
    ("stream", "rest"),
    [
        (b"data: a\n\ndata: b", b"data: b"),
        (b"data: a\n\ndata: b\n", b"data: b\n"),
        (b"data: a\r\n\r\ndata: b\r\n", b"data: b\r\n"),
        (b"data: a\r\n\r\ndata: b\r", b"data: b\r"),
        ("data: a\n\ndata: ü".encode()[:-1], "data: ü".encode()[:-1]),
    ],
)
def test_it_drops_a_frame_that_never_ends(stream: bytes, rest: bytes) -> None:
    found, pending = every_cut(stream, framed, times=count(20, 500))
    assert [frame.data for frame in found] == [b"a"]
    assert pending == rest


def test_blank_lines_between_frames_are_frames_without_data() -> None:
    stream = b"\n\r\ndata: a\n\n\n\r\n\ndata: b\r\n\r\n\r\n"
    found, _ = every_cut(stream, framed, times=count(50, 1000))
    assert [frame.data for frame in found if frame.data] == [b"a", b"b"]
    assert b"".join(frame.raw for frame in found) == stream


def test_it_gives_whole_frames_only() -> None:
    framer = Framer()
    assert framer.feed(b"data: a") == b""
    assert framer.feed(b"\n\ndata: b\n\ndata: c") == b"data: a\n\ndata: b\n\n"
    assert framer.feed(b"\n") == b""
    assert framer.feed(b"\n") == b"data: c\n\n"


def test_it_keeps_a_line_end_together_that_was_cut_between_reads() -> None:
    framer = Framer()
    assert framer.feed(b"data: a\r\n\r") == b""
    assert framer.feed(b"\ndata: b\r\n") == b"data: a\r\n\r\n"


LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [b"", b"data: x", b"data:", b"event: ping", b": comment", b"data: \xc3\xbc", b"id: 1"]
        ),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
    ),
    max_size=30,
)


@settings(max_examples=count(300, 3_000), deadline=None)
@given(LINES, st.lists(st.integers(0, 400), max_size=40))
def test_where_frames_are_cut_does_not_depend_on_the_reads(
    lines: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    stream = b"".join(line + end for line, end in lines)
    found, rest = framed(cut_at(stream, places))
    assert (found, rest) == framed([stream])
    assert b"".join(frame.raw for frame in found) + rest == stream


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=20))
def test_any_bytes_at_all_come_out_as_they_went_in(stream: bytes, places: list[int]) -> None:
    found, rest = framed(cut_at(stream, places))
    assert b"".join(frame.raw for frame in found) + rest == stream


def test_it_counts_frames_without_taking_the_block_apart() -> None:
    block = b": hi\n\nevent: a\ndata: 1\n\ndata: 2\n\n"
    assert count_frames(block) == (3, 2)
    assert count_frames(block.replace(b"\n", b"\r\n")) == (3, 2)


@pytest.mark.parametrize("size", [1, 7, 1024, 10_000])
def test_an_event_over_its_cap_is_refused(size: int) -> None:
    framer = Framer(max_event=2000)
    stream = b"data: " + b"x" * 3000 + b"\n\n"
    with pytest.raises(FrameTooLarge):
        list(map(framer.feed, in_reads(stream, size)))


@pytest.mark.parametrize("start", [b": ", b"event: ", b"foo: ", b"x"])
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_long_line_outside_data_is_refused(start: bytes, size: int) -> None:
    framer = Framer(max_line=1000)
    stream = b"data: a\n" + start + b"x" * 1000 + b"\n\n"
    with pytest.raises(FrameTooLarge):
        list(map(framer.feed, in_reads(stream, size)))


@pytest.mark.parametrize("size", [1, 100, 10_000])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_long_line_of_data_is_not(size: int, bom: bytes) -> None:
    framer = Framer(max_line=1000)
    stream = bom + b"data: " + b"x" * 3000 + b"\nevent: y\n\n"
    assert b"".join(map(framer.feed, in_reads(stream, size))) == stream


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_huge_event_in_small_reads_costs_time_in_proportion_to_its_size(end: bytes) -> None:
    def seconds(megabytes: int) -> float:
        stream = b": hi" + end * 2 + b"data: " + b"x" * (megabytes * 1024 * 1024) + end * 2
        framer = Framer()
        began = time.process_time()
        for at in range(0, len(stream), 1024):
            framer.feed(stream[at : at + 1024])
        return time.process_time() - began

    small = min(seconds(2) for _ in range(3))
    # Quadratic would be 64 times as long; a slow machine may double the linear 8.
    assert seconds(16) < 30 * small + 0.5
