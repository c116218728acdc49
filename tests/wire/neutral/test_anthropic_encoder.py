"""Answers written for Anthropic's clients: numbers are those of conversion.md's cases."""

from __future__ import annotations

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import transcript
from tests.wire.neutral.anthropic_kit import (
    DIALECT,
    THINKS,
    USAGE,
    accumulated,
    answer,
    asked,
    decoded,
    part_events,
    told_alike,
    vendor_events,
    whole,
    written,
)
from wire.jsons import dumps
from wire.neutral.collect import fold, unfold
from wire.neutral.events import (
    Choice,
    Event,
    Finish,
    Over,
    PartDelta,
    PartEnd,
    PartStart,
    Reason,
    Reply,
    Start,
)
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall, ToolResult
from wire.neutral.requests import Effort
from wire.neutral.seals import MARK, opened
from wire.types import BadFrame, Brief, Usage

SIGNED = Signature("gemini", "c2lnbmVk")


def test_case_9_and_17_a_message_begins_with_the_estimate_and_ends_with_the_ledgers_numbers() -> None:
    stream = written(answer(part_events(0, Text(""), "Hi")), asked(estimate=321))
    start, *_, last, _ = vendor_events(stream)
    assert start.message.usage.input_tokens == 321
    assert start.message.model == "claude-opus-4-5"
    assert (last.usage.input_tokens, last.usage.output_tokens) == (10, 50)


def test_case_17_input_is_never_told_to_be_nothing() -> None:
    stream = written(answer(usage=None), asked(estimate=0))
    assert vendor_events(stream)[0].message.usage.input_tokens == 1
    told: list[Event] = [
        Start(usage=Usage(input_tokens=1000, cache_read_tokens=1000)),
        Finish("stop"),
        Over(USAGE),
    ]
    assert vendor_events(written(told, asked()))[0].message.usage.input_tokens == 1


def test_case_16_what_the_sdk_adds_up_is_what_the_ledger_says() -> None:
    usage = told_alike(answer(part_events(0, Text(""), "Hi")), asked())["usage"]
    read, wrote = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    assert usage["input_tokens"] + read + wrote == USAGE.input_tokens
    assert usage["output_tokens"] == USAGE.output_tokens
    assert usage["output_tokens_details"] == {"thinking_tokens": USAGE.reasoning_tokens}


def test_case_18_and_19_cache_reads_and_writes_stand_beside_the_input() -> None:
    events: list[Event] = [Start(usage=USAGE), Finish("stop"), Over(USAGE)]
    usage = told_alike(events, asked())["usage"]
    assert usage["input_tokens"] == 10
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (1000, 200)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}


def test_searches_of_the_vendor_are_counted() -> None:
    usage = told_alike(answer(usage=Usage(tool_uses={"web_search": 2})), asked())["usage"]
    assert usage["server_tool_use"] == {"web_search_requests": 2, "web_fetch_requests": 0}


def test_a_stream_has_the_vendors_frames_in_the_vendors_order() -> None:
    stream = written(answer(part_events(0, Text(""), "Hi", "", " there")), asked())
    kinds = [event.type for event in vendor_events(stream)]
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    theirs = transcript("anthropic/text.sse")
    keys = [list(json.loads(line[6:])) for line in theirs.splitlines() if line.startswith(b"data: {")]
    mine = [list(json.loads(line[6:])) for line in stream.splitlines() if line.startswith(b"data: {")]
    assert {tuple(each) for each in mine} <= {tuple(each) for each in keys}


def test_every_event_is_counted() -> None:
    encoder = DIALECT.encoder(asked(effort=THINKS))
    events = answer(
        part_events(0, Thinking(), "Hm", signature=SIGNED),
        part_events(1, Text(""), "Hi", " there"),
        part_events(2, ToolCall("a", "f")),
        finish=Finish("tool_calls"),
    )
    stream = b"".join(encoder.feed(event) for event in events)
    assert encoder.sequence == len(vendor_events(stream))


def test_case_25_interleaved_parallel_calls_become_whole_blocks_one_after_another() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, ToolCall("a", "f")),
        PartStart(1, ToolCall("b", "g")),
        PartDelta(1, '{"y":'),
        PartDelta(0, '{"x":1'),
        PartDelta(1, "2}"),
        PartEnd(1),
        PartDelta(0, "}"),
        PartEnd(0),
        Finish("tool_calls"),
        Over(USAGE),
    ]
    message = told_alike(events, asked())
    assert [(block["name"], block["input"]) for block in message["content"]] == [
        ("f", {"x": 1}),
        ("g", {"y": 2}),
    ]
    open_blocks: set[int] = set()
    for event in vendor_events(written(events, asked())):
        if event.type == "content_block_start":
            assert not open_blocks
            open_blocks.add(event.index)
        elif event.type == "content_block_delta":
            assert open_blocks == {event.index}
        elif event.type == "content_block_stop":
            open_blocks.remove(event.index)


def test_case_27_empty_arguments_are_an_empty_object() -> None:
    for call in (part_events(0, ToolCall("a", "f")), part_events(0, ToolCall("a", "f"), " ")):
        events = answer(call, finish=Finish("tool_calls"))
        assert b'"partial_json":"{}"' in written(events, asked())
        assert told_alike(events, asked())["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ['{"x":', "[1]", '"text"', "null", "x", '{"x":1}}'])
@pytest.mark.parametrize("behind", [[], part_events(1, Text(""), "more")])
def test_case_28_arguments_that_are_no_json_object_end_the_stream_with_an_error(
    arguments: str, behind: list[Event]
) -> None:
    events = answer(part_events(0, ToolCall("a", "f"), arguments), behind, finish=Finish("tool_calls"))
    encoder = DIALECT.encoder(asked())
    told: list[bytes] = []
    with pytest.raises(BadFrame, match="tool f is not valid JSON"):
        told += [encoder.feed(event) for event in events]
    with pytest.raises(BadFrame, match="tool f is not valid JSON"):
        whole(events, asked())


def test_a_call_that_the_token_limit_cut_off_is_told_as_anthropic_tells_it() -> None:
    events = answer(part_events(0, ToolCall("a", "f"), '{"x":1,"y":"z'), finish=Finish("length"))
    streamed, once = accumulated(written(events, asked())), whole(events, asked())
    assert streamed["stop_reason"] == once["stop_reason"] == "max_tokens"
    assert streamed["content"][0]["input"] == {"x": 1}
    assert once["content"][0]["input"] == {}  # half of it cannot be told whole


def test_free_text_for_a_tool_is_its_one_string() -> None:
    call = part_events(0, ToolCall("a", "patch", custom=True), "*** Begin", ' "Patch"')
    message = told_alike(answer(call, finish=Finish("tool_calls")), asked())
    assert message["content"][0]["input"] == {"input": '*** Begin "Patch"'}


@pytest.mark.parametrize("ident", ["functions.read:0", "", "ä" * 3, "x" * 300])
def test_ids_of_calls_fit_anthropics_rule(ident: str) -> None:
    events = answer(part_events(0, ToolCall(ident, "f")), finish=Finish("tool_calls"))
    given_id = told_alike(events, asked())["content"][0]["id"]
    assert given_id.replace("_", "").replace("-", "").isalnum()
    assert given_id.isascii()
    assert len(given_id) <= 64


def test_case_41_thoughts_get_their_signature_before_the_block_stops() -> None:
    own = Signature("anthropic", "EsEC")
    events = answer(part_events(0, Thinking(), "Hm", " so", signature=own), part_events(1, Text(""), "Hi"))
    kinds = [
        getattr(getattr(event, "delta", None), "type", event.type)
        for event in vendor_events(written(events, asked(effort=THINKS)))
    ]
    assert kinds[1:6] == [
        "content_block_start",
        "thinking_delta",
        "thinking_delta",
        "signature_delta",
        "content_block_stop",
    ]
    assert told_alike(events, asked(effort=THINKS))["content"][0] == {
        "type": "thinking",
        "thinking": "Hm so",
        "signature": "EsEC",
    }


def test_case_43_a_foreign_signature_travels_sealed() -> None:
    events = answer(
        part_events(0, Thinking(), "Hm", signature=SIGNED),
        part_events(1, ToolCall("a", "f", signature=Signature("gemini", "Y2FsbA==")), "{}"),
        part_events(2, ToolCall("b", "g"), "{}"),
        finish=Finish("tool_calls"),
    )
    thought, carrier, call, other = told_alike(events, asked(effort=THINKS))["content"]
    assert opened(thought["signature"], "anthropic") == (SIGNED, "own")
    assert carrier["type"] == "redacted_thinking"
    assert opened(carrier["data"], "anthropic") == (Signature("gemini", "Y2FsbA=="), "next")
    assert (call["name"], other["name"]) == ("f", "g")


TEXTS_SIGNED = (
    part_events(0, Text(""), "Hi", signature=SIGNED),
    part_events(0, Text("", signature=SIGNED), "Hi"),
)


def test_case_43_the_signature_of_a_text_stands_behind_it() -> None:
    for text in TEXTS_SIGNED:
        events = answer(text, part_events(1, Text(""), "there"))
        said, carrier, rest = told_alike(events, asked(effort=THINKS))["content"]
        assert (said["text"], rest["text"]) == ("Hi", "there")
        assert opened(carrier["data"], "anthropic") == (SIGNED, "last")


def test_an_answer_that_ends_in_words_has_them_in_its_last_block() -> None:
    """Claude Code prints the text of the last block, and nothing where that is no text."""
    for text in TEXTS_SIGNED:
        assert [block["type"] for block in told_alike(answer(text), asked(effort=THINKS))["content"]] == [
            "text"
        ]


def test_thoughts_without_words_come_as_redacted_ones_and_without_a_signature_not_at_all() -> None:
    item = Signature("openai_responses", "gAAAA", "rs_1")
    events = answer(part_events(0, Thinking(), signature=item), part_events(1, Thinking()))
    (block,) = told_alike(events, asked(effort=THINKS))["content"]
    assert block["type"] == "redacted_thinking"
    assert block["data"].startswith(MARK.decode())
    assert opened(block["data"], "anthropic") == (item, "own")


def test_unsigned_thoughts_are_shown_to_who_asked_for_thoughts() -> None:
    events = answer(part_events(0, Thinking(), "Hm"), part_events(1, Text(""), "Hi"))
    told = told_alike(events, asked(effort=THINKS))["content"][0]
    assert (told["type"], told["thinking"]) == ("thinking", "Hm")
    assert told["signature"].startswith(MARK.decode()), "nobody could tell that it is none of Anthropic's"
    history = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [told]}]}
    (thought,) = DIALECT.read_request(dumps(history), Brief("m")).turns[1].parts
    assert thought == Thinking("Hm")


@pytest.mark.parametrize("effort", [None, Effort(enabled=False)])
def test_who_asked_for_no_thoughts_gets_none(effort: Effort | None) -> None:
    events = answer(
        part_events(0, Thinking(), "Hm", signature=SIGNED),
        part_events(1, Text(""), "Hi", signature=SIGNED),
        part_events(2, Thinking(), "Hm"),
        part_events(3, ToolCall("a", "f", signature=SIGNED), "{}"),
        finish=Finish("tool_calls"),
    )
    message = told_alike(events, asked(effort=effort))
    assert [block["type"] for block in message["content"]] == ["text", "tool_use"]
    indexes = [event.index for event in vendor_events(written(events, asked(effort=effort)))[1:-2]]
    assert indexes == sorted(indexes)
    assert set(indexes) == {0, 1}


def test_who_wants_thoughts_left_out_gets_them_sealed() -> None:
    quiet = Effort(enabled=True, budget=-1, shown=False)
    events = answer(part_events(0, Thinking(), "Hm", signature=SIGNED), part_events(1, Text(""), "Hi"))
    sealed, text = told_alike(events, asked(effort=quiet))["content"]
    assert opened(sealed["data"], "anthropic") == (SIGNED, "own")
    assert text["text"] == "Hi"


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("context_length", "model_context_window_exceeded"),
        ("refusal", "refusal"),
        ("pause", "pause_turn"),
        ("other", "end_turn"),
        ("tool_calls", "end_turn"),
    ],
)
def test_case_59_stop_reasons_are_written(reason: Reason, word: str) -> None:
    message = told_alike(answer(part_events(0, Text(""), "Hi"), finish=Finish(reason)), asked())
    assert message["stop_reason"] == word


def test_case_59_the_stop_sequence_is_echoed() -> None:
    events = answer(part_events(0, Text(""), "Hi"), finish=Finish("stop_sequence", sequence="END"))
    message = told_alike(events, asked())
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_case_59_a_malformed_call_of_gemini_is_an_error() -> None:
    events = answer(finish=Finish("malformed_call", "MALFORMED_FUNCTION_CALL"))
    with pytest.raises(BadFrame):
        written(events, asked())
    with pytest.raises(BadFrame):
        whole(events, asked())


@pytest.mark.parametrize(
    "parts",
    [[], part_events(0, Thinking(), "Hm."), part_events(0, Foreign("gemini", {"finishMessage": "x"}), "")],
)
def test_case_61_an_end_for_a_reason_of_the_vendors_own_without_a_word_is_an_error(
    parts: list[Event],
) -> None:
    events = answer(parts, finish=Finish("other", "MISSING_THOUGHT_SIGNATURE"))
    with pytest.raises(BadFrame, match="MISSING_THOUGHT_SIGNATURE"):
        written(events, asked())
    with pytest.raises(BadFrame, match="MISSING_THOUGHT_SIGNATURE"):
        whole(events, asked())


@pytest.mark.parametrize("reason", ["stop", "other", "tool_calls"])
def test_case_60_calls_make_the_stop_reason_tool_use(reason: Reason) -> None:
    events = answer(part_events(0, ToolCall("a", "f"), "{}"), finish=Finish(reason))
    assert told_alike(events, asked())["stop_reason"] == "tool_use"


def test_case_61_a_refusal_is_visible() -> None:
    events = answer(part_events(0, Refusal(""), "I cannot", " do that."), finish=Finish("stop"))
    message = told_alike(events, asked())
    assert message["content"] == [{"type": "text", "text": "I cannot do that."}]
    assert message["stop_reason"] == "refusal"


def test_a_picture_in_an_answer_is_told_of() -> None:
    events = answer(part_events(0, Media("image", "image/png", base64.b64encode(b"x").decode())))
    assert "image/png" in told_alike(events, asked())["content"][0]["text"]


def test_blocks_of_other_vendors_tools_have_no_place() -> None:
    events = answer(part_events(0, Foreign("gemini", {"executableCode": {}})), part_events(1, Text(""), "Hi"))
    assert [block["type"] for block in told_alike(events, asked())["content"]] == ["text"]


def test_of_several_answers_the_first_is_told() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, Text("")),
        PartStart(0, Text(""), 1),
        PartDelta(0, "one"),
        PartDelta(0, "two", 1),
        PartEnd(0, choice=1),
        PartEnd(0),
        Finish("stop", choice=1),
        Finish("stop"),
        Over(USAGE),
    ]
    assert told_alike(events, asked())["content"] == [{"type": "text", "text": "one"}]


def test_lone_surrogates_do_not_stop_an_answer() -> None:
    events = answer(part_events(0, Text(""), "\ud83d", "\ude00"))
    stream = written(events, asked())
    assert b"\\ud83d" in stream


# Whatever is told

TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
PIECES = st.lists(TEXTS, max_size=3)
SIGNATURES = st.none() | st.builds(
    Signature, st.sampled_from(["anthropic", "gemini", "openai_responses"]), st.sampled_from(["QUJD", "ZGVm"])
)


@st.composite
def told_parts(draw: st.DrawFn) -> list[list[Event]]:
    """Some parts as they come, each whole; the call's arguments are JSON."""
    told = []
    for index in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["text", "thinking", "call", "refusal", "foreign"]))
        part: Part
        pieces, signature = draw(PIECES), None
        match kind:
            case "text":
                part, signature = Text(""), draw(SIGNATURES)
            case "thinking":
                part, signature = Thinking(), draw(SIGNATURES)
            case "call":
                part = ToolCall(f"call_{index}", "f", signature=draw(SIGNATURES))
                arguments = dumps({"x": "".join(pieces)}).decode()
                cut = draw(st.integers(0, len(arguments)))
                pieces = [arguments[:cut], arguments[cut:]]
            case "refusal":
                part = Refusal("")
            case _:
                part, pieces = Foreign(draw(st.sampled_from(["gemini", "openai_responses"])), {}), []
        told.append(part_events(index, part, *pieces, signature=signature))
    return told


@st.composite
def interleaved(draw: st.DrawFn) -> list[Event]:
    """The events of an answer, its parts' in any order that keeps each part's own."""
    waiting = draw(told_parts())
    told: list[Event] = []
    begun = 0
    while any(waiting):
        # A part begins only behind those before it.
        able = [number for number, events in enumerate(waiting) if events and number <= begun]
        number = draw(st.sampled_from(able))
        begun = max(begun, number + 1)
        told.append(waiting[number].pop(0))
    return [Start(), *told, Finish(draw(st.sampled_from(["stop", "length", "tool_calls"]))), Over(USAGE)]


@settings(max_examples=count(120, 20_000), deadline=None)
@given(interleaved(), st.sampled_from([None, THINKS, Effort(enabled=True, shown=False)]))
def test_whatever_is_told_streamed_and_whole_are_the_same_for_the_sdk(
    events: list[Event], effort: Effort | None
) -> None:
    told_alike(events, asked(effort=effort))
    told = vendor_events(written(events, asked(effort=effort)))
    starts = [event.index for event in told if event.type == "content_block_start"]
    assert starts == list(range(len(starts)))
    stops = [event.index for event in told if event.type == "content_block_stop"]
    assert stops == starts
    for one, other in pairwise(told):
        if one.type == "content_block_start":
            assert other.type in ("content_block_delta", "content_block_stop")


@settings(max_examples=count(120, 20_000), deadline=None)
@given(told_parts())
def test_what_was_written_for_a_thinking_client_reads_back_whole(parts: list[list[Event]]) -> None:
    events = answer(*parts)
    said = [part for part in fold(events).choices[0].parts if not isinstance(part, Foreign)]
    read = fold([*decoded([written(events, asked(effort=THINKS))]), Over(USAGE)])
    calls = [(part.name, part.arguments) for part in said if isinstance(part, ToolCall)]
    assert [(p.name, p.arguments) for p in read.choices[0].parts if isinstance(p, ToolCall)] == calls
    texts = [part.text for part in said if isinstance(part, Text | Refusal)]
    assert [part.text for part in read.choices[0].parts if isinstance(part, Text)] == texts
    thoughts = [part.text for part in said if isinstance(part, Thinking) and part.text]
    assert [p.text for p in read.choices[0].parts if isinstance(p, Thinking) and p.text] == thoughts


def test_a_tool_result_has_no_place_in_an_answer() -> None:
    reply = Reply(Start(), (Choice((ToolResult("a"),), Finish("stop")),), Over(USAGE))
    assert json.loads(DIALECT.write_reply(reply, asked()))["content"] == []
    assert accumulated(written(unfold(reply), asked()))["content"] == []


def test_an_answer_that_broke_off_is_not_written_whole() -> None:
    with pytest.raises(BadFrame):
        whole([Start(), *part_events(0, Text(""), "Hi")], asked())
