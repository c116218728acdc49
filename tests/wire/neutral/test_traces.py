"""wire/neutral/traces.py: what tools that a vendor runs itself left in a history (conversion.md, 40)."""

from __future__ import annotations

from typing import Any

import pytest

from wire.neutral.parts import Foreign, Text, ToolCall, ToolResult, Turn
from wire.neutral.requests import Request
from wire.neutral.traces import without_traces

ORIGIN = "openai_responses"
SEARCH = Foreign(ORIGIN, {"type": "web_search_call", "id": "ws_1", "status": "completed"})
ASKED = Turn("user", (Text("News?"),))


def request(*turns: Turn) -> Request:
    return Request(ORIGIN, "m", (ASKED, *turns))


def said(*parts: Any) -> Turn:
    return Turn("assistant", parts)


@pytest.mark.parametrize(
    ("block", "name"),
    [
        (SEARCH, "input.web_search_call"),
        (Foreign(ORIGIN, {"type": "mcp_list_tools", "tools": []}), "input.mcp_list_tools"),
        (Foreign("anthropic", {"type": "server_tool_use", "id": "s"}), "messages.server_tool_use"),
        (Foreign("gemini", {"executableCode": {"code": "1"}}), "contents.executableCode"),
        (Foreign("gemini", {"executable_code": {}, "thought_signature": "c2ln"}), "contents.executableCode"),
    ],
)
def test_what_the_models_words_tell_of_is_left_out_and_named(block: Foreign, name: str) -> None:
    told, left = without_traces(request(said(block, Text("Rain."))), "openai_chat")
    assert told == request(said(Text("Rain.")))
    assert left == [name]


def test_the_words_may_come_behind_calls_of_the_clients_own_tools() -> None:
    call, result = ToolCall("c1", "weather", "{}"), ToolResult("c1", (Text("rain"),))
    turns = said(call), Turn("user", (result,)), said(Text("Rain."))
    told, left = without_traces(request(said(SEARCH), *turns), "anthropic")
    assert (told, left) == (request(*turns), ["input.web_search_call"])


@pytest.mark.parametrize(
    "turns",
    [
        (said(SEARCH),),
        (said(Text("I look."), SEARCH),),
        (said(SEARCH, Text(" ")),),
        (said(SEARCH), Turn("user", (Text("Go on."),))),
    ],
)
def test_what_no_words_of_the_models_follow_stays(turns: tuple[Turn, ...]) -> None:
    assert without_traces(request(*turns), "anthropic") == (request(*turns), [])


@pytest.mark.parametrize(
    "block",
    [
        Foreign(ORIGIN, {"type": "computer_call", "call_id": "c1"}),
        Foreign(ORIGIN, {"type": "compaction", "encrypted_content": "gAAA"}),
        Foreign(ORIGIN, {"id": "msg_1"}),
        Foreign(ORIGIN, {"type": ["web_search_call"]}),
        Foreign("anthropic", {"type": "container_upload", "file_id": "f"}),
        Foreign("openai_chat", {"audio": {"id": "a"}}),
    ],
)
def test_content_of_the_clients_and_of_vendors_stays(block: Foreign) -> None:
    history = request(said(block, Text("Rain.")))
    assert without_traces(history, "gemini") == (history, [])


def test_their_own_vendor_gets_them_back() -> None:
    history = request(said(SEARCH, Text("Rain.")))
    assert without_traces(history, ORIGIN) == (history, [])
