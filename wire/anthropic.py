"""Anthropic Messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wire.body import Fields, elements, part_needs, read_fields, read_model
from wire.errors import read_error_body, read_inband
from wire.format import StreamWatch, WholeReading
from wire.jsons import as_object, as_objects, as_text, dumps, load_object
from wire.passthrough import Meter, Sight, Watch
from wire.splice import apply, model_edits
from wire.sse import MAX_EVENT, Frame
from wire.types import COUNT_TOKENS, Brief, Fault, InbandError, Usage
from wire.urls import join
from wire.usage import ANTHROPIC, Counters, from_anthropic

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


class _Part(msgspec.Struct):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


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
        fields = read_fields(body)
        limit = fields.integer("max_tokens")
        return Brief(
            model=read_model(fields),
            kind=kind,
            stream=fields.flag("stream") and kind != COUNT_TOKENS,
            max_tokens=limit if limit is not None and limit >= 0 else None,
            needs=_needs(fields, body, headers or {}),
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
            text_bytes=_WHOLE_METER.measure(body) + _inputs_size(answer),
            has_content=bool(answer.get("content")) or bool(reason),
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

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return from_anthropic(self._raw)

    def _hinted(self, block: bytes) -> bool:
        return b"message_delta" in block or b"message_stop" in block or b"error" in block

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
            self.finish_reason = reason
            self.meaningful = True
        self._raw.final = self._raw.final or "output_tokens" in as_object(usage)


def _opens_with_content(block: Mapping[str, Any]) -> bool:
    """A tool call or a result is content from its first event, text and thinking only once there is some."""
    kind = block.get("type")
    return bool(block.get("text") or block.get("thinking")) if kind in _OPENING_BLOCKS else bool(kind)


def _merge(raw: Counters, usage: Any) -> None:
    raw.merge(usage, ANTHROPIC)
    report = as_object(usage)
    raw.merge_tool_uses(report.get("server_tool_use"))
    raw.service_tier = as_text(report.get("service_tier")) or raw.service_tier


def _is_error(event: Mapping[str, Any]) -> bool:
    return event.get("type") == "error" or bool(event.get("error"))


def _inputs_size(answer: Mapping[str, Any]) -> int:
    """Bytes of the tool calls' input, which is an object in a whole answer."""
    return sum(
        len(dumps(block["input"])) for block in as_objects(answer.get("content")) if block.get("input")
    )


def _envelope(fault: Fault, request_id: str) -> dict[str, Any]:
    error = {"type": _FAULTS[fault.code][1], "message": fault.text}
    return {"type": "error", "error": error, "request_id": request_id}


def _needs(fields: Fields, body: bytes, headers: Mapping[str, str]) -> frozenset[str]:
    needs = set()
    if fields.given("tools"):
        needs.add("tools")
    if fields.given("thinking") and fields.within("thinking").text("type") != "disabled":
        needs.add("thinking")
    if b'"1h"' in body and _LONG_CACHE.search(body):
        needs.add("cache_1h")
    if any(tag.strip().startswith("context-1m") for tag in headers.get("anthropic-beta", "").split(",")):
        needs.add("context_1m")
    return frozenset(needs | part_needs(fields.raw("messages"), _PART_NEEDS, _part_types))


def _part_types(messages: bytes) -> Iterable[str]:
    for message in elements(messages, _MESSAGES.decode):
        yield from _types(bytes(message.content))


def _types(content: bytes) -> Iterable[str]:
    """The types of the blocks in a message, and of those in its tool results."""
    for part in elements(content, _PARTS.decode):
        yield part.type
        if part.type == "tool_result":
            yield from _types(bytes(part.content))
