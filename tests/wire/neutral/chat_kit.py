"""What the tests of the chat dialect share: questions, streams decoded, and what OpenAI's client makes of
them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from openai._models import validate_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from wire.neutral.chat_answers import OpenAIChat
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Over, Reply
from wire.neutral.parts import Part
from wire.neutral.requests import Request, Target, Written
from wire.sse import Framer, frames
from wire.types import Brief, Usage

CHAT = OpenAIChat()
NOW = 1_762_317_021
USAGE = Usage(
    input_tokens=30,
    output_tokens=12,
    cache_read_tokens=20,
    cache_write_5m_tokens=4,
    reasoning_tokens=5,
    input_reported=True,
    output_reported=True,
    final=True,
)


def brief(*, stream: bool = True, wants_usage: bool = True) -> Brief:
    return Brief("public-model", stream=stream, wants_usage=wants_usage)


def asked(
    *, origin: str = "openai_chat", wants_usage: bool = True, quirks: Iterable[str] = (), **fields: Any
) -> Asked:
    request = Request(origin, "public-model", (), stream=True, **fields)
    told = brief(wants_usage=wants_usage)
    return Asked("r1", NOW, "public-model", told, request, quirks=frozenset(quirks))


def decoded(pieces: Iterable[bytes], question: Asked | None = None) -> Reply:
    """What the decoder makes of a stream that comes in these pieces, folded."""
    return fold(events_of(pieces, question))


def events_of(pieces: Iterable[bytes], question: Asked | None = None) -> list[Event]:
    framer, decoder = Framer(), CHAT.decoder(question or asked())
    told: list[Event] = []
    for piece in [*pieces, None]:
        block = framer.finish() if piece is None else framer.feed(piece)
        for frame in frames(block):
            if frame.data and not frame.data.startswith(b"[DONE]"):
                told += decoder.feed(frame)
    return [*told, *decoder.finish(), Over()]


def stream_of(*choices: dict[str, Any], **fields: Any) -> bytes:
    """Chunks as a vendor sends them, one choice in each."""
    return b"".join(
        b"data: %b\n\n"
        % orjson.dumps(
            {"id": "up1", "object": "chat.completion.chunk", "model": "up", "choices": [choice], **fields}
        )
        for choice in choices
    )


def deltas(*said: dict[str, Any], finish: str | None = "stop") -> bytes:
    """A stream of these deltas, and the reason why it ended."""
    told: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in said]
    return stream_of(*told, {"index": 0, "delta": {}, "finish_reason": finish})


def parts_of(stream: bytes, question: Asked | None = None) -> tuple[Part, ...]:
    """The parts of the one choice."""
    (choice,) = decoded([stream], question).choices
    return choice.parts


def encoded(events: Iterable[Event], question: Asked | None = None) -> bytes:
    encoder = CHAT.encoder(question or asked())
    return b"".join([encoder.feed(event) for event in events])


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream that ends as it must, each of them as the typed client wants it."""
    found = [frame.data for frame in frames(stream) if frame.data]
    assert found[-1] == b"[DONE]"
    chunks = [orjson.loads(data) for data in found[:-1]]
    for chunk in chunks:
        if not any(_is_custom(choice["delta"]) for choice in chunk["choices"]):
            validate_type(type_=ChatCompletionChunk, value=chunk)
    return chunks


def _is_custom(delta: dict[str, Any]) -> bool:
    # The client's type of a streamed call knows functions alone; its accumulator takes both.
    return any("custom" in call for call in delta.get("tool_calls", ()))


def accumulated(stream: bytes) -> dict[str, Any]:
    """What OpenAI's client puts together of a stream, less its own marks and what is null."""
    state: ChatCompletionStreamState[Any] = ChatCompletionStreamState()
    for chunk in chunks_of(stream):
        state.handle_chunk(ChatCompletionChunk.construct(**chunk))
    whole: dict[str, Any] = plain(state.current_completion_snapshot.to_dict())
    for choice in whole["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index", None)
    return whole


def whole(body: bytes) -> dict[str, Any]:
    """A whole answer as the typed client reads it, less what is null."""
    answer = orjson.loads(body)
    validate_type(type_=ChatCompletion, value=answer)
    found: dict[str, Any] = plain(answer)
    return found


def plain(value: Any) -> Any:
    """Without what is null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if each is not None}
    return [plain(each) for each in value] if isinstance(value, list) else value


def read(fields: dict[str, Any], *, stream: bool = False) -> Request:
    body = orjson.dumps({"model": "public-model", **fields})
    return CHAT.read_request(body, brief(stream=stream))


def said(*messages: dict[str, Any], **fields: Any) -> Request:
    return read({"messages": list(messages), **fields})


def written(request: Request, model: str = "gpt-4o", *quirks: str) -> tuple[dict[str, Any], Written]:
    """The body that goes upstream, parsed, and all else that was written."""
    out = CHAT.write_request(request, Target(model, 100_000, frozenset(quirks)))
    return orjson.loads(out.body), out
