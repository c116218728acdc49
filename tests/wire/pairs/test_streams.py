"""Every stream of the corpus, for clients of every other format: however it was cut, whatever its line ends,
the official libraries take it and add it up to what a whole answer says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.counts import count
from tests.wire.cuts import every_cut
from tests.wire.pairs import clients
from tests.wire.pairs.answers import OSLO, STREAMS, WHOLE, claude_call, named, opened
from tests.wire.pairs.kit import BRIEF, PAIRS, asked, streamed, translation
from wire import DIALECTS, FORMATS
from wire.neutral.collect import fold
from wire.neutral.events import Over
from wire.neutral.requests import Written
from wire.neutral.translate import Edit, translated
from wire.sse import frames
from wire.types import InbandError

ALL = [
    pytest.param(upstream, client, stream, id=f"{upstream}-to-{client}-{name}")
    for upstream, client in PAIRS
    for name, by in STREAMS.items()
    for stream in [by.get(upstream)]
    if stream is not None
]
BOTH = [
    pytest.param(upstream, client, by[upstream], WHOLE[name][upstream], id=f"{upstream}-to-{client}-{name}")
    for upstream, client in PAIRS
    for name, by in STREAMS.items()
    if upstream in by and upstream in WHOLE.get(name, {})
]


def outcome(upstream: str, client: str, pieces: list[bytes]) -> tuple[bytes, InbandError | None, Any]:
    """What a client saw, and what the ledger and the keeper learned."""
    out, watch = streamed(upstream, client, pieces)
    return out, watch.error, (watch.usage(), watch.finish_reason, watch.keeper.kept)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(("upstream", "client", "stream"), ALL)
def test_a_stream_is_told_alike_under_every_cut(
    upstream: str, client: str, stream: bytes, line_end: bytes
) -> None:
    expected = outcome(upstream, client, [stream])
    stream = stream.replace(b"\r\n", b"\n").replace(b"\n", line_end)
    found = every_cut(stream, lambda pieces: outcome(upstream, client, pieces), times=count(1, 50))
    assert found == expected


@pytest.mark.parametrize(("upstream", "client", "stream"), ALL)
def test_the_official_library_adds_a_stream_up_to_the_whole_answer(
    upstream: str, client: str, stream: bytes
) -> None:
    out, watch = streamed(upstream, client, [stream])
    if watch.error is not None:
        # Arguments that are no JSON have no place with Anthropic and Gemini (case 28), and a call that Gemini
        # itself could not read has none in Chat either (59).
        assert client in {"anthropic", "gemini"} or (upstream, client) == ("gemini", "openai_chat")
        return
    assert clients.ADDED_UP[client](out) == clients.WHOLE[client](folded(upstream, client, stream))


def folded(upstream: str, client: str, stream: bytes) -> bytes:
    """The whole answer that says what a stream says."""
    watch, question = FORMATS[upstream].watch(BRIEF), asked(client)
    decoder, edit = DIALECTS[upstream].decoder(question), Edit(Written(b""))
    passed = [watch.feed(stream), watch.finish()]
    events = [
        event
        for frame in frames(b"".join(each.out + each.end for each in passed))
        if frame.data and not frame.data.startswith(b"[DONE]")
        for event in decoder.feed(frame)
    ]
    usage = watch.usage()
    told = usage if usage.input_reported or usage.output_reported else None
    reply = fold([*edit.apply([*events, *decoder.finish()]), Over(told)])
    return DIALECTS[client].write_reply(reply, question)


@pytest.mark.parametrize(("upstream", "client", "stream", "body"), BOTH)
def test_an_answer_says_the_same_whole_and_streamed(
    upstream: str, client: str, stream: bytes, body: bytes
) -> None:
    usage = FORMATS[upstream].read_whole(body, BRIEF).usage
    answer, _ = translated(
        body,
        DIALECTS[upstream],
        DIALECTS[client],
        asked=asked(client),
        written=Written(b""),
        usage=usage,
    )
    whole = clients.WHOLE[client](answer)
    assert whole == clients.ADDED_UP[client](streamed(upstream, client, [stream])[0])


@pytest.mark.parametrize(("upstream", "client"), PAIRS)
def test_a_stream_that_breaks_off_anywhere_is_never_told_as_whole(upstream: str, client: str) -> None:
    stream = STREAMS["24 27 31: two calls"][upstream]
    whole = streamed(upstream, client, [stream])[0]
    for size in range(0, len(stream), max(1, len(stream) // count(40, 2000))):
        watch = translation(upstream, client)
        passed = [watch.feed(stream[:size]), watch.finish()]
        told = b"".join(each.out + each.end for each in passed)
        assert any(each.end for each in passed) is watch.ended
        assert watch.ended or whole.startswith(told)


def test_what_came_before_a_part_that_cannot_be_told_is_no_end() -> None:
    """Calls that are open to the last are told with the end, and the second of them cannot be."""
    stream = named(
        opened(),
        *(
            {"type": "content_block_start", "index": at, "content_block": claude_call(f"c{at}")[0]}
            for at in (0, 1)
        ),
        *(
            {
                "type": "content_block_delta",
                "index": at,
                "delta": {"type": "input_json_delta", "partial_json": text},
            }
            for at, text in enumerate([OSLO, '{"ci'])
        ),
        {"type": "message_stop"},
    )
    watch = translation("anthropic", "gemini")
    passed = [watch.feed(stream), watch.finish()]
    assert b"Oslo" in b"".join(each.out for each in passed)
    assert b"".join(each.end for each in passed) == b""
    assert watch.error is not None
