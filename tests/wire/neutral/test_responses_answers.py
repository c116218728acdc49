"""Answers in OpenAI Responses, both ways, case by case of conversion.md."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import every_cut, transcript
from tests.wire.neutral.hostile import hostile, odd
from tests.wire.neutral.responses_kit import (
    ID,
    ORIGIN,
    RESPONSES,
    accumulated,
    asked,
    decoded,
    ladder,
    streamed,
    told,
    whole,
)
from wire.neutral.collect import fold
from wire.neutral.events import Choice, Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Start
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.responses_tools import FreeText
from wire.neutral.seals import opened
from wire.sse import Frame
from wire.types import BadFrame, Usage

USAGE = Usage(
    input_tokens=1210,
    output_tokens=50,
    cache_read_tokens=1000,
    cache_write_5m_tokens=200,
    reasoning_tokens=20,
    input_reported=True,
    output_reported=True,
)
CODEX_TOOLS = [
    {"type": "function", "name": "shell", "parameters": {"type": "object"}, "strict": False},
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
    },
    {"type": "local_shell"},
    {
        "type": "tool_search",
        "execution": "client",
        "description": "Finds tools.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    },
    {
        "type": "namespace",
        "name": "mcp__docs__",
        "description": "Documents.",
        "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}, "strict": False}],
    },
]


def answer(*parts: Part, reason: Reason = "stop", native: str = "", pieces: int = 1) -> list[Event]:
    """The events of an answer, its texts cut into pieces."""
    events: list[Event] = [Start("up_1", "model-up")]
    for index, part in enumerate(parts):
        text = getattr(part, "text", "") or getattr(part, "arguments", "")
        bare: Part = part
        if isinstance(part, Text | Thinking):
            bare = type(part)("", extras=part.extras)
        elif isinstance(part, Refusal):
            bare = Refusal("")
        elif isinstance(part, ToolCall):
            bare = ToolCall(part.id, part.name, "", part.custom, extras=part.extras)
        events.append(PartStart(index, bare))
        size = -(-len(text) // pieces) or 1
        events += [PartDelta(index, text[at : at + size]) for at in range(0, len(text), size)]
        events.append(PartEnd(index, getattr(part, "signature", None)))
    return [*events, Finish(reason, native), Over(USAGE)]


def kinds(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in ladder(stream)]


# To the client.


def test_case_64_text_is_told_by_the_full_ladder_and_each_done_repeats_the_whole() -> None:
    stream = streamed(answer(Text("Grüße 🎉"), pieces=3))
    assert kinds(stream) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    events = ladder(stream)
    item_id = events[2]["item"]["id"]
    assert item_id.startswith("msg_")
    for event in events[3:9]:
        assert (event["item_id"], event["output_index"], event["content_index"]) == (item_id, 0, 0)
    assert events[7]["text"] == events[8]["part"]["text"] == "Grüße 🎉"
    assert events[9]["item"]["content"] == [events[8]["part"]]
    assert events[10]["response"]["output"] == [events[9]["item"]]
    assert [event["response"]["status"] for event in (events[0], events[1], events[10])] == [
        "in_progress",
        "in_progress",
        "completed",
    ]


def test_case_64_thinking_is_told_as_a_reasoning_item_with_a_summary() -> None:
    stream = streamed(answer(Thinking("Let me think.", Signature("anthropic", "sig")), Text("42"), pieces=2))
    assert kinds(stream)[2:10] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
    ]
    item = accumulated(stream)["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "Let me think."}]
    assert opened(item["encrypted_content"], ORIGIN) == (Signature("anthropic", "sig"), "own")


def test_case_64_raw_reasoning_of_a_responses_vendor_stays_raw() -> None:
    stream = streamed(answer(Thinking("Hm.", extras={ORIGIN: {"@raw": True}})))
    assert kinds(stream)[3:7] == [
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
    ]
    item = accumulated(stream)["output"][0]
    assert (item["summary"], item["content"]) == ([], [{"type": "reasoning_text", "text": "Hm."}])


def test_case_64_calls_are_told_one_after_another_with_indexes_of_their_own() -> None:
    stream = streamed(answer(ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", "{}"), reason="tool_calls"))
    assert (
        kinds(stream)[2:10]
        == [
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        * 2
    )
    first, second = accumulated(stream)["output"]
    assert (first["call_id"], first["name"], first["arguments"]) == ("c1", "f", '{"a":1}')
    assert (second["call_id"], second["status"]) == ("c2", "completed")
    assert [event["output_index"] for event in ladder(stream)[2:10]] == [0] * 4 + [1] * 4


def test_case_64_whole_answers_hold_what_the_stream_ends_with() -> None:
    events = answer(
        Thinking("a", Signature("gemini", "s")),
        Text("b"),
        Text("c"),
        ToolCall("1", "f", "{}"),
        ToolCall("2", "apply_patch", '{"input":"*** x"}'),
        Refusal("no"),
    )
    question = asked(tools=CODEX_TOOLS)
    assert whole(fold(events), question) == accumulated(streamed(events, question))


def test_case_64_the_response_repeats_what_was_asked() -> None:
    question = asked(
        instructions="Be brief.",
        tools=CODEX_TOOLS,
        tool_choice={"type": "function", "name": "shell"},
        parallel_tool_calls=False,
        reasoning={"effort": "high", "summary": "detailed"},
        text={"verbosity": "low", "format": {"type": "json_schema", "name": "x", "schema": {}}},
        temperature=0.5,
        top_p=0.9,
        top_logprobs=2,
        max_output_tokens=99,
        metadata={"a": "b"},
        truncation="auto",
        user="u",
        prompt_cache_key="k",
        safety_identifier="s",
    )
    told = accumulated(streamed(answer(Text("x")), question))
    assert told["tools"] == CODEX_TOOLS
    assert told["tool_choice"] == {"type": "function", "name": "shell"}
    assert told["text"] == {
        "format": {"type": "json_schema", "name": "x", "schema": {}},
        "verbosity": "low",
    }
    assert told["reasoning"] == {"effort": "high", "summary": "detailed"}
    expected = {
        "id": f"resp_{ID.replace('-', '')}",
        "model": "m",
        "created_at": 1787659560,
        "instructions": "Be brief.",
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "max_output_tokens": 99,
        "metadata": {"a": "b"},
        "truncation": "auto",
        "user": "u",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
    }
    assert {key: told[key] for key in expected} == expected


def test_case_18_usage_is_told_with_cached_tokens_inside_the_input() -> None:
    assert accumulated(streamed(answer(Text("x"))))["usage"] == {
        "input_tokens": 1210,
        "input_tokens_details": {"cached_tokens": 1000, "cache_write_tokens": 200},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 20},
        "total_tokens": 1260,
    }
    assert accumulated(streamed([*answer(Text("x"))[:-1], Over(None)]))["usage"] is None


@pytest.mark.parametrize("reason", ["length", "context_length"])
def test_case_66_a_limit_is_an_incomplete_response_and_its_last_item_is_incomplete(reason: Reason) -> None:
    stream = streamed(answer(Text("a"), ToolCall("1", "f", '{"a'), reason=reason))
    assert kinds(stream)[-1] == "incomplete"
    told = accumulated(stream)
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in told["output"]] == ["completed", "incomplete"]


def test_case_61_a_filter_without_words_is_an_incomplete_response() -> None:
    for parts in ((), (Text("I will"),)):
        told = accumulated(streamed(answer(*parts, reason="refusal")))
        assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})


def test_case_61_a_refusal_in_words_is_told_as_one() -> None:
    stream = streamed(answer(Refusal("I cannot."), reason="refusal", pieces=2))
    assert kinds(stream)[3:8] == [
        "content_part.added",
        "refusal.delta",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]
    told = accumulated(stream)
    assert told["status"] == "completed"
    assert told["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]


def test_case_59_a_malformed_call_is_a_failure_that_an_agent_tries_again() -> None:
    told = accumulated(streamed(answer(reason="malformed_call")))
    assert (told["status"], told["error"]["code"]) == ("failed", "server_error")


@pytest.mark.parametrize(
    "parts", [(), (Thinking("Hm."),), (Foreign("gemini", {"finishMessage": "Signature is missing."}),)]
)
def test_case_61_an_end_for_a_reason_of_the_vendors_own_without_a_word_is_no_success(
    parts: tuple[Part, ...],
) -> None:
    told = accumulated(streamed(answer(*parts, reason="other", native="MISSING_THOUGHT_SIGNATURE")))
    assert (told["status"], told["error"]["code"]) == ("failed", "server_error")
    assert "MISSING_THOUGHT_SIGNATURE" in told["error"]["message"]


@pytest.mark.parametrize("reason", ["stop", "stop_sequence", "tool_calls", "pause", "other"])
def test_case_59_every_other_end_is_complete(reason: Reason) -> None:
    assert accumulated(streamed(answer(Text("x"), reason=reason)))["status"] == "completed"


def test_case_25_interleaved_calls_are_told_one_after_another() -> None:
    calls: list[Event] = [
        Start(),
        PartStart(0, ToolCall("a", "f")),
        PartStart(1, ToolCall("b", "g")),
        PartDelta(1, '{"y"'),
        PartDelta(0, '{"x"'),
        PartDelta(1, ":2}"),
        PartDelta(0, ":1}"),
        PartEnd(1),
        PartEnd(0),
        Finish("tool_calls"),
        Over(),
    ]
    output = accumulated(streamed(calls))["output"]
    assert [(item["call_id"], item["arguments"]) for item in output] == [("a", '{"x":1}'), ("b", '{"y":2}')]


def test_case_27_a_call_without_arguments_has_an_empty_object() -> None:
    stream = streamed(answer(ToolCall("a", "f")))
    assert ladder(stream)[3]["delta"] == "{}"
    assert accumulated(stream)["output"][0]["arguments"] == "{}"


@pytest.mark.parametrize("pieces", [1, 7])
def test_case_28_arguments_that_are_no_json_are_passed_on(pieces: int) -> None:
    output = accumulated(streamed(answer(ToolCall("a", "f", '{"a": oops'), pieces=pieces)))["output"]
    assert output[0]["arguments"] == '{"a": oops'


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"input":"*** Begin Patch\\n+é"}', "*** Begin Patch\n+é"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"patch":"x"}', '{"patch":"x"}'),
        ('{"input":5}', '{"input":5}'),
        ('{"input":"\\ud83c\\udf89\\\\ud83c \\"q\\" \\u00e9"}', '🎉\\ud83c "q" é'),
        ('{ "input" : "a", "more": "b" }', "a"),
        ('{"input":"a\nb"}', "a\nb"),
        ('{"input":"cut of', "cut of"),
        (r'{"input":"\d+\\d\u00zz\tx"}', "\\d+\\d\\u00zz\tx"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("pieces", [1, 5, 99])
def test_a_free_text_tool_gets_its_text_back_out_of_a_functions_arguments(
    arguments: str, text: str, pieces: int
) -> None:
    question = asked(tools=CODEX_TOOLS)
    stream = streamed(answer(ToolCall("a", "apply_patch", arguments), pieces=pieces), question)
    item = accumulated(stream)["output"][0]
    assert (item["type"], item["name"], item["call_id"]) == ("custom_tool_call", "apply_patch", "a")
    assert item["input"] == text
    deltas = [event["delta"] for event in ladder(stream) if event["type"].endswith("input.delta")]
    assert "".join(deltas) == text


def test_a_call_that_came_as_free_text_is_told_as_it_comes() -> None:
    stream = streamed(answer(ToolCall("a", "apply_patch", "*** x", custom=True), pieces=5))
    assert kinds(stream).count("custom_tool_call_input.delta") == 5
    assert accumulated(stream)["output"][0]["input"] == "*** x"


def test_a_tool_of_a_namespace_is_called_by_both_its_names() -> None:
    item = accumulated(streamed(answer(ToolCall("a", "mcp__docs__find", "{}")), asked(tools=CODEX_TOOLS)))[
        "output"
    ][0]
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "mcp__docs__", "find")


def test_a_tool_that_the_client_runs_is_called_by_its_own_item() -> None:
    question = asked(tools=CODEX_TOOLS)
    shell, search = accumulated(
        streamed(
            answer(
                ToolCall("a", "local_shell", '{"command":["ls","-l"],"timeout_ms":9}'),
                ToolCall("b", "tool_search", '{"query":"x"}'),
                pieces=3,
            ),
            question,
        )
    )["output"]
    assert (shell["type"], shell["call_id"]) == ("local_shell_call", "a")
    assert shell["action"] == {"type": "exec", "env": {}, "command": ["ls", "-l"], "timeout_ms": 9}
    assert (search["type"], search["call_id"], search["execution"]) == ("tool_search_call", "b", "client")
    assert search["arguments"] == {"query": "x"}


def test_a_shell_call_that_is_none_is_told_as_that_of_a_function() -> None:
    for arguments in ('{"command":"ls"}', "ls", ""):
        stream = streamed(answer(ToolCall("a", "local_shell", arguments)), asked(tools=CODEX_TOOLS))
        item = accumulated(stream)["output"][0]
        assert (item["type"], item["name"]) == ("function_call", "local_shell")
        assert item["arguments"] == (arguments or "{}")


def test_case_43_the_signature_of_a_call_travels_in_reasoning_of_its_own_before_it() -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, ToolCall("1", "f", signature=Signature("gemini", "sig"))),
        PartEnd(0),
        PartStart(1, ToolCall("2", "f")),
        PartEnd(1),
        Finish("tool_calls"),
        Over(),
    ]
    output = accumulated(streamed(events))["output"]
    assert [item["type"] for item in output] == ["reasoning", "function_call", "function_call"]
    assert opened(output[0]["encrypted_content"], ORIGIN) == (Signature("gemini", "sig"), "next")


def test_case_42_sealed_thoughts_without_words_keep_their_seal() -> None:
    item = accumulated(streamed(answer(Thinking("", Signature("anthropic", "redacted")))))["output"][0]
    assert item["summary"] == []
    assert opened(item["encrypted_content"], ORIGIN)[0] == Signature("anthropic", "redacted")


def test_texts_one_after_another_are_one_message_and_texts_apart_are_two() -> None:
    output = accumulated(streamed(answer(Text("a"), Text("b"), ToolCall("1", "f", "{}"), Text("c"))))[
        "output"
    ]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [part["text"] for part in output[0]["content"]] == ["a", "b"]


@pytest.mark.parametrize(("mime", "form"), [("image/jpeg", "jpeg"), ("image/heic", None)])
def test_a_picture_is_told_as_one_that_was_generated(mime: str, form: str | None) -> None:
    item = accumulated(streamed(answer(Media("image", mime, "aGk="))))["output"][0]
    assert (item["type"], item["status"], item["result"]) == ("image_generation_call", "completed", "aGk=")
    assert item.get("output_format") == form


def test_what_only_another_vendor_understands_is_left_out() -> None:
    assert accumulated(streamed(answer(Foreign("anthropic", {"type": "server_tool_use"}))))["output"] == []


def test_lone_surrogates_do_not_break_a_stream() -> None:
    assert "\\ud800" in streamed(answer(Text("\ud800"))).decode()


# From upstream.


def parts(stream: bytes) -> tuple[Part, ...]:
    reply = fold([*decoded(stream), Over()])
    return reply.choices[0].parts


def finish(stream: bytes) -> Finish:
    return fold([*decoded(stream), Over()]).choices[0].finish


RECORDED: dict[str, tuple[tuple[Part, ...], Finish]] = {
    "text": (
        (Text("Grüße 🎉\n", extras={ORIGIN: {"@message": {"id": "msg_1"}}}),),
        Finish("stop", "completed"),
    ),
    "tools": (
        (ToolCall("call_2", "weather", '{"city":"Oslo"}', extras={ORIGIN: {"id": "fc_1"}}),),
        Finish("tool_calls", "completed"),
    ),
    "reasoning": (
        (
            Thinking("Thinking.", Signature(ORIGIN, "gAAAA", "rs_1"), extras={ORIGIN: {"id": "rs_1"}}),
            Text("21", extras={ORIGIN: {"@message": {"id": "msg_1"}}}),
        ),
        Finish("stop", "completed"),
    ),
    "web_search": (
        (
            Foreign(
                ORIGIN,
                {
                    "id": "ws_1",
                    "type": "web_search_call",
                    "status": "completed",
                    "action": {"type": "search", "query": "oslo"},
                },
            ),
            Foreign(
                ORIGIN,
                {
                    "id": "ws_2",
                    "type": "web_search_call",
                    "status": "completed",
                    "action": {"type": "search", "query": "oslo"},
                },
            ),
            Text("Rain.", extras={ORIGIN: {"@message": {"id": "msg_1"}}}),
        ),
        Finish("stop", "completed"),
    ),
    "incomplete": (
        (Text('{"val', extras={ORIGIN: {"@message": {"id": "msg_1"}}}),),
        Finish("length", "max_output_tokens"),
    ),
}


@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_recorded_stream_says_the_same_under_every_cut(name: str, line_end: bytes) -> None:
    stream = transcript(f"openai_responses/{name}.sse").replace(b"\r\n", b"\n").replace(b"\n", line_end)
    events = every_cut(stream, decoded, times=count(3, 100))
    reply = fold([*events, Over()])
    assert (reply.start.id, reply.start.model) == ("resp_0775572d10a16b66", "gpt-5.1-2025-11-13")
    assert reply.choices == (Choice(*RECORDED[name]),)


def test_a_recorded_whole_answer_is_read_with_its_usage() -> None:
    reply = RESPONSES.read_reply(transcript("openai_responses/text.json"), asked())
    thinking, text = reply.choices[0].parts
    assert thinking == Thinking("Thinking.", Signature(ORIGIN, "gAAAA", "rs_1"), {ORIGIN: {"id": "rs_1"}})
    assert isinstance(text, Text)
    assert text.text == "Grüße 🎉\n"
    assert reply.over.usage is not None
    assert (reply.over.usage.input_tokens, reply.over.usage.cache_read_tokens) == (12, 4)


@pytest.mark.parametrize("name", [name for name in RECORDED if name != "incomplete"])
def test_what_was_recorded_goes_out_as_it_came(name: str) -> None:
    events = [*decoded(transcript(f"openai_responses/{name}.sse")), Over(USAGE)]
    output = accumulated(streamed(events))["output"]
    again = RESPONSES.read_reply(json.dumps({"status": "completed", "output": output}).encode(), asked())
    assert again.choices[0].parts == fold(events).choices[0].parts


MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
SAID = {
    **MESSAGE,
    "status": "completed",
    "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
}
CALL = {"id": "f1", "type": "function_call", "call_id": "c1", "name": "f", "arguments": ""}
CALLED = {**CALL, "arguments": '{"a":1}'}
QUIET = {"id": "r1", "type": "reasoning", "summary": []}


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(text: str, item_id: str = "m1", index: int = 0, **fields: Any) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "item_id": item_id,
        "output_index": index,
        "content_index": 0,
        "delta": text,
        **fields,
    }


def completed(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": "response.completed",
        "response": {"status": "completed", "output": list(output), **fields},
    }


@pytest.mark.parametrize(
    "events",
    [
        [added(MESSAGE), delta("H"), delta("i"), done(SAID), completed(SAID)],
        [added(MESSAGE), delta("Hi"), completed()],
        [delta("H"), delta("i"), completed(SAID)],
        [done(SAID), completed(SAID)],
        [done(SAID), completed()],
        [completed(SAID)],
        [added(MESSAGE), done(SAID), completed(SAID)],
        [
            added(MESSAGE),
            {"type": "response.output_text.done", "item_id": "m1", "content_index": 0, "text": "Hi"},
            done(SAID),
            completed(SAID),
        ],
        [
            added(MESSAGE),
            {"type": "response.content_part.done", "item_id": "m1", "part": SAID["content"][0]},
            completed(SAID),
        ],
        # Ids that change with every event.
        [added(MESSAGE), delta("H", "x"), delta("i", "y"), done({**SAID, "id": "z"}), completed(SAID)],
        # No place told.
        [*({"type": "response.output_text.delta", "delta": text} for text in "Hi"), completed()],
        # Deltas behind the end of the part.
        [added(MESSAGE), delta("Hi"), done(SAID), delta("more"), completed(SAID), delta("more")],
    ],
)  # fmt: skip
def test_case_64_a_text_is_told_once_wherever_it_stands(events: list[dict[str, Any]]) -> None:
    (text,) = parts(told(*events))
    assert isinstance(text, Text)
    assert text.text == "Hi"


def args(text: str) -> dict[str, Any]:
    return {
        "type": "response.function_call_arguments.delta",
        "item_id": "f1",
        "output_index": 0,
        "delta": text,
    }


@pytest.mark.parametrize(
    "events",
    [
        [added(CALL), args('{"a"'), args(":1}"), done(CALLED), completed(CALLED)],
        [added(CALL), args('{"a":1}'), completed()],
        [added(CALL), done(CALLED), completed()],
        [added(CALLED), done(CALLED), completed(CALLED)],
        [done(CALLED), completed(CALLED)],
        [completed(CALLED)],
        [
            added(CALL),
            {
                "type": "response.function_call_arguments.done",
                "item_id": "f1",
                "output_index": 0,
                "arguments": '{"a":1}',
            },
            done(CALLED),
            completed(CALLED),
        ],
    ],
)
def test_case_64_a_call_is_told_once_wherever_it_stands(events: list[dict[str, Any]]) -> None:
    stream = told(*events)
    assert parts(stream) == (ToolCall("c1", "f", '{"a":1}', extras={ORIGIN: {"id": "f1"}}),)
    assert finish(stream).reason == "tool_calls"


def think(text: str, piece: int = 0, kind: str = "reasoning_summary_text") -> dict[str, Any]:
    place = "summary_index" if kind == "reasoning_summary_text" else "content_index"
    return {"type": f"response.{kind}.delta", "item_id": "r1", "output_index": 0, place: piece, "delta": text}


def test_the_pieces_of_a_summary_are_apart_and_known() -> None:
    whole = [{"type": "summary_text", "text": text} for text in ("One", "Two")]
    item = {**QUIET, "summary": whole, "encrypted_content": "gAAA"}
    expected = Thinking(
        "One\n\nTwo", Signature(ORIGIN, "gAAA", "r1"), {ORIGIN: {"id": "r1", "@summary": ["One", "Two"]}}
    )
    for events in (
        [
            added(QUIET),
            think("O"),
            think("ne"),
            think("Two", 1),
            done(item),
            completed(),
        ],
        [done(item), completed()],
        [completed(item)],
    ):
        assert parts(told(*events)) == (expected,)


def test_raw_reasoning_is_thinking_too() -> None:
    item = {**QUIET, "content": [{"type": "reasoning_text", "text": "Hm"}]}
    for events in (
        [added(QUIET), think("Hm", kind="reasoning_text"), done(item), completed()],
        [completed(item)],
    ):
        assert parts(told(*events)) == (Thinking("Hm", extras={ORIGIN: {"id": "r1", "@raw": True}}),)


def test_reasoning_that_shows_and_holds_nothing_is_nothing() -> None:
    assert parts(told(added(QUIET), done(QUIET), completed())) == ()


def test_messages_keep_their_phase_and_stay_apart() -> None:
    first, second = {**MESSAGE, "phase": "commentary"}, {**MESSAGE, "id": "m2", "phase": "final_answer"}
    stream = told(added(first), delta("a"), added(second, 1), delta("b", "m2", 1), completed())
    output = accumulated(streamed([*decoded(stream), Over()]))["output"]
    assert [(item["id"], item["phase"], item["content"][0]["text"]) for item in output] == [
        ("m1", "commentary", "a"),
        ("m2", "final_answer", "b"),
    ]


def test_annotations_are_kept() -> None:
    marks = [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}]
    content = [{"type": "output_text", "text": "Hi", "annotations": marks}]
    stream = told(added(MESSAGE), delta("Hi"), done({**SAID, "content": content}), completed())
    output = accumulated(streamed([*decoded(stream), Over()]))["output"]
    assert output[0]["content"][0]["annotations"] == marks


def test_free_text_calls_are_read() -> None:
    item = {"id": "x1", "type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": ""}
    stream = told(
        added(item),
        {
            "type": "response.custom_tool_call_input.delta",
            "item_id": "x1",
            "output_index": 0,
            "delta": "*** x",
        },
        done({**item, "input": "*** x"}),
        completed(),
    )
    assert parts(stream) == (
        ToolCall("c", "apply_patch", "*** x", custom=True, extras={ORIGIN: {"id": "x1"}}),
    )


def test_case_29_a_call_without_an_id_gets_one() -> None:
    first, second = parts(told(completed({**CALLED, "call_id": ""}, {**CALLED, "id": "f2", "call_id": None})))
    assert isinstance(first, ToolCall)
    assert isinstance(second, ToolCall)
    assert first.id.startswith("call_")
    assert first.id != second.id


def test_case_26_whole_items_of_one_place_are_as_many_as_they_have_ids() -> None:
    other = {**CALLED, "id": "f2", "call_id": "c2"}
    stream = told(done(CALLED), done(other), done(other), completed())
    assert [part.id for part in parts(stream) if isinstance(part, ToolCall)] == ["c1", "c2"]


def test_case_26_two_items_of_one_place_are_two() -> None:
    other = {**CALLED, "id": "f2", "call_id": "c2"}
    stream = told(
        added(CALL), args('{"a":1}'), done(CALLED), added(other), done(other), completed(CALLED, other)
    )
    assert [part.id for part in parts(stream) if isinstance(part, ToolCall)] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("kind", "details", "reason"),
    [
        ("incomplete", {"reason": "max_output_tokens"}, "length"),
        ("incomplete", {"reason": "content_filter"}, "refusal"),
        ("incomplete", {"reason": "something_new"}, "other"),
        ("incomplete", None, "other"),
        ("completed", None, "stop"),
    ],
)
def test_case_66_every_end_has_its_reason(kind: str, details: Any, reason: str) -> None:
    response = {"status": kind, "incomplete_details": details, "output": [SAID]}
    assert finish(told({"type": f"response.{kind}", "response": response})).reason == reason


def test_case_61_a_refusal_is_read_as_one() -> None:
    item = {**SAID, "content": [{"type": "refusal", "refusal": "No."}]}
    refused = {"type": "response.refusal.delta", "item_id": "m1", "content_index": 0, "delta": "No."}
    for events in ([added(MESSAGE), refused, done(item), completed(item)], [completed(item)]):
        stream = told(*events)
        assert parts(stream) == (Refusal("No."),)
        assert finish(stream).reason == "refusal"


def test_an_end_that_told_no_reason_is_a_stop() -> None:
    assert decoded(told(added(MESSAGE), delta("Hi")))[-2:] == [PartEnd(0), Finish("stop", "completed")]


def test_events_that_nobody_knows_are_passed_over() -> None:
    stream = told(
        {"type": "response.queued"},
        {"type": "keepalive"},
        {"type": "codex.rate_limits", "x": 1},
        {"type": "response.web_search_call.searching", "item_id": "ws"},
        completed(SAID),
    )
    assert len(parts(stream)) == 1


def test_the_type_may_stand_in_the_events_name_alone() -> None:
    stream = b'event: response.output_text.delta\ndata: {"delta":"Hi"}\n\n' + told(completed())
    assert [part.text for part in parts(stream) if isinstance(part, Text)] == ["Hi"]


def test_a_frame_that_is_no_object_is_refused() -> None:
    for data in (b"data: [1]\n\n", b"data: {nonsense\n\n"):
        with pytest.raises(BadFrame):
            decoded(data)
    with pytest.raises(BadFrame):
        RESPONSES.read_reply(b"[]", asked())


def test_the_encoder_counts_what_it_wrote() -> None:
    encoder = RESPONSES.encoder(asked())
    for event in answer(Text("abc"), pieces=3)[:-2]:
        encoder.feed(event)
    assert encoder.sequence == 9


# Hostile upstreams.

EVENTS = (
    *("created", "output_item.added", "output_item.done", "content_part.added", "content_part.done"),
    *("output_text.delta", "output_text.done", "refusal.delta", "refusal.done", "completed", "incomplete"),
    *("reasoning_summary_text.delta", "reasoning_summary_text.done", "reasoning_text.delta"),
    *("function_call_arguments.delta", "function_call_arguments.done", "custom_tool_call_input.delta"),
    "custom_tool_call_input.done",
)
QUESTION = asked()
KINDS = ("message", "reasoning", "function_call", "custom_tool_call", "web_search_call")


def any_item(rng: random.Random) -> Any:
    part = {"type": odd(rng, "output_text", "refusal"), "text": odd(rng, "a"), "refusal": odd(rng, "b")}
    return odd(
        rng,
        {
            "type": odd(rng, *KINDS),
            "id": odd(rng, "1", "2", "3"),
            "call_id": odd(rng, "c", "d"),
            "name": odd(rng, "f"),
            "arguments": odd(rng, "", "{}"),
            "input": odd(rng, "", "x"),
            "content": odd(rng, [], [part], [part, part]),
            "summary": odd(rng, [], [{"type": "summary_text", "text": "s"}]),
            "encrypted_content": odd(rng, None, "gAAA"),
        },
    )


def any_event(rng: random.Random) -> Any:
    return odd(
        rng,
        {
            "type": "response." + rng.choice(EVENTS[:-1] if rng.random() < 0.9 else EVENTS),
            "item": any_item(rng),
            "item_id": odd(rng, "1", "2", "3", "new"),
            "output_index": odd(rng, 0, 1, 2),
            "content_index": odd(rng, 0, 1),
            "summary_index": odd(rng, 0, 1),
            "delta": odd(rng, "x", "yy"),
            "text": odd(rng, "x"),
            "arguments": odd(rng, "{}"),
            "part": odd(rng, {"type": "output_text", "text": "x"}),
            "response": odd(
                rng, {"output": [any_item(rng)], "status": hostile(rng), "incomplete_details": hostile(rng)}
            ),
        },
    )


def test_a_delta_behind_the_end_of_its_item_begins_nothing() -> None:
    done = {
        "type": "response.output_item.done",
        "output_index": 0,
        "item": {"type": "message", "id": "m", "content": []},
    }
    late = {"type": "response.output_text.delta", "item_id": "m", "content_index": 0, "delta": "late"}
    decoder, events = RESPONSES.decoder(QUESTION), list[Event]()
    for event in (done, late):
        data = json.dumps(event).encode()
        events += decoder.feed(Frame(data, "", data))
    reply = fold([*events, *decoder.finish(), Over()])
    assert [choice.parts for choice in reply.choices] == [()]


@pytest.mark.parametrize("seed", range(count(5, 100)))
def test_a_hostile_stream_is_an_answer_or_a_bad_frame(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(count(5, 100)):
        decoder, told_so_far = RESPONSES.decoder(QUESTION), list[Event]()
        for _ in range(rng.randrange(12)):
            data = json.dumps(any_event(rng)).encode()
            try:
                told_so_far += decoder.feed(Frame(data, "", data))
            except BadFrame:
                assert not data.startswith(b"{")
        told_so_far += [*decoder.finish(), Over()]
        reply = fold(told_so_far)
        assert len(reply.choices) == 1
        assert "response.created" in streamed(told_so_far, QUESTION).decode()


@pytest.mark.parametrize("seed", range(count(5, 100)))
def test_a_hostile_whole_answer_is_one_or_a_bad_frame(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(count(20, 200)):
        body = {"output": odd(rng, [any_item(rng), any_item(rng)]), "usage": hostile(rng), "id": hostile(rng)}
        reply = RESPONSES.read_reply(json.dumps(body).encode(), QUESTION)
        assert len(reply.choices) == 1


@settings(max_examples=count(100, 5000), deadline=None)
@given(st.text(max_size=20), st.booleans(), st.integers(1, 9))
def test_free_text_comes_out_of_its_arguments_however_it_is_cut(text: str, plain: bool, size: int) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=not plain)
    reader = FreeText()
    pieces = [reader.feed(arguments[at : at + size]) for at in range(0, len(arguments), size)]
    whole, more = reader.finish()
    assert "".join([*pieces, more]) == whole == text
