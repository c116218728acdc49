"""OpenAI Chat Completions: a whole answer, or its chunks."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.compose import CREATED, ID, Answer, Call, Counts
from simulator.play import Event

_FINISH = {
    "stop": "stop",
    "length": "length",
    "tool": "tool_calls",
    "filter": "content_filter",
    "block": "stop",
}
DONE: Event = ("", b"[DONE]")


def usage(counts: Counts) -> dict[str, Any]:
    """Counts as Chat tells them: prompt tokens hold the cached ones, completion tokens the reasoning."""
    literal = counts == Counts.literal()
    return {
        "prompt_tokens": counts.input,
        "completion_tokens": counts.output,
        "total_tokens": counts.input if literal else counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": counts.reason,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call(call: Call, arguments: str) -> dict[str, Any]:
    return {
        "id": "call_" + call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def whole(answer: Answer) -> dict[str, Any]:
    """The `chat.completion` object."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.full_text or None, "refusal": None}
    if answer.thoughts:
        message["reasoning_content"] = answer.full_thoughts
    if answer.calls:
        message["tool_calls"] = [_call(call, call.json) for call in answer.calls]
    else:
        message["annotations"] = []
    body = {
        "id": "chatcmpl-" + ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": answer.ask.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
            for index in range(answer.ask.count)
        ],
        "usage": usage(answer.counts),
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
    }
    if answer.usage == "missing":
        del body["usage"]
    elif answer.usage == "null":
        body["usage"] = None
    return body


def _finish(answer: Answer) -> str | None:
    return None if answer.options.fault == "no-finish" else _FINISH[answer.finish]


def events(answer: Answer) -> list[Event]:
    """Chunks, the usage frame if the request asked for it, and `[DONE]`."""
    ask, kind = answer.ask, answer.usage
    with_usage = ask.include_usage and kind != "missing"
    frames: list[Event] = []

    def chunk(choices: list[dict[str, Any]], told: Counts | None = None) -> None:
        body: dict[str, Any] = {
            "id": "chatcmpl-" + ID,
            "object": "chat.completion.chunk",
            "created": CREATED,
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_simulator",
            "choices": choices,
        }
        if told is not None:
            body["usage"] = usage(told)
        elif with_usage:
            body["usage"] = None
        frames.append(("", orjson.dumps(body)))

    def delta(index: int, told: Counts | None = None, finish: str | None = None, **fields: Any) -> None:
        chunk([{"index": index, "delta": fields, "logprobs": None, "finish_reason": finish}], told)

    early = answer.shown if with_usage and kind in ("shrinking", "each") else None
    for index in range(ask.count):
        delta(index, early, role="assistant", content=None if answer.calls else "", refusal=None)
    for thought in answer.thoughts:
        for index in range(ask.count):
            delta(index, early, reasoning_content=thought)
    for piece in answer.text:
        for index in range(ask.count):
            delta(index, early, content=piece)
    for index in range(ask.count):
        for number, call in enumerate(answer.calls):
            delta(index, early, tool_calls=[{"index": number, **_call(call, "")}])
            for piece in call.pieces:
                delta(index, early, tool_calls=[{"index": number, "function": {"arguments": piece}}])
    final = answer.counts if with_usage and kind == "finish" else None
    for index in range(ask.count):
        if answer.options.fault != "no-finish":
            delta(index, final, _FINISH[answer.finish])
    if with_usage and kind not in ("null", "finish"):
        chunk([], answer.counts)
        if kind == "repeated":
            chunk([], answer.counts)
    return [*frames, DONE]
