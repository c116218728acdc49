from __future__ import annotations

import json
from typing import Any

import pytest
from openai._streaming import SSEDecoder

from tests.wire.cuts import run_watch, transcript
from tests.wire.usage_payloads import chat_chunk, chunk
from wire import FORMATS
from wire.format import Passed
from wire.types import GENERATE, BadFrame, BadRequest, Brief, Fault, InbandError

CHAT = FORMATS["openai_chat"]
BRIEF = Brief(model="m", stream=True)


def peeked(**fields: Any) -> Brief:
    return CHAT.peek(json.dumps({"model": "gpt-4o", **fields}).encode(), kind=GENERATE)


def user(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "x"}, {"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Brief(model="gpt-4o")),
        ({"stream": True}, Brief(model="gpt-4o", stream=True)),
        ({"stream": None, "n": None, "store": None}, Brief(model="gpt-4o")),
        ({"stream": True, "stream_options": None}, Brief(model="gpt-4o", stream=True)),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            Brief(model="gpt-4o", stream=True, wants_usage=True),
        ),
        ({"stream": True, "stream_options": {"include_usage": False}}, Brief(model="gpt-4o", stream=True)),
        ({"stream_options": {"include_usage": True}}, Brief(model="gpt-4o")),
        ({"n": 3, "max_tokens": 5}, Brief(model="gpt-4o", count=3, max_tokens=5)),
        ({"max_completion_tokens": 7, "max_tokens": 5}, Brief(model="gpt-4o", max_tokens=7)),
        ({"max_tokens": -1, "n": -2}, Brief(model="gpt-4o")),
        ({"max_tokens": 0, "n": 0}, Brief(model="gpt-4o", max_tokens=0)),
        ({"max_tokens": "5", "n": 1.5}, Brief(model="gpt-4o")),
        ({"n": 10**12}, Brief(model="gpt-4o", count=10**8)),
        ({"store": True}, Brief(model="gpt-4o", store=True)),
    ],
)
def test_it_reads_what_a_request_asks(fields: dict[str, Any], expected: Brief) -> None:
    assert peeked(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"messages": [{"role": "user", "content": "image_url"}]}, set()),
        ({"messages": user({"type": "text", "text": '"type":"image_url"'})}, set()),
        ({"messages": user({"type": "image_url", "image_url": {"url": "https://x/y.png"}})}, {"vision"}),
        ({"messages": user({"type": "input_audio", "input_audio": {"data": "x"}})}, {"audio"}),
        ({"messages": user({"type": "file", "file": {"file_id": "x"}})}, {"documents"}),
        ({"tools": [{"type": "function"}]}, {"tools"}),
        ({"tools": []}, set()),
        ({"functions": [{"name": "x"}]}, {"tools"}),
        ({"reasoning_effort": "high"}, {"thinking"}),
        ({"reasoning_effort": "none"}, set()),
        ({"reasoning_effort": None}, set()),
        ({"reasoning": {"effort": "low"}}, {"thinking"}),
        ({"reasoning": {"effort": "none"}}, set()),
        ({"thinking": {"type": "enabled"}}, {"thinking"}),
        ({"thinking": {"type": "disabled"}}, set()),
        (
            {
                "messages": user({"type": "image_url"}, {"type": "file"}),
                "tools": [{}],
                "reasoning_effort": "low",
            },
            {"vision", "documents", "tools", "thinking"},
        ),
        ({"messages": "nonsense"}, set()),
        ({"messages": [5, None, {"type": "image_url"}]}, set()),
        ({"messages": [{"content": [{"type": 5}]}, {"content": [{"type": "file"}]}]}, {"documents"}),
        ({"metadata": {"type": "image_url"}}, set()),
        ({"messages": user({"type": "image_url", "image_url": {"url": "x" * 300_000}})}, {"vision"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:50],  # a set has no order
)
def test_it_reads_what_a_request_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert peeked(**fields).needs == needs


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (b'{"model":null}', "model"),
        (b'{"model":"../x"}', "model"),
        (b'{"model":"m","stream":"yes"}', "stream"),
        (b'{"model":"m","stream":1}', "stream"),
        (b'{"model":"m","model":"n"}', "model"),
        (b'{"model":"m","n":1,"n":2}', "n"),
        (b"[]", ""),
    ],
)
def test_a_request_that_cannot_be_relayed_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        CHAT.peek(body, kind=GENERATE)
    assert (refused.value.param, refused.value.status) == (param, 400)


@pytest.mark.parametrize(
    ("delta", "meaningful"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"role": "assistant", "content": None, "refusal": None, "tool_calls": None}, False),
        ({"role": "assistant", "tool_calls": []}, False),
        ({}, False),
        ({"content": "x"}, True),
        ({"content": " "}, True),
        ({"content": [{"type": "text", "text": "x"}]}, True),
        ({"refusal": "no"}, True),
        ({"reasoning_content": "hm"}, True),
        ({"reasoning": "hm"}, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}, True),
        ({"function_call": {"name": "f"}}, True),
        ({"audio": {"id": "a"}}, True),
    ],
)
def test_an_answer_begins_with_content_a_tool_call_reasoning_or_a_refusal(
    delta: dict[str, Any], meaningful: bool
) -> None:
    watch = CHAT.watch(BRIEF)
    frame = chat_chunk(delta)
    assert watch.feed(frame) == Passed(frame)
    assert watch.meaningful is meaningful


@pytest.mark.parametrize(
    "frame",
    [
        b": OPENROUTER PROCESSING\n\n",
        b"event: ping\n\n",
        b"data:\n\n",
        b"\n",
        chunk({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        chunk({"choices": [], "usage": None}),
        chunk({"id": "x"}),
    ],
)
def test_openers_are_let_through_and_are_no_answer_yet(frame: bytes) -> None:
    watch = CHAT.watch(BRIEF)
    assert watch.feed(frame) == Passed(frame)
    assert not watch.meaningful


def test_an_empty_answer_that_says_why_it_ended_is_an_answer() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(chat_chunk({}, "content_filter"))
    assert watch.meaningful
    assert watch.finish_reason == "content_filter"


@pytest.mark.parametrize(
    "frame", [b"data: {nonsense\n\n", b"data: \xff\n\n", b"data: 5\n\n", b"data: []\n\n"]
)
def test_a_first_frame_that_cannot_be_read_is_refused_and_a_later_one_is_forwarded(frame: bytes) -> None:
    with pytest.raises(BadFrame):
        CHAT.watch(BRIEF).feed(frame)
    watch = CHAT.watch(BRIEF)
    watch.feed(chat_chunk({"content": "x"}))
    assert watch.feed(frame) == Passed(frame)
    hinted = b'data: {"prompt_tokens" "error" \xff\n\n'
    assert watch.feed(hinted) == Passed(hinted)
    assert watch.error is None


def test_a_lone_surrogate_is_no_reason_to_refuse_a_frame() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n')
    assert watch.meaningful


USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


@pytest.mark.parametrize(
    ("event", "withheld"),
    [
        ({"choices": [], "usage": USAGE}, True),
        ({"usage": USAGE, "choices": [], "x": 1}, True),
        ({"choices": [], "usage": None}, False),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}, False),
        ({"usage": USAGE}, False),
        ({"choices": None, "usage": USAGE}, False),
    ],
)
def test_only_the_frame_that_a_client_did_not_ask_for_is_withheld(
    event: dict[str, Any], withheld: bool
) -> None:
    frame = chunk(event)
    for wants_usage in (False, True):
        watch = CHAT.watch(Brief(model="m", stream=True, wants_usage=wants_usage))
        watch.feed(chat_chunk({"content": "x"}))
        assert watch.feed(frame).out == (b"" if withheld and not wants_usage else frame)
        if event["usage"]:
            assert watch.usage().input_tokens == 5


def test_usage_behind_the_end_is_still_read_and_still_withheld() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(chat_chunk({"content": "x"}, "stop") + b"data: [DONE]\n\n")
    assert watch.feed(chunk({"choices": [], "usage": USAGE})) == Passed()
    assert watch.usage().output_tokens == 3
    assert watch.feed(b": bye\n\n") == Passed(end=b": bye\n\n")


def test_an_error_behind_the_end_changes_nothing() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(chat_chunk({"content": "x"}, "stop") + b"data: [DONE]\n\n")
    frame = chunk({"error": {"message": "late"}})
    assert watch.feed(frame) == Passed(end=frame)
    assert (watch.error, watch.ended) == (None, True)


@pytest.mark.parametrize(
    "frame",
    [
        chunk({"error": {"message": "m", "type": "server_error"}}),
        chunk({"error": "m"}),
        b'event: error\ndata: {"message":"m"}\n\n',
        chunk({"object": "error", "message": "m"}),
        chunk({"id": "x", "choices": [{"finish_reason": "error", "delta": {}}], "error": {"message": "m"}}),
    ],
)
def test_an_error_is_seen_in_every_shape_first_or_later(frame: bytes) -> None:
    for before in (b"", chat_chunk({"content": "x"})):
        followed = run_watch(CHAT.watch(BRIEF), [before + frame + chat_chunk({"content": "more"})])
        assert followed.out == before
        assert followed.error is not None
        assert followed.error.text == "m"
        assert not followed.ended


@pytest.mark.parametrize("event", [{"error": None, "choices": [{"delta": {"content": "x"}}]}, {"error": {}}])
def test_an_empty_error_is_none(event: dict[str, Any]) -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(chunk(event))
    assert watch.error is None


def test_a_bare_error_without_the_framing_of_a_stream_is_told() -> None:
    followed = run_watch(CHAT.watch(BRIEF), [b'{"error":{"message":"m",', b'"code":"rate_limit_exceeded"}}'])
    assert followed.error == InbandError(429, "rate_limit_exceeded", "m")


@pytest.mark.parametrize("body", [b"", b"<html>", b"\n", b"plain", b'{"a":', b'{"a":1}'])
def test_what_is_no_stream_ends_as_nothing(body: bytes) -> None:
    followed = run_watch(CHAT.watch(BRIEF), [body] if body else [])
    assert (followed.meaningful, followed.ended, followed.error) == (False, False, None)


def test_text_with_escapes_is_measured_as_it_reads() -> None:
    watch = CHAT.watch(BRIEF)
    values = ["plain", 'q"uo\\te', "\n\t\u00e9\u4f60", "\U0001f389", "\\u0041"]
    stream = b"".join(chat_chunk({"content": value}) for value in values)
    for ascii_only in (True, False):
        frames = [
            json.dumps({"choices": [{"delta": {"content": v}}]}, ensure_ascii=ascii_only) for v in values
        ]
        stream += "".join(f"data: {frame}\n\n" for frame in frames).encode()
    watch.feed(stream)
    assert watch.text_bytes == 3 * sum(len(value.encode()) for value in values)


def test_text_that_looks_like_a_frame_is_text() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(chat_chunk({"content": "x"}))
    nasty = (
        '{"error": {"message": "no"}} data: [DONE] "finish_reason": "stop" "prompt_tokens": 7\n\nevent: error'
    )
    frame = chat_chunk({"content": nasty})
    assert watch.feed(frame) == Passed(frame)
    assert (watch.error, watch.ended, watch.finish_reason) == (None, False, "")
    assert watch.text_bytes == 1 + len(nasty)
    assert not watch.usage().input_reported


def test_a_whole_answer_is_read() -> None:
    reading = CHAT.read_whole(transcript("openai_chat/text.json"), Brief(model="m"))
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.usage.final) == (16, 7, True)
    assert (reading.finish_reason, reading.response_id) == ("stop", "chatcmpl-D8Z5f52z")
    assert reading.text_bytes == len('Grüße, "world"\n你好 🎉'.encode())
    assert reading.usage.service_tier == "default"
    tools = CHAT.read_whole(transcript("openai_chat/tools.json"), Brief(model="m"))
    assert (tools.finish_reason, tools.text_bytes) == ("tool_calls", len('{"city":"Oslo"}'))


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"choices":null}', b'{"detail":"x"}'])
def test_a_whole_answer_without_choices_is_empty(body: bytes) -> None:
    assert not CHAT.read_whole(body, Brief(model="m")).has_content


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"{", b'{"a":"\xff"}', b"[" * 100_000])
def test_a_whole_answer_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        CHAT.read_whole(body, Brief(model="m"))


def test_an_error_inside_a_whole_200_is_told() -> None:
    reading = CHAT.read_whole(b'{"error":{"message":"m","code":"rate_limit_exceeded"}}', Brief(model="m"))
    assert reading.error == InbandError(429, "rate_limit_exceeded", "m")


def test_texts_are_what_was_delivered() -> None:
    event = json.loads(chat_chunk({"content": "a", "reasoning_content": "b"})[6:])
    assert list(CHAT.texts(event)) == ["b", "a"]
    whole = json.loads(transcript("openai_chat/tools.json"))
    assert list(CHAT.texts(whole)) == ['{"city":"Oslo"}']
    assert list(CHAT.texts({})) == []


def test_a_fault_in_mid_stream_is_an_error_and_no_done() -> None:
    told = CHAT.fault_event(Fault("timeout", "Too slow."), "id")
    events = list(SSEDecoder().iter_bytes(iter([told])))
    assert [event.json() for event in events] == [
        {"error": {"message": "Too slow.", "type": "timeout", "param": None, "code": "timeout"}}
    ]


def test_the_client_library_ignores_keep_alives() -> None:
    assert list(SSEDecoder().iter_bytes(iter([CHAT.keep_alive()] * 3))) == []


def framed(data: bytes) -> bytes:
    return b"data: %b\n\n" % data


BEGUN = framed(b'{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}')


@pytest.mark.parametrize(
    "written",
    [
        b'"finish_reason":"length"',
        b'"finish_reason": "length"',
        b'"finish_reason" :\t "length"',
        b'"finish_reason":"l\\u0065ngth"',
    ],
)
def test_a_reason_is_known_before_the_next_hint_comes(written: bytes) -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(BEGUN)
    assert watch.finish_reason == ""
    watch.feed(framed(b'{"choices":[{"index":0,"delta":{},%b}]}' % written))
    watch.feed(BEGUN)
    assert watch.finish_reason == "length"


def test_of_several_choices_the_last_reason_stands() -> None:
    one, other = (
        b'{"choices":[{"index":%d,"delta":{},"finish_reason":"%b"}]}' % each
        for each in ((0, b"stop"), (1, b"length"))
    )
    for first, last in ((one, other), (other, one)):
        watch = CHAT.watch(BRIEF)
        for data in (first, b'{"choices":[{"delta":{"content":"more"}}]}', last):
            watch.feed(BEGUN + framed(data) + BEGUN)
        assert watch.finish_reason == ("length" if last is other else "stop")
        # One that is read on a hint is later than those that passed unread, and earlier than the next.
        watch.feed(framed(b'{"note":"error","choices":[{"delta":{},"finish_reason":"tool_calls"}]}'))
        assert watch.finish_reason == "tool_calls"
        watch.feed(framed(first))
        assert watch.finish_reason == ("stop" if first is one else "length")


def test_a_reason_in_the_text_is_none() -> None:
    watch = CHAT.watch(BRIEF)
    watch.feed(
        BEGUN
        + framed(b'{"choices":[{"delta":{"content":"\\"finish_reason\\":\\"x\\""},"finish_reason":null}]}')
    )
    watch.feed(framed(b'{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}'))
    assert watch.finish_reason == ""
    watch.finish()
    assert not watch.ended
