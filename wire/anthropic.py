"""Anthropic Messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wire.body import (
    NOTHING,
    Integer,
    ModelName,
    elements,
    holds,
    ordinary,
    part_needs,
    read_fields,
    read_model,
    word_in,
)
from wire.errors import read_error_body, read_inband
from wire.format import StreamWatch, WholeReading
from wire.jsons import as_object, as_objects, as_text, dumps, load_object, typed
from wire.passthrough import Meter, Sight, Watch
from wire.splice import apply, model_edits
from wire.sse import MAX_EVENT, Frame
from wire.types import COUNT_TOKENS, Brief, Fault, InbandError, Usage
from wire.urls import join
from wire.usage import ANTHROPIC, Count, Counters, anthropic_usage, from_anthropic

_FAULTS: Mapping[str, tuple[int, str]] = {
    "invalid_request": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "request_timeout": (408, "timeout_error"),
    "too_large": (413, "request_too_large"),
    "unprocessable": (422, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "insufficient_quota": (402, "billing_error"),
    "internal": (500, "api_error"),
    "upstream_error": (502, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "unavailable": (503, "api_error"),
    "timeout": (504, "timeout_error"),
    "interrupted": (503, "api_error"),
}
_LONG_CACHE = re.compile(rb'"cache_control"\s*+:\s*+\{[^{}]*"ttl"\s*+:\s*+"1h"')
_PART_NEEDS = {"image": "vision", "document": "documents", "container_upload": "documents"}
_KEYS = ("text", "thinking", "partial_json")
_METER = Meter(*_KEYS)
_WHOLE_METER = Meter("text", "thinking")
_OPENING_BLOCKS = frozenset(("text", "thinking"))


class _Request(msgspec.Struct):
    """What is looked at of a request."""

    model: ModelName
    stream: bool | None = None
    max_tokens: Integer | None = None
    thinking: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    messages: msgspec.Raw = NOTHING


class _CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    server_tool_use: dict[str, Count | None] | None = None
    service_tier: str | None = None


class _Answer(msgspec.Struct):
    """What is looked at of a whole answer."""

    type: str | None = None
    id: str | None = None
    content: list[msgspec.Raw] | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None
    error: None = None


class _Part(msgspec.Struct):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


_REQUEST = msgspec.json.Decoder(_Request)
_ANSWER = msgspec.json.Decoder(_Answer)
_MESSAGES = msgspec.json.Decoder(list[_Message])
_PARTS = msgspec.json.Decoder(list[_Part])


class Anthropic:
    """`/v1/messages` and `/v1/messages/count_tokens`."""

    name = "anthropic"

    def peek(
        self,
        body: bytes,
        *,
        kind: str,
        path: str = "",
        model: str = "",
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Brief:
        """Reads what the relay must know."""
        asked = ordinary(body, _REQUEST) or _read_closely(body)
        limit = asked.max_tokens
        return Brief(
            model=asked.model,
            kind=kind,
            stream=bool(asked.stream) and kind != COUNT_TOKENS,
            max_tokens=limit if limit is not None and limit >= 0 else None,
            needs=_needs(asked, body, headers or {}),
        )

    def retarget(self, body: bytes, brief: Brief, *, model: str, ask_usage: bool = True) -> bytes:
        """The model's name; usage comes unasked."""
        return apply(body, model_edits(body, brief.model, model))

    def upstream_url(self, base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
        """The address to call; the client's query (`beta=true`) goes along."""
        return join(base_url, path, query)

    def credentials(self, secret: str, style: str = "") -> dict[str, str]:
        """Headers that carry the upstream secret."""
        return {"authorization": f"Bearer {secret}"} if style == "bearer" else {"x-api-key": secret}

    def watch(self, brief: Brief, *, max_event: int = MAX_EVENT) -> StreamWatch:
        """A fresh watch for one streamed attempt."""
        return MessageWatch(brief, max_event)

    def read_whole(self, body: bytes, brief: Brief) -> WholeReading:
        """Reads a whole answer. Counting tokens costs none."""
        answer = typed(body, _ANSWER) if brief.kind != COUNT_TOKENS else None
        if answer is None or answer.type == "error":
            return _read_odd_answer(body, brief)
        reason = answer.stop_reason or ""
        return WholeReading(
            _usage(answer.usage),
            reason,
            answer.id or "",
            bool(answer.content) or bool(reason),
            body=body,
            measure=_text_size,
        )

    def read_error(self, status: int, body: bytes) -> InbandError:
        """The vendor's error body."""
        return read_error_body(status, body)

    def fault(self, fault: Fault, request_id: str) -> tuple[int, bytes]:
        """Status and JSON body of an error before the first byte."""
        status = fault.status or _FAULTS[fault.code][0]
        return status, dumps(_envelope(fault, request_id))

    def fault_event(
        self, fault: Fault, request_id: str, *, array: bool = False, opened: bool = True, sequence: int = 0
    ) -> bytes:
        """An `error` event and no `message_stop`."""
        return b"event: error\ndata: %b\n\n" % dumps(_envelope(fault, request_id))

    def keep_alive(self, *, array: bool = False) -> bytes:
        """The format has an event of its own for it."""
        return b'event: ping\ndata: {"type": "ping"}\n\n'

    def texts(self, event: Mapping[str, Any]) -> Iterable[str]:
        """The delivered text in one parsed event or whole answer."""
        for part in (
            as_object(event.get("delta")),
            as_object(event.get("content_block")),
            *as_objects(event.get("content")),
        ):
            for key in _KEYS:
                if isinstance(part.get(key), str) and part[key]:
                    yield part[key]


class MessageWatch(Watch):
    """Follows a stream of Messages events."""

    _meter = _METER
    _hints = (b"message_delta", b"message_stop", b"error")

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return from_anthropic(self._raw)

    def _look(self, frame: Frame) -> Sight:
        event = load_object(frame.data)
        kind = as_text(event.get("type")) or frame.event
        if kind == "message_start":
            message = as_object(event.get("message"))
            self.response_id = as_text(message.get("id"))
            _merge(self._raw, message.get("usage"))
        elif kind == "content_block_start":
            self.meaningful = self.meaningful or _opens_with_content(as_object(event.get("content_block")))
        elif kind == "content_block_delta":
            delta = as_object(event.get("delta"))
            self.meaningful = self.meaningful or any(delta[key] for key in delta if key != "type")
        elif kind == "message_delta":
            self._end_of_turn(event)
        elif kind == "message_stop":
            return Sight.END
        elif _is_error(event) or kind == "error":
            self.error = read_inband(event)
        return Sight.PASS

    def _end_of_turn(self, event: Mapping[str, Any]) -> None:
        usage = event.get("usage")
        _merge(self._raw, usage)
        reason = as_text(as_object(event.get("delta")).get("stop_reason"))
        if reason:
            self._finish_reason = reason
            self.meaningful = True
        self._raw.final = self._raw.final or "output_tokens" in as_object(usage)


def _opens_with_content(block: Mapping[str, Any]) -> bool:
    """A tool call or a result is content from its first event, text and thinking only once there is some."""
    kind = as_text(block.get("type"))
    return bool(block.get("text") or block.get("thinking")) if kind in _OPENING_BLOCKS else bool(kind)


def _merge(raw: Counters, usage: Any) -> None:
    raw.merge(usage, ANTHROPIC)
    report = as_object(usage)
    raw.merge_tool_uses(report.get("server_tool_use"))
    raw.service_tier = as_text(report.get("service_tier")) or raw.service_tier


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("type") == "error" or bool(event.get("error"))


def _text_size(body: bytes) -> int:
    """Bytes of text in a whole answer, and of the tool calls' input, which is an object there."""
    blocks = as_objects(load_object(body).get("content")) if b'"input"' in body else ()
    inputs = sum(len(dumps(block["input"])) for block in blocks if block.get("input"))
    return _WHOLE_METER.measure(body) + inputs


def _read_odd_answer(body: bytes, brief: Brief) -> WholeReading:
    """An answer that is an error, counts tokens, or is not as its type says. Raises BadFrame where it is not
    JSON."""
    answer = load_object(body)
    if _is_error(answer):
        return WholeReading(Usage(), error=read_inband(answer), has_content=False)
    if brief.kind == COUNT_TOKENS:
        return WholeReading(Usage(), has_content="input_tokens" in answer)
    raw = Counters()
    _merge(raw, answer.get("usage"))
    raw.final = True
    reason = as_text(answer.get("stop_reason"))
    return WholeReading(
        usage=from_anthropic(raw),
        finish_reason=reason,
        response_id=as_text(answer.get("id")),
        has_content=bool(answer.get("content")) or bool(reason),
        body=body,
        measure=_text_size,
    )


def _usage(told: _Usage | None) -> Usage:
    if told is None:
        return Usage()
    written, used = told.cache_creation, told.server_tool_use
    return anthropic_usage(
        source=told.input_tokens,
        output=told.output_tokens,
        read=told.cache_read_input_tokens,
        written=told.cache_creation_input_tokens,
        short=None if written is None else written.ephemeral_5m_input_tokens,
        long=None if written is None else written.ephemeral_1h_input_tokens,
        service_tier=told.service_tier or "",
        tool_uses=_tool_uses(used) if used else None,
    )


def _tool_uses(used: Mapping[str, int | None]) -> dict[str, int]:
    return {
        key.removesuffix("_requests"): count
        for key, count in used.items()
        if count and key.endswith("_requests")
    }


def _read_closely(body: bytes) -> _Request:
    """A request that is not an ordinary one. Raises BadRequest where it cannot be relayed."""
    fields = read_fields(body)
    return _Request(
        model=read_model(fields),
        stream=fields.flag("stream"),
        max_tokens=fields.integer("max_tokens"),
        thinking=fields.value("thinking"),
        tools=fields.value("tools"),
        messages=fields.value("messages"),
    )


def _envelope(fault: Fault, request_id: str) -> dict[str, Any]:
    error = {"type": _FAULTS[fault.code][1], "message": fault.text}
    return {"type": "error", "error": error, "request_id": request_id}


def _needs(asked: _Request, body: bytes, headers: Mapping[str, str]) -> frozenset[str]:
    needs = part_needs(bytes(asked.messages), _PART_NEEDS, _part_types)
    if asked.tools and holds(asked.tools):
        needs.add("tools")
    if asked.thinking and holds(asked.thinking) and word_in(asked.thinking, "type") != "disabled":
        needs.add("thinking")
    if b'"1h"' in body and _LONG_CACHE.search(body):
        needs.add("cache_1h")
    tags = headers.get("anthropic-beta", "")
    if "context-1m" in tags and any(tag.strip().startswith("context-1m") for tag in tags.split(",")):
        needs.add("context_1m")
    return frozenset(needs)


def _part_types(messages: bytes) -> Iterable[str]:
    for message in elements(messages, _MESSAGES.decode):
        yield from _types(bytes(message.content))


def _types(content: bytes) -> Iterable[str]:
    """The types of the blocks in a message, and of those in its tool results."""
    for part in elements(content, _PARTS.decode):
        yield part.type
        if part.type == "tool_result":
            yield from _types(bytes(part.content))
