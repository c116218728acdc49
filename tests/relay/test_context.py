"""StreamContext: what one request knows of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from relay.context import AttemptLog, StreamContext
from tests.relay.harness import house
from tests.relay.targets import target
from wire.types import Brief, Usage

DEFAULTS: dict[str, Any] = {
    "provider_name": None,
    "provider_id": None,
    "endpoint_id": None,
    "key_id": None,
    "attempt_id": None,
    "provider_api_format": None,
    "mapped_model": None,
    "input_tokens": 0,
    "output_tokens": 0,
    "cached_tokens": 0,
    "cache_creation_tokens": 0,
    "collected_text": "",
    "status_code": 200,
    "error_message": None,
    "has_completion": False,
    "response_headers": {},
    "provider_request_headers": {},
    "provider_request_body": None,
    "data_count": 0,
    "chunk_count": 0,
    "parsed_chunks": [],
}
COUNTS = ("input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens")


def fresh() -> StreamContext:
    return StreamContext(model="fast", api_format="openai_chat")


def told(ctx: StreamContext) -> tuple[int, ...]:
    return tuple(getattr(ctx, name) for name in COUNTS)


# Fields


def test_it_is_built_from_a_model_and_a_format_and_nothing_else() -> None:
    ctx = fresh()
    assert (ctx.model, ctx.api_format) == ("fast", "openai_chat")
    assert {name: getattr(ctx, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("given", [{}, {"model": "fast"}, {"api_format": "gemini"}])
def test_model_and_format_are_required(given: dict[str, str]) -> None:
    make: Callable[..., StreamContext] = StreamContext
    with pytest.raises(TypeError):
        make(**given)


def test_no_mutable_default_is_shared() -> None:
    one, other = fresh(), fresh()
    shared = [
        name
        for name in StreamContext.__struct_fields__
        if isinstance(getattr(one, name), dict | list | set) and getattr(one, name) is getattr(other, name)
    ]
    assert shared == []


def test_its_repr_shows_no_body_no_header_value_and_no_secret() -> None:
    ctx = fresh()
    ctx.append_text("CANARY text")
    ctx.append_chunk({"choices": "CANARY chunk"}, 10)
    ctx.response_headers = {"x-a": "CANARY header"}
    ctx.provider_request_headers = {"authorization": "Bearer CANARY"}
    ctx.client_request_headers = {"x-api-key": "CANARY"}
    ctx.upstream_response_headers = {"set-cookie": "CANARY"}
    ctx.provider_request_body = ctx.request_body = b"CANARY body"
    ctx.mark_failed(502, "CANARY error")
    ctx.attempts.append(AttemptLog(1, target(secret="sk-CANARY"), 0, 0.0))
    ctx.usage = Usage()
    assert "CANARY" not in repr(ctx)
    assert "fast" in repr(ctx)
    assert "CANARY" not in repr(ctx.attempts[0])


# reset_for_retry


def test_reset_for_retry_forgets_what_an_attempt_taught() -> None:
    ctx = fresh()
    ctx.append_text("half an answer")
    ctx.append_chunk({"a": 1}, 7)
    ctx.data_count, ctx.chunk_count, ctx.has_completion = 3, 5, True
    ctx.update_usage(1, 2, 3, 4)
    ctx.mark_failed(502, "broken")
    ctx.response_headers = {"a": "b"}
    ctx.provider_request_headers = {"authorization": "x"}
    ctx.upstream_response_headers = {"server": "x"}
    ctx.provider_request_body = b"{}"
    ctx.usage = Usage(input_tokens=9, cache_write_1h_tokens=2, reasoning_tokens=3)
    ctx.finish_reason, ctx.response_id = "stop", "resp_1"
    ctx.truncated, ctx.truncated_body = True, True
    ctx.first_token_ms = ctx.first_byte_ms = 8
    ctx.checkpoint_mark = 5
    ctx.reset_for_retry()
    assert {name: getattr(ctx, name) for name in DEFAULTS} == DEFAULTS
    pristine = fresh()
    left_over = [
        name for name in StreamContext.__struct_fields__ if getattr(ctx, name) != getattr(pristine, name)
    ]
    assert left_over == []


def test_reset_for_retry_keeps_the_request_itself() -> None:
    ctx = fresh()
    ctx.request_text = "7"
    ctx.brief = Brief(model="fast", stream=True)
    ctx.client_request_id, ctx.address, ctx.user_agent, ctx.request_bytes = "mine", "127.0.0.1", "curl", 11
    ctx.attempts.append(AttemptLog(1, target(), 0, 0.0))
    ctx.started_at, ctx.began, ctx.dispatched = 1, 2.0, 3.0
    ctx.reset_for_retry()
    assert (ctx.model, ctx.api_format, ctx.request_text) == ("fast", "openai_chat", "7")
    assert ctx.brief == Brief(model="fast", stream=True)
    assert (ctx.client_request_id, ctx.address, ctx.user_agent) == ("mine", "127.0.0.1", "curl")
    assert (ctx.request_bytes, ctx.started_at, ctx.began, ctx.dispatched) == (11, 1, 2.0, 3.0)
    assert len(ctx.attempts) == 1


def test_lists_handed_out_before_a_reset_are_not_emptied_by_it() -> None:
    ctx = fresh()
    ctx.append_chunk({"a": 1}, 7)
    chunks = ctx.parsed_chunks
    ctx.reset_for_retry()
    assert chunks == [{"a": 1}]
    assert ctx.parsed_chunks == []


# update_provider_info


def test_update_provider_info_assigns_all_five() -> None:
    ctx = fresh()
    ctx.update_provider_info("acme", 1, 2, 3, "anthropic")
    assert (ctx.provider_name, ctx.provider_id, ctx.endpoint_id, ctx.key_id) == ("acme", 1, 2, 3)
    assert ctx.provider_api_format == "anthropic"


def test_update_provider_info_leaves_no_format_of_a_predecessor() -> None:
    ctx = fresh()
    ctx.update_provider_info("acme", 1, 2, 3, "anthropic")
    ctx.update_provider_info("other", 4, 5, 6)
    assert (ctx.provider_name, ctx.provider_id, ctx.endpoint_id, ctx.key_id) == ("other", 4, 5, 6)
    assert ctx.provider_api_format is None


# update_usage


@pytest.mark.parametrize(
    ("reports", "result"),
    [
        ([(None, None, None, None)], (0, 0, 0, 0)),
        ([(100, 0, None, None), (0, 50, None, None)], (100, 50, 0, 0)),
        ([(100, 50, 30, 20), (0, 0, 0, 0)], (100, 50, 30, 20)),
        ([(100, 50, 30, 20), (None, None, None, None)], (100, 50, 30, 20)),
        ([(100, 50, 30, 20), (90, 40, 20, 10)], (90, 40, 20, 10)),
        ([(100, 50, 0, 0), (100, 50, 0, 0)], (100, 50, 0, 0)),
        ([(0, 0, 0, 0), (1, 2, 3, 4)], (1, 2, 3, 4)),
        ([(5, None, None, None), (None, 6, None, None), (None, None, 7, 8)], (5, 6, 7, 8)),
    ],
    ids=[
        "nothing",
        "start and delta",
        "a later zero wipes nothing",
        "None is ignored",
        "a smaller one replaces",
        "no sum",
        "from zero",
        "each field alone",
    ],
)
def test_update_usage_is_defensive(
    reports: list[tuple[int | None, int | None, int | None, int | None]], result: tuple[int, int, int, int]
) -> None:
    ctx = fresh()
    for report in reports:
        ctx.update_usage(*report)
    assert told(ctx) == result


def test_update_usage_takes_each_field_by_name() -> None:
    ctx = fresh()
    ctx.update_usage(cache_creation_tokens=4)
    ctx.update_usage(cached_tokens=3)
    ctx.update_usage(output_tokens=2)
    ctx.update_usage(input_tokens=1)
    assert told(ctx) == (1, 2, 3, 4)


# mark_failed and is_success


def test_mark_failed_sets_status_and_message_and_touches_nothing_else() -> None:
    ctx, other = fresh(), fresh()
    ctx.mark_failed(504, "too slow")
    changed = {name for name in StreamContext.__struct_fields__ if getattr(ctx, name) != getattr(other, name)}
    assert changed == {"status_code", "error_message"}
    assert (ctx.status_code, ctx.error_message) == (504, "too slow")


@pytest.mark.parametrize(
    ("status", "success"), [(200, True), (302, True), (399, True), (400, False), (499, False), (529, False)]
)
def test_is_success_is_a_status_below_400(status: int, success: bool) -> None:
    ctx = fresh()
    ctx.mark_failed(status, "")
    assert ctx.is_success() is success


# What it tells


def test_build_response_body_holds_chunks_and_metadata() -> None:
    ctx = fresh()
    assert ctx.build_response_body(0) == {
        "chunks": [],
        "metadata": {
            "stream": True,
            "total_chunks": 0,
            "data_count": 0,
            "has_completion": False,
            "response_time_ms": 0,
        },
    }
    ctx.append_chunk({"a": 1}, 7)
    ctx.append_chunk({"b": 2}, 7)
    ctx.data_count, ctx.has_completion = 5, True
    assert ctx.build_response_body(123) == {
        "chunks": [{"a": 1}, {"b": 2}],
        "metadata": {
            "stream": True,
            "total_chunks": 2,
            "data_count": 5,
            "has_completion": True,
            "response_time_ms": 123,
        },
    }


def test_the_log_summary_is_one_line() -> None:
    ctx = StreamContext(model="model", api_format="anthropic")
    ctx.update_provider_info("provider", 1, 2, 3)
    ctx.update_usage(100, 50)
    line = ctx.get_log_summary("1a2b3c4d5e6f", 123)
    assert line == "[OK] 1a2b3c4d | model | provider | 123ms | in:100 out:50"


def test_the_log_summary_of_a_failure_without_a_provider() -> None:
    ctx = StreamContext(model="model", api_format="anthropic")
    ctx.mark_failed(502, "broken")
    assert ctx.get_log_summary("1a2b", 5) == "[FAIL] 1a2b | model | unknown | 5ms | in:0 out:0"


def test_the_log_summary_tells_the_first_byte_where_it_is_known() -> None:
    ctx = StreamContext(model="model", api_format="anthropic")
    ctx.first_byte_ms = 12
    assert ctx.get_log_summary("1a2b3c4d", 123).startswith("[OK] 1a2b3c4d | model | unknown | 123ms")
    assert "12ms" in ctx.get_log_summary("1a2b3c4d", 123).partition("123ms")[2]


# Bounded


def test_collected_text_may_be_set_and_added_to() -> None:
    ctx = fresh()
    ctx.collected_text = "one"
    ctx.append_text(" two")
    assert ctx.collected_text == "one two"
    ctx.collected_text = ""
    assert ctx.collected_text == ""


def test_text_stops_at_the_cap_and_flags_it() -> None:
    ctx = fresh()
    ctx.text_cap = 5
    ctx.append_text("1234")
    assert not ctx.truncated
    ctx.append_text("5678")
    ctx.append_text("9")
    assert (ctx.collected_text, ctx.truncated) == ("12345", True)


def test_chunks_stop_at_the_cap_and_flag_it() -> None:
    ctx = fresh()
    ctx.text_cap = 10
    ctx.append_chunk("a", 6)
    assert not ctx.truncated
    ctx.append_chunk("b", 6)
    assert (ctx.parsed_chunks, ctx.truncated) == (["a"], True)


def test_a_fresh_one_has_no_identity_of_another() -> None:
    assert fresh().request_text == ""
    assert fresh().attempts == []


# In the pipeline


@pytest.mark.django_db(transaction=True)
async def test_nothing_is_collected_while_recording_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[StreamContext] = []
    async with house("asgi") as each:
        settle = each.engine.settle

        def spied(ctx: StreamContext, *args: Any, **named: Any) -> None:
            seen.append(ctx)
            settle(ctx, *args, **named)

        monkeypatch.setattr(each.engine, "settle", spied)
        await each.http.post(
            "/v1/chat/completions",
            json={"model": "sim", "stream": True, "messages": [{"role": "user", "content": "hello"}]},
        )
        await each.idle()
    ctx = seen[0]
    assert (ctx.parsed_chunks, ctx.collected_text) == ([], "")
    assert ctx.provider_request_headers == {}
    assert ctx.provider_request_body is None
    # 40 words, the opener, the finish reason and the usage; data events do not count `[DONE]`.
    assert (ctx.data_count, ctx.chunk_count) == (43, 44)
    assert ctx.has_completion
    assert (ctx.input_tokens, ctx.output_tokens) == (1, 40)


@pytest.mark.django_db(transaction=True)
async def test_settling_twice_leaves_one_record() -> None:
    async with house("asgi") as each:
        ctx = fresh()
        answer = await each.http.post(
            "/v1/chat/completions", json={"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
        )
        assert answer.status_code == 200
        (final,) = await each.settled()
        ctx.caller = next(iter(each.engine.callers._known.values()))[0]
        each.engine.settle(ctx, "client_gone", code="client_gone")
        each.engine.settle(ctx, "ok")
        outcomes = [line["record"]["outcome"] for line in each.journal()]
        assert outcomes == [final["record"]["outcome"], "client_gone"]
