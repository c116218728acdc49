from __future__ import annotations

import random
from typing import Any, get_args

import pytest
from google.genai import types

from tests.counts import count
from tests.wire.cuts import every_cut, transcript
from tests.wire.neutral.gemini_kit import (
    GEMINI,
    SHOWN,
    USAGE,
    asked,
    candidate,
    choice_of,
    decoded,
    encoded,
    joined,
    pieces_of,
    read,
    stream_of,
    told_by,
)
from tests.wire.neutral.hostile import hostile, odd
from tests.wire.neutral.strategies_gemini import odd_part
from wire.arrays import elements
from wire.jsons import dumps, loads
from wire.neutral import seals
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked
from wire.neutral.events import Choice, Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Start
from wire.neutral.gemini_answers import WORDS
from wire.neutral.gemini_decoder import REASONS
from wire.neutral.names import call_id
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.sse import Frame
from wire.types import BadFrame

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


# Decoding, case by case.


def call_of(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, **more}}


def test_cases_27_29_and_31_each_call_comes_whole_in_a_frame_of_its_own() -> None:
    choice = choice_of(
        candidate(call_of("a", args={"x": 1}), finish=""),
        candidate(call_of("a", args={})),
        candidate(call_of("b")),
        candidate(call_of("c", id="own", args={}), finish="STOP"),
    )
    assert choice.parts == (
        ToolCall(call_id("r1", 1), "a", '{"x":1}'),
        ToolCall(call_id("r1", 2), "a", "{}"),
        ToolCall(call_id("r1", 3), "b", "{}"),
        ToolCall("own", "c", "{}"),
    )
    assert choice.finish == Finish("tool_calls", "STOP")


def test_a_signature_ends_its_part_and_text_behind_it_is_another() -> None:
    choice = choice_of(
        candidate({"text": "Hm.", "thought": True}),
        candidate({"text": "a"}),
        candidate({"text": "b", "thoughtSignature": "c2ln"}),
        candidate({"text": "c"}),
        candidate({"text": "", "thoughtSignature": "c2ln"}),
        candidate({"text": "", "thoughtSignature": "bGFzdA=="}, finish="STOP"),
    )
    signature = Signature("gemini", "c2ln")
    assert choice.parts == (
        Thinking("Hm."),
        Text("ab", signature),
        Text("c", signature),
        Text("", Signature("gemini", "bGFzdA==")),
    )


def test_what_only_gemini_understands_stands_as_it_came() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1+1"}}
    picture = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    notes: dict[str, Any] = {"groundingMetadata": {"webSearchQueries": ["x"]}}
    choice = choice_of(candidate(code, picture, {"text": "2"}, finish="STOP", **notes))
    assert choice.parts == (
        Foreign("gemini", code),
        Media("image", "image/png", "AAAA"),
        Text("2", extras={"gemini": notes}),
    )


@pytest.mark.parametrize(
    ("native", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("CONTINUATION", "length"),
        ("SAFETY", "refusal"),
        ("RECITATION", "refusal"),
        ("SPII", "refusal"),
        ("MALFORMED_FUNCTION_CALL", "malformed_call"),
        ("UNEXPECTED_TOOL_CALL", "malformed_call"),
        ("TOO_MANY_TOOL_CALLS", "other"),
        ("A_WORD_OF_TOMORROW", "other"),
    ],
)
def test_case_59_why_an_answer_ended(native: str, reason: Reason) -> None:
    choice = choice_of(candidate({"text": "a"}, finish=native))
    assert choice.finish == Finish(reason, native)
    assert choice.parts == (Text("a"),)


def test_every_word_of_googles_client_for_an_end_is_known() -> None:
    known = {word.value for word in types.FinishReason} - {"FINISH_REASON_UNSPECIFIED"}
    assert known == set(REASONS)
    assert set(WORDS.values()) <= known
    assert set(WORDS) == set(get_args(Reason))


BARE = {"candidates": [{"finishReason": "SAFETY", "finishMessage": "Bad."}]}


@pytest.mark.parametrize("piece", [candidate(finish="SAFETY", finishMessage="Bad."), BARE])
def test_case_61_a_filter_that_leaves_nothing_is_a_refusal_in_words(piece: dict[str, Any]) -> None:
    choice = choice_of(piece)
    assert choice.parts[0] == Refusal("Google's filter withheld the answer (SAFETY: Bad.).")
    assert choice.finish == Finish("refusal", "SAFETY")


def test_several_candidates_are_kept_apart() -> None:
    reply = decoded(
        [
            stream_of(
                candidate({"text": "a"}, index=1),
                candidate({"text": "b"}),
                candidate({"text": "c"}, index=1, finish="STOP"),
                candidate({"text": "d"}, finish="MAX_TOKENS"),
            )
        ]
    )
    assert reply.choices == (
        Choice((Text("bd"),), Finish("length", "MAX_TOKENS")),
        Choice((Text("ac"),), Finish("stop", "STOP", choice=1)),
    )


def odd_piece(rng: random.Random) -> dict[str, Any]:
    content = {"parts": odd(rng, [odd_part(rng), odd_part(rng)]), "role": "model"}
    told = {
        "content": odd(rng, content),
        "finishReason": odd(rng, "STOP", None),
        "index": odd(rng, 0, 1),
        "groundingMetadata": hostile(rng),
    }
    return {
        "candidates": odd(rng, [told]),
        "promptFeedback": odd(rng, {}, {"blockReason": odd(rng, "SAFETY")}),
    }


def test_whatever_a_vendor_sends_ends_as_an_answer() -> None:
    rng = random.Random(11)
    for _ in range(count(300, 20_000)):
        pieces = [odd_piece(rng) for _ in range(rng.randrange(4))]
        decoder = GEMINI.decoder(asked())
        events: list[Event] = []
        for piece in pieces:
            events += decoder.feed(Frame(b"", "", dumps(piece)))
        reply = fold([*events, *decoder.finish(), Over()])
        assert reply.choices
        for number, choice in enumerate(reply.choices):
            assert choice.finish.choice >= number


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b'"x"'])
def test_a_frame_that_cannot_be_read_is_said_to_be_bad(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(GEMINI.decoder(asked()).feed(Frame(b"", "", data)))
    with pytest.raises(BadFrame):
        GEMINI.read_reply(data, asked())


# Encoding, case by case.


def whole(*parts: Part, question: Asked | None = None, **told: Any) -> dict[str, Any]:
    """The candidate of a whole answer."""
    answer: dict[str, Any] = loads(GEMINI.write_reply(told_by(*parts, **told), question or asked()))
    candidate: dict[str, Any] = answer["candidates"][0]
    return candidate


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "7", '"x"'])
@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_case_28_arguments_that_are_no_object_are_never_made_up(arguments: str, reason: Reason) -> None:
    call = ToolCall("c1", "a", arguments)
    with pytest.raises(BadFrame, match="arguments of the call of a"):
        whole(call, reason=reason)
    with pytest.raises(BadFrame):
        whole(call, Text("more"), reason="length")


def test_a_call_that_the_limit_cut_off_is_left_out() -> None:
    told = whole(Text("Look:"), ToolCall("c1", "a", '{"x": '), reason="length")
    assert told["content"]["parts"] == [{"text": "Look:"}]
    assert told["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("refusal", "SAFETY"),
        ("malformed_call", "MALFORMED_FUNCTION_CALL"),
    ],
)
def test_case_59_an_end_is_told_in_googles_words(reason: Reason, word: str) -> None:
    assert whole(Text("a"), reason=reason)["finishReason"] == word
    assert whole(Text("a"), reason="refusal", native="RECITATION")["finishReason"] == "RECITATION"


def test_parts_told_at_once_are_told_one_after_another() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, ToolCall("c1", "a")),
        PartStart(1, Text("")),
        PartDelta(1, "late "),
        PartDelta(0, '{"x"'),
        PartDelta(0, ":1}"),
        PartEnd(0),
        PartDelta(1, "text"),
        PartEnd(1),
        Finish("tool_calls"),
        Over(),
    ]
    (told,) = joined(pieces_of(encoded(events)))["candidates"]
    call = {"functionCall": {"id": "c1", "name": "a", "args": {"x": 1}}}
    assert told["content"]["parts"] == [call, {"text": "late text"}]


def test_candidates_told_at_once_keep_their_index() -> None:
    events: list[Event] = [Start(), *(PartStart(0, Text(""), choice) for choice in (0, 1))]
    events += [PartDelta(0, f"{text}{choice}", choice) for text in "ab" for choice in (0, 1)]
    for choice in (0, 1):
        events += [PartEnd(0, choice=choice), Finish("stop", choice=choice)]
    pieces = pieces_of(encoded([*events, Over()]))
    told = joined(pieces)["candidates"]
    assert [each["content"]["parts"] for each in told] == [[{"text": "a0b0"}], [{"text": "a1b1"}]]
    assert [each["index"] for each in pieces[-1]["candidates"]] == [0, 1]


def test_thoughts_are_told_to_whom_asked_for_them() -> None:
    thought = Thinking("Hm.", Signature("anthropic", "sig"))
    bare = Thinking("", Signature("anthropic", "hidden"))
    seal, hidden = seals.sealed(thought.signature or SIGNED), seals.sealed(bare.signature or SIGNED)
    assert whole(thought, bare, Text("a"))["content"]["parts"] == [
        {"text": "", "thought": True, "thoughtSignature": hidden},
        {"text": "a"},
    ]
    assert whole(thought, bare, Text("a"), question=asked(effort=SHOWN))["content"]["parts"] == [
        {"text": "Hm.", "thought": True, "thoughtSignature": seal},
        {"text": "", "thought": True, "thoughtSignature": hidden},
        {"text": "a"},
    ]


@pytest.mark.parametrize("array", [False, True])
def test_case_43_a_foreign_seal_comes_back_through_googles_own_client(array: bool) -> None:
    parts: tuple[Part, ...] = (
        Thinking("I think.", Signature("anthropic", "+/sig==")),
        Text("Look:", Signature("gemini", "c2ln")),
        ToolCall("c1", "a", '{"x":1}', signature=Signature("openai_responses", "enc?>", "rs_1")),
    )
    stream = pieces_of(encoded(unfold(told_by(*parts)), asked(effort=SHOWN, array=array)))
    contents: list[Any] = [{"role": "user", "parts": [{"text": "go"}]}]
    for piece in stream:
        response = types.GenerateContentResponse.model_validate(piece)
        for one in response.candidates or ():
            assert one.content is not None
            contents.append(one.content.model_dump(mode="json", exclude_none=True, by_alias=True))
    request = read({"contents": contents})
    (_, turn) = request.turns
    assert [part for part in turn.parts if part != Text("")] == [
        parts[0],
        Text("Look:"),
        Text("", Signature("gemini", "c2ln")),
        parts[2],
    ]
