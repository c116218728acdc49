from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from tests.counts import count
from tests.wire.neutral.chat_kit import CHAT, brief, read, said, written
from tests.wire.neutral.strategies_chat import broken, requests
from wire.neutral.names import fitted
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import BuiltIn, CannotHold, Effort, Request, Shape, Tool, ToolChoice
from wire.neutral.seals import sealed
from wire.types import BadRequest

USER = Turn("user", (Text("Hi"),))
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather", "parameters": SCHEMA},
}
TOOL = Tool("weather", "Tells the weather", SCHEMA)


def call(made: str, name: str = "weather", arguments: str = "{}") -> dict[str, Any]:
    return {"id": made, "type": "function", "function": {"name": name, "arguments": arguments}}


def foreign(*turns: Turn, origin: str = "anthropic", **fields: Any) -> Request:
    """A request that came in another format."""
    return Request(origin, "public-model", turns or (USER,), **fields)


def messages(*turns: Turn, model: str = "gpt-4o", quirks: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What turns of another format become."""
    body, _ = written(foreign(*turns), model, *quirks)
    found: list[dict[str, Any]] = body["messages"]
    return found


def user(*parts: Part) -> Turn:
    return Turn("user", parts)


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", parts)


# Reading and writing the same format.


def test_a_conversation_with_tools_is_read() -> None:
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "sun"},
    ]
    request = said(*history, tools=[WEATHER])
    assert request.turns == (
        Turn("system", (Text("Be kind."),)),
        Turn("user", (Text("Weather?"),)),
        Turn("assistant", (ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", "{}"))),
        Turn("user", (ToolResult("c1", (Text("rain"),)), ToolResult("c2", (Text("sun"),)))),
    )
    assert request.tools == (TOOL,)
    assert written(request)[0] == {"model": "gpt-4o", "messages": history, "tools": [WEATHER]}


@settings(max_examples=count(25, 2000), deadline=None)
@given(requests())
def test_what_a_client_says_comes_back_from_the_middle_as_it_was(fields: dict[str, Any]) -> None:
    body, out = written(read(fields))
    assert body == {"model": "gpt-4o", **fields}
    assert out.dropped == ()


@settings(max_examples=count(40, 3000), deadline=None)
@given(broken(requests()))
def test_a_hostile_request_is_read_or_refused(fields: Any) -> None:
    try:
        request = CHAT.read_request(orjson.dumps(fields), brief())
    except BadRequest as error:
        named = error.param
    else:
        named = "nothing"
        written(request)
    assert named


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"role": "wizard"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages.0.content.0.image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages.0.content.0.file",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]},
            "messages.0.tool_calls.0.function",
        ),
    ],
)
def test_what_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"stop": [1]}, "stop.0"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": True}, "max_tokens"),
        ({"response_format": "json"}, "response_format"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"logit_bias": []}, "logit_bias"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        said({"role": "user", "content": "Hi"}, **fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "user", "content": "Hi"}),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://x/y.png"}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning": "hm"},
            {"role": "assistant", "content": "x", "reasoning_content": "hm"},
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": None, "audio": None, "refusal": None},
            {"role": "assistant", "content": ""},
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}],
            },
            {"role": "assistant", "content": "", "reasoning_content": "hm"},
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA"}}]},
            {
                "role": "user",
                "content": [{"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}],
            },
        ),
    ],
)
def test_of_two_ways_to_say_a_thing_the_newer_is_written(given: Any, same: Any) -> None:
    assert written(said(given))[0]["messages"] == [same]


def test_arguments_that_came_as_an_object_are_text_afterwards() -> None:
    odd = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
    (turn,) = said({"role": "assistant", "tool_calls": [odd]}).turns
    assert turn.parts == (ToolCall("c", "f", '{"a":1}'),)


def test_the_old_way_of_calling_becomes_the_new_one() -> None:
    request = said(
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "rain"},
        functions=[WEATHER["function"]],
        function_call={"name": "weather"},
    )
    body, out = written(request)
    made = body["messages"][1]["tool_calls"][0]["id"]
    assert body["messages"][1]["tool_calls"] == [call(made)]
    assert body["messages"][2] == {
        "role": "tool",
        "tool_call_id": made,
        "content": "rain",
        "name": "weather",
    }
    assert body["tools"] == [WEATHER]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert body["parallel_tool_calls"] is False
    assert out.dropped == ()


def test_audio_said_before_stays_where_it_was() -> None:
    (turn,) = said({"role": "assistant", "audio": {"id": "a1"}}).turns
    assert turn.parts == (Foreign("openai_chat", {"audio": {"id": "a1"}}),)


# The cases of spec/conversion.md.


def test_case_15_a_streamed_request_asks_for_usage() -> None:
    request = foreign(stream=True)
    assert written(request)[0]["stream_options"] == {"include_usage": True}
    assert "stream_options" not in written(request, "gpt-4o", "no_include_usage")[0]
    own = read(
        {"messages": [{"role": "user", "content": "x"}], "stream_options": {"include_obfuscation": False}},
        stream=True,
    )
    assert written(own)[0]["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_case_27_empty_arguments_are_an_object() -> None:
    history = messages(USER, assistant(ToolCall("c", "f")), user(ToolResult("c")))
    assert history[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_case_28_arguments_that_are_no_json_stay_as_they_are() -> None:
    history = messages(USER, assistant(ToolCall("c", "f", '{"a":')), user(ToolResult("c")))
    assert history[1]["tool_calls"][0]["function"]["arguments"] == '{"a":'


def test_case_32_results_stand_right_behind_their_calls() -> None:
    history = messages(
        USER,
        assistant(Text("Look"), ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")),
        Turn("system", (Text("Remember."),)),
        user(ToolResult("c2", (Text("two"),)), Text("And?"), ToolResult("c1", (Text("one"),))),
    )
    assert history[2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "system", "content": "Remember."},
        {"role": "user", "content": "And?"},
    ]


def test_case_32_a_result_without_its_call_becomes_text() -> None:
    history = messages(user(ToolResult("gone", (Text("rain"),)), Text("Go on")))
    assert history == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Result of the tool call gone:"},
                {"type": "text", "text": "rain"},
                {"type": "text", "text": "Go on"},
            ],
        }
    ]


def test_case_33_a_call_without_a_result_is_answered() -> None:
    history = messages(USER, assistant(ToolCall("c", "f", "{}")), user(Text("Never mind")))
    assert history[2:] == [
        {"role": "tool", "tool_call_id": "c", "content": "(no result)"},
        {"role": "user", "content": "Never mind"},
    ]


def test_case_33_of_two_results_of_a_call_the_second_is_text() -> None:
    turn = user(ToolResult("c", (Text("one"),)), ToolResult("c", (Text("two"),)))
    history = messages(USER, assistant(ToolCall("c", "f", "{}")), turn)
    assert history[2] == {"role": "tool", "tool_call_id": "c", "content": "one"}
    assert history[3]["content"][-1] == {"type": "text", "text": "two"}


def test_case_34_a_picture_in_a_result_follows_in_a_message_of_its_own() -> None:
    picture, document = Media("image", "image/png", "AAAA"), Media("document", "application/pdf", "BBBB")
    history = messages(
        USER,
        assistant(ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}")),
        user(
            ToolResult("c1", (Text("Here:"), picture, document)),
            ToolResult("c2", (Text("ok"),)),
            Text("And?"),
        ),
    )
    assert history[2:] == [
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": "Here:\n(The files of this result follow in the next user message.)",
        },
        {"role": "tool", "tool_call_id": "c2", "content": "ok"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Attached to the result of tool call c1:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {
                    "type": "file",
                    "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,BBBB"},
                },
            ],
        },
        {"role": "user", "content": "And?"},
    ]


def test_case_35_a_result_may_be_empty_and_empty_text_is_left_out() -> None:
    history = messages(user(Text(""), Text("Hi")), assistant(ToolCall("c", "f", "{}")), user(ToolResult("c")))
    assert history[0]["content"] == "Hi"
    assert history[2]["content"] == ""


def test_a_result_that_failed_says_so() -> None:
    failed = ToolResult("c", (Text("no such file"),), failed=True)
    history = messages(USER, assistant(ToolCall("c", "f", "{}")), user(failed))
    assert history[2]["content"] == "Error:\nno such file"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none"), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("named", "weather"), {"type": "function", "function": {"name": "weather"}}),
        (
            ToolChoice("required", names=("weather",)),
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
        ),
    ],
)
def test_case_38_the_choice_of_a_tool(choice: ToolChoice, expected: Any) -> None:
    request = foreign(tools=(TOOL, Tool("other")), tool_choice=choice, parallel=False)
    body, _ = written(request)
    assert body["tool_choice"] == expected
    assert body["parallel_tool_calls"] is False
    again = read({"messages": body["messages"], "tools": body["tools"], "tool_choice": expected})
    assert again.tool_choice == choice


def test_case_38_vendors_without_allowed_tools_are_given_no_others() -> None:
    request = foreign(tools=(TOOL, Tool("other")), tool_choice=ToolChoice("required", names=("weather",)))
    body, _ = written(request, "qwen3", "no_allowed_tools")
    assert (body["tools"], body["tool_choice"]) == ([WEATHER], "required")


def test_case_38_models_that_never_call_in_parallel_refuse_the_word() -> None:
    body, out = written(foreign(tools=(TOOL,), parallel=False), "o3")
    assert "parallel_tool_calls" not in body
    assert out.dropped == ("parallel",)
    assert written(foreign(tools=(TOOL,), parallel=True), "o3")[1].dropped == ()


def test_case_39_names_are_made_to_fit_and_told() -> None:
    odd = "mcp/read file" * 6
    request = foreign(
        USER,
        assistant(ToolCall("c", odd, "{}")),
        user(ToolResult("c")),
        tools=(Tool(odd), TOOL),
        tool_choice=ToolChoice("named", odd),
    )
    body, out = written(request)
    (name,) = out.names
    assert out.names == {name: odd}
    assert len(name) <= 64
    assert body["tools"][0]["function"]["name"] == name
    assert body["tool_choice"]["function"]["name"] == name
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == name


def test_ids_of_calls_are_cut_where_they_are_too_long() -> None:
    made = "toolu_" + "x" * 60
    history = messages(USER, assistant(ToolCall(made, "f", "{}")), user(ToolResult(made)))
    fitted = history[1]["tool_calls"][0]["id"]
    assert len(fitted) <= 40
    assert history[2]["tool_call_id"] == fitted
    kimi = messages(USER, assistant(ToolCall("functions.f:0", "f", "{}")), user(ToolResult("functions.f:0")))
    assert kimi[2]["tool_call_id"] == "functions.f:0"
    short = messages(USER, assistant(ToolCall(made, "f")), user(ToolResult(made)), quirks=("short_call_ids",))
    assert short[2]["tool_call_id"] == short[1]["tool_calls"][0]["id"]
    assert len(short[2]["tool_call_id"]) == 9
    assert short[2]["tool_call_id"].isalnum()


def test_case_40_built_in_tools_of_others_are_left_out_and_told() -> None:
    search = BuiltIn("anthropic", "web_search_20250305", {"type": "web_search_20250305"})
    body, out = written(foreign(tools=(search, TOOL)))
    assert body["tools"] == [WEATHER]
    assert out.dropped == ("tools.web_search_20250305",)
    body, out = written(
        foreign(tools=(search,), tool_choice=ToolChoice("named", "web_search"), parallel=True)
    )
    assert body.keys() == {"model", "messages"}
    assert out.dropped == ("tools.web_search_20250305", "tool_choice")


def test_case_43_geminis_signatures_go_to_gemini_alone() -> None:
    signed = ToolCall("c", "f", "{}", signature=Signature("gemini", "sig"))
    turns = (USER, assistant(Text("Hi", Signature("gemini", "t")), signed), user(ToolResult("c")))
    sent = messages(*turns, model="gemini-3-pro-preview")[1]
    assert sent["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sig"}}
    assert sent["extra_content"] == {"google": {"thought_signature": "t"}}
    assert messages(*turns, model="odd", quirks=("google_signatures",))[1] == sent
    plain = messages(*turns)[1]
    assert "extra_content" not in plain
    assert "extra_content" not in plain["tool_calls"][0]


def test_case_43_a_client_gives_geminis_signatures_back() -> None:
    (turn,) = said(
        {
            "role": "assistant",
            "content": "Hi",
            "extra_content": {"google": {"thought_signature": "t"}},
            "tool_calls": [{**call("c"), "extra_content": {"google": {"thought_signature": "sig"}}}],
        }
    ).turns
    assert turn.parts == (
        Text("Hi", Signature("gemini", "t")),
        ToolCall("c", "weather", "{}", signature=Signature("gemini", "sig")),
    )


def test_case_44_thinking_that_another_vendor_signed_is_left_out() -> None:
    turn = assistant(Thinking("secret", Signature("anthropic", "s")), Text("Hi"))
    for quirk in ("reasoning_content", "reasoning_details"):
        assert messages(turn, quirks=(quirk,)) == [{"role": "assistant", "content": "Hi"}]


def test_case_44_a_foreign_signature_in_a_clients_blocks_is_unsealed() -> None:
    signature = Signature("anthropic", "s")
    (turn,) = said(
        {
            "role": "assistant",
            "content": "Hi",
            "reasoning_content": "First. Hm. Last.",
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm.", "signature": sealed(signature), "index": 0},
                {"type": "reasoning.encrypted", "data": sealed(signature), "index": 1},
            ],
        }
    ).turns
    assert turn.parts == (
        Thinking("First. "),
        Thinking("Hm.", signature),
        Thinking("", signature),
        Thinking(" Last."),
        Text("Hi"),
    )


@pytest.mark.parametrize(
    "value", ["no json", "[]", '{"type":"reasoning.text"', "\ud800", '{"type":"reasoning_content"}']
)
def test_a_block_that_no_vendor_made_is_not_sent(value: str) -> None:
    turn = assistant(Thinking("", Signature("openai_chat", value)), Text("Hi"))
    assert messages(turn, quirks=("reasoning_details",)) == [{"role": "assistant", "content": "Hi"}]


@pytest.mark.parametrize(
    ("model", "effort", "expected", "dropped"),
    [
        ("gpt-5", Effort(True, "high"), {"reasoning_effort": "high"}, ()),
        ("gpt-5", Effort(True, "max"), {"reasoning_effort": "high"}, ()),
        ("gpt-5", Effort(True, budget=31_999), {"reasoning_effort": "high"}, ()),
        ("gpt-5", Effort(True, budget=1_024), {"reasoning_effort": "low"}, ()),
        ("gpt-5", Effort(True, budget=-1), {"reasoning_effort": "medium"}, ()),
        ("gpt-5", Effort(False), {"reasoning_effort": "minimal"}, ("effort",)),
        ("gpt-5", Effort(True), {}, ()),
        ("gpt-5", Effort(shown=True), {}, ()),
        ("gpt-5.1", Effort(False), {"reasoning_effort": "none"}, ()),
        ("gpt-5.2", Effort(True, "xhigh"), {"reasoning_effort": "xhigh"}, ()),
        ("openai/o3", Effort(True, "minimal"), {"reasoning_effort": "low"}, ()),
        ("gpt-4o", Effort(True, "high"), {}, ("effort",)),
        ("gpt-4o", Effort(False), {}, ()),
        ("gpt-oss-120b", Effort(True, "xhigh"), {"reasoning_effort": "high"}, ()),
        ("google/gemini-3-pro", Effort(True, budget=9000), {"reasoning_effort": "high"}, ()),
        ("llama-4", Effort(True, "high"), {}, ("effort",)),
        ("llama-4", Effort(False), {}, ("effort",)),
    ],
)
def test_case_46_effort(
    model: str, effort: Effort, expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    body, out = written(foreign(effort=effort), model)
    assert {key: body[key] for key in body if key not in ("model", "messages")} == expected
    assert out.dropped == dropped


@pytest.mark.parametrize(
    ("quirk", "effort", "expected"),
    [
        ("reasoning_effort", Effort(True, "xhigh"), {"reasoning_effort": "high"}),
        ("reasoning_effort", Effort(False), {"reasoning_effort": "none"}),
        ("thinking_object", Effort(True, "high"), {"thinking": {"type": "enabled"}}),
        ("thinking_object", Effort(False), {"thinking": {"type": "disabled"}}),
        ("reasoning_object", Effort(True, "max"), {"reasoning": {"effort": "xhigh"}}),
        ("reasoning_object", Effort(True, budget=2000), {"reasoning": {"max_tokens": 2000}}),
        ("reasoning_object", Effort(True, shown=False), {"reasoning": {"enabled": True, "exclude": True}}),
        ("reasoning_object", Effort(False), {"reasoning": {"enabled": False}}),
    ],
)
def test_case_46_vendors_of_models_that_nobody_knows(
    quirk: str, effort: Effort, expected: dict[str, Any]
) -> None:
    body, _ = written(foreign(effort=effort), "qwen3", quirk)
    assert {key: body[key] for key in body if key not in ("model", "messages")} == expected


def test_case_46_a_vendor_may_refuse_what_its_models_are_known_to_take() -> None:
    body, out = written(foreign(effort=Effort(True, "high")), "gpt-5", "no_reasoning_effort")
    assert ("reasoning_effort" in body, out.dropped) == (False, ("effort",))


@pytest.mark.parametrize("model", ["gpt-5.4", "gpt-5.5-2026-04-23", "gpt-5.6-terra"])
def test_case_46_models_that_do_not_think_while_they_have_tools(model: str) -> None:
    body, out = written(foreign(tools=(TOOL,), effort=Effort(True, "high")), model)
    assert body["reasoning_effort"] == "none"
    assert out.dropped == ("effort",)
    assert written(foreign(effort=Effort(True, "high")), model)[0]["reasoning_effort"] == "high"
    routed = written(foreign(tools=(TOOL,), effort=Effort(True, "high")), f"openai/{model}")
    assert routed[0]["reasoning_effort"] == "high"


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({"reasoning_effort": "high"}, Effort(True, "high")),
        ({"reasoning_effort": "none"}, Effort(False)),
        ({"reasoning": {"max_tokens": 2000}}, Effort(True, budget=2000)),
        ({"reasoning": {"effort": "low", "exclude": True}}, Effort(True, "low", shown=False)),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, Effort(True, budget=4096)),
        ({"thinking": {"type": "disabled"}}, Effort(False)),
        ({"reasoning": {}, "thinking": None}, None),
    ],
)
def test_case_46_all_ways_to_ask_for_thinking_are_read(fields: dict[str, Any], effort: Effort | None) -> None:
    assert said({"role": "user", "content": "Hi"}, **fields).effort == effort


def test_case_47_thinking_goes_back_to_those_alone_who_want_it() -> None:
    turns = (
        USER,
        assistant(Thinking("Hm. "), Thinking("So."), ToolCall("c", "f", "{}")),
        user(ToolResult("c")),
    )
    assert "reasoning_content" not in messages(*turns)[1]
    assert messages(*turns, quirks=("reasoning_content",))[1]["reasoning_content"] == "Hm. So."


def test_case_47_vendors_that_want_reasoning_with_each_call_get_a_blank_where_it_is_lost() -> None:
    turns = (
        USER,
        assistant(Thinking("x", Signature("anthropic", "s")), ToolCall("c", "f", "{}")),
        user(ToolResult("c")),
    )
    assert messages(*turns, quirks=("reasoning_content",))[1]["reasoning_content"] == " "


def test_case_47_where_there_are_tools_they_want_it_with_words_too() -> None:
    turns = (USER, assistant(Text("Yes?")), USER)
    assert "reasoning_content" not in messages(*turns, quirks=("reasoning_content",))[1]
    body, _ = written(foreign(*turns, tools=(TOOL,)), "deepseek-v4-pro", "reasoning_content")
    assert body["messages"][1] == {"role": "assistant", "content": "Yes?", "reasoning_content": " "}
    assert "reasoning_content" not in written(foreign(*turns, tools=(TOOL,)))[0]["messages"][1]


def test_case_47_a_message_of_nothing_but_thinking_is_left_out() -> None:
    assert messages(USER, assistant(Thinking("Hm.")), USER) == [{"role": "user", "content": "Hi"}] * 2
    other = assistant(Thinking("Hm.", Signature("anthropic", "s")))
    body, _ = written(foreign(USER, other, USER, tools=(TOOL,)), "deepseek-v4-pro", "reasoning_content")
    assert body["messages"] == [{"role": "user", "content": "Hi"}] * 2


def test_case_46_deepseek_is_told_whether_and_how_much() -> None:
    quirks = ("thinking_object", "reasoning_effort")
    for effort, expected in (
        (Effort(True, "max"), {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        (Effort(True, budget=30_000), {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        (Effort(True), {"thinking": {"type": "enabled"}}),
        (Effort(False, "high"), {"thinking": {"type": "disabled"}}),
    ):
        body, _ = written(foreign(effort=effort), "deepseek-v4-pro", *quirks)
        assert {key: body[key] for key in body if key not in ("model", "messages")} == expected


def test_case_48_an_address_stays_one_and_detail_is_kept() -> None:
    picture = Media("image", url="https://x/y.png", detail="low")
    assert messages(user(picture))[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}
    ]
    assert CHAT.addresses == {"image", "video"}


@pytest.mark.parametrize(
    "part",
    [
        Media("video", url="https://x/y.mp4"),
        Media("audio", "audio/flac", "AAAA"),
        Media("audio", url="https://x/y.wav"),
        Media("document", url="https://x/y.pdf"),
        Media("document", file_id="file_1"),
        Media("image", file_id="file_1"),
        Media("document", "text/plain", "////"),
        Foreign("anthropic", {"type": "server_tool_use"}),
    ],
)
def test_case_49_what_has_no_place_rules_the_target_out(part: Part) -> None:
    with pytest.raises(CannotHold) as refused:
        messages(USER, user(Text("Look"), part))
    assert refused.value.param == "messages.1.content.1"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            Media("audio", "audio/mpeg", "AAAA"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
        (
            Media("document", "application/pdf", "AAAA", name="a.pdf"),
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}},
        ),
        (
            Media("document", "text/plain", base64.b64encode(b"words").decode(), name="a.txt"),
            {"type": "text", "text": "a.txt\nwords"},
        ),
    ],
)
def test_case_49_documents_and_sounds(part: Part, expected: dict[str, Any]) -> None:
    assert messages(user(Text("Look"), part))[0]["content"][1] == expected


def test_case_49_films_go_to_those_who_take_them_and_files_stay_with_openai() -> None:
    film = Media("video", url="https://x/y.mp4")
    (message,) = messages(user(film), quirks=("video_url",))
    assert message["content"] == [{"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}]
    held = foreign(user(Media("document", file_id="file_1")), origin="openai_responses")
    assert written(held)[0]["messages"][0]["content"] == [{"type": "file", "file": {"file_id": "file_1"}}]


def test_case_50_system_messages_stay_where_they_stood() -> None:
    turns = (
        Turn("system", (Text("One", cache="5m"), Text("Two"))),
        USER,
        Turn("system", (Text("Three"),)),
    )
    assert messages(*turns) == [
        {"role": "system", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
        {"role": "user", "content": "Hi"},
        {"role": "system", "content": "Three"},
    ]
    assert messages(*turns, quirks=("string_content", "system_first")) == [
        {"role": "system", "content": "One\n\nTwo"},
        {"role": "user", "content": "Hi"},
        {"role": "user", "content": "Three"},
    ]


def test_case_50_two_system_messages_at_the_beginning_are_one_for_those_who_take_one() -> None:
    turns = (Turn("system", (Text("One"),)), Turn("system", (Text("Two"),)), USER)
    assert messages(*turns, quirks=("string_content", "system_first")) == [
        {"role": "system", "content": "One\n\nTwo"},
        {"role": "user", "content": "Hi"},
    ]


def test_case_51_cache_marks_go_to_those_who_take_them() -> None:
    turn = user(Text("One", cache="1h"), Text("Two", cache="5m"))
    marked = messages(turn, quirks=("cache_control",))[0]["content"]
    assert [part["cache_control"] for part in marked] == [
        {"type": "ephemeral", "ttl": "1h"},
        {"type": "ephemeral"},
    ]
    assert messages(turn)[0]["content"] == [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    tool = written(foreign(tools=(Tool("f", cache="5m"),)), "m", "cache_control")[0]["tools"][0]
    assert tool["cache_control"] == {"type": "ephemeral"}


def test_case_52_any_order_of_roles_will_do() -> None:
    turns = (assistant(Text("Hello")), USER, USER, Turn("system", (Text("x"),)))
    assert [message["role"] for message in messages(*turns)] == ["assistant", "user", "user", "system"]


@pytest.mark.parametrize(
    ("model", "quirk", "field"),
    [
        ("gpt-4o", "", "max_tokens"),
        ("o3-mini", "", "max_completion_tokens"),
        ("gpt-5", "", "max_completion_tokens"),
        ("openai/gpt-5.2-codex", "", "max_completion_tokens"),
        ("gpt-5-chat-latest", "", "max_tokens"),
        ("deepseek-chat", "", "max_tokens"),
        ("gpt-35-turbo", "", "max_tokens"),
        ("GPT-6-Astra", "", "max_completion_tokens"),
        ("my-gpt", "max_completion_tokens", "max_completion_tokens"),
        ("o3", "max_tokens", "max_tokens"),
    ],
)
def test_case_54_the_limit_of_tokens(model: str, quirk: str, field: str) -> None:
    body, _ = written(foreign(max_tokens=100), model, quirk)
    assert {key: body[key] for key in body if key.startswith("max")} == {field: 100}


def test_case_54_of_two_limits_the_lower_counts_and_none_passes_the_models() -> None:
    request = said({"role": "user", "content": "Hi"}, max_tokens=50, max_completion_tokens=40)
    assert request.max_tokens == 40
    body, out = written(foreign(max_tokens=200_000))
    assert (body["max_tokens"], out.dropped) == (100_000, ("max_tokens",))


def test_case_55_four_stop_sequences() -> None:
    body, out = written(foreign(stop=("a", "b", "c", "d", "e")))
    assert (body["stop"], out.dropped) == (["a", "b", "c", "d"], ("stop",))
    assert written(foreign(stop=("a",)))[1].dropped == ()
    assert written(foreign(stop=("a",)), "o4-mini")[1].dropped == ("stop",)
    assert said({"role": "user", "content": "Hi"}, stop="a").stop == ("a",)


def test_case_56_reasoning_models_refuse_what_draws_lots() -> None:
    knobs = {"temperature": 0.2, "top_p": 0.9, "presence_penalty": 1, "logprobs": True, "seed": 7}
    body, out = written(foreign(knobs=knobs), "gpt-5-mini")
    assert out.dropped == ("temperature", "top_p", "presence_penalty", "logprobs")
    assert body["seed"] == 7
    assert written(foreign(knobs={"temperature": 1, "top_p": 1.0}), "o3")[1].dropped == ()
    kept = {name: value for name, value in knobs.items() if name != "logprobs"}
    assert written(foreign(knobs=knobs))[0] | kept == written(foreign(knobs=knobs))[0]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (Shape("json_object"), {"type": "json_object"}),
        (
            Shape("json_schema", SCHEMA, "a b", strict=True),
            {
                "type": "json_schema",
                "json_schema": {"name": fitted("a b"), "schema": SCHEMA, "strict": True},
            },
        ),
        (
            Shape("json_schema", SCHEMA, description="what"),
            {
                "type": "json_schema",
                "json_schema": {"name": "answer", "description": "what", "schema": SCHEMA},
            },
        ),
    ],
)
def test_case_57_the_shape_of_the_answer(shape: Shape, expected: dict[str, Any]) -> None:
    body, out = written(foreign(shape=shape))
    assert body["response_format"] == expected
    assert out.dropped == ()


def test_case_57_vendors_without_schemas_are_told_in_words() -> None:
    request = foreign(shape=Shape("json_schema", SCHEMA))
    body, _ = written(request, "deepseek-chat", "no_json_schema")
    assert body["response_format"] == {"type": "json_object"}
    assert body["messages"][0]["role"] == "system"
    assert '"city"' in body["messages"][0]["content"]
    assert body["messages"][1:] == [{"role": "user", "content": "Hi"}]
    kind = foreign(Turn("system", (Text("Be kind."),)), USER, shape=request.shape)
    (first, *_) = written(kind, "deepseek-chat", "no_json_schema", "string_content")[0]["messages"]
    assert first["content"].startswith("Be kind.\n\nAnswer with a JSON object")


def test_case_58_knobs_are_sent_or_told() -> None:
    knobs = {
        "n": 2,
        "seed": 1,
        "logit_bias": {"1": 5},
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
        "user": "u",
        "service_tier": "flex",
    }
    body, out = written(foreign(knobs={**knobs, "top_k": 5, "verbosity": "low"}))
    assert {key: body[key] for key in knobs} == knobs
    assert out.dropped == ("top_k", "verbosity")
    assert written(foreign(knobs={"top_k": 5}), "qwen3", "top_k")[0]["top_k"] == 5
    assert written(foreign(knobs={"verbosity": "low"}), "gpt-5")[0]["verbosity"] == "low"


def test_knobs_of_others_are_said_in_openais_words() -> None:
    body, out = written(foreign(knobs={"user": "u" * 100, "service_tier": "standard_only"}))
    assert len(body["user"]) <= 64
    assert body["service_tier"] == "default"
    body, out = written(foreign(knobs={"service_tier": "auto"}))
    assert ("service_tier" in body, out.dropped) == (False, ())
    assert written(foreign(knobs={"service_tier": "batch"}))[1].dropped == ("service_tier",)


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
CLOSED = {**OPEN, "required": ["a"], "additionalProperties": False}
LIST = {"type": ["array", "null"], "items": {"type": "array"}, "default": [{"type": "array"}]}


@pytest.mark.parametrize(
    ("schema", "expected", "dropped"),
    [
        ({"type": "object"}, {"type": "object", "properties": {}}, ()),
        ({"properties": {}}, {"type": "object", "properties": {}}, ()),
        (CLOSED, CLOSED, ()),
        (
            {"type": "object", "properties": {"a": LIST, "b": {"anyOf": [{"type": "array"}]}}},
            {
                "type": "object",
                "properties": {
                    "a": {**LIST, "items": {"type": "array", "items": {}}},
                    "b": {"anyOf": [{"type": "array", "items": {}}]},
                },
            },
            (),
        ),
        (
            {"type": "object", "anyOf": [{"required": ["a"], "properties": {"a": {}}}], "not": {}},
            {"type": "object", "properties": {"a": {}}},
            ("tools.parameters",),
        ),
    ],
)
def test_case_36_a_schema_that_openai_would_refuse_is_made_one_that_it_takes(
    schema: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    body, out = written(foreign(tools=(Tool("f", schema=schema),)))
    assert body["tools"][0]["function"]["parameters"] == expected
    assert out.dropped == dropped
    own, _ = written(foreign(origin="openai_chat", tools=(Tool("f", schema=schema),)))
    assert own["tools"][0]["function"]["parameters"] == schema


@pytest.mark.parametrize(
    ("schema", "held"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        (OPEN, False),
        ({**CLOSED, "properties": {"a": {"type": "string", "minLength": 1}}}, False),
        ({**CLOSED, "properties": {"a": {"anyOf": [{"type": "string"}, OPEN]}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": CLOSED}}, True),
    ],
)
def test_what_openai_does_not_take_as_strict_is_not_called_so(schema: dict[str, Any], held: bool) -> None:
    tool, shape = Tool("f", schema=schema, strict=True), Shape("json_schema", schema)
    body, out = written(foreign(tools=(tool,), shape=shape))
    assert body["tools"][0]["function"].get("strict", False) is held
    assert body["response_format"]["json_schema"].get("strict", False) is held
    assert ("strict" in out.dropped) is not held
    theirs, _ = written(foreign(origin="openai_responses", shape=shape))
    assert "strict" not in theirs["response_format"]["json_schema"]


def test_a_shape_of_alternatives_is_not_called_strict() -> None:
    body, _ = written(foreign(shape=Shape("json_schema", {**CLOSED, "anyOf": [CLOSED]})))
    assert "strict" not in body["response_format"]["json_schema"]


def test_what_the_clients_format_alone_knows_is_told_by_its_name() -> None:
    request = foreign(extras={"anthropic": {"container": "c", "metadata": {}, "mcp_servers": []}})
    assert written(request)[1].dropped == ("container", "mcp_servers")


def test_a_custom_tool_is_a_function_with_one_argument_for_others() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    request = foreign(
        USER,
        assistant(ToolCall("c", "apply_patch", "*** Begin", custom=True)),
        user(ToolResult("c", (Text("ok"),), custom=True)),
        origin="openai_responses",
        tools=(Tool("apply_patch", "Edits files.", custom=True, grammar=grammar),),
        tool_choice=ToolChoice("named", "apply_patch"),
    )
    body, _ = written(request)
    function = body["tools"][0]["function"]
    assert function["parameters"]["required"] == ["input"]
    assert function["description"] == "Edits files.\n\nThe input must follow this grammar (lark):\nstart: /a/"
    assert body["tool_choice"] == {"type": "function", "function": {"name": "apply_patch"}}
    sent = body["messages"][1]["tool_calls"][0]["function"]
    assert orjson.loads(sent["arguments"]) == {"input": "*** Begin"}


def test_pictures_of_the_model_follow_in_a_users_message() -> None:
    history = messages(assistant(Text("Here:"), Media("image", "image/png", "AAAA")))
    assert history[0] == {"role": "assistant", "content": "Here:"}
    assert history[1]["role"] == "user"
    assert history[1]["content"][0]["type"] == "image_url"


def test_a_refusal_in_the_history_stays_one() -> None:
    assert messages(assistant(Refusal("No."))) == [{"role": "assistant", "content": None, "refusal": "No."}]


def test_a_stored_response_cannot_be_gone_on_from() -> None:
    with pytest.raises(CannotHold) as refused:
        written(foreign(previous_id="resp_1", origin="openai_responses"))
    assert refused.value.param == "previous_response_id"


@pytest.mark.parametrize(
    ("knob", "name"),
    [
        ("shape", "response_format"),
        ("parallel", "parallel_tool_calls"),
        ("seed", "seed"),
        ("effort", "reasoning_effort"),
    ],
)
def test_settings_are_named_as_clients_of_the_format_know_them(knob: str, name: str) -> None:
    assert CHAT.spelled(knob) == name


@pytest.mark.parametrize("knobs", [{"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}])
def test_case_58_probabilities_that_the_clients_format_has_no_place_for_are_not_asked(
    knobs: dict[str, Any],
) -> None:
    body, out = written(foreign(knobs=knobs), "gpt-4o")
    assert not body.keys() & {"logprobs", "top_logprobs"}
    assert out.dropped == tuple(knobs)


def test_case_58_no_probabilities_are_not_told_to_be_lost() -> None:
    body, out = written(foreign(knobs={"logprobs": False, "top_logprobs": 0}), "gpt-4o")
    assert (body.keys() & {"logprobs", "top_logprobs"}, out.dropped) == (set(), ())
