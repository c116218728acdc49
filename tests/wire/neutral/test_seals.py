"""Signatures of one vendor in the slots of another's format."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st

from wire.neutral.collect import fold, unfold
from wire.neutral.events import Choice, Event, Finish, Over, Reply, Start
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall
from wire.neutral.seals import MARK, Lower, On, opened, restored, sealed, slot

GEMINI = Signature("gemini", "c2lnbmF0dXJl")


@given(st.text(), st.text(), st.text(), st.sampled_from(("own", "next", "last")))
def test_a_sealed_signature_opens_to_what_it_was(origin: str, value: str, name: str, on: str) -> None:
    text = sealed(Signature(origin, value, name), on)  # type: ignore[arg-type]
    assert text.startswith(MARK.decode())
    assert base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    assert opened(text, "anthropic") == (Signature(origin, value, name), on)


def test_what_is_not_sealed_is_the_formats_own() -> None:
    assert opened("EqQBCkYIARgCKkD", "anthropic") == (Signature("anthropic", "EqQBCkYIARgCKkD"), "own")


@pytest.mark.parametrize("broken", ["", "!", "AAAA", "/////w=="])
def test_a_broken_seal_is_nobodys_signature(broken: str) -> None:
    assert opened(MARK.decode() + broken, "anthropic")[0].origin == ""


def test_a_vendors_own_slot_holds_its_own_signature_as_it_is() -> None:
    assert slot(GEMINI, "gemini") == GEMINI.value
    assert slot(None, "gemini") == ""
    assert opened(slot(GEMINI, "anthropic"), "anthropic") == (GEMINI, "own")


def lowered(*parts: Part, thinking: bool = True) -> tuple[Part, ...]:
    lower = Lower("anthropic", thinking=thinking)
    reply = Reply(Start(), (Choice(parts, Finish("tool_calls")),), Over())
    events: list[Event] = [told for event in unfold(reply) for told in lower.feed(event)]
    return fold(events).choices[0].parts


def test_signed_calls_and_text_get_thinking_to_stand_on_and_get_their_signatures_back() -> None:
    parts = (
        Thinking("hm"),
        Text("one", GEMINI),
        ToolCall("call_1", "look", "{}", signature=GEMINI),
        ToolCall("call_2", "look", "{}"),
    )
    told = lowered(*parts)
    assert [type(part).__name__ for part in told] == [
        "Thinking", "Text", "Thinking", "Thinking", "ToolCall", "ToolCall",
    ]  # fmt: skip
    assert all(part.signature is None for part in told if isinstance(part, Text | ToolCall))
    read: list[tuple[Part, On]] = []
    for part in told:
        if isinstance(part, Thinking) and part.signature is not None:
            signature, on = opened(part.signature.value, "anthropic")
            read.append((Thinking(part.text, signature), on))
        else:
            read.append((part, "own"))
    assert restored(read) == parts


def test_a_client_that_asked_for_no_thinking_gets_none() -> None:
    call = ToolCall("call_1", "look", "{}", signature=GEMINI)
    assert lowered(call, thinking=False) == (ToolCall("call_1", "look", "{}"),)


def test_half_a_character_in_a_vendors_signature_is_sealed_as_a_question_mark() -> None:
    text = sealed(Signature("gemini", "a\ud83d", "\ude00b"))
    assert opened(text, "anthropic")[0] == Signature("gemini", "a?", "?b")
