"""Gemini's generateContent, streamed as events or as one JSON array."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from wire.arrays import ArrayFramer, read_element
from wire.body import GUARDED, LARGE, Fields, checked_model, elements, length, read_fields
from wire.errors import read_error_body, read_inband
from wire.format import Passed, StreamWatch, WholeReading
from wire.jsons import as_object, as_objects, as_text, dumps, load_object, typed
from wire.passthrough import NOTHING, Meter, Sight, Watch
from wire.splice import Edit, apply, item_spans, spans
from wire.sse import MAX_EVENT, Frame, frames
from wire.types import COUNT_TOKENS, EMBED, GENERATE, BadFrame, BadRequest, Brief, Fault, InbandError, Usage
from wire.urls import join, model_path
from wire.usage import GEMINI, Count, Counters, from_gemini, gemini_usage

_FAULTS: Mapping[str, tuple[int, str]] = {
    "invalid_request": (400, "INVALID_ARGUMENT"),
    "invalid_api_key": (401, "UNAUTHENTICATED"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "model_not_found": (404, "NOT_FOUND"),
    "not_found": (404, "NOT_FOUND"),
    "method_not_allowed": (405, "UNIMPLEMENTED"),
    "request_timeout": (408, "DEADLINE_EXCEEDED"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "unprocessable": (422, "INVALID_ARGUMENT"),
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "insufficient_quota": (429, "RESOURCE_EXHAUSTED"),
    "internal": (500, "INTERNAL"),
    "upstream_error": (502, "UNAVAILABLE"),
    "overloaded": (503, "UNAVAILABLE"),
    "unavailable": (503, "UNAVAILABLE"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
    "interrupted": (503, "UNAVAILABLE"),
}
# Protobuf's JSON takes either spelling of a name.
_CONFIG = ("generationConfig", "generation_config")
_LIMIT = ("maxOutputTokens", "max_output_tokens")
_COUNT = ("candidateCount", "candidate_count")
_GUARDED = GUARDED | frozenset(_CONFIG)
_CONFIG_GUARDED = frozenset((*_LIMIT, *_COUNT))
_MIME = re.compile(rb'"mime(?:Type|_type)"\s*+:\s*+"([\w/.+-]+)"')
_METER = Meter("text")
_NO_REASON = frozenset(("", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED"))


class _Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    total_token_count: Count | None = None
    service_tier: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    """What is looked at of an event in mid-answer."""

    response_id: str | None = None
    usage_metadata: _Usage | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Answer(msgspec.Struct, rename="camel"):
    """What is looked at of a whole answer."""

    response_id: str | None = None
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: _Usage | None = None
    error: None = None


class _Media(msgspec.Struct):
    mime: str = msgspec.field(default="", name="mimeType")
    mime_type: str = ""


class _Part(msgspec.Struct):
    inline: _Media | None = msgspec.field(default=None, name="inlineData")
    inline_data: _Media | None = None
    file: _Media | None = msgspec.field(default=None, name="fileData")
    file_data: _Media | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] = []


_ANSWER = msgspec.json.Decoder(_Answer)
_EVENT = msgspec.json.Decoder(_Event)
_CONTENTS = msgspec.json.Decoder(list[_Content])


class Gemini:
    """`/v1beta/models/{model}:generateContent` and its siblings."""

    name = "gemini"

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
        """Reads what the relay must know; model and streaming stand in the path."""
        fields = read_fields(body, _GUARDED)
        config = _config(fields)
        event_stream = "alt=sse" in query.split("&")
        _, named, action = split_path(path)
        stream = action.startswith("stream") if path else event_stream
        name = model or named
        return Brief(
            model=checked_model(name.removeprefix("models/")),
            kind=kind,
            stream=stream,
            array=stream and not event_stream,
            count=_count(fields, config, kind),
            max_tokens=_limit(config),
            needs=_needs(fields, config),
        )

    def retarget(self, body: bytes, brief: Brief, *, model: str, ask_usage: bool = True) -> bytes:
        """The model stands in the address; where the body repeats it (embeddings, token counts), it is
        replaced there too, as upstream wants both to be one."""
        if b'"model"' not in body and b"\\u00" not in body:
            return body
        return apply(body, list(_model_edits(body, model)))

    def upstream_url(self, base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
        """The address to call, under the upstream's name of the model."""
        version, _, action = split_path(path)
        return join(base_url, f"{version}/{model_path(_resource(model))}:{model_path(action)}", query)

    def credentials(self, secret: str, style: str = "") -> dict[str, str]:
        """Headers that carry the upstream secret."""
        return {"authorization": f"Bearer {secret}"} if style == "bearer" else {"x-goog-api-key": secret}

    def watch(self, brief: Brief, *, max_event: int = MAX_EVENT) -> StreamWatch:
        """A fresh watch for one streamed attempt."""
        return ArrayWatch(brief, max_event) if brief.array else GeminiWatch(brief, max_event)

    def read_whole(self, body: bytes, brief: Brief) -> WholeReading:
        """Reads a whole answer. Counting tokens costs none."""
        answer = typed(body, _ANSWER) if brief.kind == GENERATE else None
        if answer is None:
            return _read_odd_answer(body, brief)
        reason, feedback = "", answer.prompt_feedback
        for candidate in answer.candidates or ():
            reason = reason or _reason(candidate.finish_reason)
        blocked = "" if feedback is None else _reason(feedback.block_reason)
        return WholeReading(
            _usage(answer.usage_metadata),
            reason or blocked,
            answer.response_id or "",
            bool(answer.candidates) or bool(blocked),
            body=body,
            measure=_text_size,
        )

    def read_error(self, status: int, body: bytes) -> InbandError:
        """The vendor's error body."""
        return read_error_body(status, body)

    def fault(self, fault: Fault, request_id: str) -> tuple[int, bytes]:
        """Status and JSON body of an error before the first byte."""
        error = _error_object(fault)
        return error["code"], dumps({"error": error})

    def fault_event(
        self, fault: Fault, request_id: str, *, array: bool = False, opened: bool = True, sequence: int = 0
    ) -> bytes:
        """An event with the error, or the array's last element and its closing bracket."""
        event = dumps({"error": _error_object(fault)})
        if array:
            return (b",\n" if opened else b"[") + event + b"]\n"
        return b"data: %b\n\n" % event

    def keep_alive(self, *, array: bool = False) -> bytes:
        """A bare line end: the official client raises on comments."""
        return b"\n"

    def texts(self, event: Mapping[str, Any]) -> Iterable[str]:
        """The delivered text in one parsed event or whole answer."""
        for candidate in as_objects(event.get("candidates")):
            for part in _parts(candidate):
                if isinstance(part.get("text"), str) and part["text"]:
                    yield part["text"]
                if args := as_object(part.get("functionCall")).get("args"):
                    yield dumps(args).decode()


class GeminiWatch(Watch):
    """Follows a stream of events. Usage stands on nearly every one of them, and is no hint: it is read when
    somebody asks."""

    _meter = _METER
    _hints = (b"finishReason", b"blockReason", b'"args"', b"error")

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        super().__init__(brief, max_event)
        self._finished: set[int] = set()

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        self._catch_up()
        return from_gemini(self._raw)

    def _hinted(self, block: bytes) -> bool:
        return self._over or super()._hinted(block)  # what follows the end is usage

    def finish(self) -> Passed:
        """Of several candidates one that finished is enough."""
        passed = super().finish()
        self.ended = self.ended or (bool(self._finished) and self.error is None)
        return passed

    def _catch_up(self) -> None:
        """Reads usage, and the id, from every frame."""
        if self._searched == len(self._unread):
            return
        last = None
        for frame in frames(bytes(self._unread[self._searched :])):
            event = typed(frame.data, _EVENT) if frame.data else None
            if event is None:
                self._read_odd_event(frame.data)
                continue
            self.response_id = event.response_id or self.response_id
            told = event.usage_metadata
            if told is not None and told != last:
                last = told
                self._raw.take(
                    input=told.prompt_token_count,
                    tool_use=told.tool_use_prompt_token_count,
                    candidates=told.candidates_token_count,
                    thoughts=told.thoughts_token_count,
                    cache_read=told.cached_content_token_count,
                    total=told.total_token_count,
                )
                self._raw.service_tier = told.service_tier or self._raw.service_tier
        super()._catch_up()

    def _read_odd_event(self, data: bytes) -> None:
        with suppress(BadFrame):  # what the vendor sends is the client's to judge, once the answer has begun
            event = load_object(data)
            self.response_id = as_text(event.get("responseId")) or self.response_id
            _merge(self._raw, event)

    def _look(self, frame: Frame) -> Sight:
        self._catch_up()
        event = load_object(frame.data)
        if event.get("error"):
            self.error = read_inband(event)
            return Sight.PASS
        self.response_id = as_text(event.get("responseId")) or self.response_id
        candidates = as_objects(event.get("candidates"))
        if b'"args"' in frame.data:
            self._text_bytes += _args_size(candidates)
        for candidate in candidates:
            reason = _reason(candidate.get("finishReason"))
            if reason:
                self._finish_reason = reason
                index = candidate.get("index")
                self._finished.add(index if isinstance(index, int) else 0)
            self.meaningful = self.meaningful or bool(reason) or _has_content(candidate)
        blocked = _blocked(event)
        if blocked:
            self._finish_reason = blocked
            self.meaningful = True
        self._raw.final = self._raw.final or bool(self._finish_reason)
        _merge(self._raw, event)
        return Sight.END if blocked or len(self._finished) >= self._brief.count else Sight.PASS


class ArrayWatch(GeminiWatch):
    """Follows a streamed JSON array. Its closing bracket is forwarded only after a format's own end: behind
    half an answer it would present it as whole."""

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        super().__init__(brief, max_event)
        self._array = ArrayFramer(max_event)

    def _hinted(self, block: bytes) -> bool:
        return True  # each element is cut out anyway

    def feed(self, data: bytes) -> Passed:
        """Takes one read."""
        return NOTHING if self.error is not None else self._elements(self._array.feed(data))

    def finish(self) -> Passed:
        """Tells end of file."""
        passed = NOTHING if self.error is not None else self._elements(self._array.finish())
        self.ended = self.ended or (bool(self._finished) and self.error is None)
        return passed

    def _elements(self, blocks: list[bytes]) -> Passed:
        if not blocks:
            return NOTHING
        out: list[bytes] = []
        end: list[bytes] = []
        closing: list[bytes] = []
        for frame in map(read_element, blocks):
            if not frame.data:
                closing.append(frame.raw)
            elif self.error is None:
                self._pass(frame, out, end)
        if self._array.lone and self.error is None:
            raise BadFrame("an object instead of an array")
        return Passed(b"".join(out), b"".join((*end, *closing)) if self._over else b"")


def _merge(raw: Counters, event: Mapping[str, Any]) -> None:
    raw.merge(event.get("usageMetadata"), GEMINI)
    report = as_object(event.get("usageMetadata"))
    raw.service_tier = as_text(report.get("serviceTier")) or raw.service_tier


def _reason(value: Any) -> str:
    reason = as_text(value)
    return "" if reason in _NO_REASON else reason


def _blocked(event: Mapping[str, Any]) -> str:
    return _reason(as_object(event.get("promptFeedback")).get("blockReason"))


def _parts(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    return as_objects(as_object(candidate.get("content")).get("parts"))


def _has_content(candidate: Mapping[str, Any]) -> bool:
    return any(part[key] for part in _parts(candidate) for key in part if key != "thought")


def _read_odd_answer(body: bytes, brief: Brief) -> WholeReading:
    """An answer that is an error, that holds no text, or is not as its type says. Raises BadFrame where it is
    not JSON."""
    answer = load_object(body)
    if answer.get("error"):
        return WholeReading(Usage(), error=read_inband(answer), has_content=False)
    if brief.kind == COUNT_TOKENS:
        return WholeReading(Usage(), has_content="totalTokens" in answer)
    raw = Counters()
    _merge(raw, answer)
    raw.final = True
    if brief.kind == EMBED:
        return WholeReading(from_gemini(raw), has_content="embedding" in answer or "embeddings" in answer)
    candidates = as_objects(answer.get("candidates"))
    reasons = [_reason(candidate.get("finishReason")) for candidate in candidates]
    blocked = _blocked(answer)
    return WholeReading(
        usage=from_gemini(raw),
        finish_reason=next((reason for reason in reasons if reason), blocked),
        response_id=as_text(answer.get("responseId")),
        has_content=bool(candidates) or bool(blocked),
        body=body,
        measure=_text_size,
    )


def _usage(told: _Usage | None) -> Usage:
    if told is None:
        return Usage()
    return gemini_usage(
        prompt=told.prompt_token_count,
        tool_use=told.tool_use_prompt_token_count,
        candidates=told.candidates_token_count,
        thoughts=told.thoughts_token_count,
        read=told.cached_content_token_count,
        total=told.total_token_count,
        service_tier=told.service_tier or "",
    )


def _text_size(body: bytes) -> int:
    """Bytes of text in a whole answer, and of the function calls' arguments."""
    size = _METER.measure(body)
    if b'"args"' in body:
        size += _args_size(as_objects(load_object(body).get("candidates")))
    return size


def _args_size(candidates: Iterable[Mapping[str, Any]]) -> int:
    """Bytes of function calls' arguments, which are objects on this wire, less what the meter finds."""
    calls = (as_object(part.get("functionCall")) for each in candidates for part in _parts(each))
    written = (dumps(call["args"]) for call in calls if call.get("args"))
    return sum(len(args) - _METER.measure(args) for args in written)


def _error_object(fault: Fault) -> dict[str, Any]:
    status, name = _FAULTS[fault.code]
    return {"code": fault.status or status, "message": fault.text, "status": name}


def split_path(path: str) -> tuple[str, str, str]:
    """Version, model and verb of the client's path: `/v1beta/models/x:generateContent`. Some clients escape
    the colon and the at sign; any other escape stays and makes the name a bad one."""
    if "%" in path:
        for escaped, char in (("%3A", ":"), ("%3a", ":"), ("%40", "@")):
            path = path.replace(escaped, char)
    version, _, rest = path.partition("/models/")
    model, _, verb = rest.rpartition(":")
    return version, model, verb


def _resource(model: str) -> str:
    """The resource of a model: tuned ones bring their own collection."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def _model_edits(body: bytes, model: str) -> Iterable[Edit]:
    objects = [(0, len(body))]
    for span in spans(body):
        if span.name in ("generateContentRequest", "generate_content_request"):
            objects.append((span.start, span.end))
        elif span.name == "requests" and body[span.start : span.start + 1] == b"[":
            objects += item_spans(body, span.start, span.end)
    for start, end in objects:
        if body[start:end].lstrip()[:1] == b"{":
            for name, first, last in spans(body, start, end):
                if name == "model" and body[first : first + 1] == b'"':
                    named = body[first : first + 8] == b'"models/'
                    value = msgspec.json.encode(_resource(model) if named else model)
                    if body[first:last] != value:
                        yield first, last, value


def _config(fields: Fields) -> Fields:
    """The settings of a request, which may stand under one of two names."""
    _refuse_two_spellings(fields, _CONFIG)
    config = fields.within(*_CONFIG, guarded=_CONFIG_GUARDED)
    if config:
        _refuse_two_spellings(config, _LIMIT)
        _refuse_two_spellings(config, _COUNT)
    return config


def _limit(config: Fields) -> int | None:
    limits = [config.integer(name) for name in _LIMIT] if config else []
    return next((limit for limit in limits if limit is not None and limit >= 0), None)


def _refuse_two_spellings(fields: Fields, names: tuple[str, str]) -> None:
    name, alias = names
    if name in fields and alias in fields:
        raise BadRequest(f"'{name}' is given twice, the second time as '{alias}'", param=name)


def _count(fields: Fields, config: Fields, kind: str) -> int:
    if kind == EMBED:
        return length(fields.raw("requests"))
    return max(config.count(name) for name in _COUNT) if config else 1


def _needs(fields: Fields, config: Fields) -> frozenset[str]:
    needs = set()
    if fields.given("tools"):
        needs.add("tools")
    if config and _thinks(config):
        needs.add("thinking")
    needs.update(_media_need(mime) for mime in _mimes(fields.raw("contents")))
    return frozenset(needs)


def _thinks(config: Fields) -> bool:
    thinking = config.within("thinkingConfig", "thinking_config")
    return any(name in thinking for name in ("thinkingLevel", "thinking_level", "includeThoughts")) or (
        max(thinking.integer("thinkingBudget") or 0, thinking.integer("thinking_budget") or 0) > 0
    )


def _mimes(contents: bytes) -> Iterable[str]:
    """The types of the media in the parts; in large contents wherever such a key stands."""
    found = _MIME.findall(contents)
    if not found or len(contents) > LARGE:
        return [mime.decode() for mime in found]
    return [
        media.mime or media.mime_type
        for content in elements(contents, _CONTENTS.decode)
        for part in content.parts
        for media in (part.inline, part.inline_data, part.file, part.file_data)
        if media is not None
    ]


def _media_need(mime: str) -> str:
    if mime.startswith(("image/", "video/")):
        return "vision"
    return "audio" if mime.startswith("audio/") else "documents"
