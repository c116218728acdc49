"""Answers told to clients of Chat Completions: what the official client makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.counts import count
from tests.wire.neutral.chat_kit import (
    CHAT,
    NOW,
    USAGE,
    accumulated,
    asked,
    chunks_of,
    decoded,
    encoded,
    read,
    whole,
)
from tests.wire.neutral.strategies_chat import replies
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked
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
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.requests import Tool
from wire.types import BadFrame


def told_by(*parts: Part, reason: Reason = "stop", native: str = "", usage: bool = True) -> list[Event]:
    """The events of an answer with these parts."""
    finish = Finish(reason, native)
    reply = Reply(Start("up1", "up"), (Choice(parts, finish),), Over(USAGE if usage else None))
    return list(unfold(reply))


def message_of(*parts: Part, reason: Reason = "stop", question: Asked | None = None) -> dict[str, Any]:
    """What the official client puts together of an answer with these parts: its one choice."""
    (choice,) = accumulated(encoded(told_by(*parts, reason=reason), question))["choices"]
    found: dict[str, Any] = choice
    return found


def test_a_stream_is_told_as_openai_tells_it() -> None:
    events: list[Event] = [
        Start("up1", "up"),
        PartStart(0, Text("")),
        PartDelta(0, "Hel"),
        PartDelta(0, "lo"),
        PartEnd(0),
        Finish("stop"),
        Over(USAGE),
    ]
    head: dict[str, Any] = {
        "id": "chatcmpl-r1",
        "object": "chat.completion.chunk",
        "created": NOW,
        "model": "public-model",
        "system_fingerprint": None,
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "choices": [choice], "usage": None}

    assert chunks_of(encoded(events)) == [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        {
            **head,
            "choices": [],
            "usage": {
                "prompt_tokens": 30,
                "completion_tokens": 12,
                "total_tokens": 42,
                "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 5},
            },
        },
    ]


ANSWERS: dict[str, tuple[Part, ...]] = {
    "text": (Text("Hello"),),
    "nothing": (),
    "one call": (ToolCall("c1", "weather", '{"a":1}'),),
    "a call without arguments": (ToolCall("c1", "weather"),),
    "text and two calls": (Text("Look:"), ToolCall("c1", "a", "{}"), ToolCall("c2", "b", '{"x": [1]}')),
    "thinking": (Thinking("Hm. "), Text("42")),
    "signed thinking": (
        Thinking("One.", Signature("anthropic", "sig1")),
        Thinking("", Signature("anthropic", "hidden")),
        Thinking("Two.", Signature("openai_responses", "enc", "rs_1")),
        Text("42"),
    ),
    "a refusal": (Refusal("No."),),
    "gemini's signatures": (
        Text("Hi", Signature("gemini", "s0")),
        ToolCall("c1", "a", "{}", signature=Signature("gemini", "s1")),
    ),
    "pictures": (Text("Here:"), Media("image", "image/png", "AAAA"), Media("image", url="https://x/y.png")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_official_client_puts_a_stream_together_as_the_whole_answer_says_it(name: str) -> None:
    events = told_by(*ANSWERS[name])
    answer = whole(CHAT.write_reply(fold(events), asked()))
    assert accumulated(encoded(events)) == {**answer, "object": "chat.completion"}


@settings(max_examples=count(60, 5000), deadline=None)
@given(replies())
def test_whole_answer_and_accumulated_stream_are_one(reply: Reply) -> None:
    answer = whole(CHAT.write_reply(reply, asked()))
    assert accumulated(encoded(unfold(reply))) == {**answer, "object": "chat.completion"}


@settings(max_examples=count(60, 5000), deadline=None)
@given(replies())
def test_what_is_encoded_is_decoded_to_the_same(reply: Reply) -> None:
    again = decoded([encoded(unfold(reply))])
    assert [content_of(each) for each in again.choices] == [content_of(each) for each in reply.choices]


def content_of(choice: Choice) -> tuple[object, ...]:
    """What a choice says, by kind: messages of this format know no order between them."""

    def joined(kind: type[Text | Thinking | Refusal]) -> str:
        return "".join(part.text for part in choice.parts if isinstance(part, kind))

    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    pictures = [part for part in choice.parts if isinstance(part, Media)]
    return joined(Text), joined(Refusal), calls, pictures


def test_case_15_usage_is_told_to_those_alone_who_asked() -> None:
    chunks = chunks_of(encoded(told_by(Text("Hi")), asked(wants_usage=False)))
    assert not any("usage" in chunk for chunk in chunks)
    assert chunks_of(encoded(told_by(Text("Hi"), usage=False)))[-1]["choices"] != []
    assert "usage" not in whole(CHAT.write_reply(fold(told_by(Text("Hi"), usage=False)), asked()))


def test_case_18_and_20_counts_contain_cache_and_reasoning() -> None:
    usage = whole(CHAT.write_reply(fold(told_by(Text("Hi"))), asked()))["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (30, 12, 42)


def test_case_24_calls_at_the_same_time_are_told_by_their_index() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, ToolCall("a", "f")),
        PartStart(1, ToolCall("b", "g")),
        PartDelta(1, "[2]"),
        PartDelta(0, "[1]"),
        PartEnd(0),
        PartEnd(1),
        Finish("tool_calls"),
        Over(),
    ]
    (choice,) = accumulated(encoded(events))["choices"]
    assert [call["function"]["arguments"] for call in choice["message"]["tool_calls"]] == ["[1]", "[2]"]


def test_case_27_a_call_without_arguments_has_an_empty_object() -> None:
    (call,) = message_of(ToolCall("c", "f"), reason="tool_calls")["message"]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": "{}"}


def test_case_43_signatures_go_to_the_client_and_come_back() -> None:
    parts = (
        Thinking("One.", Signature("anthropic", "s1")),
        Thinking("", Signature("anthropic", "s2")),
        Thinking("Two.", Signature("openai_responses", "enc", "rs_1")),
        Text("Hi", Signature("gemini", "t")),
        ToolCall("c", "f", "{}", signature=Signature("gemini", "g")),
    )
    message = message_of(*parts)["message"]
    assert message["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "g"}}
    assert [detail["format"] for detail in message["reasoning_details"]] == [
        "anthropic-claude-v1",
        "anthropic-claude-v1",
        "openai-responses-v1",
    ]
    (turn,) = read({"messages": [message]}).turns
    assert turn.parts == parts


def test_case_43_a_signature_behind_a_call_is_told_too() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, ToolCall("a", "f")),
        PartDelta(0, "{}"),
        PartEnd(0, Signature("gemini", "g")),
        Finish("tool_calls"),
        Over(),
    ]
    (choice,) = accumulated(encoded(events))["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call["extra_content"] == {"google": {"thought_signature": "g"}}


def test_case_47_thinking_is_told_as_reasoning_content() -> None:
    chunks = chunks_of(encoded(told_by(Thinking("Hm."), Text("42"))))
    assert [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]] == [
        {"role": "assistant", "content": None, "refusal": None},
        {"reasoning_content": "Hm."},
        {"content": "42"},
        {},
    ]


def test_case_58_the_index_of_a_choice_is_told() -> None:
    reply = Reply(
        Start(),
        (Choice((Text("A"),), Finish("stop")), Choice((Text("B"),), Finish("length", choice=1))),
        Over(),
    )
    found = accumulated(encoded(unfold(reply)))["choices"]
    assert [(each["index"], each["message"]["content"]) for each in found] == [(0, "A"), (1, "B")]


@pytest.mark.parametrize(
    ("reason", "parts", "word"),
    [
        ("stop", (Text("x"),), "stop"),
        ("stop_sequence", (Text("x"),), "stop"),
        ("pause", (Text("x"),), "stop"),
        ("length", (Text("x"),), "length"),
        ("context_length", (Text("x"),), "length"),
        ("tool_calls", (ToolCall("c", "f"),), "tool_calls"),
        ("refusal", (Text("x"),), "content_filter"),
        ("refusal", (Refusal("No."),), "stop"),
        ("other", (Text("x"),), "stop"),
    ],
)
def test_case_59_the_clients_word_for_the_end(reason: Reason, parts: tuple[Part, ...], word: str) -> None:
    assert message_of(*parts, reason=reason)["finish_reason"] == word


def test_case_59_a_malformed_call_is_an_error_that_an_agent_tries_again() -> None:
    told = told_by(Text("x"), reason="malformed_call")
    with pytest.raises(BadFrame):
        encoded(told)
    with pytest.raises(BadFrame):
        CHAT.write_reply(fold(told), asked())


@pytest.mark.parametrize("parts", [(), (Thinking("Hm."),), (Foreign("gemini", {"finishMessage": "x"}),)])
def test_case_61_an_end_for_a_reason_of_the_vendors_own_without_a_word_is_an_error(
    parts: tuple[Part, ...],
) -> None:
    told = told_by(*parts, reason="other", native="MISSING_THOUGHT_SIGNATURE")
    with pytest.raises(BadFrame, match="MISSING_THOUGHT_SIGNATURE"):
        encoded(told)
    with pytest.raises(BadFrame, match="MISSING_THOUGHT_SIGNATURE"):
        CHAT.write_reply(fold(told), asked())


@pytest.mark.parametrize("native", ["refusal", "PROHIBITED_CONTENT", "content_filter"])
def test_case_59_what_a_filter_ended_is_told_as_filtered_whatever_it_said_of_it(native: str) -> None:
    reply = Reply(Start(), (Choice((Refusal("Withheld."),), Finish("refusal", native)),), Over())
    choice = whole(CHAT.write_reply(reply, asked()))["choices"][0]
    assert (choice["finish_reason"], choice["message"]["refusal"]) == ("content_filter", "Withheld.")


def test_case_61_a_refusal_is_visible() -> None:
    assert message_of(Refusal("No."), reason="refusal")["message"]["refusal"] == "No."


def test_a_client_of_the_old_way_is_answered_in_it() -> None:
    question = asked(tools=(Tool("f", extras={"openai_chat": {"legacy": True}}),))
    choice = message_of(ToolCall("c", "f", '{"a":1}'), reason="tool_calls", question=question)
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"
    assert "tool_calls" not in choice["message"]


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("c", "patch", "*** Begin", custom=True),
        ToolCall("c", "patch", '{"input": "*** Begin"}'),
        ToolCall("c", "patch", "*** Begin"),
    ],
)
def test_a_custom_tools_call_is_told_as_one_whatever_it_was_on_the_way(call: ToolCall) -> None:
    question = asked(tools=(Tool("patch", custom=True),))
    found = message_of(call, reason="tool_calls", question=question)["message"]["tool_calls"]
    assert found == [{"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}]
    answer = whole(CHAT.write_reply(fold(told_by(call)), question))
    assert answer["choices"][0]["message"]["tool_calls"] == found


def test_the_encoder_counts_what_it_wrote() -> None:
    encoder = CHAT.encoder(asked())
    events = told_by(Thinking("Hm"), Text("Hi"), ToolCall("c", "f"))
    assert len(chunks_of(b"".join(encoder.feed(event) for event in events))) == encoder.sequence


def test_text_with_half_a_character_is_escaped() -> None:
    assert b'"content":"\\ud83d"' in encoded(told_by(Text("\ud83d")))
