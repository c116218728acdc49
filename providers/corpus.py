"""What an endpoint is asked when conformance is run, written once, in neutral words: each exercise with what
makes its answer right. The dialect of the endpoint's format writes it and reads the answer.

Pure: the questions are sent by `providers.trying`.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from django.utils.translation import gettext_lazy as _

from wire.neutral.events import Reply
from wire.neutral.parts import Media, Part, Text, Thinking, ToolCall, ToolResult, Turn
from wire.neutral.requests import Effort, Request, Shape, Tool

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

MOST_TOKENS: Final = 1024
"""Of one answer, thoughts included."""
THINKING_TOKENS: Final = 4096
"""Of the answer that is to think: Anthropic's smallest budget is 1024, and has to lie below the limit."""

TITLES: Final[Mapping[str, StrPromise]] = {
    "text": _("text"),
    "streaming": _("streaming"),
    "system": _("system prompt"),
    "stop": _("stop sequences"),
    "tools": _("tools"),
    "parallel_tools": _("parallel tools"),
    "tool_results": _("tool results"),
    "thinking": _("thinking"),
    "images": _("images"),
    "json_schema": _("JSON schema"),
    "usage": _("usage, whole"),
    "usage_streamed": _("usage, streamed"),
    "count_tokens": _("token counting"),
}
"""The rows of a matrix, in its order."""

CAPABILITIES: Final[Mapping[str, str]] = {"tools": "tools", "thinking": "thinking", "images": "vision"}
"""Rows whose refusal tells the router that a capability is missing, with its name."""


@dataclass(frozen=True)
class Exercise:
    """A question and its judge, who says what is wrong with an answer, "" for nothing. `knob` is the setting
    that it is about, as the middle calls it: where a dialect drops it, there is nothing to try."""

    name: str
    request: Request
    judge: Callable[[Reply], str]
    knob: str = ""


def _asks(*turns: Turn, max_tokens: int = MOST_TOKENS, **fields: Any) -> Request:
    return Request("", "", turns, max_tokens=max_tokens, **fields)


def _user(*parts: Part | str) -> Turn:
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def said(reply: Reply) -> str:
    """The words of the first choice."""
    parts = reply.choices[0].parts if reply.choices else ()
    return "".join(part.text for part in parts if isinstance(part, Text))


def calls(reply: Reply) -> list[ToolCall]:
    """The tool calls of the first choice."""
    parts = reply.choices[0].parts if reply.choices else ()
    return [part for part in parts if isinstance(part, ToolCall)]


def _silent(reply: Reply) -> str:
    """What is wrong where nothing was said."""
    if not reply.choices:
        return "the answer is empty"
    if reply.choices[0].finish.reason == "length":
        return f"its {MOST_TOKENS} tokens were spent before it said anything"
    return "the answer has no text"


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return f"“{text[:80]}…”" if len(text) > 80 else f"“{text}”"


def _says(word: str) -> Callable[[Reply], str]:
    def judge(reply: Reply) -> str:
        text = said(reply)
        if not text.strip():
            return _silent(reply)
        return "" if word in text.lower() else f"“{word}” was expected, it said {_quoted(text)}"

    return judge


def _stops(reply: Reply) -> str:
    text = said(reply)
    if not text.strip():
        return _silent(reply)
    if "7" in text or "8" in text:
        return f"it went on behind the stop sequence: {_quoted(text)}"
    return "" if "3" in text else f"it did not count: {_quoted(text)}"


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.arguments or "{}")
    except ValueError:
        return None


def _called(*names: str) -> Callable[[Reply], str]:
    def judge(reply: Reply) -> str:
        made = calls(reply)
        if not made:
            return f"no tool was called, it said {_quoted(said(reply))}" if said(reply) else _silent(reply)
        called = [call.name for call in made]
        if missing := [name for name in names if name not in called]:
            return f"{missing[0]} was not called, only {', '.join(called)}"
        if len({call.id for call in made}) < len(made):
            return "two calls have the same id"
        for call in made:
            given = _arguments(call)
            if not isinstance(given, dict) or not isinstance(given.get("city"), str):
                return f"the arguments of {call.name} do not fit its schema: {_quoted(call.arguments)}"
        finish = reply.choices[0].finish
        return "" if finish.reason == "tool_calls" else f"it ended with {finish.native or finish.reason}"

    return judge


def _thought(reply: Reply) -> str:
    parts = reply.choices[0].parts if reply.choices else ()
    usage = reply.over.usage
    if any(isinstance(part, Thinking) for part in parts) or (usage is not None and usage.reasoning_tokens):
        return ""
    return "neither thoughts nor reasoning tokens came"


def _shaped(reply: Reply) -> str:
    text = said(reply)
    if not text.strip():
        return _silent(reply)
    try:
        value = json.loads(text)
    except ValueError:
        return f"the answer is no JSON: {_quoted(text)}"
    fits = (
        isinstance(value, dict)
        and value.keys() == {"city", "inhabitants"}
        and isinstance(value["city"], str)
        and type(value["inhabitants"]) is int
    )
    return "" if fits else f"the answer does not fit the schema: {_quoted(text)}"


def usage_of(reply: Reply) -> str:
    """What is wrong with the usage that came with an answer."""
    usage = reply.over.usage
    if usage is None or not (usage.input_reported or usage.output_reported):
        return "no usage was told"
    if not usage.input_tokens and not usage.cache_read_tokens:
        return "no input tokens were told"
    return "" if usage.output_tokens else "no output tokens were told"


def _picture() -> str:
    """A red square of 64 by 64 pixels as PNG, in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xdc\x14\x14" * 64) * 64
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(data).decode()


_CITY: Final = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "Name of the city"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: Final = Tool("get_weather", "Tells the weather in a city", _CITY)
_CLOCK: Final = Tool("get_time", "Tells the time of day in a city", _CITY)
_FACTS: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "inhabitants": {"type": "integer"}},
    "required": ["city", "inhabitants"],
    "additionalProperties": False,
}
_HERON: Final = "Reply with the word heron and nothing else."

TEXT: Final = Exercise("text", _asks(_user(_HERON)), _says("heron"))
STREAMING: Final = Exercise("streaming", _asks(_user(_HERON), stream=True), _says("heron"))
TOOLS: Final = Exercise(
    "tools",
    _asks(_user("What is the weather in Oslo? Call get_weather."), tools=(WEATHER,)),
    _called("get_weather"),
)
OTHERS: Final = (
    Exercise(
        "system",
        _asks(
            Turn("system", (Text("Whatever you are asked, reply with the word plover and nothing else."),)),
            _user("Good morning!"),
        ),
        _says("plover"),
    ),
    Exercise(
        "stop",
        _asks(
            _user("Count from 1 to 9, with a space between the numbers, and say nothing else."), stop=("6",)
        ),
        _stops,
        "stop",
    ),
    Exercise(
        "parallel_tools",
        _asks(
            _user("Call get_weather and get_time for Oslo, both at once in one answer, without waiting."),
            tools=(WEATHER, _CLOCK),
            stream=True,
        ),
        _called("get_weather", "get_time"),
    ),
    Exercise(
        "thinking",
        _asks(
            _user("Which is greater, 9.11 or 9.9? Think before you answer."),
            max_tokens=THINKING_TOKENS,
            effort=Effort(enabled=True, level="low", shown=True),
        ),
        _thought,
        "effort",
    ),
    Exercise(
        "images",
        _asks(
            _user(
                "Which colour has this square? Reply with one word.", Media("image", "image/png", _picture())
            )
        ),
        _says("red"),
    ),
    Exercise(
        "json_schema",
        _asks(
            _user("Which city is the capital of Norway, and about how many inhabitants has it?"),
            shape=Shape("json_schema", _FACTS, "capital", strict=True),
        ),
        _shaped,
        "shape",
    ),
)


def results_of(answer: Reply) -> Exercise:
    """The same conversation gone on with, once a model has called its tool: the answer goes back as it came,
    signatures and all, with a result for each call."""
    results = tuple(
        ToolResult(call.id, (Text('{"weather": "rain", "degrees": 7}'),), call.name) for call in calls(answer)
    )
    question = msgspec.structs.replace(
        TOOLS.request,
        turns=(
            _user("How many degrees has it in Oslo? Call get_weather."),
            Turn("assistant", answer.choices[0].parts),
            Turn("user", results),
        ),
    )
    return Exercise("tool_results", question, _says("7"))
