"""Answers of OpenAI Responses, read: streamed and whole; and the dialect as such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wire.jsons import as_object, as_objects, as_text, dumps, load_object
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Reply, Start
from wire.neutral.names import call_id
from wire.neutral.parts import Extras, Foreign, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.requests import Request, Target, Written
from wire.neutral.responses_encoder import Encoder
from wire.neutral.responses_items import MESSAGE, RAW, SUMMARY
from wire.neutral.responses_requests import read_request, spelled
from wire.neutral.responses_tools import ORIGIN, bag, joined, rest
from wire.neutral.responses_writing import write_request
from wire.sse import Frame
from wire.types import Brief
from wire.usage import RESPONSES, Counters, from_openai

_ENDINGS: Final = ("response.completed", "response.incomplete")
_DELTAS: Final = {
    "response.output_text.delta": "output_text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "summary_text",
    "response.reasoning_text.delta": "reasoning_text",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}
_DONE: Final = {
    "response.output_text.done": ("output_text", "text"),
    "response.refusal.done": ("refusal", "refusal"),
    "response.reasoning_summary_text.done": ("summary_text", "text"),
    "response.reasoning_text.done": ("reasoning_text", "text"),
    "response.function_call_arguments.done": ("arguments", "arguments"),
    "response.custom_tool_call_input.done": ("input", "input"),
}
_OWNERS: Final = {
    "output_text": "message",
    "refusal": "message",
    "summary_text": "reasoning",
    "reasoning_text": "reasoning",
    "arguments": "function_call",
    "input": "custom_tool_call",
}
"""Of which items each kind of text is."""
_PLACES: Final = {
    "output_text": "content_index",
    "refusal": "content_index",
    "summary_text": "summary_index",
    "reasoning_text": "content_index",
}
_CALLS: Final = {"function_call": "arguments", "custom_tool_call": "input"}
"""Calls, and what their arguments are called."""
_REASONS: Final[Mapping[str, Reason]] = {"max_output_tokens": "length", "content_filter": "refusal"}


class _Item:
    """An output item as far as the stream has told of it."""

    __slots__ = ("about", "kind", "live", "over", "parts", "text", "told")

    def __init__(self, kind: str, about: Mapping[str, Any]) -> None:
        self.kind = kind
        self.about = about
        """The item as it was announced."""
        self.parts: dict[int, int] = {}
        """The middle's parts by their place in the item's content; that of thinking and of a call at 0."""
        self.live: dict[int, int] = {}
        """Those that are not whole yet."""
        self.told: set[int] = set()
        """Places of texts that deltas told of; of reasoning, of the pieces of its text."""
        self.text = ""
        """Of reasoning: which of its two texts is told."""
        self.over = False


class Decoder:
    """Reads one streamed answer. Deltas, `.done` events, whole items and the whole response at the end all
    say the same: each text is taken from where it stands first."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._items: list[_Item] = []
        self._by_id: dict[str, _Item] = {}
        self._by_index: dict[int, _Item] = {}
        self._parts = 0
        self._calls = 0
        self._started = self._refused = self._finished = False

    def feed(self, frame: Frame) -> Iterable[Event]:
        """The events that a frame tells. Raises BadFrame."""
        event = load_object(frame.data)
        if self._finished:
            return ()
        kind = as_text(event.get("type")) or frame.event
        text = _DELTAS.get(kind)
        if text is None:
            return self._begun(self._other(kind, event))
        delta = event.get("delta")
        if not isinstance(delta, str) or not delta:
            return ()
        if text == "output_text":  # the usual case: the part is there
            item = self._by_id.get(as_text(event.get("item_id")))
            index = item.live.get(_number(event, "content_index")) if item is not None else None
            if index is not None:
                return (PartDelta(index, delta),)
        return self._begun(self._delta(text, event, delta))

    def finish(self) -> Iterable[Event]:
        """Ends what is open; an answer that did not say why it ended has just stopped."""
        return self._begun(self._end({}))

    def whole(self, response: Mapping[str, Any]) -> list[Event]:
        """The events of a whole response."""
        start = Start(as_text(response.get("id")), as_text(response.get("model")))
        return [start, *self._end(response)]

    def _begun(self, events: Iterator[Event]) -> list[Event]:
        """The events, behind a Start where there was none yet."""
        told = list(events)
        if self._started or not told:
            return told
        self._started = True
        return told if isinstance(told[0], Start) else [Start(), *told]

    def _other(self, kind: str, event: Mapping[str, Any]) -> Iterator[Event]:
        if kind == "response.created":
            if not self._started:
                response = as_object(event.get("response"))
                yield Start(as_text(response.get("id")), as_text(response.get("model")))
        elif kind == "response.output_item.added":
            about = as_object(event.get("item"))
            yield from self._added(self._new(about, event))
        elif kind == "response.output_item.done":
            about = as_object(event.get("item"))
            yield from self._whole(self._find(event, as_text(about.get("type")), about), about)
        elif kind in _DONE:
            text, key = _DONE[kind]
            yield from self._late(text, event, as_text(event.get(key)))
        elif kind == "response.content_part.done":
            part = as_object(event.get("part"))
            if part.get("type") in ("output_text", "refusal"):
                place = _number(event, "content_index")
                yield from self._content(self._find(event, "message"), place, part)
        elif kind in _ENDINGS:
            yield from self._end(as_object(event.get("response")))

    def _new(self, about: Mapping[str, Any], event: Mapping[str, Any]) -> _Item:
        item = _Item(as_text(about.get("type")), about)
        self._items.append(item)
        if item_id := as_text(about.get("id")):
            self._by_id[item_id] = item
        self._by_index[_number(event, "output_index", len(self._items) - 1)] = item
        return item

    def _find(self, event: Mapping[str, Any], kind: str, about: Mapping[str, Any] | None = None) -> _Item:
        """The item that an event is about: by its id; by its place, where ids change from event to event; or
        a new one, where nothing announced it."""
        item_id = as_text(event.get("item_id")) or as_text((about or {}).get("id"))
        item = self._by_id.get(item_id)
        if item is None or item.kind != kind:
            item = self._by_index.get(_number(event, "output_index", -1))
            if not item_id and "output_index" not in event and self._items:
                item = self._items[-1]
            if item is None or item.kind != kind or (about and item.over):
                return self._new(about or {"type": kind, "id": item_id}, event)
        return item

    def _added(self, item: _Item) -> Iterator[Event]:
        # A reasoning item may stay empty, and a message's parts announce themselves.
        if item.kind in _CALLS and item.about.get("name"):
            yield from self._call(item, item.about)

    def _start(self, item: _Item, place: int, part: Part) -> PartStart:
        index = item.parts[place] = item.live[place] = self._parts
        self._parts += 1
        return PartStart(index, part)

    def _tell(self, item: _Item, place: int, text: str) -> Iterator[Event]:
        """A text, or its beginning, unless deltas told it."""
        if text and place not in item.told:
            item.told.add(place)
            yield PartDelta(item.parts[place], text)

    def _call(self, item: _Item, about: Mapping[str, Any]) -> Iterator[Event]:
        """Begins a call, with those of its arguments that are told with it."""
        key = _CALLS[item.kind]
        made = as_text(about.get("call_id")) or call_id(self._asked.id, self._calls)
        self._calls += 1
        name = joined(as_text(about.get("namespace")), as_text(about.get("name")))
        extras = bag(rest(about, ("type", "call_id", "name", "status", key)))
        yield self._start(item, 0, ToolCall(made, name, custom=key == "input", extras=extras))
        yield from self._tell(item, 0, as_text(about.get(key)))

    def _delta(self, text: str, event: Mapping[str, Any], delta: str) -> Iterator[Event]:
        item = self._find(event, _OWNERS[text])
        if item.over:  # nobody would end what began behind the item's own end
            return
        if item.kind == "reasoning":
            yield from self._think(item, text, _number(event, _PLACES[text]), delta)
            return
        place = _number(event, "content_index") if item.kind == "message" else 0
        if place not in item.parts:
            said = item.kind == "message"
            yield from self._say(item, place, text) if said else self._call(item, item.about)
        if place in item.live:
            item.told.add(place)
            yield PartDelta(item.live[place], delta)

    def _say(self, item: _Item, place: int, kind: str) -> Iterator[Event]:
        """Begins a part of a message."""
        if kind == "refusal":
            self._refused = True
            yield self._start(item, place, Refusal(""))
        elif item.parts:
            yield self._start(item, place, Text(""))
        else:
            about = rest(item.about, ("type", "role", "content", "status"))
            yield self._start(item, place, Text("", extras=bag({MESSAGE: about})))

    def _think(self, item: _Item, text: str, piece: int, delta: str) -> Iterator[Event]:
        """More of a reasoning item; of its two texts the one that comes first."""
        if not item.parts:
            item.text = text
            extras = _thinking_extras(item.about, raw=text == "reasoning_text")
            yield self._start(item, 0, Thinking(extras=extras))
        if item.text == text and item.live:
            apart = "\n\n" if item.told and piece not in item.told else ""
            item.told.add(piece)
            yield PartDelta(item.live[0], apart + delta)

    def _late(self, text: str, event: Mapping[str, Any], whole: str) -> Iterator[Event]:
        """A text told whole: its deltas may be missing."""
        item = self._find(event, _OWNERS[text])
        place = _number(event, _PLACES[text]) if text in _PLACES else 0
        other = item.kind == "reasoning" and item.text not in ("", text)
        if whole and place not in item.told and not other and not item.over:
            yield from self._delta(text, event, whole)

    def _content(self, item: _Item, place: int, part: Mapping[str, Any]) -> Iterator[Event]:
        """A whole part of a message."""
        kind = as_text(part.get("type"))
        text = as_text(part.get("refusal" if kind == "refusal" else "text"))
        if place not in item.parts and text:
            yield from self._say(item, place, kind)
        if place in item.live:
            yield from self._tell(item, place, text)
            marks = {key: part[key] for key in ("annotations", "logprobs") if part.get(key)}
            yield PartEnd(item.live.pop(place), extras=bag(marks))

    def _whole(self, item: _Item, about: Mapping[str, Any]) -> Iterator[Event]:
        """A whole item: what was not told of it yet."""
        if item.over:
            return
        item.over = True
        if item.kind == "message":
            for place, part in enumerate(as_objects(about.get("content"))):
                yield from self._content(item, place, part)
        elif item.kind == "reasoning":
            yield from self._thought(item, about)
        elif item.kind in _CALLS:
            if not item.parts:
                yield from self._call(item, about)
            yield from self._tell(item, 0, as_text(about.get(_CALLS[item.kind])))
        elif item.kind:
            yield self._start(item, 0, Foreign(ORIGIN, about))
        for index in item.live.values():
            yield PartEnd(index)
        item.live.clear()

    def _thought(self, item: _Item, about: Mapping[str, Any]) -> Iterator[Event]:
        texts = {
            "summary_text": [as_text(piece.get("text")) for piece in as_objects(about.get("summary"))],
            "reasoning_text": [as_text(piece.get("text")) for piece in as_objects(about.get("content"))],
        }
        kind = item.text or ("summary_text" if any(texts["summary_text"]) else "reasoning_text")
        for number, text in enumerate(texts[kind]):
            if text and number not in item.told:
                yield from self._think(item, kind, number, text)
        seal, item_id = as_text(about.get("encrypted_content")), as_text(about.get("id"))
        if not item.parts and seal:
            yield self._start(item, 0, Thinking(extras=_thinking_extras(about)))
        if item.live:
            pieces = {SUMMARY: texts[kind]} if len(texts[kind]) > 1 else {}
            signature = Signature(ORIGIN, seal, item_id) if seal else None
            yield PartEnd(item.live.pop(0), signature, bag(pieces))

    def _end(self, response: Mapping[str, Any]) -> Iterator[Event]:
        if self._finished:
            return
        self._finished = True
        announced = list(self._items)
        for number, about in enumerate(as_objects(response.get("output"))):
            item = _match(announced, about)
            if item is None:
                item = self._new(about, {"output_index": number})
            else:
                announced.remove(item)
            yield from self._whole(item, about)
        for item in announced:
            yield from self._whole(item, item.about)
        yield self._reason(response)

    def _reason(self, response: Mapping[str, Any]) -> Finish:
        status = as_text(response.get("status"))
        why = as_text(as_object(response.get("incomplete_details")).get("reason"))
        reason: Reason = "stop"
        if why or status == "incomplete":
            reason = _REASONS.get(why, "other")
        elif self._calls:
            reason = "tool_calls"
        elif self._refused:
            reason = "refusal"
        return Finish(reason, why or status or "completed")


def _match(items: list[_Item], about: Mapping[str, Any]) -> _Item | None:
    """Which of the announced items this is: by its id, else the first of its kind, as ids may change."""
    alike = [item for item in items if item.kind == about.get("type")]
    same = [item for item in alike if item.about.get("id") == about.get("id")]
    return next(iter(same or alike), None)


def _thinking_extras(about: Mapping[str, Any], *, raw: bool = False) -> Extras:
    told = rest(about, ("type", "summary", "content", "encrypted_content", "status"))
    return bag({**told, RAW: True} if raw else told)


def _number(event: Mapping[str, Any], key: str, absent: int = 0) -> int:
    value = event.get(key)
    return value if type(value) is int else absent


class Responses:
    """OpenAI Responses as a dialect."""

    name = ORIGIN
    addresses = frozenset(("image", "document"))

    def read_request(
        self, body: bytes, brief: Brief, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Raises BadRequest naming the field."""
        return read_request(body, brief)

    def write_request(self, request: Request, target: Target) -> Written:
        """Raises CannotHold."""
        return write_request(request, target)

    def path(self, brief: Brief) -> str:
        """Where such requests are sent."""
        return "/v1/responses"

    def decoder(self, asked: Asked) -> Decoder:
        """A fresh one."""
        return Decoder(asked)

    def read_reply(self, body: bytes, asked: Asked) -> Reply:
        """A whole answer. Raises BadFrame."""
        response = load_object(body)
        raw = Counters()
        raw.merge(response.get("usage"), RESPONSES)
        raw.service_tier, raw.final = as_text(response.get("service_tier")), True
        usage = from_openai(raw)
        told = usage if usage.input_reported or usage.output_reported else None
        return fold([*Decoder(asked).whole(response), Over(told)])

    def encoder(self, asked: Asked) -> Encoder:
        """A fresh one."""
        return Encoder(asked)

    def write_reply(self, reply: Reply, asked: Asked) -> bytes:
        """The response object that the stream of the same events ends with."""
        encoder = Encoder(asked)
        for event in unfold(reply):
            encoder.feed(event)
        return dumps(encoder.response)

    def spelled(self, knob: str) -> str:
        """A field of the middle as this format calls it."""
        return spelled(knob)
