"""What tools that a vendor runs itself left in a history: their calls and what came of them. No other vendor
understands such a block (conversion.md, 40). Where the model's own words follow, they hold what came of it,
and the block can be left out; where none do, the request is for its own vendor alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from wire.jsons import as_text
from wire.neutral.gemini_fields import camel
from wire.neutral.parts import Foreign, Part, Text, Turn
from wire.neutral.requests import Request

_TRACES: Final[Mapping[str, frozenset[str]]] = {
    "openai_responses": frozenset(
        (
            *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
            *("mcp_list_tools", "mcp_call", "tool_search_call", "tool_search_output"),
        )
    ),
    "anthropic": frozenset(
        (
            *("server_tool_use", "web_search_tool_result", "web_fetch_tool_result"),
            *("code_execution_tool_result", "bash_code_execution_tool_result"),
            *("text_editor_code_execution_tool_result", "tool_search_tool_result"),
            *("mcp_tool_use", "mcp_tool_result"),
        )
    ),
    "gemini": frozenset(("executableCode", "codeExecutionResult", "toolCall", "toolResponse")),
}
"""Kinds of blocks by the format that they are of: what is in them, the vendor's own tool made, and the model
read it before it wrote on. What the user or the user's tools put in is none of them."""
_PLACES: Final = {"openai_responses": "input", "anthropic": "messages", "gemini": "contents"}


def without_traces(request: Request, origin: str) -> tuple[Request, list[str]]:
    """The request for the format `origin`, without those traces of another vendor's tools that words of the
    model follow; and what was left out, as the client's format calls it, each time it was."""
    if not any(_trace(part, origin) for turn in request.turns for part in turn.parts):
        return request, []
    turns: list[Turn] = []
    left: list[str] = []
    told = False
    for turn in reversed(request.turns):
        parts: list[Part] = []
        for part in reversed(turn.parts):
            kind = _trace(part, origin)
            if kind and told:
                left.append(kind)
                continue
            parts.append(part)
            told = told or (turn.role == "assistant" and isinstance(part, Text) and bool(part.text.strip()))
        if parts or not turn.parts:
            turns.append(msgspec.structs.replace(turn, parts=tuple(reversed(parts))))
    return msgspec.structs.replace(request, turns=tuple(reversed(turns))), left[::-1]


def _trace(part: Part, origin: str) -> str:
    """What such a block is called; "" for any other part, and for what the target understands."""
    if not isinstance(part, Foreign) or part.origin == origin:
        return ""
    named = (
        {camel(key) for key in part.value} if part.origin == "gemini" else {as_text(part.value.get("type"))}
    )
    kinds = sorted(_TRACES.get(part.origin, frozenset()) & named)
    return f"{_PLACES[part.origin]}.{kinds[0]}" if kinds else ""
