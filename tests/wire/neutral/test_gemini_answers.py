from __future__ import annotations

import pytest

from tests.counts import count
from tests.wire.cuts import every_cut, transcript
from tests.wire.neutral.gemini_kit import (
    GEMINI,
    SHOWN,
    USAGE,
    asked,
    decoded,
    encoded,
    joined,
    pieces_of,
    told_by,
)
from wire.arrays import elements
from wire.neutral.collect import fold, unfold
from wire.neutral.events import Choice, Event, Finish, Over, PartDelta, PartEnd, PartStart, Start
from wire.neutral.names import call_id
from wire.neutral.parts import Media, Part, Refusal, Signature, Text, Thinking, ToolCall

TEXT = 'Grüße, "world"\n你好 🎉'
SIGNED = Signature("gemini", "EqsFCqgF")
BLOCKED = "Google's filter withheld the answer (PROHIBITED_CONTENT)."

# Decoding.

TOLD: dict[str, tuple[tuple[Part, ...], Finish]] = {
    "text": ((Text(TEXT, SIGNED),), Finish("stop", "STOP")),
    "tools": (
        (
            Thinking("I think."),
            ToolCall(call_id("r1", 1), "weather", '{"city":"Oslo"}', signature=Signature("gemini", "EqUC")),
        ),
        Finish("tool_calls", "STOP"),
    ),
    "late_usage": ((Text("Hi!"),), Finish("stop", "STOP")),
    "blocked": ((Refusal(BLOCKED),), Finish("refusal", "PROHIBITED_CONTENT")),
}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("name", TOLD)
def test_a_recorded_stream_is_decoded_the_same_however_it_is_cut(name: str, line_end: bytes) -> None:
    stream = transcript(f"gemini/{name}.sse").replace(b"\r\n", b"\n").replace(b"\n", line_end)
    reply = every_cut(stream, decoded, times=count(3, 200))
    assert reply.choices == (Choice(*TOLD[name]),)
    assert reply.start.id
    assert reply.start.model.startswith("gemini-3")


@pytest.mark.parametrize("name", ["text", "tools", "late_usage"])
def test_a_recorded_array_says_what_the_events_say(name: str) -> None:
    decoder = GEMINI.decoder(asked())
    events: list[Event] = []
    for frame in elements(transcript(f"gemini/{name}.array")):
        if frame.data:
            events += decoder.feed(frame)
    told = events_told([*events, *decoder.finish()])
    assert told == events_told(list(unfold(decoded([transcript(f"gemini/{name}.sse")])))[:-1])


def events_told(events: list[Event]) -> list[Part | Finish]:
    (choice,) = fold([*events, Over()]).choices
    return [*choice.parts, choice.finish]


@pytest.mark.parametrize(
    ("name", "parts"), [("text", (Text(TEXT),)), ("blocked", (Refusal(BLOCKED),))], ids=["text", "blocked"]
)
def test_a_whole_answer_is_read(name: str, parts: tuple[Part, ...]) -> None:
    reply = GEMINI.read_reply(transcript(f"gemini/{name}.json"), asked())
    (choice,) = reply.choices
    assert choice.parts == parts
    assert reply.over.usage is not None
    assert reply.over.usage.input_tokens == 9


# Encoding.


def test_a_stream_is_told_as_google_tells_it() -> None:
    events: list[Event] = [
        Start("up1", "up"),
        PartStart(0, Text("")),
        PartDelta(0, "Hel"),
        PartDelta(0, "lo"),
        PartEnd(0),
        Finish("stop"),
        Over(USAGE),
    ]
    names = '"modelVersion":"public-model","responseId":"r1"'

    def piece(text: str, more: str = "", usage: str = "") -> str:
        content = '{"parts":[{"text":"' + text + '"}],"role":"model"}'
        return '{"candidates":[{"content":' + content + more + ',"index":0}],' + usage + names + "}"

    usage = (
        '"usageMetadata":{"promptTokenCount":30,"candidatesTokenCount":7,"totalTokenCount":42,'
        '"cachedContentTokenCount":20,"thoughtsTokenCount":5},'
    )
    pieces = [piece("Hel"), piece("lo"), piece("", ',"finishReason":"STOP"', usage)]
    assert encoded(events).decode() == "".join(f"data: {each}\r\n\r\n" for each in pieces)
    array = encoded(events, asked(array=True)).decode()
    assert array == "[" + "\n,\r\n".join(pieces) + "\n]"


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
    "its own signatures": (
        Text("Hi", Signature("gemini", "c2ln")),
        Text("again"),
        ToolCall("c1", "a", "{}", signature=Signature("gemini", "c2lnMQ==")),
    ),
    "pictures": (Text("Here:"), Media("image", "image/png", "AAAA"), Media("image", url="https://x/y.png")),
}


@pytest.mark.parametrize("array", [False, True], ids=["events", "array"])
@pytest.mark.parametrize("shown", [False, True], ids=["hidden", "shown"])
@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_put_together_is_the_whole_answer(name: str, shown: bool, array: bool) -> None:
    question = asked(array=array, effort=SHOWN if shown else None)
    reply = told_by(*ANSWERS[name])
    stream = pieces_of(encoded(unfold(reply), question))
    (whole,) = pieces_of(b"data: %b\n\n" % GEMINI.write_reply(reply, question))
    assert joined(stream) == whole
