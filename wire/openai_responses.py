"""OpenAI Responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wire import openai
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
)
from wire.errors import read_error_body, read_inband
from wire.format import StreamWatch, WholeReading
from wire.jsons import as_object, as_objects, as_text, dumps, load_object, typed
from wire.passthrough import Meter, Sight, Watch
from wire.splice import apply, model_edits
from wire.sse import MAX_EVENT, Frame
from wire.types import STORED, BadRequest, Brief, Fault, InbandError, Usage
from wire.usage import RESPONSES, Count, Counters, from_openai, openai_usage

_ENDINGS = ("response.completed", "response.incomplete", "response.failed")
_OPENERS = frozenset(
    (
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_part.added",
    )
)
_SERVER_TOOLS = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}
_PART_NEEDS = {"input_image": "vision", "input_file": "documents", "input_audio": "audio"}
# Codes of the official enumeration, so that clients that check it can read the event.
_EVENT_CODES = {
    "rate_limited": "rate_limit_exceeded",
    "insufficient_quota": "rate_limit_exceeded",
    "invalid_request": "invalid_prompt",
    "unprocessable": "invalid_prompt",
    "too_large": "invalid_prompt",
}
_METER = Meter("delta")
_WHOLE_METER = Meter("text", "arguments", "refusal", "input")


class _Request(msgspec.Struct):
    """What is looked at of a request."""

    model: ModelName
    stream: bool | None = None
    max_output_tokens: Integer | None = None
    store: bool | None = None
    previous_response_id: str | None = None
    reasoning_effort: str | None = None
    reasoning: msgspec.Raw = NOTHING
    thinking: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    input: msgspec.Raw = NOTHING
    background: msgspec.Raw = NOTHING
    conversation: msgspec.Raw = NOTHING


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    total_tokens: Count | None = None
    input_tokens_details: openai.InputDetails | None = None
    output_tokens_details: openai.OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Output(msgspec.Struct):
    type: str | None = None


class _Answer(msgspec.Struct):
    """What is looked at of a whole answer."""

    id: str | None = None
    status: str | None = None
    output: list[_Output] | None = None
    incomplete_details: _Incomplete | None = None
    usage: _Usage | None = None
    service_tier: str | None = None
    error: None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: msgspec.Raw = msgspec.Raw(b"null")
    output: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    type: str = ""


_REQUEST = msgspec.json.Decoder(_Request)
_ANSWER = msgspec.json.Decoder(_Answer)
_ITEMS = msgspec.json.Decoder(list[_Item])
_PARTS = msgspec.json.Decoder(list[_Part])


class OpenAIResponses:
    """`/v1/responses` and what is stored there."""

    name = "openai_responses"

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
        if kind == STORED:
            return Brief(model="", kind=kind, stream="stream=true" in query.split("&"))
        asked = ordinary(body, _REQUEST) or _read_closely(body)
        if asked.background and holds(asked.background):
            raise _unsupported("background")
        if asked.conversation and holds(asked.conversation):
            raise _unsupported("conversation")
        limit = asked.max_output_tokens
        return Brief(
            model=asked.model,
            kind=kind,
            stream=bool(asked.stream),
            max_tokens=limit if limit is not None and limit >= 0 else None,
            needs=_needs(asked),
            previous_id=asked.previous_response_id or "",
            store=asked.store,
        )

    def retarget(self, body: bytes, brief: Brief, *, model: str, ask_usage: bool = True) -> bytes:
        """The model's name; usage comes unasked."""
        return apply(body, model_edits(body, brief.model, model)) if body else body

    def upstream_url(self, base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
        """The address to call."""
        return openai.upstream_url(base_url, brief, model=model, path=path, query=query)

    def credentials(self, secret: str, style: str = "") -> dict[str, str]:
        """Headers that carry the upstream secret."""
        return openai.credentials(secret, style)

    def watch(self, brief: Brief, *, max_event: int = MAX_EVENT) -> StreamWatch:
        """A fresh watch for one streamed attempt."""
        return ResponsesWatch(brief, max_event)

    def read_whole(self, body: bytes, brief: Brief) -> WholeReading:
        """Reads a whole answer; a stored one was billed when it was made."""
        answer = typed(body, _ANSWER) if brief.kind != STORED else None
        if answer is None or answer.status == "failed":
            return _read_odd_answer(body, brief)
        incomplete = answer.incomplete_details
        return WholeReading(
            _usage(answer),
            (incomplete.reason if incomplete is not None else "") or answer.status or "completed",
            answer.id or "",
            bool(answer.output) or bool(answer.status),
            body=body,
            measure=_WHOLE_METER.measure,
        )

    def read_error(self, status: int, body: bytes) -> InbandError:
        """The vendor's error body."""
        return read_error_body(status, body)

    def fault(self, fault: Fault, request_id: str) -> tuple[int, bytes]:
        """Status and JSON body of an error before the first byte."""
        return openai.fault(fault)

    def fault_event(
        self, fault: Fault, request_id: str, *, array: bool = False, opened: bool = True, sequence: int = 0
    ) -> bytes:
        """`response.failed` with a whole response object: agents ignore a bare `error` event."""
        event = {
            "type": "response.failed",
            "sequence_number": sequence,
            "response": _failed_response(fault, request_id),
        }
        return b"event: response.failed\ndata: %b\n\n" % dumps(event)

    def keep_alive(self, *, array: bool = False) -> bytes:
        """A comment."""
        return openai.KEEP_ALIVE

    def texts(self, event: Mapping[str, Any]) -> Iterable[str]:
        """The delivered text in one parsed event or whole answer."""
        delta = event.get("delta")
        if isinstance(delta, str):
            yield delta
        for item in as_objects(event.get("output")):
            arguments = item.get("arguments")
            if isinstance(arguments, str):
                yield arguments
            for part in (*as_objects(item.get("summary")), *as_objects(item.get("content"))):
                for key in ("text", "refusal"):
                    if isinstance(part.get(key), str):
                        yield part[key]


class ResponsesWatch(Watch):
    """Follows a stream of Responses events."""

    _meter = _METER
    _hints = (*map(str.encode, _ENDINGS), b"error", b'_call"')

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        super().__init__(brief, max_event)
        self._items: dict[str, int] = {}

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return from_openai(self._raw)

    def _look(self, frame: Frame) -> Sight:
        event = load_object(frame.data)
        kind = as_text(event.get("type")) or frame.event
        response = as_object(event.get("response"))
        self.response_id = as_text(response.get("id")) or self.response_id
        if kind in _ENDINGS:
            _merge(self._raw, response, self._items)
            self._raw.final = True
        if kind in ("error", "response.failed") or (event.get("error") and not kind.startswith("response.")):
            self.error = read_inband(event)
            return Sight.PASS
        if kind in _ENDINGS:
            self.meaningful = True
            self._finish_reason = _finish_reason(response)
            return Sight.END
        if kind == "response.output_item.done":
            _count_tool(self._items, as_object(event.get("item")))
            self._raw.tool_uses = dict(self._items)
        self.meaningful = self.meaningful or _is_meaningful(kind, event)
        return Sight.PASS


def _is_meaningful(kind: str, event: Mapping[str, Any]) -> bool:
    """Content, a tool call or reasoning; not what only announces it."""
    if kind in _OPENERS or not kind.startswith("response."):
        return False
    if kind == "response.output_item.added":
        item = as_object(event.get("item"))
        if item.get("type") == "reasoning":
            return bool(item.get("summary") or item.get("content") or item.get("encrypted_content"))
        return item.get("type") != "message" or bool(item.get("content"))
    return not kind.endswith(".delta") or bool(event.get("delta"))


def _merge(raw: Counters, response: Mapping[str, Any], seen: Mapping[str, int] | None = None) -> None:
    """Takes the usage of a finished response, and counts its uses of server tools where the stream did not
    tell them one by one."""
    raw.merge(response.get("usage"), RESPONSES)
    raw.service_tier = as_text(response.get("service_tier")) or raw.service_tier
    counted: dict[str, int] = {}
    for item in as_objects(response.get("output")):
        _count_tool(counted, item)
    for name, count in (seen or {}).items():
        counted[name] = max(count, counted.get(name, 0))
    raw.tool_uses = counted


def _count_tool(counts: dict[str, int], item: Mapping[str, Any]) -> None:
    name = _SERVER_TOOLS.get(as_text(item.get("type")))
    if name:
        counts[name] = counts.get(name, 0) + 1


def _finish_reason(response: Mapping[str, Any]) -> str:
    reason = as_object(response.get("incomplete_details")).get("reason")
    return as_text(reason) or as_text(response.get("status")) or "completed"


def _unsupported(field: str) -> BadRequest:
    return BadRequest(f"'{field}' is not supported in this version", param=field)


def _read_closely(body: bytes) -> _Request:
    """A request that is not an ordinary one. Raises BadRequest where it cannot be relayed."""
    fields = read_fields(body)
    previous = fields.text("previous_response_id")
    if fields.given("previous_response_id") and not previous:
        raise BadRequest("'previous_response_id' must be a string", param="previous_response_id")
    return _Request(
        model=read_model(fields),
        stream=fields.flag("stream"),
        max_output_tokens=fields.integer("max_output_tokens"),
        store=fields.said("store"),
        previous_response_id=previous,
        reasoning_effort=fields.text("reasoning_effort"),
        reasoning=fields.value("reasoning"),
        thinking=fields.value("thinking"),
        tools=fields.value("tools"),
        input=fields.value("input"),
        background=fields.value("background"),
        conversation=fields.value("conversation"),
    )


def _needs(asked: _Request) -> frozenset[str]:
    needs = part_needs(bytes(asked.input), _PART_NEEDS, _part_types)
    if asked.tools and holds(asked.tools):
        needs.add("tools")
    if openai.asks_for_thinking(asked.reasoning_effort, asked.reasoning, asked.thinking):
        needs.add("thinking")
    return frozenset(needs)


def _read_odd_answer(body: bytes, brief: Brief) -> WholeReading:
    """An answer that is an error, or is not as its type says. Raises BadFrame where it is not JSON."""
    answer = load_object(body)
    response_id = as_text(answer.get("id"))
    if brief.kind == STORED:
        return WholeReading(Usage(), response_id=response_id)
    raw = Counters()
    _merge(raw, answer)
    raw.final = True
    if answer.get("error") or answer.get("status") == "failed":
        return WholeReading(from_openai(raw), response_id=response_id, error=read_inband(answer))
    return WholeReading(
        usage=from_openai(raw),
        finish_reason=_finish_reason(answer),
        response_id=response_id,
        has_content=bool(answer.get("output")) or bool(answer.get("status")),
        body=body,
        measure=_WHOLE_METER.measure,
    )


def _usage(answer: _Answer) -> Usage:
    tools: dict[str, int] = {}
    for item in answer.output or ():
        name = _SERVER_TOOLS.get(item.type or "")
        if name is not None:
            tools[name] = tools.get(name, 0) + 1
    service_tier, told = answer.service_tier or "", answer.usage
    if told is None:
        return Usage(tool_uses=tools, service_tier=service_tier)
    cached, thought = told.input_tokens_details, told.output_tokens_details
    return openai_usage(
        source=told.input_tokens,
        output=told.output_tokens,
        total=told.total_tokens,
        read=None if cached is None else cached.cached_tokens,
        written=None if cached is None else cached.cache_write_tokens,
        reasoning=None if thought is None else thought.reasoning_tokens,
        service_tier=service_tier,
        tool_uses=tools,
    )


def _part_types(items: bytes) -> Iterable[str]:
    for item in elements(items, _ITEMS.decode):
        for parts in (item.content, item.output):
            for part in elements(bytes(parts), _PARTS.decode):
                yield part.type


def _failed_response(fault: Fault, request_id: str) -> dict[str, Any]:
    plain_id = request_id.replace("-", "")
    return {
        "id": f"resp_{plain_id}",
        "object": "response",
        "created_at": _instant(plain_id),
        "status": "failed",
        "background": False,
        "error": {"code": _EVENT_CODES.get(fault.code, "server_error"), "message": fault.text},
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": "",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
        "user": None,
    }


def _instant(request_id: str) -> int:
    """The second in which the request started: a UUIDv7 begins with its milliseconds."""
    try:
        return int(request_id[:12], 16) // 1000
    except ValueError:
        return 0
