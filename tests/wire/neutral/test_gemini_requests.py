from __future__ import annotations

import random
import re
from contextlib import suppress
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings

from tests.counts import count
from tests.wire.neutral import strategies_gemini
from tests.wire.neutral.gemini_kit import GEMINI, brief, read, said, written
from wire import DIALECTS, FORMATS
from wire.jsons import dumps, loads
from wire.neutral import seals
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import BuiltIn, CannotHold, Effort, Request, Shape, Target, Tool, ToolChoice
from wire.types import BadRequest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"name": "weather", "description": "Tells the weather", "parametersJsonSchema": SCHEMA}


def called(name: str, made: str, **args: Any) -> dict[str, Any]:
    return {"functionCall": {"id": made, "name": name, "args": args}}


def answered(name: str, made: str, output: str) -> dict[str, Any]:
    return {"functionResponse": {"id": made, "name": name, "response": {"output": output}}}


def test_a_conversation_with_tools_is_read_and_goes_back_as_it_was() -> None:
    contents: list[dict[str, Any]] = [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [called("weather", "c1", city="Oslo"), called("weather", "c2")]},
        {"role": "user", "parts": [answered("weather", "c1", "rain"), answered("weather", "c2", "sun")]},
    ]
    fields = {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "tools": [{"functionDeclarations": [WEATHER]}],
        "generationConfig": {"maxOutputTokens": 100, "temperature": 0.5},
    }
    request = said(*contents, **fields)
    assert request.turns == (
        Turn("system", (Text("Be kind."),)),
        Turn("user", (Text("Weather?"),)),
        Turn(
            "assistant",
            (ToolCall("c1", "weather", '{"city":"Oslo"}'), ToolCall("c2", "weather", "{}")),
        ),
        Turn(
            "user",
            (
                ToolResult("c1", (Text("rain"),), "weather"),
                ToolResult("c2", (Text("sun"),), "weather"),
            ),
        ),
    )
    assert request.tools == (Tool("weather", "Tells the weather", SCHEMA),)
    assert request.max_tokens == 100
    assert request.knobs == {"temperature": 0.5}
    body, _ = written(request)
    assert body == {**fields, "contents": contents}


def test_a_conversation_of_another_format_goes_to_gemini() -> None:
    turns = (
        Turn("system", (Text("Be kind."),)),
        Turn("user", (Text("Weather?"),)),
        Turn("assistant", (Text("Let me see."), ToolCall("c1", "weather", '{"city":"Oslo"}'))),
        Turn("user", (ToolResult("c1", (Text("rain"),)), Text("And then?"))),
    )
    body, out = written(Request("anthropic", "m", turns, tools=(Tool("weather", "", SCHEMA),)))
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather?"}]},
            {"role": "model", "parts": [{"text": "Let me see."}, called("weather", "c1", city="Oslo")]},
            {"role": "user", "parts": [answered("weather", "c1", "rain"), {"text": "And then?"}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "weather", "parametersJsonSchema": SCHEMA}]}],
    }
    assert out.dropped == ()


# Reading.


def test_both_spellings_of_names_are_read_and_one_is_written() -> None:
    snake = {
        "system_instruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "See:"},
                    {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
                    {"file_data": {"mime_type": "video/mp4", "file_uri": "gs://films/1.mp4"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"function_call": {"name": "see", "args": {"a_b": 1}}, "thought_signature": "c2ln"}
                ],
            },
            {"role": "user", "parts": [{"function_response": {"name": "see", "response": {"output": "x"}}}]},
        ],
        "tools": [{"function_declarations": [{"name": "see", "parameters_json_schema": SCHEMA}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["see"]}},
        "generation_config": {
            "max_output_tokens": "100",
            "top_p": 0.5,
            "stop_sequences": ["END"],
            "response_mime_type": "application/json",
            "response_json_schema": SCHEMA,
            "thinking_config": {"thinking_budget": 5, "include_thoughts": True},
        },
        "safety_settings": [{"category": "X", "threshold": "Y"}],
    }
    camelled = {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "See:"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://films/1.mp4"}},
                ],
            },
            {
                "role": "model",
                "parts": [{"functionCall": {"name": "see", "args": {"a_b": 1}}, "thoughtSignature": "c2ln"}],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "see", "response": {"output": "x"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "see", "parametersJsonSchema": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["see"]}},
        "generationConfig": {
            "maxOutputTokens": 100,
            "topP": 0.5,
            "stopSequences": ["END"],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
            "thinkingConfig": {"thinkingBudget": 5, "includeThoughts": True},
        },
        "safetySettings": [{"category": "X", "threshold": "Y"}],
    }
    assert read(snake) == read(camelled)
    assert written(read(snake))[0] == camelled


@pytest.mark.parametrize(
    ("mime", "kind"),
    [
        ("image/png", "image"),
        ("audio/wav", "audio"),
        ("video/mp4", "video"),
        ("application/pdf", "document"),
        ("text/csv", "document"),
    ],
)
def test_a_file_is_what_its_type_says_in_whatever_alphabet_of_base64(mime: str, kind: str) -> None:
    request = said({"parts": [{"inlineData": {"mimeType": mime, "data": "-_8"}}]})
    (part,) = request.turns[0].parts
    assert isinstance(part, Media)
    assert (part.kind, part.mime, part.data) == (kind, mime, "+/8=")


@pytest.mark.parametrize(
    ("uri", "media"),
    [
        ("https://youtu.be/abc", Media("video", url="https://youtu.be/abc")),
        ("https://x.example/a.png", Media("image", url="https://x.example/a.png")),
        (
            "https://generativelanguage.googleapis.com/v1beta/files/abc",
            Media("document", file_id="https://generativelanguage.googleapis.com/v1beta/files/abc"),
        ),
    ],
)
def test_addresses_stand_for_films_pages_and_files_that_google_holds(uri: str, media: Media) -> None:
    body = {"parts": [{"fileData": {"fileUri": uri}}]}
    request = said(body)
    assert request.turns[0].parts == (media,)
    assert written(request)[0]["contents"] == [{"role": "user", **body}]


def test_case_29_results_without_ids_are_of_the_calls_by_name_and_order() -> None:
    def call(name: str) -> dict[str, Any]:
        return {"functionCall": {"name": name, "args": {}}}

    def result(name: str, text: str) -> dict[str, Any]:
        return {"functionResponse": {"name": name, "response": {"output": text}}}

    model = {"role": "model", "parts": [call("a"), call("b"), call("a")]}
    user = {"role": "user", "parts": [result("b", "2"), result("a", "1"), result("a", "3")]}
    request = said({"parts": [{"text": "go"}]}, model, user)
    calls = [part for part in request.turns[1].parts if isinstance(part, ToolCall)]
    found = {part.call_id: part.parts for part in request.turns[2].parts if isinstance(part, ToolResult)}
    assert len({each.id for each in calls}) == 3
    assert [found[each.id] for each in calls] == [(Text("1"),), (Text("2"),), (Text("3"),)]
    grown = said({"parts": [{"text": "go"}]}, model, user, model, user)
    assert grown.turns[:3] == request.turns
    assert not {each.id for each in calls} & {
        part.id for part in grown.turns[3].parts if isinstance(part, ToolCall)
    }


def test_a_result_by_its_id_is_of_that_call_whatever_its_name() -> None:
    request = said(
        {"parts": [{"text": "go"}]},
        {"role": "model", "parts": [called("a", "c1"), called("b", "c2")]},
        {"role": "user", "parts": [answered("a", "c2", "x"), answered("b", "c1", "y")]},
    )
    assert [part.call_id for part in request.turns[2].parts if isinstance(part, ToolResult)] == ["c2", "c1"]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "x"}, "x", False),
        ({"result": "x"}, "x", False),
        ({"error": "x"}, "x", True),
        ({"output": {"a": [1]}}, '{"a":[1]}', False),
        ({"temperature": 20}, '{"temperature":20}', False),
    ],
)
def test_a_results_words_are_those_of_its_output(response: dict[str, Any], text: str, failed: bool) -> None:
    part = {"functionResponse": {"id": "c1", "name": "a", "response": response}}
    request = said(
        {"parts": [{"text": "go"}]}, {"role": "model", "parts": [called("a", "c1")]}, {"parts": [part]}
    )
    (result,) = request.turns[2].parts
    assert isinstance(result, ToolResult)
    assert (result.parts, result.failed) == ((Text(text),), failed)
    assert written(request)[0]["contents"][2]["parts"] == [part]


def test_a_stream_that_googles_client_kept_piece_by_piece_is_one_turn_with_its_seals() -> None:
    thought = Signature("anthropic", "sig")
    sealed = seals.sealed(thought).replace("+", "-").replace("/", "_")
    request = said(
        {"parts": [{"text": "go"}]},
        {"role": "model", "parts": [{"text": "I ", "thought": True}]},
        {"role": "model", "parts": [{"text": "think.", "thought": True}]},
        {"role": "model", "parts": [{"text": "", "thought": True, "thoughtSignature": sealed}]},
        {"role": "model", "parts": [{"text": "Hel"}]},
        {"role": "model", "parts": [{"text": "lo"}]},
        {"parts": [{"text": "on"}]},
    )
    assert request.turns[1] == Turn("assistant", (Thinking("I think.", thought), Text("Hello")))
    assert [turn.role for turn in request.turns] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("config", "effort"),
    [
        ({"thinkingBudget": 0}, Effort(False, budget=0)),
        ({"thinkingBudget": -1, "includeThoughts": True}, Effort(True, budget=-1, shown=True)),
        ({"thinkingLevel": "HIGH"}, Effort(True, "high")),
        ({"includeThoughts": False}, Effort(shown=False)),
    ],
)
def test_thinking_is_read(config: dict[str, Any], effort: Effort) -> None:
    assert said({"parts": [{"text": "go"}]}, generationConfig={"thinkingConfig": config}).effort == effort


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice("auto")),
        ({"mode": "NONE"}, ToolChoice("none")),
        ({"mode": "ANY"}, ToolChoice("required")),
        ({"mode": "ANY", "allowedFunctionNames": ["a"]}, ToolChoice("named", "a")),
        ({"mode": "ANY", "allowedFunctionNames": ["a", "b"]}, ToolChoice("required", names=("a", "b"))),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}, ToolChoice("auto", names=("a",))),
    ],
)
def test_case_38_tool_choice_is_read_and_goes_back(calling: dict[str, Any], choice: ToolChoice) -> None:
    config = {"functionCallingConfig": calling}
    request = said({"parts": [{"text": "go"}]}, toolConfig=config)
    assert request.tool_choice == choice
    assert written(request)[0]["toolConfig"] == config


def test_a_schema_of_googles_is_read_as_json_schema_and_goes_back_as_it_was() -> None:
    parameters = {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING", "nullable": True, "enum": ["Oslo"], "format": "enum"},
            "days": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1"},
            "when": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
        },
        "required": ["city"],
        "propertyOrdering": ["city", "days", "when"],
    }
    tools = [{"functionDeclarations": [{"name": "weather", "parameters": parameters}]}]
    request = said({"parts": [{"text": "go"}]}, tools=tools)
    (tool,) = request.tools
    assert isinstance(tool, Tool)
    assert tool.schema == {
        "type": "object",
        "properties": {
            "city": {"type": ["string", "null"], "enum": ["Oslo", None]},
            "days": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "when": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        },
        "required": ["city"],
    }
    assert written(request)[0]["tools"] == tools


BAD: list[tuple[dict[str, Any], str]] = [
    ({"contents": "hi"}, "contents"),
    ({"contents": [{"role": "boss", "parts": []}]}, "contents.0.role"),
    ({"contents": [{"parts": [7]}]}, "contents.0.parts.0"),
    ({"contents": [{"parts": [{"text": 7}]}]}, "contents.0.parts.0.text"),
    ({"contents": [{"parts": [{"functionCall": {"args": {}}}]}]}, "contents.0.parts.0.functionCall.name"),
    (
        {"contents": [{"parts": [{"functionCall": {"name": "a", "args": []}}]}]},
        "contents.0.parts.0.functionCall.args",
    ),
    (
        {"contents": [{"parts": [{"inlineData": {"mimeType": 5}}]}]},
        "contents.0.parts.0.inlineData.mimeType",
    ),
    ({"contents": [{"parts": [{"fileData": {}}]}]}, "contents.0.parts.0.fileData.fileUri"),
    ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
    ({"generationConfig": {"maxOutputTokens": 1.5}}, "generationConfig.maxOutputTokens"),
    ({"tools": [{"functionDeclarations": [{}]}]}, "tools.0.functionDeclarations.0.name"),
    ({"toolConfig": {"functionCallingConfig": 1}}, "toolConfig.functionCallingConfig"),
]


@pytest.mark.parametrize(("fields", "param"), BAD, ids=[param for _, param in BAD])
def test_what_cannot_be_read_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(fields)
    assert refused.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 900 + b"]" * 900, b"[" * 5000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        GEMINI.read_request(body, brief())


# Writing for another format's client.


def foreign(*turns: Turn, origin: str = "anthropic", **fields: Any) -> Request:
    return Request(origin, "m", turns, **fields)


def user(*parts: Part | str) -> Turn:
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def model(*parts: Part | str) -> Turn:
    return Turn("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def contents(*turns: Turn, name: str = "gemini-2.5-flash") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written(foreign(*turns), name)[0]["contents"]
    return found


def test_case_52_only_system_is_said_by_the_user() -> None:
    body, _ = written(foreign(Turn("system", (Text("Be kind."), Text("Go.")))))
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Go."}]}],
    }


def test_case_52_a_conversation_begins_with_the_user_and_turns_of_one_role_are_one() -> None:
    found = contents(model("Hi."), user("a"), user("b"), model("c"), model("d"), user("e"))
    assert [(each["role"], [part["text"] for part in each["parts"]]) for each in found] == [
        ("user", ["(The conversation so far begins with your own words.)"]),
        ("model", ["Hi."]),
        ("user", ["a", "b"]),
        ("model", ["c", "d"]),
        ("user", ["e"]),
    ]


def test_a_request_with_nothing_to_answer_is_refused() -> None:
    with pytest.raises(BadRequest):
        written(foreign())


@pytest.mark.parametrize(
    ("name", "last", "dropped"),
    [("gemini-3.1-pro-preview", "model", ()), ("gemini-3.8-flash", "user", ("prefill",))],
)
def test_case_52_a_prefill_goes_to_models_that_take_it(
    name: str, last: str, dropped: tuple[str, ...]
) -> None:
    body, out = written(foreign(user("a"), model("{")), name)
    assert body["contents"][-1]["role"] == last
    assert out.dropped == dropped


def test_case_50_a_system_message_in_the_midst_keeps_its_place() -> None:
    found = contents(user("a"), model("b"), Turn("system", (Text("Now be brief."),)), user("c"))
    reminder = "<system-reminder>\nNow be brief.\n</system-reminder>"
    assert found[2] == {"role": "user", "parts": [{"text": reminder}, {"text": "c"}]}


def test_case_30_all_results_stand_in_one_content_as_many_as_calls() -> None:
    found = contents(
        user("go"),
        model(ToolCall("c1", "a", "{}"), ToolCall("c2", "b"), ToolCall("c3", "a")),
        user(ToolResult("c2", (Text("2"),)), "wait"),
        user(ToolResult("c1", (Text("1"),))),
    )
    assert found[1]["parts"] == [called("a", "c1"), called("b", "c2"), called("a", "c3")]
    assert found[2]["parts"] == [
        answered("a", "c1", "1"),
        answered("b", "c2", "2"),
        {
            "functionResponse": {
                "id": "c3",
                "name": "a",
                "response": {"error": "No result of this call is on record."},
            }
        },
        {"text": "wait"},
    ]
    assert len(found) == 3


def test_case_32_a_result_without_a_call_is_plain_text() -> None:
    found = contents(user(ToolResult("c9", (Text("42"),))))
    assert found == [
        {"role": "user", "parts": [{"text": "Result of the tool call c9:"}, {"text": "42"}]},
    ]


def test_case_37_a_result_is_always_a_string() -> None:
    found = contents(user("go"), model(ToolCall("c1", "a")), user(ToolResult("c1", (Text('{"$ref": "x"}'),))))
    assert found[2]["parts"] == [answered("a", "c1", '{"$ref": "x"}')]


PNG = Media("image", "image/png", "AAAA")
INLINE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def test_case_34_a_picture_in_a_result_stands_within_it_or_behind_it() -> None:
    turns = (user("go"), model(ToolCall("c1", "a")), user(ToolResult("c1", (Text("see"), PNG))))
    newer = contents(*turns, name="gemini-3-flash-preview")[2]["parts"]
    answer = {"id": "c1", "name": "a", "response": {"output": "see"}, "parts": [INLINE]}
    assert newer == [{"functionResponse": answer}]
    older = contents(*turns)[2]["parts"]
    assert older == [
        answered("a", "c1", "see\n(The files of this result follow.)"),
        {"text": "Attached to the result of tool call c1:"},
        INLINE,
    ]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (PNG, INLINE),
        (Media("image", "image/jpg", "AA=="), {"inlineData": {"mimeType": "image/jpeg", "data": "AA=="}}),
        (
            Media("document", "application/pdf", "AA=="),
            {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}},
        ),
        (
            Media("document", "text/markdown", "AA=="),
            {"inlineData": {"mimeType": "text/plain", "data": "AA=="}},
        ),
        (Media("audio", "audio/wav", "AA=="), {"inlineData": {"mimeType": "audio/wav", "data": "AA=="}}),
        (Media("video", url="https://youtu.be/x"), {"fileData": {"fileUri": "https://youtu.be/x"}}),
    ],
)
def test_case_49_files_go_in_their_native_part(part: Media, expected: dict[str, Any]) -> None:
    assert contents(user(part)) == [{"role": "user", "parts": [expected]}]


@pytest.mark.parametrize(
    "part",
    [
        Media("image", url="https://x.example/a.png"),
        Media("document", file_id="file_1"),
        Media("image", "image/gif", "AA=="),
        Media("document", "application/zip", "AA=="),
        Media("audio", "", "AA=="),
        Foreign("anthropic", {"type": "server_tool_use"}),
        ToolCall("c1", "a", "{broken"),
        ToolCall("c1", "a", "[1]"),
    ],
)
def test_cases_28_48_and_49_what_gemini_cannot_hold_is_left_to_another_target(part: Part) -> None:
    with pytest.raises(CannotHold) as refused:
        contents(user("go"), model(part) if isinstance(part, ToolCall) else user(part))
    assert refused.value.param.startswith("messages.1.content.0")


def test_case_48_a_page_that_must_be_fetched_is_told_as_that() -> None:
    assert GEMINI.addresses == frozenset()
    with pytest.raises(CannotHold, match="bytes are needed"):
        contents(user(Media("image", url="https://x.example/a.png")))


def test_case_44_only_its_own_signatures_go_to_gemini() -> None:
    ours, theirs = Signature("gemini", "c2ln"), Signature("anthropic", "x")
    found = contents(
        user("go"),
        model(
            Thinking("secret", theirs),
            Thinking("unsigned"),
            Thinking("ours", ours),
            Text("a", theirs),
            Text("b", ours),
            ToolCall("c1", "t", signature=theirs),
            ToolCall("c2", "t", signature=ours),
        ),
    )
    assert found[1]["parts"] == [
        {"text": "ours", "thought": True, "thoughtSignature": "c2ln"},
        {"text": "a"},
        {"text": "b", "thoughtSignature": "c2ln"},
        called("t", "c1"),
        {**called("t", "c2"), "thoughtSignature": "c2ln"},
    ]


def test_case_43_the_first_call_of_each_step_now_is_signed_for_models_that_want_it() -> None:
    step = (model(ToolCall("c1", "a"), ToolCall("c2", "a")), user(ToolResult("c1"), ToolResult("c2")))
    turns = (user("go"), *step, user("more"), *step, *step)

    def signed(name: str) -> list[list[str]]:
        return [
            [part.get("thoughtSignature", "") for part in each["parts"]]
            for each in contents(*turns, name=name)
            if each["role"] == "model"
        ]

    word = "skip_thought_signature_validator"
    assert signed("gemini-2.5-pro") == [["", ""]] * 3
    # The user's words stand in the content that holds the first step's results.
    assert signed("gemini-3.1-pro-preview") == [[word, ""]] * 3
    assert signed("gemini-4-argon") == [[word, ""]] * 3


def test_case_43_steps_before_the_users_last_words_need_no_signature() -> None:
    turns = (
        user("go"),
        model(ToolCall("c1", "a")),
        user(ToolResult("c1")),
        model("Done."),
        user("more"),
        model(ToolCall("c2", "a", signature=Signature("gemini", "c2ln"))),
        user(ToolResult("c2")),
        model(ToolCall("c3", "a")),
        user(ToolResult("c3")),
    )
    found = contents(*turns, name="gemini-3-flash-preview")
    calls = [part for each in found for part in each["parts"] if "functionCall" in part]
    assert [part.get("thoughtSignature") for part in calls] == [
        None,
        "c2ln",
        "skip_thought_signature_validator",
    ]


def test_case_35_empty_text_is_left_out_and_an_empty_turn_says_that_it_is() -> None:
    assert contents(user("", "a"), model(""), user("")) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "(empty message)"}]}
    ]


# Tools and settings.

RICH = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "kind": {"const": "file"},
        "node": {"$ref": "#/definitions/node", "description": "root"},
        "tags": {"type": ["array", "null"], "items": {"enum": ["a", "", None]}, "default": []},
        "size": {"oneOf": [{"type": "integer"}, {"type": "string"}], "examples": [1]},
        "level": {"type": "integer", "enum": [1, 2]},
        "free": {"type": "object", "additionalProperties": True},
        "both": {"allOf": [{"type": "object", "properties": {"x": {}}}, {"required": ["x"]}]},
        "age": {"type": "integer", "exclusiveMinimum": 3, "format": "uint8"},
    },
    "required": ["kind", "missing"],
    "additionalProperties": False,
    "definitions": {
        "node": {"type": "object", "properties": {"next": {"$ref": "#/definitions/node"}}, "title": "Node"}
    },
}


def declared(schema: dict[str, Any] | None, name: str) -> dict[str, Any]:
    body, _ = written(foreign(user("go"), tools=(Tool("t", "", schema),)), name)
    found: dict[str, Any] = body["tools"][0]["functionDeclarations"][0]
    return found


def test_case_36_json_schema_goes_to_models_that_take_it() -> None:
    assert declared(RICH, "gemini-2.5-flash") == {
        "name": "t",
        "parametersJsonSchema": {
            "type": "object",
            "properties": {
                **RICH["properties"],  # type: ignore[dict-item]
                "kind": {"enum": ["file"]},
                "node": {"$ref": "#/$defs/node"},
            },
            "required": ["kind", "missing"],
            "additionalProperties": False,
            "$defs": {
                "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "title": "Node"}
            },
        },
    }


def test_case_36_older_models_get_the_subset_of_openapi() -> None:
    deepest = {"type": "OBJECT"}
    node = {"type": "OBJECT", "title": "Node", "properties": {"next": deepest}}
    node = {"type": "OBJECT", "title": "Node", "properties": {"next": node}}
    assert declared(RICH, "gemini-2.0-flash")["parameters"] == {
        "type": "OBJECT",
        "properties": {
            "kind": {"type": "STRING", "enum": ["file"]},
            "node": {**node, "description": "root"},
            "tags": {
                "type": "ARRAY",
                "items": {"type": "STRING", "enum": ["a"], "nullable": True},
                "nullable": True,
            },
            "size": {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]},
            "level": {"type": "INTEGER", "description": "One of: [1,2]"},
            "free": {"type": "OBJECT"},
            "both": {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}, "required": ["x"]},
            "age": {"type": "INTEGER", "minimum": 4},
        },
        "required": ["kind"],
    }


@pytest.mark.parametrize("name", ["gemini-2.0-flash", "gemini-2.5-flash"])
def test_a_schema_that_grows_without_end_is_bounded(name: str) -> None:
    defs = {
        f"d{number}": {
            "type": "object",
            "properties": {key: {"$ref": f"#/$defs/d{number + 1}"} for key in "abcdefgh"},
        }
        for number in range(12)
    }
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": defs}
    assert len(orjson.dumps(declared(schema, name))) < 400_000


@pytest.mark.parametrize("schema", [None, {}, {"type": "object", "properties": {}}])
def test_a_tool_without_arguments_declares_none_to_older_models(schema: dict[str, Any] | None) -> None:
    assert declared(schema, "gemini-2.0-flash") == {"name": "t"}


def test_case_39_names_that_do_not_fit_are_changed_and_told() -> None:
    tools = (Tool("7 wonders"), Tool("ok"))
    body, out = written(foreign(user("go"), model(ToolCall("c1", "7 wonders")), tools=tools))
    name = body["tools"][0]["functionDeclarations"][0]["name"]
    assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", name)
    assert out.names == {name: "7 wonders"}
    assert body["contents"][1]["parts"][0]["functionCall"]["name"] == name
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == name


def test_case_53_a_part_that_nobody_knows_is_no_empty_text() -> None:
    (turn,) = said({"role": "user", "parts": [{"text": "Hi"}, {"hologram": {"a": 1}}]}).turns
    assert turn.parts[1] == Foreign("gemini", {"hologram": {"a": 1}})


def test_case_40_tools_that_another_vendor_runs_are_dropped_and_told() -> None:
    tools = (BuiltIn("anthropic", "web_search_20250305", {}), Tool("t"))
    body, out = written(foreign(user("go"), tools=tools))
    assert [tool["name"] for tool in body["tools"][0]["functionDeclarations"]] == ["t"]
    assert out.dropped == ("tools.web_search_20250305",)


def test_a_tool_of_free_text_is_a_function_with_one_string() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: X"}
    tools = (Tool("patch", "Patches.", custom=True, grammar=grammar),)
    call = ToolCall("c1", "patch", "*** Begin", custom=True)
    body, _ = written(foreign(user("go"), model(call), tools=tools, origin="openai_responses"))
    (declared_tool,) = body["tools"][0]["functionDeclarations"]
    assert declared_tool["parametersJsonSchema"]["properties"] == {"input": {"type": "string"}}
    assert "start: X" in declared_tool["description"]
    assert body["contents"][1]["parts"] == [called("patch", "c1", input="*** Begin")]


@pytest.mark.parametrize(
    ("choice", "calling", "dropped"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}, ()),
        (ToolChoice("none"), {"mode": "NONE"}, ()),
        (ToolChoice("required"), {"mode": "ANY"}, ()),
        (ToolChoice("required", names=("a", "zz")), {"mode": "ANY", "allowedFunctionNames": ["a"]}, ()),
        (ToolChoice("named", "a"), {"mode": "ANY", "allowedFunctionNames": ["a"]}, ()),
        (ToolChoice("named", "zz"), None, ("tool_choice",)),
    ],
)
def test_case_38_tool_choice_goes_to_gemini(
    choice: ToolChoice, calling: dict[str, Any] | None, dropped: tuple[str, ...]
) -> None:
    body, out = written(foreign(user("go"), tools=(Tool("a"), Tool("b")), tool_choice=choice))
    assert body.get("toolConfig", {}).get("functionCallingConfig") == calling
    assert out.dropped == dropped


def test_case_38_tools_that_may_not_be_called_are_not_declared() -> None:
    choice = ToolChoice("auto", names=("b",))
    body, _ = written(foreign(user("go"), tools=(Tool("a"), Tool("b")), tool_choice=choice))
    assert body["tools"] == [{"functionDeclarations": [{"name": "b"}]}]


THINKING: list[tuple[str, Effort, dict[str, Any] | None, tuple[str, ...]]] = [
    ("gemini-2.5-pro", Effort(False), {"thinkingBudget": 128}, ("effort",)),
    ("gemini-2.5-flash", Effort(False), {"thinkingBudget": 0}, ()),
    ("gemini-2.5-flash", Effort(True, "low"), {"thinkingBudget": 1000, "includeThoughts": True}, ()),
    ("gemini-2.5-flash", Effort(True, "max"), {"thinkingBudget": 1000, "includeThoughts": True}, ()),
    ("gemini-2.5-flash-lite", Effort(True, budget=10), {"thinkingBudget": 512, "includeThoughts": True}, ()),
    ("gemini-2.5-pro", Effort(True), {"thinkingBudget": -1, "includeThoughts": True}, ()),
    ("gemini-2.5-pro", Effort(True, budget=90_000), {"thinkingBudget": 1999, "includeThoughts": True}, ()),
    ("gemini-2.0-flash", Effort(True, "high"), None, ("effort",)),
    ("gemini-2.0-flash", Effort(False), None, ()),
    ("gemini-3-pro-preview", Effort(True, "medium"), {"thinkingLevel": "high", "includeThoughts": True}, ()),
    (
        "gemini-3.1-pro-preview",
        Effort(True, "minimal"),
        {"thinkingLevel": "low", "includeThoughts": True},
        (),
    ),
    ("gemini-3-flash-preview", Effort(False), {"thinkingLevel": "minimal"}, ("effort",)),
    ("gemini-4-argon", Effort(True, "xhigh"), {"thinkingLevel": "high", "includeThoughts": True}, ()),
    ("gemini-4-argon", Effort(True, budget=5000), {"thinkingLevel": "medium", "includeThoughts": True}, ()),
    ("gemini-4-argon", Effort(True, shown=False), {"includeThoughts": False}, ()),
    ("gemini-flash-latest", Effort(True, budget=-1), {"includeThoughts": True}, ()),
]


@pytest.mark.parametrize(("name", "effort", "config", "dropped"), THINKING)
def test_case_46_thinking_by_the_models_own_measure(
    name: str, effort: Effort, config: dict[str, Any] | None, dropped: tuple[str, ...]
) -> None:
    body, out = written(foreign(user("go"), effort=effort, max_tokens=2000), name)
    assert body["generationConfig"].get("thinkingConfig") == config
    assert out.dropped == dropped


SHAPE = Shape("json_schema", SCHEMA, "answer")


@pytest.mark.parametrize(
    ("name", "shape", "config"),
    [
        ("gemini-2.5-flash", Shape("json_object"), {}),
        ("gemini-2.5-flash", SHAPE, {"responseJsonSchema": SCHEMA}),
        (
            "gemini-2.0-flash",
            SHAPE,
            {"responseSchema": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}},
        ),
    ],
)
def test_case_57_the_shape_of_an_answer(name: str, shape: Shape, config: dict[str, Any]) -> None:
    body, out = written(foreign(user("go"), shape=shape), name)
    assert body["generationConfig"] == {"responseMimeType": "application/json", **config}
    assert out.dropped == ()


def test_case_57_beside_functions_older_models_are_asked_in_words() -> None:
    request = foreign(user("go"), shape=SHAPE, tools=(Tool("t"),))
    body, out = written(request, "gemini-2.5-pro")
    assert "generationConfig" not in body
    assert '"city"' in body["systemInstruction"]["parts"][0]["text"]
    assert out.dropped == ("shape",)
    assert "responseJsonSchema" in written(request, "gemini-3-flash-preview")[0]["generationConfig"]


def test_case_58_knobs_go_as_far_as_gemini_has_them() -> None:
    knobs = {
        "temperature": 1.5,
        "top_p": 0.9,
        "top_k": 40,
        "n": 2,
        "seed": 7,
        "presence_penalty": 0.5,
        "frequency_penalty": 0,
        "logit_bias": {"1": 1},
        "logprobs": True,
        "top_logprobs": 3,
        "verbosity": "low",
        "user": "u1",
        "service_tier": "flex",
    }
    request = foreign(
        user("go"),
        origin="openai_chat",
        knobs=knobs,
        parallel=False,
        stop=("a", "b", "c", "d", "e", "f"),
        max_tokens=200_000,
        tools=(Tool("t", strict=True),),
        extras={"openai_chat": {"store": True, "prediction": {}}},
    )
    body, out = written(request)
    assert body["generationConfig"] == {
        "maxOutputTokens": 100_000,
        "stopSequences": ["a", "b", "c", "d", "e"],
        "temperature": 1.5,
        "topP": 0.9,
        "topK": 40,
        "candidateCount": 2,
        "seed": 7,
    }
    assert body["serviceTier"] == "flex"
    assert set(out.dropped) == {
        *("strict", "parallel", "max_tokens", "stop", "presence_penalty", "logit_bias", "logprobs"),
        *("top_logprobs", "verbosity", "prediction"),
    }
    older = written(request, "gemini-2.0-flash")[0]["generationConfig"]
    assert older["presencePenalty"] == 0.5


def test_case_51_marks_for_caches_are_left_out_without_a_word() -> None:
    turns = (Turn("system", (Text("s", cache="1h"),)), user(Text("go", cache="5m")))
    body, out = written(foreign(*turns, tools=(Tool("t", cache="5m"),), cache="5m"))
    assert "cache" not in orjson.dumps(body).decode()
    assert out.dropped == ()


def test_case_65_a_stored_response_cannot_be_gone_on_from() -> None:
    with pytest.raises(CannotHold):
        written(foreign(user("go"), previous_id="resp_1"))


@pytest.mark.parametrize("stream", [False, True])
def test_its_address_says_whether_it_streams(stream: bool) -> None:
    found = GEMINI.path(brief(stream=stream))
    url = FORMATS["gemini"].upstream_url(
        "https://host/v1beta",
        brief(stream=stream),
        model="up",
        path=found.partition("?")[0],
        query=found.partition("?")[2],
    )
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert url == f"https://host/v1beta/models/up:{verb}"


@pytest.mark.parametrize(
    ("knob", "name"),
    [
        ("max_tokens", "generationConfig.maxOutputTokens"),
        ("top_k", "generationConfig.topK"),
        ("tools", "tools"),
    ],
)
def test_settings_are_called_as_people_know_them(knob: str, name: str) -> None:
    assert GEMINI.spelled(knob) == name


# Properties.


@settings(max_examples=count(60, 2000), deadline=None)
@given(strategies_gemini.REQUESTS)
def test_a_request_goes_through_the_middle_and_back_as_it_was(fields: dict[str, Any]) -> None:
    body, out = written(read(fields))
    assert body == fields
    assert out.dropped == ()


def test_anything_is_read_or_refused_and_nothing_else_happens() -> None:
    rng = random.Random(7)
    kinds = count(400, 20_000)
    read_at_all = 0
    for _ in range(kinds):
        body = dumps(strategies_gemini.odd_request(rng))
        try:
            request = GEMINI.read_request(body, brief())
        except BadRequest:
            continue
        read_at_all += 1
        for name in ("gemini-2.0-flash", "gemini-4-argon"):
            for origin in ("gemini", "openai_chat"):
                asked_by = msgspec.structs.replace(request, origin=origin)
                with suppress(BadRequest):
                    assert loads(GEMINI.write_request(asked_by, Target(name)).body)["contents"] is not None
    assert kinds > read_at_all > kinds // 20


@pytest.mark.parametrize("spelling", ["cachedContent", "cached_content"])
@pytest.mark.parametrize("origin", ["openai_chat", "openai_responses", "anthropic"])
def test_what_google_holds_in_its_cache_goes_to_nobody_else(origin: str, spelling: str) -> None:
    request = read({"contents": [{"parts": [{"text": "On."}]}], spelling: "cachedContents/1"})
    with pytest.raises(CannotHold) as refused:
        DIALECTS[origin].write_request(request, Target("m"))
    assert refused.value.param == "cachedContent"
