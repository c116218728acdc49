"""Anthropic Messages: a whole message, or its events."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.compose import ID, LITERAL, Answer, Counts
from simulator.play import Event
from simulator.rules.anthropic import prefixes, signed

_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool": "tool_use",
    "filter": "refusal",
    "block": "refusal",
}
SIGNATURE = "RXJVQkNrWUlBeGdDSWtBc2ltdWxhdG9y" * 3


def usage(counts: Counts, kind: str = "") -> dict[str, Any]:
    """Counts as Anthropic tells them: cache reads and writes stand beside `input_tokens`, not in it."""
    literal = counts == Counts.literal()
    fresh = LITERAL if literal else counts.input - counts.cached - counts.w5m - counts.w1h
    told: dict[str, Any] = {
        "input_tokens": fresh,
        "cache_creation_input_tokens": LITERAL if literal else counts.w5m + counts.w1h,
        "cache_read_input_tokens": counts.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.w5m,
            "ephemeral_1h_input_tokens": counts.w1h,
        },
        "output_tokens": counts.output,
        "service_tier": "standard",
    }
    if counts.searches:
        told["server_tool_use"] = {"web_search_requests": counts.searches, "web_fetch_requests": 0}
    if kind == "sum":
        del told["cache_creation"]
    return told


def _signature(answer: Answer) -> str:
    if not answer.tag:
        return SIGNATURE
    *_, (_, _, prefix) = prefixes(answer.ask.body)
    return signed("redacted" if answer.options.redacted else answer.full_thoughts, prefix)


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thoughts and answer.options.redacted:
        blocks.append({"type": "redacted_thinking", "data": _signature(answer)})
    elif answer.thoughts:
        thinking = {"type": "thinking", "thinking": answer.full_thoughts, "signature": _signature(answer)}
        blocks.append(thinking)
    if answer.text:
        blocks.append({"type": "text", "text": answer.full_text})
    blocks += [
        {"type": "tool_use", "id": "toolu_" + call.id, "name": call.name, "input": call.arguments}
        for call in answer.calls
    ]
    return blocks


def _message(
    answer: Answer, content: list[dict[str, Any]], finish: str | None, told: object
) -> dict[str, Any]:
    return {
        "id": "msg_" + ID,
        "type": "message",
        "role": "assistant",
        "model": answer.ask.model,
        "content": content,
        "stop_reason": finish,
        "stop_sequence": None,
        "usage": told,
    }


def whole(answer: Answer) -> dict[str, Any]:
    """The `message` object."""
    told = None if answer.usage == "null" else usage(answer.counts, answer.usage)
    body = _message(answer, _blocks(answer), _FINISH[answer.finish], told)
    if answer.usage == "missing":
        del body["usage"]
    if answer.options.fault == "no-finish":
        body["stop_reason"] = None
    return body


def events(answer: Answer) -> list[Event]:
    """message_start, a ping, each block, message_delta with the final usage, message_stop."""
    frames: list[Event] = []

    def say(kind: str, **fields: Any) -> None:
        frames.append((kind, orjson.dumps({"type": kind, **fields})))

    opening = usage(answer.shown, answer.usage)
    if answer.usage not in ("zero", "shrinking") and answer.counts != Counts.literal():
        opening["output_tokens"] = (
            answer.counts.output if answer.usage == "start" else min(1, answer.counts.output)
        )
    message = _message(answer, [], None, None if answer.usage == "null" else opening)
    if answer.usage == "missing":
        del message["usage"]
    say("message_start", message=message)
    for index, block in enumerate(_blocks(answer)):
        say("content_block_start", index=index, content_block=_empty(block))
        if index == 0:
            say("ping")
        for delta in _deltas(answer, block, index):
            say("content_block_delta", index=index, delta=delta)
        say("content_block_stop", index=index)
    if answer.options.fault != "no-finish":
        closing = _closing(answer)
        for _ in range(2 if answer.usage == "repeated" else 1):
            delta = {"stop_reason": _FINISH[answer.finish], "stop_sequence": None}
            say("message_delta", delta=delta, **({} if answer.usage == "missing" else {"usage": closing}))
    say("message_stop")
    return frames


def _closing(answer: Answer) -> dict[str, Any] | None:
    """The usage of message_delta: as the vendor tells it now, input restated, unless a variant says
    otherwise."""
    kind, full = answer.usage, usage(answer.counts, answer.usage)
    if kind == "null":
        return None
    if kind in ("restated", "shrinking") or answer.counts == Counts.literal():
        return full
    if kind == "wiped":
        return {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": answer.counts.output}
    if kind == "start":
        return {"output_tokens": 0}
    return {"output_tokens": answer.counts.output}


def _empty(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "thinking":
            return {**block, "thinking": "", "signature": ""}
        case "text":
            return {**block, "text": ""}
        case "tool_use":
            return {**block, "input": {}}
        case _:
            return block


def _deltas(answer: Answer, block: dict[str, Any], index: int) -> list[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            told = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thoughts]
            return [*told, {"type": "signature_delta", "signature": block["signature"]}]
        case "text":
            return [{"type": "text_delta", "text": piece} for piece in answer.text]
        case "tool_use":
            call = next(call for call in answer.calls if block["id"].endswith(call.id))
            parts = ["", *call.pieces]
            return [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
        case _:
            return []
