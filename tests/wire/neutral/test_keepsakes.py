"""Thoughts and signatures that a client loses between two turns."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from wire.neutral.anthropic_encoder import write_reply
from wire.neutral.collect import unfold
from wire.neutral.dialect import Asked
from wire.neutral.events import Choice, Finish, Over, Reply, Start
from wire.neutral.keepsakes import MOST, Keeper, Keepsake, lacking, restored
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Request
from wire.types import Brief

SIGNED = Signature("anthropic", "sig")
OTHER = Signature("gemini", "gsig")


def kept(*parts: Part) -> dict[str, Keepsake]:
    keeper = Keeper()
    for event in unfold(Reply(Start(), (Choice(parts, Finish("tool_calls")),), Over())):
        keeper.feed(event)
    return keeper.kept


def asked(*parts: Part) -> Request:
    return Request("openai_chat", "m", (Turn("user", (Text("hi"),)), Turn("assistant", parts)))


def test_signed_thoughts_are_kept_by_the_call_behind_them() -> None:
    found = kept(
        Thinking("a", SIGNED), Text("x"), ToolCall("1", "f"), Thinking("b", SIGNED), ToolCall("2", "f")
    )
    assert found == {
        "1": Keepsake((Thinking("a", SIGNED),)),
        "2": Keepsake((Thinking("b", SIGNED),)),
    }


def test_a_calls_own_signature_is_kept() -> None:
    found = kept(ToolCall("1", "f", signature=OTHER), ToolCall("2", "f"))
    assert found == {"1": Keepsake((), OTHER)}


def test_an_id_that_anthropics_rule_changes_is_found_under_both() -> None:
    call = ToolCall("call:7f.3a", "weather", "{}")
    found = kept(Thinking("a", SIGNED), call)
    reply = Reply(Start(), (Choice((call,), Finish("tool_calls")),), Over())
    question = Asked("r1", 1, "m", Brief("m"), Request("anthropic", "m", ()))
    known = orjson.loads(write_reply(reply, question))["content"][0]["id"]
    assert known != call.id
    assert found == {name: Keepsake((Thinking("a", SIGNED),)) for name in (call.id, known)}


@pytest.mark.parametrize(
    ("made", "name", "unique"),
    [
        ("functions.weather:0", "weather", False),
        ("weather", "weather", False),
        ("weather_12", "weather", False),
        ("call_weather77123", "weather", True),
        ("call_a1b2c3", "call", True),
        ("toolu_01Als", "ls", True),
    ],
)
def test_an_id_that_every_conversation_has_is_no_name_for_what_is_kept(
    made: str, name: str, unique: bool
) -> None:
    assert (made in kept(Thinking("a", SIGNED), ToolCall(made, name))) is unique


def test_unsigned_thoughts_and_answers_without_calls_leave_nothing() -> None:
    assert kept(Thinking("a"), ToolCall("1", "f")) == {}
    assert kept(Thinking("a", SIGNED), Text("x")) == {}


def test_what_is_too_much_is_not_kept_at_all() -> None:
    assert kept(Thinking("a" * MOST, SIGNED), ToolCall("1", "f")) == {}


def test_a_turn_that_lacks_them_gets_them_back() -> None:
    request = asked(Text("x"), ToolCall("1", "f", "{}"))
    assert lacking(request, "anthropic") == ["1"]
    found = {"1": Keepsake((Thinking("a", SIGNED),))}
    assert restored(request, found, "anthropic").turns[1].parts == (
        Thinking("a", SIGNED), Text("x"), ToolCall("1", "f", "{}"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "parts",
    [
        (Thinking("a", SIGNED), Text("x"), ToolCall("1", "f")),
        (Text("x"), Thinking("a", SIGNED), ToolCall("1", "f")),
        (Thinking("a", SIGNED), Text("x"), Thinking("b", SIGNED), ToolCall("1", "f")),
        (Thinking("a", SIGNED), ToolCall("1", "f"), Text("x"), ToolCall("2", "f")),
        (Text("x"), ToolCall("1", "f"), Thinking("a", SIGNED), Text("y"), ToolCall("2", "f")),
        (ToolCall("1", "f"), ToolCall("2", "f", signature=SIGNED)),
    ],
)
def test_thoughts_come_back_to_their_places(parts: tuple[Part, ...]) -> None:
    left = tuple(
        msgspec.structs.replace(part, signature=None) if isinstance(part, ToolCall) else part
        for part in parts
        if not isinstance(part, Thinking)
    )
    assert restored(asked(*left), kept(*parts), "anthropic").turns[1].parts == parts


def test_a_turn_that_has_them_is_left_alone() -> None:
    request = asked(Thinking("a", SIGNED), ToolCall("1", "f", "{}"))
    assert lacking(request, "anthropic") == []
    assert restored(request, {"1": Keepsake((Thinking("b", SIGNED),))}, "anthropic") == request


def test_the_signatures_of_another_vendor_do_not_count() -> None:
    assert lacking(asked(ToolCall("1", "f", signature=OTHER)), "anthropic") == ["1"]
