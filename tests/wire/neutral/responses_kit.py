"""What the tests of the Responses dialect share: requests, and answers as OpenAI's library reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, cast, get_args

from openai._streaming import SSEDecoder
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Reply
from wire.neutral.requests import Request, Target
from wire.neutral.responses_answers import Responses
from wire.sse import Framer, frames
from wire.types import Brief

RESPONSES = Responses()
ORIGIN = "openai_responses"
ID = "0192aabb-ccdd-7000-8000-000000000000"
TARGET = Target("up", quirks=frozenset({"reasoning_effort"}))
_EVENTS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model
    for model in get_args(get_args(ResponseStreamEvent)[0])
}
"""The library's model of each event, by its type."""


def read(**fields: Any) -> Request:
    """A request of a client."""
    body = {"model": "m", **fields}
    return RESPONSES.read_request(json.dumps(body).encode(), Brief("m", stream=bool(fields.get("stream"))))


def written(request: Request, target: Target = TARGET) -> dict[str, Any]:
    """The body that goes upstream."""
    body = json.loads(RESPONSES.write_request(request, target).body)
    assert isinstance(body, dict)
    return body


def asked(**fields: Any) -> Asked:
    """What an answer's writer knows."""
    fields.setdefault("input", "hi")
    return Asked(ID, 1787659560, "m", Brief("m", stream=True), read(**fields))


def decoded(stream: bytes | Iterable[bytes], question: Asked | None = None) -> list[Event]:
    """What a stream of upstream's says, in whatever pieces it comes."""
    framer, decoder = Framer(), RESPONSES.decoder(question or asked())
    told: list[Event] = []
    pieces = [stream] if isinstance(stream, bytes) else stream
    for piece in pieces:
        for frame in frames(framer.feed(piece)):
            if frame.data:
                told += decoder.feed(frame)
    for frame in frames(framer.finish()):
        if frame.data:
            told += decoder.feed(frame)
    return [*told, *decoder.finish()]


def told(*events: dict[str, Any]) -> bytes:
    """Events as upstream sends them."""
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def streamed(events: Iterable[Event], question: Asked | None = None) -> bytes:
    """The client's stream."""
    encoder = RESPONSES.encoder(question or asked())
    return b"".join([encoder.feed(event) for event in events])


def ladder(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each checked against the library's strict model; their numbers have no gap."""
    told = []
    for number, sent in enumerate(SSEDecoder().iter_bytes(iter([stream]))):
        event = sent.json()
        _EVENTS[event["type"]].model_validate_json(sent.data, strict=True)
        assert (sent.event, event["sequence_number"]) == (event["type"], number)
        told.append(event)
    return told


def accumulated(stream: bytes) -> dict[str, Any]:
    """The response that OpenAI's library puts together from a stream, out of the events before the last."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    last: dict[str, Any] = {}
    done: dict[int, Any] = {}
    for event in ladder(stream):
        state.handle_event(cast("Any", _EVENTS[event["type"]].model_validate(event)))
        last = event
        if event["type"] == "response.output_item.done":
            done[event["output_index"]] = event["item"]
    items = [done[index] for index in sorted(done)]
    assert items == last["response"]["output"]
    response = last["response"]
    Response.model_validate_json(json.dumps(response), strict=True)
    assert isinstance(response, dict)
    return response


def whole(reply: Reply, question: Asked | None = None) -> dict[str, Any]:
    """The client's whole answer, checked against the library's strict model."""
    body = RESPONSES.write_reply(reply, question or asked())
    Response.model_validate_json(body, strict=True)
    answer = json.loads(body)
    assert isinstance(answer, dict)
    return answer
