"""Anthropic's answers read: numbers are those of conversion.md's cases."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.counts import count
from tests.wire.cuts import TRANSCRIPTS, every_cut, transcript
from tests.wire.neutral.anthropic_kit import (
    DIALECT,
    THINKS,
    USAGE,
    accumulated,
    asked,
    decoded,
    reply_of,
    told_alike,
)
from tests.wire.neutral.hostile import hostile, odd
from wire.jsons import dumps
from wire.neutral.collect import fold
from wire.neutral.events import (
    Choice,
    Event,
    Finish,
    Over,
    PartStart,
    Reason,
    Start,
)
from wire.neutral.parts import Foreign, Refusal, Signature, Text, Thinking, ToolCall
from wire.sse import Frame
from wire.types import BadFrame

WHOLE_STREAMS = sorted(
    path.name
    for path in (TRANSCRIPTS / "anthropic").glob("*.sse")
    if not path.name.startswith(("error", "truncated"))
)


def frame(event: dict[str, Any]) -> Frame:
    return Frame(b"", "", dumps(event))


def stream_of(*events: dict[str, Any]) -> list[Event]:
    decoder = DIALECT.decoder(asked())
    told = [each for event in events for each in decoder.feed(frame(event))]
    return [*told, *decoder.finish()]


def block_start(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def stop(reason: str, **more: Any) -> dict[str, Any]:
    delta = {"stop_reason": reason, "stop_sequence": None, **more}
    return {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 1}}


@pytest.mark.parametrize("name", WHOLE_STREAMS)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_recorded_stream_reads_alike_under_every_cut(name: str, line_end: bytes) -> None:
    stream = transcript(f"anthropic/{name}").replace(b"\r\n", b"\n").replace(b"\n", line_end)
    events = every_cut(stream, decoded, times=count(2, 50))
    assert isinstance(events[0], Start)
    assert isinstance(events[-1], Finish)


@pytest.mark.parametrize("name", WHOLE_STREAMS)
def test_a_recorded_stream_is_written_as_the_sdk_would_add_it_up(name: str) -> None:
    stream = transcript(f"anthropic/{name}")
    mine = told_alike([*decoded([stream]), Over(USAGE)], asked(effort=THINKS))
    theirs = accumulated(stream)
    assert mine["content"] == theirs["content"]
    assert mine["stop_reason"] == theirs["stop_reason"]


@pytest.mark.parametrize("name", ["text", "thinking"])
def test_a_recorded_whole_answer_comes_back_as_it_was(name: str) -> None:
    body = transcript(f"anthropic/{name}.json")
    reply = DIALECT.read_reply(body, asked())
    again = json.loads(DIALECT.write_reply(reply, asked(effort=THINKS, model="claude-opus-4-7")))
    theirs = json.loads(body)
    assert again["content"] == theirs["content"]
    assert again["stop_reason"] == theirs["stop_reason"]
    assert again["usage"]["input_tokens"] == theirs["usage"]["input_tokens"]
    assert again["usage"]["output_tokens"] == theirs["usage"]["output_tokens"]
    assert reply.start.model == theirs["model"]


def test_what_a_stream_and_a_whole_answer_say_is_the_same() -> None:
    streamed = reply_of(transcript("anthropic/thinking.sse"))
    message = accumulated(transcript("anthropic/thinking.sse"))
    assert DIALECT.read_reply(dumps(message), asked()).choices == streamed.choices


def test_the_start_tells_the_usage_and_the_vendors_names() -> None:
    start = decoded([transcript("anthropic/cache.sse")])[0]
    assert isinstance(start, Start)
    assert start.id.startswith("msg_")
    assert start.model == "claude-sonnet-4-5-20250929"
    assert start.usage is not None
    assert (start.usage.input_tokens, start.usage.cache_write_1h_tokens) == (1210, 50)
    assert not start.usage.final


def test_case_11_pings_and_events_nobody_knows_tell_nothing() -> None:
    assert stream_of({"type": "ping"}, {"type": "later"}, stop("end_turn")) == [Finish("stop", "end_turn")]


def test_case_24_calls_are_told_by_their_blocks_index() -> None:
    reply = reply_of(transcript("anthropic/tools.sse"))
    assert reply.choices[0].parts == (
        Text("I'll check."),
        ToolCall("toolu_01QE1WLs", "weather", '{"city": "Oslo"}'),
    )
    assert reply.choices[0].finish == Finish("tool_calls", "tool_use")


def test_case_26_a_second_block_of_an_index_that_never_stopped_is_a_part_of_its_own() -> None:
    events = stream_of(
        block_start(0, {"type": "tool_use", "id": "a", "name": "f", "input": {}}),
        block_delta(0, type="input_json_delta", partial_json='{"x":1}'),
        block_start(0, {"type": "tool_use", "id": "b", "name": "f", "input": {}}),
        block_delta(0, type="input_json_delta", partial_json='{"x":2}'),
        stop("tool_use"),
    )
    parts = fold([*events, Over()]).choices[0].parts
    assert parts == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "f", '{"x":2}'))


def test_case_27_arguments_that_came_with_the_blocks_start_are_told() -> None:
    events = stream_of(
        block_start(0, {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}),
        block_stop(0),
        block_start(1, {"type": "tool_use", "id": "b", "name": "g", "input": {}}),
        block_stop(1),
        stop("tool_use"),
    )
    parts = fold([*events, Over()]).choices[0].parts
    assert parts == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g"))


def test_words_of_a_block_that_never_began_are_told() -> None:
    events = stream_of(block_delta(0, type="text_delta", text="Hi"), stop("end_turn"))
    assert fold([*events, Over()]).choices[0].parts == (Text("Hi"),)


def test_words_of_another_kind_than_their_block_are_a_part_of_their_own() -> None:
    events = stream_of(
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta(0, type="thinking_delta", thinking="Hm"),
        block_delta(0, type="text_delta", text="Hi"),
        stop("end_turn"),
    )
    assert fold([*events, Over()]).choices[0].parts == (Thinking("Hm"), Text("Hi"))


def test_what_comes_twice_or_behind_the_end_is_not_told() -> None:
    start = {"type": "message_start", "message": {"id": "msg_1"}}
    events = stream_of(
        start, start, stop("end_turn"), block_start(0, {"type": "text", "text": "x"}), stop("x")
    )
    assert events == [Start("msg_1"), Finish("stop", "end_turn")]


def test_case_41_signatures_are_joined_by_block_and_blocks_never_merged() -> None:
    events = stream_of(
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta(0, type="thinking_delta", thinking="One."),
        block_delta(0, type="signature_delta", signature="ab"),
        block_delta(0, type="signature_delta", signature="cd"),
        block_stop(0),
        block_start(1, {"type": "thinking", "thinking": "Two.", "signature": "ef"}),
        block_stop(1),
        stop("end_turn"),
    )
    assert fold([*events, Over()]).choices[0].parts == (
        Thinking("One.", Signature("anthropic", "abcd")),
        Thinking("Two.", Signature("anthropic", "ef")),
    )


def test_case_42_redacted_thinking_makes_a_round_trip_verbatim() -> None:
    block = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix/LafPsn4a"}
    events = stream_of(block_start(0, block), block_stop(0), stop("end_turn"))
    message = told_alike([Start(), *events, Over(USAGE)], asked(effort=THINKS))
    assert message["content"] == [block]


def test_thoughts_that_the_vendor_did_not_show_keep_their_signature() -> None:
    block = {"type": "thinking", "thinking": "", "signature": "EosnCkYICxIM"}
    events = stream_of(
        block_start(0, {**block, "signature": ""}),
        block_delta(0, type="signature_delta", signature=block["signature"]),
        block_stop(0),
        stop("end_turn"),
    )
    assert told_alike([Start(), *events, Over(USAGE)], asked(effort=THINKS))["content"] == [block]


def test_case_40_blocks_of_the_vendors_own_tools_come_whole_and_go_back_whole() -> None:
    reply = reply_of(transcript("anthropic/web_search.sse"))
    use, result, text = reply.choices[0].parts
    assert use == Foreign(
        "anthropic",
        {"type": "server_tool_use", "id": "srvtoolu_01", "name": "web_search", "input": {"query": "weather"}},
    )
    assert isinstance(result, Foreign)
    assert result.value["type"] == "web_search_tool_result"
    assert text == Text("Rain.")


def test_citations_stay_with_their_text() -> None:
    citation = {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
        "file_id": None,
    }
    events = stream_of(
        block_start(0, {"type": "text", "text": "", "citations": []}),
        block_delta(0, type="text_delta", text="x is y"),
        block_delta(0, type="citations_delta", citation=citation),
        block_stop(0),
        stop("end_turn"),
    )
    message = told_alike([Start(), *events, Over(USAGE)], asked())
    assert [each["cited_text"] for each in message["content"][0]["citations"]] == ["x"]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context_length"),
        ("something_new", "other"),
    ],
)
def test_case_59_stop_reasons_are_read(word: str, reason: Reason) -> None:
    assert stream_of(stop(word))[-1] == Finish(reason, word)


def test_case_59_the_stop_sequence_is_told() -> None:
    assert stream_of(stop("stop_sequence", stop_sequence="END"))[-1] == Finish(
        "stop_sequence", "stop_sequence", "END"
    )


def test_case_60_an_end_of_turn_with_calls_is_corrected() -> None:
    call = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    events = stream_of(block_start(0, call), block_stop(0), stop("end_turn"))
    assert events[-1] == Finish("tool_calls", "end_turn")


def test_case_61_the_words_of_a_refusal_are_told() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "I cannot help with that."}
    events = stream_of(stop("refusal", stop_details=details))
    assert fold([*events, Over()]).choices == (
        Choice((Refusal("I cannot help with that."),), Finish("refusal", "refusal")),
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"null", b"[" * 5000])
def test_an_answer_that_is_no_object_is_a_bad_frame(body: bytes) -> None:
    with pytest.raises(BadFrame):
        DIALECT.read_reply(body, asked())
    with pytest.raises(BadFrame):
        DIALECT.decoder(asked()).feed(Frame(b"", "", body))


KINDS = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
)
BLOCKS = (
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "server_tool_use",
    "text_delta",
    "thinking_delta",
    "input_json_delta",
    "signature_delta",
    "citations_delta",
)
KEYS = ("text", "thinking", "signature", "data", "input", "id", "name", "citation", "partial_json")


def odd_block(rng: random.Random) -> Any:
    if rng.random() < 0.1:
        return hostile(rng)
    block = {"type": rng.choice(BLOCKS)}
    block.update((key, odd(rng, "x", '{"a":', "1}")) for key in KEYS if rng.random() < 0.4)
    if rng.random() < 0.2:
        block["stop_reason"] = odd(rng, "tool_use", "end_turn", "max_tokens")
    return block


def odd_event(rng: random.Random) -> dict[str, Any]:
    event = {
        "type": odd(rng, *KINDS),
        "index": odd(rng, 0, 1, 2),
        "content_block": odd_block(rng),
        "delta": odd_block(rng),
        "message": odd_message(rng),
    }
    return {key: value for key, value in event.items() if rng.random() < 0.9}


def odd_message(rng: random.Random) -> Any:
    return {
        "id": odd(rng, "msg_1"),
        "content": odd(rng, [odd_block(rng) for _ in range(rng.randrange(4))]),
        "usage": odd(rng, {"input_tokens": odd(rng, 3), "cache_creation": odd(rng, {})}),
        "stop_reason": odd(rng, "end_turn", "tool_use", "refusal"),
        "stop_details": odd(rng, {"explanation": odd(rng, "no")}),
    }


@pytest.mark.parametrize("block", range(4))
def test_whatever_upstream_sends_is_read_or_a_bad_frame(block: int) -> None:
    for seed in range(count(250, 25_000)):
        rng = random.Random(block * 1_000_000 + seed)
        decoder, encoder = DIALECT.decoder(asked()), DIALECT.encoder(asked(effort=THINKS))
        told: list[Event] = [Start()]
        try:
            for _ in range(rng.randrange(9)):
                told += decoder.feed(frame(odd_event(rng)))
            told += decoder.finish()
            stream = b"".join(encoder.feed(event) for event in [*told, Over(USAGE)])
        except BadFrame:
            continue
        indexes = [event.index for event in told if isinstance(event, PartStart)]
        assert indexes == list(range(len(indexes)))
        assert sum(isinstance(event, Finish) for event in told) == 1
        assert stream.endswith(b'data: {"type":"message_stop"}\n\n')
        fold([*told, Over(USAGE)])


def test_whatever_upstream_answers_whole_is_read_or_a_bad_frame() -> None:
    for seed in range(count(500, 100_000)):
        body = dumps(odd(random.Random(seed), odd_message(random.Random(seed))))
        try:
            reply = DIALECT.read_reply(body, asked())
            DIALECT.write_reply(reply, asked(effort=THINKS))
        except BadFrame:
            continue
        assert len(reply.choices) == 1
