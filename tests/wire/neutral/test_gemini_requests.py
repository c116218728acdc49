from __future__ import annotations

from typing import Any

from tests.wire.neutral.gemini_kit import said, written
from wire.neutral.parts import Text, ToolCall, ToolResult, Turn
from wire.neutral.requests import Request, Tool

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
