"""Codex on endpoints of every other format: what it sends, as its source has it (github.com/openai/codex,
codex-rs/core/src/client.rs and codex-rs/tools/src/tool_spec.rs), and what it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.neutral.responses_kit import ID, ORIGIN, RESPONSES, accumulated, ladder, read
from wire import DIALECTS, FORMATS
from wire.neutral.dialect import Asked, Dialect
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Start
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Effort, Request, Target, Written
from wire.neutral.translate import Translation
from wire.types import Brief, Usage

OTHERS = sorted(name for name in DIALECTS if name != ORIGIN)
MODELS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-pro-preview", "openai_chat": "gpt-5.1"}
BRIEF = Brief("m", stream=True, wants_usage=True)
USAGE = Usage(input_tokens=100, output_tokens=9, input_reported=True, output_reported=True, final=True)
PATCH = "*** Begin Patch\n*** Update File: a.py\n@@\n-x = 'é'\n+x = \"🎉\"\n*** End Patch"
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "exec_command",
        "description": "Runs a command in a PTY.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"cmd": {"type": "string"}, "yield_time_ms": {"type": "number"}},
            "required": ["cmd"],
            "additionalProperties": False,
        },
    },
    {
        "type": "function",
        "name": "update_plan",
        "description": "Updates the task plan.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {
                "plan": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"step": {"type": "string"}, "status": {"type": "string"}},
                        "required": ["step", "status"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["plan"],
            "additionalProperties": False,
        },
    },
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Use the `apply_patch` tool to edit files. This is a FREEFORM tool.",
        "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch"'},
    },
    {"type": "web_search", "external_web_access": False},
    {
        "type": "function",
        "name": "view_image",
        "description": "Attaches a local image.",
        "strict": False,
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string"}},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
    {
        "type": "namespace",
        "name": "mcp__docs__",
        "description": "Tools in the mcp__docs__ namespace.",
        "tools": [
            {
                "type": "function",
                "name": "find",
                "description": "Finds pages.",
                "strict": False,
                "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
            }
        ],
    },
]
FIRST: list[dict[str, Any]] = [
    {
        "type": "message",
        "role": "developer",
        "content": [{"type": "input_text", "text": "<permissions instructions>"}],
    },
    {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": "<environment_context>"}],
    },
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Mend it."}]},
]


def codex(items: list[dict[str, Any]]) -> Request:
    """A turn of Codex."""
    return read(
        instructions="You are Codex, based on GPT-5.",
        input=items,
        tools=TOOLS,
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="0198f7d6-0000-7000-8000-000000000000",
        text={"verbosity": "low"},
    )


def asked(request: Request) -> Asked:
    return Asked(ID, 1787659560, "m", BRIEF, request)


def vendor_says(upstream: Dialect, *parts: Part) -> bytes:
    """What a vendor of this format sends that says these parts."""
    signed = upstream.name
    told: list[Event] = [Start("up_1", "up")]
    for index, part in enumerate(parts):
        if isinstance(part, Thinking):
            signature = Signature(signed, "c2lnbmF0dXJl")
            told += [PartStart(index, Thinking()), PartDelta(index, part.text)]
            told.append(PartEnd(index, signature if signed != "openai_chat" else None))
        elif isinstance(part, ToolCall):
            told += [PartStart(index, ToolCall(part.id, part.name)), PartDelta(index, part.arguments)]
            told.append(PartEnd(index))
        else:
            assert isinstance(part, Text)
            told += [PartStart(index, Text("")), PartDelta(index, part.text), PartEnd(index)]
    told += [Finish("tool_calls"), Over(USAGE)]
    thinking = Effort(enabled=True, level="medium", shown=True)
    request = Request(upstream.name, "up", (Turn("user", (Text("x"),)),), stream=True, effort=thinking)
    encoder = upstream.encoder(asked(request))
    return b"".join([encoder.feed(event) for event in told])


def codex_hears(upstream: Dialect, stream: bytes, request: Request, written: Written) -> bytes:
    """What becomes of a vendor's stream on its way to Codex."""
    watch = FORMATS[upstream.name].watch(BRIEF)
    translation = Translation(watch, upstream, RESPONSES, asked=asked(request), written=written)
    passed = [translation.feed(stream), translation.finish()]
    assert translation.error is None
    return b"".join(each.out + each.end for each in passed)


def sent(name: str, items: list[dict[str, Any]]) -> tuple[Request, Written, dict[str, Any]]:
    request = codex(items)
    written = DIALECTS[name].write_request(request, Target(MODELS[name]))
    body = json.loads(written.body)
    assert isinstance(body, dict)
    return request, written, body


def strings(value: Any) -> list[str]:
    """Every string in a body."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in strings(each)]


@pytest.mark.parametrize("name", OTHERS)
def test_what_codex_asks_is_asked_of_every_vendor(name: str) -> None:
    _, written, body = sent(name, FIRST)
    said = strings(body)
    for text in ("You are Codex, based on GPT-5.", "<permissions instructions>", "Mend it."):
        assert any(text in each for each in said), text
    for tool in ("exec_command", "update_plan", "apply_patch", "view_image", "mcp__docs__find"):
        assert tool in said
    assert "tools.web_search" in written.dropped
    assert not {"prompt_cache_key", "include", "store", "tools"} & set(written.dropped)


@pytest.mark.parametrize("name", OTHERS)
def test_codex_works_through_three_turns_with_parallel_calls_and_thinking(name: str) -> None:
    upstream = DIALECTS[name]
    request, written, _ = sent(name, FIRST)
    calls = (
        ToolCall("call_1", "exec_command", '{"cmd":"ls"}'),
        ToolCall("call_2", "apply_patch", json.dumps({"input": PATCH})),
        ToolCall("call_3", "mcp__docs__find", '{"q":"é"}'),
    )
    stream = vendor_says(upstream, Thinking("I look first."), Text("Looking."), *calls)
    heard = codex_hears(upstream, stream, request, written)
    response = accumulated(heard)
    thought, said, shell, patch, search = response["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "I look first."}]
    assert said["content"][0]["text"] == "Looking."
    assert (shell["type"], shell["name"], json.loads(shell["arguments"])) == (
        "function_call",
        "exec_command",
        {"cmd": "ls"},
    )
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    assert (search["namespace"], search["name"]) == ("mcp__docs__", "find")
    assert json.loads(search["arguments"]) == {"q": "é"}
    assert len({shell["call_id"], patch["call_id"], search["call_id"]}) == 3
    assert response["usage"]["total_tokens"] == 109
    assert ladder(heard)[-1]["type"] == "response.completed"

    # Codex sends back what `output_item.done` told it, and what came of the calls.
    results = [
        {"type": "function_call_output", "call_id": shell["call_id"], "output": "a.py"},
        {"type": "custom_tool_call_output", "call_id": patch["call_id"], "output": "Success."},
        {"type": "function_call_output", "call_id": search["call_id"], "output": '{"$ref":"#/x"}'},
    ]
    history = [*FIRST, *response["output"], *results]
    _, _, body = sent(name, history)
    said_again = strings(body)
    assert any("a.py" in each for each in said_again)
    assert any("Success." in each for each in said_again)
    assert any("*** Begin Patch" in each for each in strings(body))
    if name != "openai_chat":
        assert "c2lnbmF0dXJl" in said_again
        assert "I look first." in said_again
    else:
        assert "I look first." not in said_again
    assert not any("_aether" in each for each in said_again)


@pytest.mark.parametrize("name", OTHERS)
def test_what_another_vendor_signed_does_not_go_to_openai(name: str) -> None:
    upstream = DIALECTS[name]
    request, written, _ = sent(name, FIRST)
    stream = vendor_says(upstream, Thinking("I look first."), ToolCall("call_1", "exec_command", "{}"))
    output = accumulated(codex_hears(upstream, stream, request, written))["output"]
    result = {"type": "function_call_output", "call_id": output[-1]["call_id"], "output": "ok"}
    body = json.loads(RESPONSES.write_request(codex([*FIRST, *output, result]), Target("gpt-5.1-codex")).body)
    assert [item["type"] for item in body["input"]][3:] == ["function_call", "function_call_output"]
    assert not any("_aether" in each or "I look first." in each for each in strings(body["input"]))
    assert body["include"] == ["reasoning.encrypted_content"]
