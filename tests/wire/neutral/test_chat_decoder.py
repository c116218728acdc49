"""What vendors of Chat Completions send, read into events: recorded streams, and their habits one by one."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import every_cut, transcript
from tests.wire.neutral.chat_kit import (
    CHAT,
    accumulated,
    asked,
    decoded,
    deltas,
    encoded,
    parts_of,
    plain,
    stream_of,
    whole,
    written,
)
from tests.wire.neutral.strategies_chat import CHUNKS
from wire.neutral.chat_reasoning import PLAIN, packed
from wire.neutral.collect import fold, unfold
from wire.neutral.events import Choice, Event, Finish, Over, Reason, Start
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Request
from wire.sse import Frame
from wire.types import BadFrame

TEXT = 'Grüße, "world"\n你好 🎉'
OSLO = '{"city":"Oslo", "content":"x"}'
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


def test_a_whole_answer_with_several_calls_and_choices_is_read() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    called = [{**call, "id": "a"}, {**call, "id": "b"}]
    message = {"role": "assistant", "content": "Hi", "reasoning": "Hm.", "tool_calls": called}
    choices = [{"message": message, "finish_reason": "stop"}, {"message": {"content": "Ho"}}]
    reply = CHAT.read_reply(orjson.dumps({"id": "x", "choices": choices}), asked())
    calls = (ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}"))
    assert reply.choices == (
        Choice((Thinking("Hm."), Text("Hi"), *calls), Finish("tool_calls", "stop")),
        Choice((Text("Ho"),), Finish("stop", choice=1)),
    )
    assert reply.over == Over()


def test_case_7_an_answer_without_a_reason_ends_all_the_same() -> None:
    reply = decoded([stream_of({"index": 0, "delta": {"content": "Hi"}})])
    assert reply.choices == (Choice((Text("Hi"),), Finish("stop")),)


def test_an_answer_without_choices_has_an_empty_one() -> None:
    assert decoded([b""]).choices == (Choice((), Finish("stop")),)


def test_case_14_frames_without_choices_tell_nothing() -> None:
    decoder = CHAT.decoder(asked())
    for data in (b'{"choices":[]}', b"{}", b'{"choices":null,"usage":{}}', b'{"choices":[null]}'):
        assert list(decoder.feed(Frame(b"", "", data))) == []
    assert list(decoder.feed(Frame(b"", "", b'{"id":"x","choices":[{"delta":{}}]}'))) == [Start("x")]


def piece(
    index: int | None = 0, made: str | None = None, name: str | None = None, arguments: Any = None
) -> dict[str, Any]:
    """A piece of a call, with what is given alone."""
    told: dict[str, Any] = plain(
        {"index": index, "id": made, "function": {"name": name, "arguments": arguments}}
    )
    return told


def called(*groups: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that these groups of pieces tell."""
    found = parts_of(deltas(*({"tool_calls": group} for group in groups)))
    calls = [part for part in found if isinstance(part, ToolCall)]
    assert len(calls) == len(found)
    return [(call.id, call.name, call.arguments) for call in calls]


def test_case_24_pieces_of_calls_belong_together_by_their_index() -> None:
    assert called(
        [piece(0, "a", "f", ""), piece(1, "b", "g", "")],
        [piece(1, arguments='{"y"')],
        [piece(0, arguments='{"x":1}'), piece(1, arguments=":2}")],
    ) == [("a", "f", '{"x":1}'), ("b", "g", '{"y":2}')]


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param([[piece(0, "a", "f", "{}")], [piece(0, "b", "f", "{}")]], id="index 0 for all"),
        pytest.param([[piece(None, "a", "f", "{}")], [piece(None, "b", "f", "{}")]], id="no index"),
        pytest.param([[piece(None, "a", "f", "{}"), piece(None, "b", "f", "{}")]], id="in one frame"),
        pytest.param(
            [[piece(None, "a", "f")], [piece(None, arguments="{}")], [piece(None, "b", "f", "{}")]],
            id="no index, in pieces",
        ),
        pytest.param(
            [[piece(0, "a", "f", "{")], [piece(0, "a", "f", "}")], [piece(1, "b", "f", "{}")]],
            id="id and name in each piece",
        ),
        pytest.param(
            [[piece(0, "a", arguments="{")], [piece(0, name="f", arguments="}")], [piece(1, "b", "f", "{}")]],
            id="the name late",
        ),
        pytest.param([[piece(0, "a", "f", {})], [piece(1, "b", "f", {})]], id="arguments as an object"),
    ],
)
def test_case_26_vendors_who_count_calls_in_ways_of_their_own(groups: list[list[dict[str, Any]]]) -> None:
    assert called(*groups) == [("a", "f", "{}"), ("b", "f", "{}")]


@pytest.mark.parametrize("index", [0, None])
def test_case_26_and_29_calls_without_any_id_get_one_each(index: int | None) -> None:
    found = called(
        [piece(index, name="f", arguments='{"x":1}')],
        [piece(index, "", "f", '{"x":2}')],
        [piece(index, name="g", arguments="{}")],
    )
    assert [call[1:] for call in found] == [("f", '{"x":1}'), ("f", '{"x":2}'), ("g", "{}")]
    assert len({call[0] for call in found}) == 3


def test_a_name_in_each_piece_of_a_call_without_an_id_does_not_begin_another() -> None:
    ((_, name, arguments),) = called(
        [piece(0, name="f")], [piece(0, name="f", arguments="{")], [piece(0, name="f", arguments="}")]
    )
    assert (name, arguments) == ("f", "{}")


def test_an_id_that_comes_late_does_not_begin_another_call() -> None:
    ((_, name, arguments),) = called([piece(0, name="f", arguments="{")], [piece(0, "a", arguments="}")])
    assert (name, arguments) == ("f", "{}")


def test_a_call_whose_name_never_comes_is_told_at_the_end() -> None:
    assert called([piece(0, "a", arguments="{")], [piece(0, arguments="}")]) == [("a", "", "{}")]


def test_case_28_arguments_that_are_no_json_are_passed_on() -> None:
    assert called([piece(0, "a", "f", '{"x":')]) == [("a", "f", '{"x":')]


def test_a_custom_tools_call_is_free_text() -> None:
    first = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "patch", "input": "*** "}}
    more = {"index": 0, "custom": {"input": "Begin"}}
    assert parts_of(deltas({"tool_calls": [first]}, {"tool_calls": [more]})) == (
        ToolCall("a", "patch", "*** Begin", custom=True),
    )


def test_the_old_way_of_calling_is_a_call() -> None:
    stream = deltas(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        finish="function_call",
    )
    (choice,) = decoded([stream]).choices
    (call,) = choice.parts
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments, choice.finish.reason) == ("f", "{}", "tool_calls")


def test_case_43_geminis_signatures_stand_on_calls_and_text() -> None:
    extra = {"extra_content": {"google": {"thought_signature": "sig"}}}
    signed = ToolCall("a", "f", "{}", signature=Signature("gemini", "sig"))
    assert parts_of(deltas({"content": "Hi", **extra}, {"content": " you"})) == (
        Text("Hi you", Signature("gemini", "sig")),
    )
    assert parts_of(deltas({"tool_calls": [{**piece(0, "a", "f", "{}"), **extra}]})) == (signed,)
    late = deltas({"tool_calls": [piece(0, "a", "f", "{}")]}, {"tool_calls": [{"index": 0, **extra}]})
    assert parts_of(late) == (signed,)
    alone = deltas({"tool_calls": [piece(0, "a", "f", "{}")]}, {"content": "", **extra})
    assert parts_of(alone) == (ToolCall("a", "f", "{}"), Text("", Signature("gemini", "sig")))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_case_47_reasoning_is_thinking(field: str) -> None:
    stream = deltas({"role": "assistant", field: "Hm"}, {field: "."}, {"content": "42", field: None})
    assert parts_of(stream) == (Thinking("Hm."), Text("42"))


def test_case_47_thinking_that_a_vendor_wants_back_is_sealed() -> None:
    question = asked(quirks=("reasoning_content",))
    assert parts_of(deltas({"reasoning_content": "Hm."}), question) == (Thinking("Hm.", PLAIN),)


def own(**detail: Any) -> Signature:
    return Signature("openai_chat", orjson.dumps(detail).decode())


def test_case_47_openrouters_blocks_are_kept_whole() -> None:
    block = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    hidden = {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1", "index": 0}
    stream = deltas(
        {"reasoning": "Let ", "reasoning_details": [{**block, "text": "Let ", "signature": None}]},
        {"reasoning": "me.", "reasoning_details": [{**block, "text": "me."}]},
        {"reasoning_details": [{**block, "signature": "sig"}]},
        {"reasoning_details": [{**block, "index": 1, "text": "Two."}, hidden]},
        {"reasoning": " Rest."},
        {"content": "42"},
    )
    found = parts_of(stream)
    assert found == (
        Thinking(
            "Let me.", own(type="reasoning.text", format="anthropic-claude-v1", index=0, signature="sig")
        ),
        Thinking("Two.", own(type="reasoning.text", format="anthropic-claude-v1", index=1)),
        Thinking("", own(**hidden)),
        Thinking(" Rest."),
        Text("42"),
    )
    request = Request("anthropic", "m", (Turn("assistant", found),))
    assert written(request, "m", "reasoning_details")[0]["messages"][0]["reasoning_details"] == [
        {**block, "signature": "sig", "text": "Let me."},
        {**block, "index": 1, "text": "Two."},
        hidden,
    ]


@pytest.mark.parametrize(
    ("quirk", "text", "parts"),
    [
        ("think_tags", "<think>\nHm.\n</think>\n\n42", (Thinking("Hm.\n"), Text("42"))),
        ("think_tags", "\n<think>Hm.</think>42 <think>", (Thinking("Hm."), Text("42 <think>"))),
        ("think_tags", "<think></think>42", (Text("42"),)),
        ("think_tags", "<think>Hm. </thi", (Thinking("Hm. </thi"),)),
        ("think_tags", "<thin", (Text("<thin"),)),
        ("think_tags", "<p>no</p>", (Text("<p>no</p>"),)),
        ("think_tags", " plain", (Text(" plain"),)),
        ("think_opened", "Hm.</think>\n42", (Thinking("Hm."), Text("42"))),
        ("", "<think>Hm.</think>42", (Text("<think>Hm.</think>42"),)),
    ],
)
def test_case_47_thinking_in_tags_is_told_from_text_by_quirk(
    quirk: str, text: str, parts: tuple[Part, ...]
) -> None:
    for size in (1, 2, 3, 7, len(text)):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert parts_of(deltas(*({"content": each} for each in pieces)), asked(quirks=(quirk,))) == parts


def test_thoughts_of_googles_own_layer_come_as_marked_text() -> None:
    marked = {"extra_content": {"google": {"thought": True}}}
    stream = deltas(
        {"content": "<thought>Hm", **marked}, {"content": ".", **marked}, {"content": "</thought>42"}
    )
    assert parts_of(stream) == (Thinking("Hm."), Text("42"))


def test_content_in_pieces_is_read_as_mistral_sends_it() -> None:
    reference = {"type": "reference", "reference_ids": [1]}
    stream = deltas(
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
        {"content": [{"type": "text", "text": "42"}]},
        {"content": [reference]},
    )
    assert parts_of(stream) == (Thinking("Hm."), Text("42"), Foreign("openai_chat", reference))


def test_pictures_and_sounds_of_the_model_are_parts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    address = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
    assert parts_of(deltas({"content": "Here"}, {"images": [picture, address]})) == (
        Text("Here"),
        Media("image", "image/png", "AAAA"),
        Media("image", url="https://x/y.png"),
    )
    sound = deltas(
        {"audio": {"id": "a1", "transcript": "Hel"}},
        {"audio": {"data": "AA", "transcript": "lo"}},
        {"audio": {"data": "BB", "expires_at": 5}},
    )
    heard = {"id": "a1", "transcript": "Hello", "data": "AABB", "expires_at": 5}
    assert parts_of(sound) == (Foreign("openai_chat", {"audio": heard}),)


def test_case_58_each_of_several_choices_is_kept_apart() -> None:
    stream = stream_of(
        {"index": 1, "delta": {"content": "B"}},
        {"index": 0, "delta": {"content": "A"}},
        {"index": 1, "delta": {"content": "b"}, "finish_reason": "length"},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    )
    assert decoded([stream]).choices == (
        Choice((Text("A"),), Finish("stop", "stop")),
        Choice((Text("Bb"),), Finish("length", "length", choice=1)),
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "refusal"),
        ("sensitive", "refusal"),
        ("insufficient_system_resource", "other"),
    ],
)
def test_case_59_why_an_answer_ended(word: str, reason: Reason) -> None:
    (choice,) = decoded([deltas({"content": "x"}, finish=word)]).choices
    assert choice.finish == Finish(reason, word)


def test_case_59_the_stop_sequence_is_told_where_the_vendor_says_it() -> None:
    question = asked(stop=("END",))
    for key, value, expected in (
        ("stop_reason", "END", Finish("stop_sequence", "stop", "END")),
        ("matched_stop", "END", Finish("stop_sequence", "stop", "END")),
        ("matched_stop", "<|im_end|>", Finish("stop", "stop")),
        ("stop_reason", 151645, Finish("stop", "stop")),
    ):
        stream = stream_of({"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", key: value})
        assert decoded([stream], question).choices[0].finish == expected


def test_case_60_an_answer_with_calls_ended_for_them() -> None:
    (choice,) = decoded([deltas({"tool_calls": [piece(0, "a", "f", "{}")]}, finish="stop")]).choices
    assert choice.finish == Finish("tool_calls", "stop")
    (choice,) = decoded([deltas({"tool_calls": [piece(0, "a", "f", "{")]}, finish="length")]).choices
    assert choice.finish == Finish("length", "length")


def test_case_61_a_refusal_is_never_an_empty_success() -> None:
    (choice,) = decoded([deltas({"refusal": "No."})]).choices
    assert choice == Choice((Refusal("No."),), Finish("refusal", "stop"))


def test_what_comes_behind_the_reason_still_counts() -> None:
    stream = stream_of(
        {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"},
        {"index": 0, "delta": {"content": "!"}, "finish_reason": None},
        {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"},
    )
    assert decoded([stream]).choices == (Choice((Text("Hi!"),), Finish("stop", "stop")),)


def test_citations_and_probabilities_stay_in_the_texts_bag() -> None:
    citation = {"start_index": 0, "end_index": 1, "title": "t", "url": "u"}
    cited = {"type": "url_citation", "url_citation": citation}
    token = {"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": []}
    stream = stream_of(
        {"index": 0, "delta": {"content": "Hi"}, "logprobs": {"content": [token], "refusal": None}},
        {"index": 0, "delta": {"annotations": [cited]}, "finish_reason": "stop"},
    )
    reply = decoded([stream])
    (choice,) = reply.choices
    bag = {"logprobs": [token], "annotations": [cited]}
    assert choice.parts == (Text("Hi", extras={"openai_chat": bag}),)
    answer = whole(CHAT.write_reply(reply, asked()))
    again = answer["choices"][0]
    assert again["logprobs"] == plain({"content": [token]})
    assert again["message"]["annotations"] == [cited]
    assert accumulated(encoded(unfold(reply))) == {**answer, "object": "chat.completion"}


@settings(max_examples=count(60, 20_000), deadline=None)
@given(CHUNKS, st.sampled_from(["", "think_tags", "think_opened", "reasoning_content"]))
def test_whatever_upstream_sends_there_is_an_answer_or_a_bad_frame(chunks: list[Any], quirk: str) -> None:
    question = asked(quirks=(quirk,))
    decoder = CHAT.decoder(question)
    events: list[Event] = []
    for chunk in chunks:
        events += decoder.feed(Frame(b"", "", orjson.dumps(chunk)))
    reply = fold([*events, *decoder.finish(), Over()])
    answer = whole(CHAT.write_reply(reply, question))
    assert answer["choices"]
    assert accumulated(encoded(unfold(reply), question)) == {**answer, "object": "chat.completion"}


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff"], ids=["cut", "an array", "no UTF-8"])
def test_a_frame_that_cannot_be_read_is_a_bad_one(data: bytes) -> None:
    with pytest.raises(BadFrame):
        list(CHAT.decoder(asked()).feed(Frame(b"", "", data)))


def test_what_is_nested_too_deep_to_be_kept_is_a_bad_frame() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(BadFrame):
        packed(deep)
