from __future__ import annotations

from typing import Any

from tests.wire.neutral.chat_kit import said, written
from wire.neutral.parts import Text, ToolCall, ToolResult, Turn
from wire.neutral.requests import Tool

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def call(made: str, name: str = "weather", arguments: str = "{}") -> dict[str, Any]:
    return {"id": made, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_a_conversation_with_tools_is_read_and_goes_back_as_it_was() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "sun"},
    ]
    request = said(*messages, tools=[WEATHER])
    assert request.turns == (
        Turn("system", (Text("Be kind."),)),
        Turn("user", (Text("Weather?"),)),
        Turn("assistant", (ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", "{}"))),
        Turn("user", (ToolResult("c1", (Text("rain"),)), ToolResult("c2", (Text("sun"),)))),
    )
    function = WEATHER["function"]
    assert isinstance(function, dict)
    assert request.tools == (Tool("weather", "Tells the weather", function["parameters"]),)
    body, _ = written(request)
    assert body == {"model": "gpt-4o", "messages": messages, "tools": [WEATHER]}
