"""The short way and the close look: what a type reads must be what the careful reading reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.usage_payloads import PAYLOADS
from wire import FORMATS, anthropic, gemini, openai_chat, openai_responses
from wire.format import WholeReading
from wire.types import COMPLETE, COUNT_TOKENS, GENERATE, MAX_COUNT, BadFrame, BadRequest, Brief

TYPED = {
    "openai_chat": openai_chat,
    "openai_responses": openai_responses,
    "anthropic": anthropic,
    "gemini": gemini,
}
NUMBERS = (0, 1, 7, -1, 1.0, 2.5, MAX_COUNT, MAX_COUNT + 1, 10**18, 10**30)
WORDS = ("", "a", "none", "\ud83d")
LISTS: tuple[Any, ...] = ([], [1], ["a"], [None], [{}])
OBJECTS: tuple[Any, ...] = ({}, {"a": 1}, {"type": "disabled"}, {"effort": "none"}, {"effort": 5})
ODD = st.sampled_from([None, True, False, *NUMBERS, *WORDS, *LISTS, *OBJECTS])


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What a field usually holds, now and then something else."""
    return st.one_of(usual, usual, usual, ODD)


COUNTS = mostly(st.integers(0, 2_000) | st.none())
PARTS = st.sampled_from(["text", "image_url", "input_image", "image", "file", "tool_result"])
CONTENT = st.text(max_size=3) | st.lists(st.fixed_dictionaries({"type": mostly(PARTS)}), max_size=2)
MESSAGES = st.lists(st.fixed_dictionaries({"content": mostly(CONTENT)}), max_size=2)
REQUEST = {
    "model": mostly(st.sampled_from(["m", "org/m-1", "a//b", "..", "ü"])),
    "stream": mostly(st.booleans()),
    "stream_options": mostly(st.fixed_dictionaries({}, optional={"include_usage": mostly(st.booleans())})),
    "n": mostly(st.integers(1, 4)),
    "max_tokens": COUNTS,
    "max_completion_tokens": COUNTS,
    "max_output_tokens": COUNTS,
    "store": mostly(st.booleans()),
    "previous_response_id": mostly(st.sampled_from(["resp_1"])),
    "reasoning_effort": mostly(st.sampled_from(["high", "none"])),
    "reasoning": mostly(
        st.fixed_dictionaries({}, optional={"effort": mostly(st.sampled_from(["low", "none"]))})
    ),
    "thinking": mostly(st.fixed_dictionaries({"type": mostly(st.sampled_from(["enabled", "disabled"]))})),
    "tools": mostly(st.lists(st.just({"name": "x"}), max_size=1)),
    "functions": mostly(st.lists(st.just({"name": "x"}), max_size=1)),
    "messages": mostly(MESSAGES),
    "input": mostly(MESSAGES | st.text(max_size=3)),
    "background": st.sampled_from([None, False, True]),
}


def asked(format_name: str, body: bytes) -> Brief | tuple[str, str]:
    try:
        return FORMATS[format_name].peek(body, kind=GENERATE, headers={})
    except BadRequest as refused:
        return refused.text, refused.param


@settings(max_examples=count(150, 5_000), deadline=None)
@given(
    st.sampled_from(["openai_chat", "openai_responses", "anthropic"]),
    st.lists(st.sampled_from(sorted(REQUEST)), unique=True, max_size=5),
    st.data(),
)
def test_a_request_says_the_same_at_a_glance_and_looked_at_closely(
    format_name: str, names: list[str], data: st.DataObject
) -> None:
    fields = {name: data.draw(REQUEST[name], label=name) for name in ("model", *names)}
    body = json.dumps(fields).encode()
    glance = asked(format_name, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TYPED[format_name], "ordinary", lambda body, decoder: None)
        closely = asked(format_name, body)
    # Of two faults either may be told.
    assert glance == closely or (isinstance(glance, tuple) and isinstance(closely, tuple))


def told(format_name: str, kind: str, body: bytes) -> dict[str, Any] | None:
    try:
        reading = FORMATS[format_name].read_whole(body, Brief("m", kind))
    except BadFrame:
        return None
    return {name: getattr(reading, name) for name in WholeReading.__struct_fields__ if name != "measure"} | {
        "text_bytes": reading.text_bytes
    }


ANSWER = {
    "id": mostly(st.just("id_1")),
    "responseId": mostly(st.just("id_1")),
    "object": mostly(st.sampled_from(["chat.completion", "error"])),
    "type": mostly(st.sampled_from(["message", "error"])),
    "status": mostly(st.sampled_from(["completed", "failed", "incomplete"])),
    "stop_reason": mostly(st.just("end_turn")),
    "service_tier": mostly(st.just("default")),
    "error": mostly(st.none()),
    "incomplete_details": mostly(st.fixed_dictionaries({"reason": mostly(st.just("length"))})),
    "promptFeedback": mostly(st.fixed_dictionaries({"blockReason": mostly(st.just("SAFETY"))})),
    "choices": mostly(
        st.lists(mostly(st.fixed_dictionaries({"finish_reason": mostly(st.just("stop"))})), max_size=2)
    ),
    "candidates": mostly(
        st.lists(mostly(st.fixed_dictionaries({"finishReason": mostly(st.just("STOP"))})), max_size=2)
    ),
    "content": mostly(
        st.lists(mostly(st.fixed_dictionaries({"text": st.text(max_size=4), "input": ODD})), max_size=2)
    ),
    "output": mostly(st.lists(mostly(st.fixed_dictionaries({"type": mostly(st.just("web_search_call"))})))),
}
INNER = ("cached_tokens", "reasoning_tokens", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
OUTER = (
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_cache_hit_tokens", "cached_tokens"),
    *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
    *("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount"),
    *("toolUsePromptTokenCount", "cachedContentTokenCount"),
)
DETAILS = (
    *("prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details"),
    *("cache_creation", "server_tool_use"),
)
USAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(OUTER, COUNTS),
        **dict.fromkeys(
            DETAILS,
            mostly(
                st.fixed_dictionaries({}, optional=dict.fromkeys((*INNER, "web_search_requests"), COUNTS))
            ),
        ),
        "service_tier": mostly(st.just("standard")),
        "serviceTier": mostly(st.just("standard")),
    },
)


@settings(max_examples=count(200, 5_000), deadline=None)
@given(
    st.sampled_from(sorted(TYPED)),
    st.sampled_from([GENERATE, GENERATE, COMPLETE, COUNT_TOKENS]),
    st.lists(st.sampled_from(sorted(ANSWER)), unique=True, max_size=6),
    mostly(USAGE),
    st.data(),
)
def test_an_answer_says_the_same_at_a_glance_and_looked_at_closely(
    format_name: str, kind: str, names: list[str], usage: Any, data: st.DataObject
) -> None:
    fields = {name: data.draw(ANSWER[name], label=name) for name in names}
    body = json.dumps({**fields, "usage": usage, "usageMetadata": usage}).encode()
    glance = told(format_name, kind, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TYPED[format_name], "typed", lambda body, decoder: None)
        assert glance == told(format_name, kind, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"id":"a\xff"}',
        b'{"x":"\\q"}',
        b'{"x":1}x',
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", sorted(TYPED))
def test_an_answer_that_is_not_json_is_a_bad_frame(name: str, body: bytes) -> None:
    with pytest.raises(BadFrame):
        FORMATS[name].read_whole(body, Brief("m"))


@pytest.mark.parametrize("format_name", sorted(TYPED))
def test_what_vendors_send_takes_a_glance(format_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TYPED[format_name], "_read_odd_answer", None)
    usual = [each for each in PAYLOADS if each.whole and each.format == format_name and each.kind == GENERATE]
    assert len(usual) > 1
    for payload in usual:
        if not payload.expected.suspect:
            assert FORMATS[format_name].read_whole(payload.whole, payload.brief).usage == payload.expected
