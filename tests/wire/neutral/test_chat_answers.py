from __future__ import annotations

from typing import Any

import pytest

from tests.counts import count
from tests.wire.cuts import every_cut, transcript
from tests.wire.neutral.chat_kit import (
    CHAT,
    NOW,
    USAGE,
    accumulated,
    asked,
    chunks_of,
    decoded,
    encoded,
    whole,
)
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
from wire.neutral.parts import Media, Part, Refusal, Signature, Text, Thinking, ToolCall

TEXT = 'Grüße, "world"\n你好 🎉'
OSLO = '{"city":"Oslo", "content":"x"}'

# Decoding.

TOLD: dict[str, tuple[tuple[Part, ...], Finish]] = {
    "text": ((Text(TEXT),), Finish("stop", "stop")),
    "tools": ((ToolCall("call_1", "weather", OSLO),), Finish("tool_calls", "tool_calls")),
    "reasoning": ((Thinking("Let me think."), Text("42")), Finish("stop", "stop")),
    "refusal": ((Refusal("I'm sorry, I can't help."),), Finish("refusal", "stop")),
    "azure": ((Text("Capital of Denmark."),), Finish("stop", "stop")),
    "spaced": ((Text("Grüße ✓ done"),), Finish("length", "length")),
    "comments": ((Text("Hi there"),), Finish("stop", "stop")),
    "no_done": ((Text("Hi"),), Finish("stop", "stop")),
    "groq": ((Text("ok"),), Finish("stop", "stop")),
    "trailing": ((Text("Hi"),), Finish("stop", "stop")),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", TOLD)
def test_a_recorded_stream_is_decoded_the_same_however_it_is_cut(name: str, line_end: bytes) -> None:
    stream = transcript(f"openai_chat/{name}.sse").replace(b"\n", line_end)
    reply = every_cut(stream, decoded, times=count(3, 200))
    assert reply.start == Start("chatcmpl-CkQ2v8", "gpt-4.1-nano-2025-04-14")
    assert reply.choices == (Choice(*TOLD[name]),)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("text", (Text(TEXT),)), ("tools", (ToolCall("call_1", "weather", '{"city":"Oslo"}'),))],
)
def test_a_whole_answer_is_read(name: str, parts: tuple[Part, ...]) -> None:
    reply = CHAT.read_reply(transcript(f"openai_chat/{name}.json"), asked())
    (choice,) = reply.choices
    assert choice.parts == parts
    assert reply.over.usage is not None
    assert reply.over.usage.input_reported


# Encoding.


def told_by(*parts: Part, reason: Reason = "stop", usage: bool = True) -> list[Event]:
    """The events of an answer with these parts."""
    finish = Finish(reason)
    return list(unfold(Reply(Start("up1", "up"), (Choice(parts, finish),), Over(USAGE if usage else None))))


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
    }
    head["system_fingerprint"] = None

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
    parts = ANSWERS[name]
    calls = any(isinstance(part, ToolCall) for part in parts)
    events = told_by(*parts, reason="tool_calls" if calls else "stop")
    found, expected = accumulated(encoded(events)), whole(CHAT.write_reply(fold(events), asked()))
    assert found == {**expected, "object": "chat.completion"}
