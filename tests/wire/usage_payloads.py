"""Usage as vendors report it: copied from their public documents and from tests of public clients, with the
address beside each, and what each must come to, worked out by hand.

`PAYLOADS` is for the tests of other packages too: a name, a source, a format, a kind, the answer as stream
frames and/or as a whole body, and the expected `Usage`. Nothing here knows prices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from wire.types import EMBED, GENERATE, IMAGE, RERANK, TRANSCRIBE, Brief, Usage

AI_SDK = "https://github.com/vercel/ai/blob/main/packages"
ANTHROPIC_SDK = "https://github.com/anthropics/anthropic-sdk-python/blob/main/tests/lib/streaming/fixtures"
OPENAI_SDK = "https://github.com/openai/openai-python/blob/main/tests/lib"
GENAI_PRICES = "https://github.com/pydantic/genai-prices/blob/main/tests"
OPENAI_DOCS = "https://platform.openai.com/docs"
ANTHROPIC_DOCS = "https://docs.claude.com/en/docs"


@dataclass(frozen=True)
class Payload:
    """One report of usage. `stream` are the frames of a streamed answer, `whole` is an unstreamed one; either
    may be missing where the vendor has only the other."""

    name: str
    source: str
    format: str
    expected: Usage
    stream: list[bytes] = field(default_factory=list)
    whole: bytes = b""
    kind: str = GENERATE

    @property
    def brief(self) -> Brief:
        """The request that would have been answered so."""
        return Brief(model="model", kind=self.kind, stream=bool(self.stream))


def tokens(source: int | None, output: int | None, **more: Any) -> Usage:
    """A finished report. None for a count that upstream never gave."""
    return Usage(
        input_tokens=source or 0,
        output_tokens=output or 0,
        input_reported=source is not None,
        output_reported=output is not None,
        final=output is not None,
        **more,
    )


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event(value: dict[str, Any]) -> bytes:
    """A frame named by its type, as Anthropic and Responses write it."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), dump(value))


def chunk(value: dict[str, Any]) -> bytes:
    """A nameless frame."""
    return b"data: %b\n\n" % dump(value)


# Shells of each format round the vendor's own usage object.

CHAT_ID = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1770933883, "model": "model"}


def chat_chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    return chunk({**CHAT_ID, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **more})


OPENING = [
    chat_chunk({"role": "assistant", "content": ""}, usage=None),
    chat_chunk({"content": "OK"}, usage=None),
]
DONE = b"data: [DONE]\n\n"


def chat(name: str, source: str, usage: dict[str, Any], expected: Usage, *, tier: str = "") -> Payload:
    """Usage in a frame of its own behind the last choice, and on a whole answer."""
    extra = {"service_tier": tier} if tier else {}
    message = {"role": "assistant", "content": "OK"}
    return Payload(
        name,
        source,
        "openai_chat",
        expected,
        stream=[
            *OPENING,
            chat_chunk({}, "stop", usage=None),
            chunk({**CHAT_ID, "choices": [], "usage": usage, **extra}),
            DONE,
        ],
        whole=dump(
            {
                **CHAT_ID,
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": usage,
                **extra,
            }
        ),
    )


def responses(
    name: str, source: str, usage: dict[str, Any] | None, expected: Usage, *, tier: str = "auto", **more: Any
) -> Payload:
    """Usage in the ending event, and on a whole answer."""
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1787659560,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "model",
        "output": [
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "OK"}]}
        ],
        "service_tier": tier,
        "usage": usage,
        **more,
    }
    started = {**answer, "status": "in_progress", "output": [], "usage": None, "service_tier": "auto"}
    return Payload(
        name,
        source,
        "openai_responses",
        expected,
        stream=[
            event({"type": "response.created", "response": started, "sequence_number": 0}),
            event({"type": "response.output_text.delta", "delta": "OK", "sequence_number": 1}),
            event({"type": f"response.{answer['status']}", "response": answer, "sequence_number": 2}),
        ],
        whole=dump(answer),
    )


def message_start(usage: dict[str, Any] | None) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "model",
        "stop_reason": None,
        "stop_sequence": None,
    }
    if usage is not None:
        message["usage"] = usage
    return event({"type": "message_start", "message": message})


def message_delta(usage: dict[str, Any], reason: str = "end_turn") -> bytes:
    return event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": usage,
        }
    )


BLOCK = [
    event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    event({"type": "ping"}),
    event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "OK"}}),
    event({"type": "content_block_stop", "index": 0}),
]
STOP = event({"type": "message_stop"})


def message_stream(
    name: str, source: str, start: dict[str, Any] | None, delta: dict[str, Any], expected: Usage
) -> Payload:
    """Usage told twice, as Anthropic streams do."""
    return Payload(
        name,
        source,
        "anthropic",
        expected,
        stream=[message_start(start), *BLOCK, message_delta(delta), STOP],
    )


def message(name: str, source: str, usage: dict[str, Any], expected: Usage) -> Payload:
    """Usage of a whole answer; as a stream would tell it: all but the output first, the output last."""
    return Payload(
        name,
        source,
        "anthropic",
        expected,
        stream=[
            message_start({**usage, "output_tokens": 1}),
            *BLOCK,
            message_delta({"output_tokens": usage["output_tokens"]}),
            STOP,
        ],
        whole=dump(
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "model",
                "content": [{"type": "text", "text": "OK"}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": usage,
            }
        ),
    )


def candidate(text: str, reason: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    return {**found, "finishReason": reason} if reason else found


def gemini_stream(name: str, source: str, reports: list[dict[str, Any] | None], expected: Usage) -> Payload:
    """Usage on every chunk; the last chunk ends the answer. As one whole answer it holds the last report."""
    last = len(reports) - 1
    answers = []
    for place, report in enumerate(reports):
        answer: dict[str, Any] = {"candidates": [candidate("O", "STOP" if place == last else "")]}
        if report is not None:
            answer["usageMetadata"] = report
        answers.append({**answer, "modelVersion": "model", "responseId": "r1"})
    return Payload(
        name,
        source,
        "gemini",
        expected,
        stream=[chunk(answer).replace(b"\n", b"\r\n") for answer in answers],
        whole=dump(answers[-1]),
    )


def gemini(name: str, source: str, usage: dict[str, Any], expected: Usage) -> Payload:
    """The usage of one answer, on its only chunk where it is streamed."""
    return gemini_stream(name, source, [usage], expected)


def family(name: str, source: str, kind: str, answer: dict[str, Any], expected: Usage) -> Payload:
    """An answer of one of the smaller paths."""
    return Payload(name, source, "openai_chat", expected, whole=dump(answer), kind=kind)


CHAT = [
    chat(
        "openai: a plain answer, every detail zero",
        f"{AI_SDK}/openai/src/chat/__fixtures__/openai-text.json",
        {
            "prompt_tokens": 16,
            "completion_tokens": 363,
            "total_tokens": 379,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        tokens(16, 363, service_tier="default"),
        tier="default",
    ),
    chat(
        "openai: a prompt from the cache",
        f"{OPENAI_DOCS}/guides/prompt-caching",
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        tokens(2006, 300, cache_read_tokens=1920),
    ),
    chat(
        "openai: what was written to a cache, and what was read",
        "https://developers.openai.com/api/docs/guides/prompt-caching",
        {
            "prompt_tokens": 2600,
            "completion_tokens": 300,
            "total_tokens": 2900,
            "prompt_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 400},
        },
        tokens(2600, 300, cache_read_tokens=2000, cache_write_5m_tokens=400),
    ),
    chat(
        "openai: sound among the output",
        f"{AI_SDK}/openai/src/chat/__fixtures__/openai-audio-gpt-audio-1.5.json",
        {
            "prompt_tokens": 17,
            "completion_tokens": 40,
            "total_tokens": 57,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "audio_tokens": 0,
                "text_tokens": 17,
                "image_tokens": 0,
            },
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 30, "text_tokens": 10},
        },
        tokens(17, 40),
    ),
    chat(
        "openai: null details",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "prompt_tokens": 100,
            "completion_tokens": 200,
            "prompt_tokens_details": {"cached_tokens": None},
            "completion_tokens_details": None,
        },
        tokens(100, 200),
    ),
    chat(
        "azure: reasoning within the output",
        f"{AI_SDK}/openai/src/chat/__fixtures__/azure-model-router.1.chunks.txt",
        {
            "completion_tokens": 78,
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0,
                "audio_tokens": 0,
                "reasoning_tokens": 64,
                "rejected_prediction_tokens": 0,
            },
            "prompt_tokens": 15,
            "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
            "total_tokens": 93,
        },
        tokens(15, 78, reasoning_tokens=64),
    ),
    chat(
        "mistral: a prompt from the cache",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "prompt_tokens": 1013,
            "completion_tokens": 30,
            "total_tokens": 1043,
            "prompt_tokens_details": {"cached_tokens": 1008},
        },
        tokens(1013, 30, cache_read_tokens=1008),
    ),
    chat(
        "mistral: no details at all",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        tokens(10, 5),
    ),
    chat(
        "mistral: a tier of its own",
        f"{AI_SDK}/mistral/src/__fixtures__/mistral-usage-raw-live.json",
        {
            "prompt_tokens": 19,
            "total_tokens": 21,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 0},
            "service_tier": "standard",
        },
        tokens(19, 2),
    ),
    Payload(
        "mistral: told on every chunk, more reasoning than output",
        f"{AI_SDK}/mistral/src/__fixtures__/mistral-usage-details.chunks.txt",
        "openai_chat",
        tokens(20, 2, reasoning_tokens=2, suspect=True),
        stream=[
            chat_chunk(
                {"role": "assistant", "content": "OK"},
                usage={
                    "prompt_tokens": 1,
                    "completion_tokens": 1,
                    "total_tokens": 2,
                    "service_tier": "priority",
                },
            ),
            chat_chunk(
                {"content": ""},
                "stop",
                usage={
                    "prompt_tokens": 20,
                    "completion_tokens": 2,
                    "total_tokens": 22,
                    "prompt_audio_seconds": 1,
                    "request_count": 1,
                    "num_cached_tokens": 0,
                    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 1},
                    "completion_tokens_details": {"reasoning_tokens": 7},
                },
            ),
            DONE,
        ],
    ),
    chat(
        "openrouter: what was written to a cache",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "prompt_tokens": 4819,
            "completion_tokens": 1906,
            "total_tokens": 6725,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 4800, "audio_tokens": 17},
            "completion_tokens_details": {"audio_tokens": 23},
        },
        tokens(4819, 1906, cache_write_5m_tokens=4800),
    ),
    chat(
        "deepseek: nothing but reasoning",
        f"{AI_SDK}/deepseek/src/chat/__fixtures__/deepseek-v4-sampling-live.json",
        {
            "prompt_tokens": 87,
            "completion_tokens": 8,
            "total_tokens": 95,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 8},
            "prompt_cache_hit_tokens": 0,
            "prompt_cache_miss_tokens": 87,
        },
        tokens(87, 8, reasoning_tokens=8),
    ),
    Payload(
        "deepseek: usage in the chunk that finishes",
        f"{AI_SDK}/deepseek/src/chat/__fixtures__/issue-19789-live-usage.chunks.txt",
        "openai_chat",
        tokens(88, 4, reasoning_tokens=4),
        stream=[
            chat_chunk({"role": "assistant", "content": ""}, usage=None),
            chat_chunk(
                {"content": "sanitized"},
                "length",
                usage={
                    "prompt_tokens": 88,
                    "completion_tokens": 4,
                    "total_tokens": 92,
                    "prompt_tokens_details": {"cached_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 4},
                    "prompt_cache_hit_tokens": 0,
                    "prompt_cache_miss_tokens": 88,
                },
            ),
            DONE,
        ],
    ),
    chat(
        "deepseek: a tool call",
        f"{AI_SDK}/deepseek/src/chat/__fixtures__/deepseek-tool-call.json",
        {
            "prompt_tokens": 374,
            "completion_tokens": 60,
            "total_tokens": 434,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 16},
            "prompt_cache_hit_tokens": 0,
            "prompt_cache_miss_tokens": 374,
        },
        tokens(374, 60, reasoning_tokens=16),
    ),
    chat(
        "xai: reasoning counted beside the output",
        f"{AI_SDK}/xai/src/__fixtures__/xai-tool-call.json",
        {
            "prompt_tokens": 291,
            "completion_tokens": 26,
            "total_tokens": 506,
            "prompt_tokens_details": {
                "text_tokens": 291,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": 244,
            },
            "completion_tokens_details": {"reasoning_tokens": 189, "audio_tokens": 0},
            "num_sources_used": 0,
            "cost_in_usd_ticks": 1399000,
        },
        tokens(291, 215, cache_read_tokens=244, reasoning_tokens=189),
    ),
    chat(
        "xai: the same, streamed",
        f"{AI_SDK}/xai/src/__fixtures__/xai-tool-call.chunks.txt",
        {
            "prompt_tokens": 291,
            "completion_tokens": 26,
            "total_tokens": 513,
            "prompt_tokens_details": {"text_tokens": 291, "cached_tokens": 290},
            "completion_tokens_details": {"reasoning_tokens": 196},
        },
        tokens(291, 222, cache_read_tokens=290, reasoning_tokens=196),
    ),
    chat(
        "xai through a gateway: fields of the gateway's own",
        f"{AI_SDK}/xai/src/__fixtures__/issue-19639-generate.json",
        {
            "prompt_tokens": 675,
            "completion_tokens": 1,
            "total_tokens": 676,
            "cost": 0.0000344,
            "is_byok": False,
            "prompt_tokens_details": {"cached_tokens": 674, "audio_tokens": 0, "video_tokens": 0},
            "cost_details": {"upstream_inference_cost": None},
            "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 0},
            "cache_creation_input_tokens": 0,
        },
        tokens(675, 1, cache_read_tokens=674),
    ),
    Payload(
        "groq: usage under x_groq and again on top",
        f"{AI_SDK}/groq/src/__fixtures__/groq-tool-call.chunks.txt",
        "openai_chat",
        tokens(210, 15),
        stream=[
            chat_chunk({"role": "assistant", "content": None}, x_groq={"id": "req_1", "seed": 689520654}),
            chat_chunk({"tool_calls": [{"index": 0, "function": {"name": "weather", "arguments": "{}"}}]}),
            chat_chunk(
                {},
                "tool_calls",
                x_groq={
                    "id": "req_1",
                    "usage": {"prompt_tokens": 210, "completion_tokens": 15, "total_tokens": 225},
                },
                usage={
                    "queue_time": 0.041520249,
                    "prompt_tokens": 210,
                    "prompt_time": 0.010407901,
                    "completion_tokens": 15,
                    "completion_time": 0.046601227,
                    "total_tokens": 225,
                    "total_time": 0.057009128,
                },
            ),
            DONE,
        ],
    ),
    Payload(
        "openai: usage told once, before the end, is not final",
        f"{OPENAI_SDK}/chat/test_stream_metadata_retention.py",
        "openai_chat",
        Usage(input_tokens=9, output_tokens=2, input_reported=True, output_reported=True),
        stream=[
            chat_chunk(
                {"role": "assistant", "content": "o"},
                usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
            ),
            chat_chunk({"content": "k"}, "stop"),
            chunk({**CHAT_ID, "choices": [], "moderation": {"input": {"results": []}}}),
            DONE,
        ],
    ),
    Payload(
        "openai: no usage at all",
        f"{OPENAI_DOCS}/api-reference/chat-streaming",
        "openai_chat",
        Usage(),
        stream=[
            chat_chunk({"role": "assistant", "content": ""}),
            chat_chunk({"content": "Hello"}),
            chat_chunk({}, "stop"),
            DONE,
        ],
    ),
]

RESPONSES = [
    responses(
        "openai: reasoning within the output",
        f"{OPENAI_DOCS}/guides/reasoning",
        {
            "input_tokens": 75,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1186,
            "output_tokens_details": {"reasoning_tokens": 1024},
            "total_tokens": 1261,
        },
        tokens(75, 1186, reasoning_tokens=1024, service_tier="auto"),
    ),
    responses(
        "openai: no total",
        f"{AI_SDK}/openai/src/responses/__fixtures__/openai-phase.1.json",
        {
            "input_tokens": 50,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 100,
            "output_tokens_details": {"reasoning_tokens": 20},
        },
        tokens(50, 100, reasoning_tokens=20, service_tier="default"),
        tier="default",
    ),
    responses(
        "openai: a custom tool",
        f"{AI_SDK}/openai/src/responses/__fixtures__/openai-custom-tool.1.json",
        {
            "input_tokens": 50,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 70,
        },
        tokens(50, 20, service_tier="auto"),
    ),
    responses(
        "openai: a counter of cache writes",
        f"{AI_SDK}/openai/src/responses/__fixtures__/issue-19921-prompt-cache-breakpoint.json",
        {
            "input_tokens": 41,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 46,
        },
        tokens(41, 5, service_tier="default"),
        tier="default",
    ),
    responses(
        "openai: what was written to a cache, and what was read",
        "https://developers.openai.com/api/docs/guides/prompt-caching",
        {
            "input_tokens": 2600,
            "input_tokens_details": {"cached_tokens": 2000, "cache_write_tokens": 400},
            "output_tokens": 300,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2900,
        },
        tokens(2600, 300, cache_read_tokens=2000, cache_write_5m_tokens=400, service_tier="auto"),
    ),
    responses(
        "openai: a function call",
        f"{AI_SDK}/openai/src/responses/__fixtures__/issue-19493-gpt-5.1-tool-call.chunks.txt",
        {
            "input_tokens": 45,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": 25,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 70,
        },
        tokens(45, 25, service_tier="default"),
        tier="default",
    ),
    responses(
        "openai: the shortest answer",
        f"{AI_SDK}/openai/src/responses/__fixtures__/issue-20047-openai-responses.chunks.txt",
        {
            "input_tokens": 12,
            "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 14,
        },
        tokens(12, 2, service_tier="default"),
        tier="default",
    ),
    responses(
        "openai: a search of the web",
        f"{AI_SDK}/openai/src/responses/__fixtures__/openai-web-search-tool.1.json",
        {
            "input_tokens": 327,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 770,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1097,
        },
        tokens(327, 770, service_tier="auto", tool_uses={"web_search": 1}),
        output=[
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "News."}]},
        ],
    ),
    responses(
        "openai: no details",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {"input_tokens": 100, "output_tokens": 200},
        tokens(100, 200, service_tier="auto"),
    ),
    responses(
        "openai: cut short, no usage",
        f"{OPENAI_SDK}/responses/test_stream_incomplete.py",
        None,
        Usage(service_tier="auto"),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
]

ANTHROPIC = [
    message_stream(
        "anthropic: input first, output last",
        f"{ANTHROPIC_SDK}/basic_response.txt",
        {"input_tokens": 11, "output_tokens": 1},
        {"output_tokens": 6},
        tokens(11, 6),
    ),
    message_stream(
        "anthropic: a tool call",
        f"{ANTHROPIC_SDK}/tool_use_response.txt",
        {
            "input_tokens": 377,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
        {"output_tokens": 65},
        tokens(377, 65, service_tier="standard"),
    ),
    message_stream(
        "anthropic: a server tool",
        f"{ANTHROPIC_SDK}/server_tool_use_response.txt",
        {
            "input_tokens": 42,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
        {"output_tokens": 40},
        tokens(42, 40, service_tier="standard"),
    ),
    message_stream(
        "anthropic: a server tool and one of the client's",
        f"{ANTHROPIC_SDK}/server_tool_result_response.txt",
        {
            "input_tokens": 50,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
            "service_tier": "standard",
        },
        {"output_tokens": 20},
        tokens(50, 20, service_tier="standard"),
    ),
    message_stream(
        "anthropic: nothing at the start",
        f"{ANTHROPIC_SDK}/usage_omitted_response.txt",
        None,
        {"input_tokens": 12, "output_tokens": 6},
        tokens(12, 6),
    ),
    message_stream(
        "anthropic: no input at all",
        f"{ANTHROPIC_SDK}/beta_usage_omitted_input_tokens_response.txt",
        None,
        {"output_tokens": 6},
        tokens(None, 6),
    ),
    message_stream(
        "anthropic: everything at the end",
        f"{ANTHROPIC_SDK}/missing_usage_rich_delta_response.txt",
        None,
        {
            "input_tokens": 11,
            "output_tokens": 1,
            "cache_creation_input_tokens": 3,
            "cache_read_input_tokens": 5,
            "server_tool_use": {"web_search_requests": 2},
            "cache_creation": {"ephemeral_5m_input_tokens": 3},
        },
        tokens(19, 1, cache_read_tokens=5, cache_write_5m_tokens=3, tool_uses={"web_search": 2}),
    ),
    message_stream(
        "anthropic: an object where one expects a count",
        f"{ANTHROPIC_SDK}/fallback_credit_response.txt",
        {"input_tokens": 25, "output_tokens": 1},
        {"output_tokens": 8, "fallback_credit": {"status": {"type": "redeemed"}}},
        tokens(25, 8),
    ),
    message_stream(
        "anthropic: the input grows while the turn runs",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-message-delta-input-tokens.chunks.txt",
        {"input_tokens": 43, "output_tokens": 1},
        {"input_tokens": 61, "output_tokens": 2},
        tokens(61, 2),
    ),
    message_stream(
        "anthropic: cached while the turn runs, the split told at the start only",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-code-execution-20260120-prompt-cache.1.chunks.txt",
        {
            "input_tokens": 2,
            "cache_creation_input_tokens": 3068,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 3068, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 69,
            "service_tier": "standard",
            "inference_geo": "global",
        },
        {
            "input_tokens": 6,
            "cache_creation_input_tokens": 3337,
            "cache_read_input_tokens": 6289,
            "output_tokens": 198,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
        },
        tokens(
            6 + 3337 + 6289,
            198,
            cache_read_tokens=6289,
            cache_write_5m_tokens=3337,
            write_split_assumed=True,
            service_tier="standard",
        ),
    ),
    message_stream(
        "anthropic: everything told twice",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-tool-no-args.chunks.txt",
        {
            "input_tokens": 565,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 7,
            "service_tier": "standard",
        },
        {
            "input_tokens": 565,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 48,
        },
        tokens(565, 48, service_tier="standard"),
    ),
    message_stream(
        "anthropic: thinking within the output",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-claude-sonnet-5-reasoning-summarized.chunks.txt",
        {
            "input_tokens": 47,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 2,
            "service_tier": "standard",
            "inference_geo": "global",
        },
        {
            "input_tokens": 47,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 373,
            "output_tokens_details": {"thinking_tokens": 62},
        },
        tokens(47, 373, service_tier="standard"),
    ),
    Payload(
        "anthropic: refused before a word",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-refusal.chunks.txt",
        "anthropic",
        tokens(18, 5, service_tier="standard"),
        stream=[
            message_start(
                {
                    "input_tokens": 18,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
                    "output_tokens": 1,
                    "service_tier": "standard",
                    "inference_geo": "not_available",
                }
            ),
            event({"type": "ping"}),
            message_delta(
                {
                    "input_tokens": 18,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 5,
                },
                "refusal",
            ),
            STOP,
        ],
    ),
    Payload(
        "anthropic: message_start twice",
        f"{AI_SDK}/anthropic/src/__fixtures__/duplicate-message-start.chunks.txt",
        "anthropic",
        tokens(17, 227),
        stream=[
            message_start({"input_tokens": 17, "output_tokens": 1}),
            message_start({"input_tokens": 17, "output_tokens": 1}),
            *BLOCK,
            message_delta({"output_tokens": 227}),
            STOP,
        ],
    ),
    message(
        "anthropic: every cache counter zero",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-text.json",
        {
            "input_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 5,
            "service_tier": "standard",
        },
        tokens(10, 5, service_tier="standard"),
    ),
    message(
        "anthropic: two searches of the web",
        f"{AI_SDK}/anthropic/src/__fixtures__/anthropic-web-search-tool.1.json",
        {
            "input_tokens": 27118,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 600,
            "service_tier": "standard",
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        },
        tokens(27118, 600, service_tier="standard", tool_uses={"web_search": 2}),
    ),
    message(
        "anthropic: writes without their split",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "input_tokens": 504,
            "cache_creation_input_tokens": 123,
            "cache_read_input_tokens": 0,
            "output_tokens": 97,
            "service_tier": "standard",
        },
        tokens(627, 97, cache_write_5m_tokens=123, write_split_assumed=True, service_tier="standard"),
    ),
    message(
        "anthropic: no cache counters",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {"input_tokens": 504, "output_tokens": 97, "service_tier": "standard"},
        tokens(504, 97, service_tier="standard"),
    ),
    message(
        "anthropic: writes of five minutes and of an hour",
        f"{ANTHROPIC_DOCS}/build-with-claude/prompt-caching",
        {
            "input_tokens": 2048,
            "cache_read_input_tokens": 1800,
            "cache_creation_input_tokens": 248,
            "output_tokens": 503,
            "cache_creation": {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100},
        },
        tokens(
            2048 + 1800 + 248,
            503,
            cache_read_tokens=1800,
            cache_write_5m_tokens=148,
            cache_write_1h_tokens=100,
        ),
    ),
    message(
        "anthropic: a recorded answer",
        f"{GENAI_PRICES}/dataset/usages.json",
        {
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "input_tokens": 14,
            "output_tokens": 65,
            "service_tier": "standard",
        },
        tokens(14, 65, service_tier="standard"),
    ),
]


def text_details(count: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": count}]


GEMINI = [
    gemini_stream(
        "gemini: thoughts beside the candidates, growing",
        f"{AI_SDK}/google/src/__fixtures__/google-text.chunks.txt",
        [
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": candidates,
                "totalTokenCount": 9 + candidates + 185,
                "promptTokensDetails": text_details(9),
                "thoughtsTokenCount": 185,
            }
            for candidates in (5, 23, 23)
        ],
        tokens(9, 208, reasoning_tokens=185),
    ),
    gemini_stream(
        "gemini: a longer answer",
        f"{AI_SDK}/google/src/__fixtures__/google-reasoning.chunks.txt",
        [
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": candidates,
                "totalTokenCount": 9 + candidates + 256,
                "promptTokensDetails": text_details(9),
                "thoughtsTokenCount": 256,
            }
            for candidates in (10, 29, 29)
        ],
        tokens(9, 285, reasoning_tokens=256),
    ),
    gemini_stream(
        "gemma: thoughts before any candidate",
        f"{AI_SDK}/google/src/__fixtures__/gemma-4-output-usage.chunks.txt",
        [
            {
                "promptTokenCount": 6,
                "totalTokenCount": 20,
                "promptTokensDetails": text_details(6),
                "thoughtsTokenCount": 14,
                "serviceTier": "standard",
            },
            {
                "promptTokenCount": 6,
                "totalTokenCount": 82,
                "promptTokensDetails": text_details(6),
                "thoughtsTokenCount": 76,
                "serviceTier": "standard",
            },
            {
                "promptTokenCount": 6,
                "candidatesTokenCount": 1,
                "totalTokenCount": 83,
                "promptTokensDetails": text_details(6),
                "thoughtsTokenCount": 76,
                "serviceTier": "standard",
            },
        ],
        tokens(6, 77, reasoning_tokens=76, service_tier="standard"),
    ),
    gemini_stream(
        "gemini: a function call",
        f"{AI_SDK}/google/src/__fixtures__/google-tool-call.chunks.txt",
        [
            {
                "promptTokenCount": 29,
                "candidatesTokenCount": 15,
                "totalTokenCount": 89,
                "promptTokensDetails": text_details(29),
                "thoughtsTokenCount": 45,
            }
        ]
        * 2,
        tokens(29, 60, reasoning_tokens=45),
    ),
    gemini(
        "gemini: mostly thoughts",
        f"{AI_SDK}/google/src/__fixtures__/google-stream-gemini-3.7-flash-2026-09-14.chunks.txt",
        {
            "promptTokenCount": 6,
            "candidatesTokenCount": 1,
            "totalTokenCount": 57,
            "promptTokensDetails": text_details(6),
            "thoughtsTokenCount": 50,
            "serviceTier": "standard",
        },
        tokens(6, 51, reasoning_tokens=50, service_tier="standard"),
    ),
    gemini(
        "gemini: prompts of tools",
        f"{AI_SDK}/google/src/__fixtures__/google-tool-use-usage.json",
        {
            "promptTokenCount": 55,
            "candidatesTokenCount": 51,
            "totalTokenCount": 251,
            "promptTokensDetails": text_details(55),
            "toolUsePromptTokenCount": 89,
            "toolUsePromptTokensDetails": text_details(89),
            "thoughtsTokenCount": 56,
            "serviceTier": "standard",
        },
        tokens(144, 107, reasoning_tokens=56, service_tier="standard"),
    ),
    gemini(
        "gemini: prompts of tools, again",
        f"{AI_SDK}/google/src/__fixtures__/google-usage-raw-live.json",
        {
            "promptTokenCount": 12,
            "candidatesTokenCount": 60,
            "totalTokenCount": 219,
            "promptTokensDetails": text_details(12),
            "toolUsePromptTokenCount": 65,
            "toolUsePromptTokensDetails": text_details(65),
            "thoughtsTokenCount": 82,
            "serviceTier": "standard",
        },
        tokens(77, 142, reasoning_tokens=82, service_tier="standard"),
    ),
    gemini(
        "gemini: prompts of tools and a little from the cache",
        f"{AI_SDK}/google/src/__fixtures__/google-usage-raw-live.chunks.txt",
        {
            "promptTokenCount": 12,
            "candidatesTokenCount": 71,
            "totalTokenCount": 237,
            "cachedContentTokenCount": 4,
            "promptTokensDetails": text_details(12),
            "cacheTokensDetails": text_details(4),
            "toolUsePromptTokenCount": 65,
            "toolUsePromptTokensDetails": text_details(65),
            "thoughtsTokenCount": 89,
            "serviceTier": "standard",
        },
        tokens(77, 160, cache_read_tokens=4, reasoning_tokens=89, service_tier="standard"),
    ),
    gemini(
        "gemini: every counter, and fields of the future",
        f"{AI_SDK}/google/src/__fixtures__/issue-19822-complete-usage.json",
        {
            "promptTokenCount": 19,
            "cachedContentTokenCount": 3,
            "candidatesTokenCount": 4,
            "toolUsePromptTokenCount": 63,
            "thoughtsTokenCount": 56,
            "totalTokenCount": 142,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19, "futureDetailField": "prompt"}],
            "serviceTier": "standard",
            "futureUsageField": "preserve-me",
        },
        tokens(82, 60, cache_read_tokens=3, reasoning_tokens=56, service_tier="standard"),
    ),
    Payload(
        "gemini: a prompt that was blocked",
        f"{AI_SDK}/google/src/__fixtures__/issue-19758-prompt-block.json",
        "gemini",
        tokens(9, None, service_tier="standard"),
        stream=[
            chunk(
                {
                    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                    "usageMetadata": {
                        "promptTokenCount": 9,
                        "totalTokenCount": 9,
                        "promptTokensDetails": text_details(9),
                        "serviceTier": "standard",
                    },
                    "modelVersion": "gemini-3.7-flash",
                    "responseId": "EXCPatOAKMrQjMcPteHVmQo",
                }
            )
        ],
        whole=dump(
            {
                "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                "usageMetadata": {
                    "promptTokenCount": 9,
                    "totalTokenCount": 9,
                    "promptTokensDetails": text_details(9),
                    "serviceTier": "standard",
                },
                "modelVersion": "gemini-3.7-flash",
                "responseId": "EXCPaojyHaDUjMcP656rqAk",
            }
        ),
    ),
    gemini(
        "gemini: tools and thoughts",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "promptTokenCount": 75,
            "candidatesTokenCount": 18,
            "totalTokenCount": 262,
            "trafficType": "ON_DEMAND",
            "promptTokensDetails": text_details(75),
            "candidatesTokensDetails": text_details(18),
            "toolUsePromptTokenCount": 25,
            "thoughtsTokenCount": 144,
        },
        tokens(100, 162, reasoning_tokens=144),
    ),
    gemini(
        "gemini: a prompt from the cache, with sound",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "promptTokenCount": 14152,
            "candidatesTokenCount": 60,
            "totalTokenCount": 14271,
            "cachedContentTokenCount": 12239,
            "trafficType": "ON_DEMAND",
            "cacheTokensDetails": [
                {"modality": "AUDIO", "tokenCount": 129},
                {"modality": "TEXT", "tokenCount": 12110},
            ],
            "thoughtsTokenCount": 69,
        },
        tokens(14152, 129, cache_read_tokens=12239, reasoning_tokens=69),
    ),
    gemini(
        "gemini: no total",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {"promptTokenCount": 1000, "candidatesTokenCount": 500, "cachedContentTokenCount": 300},
        tokens(1000, 500, cache_read_tokens=300),
    ),
    gemini(
        "gemini: tools and thoughts without a total",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "promptTokenCount": 10,
            "candidatesTokenCount": 3,
            "thoughtsTokenCount": 4,
            "toolUsePromptTokenCount": 25,
        },
        tokens(35, 7, reasoning_tokens=4),
    ),
    gemini(
        "gemini: a total that fits nothing",
        f"{GENAI_PRICES}/test_extract_usage.py",
        {
            "promptTokenCount": 75,
            "candidatesTokenCount": 18,
            "totalTokenCount": 237,
            "trafficType": "ON_DEMAND",
            "promptTokensDetails": text_details(75),
            "candidatesTokensDetails": text_details(18),
        },
        tokens(75, 18),
    ),
    Payload(
        "gemini: embeddings",
        f"{AI_SDK}/google/src/__fixtures__/google-embedding-2-multimodal-batch.json",
        "gemini",
        tokens(12, None),
        whole=dump(
            {
                "embeddings": [{"values": [0.5138951, 0.857853]}, {"values": [-0.5045317, -0.8633931]}],
                "usageMetadata": {"promptTokenCount": 12, "promptTokenDetails": text_details(12)},
            }
        ),
        kind=EMBED,
    ),
]

FAMILY = [
    family(
        "openai: an embedding",
        f"{OPENAI_DOCS}/api-reference/embeddings/create",
        EMBED,
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": [0.0023064255, -0.009327292], "index": 0}],
            "model": "text-embedding-ada-002",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        tokens(8, None),
    ),
    family(
        "mistral: embeddings",
        f"{AI_SDK}/mistral/src/__fixtures__/mistral-embedding.json",
        EMBED,
        {
            "id": "fe87621011b544829fe9f966488f3d84",
            "object": "list",
            "data": [{"object": "embedding", "embedding": [-0.0389404296875, 0.048065185546875], "index": 0}],
            "model": "mistral-embed",
            "usage": {
                "prompt_audio_seconds": None,
                "prompt_tokens": 16,
                "total_tokens": 16,
                "completion_tokens": 0,
                "request_count": None,
                "prompt_tokens_details": None,
            },
        },
        tokens(16, 0),
    ),
    family(
        "openai: an image",
        f"{OPENAI_DOCS}/api-reference/images/create",
        IMAGE,
        {
            "created": 1713833628,
            "data": [{"b64_json": "..."}],
            "usage": {
                "total_tokens": 100,
                "input_tokens": 50,
                "output_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            },
        },
        tokens(50, 50),
    ),
    family(
        "openai: a transcription by tokens",
        f"{AI_SDK}/openai/src/transcription/__fixtures__/openai-transcription-issue-14721-audio-mp4.json",
        TRANSCRIBE,
        {
            "text": "Honestly, it was a pretty steep learning curve at first.",
            "usage": {
                "type": "tokens",
                "total_tokens": 169,
                "input_tokens": 122,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 122},
                "output_tokens": 47,
            },
        },
        tokens(122, 47),
    ),
    family(
        "openai: a transcription by its length",
        f"{OPENAI_DOCS}/api-reference/audio/createTranscription",
        TRANSCRIBE,
        {"text": "Imagine the wildest idea.", "usage": {"type": "duration", "seconds": 9}},
        Usage(),
    ),
    family(
        "cohere: a ranking, billed by searches",
        f"{AI_SDK}/cohere/src/reranking/__fixtures__/cohere-reranking.1.json",
        RERANK,
        {
            "id": "b44fe75b-e3d3-489a-b61e-1a1aede3ef72",
            "results": [{"index": 1, "relevance_score": 0.10183054}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        },
        Usage(),
    ),
]

PAYLOADS = [*CHAT, *RESPONSES, *ANTHROPIC, *GEMINI, *FAMILY]
