"""OpenAI Chat Completions, and the paths of its family by the request's kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from wire import openai, openai_family
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
    repetitions,
)
from wire.errors import read_error_body, read_inband
from wire.format import Passed, StreamWatch, WholeReading
from wire.jsons import as_object, as_objects, as_text, dumps, load_object, loads, typed
from wire.passthrough import Meter, Sight, Watch
from wire.splice import apply, model_edits, usage_edits
from wire.sse import MAX_EVENT, Frame
from wire.types import COMPLETE, GENERATE, BadFrame, Brief, Fault, InbandError, Usage
from wire.usage import OPENAI, Count, Counters, from_openai, openai_usage

TEXT_KEYS = ("content", "reasoning_content", "arguments")
_FINISHED = re.compile(rb'"finish_reason"\s*+:\s*+("[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+")')
_PART_NEEDS = {
    "image_url": "vision",
    "image": "vision",
    "video_url": "vision",
    "input_audio": "audio",
    "file": "documents",
}


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Request(msgspec.Struct):
    """What is looked at of a request."""

    model: ModelName
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Integer | None = None
    max_completion_tokens: Integer | None = None
    max_tokens: Integer | None = None
    store: bool | None = None
    reasoning_effort: str | None = None
    reasoning: msgspec.Raw = NOTHING
    thinking: msgspec.Raw = NOTHING
    tools: msgspec.Raw = NOTHING
    functions: msgspec.Raw = NOTHING
    messages: msgspec.Raw = NOTHING


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: openai.InputDetails | None = None
    completion_tokens_details: openai.OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None
    cached_tokens: Count | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    """What is looked at of a whole answer."""

    id: str | None = None
    object: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    service_tier: str | None = None
    error: None = None


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    type: str = ""


_REQUEST = msgspec.json.Decoder(_Request)
_ANSWER = msgspec.json.Decoder(_Answer)
_MESSAGES = msgspec.json.Decoder(list[_Message])
_PARTS = msgspec.json.Decoder(list[_Part])


class OpenAIChat:
    """`/v1/chat/completions` and, by kind, embeddings, rerank, completions, moderations, images and audio."""

    name = "openai_chat"

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
        if kind != GENERATE:
            return openai_family.peek(body, kind)
        asked = ordinary(body, _REQUEST) or _read_closely(body)
        stream, options = bool(asked.stream), asked.stream_options
        return Brief(
            model=asked.model,
            kind=kind,
            stream=stream,
            wants_usage=stream and options is not None and bool(options.include_usage),
            count=repetitions(asked.n),
            max_tokens=_limit(asked),
            needs=_needs(asked),
            store=asked.store,
        )

    def retarget(self, body: bytes, brief: Brief, *, model: str, ask_usage: bool = True) -> bytes:
        """The model's name, and, of a stream whose client did not, the question for usage."""
        edits = model_edits(body, brief.model, model)
        if ask_usage and brief.stream and not brief.wants_usage and brief.kind in (GENERATE, COMPLETE):
            edits += usage_edits(body)
        return apply(body, edits)

    def upstream_url(self, base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
        """The address to call."""
        return openai.upstream_url(base_url, brief, model=model, path=path, query=query)

    def credentials(self, secret: str, style: str = "") -> dict[str, str]:
        """Headers that carry the upstream secret."""
        return openai.credentials(secret, style)

    def watch(self, brief: Brief, *, max_event: int = MAX_EVENT) -> StreamWatch:
        """A fresh watch for one streamed attempt."""
        kind = ChatWatch if brief.kind in (GENERATE, COMPLETE) else openai_family.EventWatch
        return kind(brief, max_event)

    def read_whole(self, body: bytes, brief: Brief) -> WholeReading:
        """Reads a whole answer."""
        if brief.kind not in (GENERATE, COMPLETE):
            return openai_family.read_whole(body, brief)
        answer = typed(body, _ANSWER)
        if answer is None or answer.object == "error":
            return _read_odd_answer(body, brief)
        finish_reason = ""
        for choice in answer.choices or ():
            finish_reason = finish_reason or choice.finish_reason or ""
        return WholeReading(
            _usage(answer.usage, answer.service_tier or ""),
            finish_reason,
            answer.id or "",
            bool(answer.choices),
            body=body,
            measure=meter(brief).measure,
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
        """No `[DONE]` after it: that would present the answer as whole."""
        return b"data: %b\n\n" % dumps({"error": openai.error_object(fault)[1]})

    def keep_alive(self, *, array: bool = False) -> bytes:
        """A comment."""
        return openai.KEEP_ALIVE

    def texts(self, event: Mapping[str, Any]) -> Iterable[str]:
        """The delivered text in one parsed event or whole answer."""
        for choice in as_objects(event.get("choices")):
            said = as_object(choice.get("delta")) or as_object(choice.get("message"))
            calls = [as_object(call.get("function")) for call in as_objects(said.get("tool_calls"))]
            for value in (
                choice.get("text"),
                said.get("reasoning_content"),
                said.get("content"),
                said.get("refusal"),
                *(call.get("arguments") for call in calls),
            ):
                if isinstance(value, str) and value:
                    yield value


class ChatWatch(Watch):
    """Follows a stream of chat chunks (or of legacy completions)."""

    # With include_usage each chunk holds `"usage":null`, so that is no hint.
    _hints = (b'prompt_tokens"', b"[DONE]", b"error")

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        super().__init__(brief, max_event)
        self._meter = meter(brief)

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return from_openai(self._raw)

    def finish(self) -> Passed:
        """A stream that told why it finished is whole, `[DONE]` or not."""
        passed = super().finish()
        self.ended = self.ended or (bool(self.finish_reason) and self.error is None)
        return passed

    @property
    def finish_reason(self) -> str:
        """Why the answer ended. Its key stands in every chunk, so it is no hint: the next hint finds it."""
        self._catch_up()
        return self._finish_reason

    def _catch_up(self) -> None:
        """Finds the last reason to finish."""
        unread, end = self._unread, len(self._unread)
        while end > self._searched:
            end = unread.rfind(b'"finish_reason"', self._searched, end)
            told = _FINISHED.match(unread, end) if end >= 0 else None
            if told is not None and (reason := _text(told[1])):
                self._finish_reason = reason
                break
        super()._catch_up()

    def _done(self) -> Sight:
        return Sight.END

    def _look(self, frame: Frame) -> Sight:
        self._catch_up()
        event = load_object(frame.data)
        if is_error(event) or frame.event == "error":
            self.error = read_inband(event)
        self.response_id = self.response_id or as_text(event.get("id"))
        self._raw.service_tier = as_text(event.get("service_tier")) or self._raw.service_tier
        choices = as_objects(event.get("choices"))
        for choice in choices:
            reason = as_text(choice.get("finish_reason"))
            self._finish_reason = reason or self._finish_reason
            delta = as_object(choice.get("delta"))
            if reason or choice.get("text") or any(delta[key] for key in delta if key != "role"):
                self.meaningful = True
        usage = _usage_of(event, choices)
        if usage is not None:
            self._raw.merge(usage, OPENAI)
            self._raw.final = self._raw.final or bool(self._finish_reason)
        unasked = event.get("choices") == [] and isinstance(usage, dict) and not self._brief.wants_usage
        return Sight.WITHHOLD if unasked else Sight.PASS


def _text(written: bytes) -> str:
    """A JSON string; empty where it is none."""
    try:
        return as_text(loads(written))
    except BadFrame:
        return ""


def _usage_of(event: dict[str, Any], choices: list[dict[str, Any]]) -> Any:
    """Where chunks carry usage: on top, under `x_groq` (Groq), in the choice (Moonshot)."""
    usage = event.get("usage")
    if usage is None:
        usage = as_object(event.get("x_groq")).get("usage")
    if usage is None and choices:
        usage = choices[0].get("usage")
    return usage


def is_error(event: Mapping[str, Any]) -> bool:
    """Whether this is an error in place of an answer."""
    return bool(event.get("error")) or event.get("object") == "error"


_CHAT_METER = Meter(*TEXT_KEYS)
_COMPLETION_METER = Meter("text")


def meter(brief: Brief) -> Meter:
    """The meter of the kind's own keys."""
    return _COMPLETION_METER if brief.kind == COMPLETE else _CHAT_METER


def _read_closely(body: bytes) -> _Request:
    """A request that is not an ordinary one. Raises BadRequest where it cannot be relayed."""
    fields = read_fields(body)
    return _Request(
        model=read_model(fields),
        stream=fields.flag("stream"),
        stream_options=_StreamOptions(openai_family.wants_usage(fields)),
        n=fields.integer("n"),
        max_completion_tokens=fields.integer("max_completion_tokens"),
        max_tokens=fields.integer("max_tokens"),
        store=fields.said("store"),
        reasoning_effort=fields.text("reasoning_effort"),
        reasoning=fields.value("reasoning"),
        thinking=fields.value("thinking"),
        tools=fields.value("tools"),
        functions=fields.value("functions"),
        messages=fields.value("messages"),
    )


def _limit(asked: _Request) -> int | None:
    limit, older = asked.max_completion_tokens, asked.max_tokens
    if limit is None or (older is not None and older > limit):
        limit = older
    return limit if limit is not None and limit >= 0 else None


def _needs(asked: _Request) -> frozenset[str]:
    needs = part_needs(bytes(asked.messages), _PART_NEEDS, _part_types)
    if (asked.tools and holds(asked.tools)) or (asked.functions and holds(asked.functions)):
        needs.add("tools")
    if openai.asks_for_thinking(asked.reasoning_effort, asked.reasoning, asked.thinking):
        needs.add("thinking")
    return frozenset(needs)


def _read_odd_answer(body: bytes, brief: Brief) -> WholeReading:
    """An answer that is an error, or is not as its type says. Raises BadFrame where it is not JSON."""
    answer = load_object(body)
    if is_error(answer):
        return WholeReading(Usage(), error=read_inband(answer), has_content=False)
    raw = Counters()
    raw.merge(answer.get("usage"), OPENAI)
    raw.service_tier = as_text(answer.get("service_tier"))
    raw.final = True
    choices = as_objects(answer.get("choices"))
    return WholeReading(
        usage=from_openai(raw),
        finish_reason=next((reason for c in choices if (reason := as_text(c.get("finish_reason")))), ""),
        response_id=as_text(answer.get("id")),
        has_content=bool(choices),
        body=body,
        measure=meter(brief).measure,
    )


def _usage(told: _Usage | None, service_tier: str) -> Usage:
    if told is None:
        return Usage(service_tier=service_tier)
    read, details = None, told.prompt_tokens_details
    if details is not None:
        read = details.cached_tokens
    if read is None:
        read = told.prompt_cache_hit_tokens
    if read is None:
        read = told.cached_tokens
    thought = told.completion_tokens_details
    return openai_usage(
        source=told.prompt_tokens,
        output=told.completion_tokens,
        total=told.total_tokens,
        read=read,
        written=None if details is None else details.cache_write_tokens,
        reasoning=None if thought is None else thought.reasoning_tokens,
        service_tier=service_tier,
    )


def _part_types(messages: bytes) -> Iterable[str]:
    for message in elements(messages, _MESSAGES.decode):
        for part in elements(bytes(message.content), _PARTS.decode):
            yield part.type
