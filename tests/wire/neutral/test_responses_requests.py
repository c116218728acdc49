"""Requests in OpenAI Responses, both ways, case by case of conversion.md."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.neutral import strategies_responses as strategies
from tests.wire.neutral.responses_kit import ORIGIN, RESPONSES, read, written
from wire import DIALECTS
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
from wire.neutral.requests import (
    BuiltIn,
    CannotHold,
    Effort,
    Request,
    Shape,
    Target,
    Tool,
    ToolChoice,
)
from wire.neutral.seals import sealed
from wire.types import BadRequest, Brief

USER = Turn("user", (Text("hi"),))


def of_others(*turns: Turn, **fields: Any) -> Request:
    """A request that came in another format."""
    return Request("anthropic", "m", turns or (USER,), **fields)


def dropped(request: Request) -> tuple[str, ...]:
    return RESPONSES.write_request(request, Target("up")).dropped


def turns(*items: dict[str, Any], **fields: Any) -> tuple[Turn, ...]:
    return read(input=list(items), **fields).turns


def say(text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def call(call_id: str = "c1", name: str = "f") -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": "{}"}


def output(call_id: str = "c1", text: str = "ok") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


# Reading.


def test_a_string_is_what_the_user_says() -> None:
    assert read(input="hi").turns == (USER,)


def test_what_the_model_made_is_one_turn_and_results_are_one() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    told = turns(
        say("hi"), thought, say("Wait.", "assistant"), call("a"), call("b"), output("a"), output("b")
    )
    assert [(turn.role, len(turn.parts)) for turn in told] == [("user", 1), ("assistant", 4), ("user", 2)]
    assert told[1].parts[0] == Thinking("", Signature(ORIGIN, "gAAA", "rs_1"))
    assert told[1].parts[2] == ToolCall("a", "f", "{}")
    assert told[2].parts[1] == ToolResult("b", (Text("ok"),))


def test_case_50_instructions_and_messages_of_the_system_keep_their_order() -> None:
    told = turns(say("a", "developer"), say("hi"), say("b", "system"), instructions="Be brief.")
    assert [(turn.role, turn.parts[0]) for turn in told] == [
        ("system", Text("Be brief.")),
        ("system", Text("a")),
        ("user", Text("hi")),
        ("system", Text("b")),
    ]


def test_content_of_every_kind_is_read() -> None:
    content = [
        {"type": "input_text", "text": "a"},
        {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "low"},
        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
        {"type": "input_image", "file_id": "file_1"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"},
        {"type": "input_file", "file_data": "aGk=", "filename": "a.csv"},
        {"type": "input_file", "file_url": "https://x.example/a.pdf"},
        {"type": "input_file", "file_id": "file_2"},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "mp3"}},
        {"type": "input_audio", "audio_url": "data:audio/wav;base64,aGk="},
        {"type": "input_hologram", "x": 1},
    ]
    expected: tuple[Part, ...] = (
        Text("a"),
        Media("image", url="https://x.example/a.png", detail="low"),
        Media("image", "image/png", "aGk="),
        Media("image", file_id="file_1"),
        Media("document", "application/pdf", "aGk=", name="a.pdf"),
        Media("document", "text/csv", "aGk=", name="a.csv"),
        Media("document", url="https://x.example/a.pdf"),
        Media("document", file_id="file_2"),
        Media("audio", "audio/mpeg", "aGk="),
        Media("audio", "audio/wav", "aGk=", extras={ORIGIN: {"audio_url": True}}),
        Foreign(ORIGIN, {"type": "input_hologram", "x": 1}),
    )
    assert turns({"role": "user", "content": content})[0].parts == expected


def test_case_34_a_result_may_hold_pictures() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,aGk="}
    item = {**output(), "output": [{"type": "input_text", "text": "see"}, picture]}
    assert turns(call(), item)[1].parts == (
        ToolResult("c1", (Text("see"), Media("image", "image/png", "aGk="))),
    )


def test_refusals_and_phases_are_kept() -> None:
    item = {
        "type": "message",
        "role": "assistant",
        "id": "msg_1",
        "phase": "commentary",
        "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}],
    }
    about = {ORIGIN: {"@message": {"id": "msg_1", "phase": "commentary"}}}
    assert turns(item)[0].parts == (Text("a", extras=about), Refusal("b"))


def test_free_text_tools_and_their_calls_are_read() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    request = read(
        tools=[{"type": "custom", "name": "apply_patch", "description": "d", "format": grammar}],
        input=[
            {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "*** x"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        ],
    )
    assert request.tools == (Tool("apply_patch", "d", custom=True, grammar=grammar),)
    assert request.turns[0].parts == (ToolCall("c", "apply_patch", "*** x", custom=True),)
    assert request.turns[1].parts == (ToolResult("c", (Text("done"),), custom=True),)


def test_tools_of_a_namespace_are_known_by_both_names() -> None:
    request = read(
        tools=[
            {
                "type": "namespace",
                "name": "mcp__docs__",
                "description": "d",
                "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
            },
            {
                "type": "namespace",
                "name": "functions",
                "description": "d",
                "tools": [{"type": "function", "name": "shell", "parameters": {"type": "object"}}],
            },
        ],
        input=[{**call(name="find"), "namespace": "mcp__docs__"}],
        tool_choice={"type": "function", "name": "find", "namespace": "mcp__docs__"},
    )
    assert [tool.name for tool in request.tools if isinstance(tool, Tool)] == ["mcp__docs__find", "shell"]
    (called,) = request.turns[0].parts
    assert isinstance(called, ToolCall)
    assert called.name == "mcp__docs__find"
    assert request.tool_choice == ToolChoice("named", "mcp__docs__find")


def test_tools_that_the_client_runs_are_functions_to_everybody_else() -> None:
    action = {"type": "exec", "command": ["ls"], "timeout_ms": 5}
    request = read(
        tools=[{"type": "local_shell"}, {"type": "tool_search", "execution": "client", "description": "d"}],
        input=[
            {"type": "local_shell_call", "call_id": "a", "status": "completed", "action": action},
            {"type": "local_shell_call_output", "call_id": "a", "output": "x"},
            {"type": "tool_search_call", "call_id": "b", "execution": "client", "arguments": {"query": "q"}},
            {
                "type": "tool_search_output",
                "call_id": "b",
                "status": "completed",
                "execution": "client",
                "tools": [{"type": "function", "name": "late", "description": "e", "parameters": {}}],
            },
        ],
    )
    assert [tool.name for tool in request.tools if isinstance(tool, Tool)] == [
        "local_shell",
        "tool_search",
        "late",
    ]
    shell, result, search, found = (turn.parts[0] for turn in request.turns)
    assert isinstance(shell, ToolCall)
    assert (shell.name, json.loads(shell.arguments)) == ("local_shell", {"command": ["ls"], "timeout_ms": 5})
    assert isinstance(result, ToolResult)
    assert (result.call_id, result.parts) == ("a", (Text("x"),))
    assert isinstance(search, ToolCall)
    assert (search.id, search.name, search.arguments) == ("b", "tool_search", '{"query":"q"}')
    assert isinstance(found, ToolResult)
    assert found.parts == (Text('{"tools":[{"name":"late","description":"e"}]}'),)


def test_tools_among_the_items_are_tools_and_go_back_there() -> None:
    more = {
        "type": "additional_tools",
        "role": "developer",
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
    }
    body = {"input": [say("a"), more, say("b"), call(), output()]}
    request = read(**body)
    assert [tool.name for tool in request.tools if isinstance(tool, Tool)] == ["f"]
    assert written(request)["input"] == body["input"]
    assert "tools" not in written(request)


def test_a_prompt_that_openai_keeps_is_nobody_elses() -> None:
    request = read(input="hi", prompt={"id": "pmpt_1"})
    assert written(request)["prompt"] == {"id": "pmpt_1"}
    for name in ("anthropic", "openai_chat"):
        with pytest.raises(CannotHold):
            DIALECTS[name].write_request(request, Target("m"))


def test_case_40_built_in_tools_and_their_calls_are_held_as_they_are() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    request = read(tools=[{"type": "web_search"}], input=[say("hi"), search, say("Rain.", "assistant")])
    assert request.tools == (BuiltIn(ORIGIN, "web_search", {"type": "web_search"}),)
    assert request.turns[1].parts[0] == Foreign(ORIGIN, search)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice("auto")),
        ("none", ToolChoice("none")),
        ("required", ToolChoice("required")),
        ({"type": "function", "name": "f"}, ToolChoice("named", "f")),
        ({"type": "custom", "name": "f"}, ToolChoice("named", "f")),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            ToolChoice("required", names=("f",)),
        ),
        ({"type": "web_search_preview"}, None),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]}, None),
    ],
)
def test_case_38_what_may_be_called_is_read(choice: Any, expected: ToolChoice | None) -> None:
    request = read(input="hi", tool_choice=choice, parallel_tool_calls=False)
    assert (request.tool_choice, request.parallel) == (expected, False)
    if expected is None:
        assert request.extras[ORIGIN]["tool_choice"] == choice


@pytest.mark.parametrize(
    ("reasoning", "effort"),
    [
        ({"effort": "high", "summary": "auto"}, Effort(enabled=True, level="high", shown=True)),
        ({"effort": "none"}, Effort(enabled=False)),
        ({"summary": "detailed"}, Effort(shown=True)),
        ({"effort": "low", "summary": None}, Effort(enabled=True, level="low")),
        ({}, None),
        (None, None),
    ],
)
def test_case_46_effort_is_read(reasoning: Any, effort: Effort | None) -> None:
    assert read(input="hi", reasoning=reasoning).effort == effort


def test_case_57_the_shape_of_the_answer_is_read() -> None:
    schema = {"type": "object", "properties": {}}
    asked = {"type": "json_schema", "name": "x", "schema": schema, "strict": True, "description": "d"}
    request = read(input="hi", text={"format": asked, "verbosity": "low"})
    assert request.shape == Shape("json_schema", schema, "x", "d", True)
    assert request.knobs["verbosity"] == "low"
    assert read(input="hi", text={"format": {"type": "json_object"}}).shape == Shape("json_object")
    assert read(input="hi", text={"format": {"type": "text"}}).shape is None


def test_case_54_and_58_settings_are_read_by_the_middles_names() -> None:
    request = read(
        input="hi",
        max_output_tokens=9,
        temperature=0.5,
        top_p=1,
        top_logprobs=3,
        user="u",
        service_tier="flex",
        previous_response_id="resp_1",
        prompt_cache_key="k",
        truncation="disabled",
        background=False,
        metadata=None,
        stream=True,
    )
    assert (request.max_tokens, request.previous_id, request.stream) == (9, "resp_1", True)
    expected = {"temperature": 0.5, "top_p": 1, "top_logprobs": 3, "user": "u", "service_tier": "flex"}
    assert request.knobs == expected
    assert request.extras == {ORIGIN: {"prompt_cache_key": "k"}}


def reasoning(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], **fields}


def test_case_44_a_sealed_foreign_signature_comes_back_as_it_was() -> None:
    theirs = Signature("anthropic", "sig")
    (turn,) = turns(reasoning(encrypted_content=sealed(theirs)), say("x", "assistant"))
    assert turn.parts[0] == Thinking("Hm", theirs)


def test_case_43_a_signature_that_stood_before_its_call_is_the_calls() -> None:
    theirs = Signature("gemini", "sig")
    item = {"type": "reasoning", "summary": [], "encrypted_content": sealed(theirs, "next")}
    (turn,) = turns(item, call("a"), call("b"))
    assert turn.parts == (ToolCall("a", "f", "{}", signature=theirs), ToolCall("b", "f", "{}"))


def test_a_broken_seal_is_nobodys() -> None:
    broken = sealed(Signature("anthropic", "sig"))[:-6]
    (turn,) = turns(reasoning(encrypted_content=broken), say("x", "assistant"))
    assert turn.parts[0] == Thinking("Hm", Signature("", ""))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": ["x"]}, "input.0"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": 5}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        ({"input": [{"role": "user", "content": [{}]}]}, "input.0.content.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content.0.image_url"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input.0.content.0"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call", "call_id": "f", "arguments": "{}"}]}, "input.0.name"),
        ({"input": [{"type": "function_call_output", "call_id": "f", "output": {}}]}, "input.0.output"),
        ({"input": [{"type": "reasoning", "encrypted_content": 5}]}, "input.0.encrypted_content"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input.0.summary"),
        ({"input": "x", "instructions": ["x"]}, "instructions"),
        ({"input": "x", "tools": {}}, "tools"),
        ({"input": "x", "tools": [5]}, "tools.0"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools.0.name"),
        (
            {"input": "x", "tools": [{"type": "function", "name": "f", "parameters": []}]},
            "tools.0.parameters",
        ),
        ({"input": "x", "temperature": "hot"}, "temperature"),
        ({"input": "x", "max_output_tokens": "9"}, "max_output_tokens"),
        ({"input": "x", "parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"input": "x", "reasoning": "high"}, "reasoning"),
        ({"input": "x", "text": "json"}, "text"),
        ({"input": "x", "text": {"format": "json"}}, "text.format"),
        ({"input": "x", "user": 5}, "user"),
    ],
)
def test_a_broken_request_is_refused_by_the_fields_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)
    assert refused.value.param == param
    assert f"'{param}'" in refused.value.text


KINDS = ["message", "function", "custom", "namespace", "input_text", "json_schema"]
KEYS = (
    *("type", "role", "content", "text", "name", "call_id", "output", "summary", "tools", "format"),
    *("arguments", "action", "id", "encrypted_content", "namespace", "parameters", "input"),
)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(KINDS))
JUNK = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = [
    "input",
    "tools",
    "tool_choice",
    "reasoning",
    "text",
    "instructions",
    "temperature",
    "include",
    "metadata",
]


@settings(max_examples=count(50, 5000), deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), st.one_of(JUNK, st.lists(JUNK, max_size=3))))
def test_a_hostile_request_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        request = read(**fields)
    except BadRequest:
        return
    written(request)


@settings(max_examples=count(30, 2000), deadline=None)
@given(st.sampled_from(strategies.ITEM_TYPES), JUNK)
def test_a_hostile_item_is_read_or_refused(kind: str, junk: Any) -> None:
    item = (
        {**junk, "type": kind} if isinstance(junk, dict) else {"type": kind, "output": junk, "call_id": junk}
    )
    try:
        request = read(input=[item])
    except BadRequest:
        return
    written(request)


PICTURE = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="}


@pytest.mark.parametrize(
    ("form", "mime"),
    [(None, "image/png"), ("webp", "image/webp"), ("jpeg", "image/jpeg"), ("svg", "image/svg+xml")],
)
def test_a_picture_that_the_model_made_is_a_picture_and_goes_back_as_it_was(
    form: str | None, mime: str
) -> None:
    item = PICTURE if form is None else {**PICTURE, "output_format": form}
    request = read(input=[say("draw"), item, say("Here.", "assistant")])
    made = request.turns[1].parts[0]
    assert isinstance(made, Media)
    assert (made.kind, made.mime, made.data) == ("image", mime, "aGk=")
    assert written(request)["input"][1] == item


def test_a_picture_that_came_to_nothing_is_the_vendors_own() -> None:
    item = {**PICTURE, "result": None, "status": "failed"}
    request = read(input=[say("draw"), item])
    assert request.turns[1].parts == (Foreign(ORIGIN, item),)


def test_a_reference_that_does_not_say_what_it_is_goes_back_as_it_was() -> None:
    assert written(read(input=[{"id": "msg_1"}]))["input"] == [{"id": "msg_1"}]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"a":' * 2000])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        RESPONSES.read_request(body, Brief("m"))


# And back.


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """A request in one of the ways in which it can be said."""
    told = {key: value for key, value in body.items() if key != "stream" or value}
    if isinstance(told["input"], str):
        told["input"] = [{"role": "user", "content": told["input"]}]
    told["input"] = [
        _normal_item(item) for item in told["input"] if item["type" if "type" in item else "role"]
    ]
    if not told.get("tools"):
        told.pop("tools", None)
    return told


def _normal_item(item: dict[str, Any]) -> dict[str, Any]:
    told = {"type": "message", **item}
    if told["type"] == "message" and isinstance(told["content"], str):
        kind = "output_text" if told["role"] == "assistant" else "input_text"
        told["content"] = [{"type": kind, "text": told["content"]}]
    return told


@settings(max_examples=count(50, 5000), deadline=None)
@given(strategies.requests)
def test_what_a_client_says_goes_back_as_it_was(body: dict[str, Any]) -> None:
    request = read(**body)
    again = written(request, Target("m"))
    assert normal(again) == normal(body)
    assert read(**again) == request


# Writing what came in another format.


def test_a_first_system_message_is_instructions_and_others_stand_where_they_stood() -> None:
    body = written(
        of_others(Turn("system", (Text("Be."),)), USER, Turn("system", (Text("a"), Text("b"))), USER)
    )
    assert body["instructions"] == "Be."
    assert body["input"] == [
        say("hi"),
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}],
        },
        say("hi"),
    ]


def test_a_system_message_alone_is_the_input_which_must_not_be_empty() -> None:
    body = written(of_others(Turn("system", (Text("Be."),))))
    assert "instructions" not in body
    assert body["input"] == [say("Be.", "system")]


def test_case_65_nothing_is_stored_and_reasoning_comes_sealed_where_thinking_is_asked() -> None:
    request = of_others(effort=Effort(enabled=True, budget=9000, shown=True), stream=True)
    body = written(request)
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])
    assert body["reasoning"] == {"effort": "high", "summary": "auto"}
    assert body["stream"] is True
    plain = written(of_others())
    assert (plain["store"], "include" in plain, "reasoning" in plain) == (False, False, False)
    assert "include" in written(of_others(), Target("gpt-5.2"))
    assert "include" not in written(request, Target("gpt-4.1"))


def test_case_65_reasoning_of_openais_own_in_the_history_asks_for_more() -> None:
    own = Thinking("Hm", Signature(ORIGIN, "gAAA", "rs_1"))
    body = written(of_others(USER, Turn("assistant", (own, Text("x"))), USER))
    assert body["include"] == ["reasoning.encrypted_content"]
    assert body["input"][1] == reasoning(encrypted_content="gAAA")


@pytest.mark.parametrize(
    ("effort", "told"),
    [
        (Effort(enabled=True, level="low"), {"effort": "low"}),
        (Effort(enabled=True, level="max"), {"effort": "high"}),
        (Effort(enabled=False), {"effort": "none"}),
        (Effort(enabled=True, level="enormous"), {"effort": "medium"}),
        (Effort(enabled=True, budget=1024), {"effort": "low"}),
        (Effort(enabled=True, budget=-1), {"effort": "medium"}),
        (Effort(enabled=True), None),
        (Effort(), None),
    ],
)
def test_case_46_effort_is_written_in_words(effort: Effort, told: Any) -> None:
    request = Request("openai_chat", "m", (USER,), effort=effort)
    assert written(request).get("reasoning") == told


@pytest.mark.parametrize(
    ("origin", "effort", "asked"),
    [
        ("anthropic", Effort(enabled=True, budget=2000), True),
        ("anthropic", Effort(enabled=True, budget=2000, shown=False), False),
        ("anthropic", Effort(level="high"), False),
        ("anthropic", Effort(enabled=False), False),
        ("gemini", Effort(enabled=True, budget=2000, shown=True), True),
        ("gemini", Effort(enabled=True, budget=2000), False),
        ("openai_chat", Effort(enabled=True, level="high"), False),
    ],
)
def test_case_46_a_summary_is_asked_for_where_the_client_is_to_see_thoughts(
    origin: str, effort: Effort, asked: bool
) -> None:
    request = msgspec.structs.replace(of_others(effort=effort), origin=origin)
    assert (written(request)["reasoning"].get("summary") == "auto") == asked


def test_an_endpoint_that_refuses_summaries_is_not_asked_for_one_and_the_client_is_told() -> None:
    request = of_others(effort=Effort(enabled=True, level="high", shown=True))
    outcome = RESPONSES.write_request(request, Target("gpt-5", quirks=frozenset({"no_reasoning_summary"})))
    assert json.loads(outcome.body)["reasoning"] == {"effort": "high"}
    assert outcome.dropped == ("effort",)


@pytest.mark.parametrize(
    ("model", "effort", "told", "lost"),
    [
        ("gpt-5.2", Effort(enabled=True, level="max"), "xhigh", ()),
        ("gpt-5", Effort(enabled=True, level="minimal"), "minimal", ()),
        ("gpt-5", Effort(enabled=False), "minimal", ("effort",)),
        ("gpt-5.1", Effort(enabled=False), "none", ()),
        ("o3", Effort(enabled=True, level="xhigh"), "high", ()),
        ("gpt-4.1", Effort(enabled=True, level="high"), None, ("effort",)),
        ("gpt-4.1", Effort(enabled=False), None, ()),
    ],
)
def test_case_46_every_model_is_told_an_effort_that_it_knows(
    model: str, effort: Effort, told: str | None, lost: tuple[str, ...]
) -> None:
    outcome = RESPONSES.write_request(of_others(effort=effort), Target(model))
    assert json.loads(outcome.body).get("reasoning", {}).get("effort") == told
    assert outcome.dropped == lost


@pytest.mark.parametrize(
    ("ident", "signature"),
    [("rs_1", Signature(ORIGIN, "", "rs_1")), ("rs_aether0100", None), (None, None)],
)
def test_case_47_thoughts_that_the_relay_told_of_a_vendor_without_signatures_are_not_openais(
    ident: str | None, signature: Signature | None
) -> None:
    item = {"type": "reasoning", "id": ident, "summary": [{"type": "summary_text", "text": "Hm"}]}
    assert turns(item)[0].parts == (Thinking("Hm", signature),)


@pytest.mark.parametrize(
    "thinking",
    [
        Thinking("Hm", Signature("anthropic", "sig")),
        Thinking("Hm", Signature("", "")),
        Thinking("Hm"),
    ],
)
def test_case_44_and_47_thoughts_of_others_do_not_go_back(thinking: Thinking) -> None:
    body = written(of_others(USER, Turn("assistant", (thinking, Text("x"))), USER))
    assert [item["type"] for item in body["input"]] == ["message"] * 3


def test_case_65_reasoning_stands_right_before_what_it_led_to_or_not_at_all() -> None:
    own = Thinking("Hm", Signature(ORIGIN, "gAAA", "rs_1"))
    body = written(
        of_others(
            USER,
            Turn("assistant", (own, own, ToolCall("c", "f", "{}"), own)),
            Turn("user", (ToolResult("c", (Text("ok"),)),)),
            Turn("assistant", (own,)),
        )
    )
    assert [item["type"] for item in body["input"]] == [
        "message",
        "reasoning",
        "reasoning",
        "function_call",
        "function_call_output",
    ]


def test_case_65_ids_of_the_relays_own_making_are_not_sent() -> None:
    ours = {**say("x", "assistant"), "id": "msg_aether00"}
    theirs = {**say("y", "assistant"), "id": "msg_1"}
    told = written(read(input=[say("hi"), ours, theirs, {**call(), "id": "fc_aether01"}, output()]))["input"]
    assert [item.get("id") for item in told] == [None, None, "msg_1", None, None]


def test_case_36_a_schema_that_openai_would_refuse_is_made_one_that_it_takes() -> None:
    listed = {"type": "object", "properties": {"a": {"type": "array"}}}
    request = of_others(
        tools=(Tool("f", schema={"type": "object"}), Tool("g", schema=listed, strict=True)),
        shape=Shape("json_schema", {"type": "object", "properties": {}, "additionalProperties": False}),
    )
    body = written(request)
    assert [tool["parameters"] for tool in body["tools"]] == [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {}}}},
    ]
    assert [tool["strict"] for tool in body["tools"]] == [False, False]
    assert body["text"]["format"]["strict"] is True
    assert dropped(request) == ("strict",)


def test_functions_of_others_are_not_strict_unless_they_say_so() -> None:
    tools = (Tool("a", "d", {"type": "object"}), Tool("b", strict=True), Tool("c", custom=True))
    assert written(of_others(tools=tools))["tools"] == [
        {
            "type": "function",
            "name": "a",
            "description": "d",
            "strict": False,
            "parameters": {"type": "object", "properties": {}},
        },
        {"type": "function", "name": "b", "strict": True, "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "c"},
    ]


def test_case_39_names_that_do_not_fit_are_changed_and_changed_back() -> None:
    name = "ünfit.name"
    request = of_others(
        USER,
        Turn("assistant", (ToolCall("c", name, "{}"),)),
        Turn("user", (ToolResult("c", (Text("ok"),)),)),
        tools=(Tool(name),),
        tool_choice=ToolChoice("named", name),
    )
    outcome = RESPONSES.write_request(request, Target("up"))
    body = json.loads(outcome.body)
    (fit,) = outcome.names
    assert outcome.names[fit] == name
    assert body["tools"][0]["name"] == body["tool_choice"]["name"] == body["input"][1]["name"] == fit
    assert fit.isascii()


def test_call_ids_have_at_most_64_characters_and_still_pair() -> None:
    long = "toolu_" + "x" * 90
    body = written(
        of_others(
            USER,
            Turn("assistant", (ToolCall(long, "f", "{}"), ToolCall("short", "f"))),
            Turn("user", (ToolResult(long, (Text("ok"),)), ToolResult("short"))),
        )
    )
    items = body["input"][1:]
    assert items[0]["call_id"] == items[2]["call_id"]
    assert len(items[0]["call_id"]) <= 64
    assert (items[1]["call_id"], items[1]["arguments"], items[3]["output"]) == ("short", "{}", "")


def test_case_32_a_result_without_its_call_is_said_by_the_user() -> None:
    body = written(of_others(USER, Turn("user", (ToolResult("gone", (Text("ok"),)),))))
    texts = ["Result of the tool call gone:", "ok"]
    content = [{"type": "input_text", "text": text} for text in texts]
    assert body["input"] == [say("hi"), {"type": "message", "role": "user", "content": content}]


def test_case_33_a_call_without_a_result_gets_one_that_says_so() -> None:
    body = written(of_others(USER, Turn("assistant", (ToolCall("c", "f", "{}"),)), USER))
    assert [item["type"] for item in body["input"]] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert (body["input"][2]["call_id"], body["input"][2]["output"]) == ("c", "(no result)")


def test_a_failed_result_is_told_as_incomplete() -> None:
    request = of_others(
        USER,
        Turn("assistant", (ToolCall("c", "f"),)),
        Turn("user", (ToolResult("c", (Text("no"),), failed=True),)),
    )
    body = written(request)
    assert body["input"][2]["status"] == "incomplete"
    result = read(input=body["input"]).turns[2].parts[0]
    assert isinstance(result, ToolResult)
    assert result.failed


def test_case_48_and_49_pictures_and_documents_are_told() -> None:
    user = Turn(
        "user",
        (
            Text("see"),
            Media("image", "image/png", "aGk=", detail="high"),
            Media("image", url="https://x.example/a.png"),
            Media("document", "application/pdf", "aGk="),
            Media("document", "application/pdf", "aGk=", name="a.pdf"),
            Media("document", url="https://x.example/a.pdf"),
        ),
    )
    assert written(of_others(user))["input"][0]["content"][1:] == [
        {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "high"},
        {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "auto"},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="},
        {"type": "input_file", "file_url": "https://x.example/a.pdf"},
    ]


def test_case_34_a_result_with_a_picture_holds_it() -> None:
    body = written(
        of_others(
            USER,
            Turn("assistant", (ToolCall("c", "f"),)),
            Turn("user", (ToolResult("c", (Text("see"), Media("image", "image/png", "aGk="))),)),
        )
    )
    assert [part["type"] for part in body["input"][2]["output"]] == ["input_text", "input_image"]


@pytest.mark.parametrize(
    "part",
    [
        Media("audio", "audio/wav", "aGk="),
        Media("video", "video/mp4", "aGk="),
        Media("image", file_id="file_1"),
        Foreign("anthropic", {"type": "server_tool_use"}),
    ],
)
def test_case_49_what_responses_cannot_hold_is_refused_by_its_place(part: Part) -> None:
    with pytest.raises(CannotHold) as refused:
        written(of_others(USER, Turn("user", (Text("x"), part))))
    assert refused.value.param == "messages.1.content.1"


def test_case_58_settings_without_a_counterpart_are_dropped_and_told() -> None:
    knobs = {"seed": 1, "n": 2, "top_k": 5, "logprobs": True, "temperature": 0.5, "verbosity": "low"}
    request = of_others(
        knobs=knobs, stop=("END",), extras={"anthropic": {"metadata": {}, "container": "x"}}, cache="5m"
    )
    assert dropped(request) == ("verbosity", "seed", "n", "top_k", "logprobs", "stop", "container")
    assert written(request)["temperature"] == 0.5
    assert written(request, Target("gpt-5.2"))["text"] == {"verbosity": "low"}


def test_case_56_models_that_reason_are_told_no_temperature() -> None:
    model = Target("gpt-5.2")
    usual = of_others(knobs={"temperature": 1.0, "top_p": 1})
    assert RESPONSES.write_request(usual, model).dropped == ()
    outcome = RESPONSES.write_request(of_others(knobs={"temperature": 0.3, "top_p": 0.9}), model)
    assert outcome.dropped == ("temperature", "top_p")
    assert "temperature" not in json.loads(outcome.body)


def test_users_and_tiers_are_told_as_openai_takes_them() -> None:
    body = written(of_others(knobs={"user": "u" * 90, "service_tier": "standard_only"}))
    assert len(body["user"]) == 64
    assert body["service_tier"] == "default"
    assert dropped(of_others(knobs={"service_tier": "batch"})) == ("service_tier",)


def test_a_picture_of_the_models_stands_behind_its_message() -> None:
    model = Turn("assistant", (Text("see"), Media("image", "image/png", "aGk=")))
    items = written(of_others(USER, model, USER))["input"]
    assert [item["role"] for item in items] == ["user", "assistant", "user", "user"]
    assert items[1]["content"] == "see"
    assert [part["type"] for part in items[2]["content"]] == ["input_image"]


def test_case_35_words_of_the_model_that_are_none_are_left_out() -> None:
    model = Turn("assistant", (Text(""), ToolCall("c1", "f", "{}")))
    items = written(of_others(USER, model))["input"]
    assert [item["type"] for item in items] == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", "web_search")])
def test_case_40_a_tool_that_must_be_called_but_is_left_out_is_told(choice: ToolChoice) -> None:
    request = of_others(tools=(BuiltIn("anthropic", "web_search_20250305", {}),), tool_choice=choice)
    assert "tool_choice" not in written(request)
    assert dropped(request) == ("tools.web_search_20250305", "tool_choice")


@pytest.mark.parametrize("choice", [ToolChoice("auto"), ToolChoice("none")])
def test_case_40_a_choice_that_nothing_is_lost_of_is_not_told(choice: ToolChoice) -> None:
    assert dropped(of_others(tool_choice=choice)) == ()


def test_the_models_words_are_a_string_where_they_are_one_text_and_a_list_where_they_are_several() -> None:
    two = Turn("assistant", (Text("a"), Text("b")))
    items = written(of_others(USER, Turn("assistant", (Text("a"),)), USER, two))["input"]
    assert items[1] == {"type": "message", "role": "assistant", "content": "a"}
    assert [part["text"] for part in items[3]["content"]] == ["a", "b"]


def test_case_54_a_limit_below_openais_least_is_raised_and_told() -> None:
    request = of_others(max_tokens=1)
    assert written(request)["max_output_tokens"] == 16
    assert dropped(request) == ("max_tokens",)
    assert dropped(of_others(max_tokens=16)) == ()


def test_case_40_built_in_tools_of_others_are_dropped_and_told() -> None:
    request = of_others(tools=(Tool("f"), BuiltIn("anthropic", "web_search_20250305", {})))
    assert [tool["name"] for tool in written(request)["tools"]] == ["f"]
    assert dropped(request) == ("tools.web_search_20250305",)


def test_what_chat_says_in_the_same_words_is_kept() -> None:
    request = Request(
        "openai_chat",
        "m",
        (USER,),
        knobs={"service_tier": "flex", "user": "u"},
        extras={"openai_chat": {"store": True, "metadata": {"a": "b"}, "prediction": {}}},
    )
    body = written(request)
    assert (body["store"], body["metadata"], body["service_tier"], body["user"]) == (
        True,
        {"a": "b"},
        "flex",
        "u",
    )
    assert dropped(request) == ("prediction",)


def test_case_57_the_shape_of_the_answer_is_written() -> None:
    schema = {"type": "object"}
    body = written(of_others(shape=Shape("json_schema", schema, "My answer", strict=True)))
    assert body["text"]["format"]["name"].startswith("My_answer_")
    assert (body["text"]["format"]["schema"], body["text"]["format"]["strict"]) == (schema, True)
    assert written(of_others(shape=Shape("json_object")))["text"] == {"format": {"type": "json_object"}}


def test_case_38_choices_are_written() -> None:
    tools = (Tool("f"), Tool("p", custom=True))
    for choice, told in (
        (ToolChoice("required"), "required"),
        (ToolChoice("named", "f"), {"type": "function", "name": "f"}),
        (ToolChoice("named", "p"), {"type": "custom", "name": "p"}),
        (
            ToolChoice("auto", names=("f",)),
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        ),
    ):
        body = written(of_others(tools=tools, tool_choice=choice, parallel=False))
        assert (body["tool_choice"], body["parallel_tool_calls"]) == (told, False)
    assert "tool_choice" not in written(of_others(tool_choice=ToolChoice("auto"), parallel=False))


def test_knobs_are_spelled_as_clients_know_them() -> None:
    assert [RESPONSES.spelled(knob) for knob in ("max_tokens", "parallel", "shape", "effort", "seed")] == [
        "max_output_tokens",
        "parallel_tool_calls",
        "text.format",
        "reasoning",
        "seed",
    ]
    assert RESPONSES.path(Brief("m")) == "/v1/responses"
