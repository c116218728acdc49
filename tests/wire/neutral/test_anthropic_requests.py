"""Anthropic's requests read and written: numbers are those of conversion.md's cases."""

from __future__ import annotations

import json
from typing import Any

from tests.wire.neutral.anthropic_kit import DIALECT
from wire.jsons import dumps
from wire.neutral.parts import Part, Text, ToolCall, ToolResult, Turn
from wire.neutral.requests import Request, Target, Tool, Written
from wire.types import Brief

OPUS = Target("claude-opus-4-5", 64_000)


def read(fields: dict[str, Any] | None = None, **more: Any) -> Request:
    """What the middle makes of a client's request."""
    hello = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude", "max_tokens": 100, "messages": hello, **(fields or {}), **more}
    return DIALECT.read_request(dumps(body), Brief("claude", stream=body.get("stream") is True))


def write(request: Request, target: Target = OPUS) -> tuple[dict[str, Any], Written]:
    """What goes to a model of Anthropic's."""
    written = DIALECT.write_request(request, target)
    return json.loads(written.body), written


def chat(*turns: Turn, **more: Any) -> Request:
    """A request that came in another format."""
    return Request("openai_chat", "gpt", turns, **more)


def user(*parts: Part | str) -> Turn:
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def assistant(*parts: Part | str) -> Turn:
    return Turn("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def system(text: str) -> Turn:
    return Turn("system", (Text(text),))


def test_a_request_with_tools_makes_the_round_trip() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    fields = {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Oslo?"},
            {"role": "assistant", "content": [call]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."}],
            },
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}],
    }
    request = read(fields)
    assert request.turns == (
        system("Be brief."),
        user("Weather in Oslo?"),
        assistant(ToolCall("toolu_1", "weather", '{"city":"Oslo"}')),
        user(ToolResult("toolu_1", (Text("Rain."),))),
    )
    assert request.tools == (Tool("weather", schema={"type": "object", "properties": {"city": {}}}),)
    body, written = write(request)
    assert body == {
        "model": "claude-opus-4-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": fields["messages"],
        "tools": fields["tools"],
    }
    assert written.dropped == ()
