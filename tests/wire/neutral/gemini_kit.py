"""What the tests of Gemini's dialect share: questions, streams decoded, and what Google's client makes of
them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from google.genai import types

from wire.arrays import elements
from wire.neutral.collect import fold
from wire.neutral.dialect import Asked
from wire.neutral.events import Choice, Event, Finish, Over, Reason, Reply, Start
from wire.neutral.gemini_answers import Gemini
from wire.neutral.parts import Part
from wire.neutral.requests import Effort, Request, Target, Written
from wire.sse import Framer, frames
from wire.types import Brief, Usage

GEMINI = Gemini()
NOW = 1_762_317_021
USAGE = Usage(
    input_tokens=30,
    output_tokens=12,
    cache_read_tokens=20,
    reasoning_tokens=5,
    input_reported=True,
    output_reported=True,
    final=True,
)
SHOWN = Effort(shown=True)


def brief(*, stream: bool = True, array: bool = False) -> Brief:
    return Brief("public-model", stream=stream, array=array)


def asked(*, origin: str = "gemini", array: bool = False, **fields: Any) -> Asked:
    request = Request(origin, "public-model", (), stream=True, **fields)
    return Asked("r1", NOW, "public-model", brief(array=array), request)


def events_of(pieces: Iterable[bytes], question: Asked | None = None) -> list[Event]:
    """What the decoder tells of a stream that comes in these pieces."""
    framer, decoder = Framer(), GEMINI.decoder(question or asked())
    told: list[Event] = []
    for piece in [*pieces, None]:
        block = framer.finish() if piece is None else framer.feed(piece)
        for frame in frames(block):
            if frame.data:
                told += decoder.feed(frame)
    return [*told, *decoder.finish(), Over()]


def decoded(pieces: Iterable[bytes], question: Asked | None = None) -> Reply:
    return fold(events_of(pieces, question))


def stream_of(*answers: dict[str, Any]) -> bytes:
    """Pieces of an answer as Google sends them."""
    return b"".join(b"data: %b\r\n\r\n" % orjson.dumps(answer) for answer in answers)


def candidate(*parts: dict[str, Any], finish: str = "", index: int = 0, **more: Any) -> dict[str, Any]:
    """One piece with these parts of one candidate."""
    told: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index, **more}
    if finish:
        told["finishReason"] = finish
    return {"candidates": [told], "modelVersion": "gemini-3-pro", "responseId": "up1"}


def choice_of(*answers: dict[str, Any]) -> Choice:
    """What comes of the one candidate of an answer in these pieces; the last of them ends it."""
    (choice,) = decoded([stream_of(*answers)]).choices
    return choice


def told_by(*parts: Part, reason: Reason = "stop", native: str = "") -> Reply:
    """An answer with these parts."""
    return Reply(Start("up1", "up"), (Choice(parts, Finish(reason, native)),), Over(USAGE))


def encoded(events: Iterable[Event], question: Asked | None = None) -> bytes:
    encoder = GEMINI.encoder(question or asked())
    return b"".join([encoder.feed(event) for event in events])


def pieces_of(stream: bytes) -> list[dict[str, Any]]:
    """The pieces of a stream, each of them as Google's client wants it."""
    if stream.startswith(b"["):
        assert orjson.loads(stream) is not None
        found = [orjson.loads(frame.data) for frame in elements(stream) if frame.data]
    else:
        found = [orjson.loads(frame.data) for frame in frames(stream) if frame.data]
    for piece in found:
        assert_typed(piece)
    return found


def assert_typed(answer: dict[str, Any]) -> None:
    """Google's own types hold all that the answer says."""
    response = types.GenerateContentResponse.model_validate(answer)
    for one, told in zip(response.candidates or (), answer["candidates"], strict=True):
        assert one.finish_reason is None or one.finish_reason.value == told["finishReason"]
        assert one.content is not None
        assert len(one.content.parts or ()) == len(told["content"]["parts"])


def joined(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole answer that the pieces of one are: text goes on with the text before it until that is
    signed, and what comes later counts."""
    whole: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        whole.update(piece)
        for one in piece.get("candidates", ()):
            known = candidates.setdefault(one["index"], {"content": {"parts": [], "role": "model"}})
            parts = known["content"]["parts"]
            for part in one["content"]["parts"]:
                if part == {"text": ""}:
                    continue
                last = parts[-1] if parts else {}
                goes_on = "text" in last and "text" in part and "thoughtSignature" not in last
                if goes_on and last.get("thought") == part.get("thought"):
                    parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
                else:
                    parts.append(part)
            known.update({key: value for key, value in one.items() if key != "content"})
    for one in candidates.values():
        one["content"]["parts"] = one["content"]["parts"] or [{"text": ""}]
    return {**whole, "candidates": [candidates[number] for number in sorted(candidates)]}


def read(fields: dict[str, Any], *, stream: bool = False) -> Request:
    return GEMINI.read_request(orjson.dumps(fields), brief(stream=stream))


def said(*contents: dict[str, Any], **fields: Any) -> Request:
    return read({"contents": list(contents), **fields})


def written(request: Request, model: str = "gemini-2.5-flash") -> tuple[dict[str, Any], Written]:
    """The body that goes upstream, parsed, and all else that was written."""
    out = GEMINI.write_request(request, Target(model, 100_000))
    return orjson.loads(out.body), out
