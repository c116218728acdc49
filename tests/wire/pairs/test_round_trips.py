"""From one format to another and back: what was said, called and answered is still there, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.pairs.kit import BRIEF, PAIRS, PUBLIC, asked, read, target_of
from tests.wire.pairs.requests import function_response, gemini, item_result, responses, user
from wire import DIALECTS
from wire.neutral.events import Choice, Finish, Over, Reply, Start
from wire.neutral.keepsakes import Keepsake, restored
from wire.neutral.parts import Media, Part, Signature, Text, Thinking, ToolCall, ToolResult, Turn
from wire.neutral.requests import Effort, Request, Target, Tool

WORDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(WORDS, WORDS | st.integers(-9, 9) | st.lists(WORDS, max_size=2), max_size=2)
PICTURE = Media("image", "image/png", data="iVBORw0KGgo=")
SAID = st.lists(st.builds(Text, WORDS) | st.just(PICTURE), min_size=1, max_size=3)
TOOLS = (Tool("weather", "Now.", {"type": "object"}), Tool("clock", "Now.", {"type": "object"}))


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Turn, ...]:
    """Turns in which every call is answered; the last word is the user's."""
    turns = [Turn("system", (Text(draw(WORDS)),))] if draw(st.booleans()) else []
    for round_ in range(draw(st.integers(1, 3))):
        turns.append(Turn("user", tuple(draw(SAID))))
        calls = [
            ToolCall(f"call_{round_}_{at}", draw(st.sampled_from(["weather", "clock"])), _json(arguments))
            for at, arguments in enumerate(draw(st.lists(ARGUMENTS, max_size=3)))
        ]
        words = [Text(draw(WORDS))] if not calls or draw(st.booleans()) else []
        turns.append(Turn("assistant", (*words, *calls)))
        if calls:
            results = [ToolResult(call.id, (Text(draw(WORDS)),), call.name) for call in calls]
            turns += [Turn("user", tuple(results)), Turn("assistant", (Text(draw(WORDS)),))]
    return (*turns, Turn("user", tuple(draw(SAID))))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def sent(one: str, turns: tuple[Turn, ...]) -> Request:
    """The request of a client of this format that says these turns."""
    request = Request(one, PUBLIC, turns, stream=True, tools=TOOLS, effort=Effort(True, "high", shown=True))
    return through(request, one)


def through(request: Request, other: str) -> Request:
    """What stands in a request once it was written in a format."""
    body = DIALECTS[other].write_request(request, target_of(other)).body
    return DIALECTS[other].read_request(body, BRIEF)


def told(request: Request) -> list[Any]:
    """Who said, called and answered what, in order: calls and results pair by their place, not by ids."""
    places: dict[str, int] = {}
    return [each for turn in request.turns for part in turn.parts for each in _told(turn.role, part, places)]


def _told(role: str, part: Part, places: dict[str, int]) -> Iterator[Any]:
    match part:
        case Text() if part.text:
            yield role, part.text
        case Media():
            yield role, part.mime, part.data
        case ToolCall():
            places[part.id] = len(places)
            yield "call", places[part.id], part.name, orjson.loads(part.arguments or "{}")
        case ToolResult():
            words = "".join(each.text for each in part.parts if isinstance(each, Text))
            yield "result", places[part.call_id], words


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_conversation_is_the_same_after_a_way_there_and_back(one: str, other: str) -> None:
    @settings(max_examples=count(15, 400), deadline=None)
    @given(conversations())
    def survives(turns: tuple[Turn, ...]) -> None:
        asked = sent(one, turns)
        there = through(asked, other)
        back = through(msgspec.structs.replace(there, origin=other), one)
        assert told(there) == told(asked)
        assert told(back) == told(asked)
        assert [tool.name for tool in back.tools if isinstance(tool, Tool)] == ["weather", "clock"]

    survives()


@pytest.mark.parametrize(("vendor", "client"), [pair for pair in PAIRS if pair[0] != "openai_chat"])
def test_signed_thoughts_that_a_clients_format_lost_are_put_back(vendor: str, client: str) -> None:
    signature = Signature(vendor, "c2ln", "rs_1" if vendor == "openai_responses" else "")
    kept = Keepsake((), signature) if vendor == "gemini" else Keepsake((Thinking("Hm.", signature),), None)
    history = (
        Turn("user", (Text("Go."),)),
        Turn("assistant", (ToolCall("call_1", "weather", "{}"),)),
        Turn("user", (ToolResult("call_1", (Text("rain"),), "weather"),)),
    )
    asked = restored(sent(client, history), {"call_1": kept}, vendor)
    found = [part for turn in through(asked, vendor).turns for part in turn.parts]
    signed = [part.signature for part in found if isinstance(part, Thinking | ToolCall) and part.signature]
    assert [each.value for each in signed] == ["c2ln"]
    assert [part.name for part in found if isinstance(part, ToolCall)] == ["weather"]


@pytest.mark.parametrize("client", ["openai_responses", "gemini"])
def test_thoughts_that_are_not_signed_come_back_to_a_vendor_that_wants_them(client: str) -> None:
    parts = (Thinking("Hm."), ToolCall("call_1", "weather", "{}"))
    question = Request(client, PUBLIC, (), effort=Effort(True, "high", shown=True), tools=TOOLS)
    reply = Reply(Start("up1"), (Choice(parts, Finish("tool_calls")),), Over())
    told = orjson.loads(DIALECTS[client].write_reply(reply, asked(client, question)))
    history = (
        responses("Go.", *told["output"], item_result("call_1", "rain"))
        if client == "openai_responses"
        else gemini("Go.", told["candidates"][0]["content"], user(function_response({"output": "rain"})))
    )
    target = Target("deepseek-reasoner", quirks=frozenset({"reasoning_content"}))
    body = orjson.loads(DIALECTS["openai_chat"].write_request(read(client, history), target).body)
    (said,) = [each for each in body["messages"] if each["role"] == "assistant"]
    assert said["reasoning_content"] == "Hm."
