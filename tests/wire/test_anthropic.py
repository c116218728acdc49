from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic._streaming import SSEDecoder

from tests.wire.cuts import run_watch, transcript
from tests.wire.usage_payloads import event as frame
from wire import FORMATS
from wire.format import Passed
from wire.types import COUNT_TOKENS, GENERATE, BadFrame, BadRequest, Brief, Fault, InbandError

ANTHROPIC = FORMATS["anthropic"]
BRIEF = Brief(model="m", stream=True)


def peeked(headers: dict[str, str] | None = None, **fields: Any) -> Brief:
    return ANTHROPIC.peek(json.dumps({"model": "claude", **fields}).encode(), kind=GENERATE, headers=headers)


def user(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


LONG = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_tokens": 9}, Brief(model="claude", max_tokens=9)),
        ({"max_tokens": 9, "stream": True}, Brief(model="claude", max_tokens=9, stream=True)),
        ({"max_tokens": 0}, Brief(model="claude", max_tokens=0)),
        ({}, Brief(model="claude")),
    ],
)
def test_it_reads_what_a_request_asks(fields: dict[str, Any], expected: Brief) -> None:
    assert peeked(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"messages": [{"role": "user", "content": '"type":"image"'}]}, set()),
        ({"messages": user({"type": "image"})}, {"vision"}),
        ({"messages": user({"type": "document"})}, {"documents"}),
        ({"messages": user({"type": "tool_result", "content": [{"type": "image"}]})}, {"vision"}),
        ({"messages": user({"type": "tool_result", "content": "text"})}, set()),
        ({"messages": user({"type": "tool_use", "input": {"type": "image"}})}, set()),
        ({"tools": [{"name": "x"}]}, {"tools"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"thinking"}),
        ({"thinking": {"type": "adaptive"}}, {"thinking"}),
        ({"thinking": {"type": "disabled"}}, set()),
        ({"system": [{"type": "text", "text": "x", "cache_control": LONG}]}, {"cache_1h"}),
        ({"messages": user({"type": "text", "text": "x", "cache_control": LONG})}, {"cache_1h"}),
        ({"tools": [{"name": "x", "cache_control": LONG}]}, {"tools", "cache_1h"}),
        ({"system": [{"cache_control": {"type": "ephemeral", "ttl": "5m"}}]}, set()),
        ({"system": '"cache_control":{"ttl":"1h"}'}, set()),
        ({"metadata": {"ttl": "1h"}}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_it_reads_what_a_request_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert peeked(**fields).needs == needs


@pytest.mark.parametrize(
    ("beta", "needs"),
    [
        ("context-1m-2025-08-07", {"context_1m"}),
        ("interleaved-thinking-2025-05-14, context-1m-2025-08-07", {"context_1m"}),
        ("interleaved-thinking-2025-05-14", set()),
        ("not-context-1m", set()),
        ("", set()),
    ],
)
def test_a_long_context_is_asked_for_by_a_header(beta: str, needs: set[str]) -> None:
    assert peeked({"anthropic-beta": beta}).needs == needs


def test_counting_tokens_is_never_streamed() -> None:
    assert not ANTHROPIC.peek(b'{"model":"c","stream":true}', kind=COUNT_TOKENS).stream


@pytest.mark.parametrize(
    "body", [b"{}", b'{"model":5}', b'{"model":"a","max_tokens":1,"max_tokens":2}', b"x"]
)
def test_a_request_that_cannot_be_relayed_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        ANTHROPIC.peek(body, kind=GENERATE)


@pytest.mark.parametrize(
    ("event", "meaningful"),
    [
        (
            {"type": "message_start", "message": {"id": "m", "content": [], "usage": {"input_tokens": 1}}},
            False,
        ),
        ({"type": "ping"}, False),
        ({"type": "content_block_start", "content_block": {"type": "text", "text": ""}}, False),
        ({"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}}, False),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}, False),
        ({"type": "content_block_stop", "index": 0}, False),
        ({"type": "something_new"}, False),
        ({"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 1}}, False),
        ({"type": "content_block_start", "content_block": {"type": "text", "text": "x"}}, True),
        ({"type": "content_block_start", "content_block": {"type": "tool_use", "input": {}}}, True),
        ({"type": "content_block_start", "content_block": {"type": "server_tool_use"}}, True),
        ({"type": "content_block_start", "content_block": {"type": "redacted_thinking", "data": "x"}}, True),
        ({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}, True),
        ({"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x"}}, True),
        ({"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "{"}}, True),
        ({"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x"}}, True),
        (
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            True,
        ),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_an_answer_begins_with_content_a_tool_call_or_thinking(
    event: dict[str, Any], meaningful: bool
) -> None:
    watch = ANTHROPIC.watch(BRIEF)
    assert watch.feed(frame(event)) == Passed(frame(event))
    assert watch.meaningful is meaningful


def test_a_stop_without_anything_before_it_is_an_empty_answer() -> None:
    followed = run_watch(ANTHROPIC.watch(BRIEF), [frame({"type": "message_stop"})])
    assert (followed.ended, followed.meaningful) == (True, False)


def test_a_stray_done_means_nothing() -> None:
    watch = ANTHROPIC.watch(BRIEF)
    assert watch.feed(b"data: [DONE]\n\n") == Passed(b"data: [DONE]\n\n")
    assert not watch.ended


@pytest.mark.parametrize("data", [b"data: {nonsense\n\n", b"data: \xff\n\n"])
def test_a_first_frame_that_cannot_be_read_is_refused_and_a_later_one_is_forwarded(data: bytes) -> None:
    with pytest.raises(BadFrame):
        ANTHROPIC.watch(BRIEF).feed(data)
    watch = ANTHROPIC.watch(BRIEF)
    watch.feed(frame({"type": "content_block_delta", "delta": {"text": "x"}}))
    assert watch.feed(data) == Passed(data)


@pytest.mark.parametrize(
    ("kind", "status"), [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500)]
)
def test_an_error_has_its_real_status_first_or_later(kind: str, status: int) -> None:
    error = frame({"type": "error", "error": {"type": kind, "message": "m"}})
    for before in (b"", frame({"type": "content_block_delta", "delta": {"text": "x"}})):
        followed = run_watch(ANTHROPIC.watch(BRIEF), [before + error])
        assert followed.error == InbandError(status, kind, "m")
        assert followed.out == before


@pytest.mark.parametrize("kind", [[], {}, 7, None])
def test_a_block_whose_type_is_no_word_is_no_answer_yet(kind: object) -> None:
    watch = ANTHROPIC.watch(BRIEF)
    watch.feed(frame({"type": "content_block_start", "index": 0, "content_block": {"type": kind}}))
    assert not watch.meaningful


def test_the_output_count_of_the_start_is_not_final() -> None:
    stream = transcript("anthropic/truncated.sse")
    usage = run_watch(ANTHROPIC.watch(BRIEF), [stream]).usage
    assert (usage.output_tokens, usage.output_reported, usage.final) == (7, True, False)
    whole = run_watch(ANTHROPIC.watch(BRIEF), [transcript("anthropic/tools.sse")]).usage
    assert (whole.output_tokens, whole.final) == (48, True)


def test_server_tools_the_tier_and_both_kinds_of_writes_are_read() -> None:
    searched = run_watch(ANTHROPIC.watch(BRIEF), [transcript("anthropic/web_search.sse")]).usage
    assert searched.tool_uses == {"web_search": 2}
    cached = run_watch(ANTHROPIC.watch(BRIEF), [transcript("anthropic/cache.sse")]).usage
    assert (cached.cache_write_5m_tokens, cached.cache_write_1h_tokens) == (150, 50)
    assert (cached.service_tier, cached.write_split_assumed) == ("priority", False)


def test_a_whole_answer_is_read() -> None:
    reading = ANTHROPIC.read_whole(transcript("anthropic/thinking.json"), Brief(model="m"))
    usage = reading.usage
    assert (usage.input_tokens, usage.output_tokens, usage.final) == (82, 373, True)
    assert (usage.cache_read_tokens, usage.cache_write_5m_tokens, usage.write_split_assumed) == (5, 30, True)
    assert (reading.finish_reason, reading.response_id) == ("tool_use", "msg_01TestTextResponse")
    assert reading.text_bytes == len("I work through it.") + len('{"city":"Oslo"}')


def test_counting_tokens_costs_none() -> None:
    reading = ANTHROPIC.read_whole(b'{"input_tokens":2095}', Brief(model="m", kind=COUNT_TOKENS))
    assert (reading.has_content, reading.usage.input_tokens, reading.usage.input_reported) == (True, 0, False)
    assert not ANTHROPIC.read_whole(b"{}", Brief(model="m", kind=COUNT_TOKENS)).has_content


def test_an_error_inside_a_whole_200_is_told() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}'
    assert ANTHROPIC.read_whole(body, Brief(model="m")).error == InbandError(529, "overloaded_error", "m")


def test_an_answer_without_anything_is_empty() -> None:
    assert not ANTHROPIC.read_whole(b"{}", Brief(model="m")).has_content
    stopped = b'{"content":[],"stop_reason":"end_turn","usage":{"output_tokens":2}}'
    assert ANTHROPIC.read_whole(stopped, Brief(model="m")).has_content


def test_texts_are_what_was_delivered() -> None:
    assert list(ANTHROPIC.texts({"type": "content_block_delta", "delta": {"text": "a"}})) == ["a"]
    assert list(ANTHROPIC.texts(json.loads(transcript("anthropic/thinking.json")))) == ["I work through it."]


def test_a_fault_in_mid_stream_is_an_error_event_and_no_stop() -> None:
    told = ANTHROPIC.fault_event(Fault("timeout", "Too slow."), "req-1")
    events = list(SSEDecoder().iter_bytes(iter([told])))
    assert [(event.event, event.json()) for event in events] == [
        (
            "error",
            {
                "type": "error",
                "error": {"type": "timeout_error", "message": "Too slow."},
                "request_id": "req-1",
            },
        )
    ]


def test_a_keep_alive_is_the_formats_own_ping() -> None:
    events = list(SSEDecoder().iter_bytes(iter([ANTHROPIC.keep_alive()] * 2)))
    assert [event.event for event in events] == ["ping", "ping"]


def test_a_secret_goes_in_the_formats_own_header_or_as_bearer() -> None:
    assert ANTHROPIC.credentials("s") == {"x-api-key": "s"}
    assert ANTHROPIC.credentials("s", "bearer") == {"authorization": "Bearer s"}
