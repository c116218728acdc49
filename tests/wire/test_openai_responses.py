from __future__ import annotations

import json
from typing import Any

import pytest
from openai._streaming import SSEDecoder
from openai.types.responses import ResponseFailedEvent

from tests.wire.cuts import run_watch, transcript
from tests.wire.usage_payloads import event as frame
from wire import FORMATS
from wire.format import Passed
from wire.types import FAULT_CODES, GENERATE, STORED, BadFrame, BadRequest, Brief, Fault, InbandError

RESPONSES = FORMATS["openai_responses"]
BRIEF = Brief(model="m", stream=True)


def peeked(**fields: Any) -> Brief:
    return RESPONSES.peek(json.dumps({"model": "gpt-5", **fields}).encode(), kind=GENERATE)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"input": "hi"}, Brief(model="gpt-5")),
        ({"stream": True, "max_output_tokens": 9}, Brief(model="gpt-5", stream=True, max_tokens=9)),
        ({"store": None}, Brief(model="gpt-5")),
        ({"store": False}, Brief(model="gpt-5", store=False)),
        ({"store": True}, Brief(model="gpt-5", store=True)),
        ({"previous_response_id": "resp_1"}, Brief(model="gpt-5", previous_id="resp_1")),
        ({"previous_response_id": None, "conversation": None}, Brief(model="gpt-5")),
        ({"background": False}, Brief(model="gpt-5")),
    ],
)
def test_it_reads_what_a_request_asks(fields: dict[str, Any], expected: Brief) -> None:
    assert peeked(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"previous_response_id": 5}, "previous_response_id"),
        ({"stream": "yes"}, "stream"),
        ({"store": "yes"}, "store"),
        ({"model": None}, "model"),
    ],
)
def test_what_this_version_cannot_do_is_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        peeked(**fields)
    assert (refused.value.param, refused.value.status) == (param, 400)
    if param in ("background", "conversation"):
        assert "not supported in this version" in refused.value.text


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"input": "input_image"}, set()),
        ({"input": [{"role": "user", "content": "x"}]}, set()),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, {"vision"}),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]}, {"documents"}),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {"audio"}),
        ({"tools": [{"type": "web_search"}]}, {"tools"}),
        ({"reasoning": {"effort": "high"}}, {"thinking"}),
        ({"reasoning": {"effort": "none"}}, set()),
        ({"reasoning": None, "tools": []}, set()),
    ],
)
def test_it_reads_what_a_request_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert peeked(**fields).needs == needs


def test_a_stored_response_has_no_body_to_read() -> None:
    assert RESPONSES.peek(b"", kind=STORED) == Brief(model="", kind=STORED)
    assert RESPONSES.peek(b"", kind=STORED, query="a=1&stream=true").stream
    assert RESPONSES.retarget(b"", Brief(model="", kind=STORED), model="x") == b""


def test_only_the_model_changes_and_no_stream_options_are_added() -> None:
    body = b'{"stream":true, "model":"fast"}'
    brief = RESPONSES.peek(body, kind=GENERATE)
    assert RESPONSES.retarget(body, brief, model="up") == b'{"stream":true, "model":"up"}'


MESSAGE = {"type": "message", "content": []}


@pytest.mark.parametrize(
    ("event", "meaningful"),
    [
        ({"type": "response.created", "response": {"id": "r", "output": []}}, False),
        ({"type": "response.queued"}, False),
        ({"type": "response.in_progress"}, False),
        ({"type": "response.output_item.added", "item": MESSAGE}, False),
        ({"type": "response.output_item.added", "item": {"type": "reasoning", "summary": []}}, False),
        ({"type": "response.content_part.added", "part": {"text": ""}}, False),
        ({"type": "response.reasoning_summary_part.added"}, False),
        ({"type": "keepalive"}, False),
        ({"type": "codex.rate_limits", "plan": "x"}, False),
        ({"type": "response.output_text.delta", "delta": ""}, False),
        ({"type": "response.output_text.delta", "delta": "x"}, True),
        ({"type": "response.refusal.delta", "delta": "x"}, True),
        ({"type": "response.reasoning_summary_text.delta", "delta": "x"}, True),
        ({"type": "response.function_call_arguments.delta", "delta": "{"}, True),
        ({"type": "response.output_item.added", "item": {"type": "function_call"}}, True),
        ({"type": "response.output_item.added", "item": {"type": "web_search_call"}}, True),
        (
            {"type": "response.output_item.added", "item": {"type": "reasoning", "encrypted_content": "x"}},
            True,
        ),
        ({"type": "response.web_search_call.searching"}, True),
        ({"type": "response.output_item.done", "item": {"type": "reasoning"}}, True),
        ({"type": "response.completed", "response": {"status": "completed", "output": []}}, True),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_an_answer_begins_with_content_a_tool_call_or_reasoning(
    event: dict[str, Any], meaningful: bool
) -> None:
    watch = RESPONSES.watch(BRIEF)
    passed = watch.feed(frame(event))
    assert passed.out + passed.end == frame(event)
    assert watch.meaningful is meaningful


def test_the_type_may_stand_in_the_event_name_alone() -> None:
    watch = RESPONSES.watch(BRIEF)
    watch.feed(b'event: response.output_text.delta\ndata: {"delta":"x"}\n\n')
    assert watch.meaningful


@pytest.mark.parametrize("data", [b"data: {nonsense\n\n", b"data: \xff\n\n"])
def test_a_first_frame_that_cannot_be_read_is_refused_and_a_later_one_is_forwarded(data: bytes) -> None:
    with pytest.raises(BadFrame):
        RESPONSES.watch(BRIEF).feed(data)
    watch = RESPONSES.watch(BRIEF)
    watch.feed(frame({"type": "response.output_text.delta", "delta": "x"}))
    assert watch.feed(data) == Passed(data)


def test_a_failure_is_told_with_the_tokens_it_cost() -> None:
    followed = run_watch(RESPONSES.watch(BRIEF), [transcript("openai_responses/failed_later.sse")])
    assert followed.error == InbandError(500, "server_error", "The model failed.")
    assert (followed.usage.input_tokens, followed.usage.output_tokens, followed.usage.final) == (12, 2, True)
    assert b"response.failed" not in followed.out + followed.end


def test_the_name_of_the_response_is_known_from_its_first_event() -> None:
    watch = RESPONSES.watch(BRIEF)
    stream = transcript("openai_responses/text.sse")
    watch.feed(stream[: stream.index(b"\n\n") + 2])
    assert watch.response_id == "resp_0775572d10a16b66"


def test_server_tools_are_counted_even_in_a_stream_that_breaks() -> None:
    stream = transcript("openai_responses/web_search.sse")
    whole = run_watch(RESPONSES.watch(BRIEF), [stream])
    assert whole.usage.tool_uses == {"web_search": 2}
    broken = run_watch(RESPONSES.watch(BRIEF), [stream[: stream.index(b"event: response.completed")]])
    assert (broken.ended, broken.usage.tool_uses) == (False, {"web_search": 2})


def test_a_whole_answer_is_read() -> None:
    reading = RESPONSES.read_whole(transcript("openai_responses/text.json"), Brief(model="m"))
    usage = reading.usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (12, 60, 48)
    assert (usage.cache_read_tokens, usage.service_tier, usage.final) == (4, "default", True)
    assert (reading.finish_reason, reading.response_id) == ("completed", "resp_0775572d10a16b66")
    assert reading.text_bytes == len("Thinking.Grüße 🎉\n".encode())


def test_a_whole_answer_that_failed_is_an_error() -> None:
    reading = RESPONSES.read_whole(transcript("openai_responses/failed.json"), Brief(model="m"))
    assert reading.error == InbandError(500, "server_error", "The model failed.")


def test_a_stored_answer_costs_nothing_again() -> None:
    body = transcript("openai_responses/text.json")
    reading = RESPONSES.read_whole(body, Brief(model="", kind=STORED))
    assert (reading.usage.input_reported, reading.response_id) == (False, "resp_0775572d10a16b66")


def test_an_answer_without_anything_is_empty() -> None:
    assert not RESPONSES.read_whole(b"{}", Brief(model="m")).has_content


def test_texts_are_what_was_delivered() -> None:
    assert list(RESPONSES.texts({"type": "response.output_text.delta", "delta": "a"})) == ["a"]
    whole = json.loads(transcript("openai_responses/text.json"))
    assert list(RESPONSES.texts(whole)) == ["Thinking.", "Grüße 🎉\n"]


@pytest.mark.parametrize("code", FAULT_CODES)
def test_a_fault_in_mid_stream_is_a_failed_response_that_the_client_library_reads(code: str) -> None:
    told = RESPONSES.fault_event(Fault(code, "It broke."), "0192aabb-ccdd-7000-8000-000000000000", sequence=7)
    events = list(SSEDecoder().iter_bytes(iter([told])))
    assert [event.event for event in events] == ["response.failed"]
    parsed = ResponseFailedEvent.model_validate(events[0].json(), strict=True)
    assert (parsed.type, parsed.sequence_number) == ("response.failed", 7)
    assert parsed.response.status == "failed"
    assert parsed.response.error is not None
    assert parsed.response.error.message == "It broke."
    assert parsed.response.created_at == 0x0192AABBCCDD // 1000


def test_an_error_is_told_in_place_of_the_vendors_own_with_its_number() -> None:
    watch = RESPONSES.watch(Brief(model="m", stream=True))
    watch.feed(frame({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}))
    watch.feed(frame({"type": "response.output_text.delta", "sequence_number": 1, "delta": "a"}))
    assert watch.data_frames == 2
    watch.feed(frame({"type": "error", "sequence_number": 2, "code": "server_error", "message": "It broke."}))
    assert watch.error is not None
    assert watch.data_frames == 2


def test_an_id_that_is_no_uuid_has_no_instant() -> None:
    told = RESPONSES.fault_event(Fault("timeout", "x"), "req-zzz")
    assert json.loads(told.split(b"data: ")[1])["response"]["created_at"] == 0


def test_the_client_library_ignores_keep_alives() -> None:
    assert list(SSEDecoder().iter_bytes(iter([RESPONSES.keep_alive()] * 3))) == []
