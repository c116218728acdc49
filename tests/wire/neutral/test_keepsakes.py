"""Thoughts and signatures that a client loses between two turns."""

from __future__ import annotations

from wire.neutral.collect import unfold
from wire.neutral.events import Choice, Finish, Over, Reply, Start
from wire.neutral.keepsakes import MOST, Keeper, Keepsake, lacking, restored
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Request

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
        "1": Keepsake((Thinking("a", SIGNED),), early=1),
        "2": Keepsake((Thinking("b", SIGNED),)),
    }


def test_a_calls_own_signature_is_kept() -> None:
    found = kept(ToolCall("1", "f", signature=OTHER), ToolCall("2", "f"))
    assert found == {"1": Keepsake((), OTHER)}


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
        Text("x"), Thinking("a", SIGNED), ToolCall("1", "f", "{}"),
    )  # fmt: skip


def test_thoughts_stand_again_where_they_stood_among_words_and_calls() -> None:
    first, second, third = (Thinking(text, SIGNED) for text in "abc")
    calls = ToolCall("1", "f", "{}"), ToolCall("2", "f", "{}")
    told = (first, Text("x"), second, calls[0], third, calls[1])
    request = asked(Text("x"), *calls)
    assert restored(request, kept(*told), "anthropic").turns[1].parts == told


def test_a_turn_that_has_them_is_left_alone() -> None:
    request = asked(Thinking("a", SIGNED), ToolCall("1", "f", "{}"))
    assert lacking(request, "anthropic") == []
    assert restored(request, {"1": Keepsake((Thinking("b", SIGNED),))}, "anthropic") == request


def test_the_signatures_of_another_vendor_do_not_count() -> None:
    assert lacking(asked(ToolCall("1", "f", signature=OTHER)), "anthropic") == ["1"]
