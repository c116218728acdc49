from __future__ import annotations

import json
import re
import time
import tracemalloc

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import TRANSCRIPTS, cut_at, follow
from tests.wire.test_transcripts import STREAMS, brief_for, format_of
from wire import FORMATS, passthrough
from wire.passthrough import Meter, text_size
from wire.types import Brief


@pytest.mark.parametrize(
    ("block", "size"),
    [
        (b'{"text":"abc"}', 3),
        (b'{"text": "abc"}', 3),
        (b'{"text" :\t "abc"}', 3),
        (b'{"text":""}', 0),
        (b'{"text":null,"x":"text"}', 0),
        (b'{"type":"text","text":"a"}', 1),
        (b'{"context":"abc","texts":"abc","xtext":"abc"}', 0),
        (b'{"text":"\\"text\\":\\"x\\""}', 10),
        (b'{"a":"\\"text\\":\\"x\\""}', 0),
        (b'{"text":"\\n\\t\\\\\\/"}', 4),
        (b'{"text":"\\u00fc\\u4f60\\ud83c\\udf89"}', 2 + 3 + 4),
        ('{"text":"ü你🎉"}'.encode(), 2 + 3 + 4),
        (b'{"text":"unfinished', 0),
        (b'{"text":"cut\n\ndata: {"text":"abc"}', 3),
        (b'{"text":"a"}{"text":"b"}', 2),
        (b'{"text":"bad \\q escape"}', 12),
        (b'{"text":"\xff\xfe\\n"}', 3),
        (b'{"text":"\\ud83d lone"}', 2 + 5),
    ],
)
def test_it_measures_the_text_of_its_keys(block: bytes, size: int) -> None:
    assert Meter("text").measure(block) == size


def test_several_keys_are_summed() -> None:
    block = b'{"content":"ab","reasoning_content":"cde","arguments":"{\\"content\\":\\"x\\"}"}'
    assert Meter("content", "reasoning_content", "arguments").measure(block) == 2 + 3 + len('{"content":"x"}')


@settings(max_examples=count(300, 3_000), deadline=None)
@given(st.text(), st.booleans())
def test_any_text_is_measured_as_it_reads(text: str, ascii_only: bool) -> None:
    written = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
    assert text_size(written) == len(text.encode())
    assert Meter("text").measure(b'{"text":"%b"}' % written) == len(text.encode())


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.binary(max_size=200))
def test_measuring_never_raises(block: bytes) -> None:
    assert Meter("text").measure(b'{"text":"' + block + b'"}') >= 0


def test_measuring_a_text_full_of_escapes_costs_no_memory_of_its_own() -> None:
    assert Meter("text").measure(b'{"text":"' + b"\\n" * 2_000_000 + b'"}') == 2_000_000


@settings(max_examples=count(300, 3_000), deadline=None)
@given(
    st.sampled_from([name for name in STREAMS if STREAMS[name].ended]),
    st.lists(st.integers(0, 3_000), max_size=30),
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from([b": hi\n\n", b"\n", b"\r\n", b"id: 1\n\n"])),
        max_size=5,
    ),
)
def test_comments_blank_lines_and_cuts_change_nothing_that_is_learned(
    name: str, places: list[int], extra: list[tuple[int, bytes]]
) -> None:
    stream = (TRANSCRIPTS / name).read_bytes()
    if name.endswith(".array"):
        extra = []
    frames = re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", stream)
    for place, noise in extra:
        frames.insert(place % len(frames), noise)
    noisy = b"".join(frames)
    run = follow(format_of(name), brief_for(name, STREAMS[name], wants_usage=True))
    plain, followed = run([stream]), run(cut_at(noisy, places))
    assert followed.out + followed.end == noisy
    learned = (
        "meaningful",
        "ended",
        "error",
        "finish_reason",
        "response_id",
        "data_frames",
        "text_bytes",
        "usage",
    )
    assert [getattr(followed, key) for key in learned] == [getattr(plain, key) for key in learned]


@settings(max_examples=count(100, 1_000), deadline=None)
@given(
    st.sampled_from(sorted(STREAMS)),
    st.lists(st.integers(0, 3_000), max_size=30),
    st.integers(0, 500),
    st.booleans(),
)
def test_what_waits_to_be_read_is_not_forgotten(name: str, places: list[int], most: int, crlf: bool) -> None:
    stream = (TRANSCRIPTS / name).read_bytes()
    if crlf and b"\r" not in stream:
        stream = stream.replace(b"\n", b"\r\n")
    run = follow(format_of(name), brief_for(name, STREAMS[name]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passthrough, "UNREAD", most)
        early = run(cut_at(stream, places))
    assert early == run([stream])


def test_a_block_full_of_hints_is_searched_once_for_each() -> None:
    frame = b'data: {"choices":[{"delta":{"content":"an error of \\"terror\\""}}]}\n\n'
    watch = FORMATS["openai_chat"].watch(Brief("m", stream=True))
    block = frame * 10_000
    began = time.process_time()
    assert watch.feed(block).out == block
    assert time.process_time() - began < 3  # searched anew from each frame on: minutes
    assert (watch.frames, watch.error) == (10_000, None)


def test_an_unread_block_of_many_reads_takes_bounded_memory() -> None:
    frame = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 1000)
    watch = FORMATS["openai_chat"].watch(Brief("m", stream=True))
    tracemalloc.start()
    try:
        for _ in range(2_000):
            watch.feed(frame)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4 * passthrough.UNREAD
    assert (watch.frames, watch.data_frames, watch.text_bytes) == (2_000, 2_000, 2_000_000)
