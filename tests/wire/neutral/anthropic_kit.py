"""What the tests of the Anthropic dialect share: streams written, read, and added up by the official SDK."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from wire.neutral.anthropic_answers import Anthropic
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reply, Start
from wire.neutral.parts import NONE, Extras, Part, Signature, Turn
from wire.neutral.requests import Effort, Request
from wire.sse import Framer, frames
from wire.types import Brief, Usage

DIALECT = Anthropic()
THINKS = Effort(enabled=True, level="high", shown=True)
USAGE = Usage(
    input_tokens=1210,
    output_tokens=50,
    cache_read_tokens=1000,
    cache_write_5m_tokens=150,
    cache_write_1h_tokens=50,
    reasoning_tokens=20,
    input_reported=True,
    output_reported=True,
    final=True,
)
_EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)


def asked(
    *,
    effort: Effort | None = None,
    estimate: int = 321,
    model: str = "claude-opus-4-5",
    request: Request | None = None,
) -> Asked:
    """What an Anthropic client asked."""
    request = request or Request("anthropic", model, (Turn("user", ()),), effort=effort)
    return Asked("01jabc", 1_700_000_000, model, Brief(model=model), request, estimate)


def part_events(
    index: int, part: Part, *pieces: str, signature: Signature | None = None, extras: Extras = NONE
) -> list[Event]:
    """A part as it comes."""
    return [
        PartStart(index, part),
        *(PartDelta(index, piece) for piece in pieces),
        PartEnd(index, signature, extras),
    ]


def answer(*parts: list[Event], finish: Finish | None = None, usage: Usage | None = USAGE) -> list[Event]:
    """The events of a whole answer."""
    told = [event for events in parts for event in events]
    return [Start("up_1", "gpt-x"), *told, finish or Finish("stop"), Over(usage)]


def written(events: Iterable[Event], told: Asked) -> bytes:
    """The stream that tells these events."""
    encoder = DIALECT.encoder(told)
    return b"".join(encoder.feed(event) for event in events)


def vendor_events(stream: bytes) -> list[Any]:
    """What the SDK's own parser and its strict models read; each event is named as its data says."""
    told = []
    for event in SSEDecoder().iter_bytes(iter([stream])):
        if event.event == "ping":
            continue
        parsed = _EVENTS.validate_json(event.data)
        assert parsed.type == event.event
        told.append(parsed)
    return told


def accumulated(stream: bytes) -> dict[str, Any]:
    """The message that the SDK adds up."""
    snapshot = None
    buffers: dict[int, bytes] = {}
    for event in vendor_events(stream):
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert snapshot is not None
    return snapshot.model_dump(exclude_none=True)


def whole(events: Iterable[Event], told: Asked) -> dict[str, Any]:
    """The whole answer for the same events, read by the SDK's strict model."""
    body = DIALECT.write_reply(fold(events), told)
    return Message.model_validate_json(body).model_dump(exclude_none=True)


def told_alike(events: list[Event], told: Asked) -> dict[str, Any]:
    """The message that these events make, which streamed and whole must be the same."""
    message = accumulated(written(events, told))
    assert whole(events, told) == message
    return message


def decoded(pieces: Iterable[bytes]) -> list[Event]:
    """The events of a stream that comes in these pieces."""
    framer, decoder = Framer(), DIALECT.decoder(asked())
    events: list[Event] = []
    for piece in pieces:
        for frame in frames(framer.feed(piece)):
            if frame.data:
                events += decoder.feed(frame)
    return [*events, *decoder.finish()]


def reply_of(stream: bytes, usage: Usage | None = None) -> Reply:
    """A stream as a whole answer."""
    return fold([*decoded([stream]), Over(usage)])
