"""Tools, thinking, limits and shapes in Anthropic's requests: numbers are those of conversion.md's cases."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.wire.neutral.anthropic_asks import (
    OK,
    THINK,
    assistant,
    chat,
    read,
    say,
    system,
    user,
    write,
)
from wire.neutral.parts import (
    ToolCall,
    ToolResult,
)
from wire.neutral.requests import (
    BuiltIn,
    Effort,
    Shape,
    Target,
    Tool,
    ToolChoice,
)

# Tools


def test_case_38_what_is_to_be_called() -> None:
    for theirs, mode in (("auto", "auto"), ("any", "required"), ("none", "none")):
        request = read(tools=[{"name": "f", "input_schema": {}}], tool_choice={"type": theirs})
        assert request.tool_choice == ToolChoice(mode)  # type: ignore[arg-type]
        assert write(request)[0]["tool_choice"] == {"type": theirs}
    named = {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    request = read(tools=[{"name": "f", "input_schema": {}}], tool_choice=named)
    assert (request.tool_choice, request.parallel) == (ToolChoice("named", "f"), False)
    assert write(request)[0]["tool_choice"] == named


F, G = Tool("f"), Tool("g")


@pytest.mark.parametrize(
    ("choice", "parallel", "told"),
    [
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (None, None, None),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("none"), False, {"type": "none"}),
        (ToolChoice("named", "g"), True, {"type": "tool", "name": "g"}),
        (ToolChoice("named", "web_search"), None, None),
    ],
)
def test_case_38_and_whether_several_at_once(
    choice: ToolChoice | None, parallel: bool | None, told: dict[str, Any] | None
) -> None:
    body, _ = write(chat(user("go"), tools=(F, G), tool_choice=choice, parallel=parallel))
    assert body.get("tool_choice") == told


def test_case_38_of_tools_that_are_not_allowed_nobody_is_told() -> None:
    body, _ = write(chat(user("go"), tools=(F, G), tool_choice=ToolChoice("auto", names=("g",))))
    assert [tool["name"] for tool in body["tools"]] == ["g"]


@pytest.mark.parametrize("model", ["claude-opus-5-5", "claude-fable-5-1", "claude-sonnet-5-5"])
def test_case_38_models_that_cannot_be_forced_choose_and_the_client_is_told(model: str) -> None:
    body, written = write(chat(user("go"), tools=(F,), tool_choice=ToolChoice("required")), Target(model))
    assert body["tool_choice"] == {"type": "auto"}
    assert written.dropped == ("tool_choice",)


def test_case_38_a_forced_tool_goes_before_thoughts() -> None:
    request = chat(user("go"), tools=(F,), tool_choice=ToolChoice("required"), effort=Effort(level="high"))
    body, written = write(request)
    assert body["tool_choice"] == {"type": "any"}
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ("effort",)


def test_case_38_a_model_that_thinks_unasked_is_asked_not_to_where_a_tool_is_forced() -> None:
    request = chat(user("go"), tools=(F,), tool_choice=ToolChoice("required"))
    body, written = write(request, Target("claude-opus-5"))
    assert body["thinking"] == {"type": "disabled"}
    assert written.dropped == ()


def test_case_39_names_are_made_to_fit_and_known_again() -> None:
    odd, long = "mcp.server/tool name", "x" * 200
    request = chat(
        user("go"),
        assistant(ToolCall("a", odd)),
        user(ToolResult("a", OK)),
        tools=(Tool(odd), Tool(long), Tool("fine-1_")),
        tool_choice=ToolChoice("named", odd),
    )
    body, written = write(request)
    names = [tool["name"] for tool in body["tools"]]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,128}", name) for name in names)
    assert [written.names.get(name, name) for name in names] == [odd, long, "fine-1_"]
    assert body["tool_choice"]["name"] == body["messages"][1]["content"][0]["name"] == names[0]


def test_case_40_tools_that_the_vendor_runs_stay_in_the_family_and_others_are_told() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    request = read(tools=[search, {"name": "f", "input_schema": {"type": "object"}}])
    assert request.tools[0] == BuiltIn("anthropic", "web_search_20250305", search)
    assert write(request)[0]["tools"][0] == search
    foreign = BuiltIn("openai_responses", "web_search", {"type": "web_search"})
    body, written = write(chat(user("go"), tools=(foreign, F)))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert written.dropped == ("tools.web_search",)


def test_a_tool_without_a_schema_takes_nothing() -> None:
    body, _ = write(chat(user("go"), tools=(Tool("f", "Does it."),)))
    assert body["tools"] == [
        {"name": "f", "description": "Does it.", "input_schema": {"type": "object", "properties": {}}}
    ]


def test_alternatives_at_the_top_of_a_schema_are_loosened_and_told() -> None:
    schema = {
        "anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}, True],
        "properties": {"c": {}},
        "required": ["c"],
    }
    body, written = write(chat(user("go"), tools=(Tool("f", schema=schema),)))
    assert body["tools"][0]["input_schema"] == {
        "type": "object",
        "properties": {"a": {}, "b": {}, "c": {}},
        "required": ["c"],
    }
    assert written.dropped == ("tools.parameters",)


def test_a_tool_of_free_text_takes_one_string_and_its_grammar_is_told() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch"}
    body, _ = write(chat(user("go"), tools=(Tool("patch", custom=True, grammar=grammar),)))
    schema = body["tools"][0]["input_schema"]
    assert schema["required"] == ["input"]
    assert "start: begin_patch" in schema["properties"]["input"]["description"]


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
BOUND = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "model", "strict"),
    [
        (CLOSED, "claude-opus-4-5", True),
        (CLOSED, "claude-opus-4-1", False),
        (BOUND, "claude-opus-4-5", False),
        ({"type": "object"}, "claude-opus-4-5", False),
    ],
)
def test_strict_tools_stay_strict_where_the_vendor_could_hold_them(
    schema: dict[str, Any], model: str, strict: bool
) -> None:
    body, written = write(chat(user("go"), tools=(Tool("f", schema=schema, strict=True),)), Target(model))
    assert body["tools"][0].get("strict", False) is strict
    assert written.dropped == (() if strict else ("strict",))
    assert body["tools"][0]["input_schema"] == schema


def test_no_more_tools_are_strict_than_the_vendor_takes() -> None:
    tools = tuple(Tool(f"f{number}", schema=CLOSED, strict=True) for number in range(25))
    body, written = write(chat(user("go"), tools=tools))
    assert sum(tool.get("strict", False) for tool in body["tools"]) == 20
    assert written.dropped == ("strict",)


def test_calls_in_a_history_without_tools_get_their_tools_declared() -> None:
    body, _ = write(chat(user("go"), assistant(ToolCall("a", "f")), user(ToolResult("a", OK), "Sum up.")))
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}


# Thinking


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "word"),
    [
        ("claude-opus-4-5", Effort(level="low"), {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-opus-4-5", Effort(level="high"), {"type": "enabled", "budget_tokens": 24576}, None),
        ("glm-5", Effort(enabled=True), {"type": "enabled", "budget_tokens": 8192}, None),
        ("glm-5", Effort(budget=100), {"type": "enabled", "budget_tokens": 1024}, None),
        ("glm-5", Effort(enabled=True, budget=-1), {"type": "enabled", "budget_tokens": 8192}, None),
        ("claude-opus-4-6", Effort(level="xhigh"), {"type": "adaptive"}, "high"),
        ("claude-opus-4-6", Effort(level="max"), {"type": "adaptive"}, "max"),
        ("claude-opus-4-7", Effort(level="xhigh"), {"type": "adaptive"}, "xhigh"),
        ("claude-opus-4-7", Effort(level="minimal"), {"type": "adaptive"}, "low"),
        ("claude-opus-4-7", Effort(level="odd"), {"type": "adaptive"}, "medium"),
        ("claude-opus-5", Effort(budget=30_000), {"type": "adaptive"}, "high"),
        ("claude-opus-5", Effort(budget=-1, shown=True), {"type": "adaptive", "display": "summarized"}, None),
        ("claude-opus-5", Effort(shown=True), {"type": "adaptive", "display": "summarized"}, None),
        ("claude-opus-5", Effort(enabled=False), {"type": "disabled"}, None),
        ("claude-sonnet-5-5", Effort(enabled=False), {"type": "between_tools"}, None),
        ("claude-opus-4-5", Effort(shown=True), None, None),
        ("claude-3-5-haiku-20241022", Effort(enabled=False), None, None),
        ("claude-opus-5", None, None, None),
    ],
)
def test_case_46_how_much_to_think(
    model: str, effort: Effort | None, thinking: dict[str, Any] | None, word: str | None
) -> None:
    body, written = write(chat(user("go"), effort=effort), Target(model, 64_000))
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == word
    assert written.dropped == ()
    if thinking and thinking["type"] == "enabled":
        assert thinking["budget_tokens"] < body["max_tokens"]


@pytest.mark.parametrize(
    ("model", "effort", "word"),
    [
        ("claude-opus-5-5", Effort(enabled=False), "low"),
        ("claude-fable-5", Effort(enabled=False), "low"),
        ("claude-3-5-haiku-20241022", Effort(level="high"), None),
    ],
)
def test_case_46_what_a_model_cannot_do_is_told(model: str, effort: Effort, word: str | None) -> None:
    body, written = write(chat(user("go"), effort=effort), Target(model))
    assert "thinking" not in body
    assert body.get("output_config", {}).get("effort") == word
    assert written.dropped == ("effort",)


@pytest.mark.parametrize(
    ("limit", "effort", "budget"),
    [
        (4096, Effort(budget=9000), 4095),
        (4096, Effort(level="high"), 2048),
        (1500, Effort(level="high"), 1024),
        (1024, Effort(level="high"), None),
        (500, Effort(budget=9000), None),
    ],
)
def test_case_46_the_budget_is_within_the_limit_of_the_answer(
    limit: int, effort: Effort, budget: int | None
) -> None:
    body, written = write(chat(user("go"), effort=effort, max_tokens=limit))
    assert body["max_tokens"] == limit
    if budget is None:
        assert body["thinking"] == {"type": "disabled"}
        assert written.dropped == ("effort",)
    else:
        assert body["thinking"]["budget_tokens"] == budget


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 2048}, Effort(True, "", 2048)),
        ({"type": "adaptive", "display": "summarized"}, Effort(True, "", -1, True)),
        ({"type": "adaptive", "display": "omitted"}, Effort(True, "", -1, False)),
        ({"type": "disabled"}, Effort(False)),
        ({"type": "between_tools"}, Effort(False)),
    ],
)
def test_case_46_thinking_is_read(thinking: dict[str, Any], effort: Effort) -> None:
    assert read(thinking=thinking).effort == effort


def test_case_46_an_effort_alone_is_read_and_goes_back_alone() -> None:
    request = read(output_config={"effort": "xhigh"})
    assert request.effort == Effort(level="xhigh")
    body, _ = write(request, Target("claude-opus-4-8"))
    assert body["output_config"] == {"effort": "xhigh"}
    assert "thinking" not in body


# Settings


@pytest.mark.parametrize(
    ("model", "own", "asked", "limit"),
    [
        ("claude-opus-4-5", 64_000, None, 32_000),
        ("claude-opus-4-5", 16_000, None, 16_000),
        ("claude-3-opus-20240229", 64_000, None, 4_096),
        ("glm-5", 64_000, None, 32_000),
        ("claude-opus-4-5", 1, 50_000, 50_000),
        ("glm-5", 1, 500_000, 500_000),
    ],
)
def test_case_54_there_is_always_a_limit(model: str, own: int, asked: int | None, limit: int) -> None:
    body, written = write(chat(user("go"), max_tokens=asked), Target(model, own))
    assert body["max_tokens"] == limit
    assert written.dropped == ()


def test_case_54_a_limit_beyond_the_models_own_is_lowered_and_told() -> None:
    body, written = write(chat(user("go"), max_tokens=128_000))
    assert body["max_tokens"] == 64_000
    assert written.dropped == ("max_tokens",)


def test_case_55_stops_that_the_vendor_refuses_are_told() -> None:
    assert read(stop_sequences=["END"]).stop == ("END",)
    body, written = write(chat(user("go"), stop=("END", "\n")))
    assert body["stop_sequences"] == ["END"]
    assert written.dropped == ("stop",)


SAMPLING = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("model", "effort", "knobs", "kept", "dropped"),
    [
        ("glm-5", None, {"temperature": 0.3, "top_p": 0.5, "top_k": 4}, SAMPLING, ()),
        ("claude-opus-4-5", None, {"temperature": 0.3, "top_p": 0.5}, ("temperature",), ("top_p",)),
        ("claude-opus-4-5", None, {"temperature": 0.3, "top_p": 1}, ("temperature",), ()),
        ("claude-opus-4-5", THINK, {"temperature": 0.3, "top_k": 4}, (), ("temperature", "top_k")),
        ("claude-opus-4-5", THINK, {"temperature": 1}, ("temperature",), ()),
        ("claude-opus-4-5", THINK, {"top_p": 0.96}, ("top_p",), ()),
        ("claude-opus-4-5", THINK, {"top_p": 0.5}, (), ("top_p",)),
        ("claude-opus-4-7", None, {"temperature": 0, "top_p": 0.9, "top_k": 4}, (), SAMPLING),
        ("claude-opus-4-7", None, {"temperature": 1, "top_p": 1}, (), ()),
    ],
)
def test_case_56_sampling(
    model: str,
    effort: Effort | None,
    knobs: dict[str, Any],
    kept: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:
    body, written = write(chat(user("go"), knobs=knobs, effort=effort), Target(model))
    assert {name: body[name] for name in knobs if name in body} == {name: knobs[name] for name in kept}
    assert written.dropped == dropped


def test_case_56_a_temperature_beyond_one_is_one_and_told() -> None:
    body, written = write(chat(user("go"), knobs={"temperature": 1.7}))
    assert (body["temperature"], written.dropped) == (1, ("temperature",))


def test_case_58_settings_without_a_counterpart_are_told_unless_they_ask_for_nothing() -> None:
    knobs = {
        "n": 2,
        "seed": 1,
        "logprobs": True,
        "logit_bias": {"1": 2},
        "presence_penalty": 0.5,
        "verbosity": "low",
    }
    _, written = write(chat(user("go"), knobs=knobs))
    assert set(written.dropped) == set(knobs)
    nothing = {"n": 1, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0.0}
    assert write(chat(user("go"), knobs=nothing))[1].dropped == ()


def test_what_only_the_clients_format_knows_is_told_and_metadata_is_not() -> None:
    bag = {"openai_chat": {"prediction": {}, "store": True, "metadata": {"a": "b"}}}
    assert write(chat(user("go"), extras=bag))[1].dropped == ("prediction",)


@pytest.mark.parametrize(
    ("tier", "ours", "dropped"),
    [
        ("auto", "auto", ()),
        ("default", "standard_only", ()),
        ("flex", None, ("service_tier",)),
        ("priority", None, ("service_tier",)),
    ],
)
def test_tiers_of_service(tier: str, ours: str | None, dropped: tuple[str, ...]) -> None:
    body, written = write(chat(user("go"), knobs={"service_tier": tier}))
    assert (body.get("service_tier"), written.dropped) == (ours, dropped)


def test_the_end_user_is_told_by_an_id_that_fits() -> None:
    assert write(chat(user("go"), knobs={"user": "u-1"}))[0]["metadata"] == {"user_id": "u-1"}
    body, written = write(chat(user("go"), knobs={"user": "u" * 257}))
    assert "metadata" not in body
    assert written.dropped == ()
    assert read(metadata={"user_id": "u-1"}).knobs == {"user": "u-1"}


# The answer's shape

SHAPE = Shape("json_schema", CLOSED, "city", "A city.")
BOUND_SHAPE = Shape("json_schema", {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}})


def test_case_57_models_that_know_shapes_are_told_by_the_formats_own_word() -> None:
    body, written = write(chat(user("go"), shape=SHAPE))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": CLOSED}}
    assert (written.shaped_by, written.dropped) == ("", ())


def test_case_57_bounds_that_the_vendor_cannot_hold_are_words() -> None:
    body, _ = write(chat(user("go"), shape=BOUND_SHAPE))
    schema = body["output_config"]["format"]["schema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["n"] == {"type": "integer", "description": '{"minimum":1}'}


def test_case_57_other_models_call_a_tool_of_that_shape() -> None:
    body, written = write(chat(user("go"), shape=SHAPE), Target("claude-opus-4-1"))
    assert body["tools"] == [{"name": "city", "description": "A city.", "input_schema": CLOSED}]
    assert body["tool_choice"] == {"type": "tool", "name": "city"}
    assert (written.shaped_by, written.dropped) == ("city", ())


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, {"type": "any"}),
        (ToolChoice("auto"), {"type": "any"}),
        (ToolChoice("none"), {"type": "tool", "name": "city_"}),
    ],
)
def test_case_57_beside_tools_of_the_client_one_of_them_or_the_shape_is_called(
    choice: ToolChoice | None, told: dict[str, Any]
) -> None:
    tools = (Tool("city"),)
    body, written = write(chat(user("go"), shape=SHAPE, tools=tools, tool_choice=choice), Target("glm-5"))
    assert [tool["name"] for tool in body["tools"]] == ["city", "city_"]
    assert body["tool_choice"] == told
    assert written.shaped_by == "city_"


@pytest.mark.parametrize(
    ("shape", "effort", "model"),
    [
        (Shape("json_object"), None, "claude-opus-4-5"),
        (SHAPE, THINK, "glm-5"),
        (Shape("json_schema", {"type": "array"}), None, "glm-5"),
        (Shape("json_schema", {"type": "object", "additionalProperties": True}), None, "claude-opus-5-5"),
    ],
)
def test_case_57_else_the_model_is_asked_and_the_client_told(
    shape: Shape, effort: Effort | None, model: str
) -> None:
    request = chat(system("Be brief."), user("go"), shape=shape, effort=effort)
    body, written = write(request, Target(model))
    assert body["system"][0] == say("Be brief.")
    assert "JSON" in body["system"][1]["text"]
    assert (written.shaped_by, written.dropped) == ("", ("shape",))


def test_case_57_what_the_format_was_called_before_is_read() -> None:
    schema = {"type": "json_schema", "schema": CLOSED}
    assert read(output_format=schema).shape == read(output_config={"format": schema}).shape
    assert read(output_format=schema).shape == Shape("json_schema", CLOSED)
