"""Anthropic Messages: answers to the middle, and back; and the dialect as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wire.jsons import as_object, as_objects, as_text, dumps, load_object
from wire.neutral import anthropic_requests as requests
from wire.neutral.anthropic_blocks import NAME, REDACTED
from wire.neutral.anthropic_encoder import AnthropicEncoder, write_reply
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import (
    Event,
    Finish,
    Over,
    PartDelta,
    PartEnd,
    PartStart,
    Reason,
    Reply,
    Start,
)
from wire.neutral.parts import (
    NONE,
    Extras,
    Foreign,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from wire.neutral.requests import Request, Target, Written
from wire.sse import Frame
from wire.types import Brief, Usage
from wire.usage import ANTHROPIC, Counters, from_anthropic

REASONS: Final[Mapping[str, Reason]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "stop_sequence": "stop_sequence",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "refusal": "refusal",
    "model_context_window_exceeded": "context_length",
}
_GROWS: Final = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
Out = dict[str, Any]


def usage_of(report: Mapping[str, Any], *, final: bool) -> Usage | None:
    """The tokens that a usage object tells; None where it tells none."""
    raw = Counters()
    raw.merge(report, ANTHROPIC)
    raw.merge_tool_uses(report.get("server_tool_use"))
    raw.service_tier = as_text(report.get("service_tier"))
    raw.final = final
    return from_anthropic(raw) if raw.values else None


class _Open:
    """A block of upstream's that is being told. `index` is its part's, -1 while it is held; it grows by
    deltas of one type, whose words stand under one key."""

    __slots__ = ("block", "citations", "deltas", "grows_by", "index", "key", "kind", "signature", "texts")

    def __init__(self, block: Out, kind: str, index: int) -> None:
        self.block = block
        self.kind = kind
        self.index = index
        self.grows_by, self.key = _GROWS.get(kind, ("input_json_delta", "partial_json"))
        self.signature: list[str] = []
        self.citations: list[Out] = []
        self.deltas = False
        self.texts: list[str] = []
        """A foreign block's input, which is held until it is whole."""


class AnthropicDecoder:
    """Reads a stream of Messages events."""

    def __init__(self) -> None:
        self._open: dict[Any, _Open] = {}
        self._parts = 0
        self._started = self._called = self._finished = False

    def feed(self, frame: Frame) -> Iterable[Event]:
        """The events that a frame tells. Raises BadFrame where it is no JSON object."""
        return self.take(load_object(frame.data))

    def take(self, event: Mapping[str, Any]) -> Iterable[Event]:
        """The events that an event of the vendor's tells."""
        kind = event.get("type")
        if self._finished:
            return ()
        if kind == "content_block_delta":
            return self._delta(event)
        if kind == "content_block_start":
            return self._begin(event.get("index"), as_object(event.get("content_block")))
        if kind == "content_block_stop":
            return self._end(event.get("index"))
        if kind == "message_delta":
            return self._stop(as_object(event.get("delta")))
        if kind == "message_start" and not self._started:
            self._started = True
            return (_start(as_object(event.get("message"))),)
        return ()

    def finish(self) -> Iterable[Event]:
        """Ends what is still open."""
        for index in list(self._open):
            yield from self._end(index)
        if not self._finished:
            self._finished = True
            yield Finish("tool_calls" if self._called else "stop")

    def _begin(self, index: Any, block: Out) -> Iterator[Event]:
        index = _key(index)
        yield from self._end(index)  # a block that the vendor never stopped
        kind = as_text(block.get("type"))
        part = _part(kind, block)
        self._open[index] = told = _Open(block, kind, -1 if part is None else self._parts)
        if part is None:
            return  # held until it is whole
        self._parts += 1
        self._called = self._called or kind == "tool_use"
        yield PartStart(told.index, part)
        text = as_text(block.get("text" if kind == "text" else "thinking"))
        if text and kind in ("text", "thinking"):
            yield PartDelta(told.index, text)
        if as_text(block.get("signature")):
            told.signature.append(block["signature"])
        told.citations += as_objects(block.get("citations"))

    def _delta(self, event: Mapping[str, Any]) -> Iterable[Event]:
        delta = as_object(event.get("delta"))
        told = self._open.get(_key(event.get("index")))
        kind = delta.get("type")
        if told is not None and kind == told.grows_by:
            text = delta.get(told.key)
            if not text or not isinstance(text, str):
                return ()
            if told.index < 0:
                told.texts.append(text)
                return ()
            told.deltas = True
            return (PartDelta(told.index, text),)
        if kind in ("text_delta", "thinking_delta"):
            return self._unopened(event.get("index"), kind, delta)
        if told is not None and kind == "signature_delta":
            told.signature.append(as_text(delta.get("signature")))
        elif told is not None and kind == "citations_delta":
            told.citations.append(as_object(delta.get("citation")))
        return ()

    def _unopened(self, index: Any, kind: str, delta: Out) -> Iterable[Event]:
        """Words of a block that never began, or began as another."""
        block = {"type": kind.removesuffix("_delta")}
        return [*self._begin(index, block), *self._delta({"index": index, "delta": delta})]

    def _end(self, index: Any) -> Iterator[Event]:
        told = self._open.pop(_key(index), None)
        if told is None:
            return
        if told.index < 0:
            yield from self._foreign(told)
            return
        given = told.block.get("input")
        if told.kind == "tool_use" and given and not told.deltas:
            yield PartDelta(told.index, dumps(given).decode())
        value = "".join(told.signature)
        extras: Extras = {NAME: {"citations": told.citations}} if told.citations else NONE
        yield PartEnd(told.index, Signature(NAME, value) if value else None, extras)

    def _foreign(self, told: _Open) -> Iterator[Event]:
        """A block that this format alone understands, whole."""
        value = told.block
        if told.texts:
            value = {
                **value,
                "input": load_object("".join(told.texts).encode("utf-8", "surrogatepass") or b"{}"),
            }
        index = self._parts
        self._parts += 1
        yield PartStart(index, Foreign(NAME, value))
        yield PartEnd(index)

    def _stop(self, delta: Out) -> Iterator[Event]:
        native = as_text(delta.get("stop_reason"))
        if not native or self._finished:
            return
        for index in list(self._open):
            yield from self._end(index)
        reason = REASONS.get(native, "other")
        if self._called and reason in ("stop", "other"):
            reason = "tool_calls"  # 60
        explained = as_text(as_object(delta.get("stop_details")).get("explanation"))
        if reason == "refusal" and explained:
            yield PartStart(self._parts, Refusal(""))
            yield PartDelta(self._parts, explained)
            yield PartEnd(self._parts)
            self._parts += 1
        self._finished = True
        yield Finish(reason, native, as_text(delta.get("stop_sequence")))


def _key(index: Any) -> Any:
    """A block's index as a key, whatever it is."""
    return index if isinstance(index, int | str) else None


def _start(message: Out) -> Start:
    report = as_object(message.get("usage"))
    return Start(
        as_text(message.get("id")),
        as_text(message.get("model")),
        usage_of(report, final=False) if report else None,
    )


def _part(kind: str, block: Out) -> Part | None:
    """A block as it begins; None for one that only this format understands."""
    if kind == "text":
        return Text("")
    if kind == "thinking":
        return Thinking()
    if kind == "redacted_thinking":
        data = as_text(block.get("data"))
        return Thinking(signature=Signature(NAME, REDACTED + data) if data else None)
    if kind == "tool_use":
        return ToolCall(as_text(block.get("id")), as_text(block.get("name")))
    return None


def read_reply(body: bytes) -> Reply:
    """A whole answer. Raises BadFrame."""
    message = load_object(body)
    decoder = AnthropicDecoder()
    events: list[Event] = [*decoder.take({"type": "message_start", "message": message})]
    for index, block in enumerate(as_objects(message.get("content"))):
        events += decoder.take({"type": "content_block_start", "index": index, "content_block": block})
        events += decoder.take({"type": "content_block_stop", "index": index})
    events += decoder.take({"type": "message_delta", "delta": message})
    events += decoder.finish()
    report = as_object(message.get("usage"))
    return fold([*events, Over(usage_of(report, final=True) if report else None)])


class Anthropic:
    """The dialect of `/v1/messages`."""

    name = NAME
    addresses = frozenset(("image", "document"))
    """A document by its address is a PDF."""

    def read_request(
        self, body: bytes, brief: Brief, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Raises BadRequest naming the field."""
        return requests.read_request(body, brief)

    def write_request(self, request: Request, target: Target) -> Written:
        """Raises CannotHold where content has no place."""
        return requests.write_request(request, target)

    def path(self, brief: Brief) -> str:
        """The path that a client of this format would have called."""
        return requests.path(brief)

    def decoder(self, asked: Asked) -> AnthropicDecoder:
        """A fresh one for one streamed answer."""
        return AnthropicDecoder()

    def read_reply(self, body: bytes, asked: Asked) -> Reply:
        """A whole answer. Raises BadFrame."""
        return read_reply(body)

    def encoder(self, asked: Asked) -> AnthropicEncoder:
        """A fresh one for one streamed answer."""
        return AnthropicEncoder(asked)

    def write_reply(self, reply: Reply, asked: Asked) -> bytes:
        """A whole answer's body."""
        return write_reply(reply, asked)

    def spelled(self, knob: str) -> str:
        """A field of the middle as this format calls it."""
        return requests.spelled(knob)
