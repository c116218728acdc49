"""Answers of generateContent, streamed and whole, written from events; and the dialect as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wire.jsons import dumps, load_object
from wire.neutral.collect import text_of, unfold
from wire.neutral.dialect import Asked, Decoder, Encoder
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Reply
from wire.neutral.gemini_decoder import NOTES, REASONS, GeminiDecoder, read_reply
from wire.neutral.gemini_fields import NAME, own
from wire.neutral.gemini_requests import path, read_request, spelled
from wire.neutral.gemini_writing import write_request
from wire.neutral.order import OneByOne
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.requests import Request, Target, Written
from wire.neutral.seals import slot
from wire.types import BadFrame, Brief, Usage

WORDS: Final[Mapping[Reason, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "pause": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "context_length": "MAX_TOKENS",
    "refusal": "SAFETY",
    "malformed_call": "MALFORMED_FUNCTION_CALL",
    "other": "OTHER",
}
CUT: Final = frozenset(("length", "context_length"))
"""Reasons by which an answer may end in the middle of a call."""
Out = dict[str, Any]


class Gemini:
    """The dialect of `:generateContent` and `:streamGenerateContent`."""

    name = NAME
    addresses: frozenset[str] = frozenset()

    def read_request(
        self, body: bytes, brief: Brief, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Raises BadRequest naming the field."""
        return read_request(body, brief)

    def write_request(self, request: Request, target: Target) -> Written:
        """Raises CannotHold."""
        return write_request(request, target)

    def path(self, brief: Brief) -> str:
        """With the query that asks for events, where it streams."""
        return path(brief)

    def decoder(self, asked: Asked) -> Decoder:
        """A fresh one."""
        return GeminiDecoder(asked)

    def read_reply(self, body: bytes, asked: Asked) -> Reply:
        """Raises BadFrame."""
        return read_reply(body, asked)

    def encoder(self, asked: Asked) -> Encoder:
        """A fresh one."""
        return GeminiEncoder(asked)

    def write_reply(self, reply: Reply, asked: Asked) -> bytes:
        """What a client makes of the same answer's pieces. Raises BadFrame."""
        return write_reply(reply, asked)

    def spelled(self, knob: str) -> str:
        """As it stands in a request."""
        return spelled(knob)


class GeminiEncoder:
    """Writes one streamed answer: events as Google sends them, or the elements of an array. Why it ended is
    told with its usage, in the last piece."""

    def __init__(self, asked: Asked) -> None:
        self.sequence = 0
        self._array = asked.brief.array
        self._lead = b"[" if self._array else b"data: "
        self._close = b"\n" if self._array else b"\r\n\r\n"
        self._names = _names(asked)
        self._speaker = _Speaker(asked.request)
        self._orders: dict[int, OneByOne] = {}
        self._finishes: dict[int, Finish] = {}
        self._heads: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        """What stands around a piece of text, by its part, as long as no other part is told before it."""

    def feed(self, event: Event) -> bytes:
        """The pieces that tell an event. Raises BadFrame where what upstream said has no form here."""
        if type(event) is PartDelta:
            around = self._heads.get((event.choice, event.index))
            if around is not None:
                return self._sent(around[0] + dumps(event.text) + around[1])
        if isinstance(event, Over):
            return self._end(event)
        if isinstance(event, Finish):
            self._finishes[event.choice] = event
        if not isinstance(event, PartStart | PartDelta | PartEnd | Finish):
            return b""
        order = self._orders.setdefault(event.choice, OneByOne())
        ordered = list(order.feed(event))
        if isinstance(event, PartStart) and ordered:
            self._straight(event)
        elif isinstance(event, PartEnd):
            self._heads.pop((event.choice, event.index), None)
        parts = [part for each in ordered for part in self._speaker.feed(each)]
        return b"".join([self._piece(event.choice, part) for part in parts])

    def _straight(self, event: PartStart) -> None:
        before = self._speaker.around(event.part)
        if before is not None:
            head = b'{"candidates":[{"content":{"parts":[{"text":'
            tail = b'%b}],"role":"model"},"index":%d}],%b}' % (before, event.choice, self._names)
            self._heads[event.choice, event.index] = head, tail

    def _piece(self, choice: int, part: Out) -> bytes:
        content = dumps({"parts": [part], "role": "model"})
        return self._sent(b'{"candidates":[{"content":%b,"index":%d}],%b}' % (content, choice, self._names))

    def _sent(self, piece: bytes) -> bytes:
        lead = self._lead
        if self._array and not self.sequence:
            self._lead = b",\r\n"
        self.sequence += 1
        return lead + piece + self._close

    def _end(self, over: Over) -> bytes:
        candidates = [
            self._speaker.ended(self._finishes[number], [{"text": ""}]) for number in sorted(self._finishes)
        ]
        usage = b"" if over.usage is None else b'"usageMetadata":%b,' % dumps(usage_object(over.usage))
        piece = self._sent(b'{"candidates":%b,%b%b}' % (dumps(candidates), usage, self._names))
        return piece + b"]" if self._array else piece


def write_reply(reply: Reply, asked: Asked) -> bytes:
    """A whole answer: its pieces, put together. Raises BadFrame."""
    speaker = _Speaker(asked.request)
    parts: dict[int, list[Out]] = {}
    finishes: list[Finish] = []
    for event in unfold(reply):
        if isinstance(event, PartStart | PartDelta | PartEnd | Finish):
            for part in speaker.feed(event):
                _add(parts.setdefault(event.choice, []), part)
        if isinstance(event, Finish):
            finishes.append(event)
    candidates = [speaker.ended(finish, parts.get(finish.choice) or [{"text": ""}]) for finish in finishes]
    answer: Out = {"candidates": candidates}
    if reply.over.usage is not None:
        answer["usageMetadata"] = usage_object(reply.over.usage)
    return dumps(answer)[:-1] + b",%b}" % _names(asked)


def _names(asked: Asked) -> bytes:
    """How every piece ends."""
    return dumps({"modelVersion": asked.model, "responseId": asked.id})[1:-1]


def _add(parts: list[Out], part: Out) -> None:
    """Adds what a piece says: text goes on with the text before it, until that is signed."""
    last = parts[-1] if parts else {}
    if (
        "text" in part
        and "text" in last
        and "thoughtSignature" not in last
        and part.get("thought") == last.get("thought")
    ):
        last.update({**part, "text": last["text"] + part["text"]})
    else:
        parts.append(part)


def usage_object(usage: Usage) -> Out:
    """Input contains what was read from a cache; thoughts are counted apart (conversion.md, 20)."""
    told: Out = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cache_read_tokens:
        told["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.reasoning_tokens:
        told["thoughtsTokenCount"] = usage.reasoning_tokens
    return told


class _Told:
    """What was told of one candidate."""

    def __init__(self) -> None:
        self.part: Part | None = None
        """The part that is being told."""
        self.pieces: list[str] = []
        """What can be told at its end alone."""
        self.said = False
        """Whether the part has any words."""
        self.cut = ""
        """A tool whose call is no JSON: it was left out, if the answer was cut off."""
        self.notes: Out = {}


class _Speaker:
    """Events, one part after another, as parts of contents: what streamed and whole answers have in
    common."""

    def __init__(self, request: Request) -> None:
        # Thoughts are told to whom asked for them, as Google does.
        self._shown = request.effort is not None and request.effort.shown is True
        self._choices: dict[int, _Told] = {}

    def feed(self, event: Event) -> Iterator[Out]:
        """The parts that tell an event. Raises BadFrame."""
        if isinstance(event, PartStart):
            yield from self._start(self._of(event.choice), event.part)
        elif isinstance(event, PartDelta):
            told = self._of(event.choice)
            yield from self._more(told, event.text)
        elif isinstance(event, PartEnd):
            yield from self._end(self._of(event.choice), event)
        elif isinstance(event, Finish):
            told = self._of(event.choice)
            if told.cut and event.reason not in CUT:
                raise _broken(told.cut)

    def around(self, part: Part) -> bytes | None:
        """What stands behind the text in a part of its own; None for a part that is not told as it comes."""
        if isinstance(part, Text | Refusal):
            return b""
        return b',"thought":true' if isinstance(part, Thinking) and self._shown else None

    def ended(self, finish: Finish, parts: list[Out]) -> Out:
        """A candidate's last piece."""
        reason = finish.native if finish.native in REASONS else WORDS[finish.reason]
        content = {"parts": parts, "role": "model"}
        notes = self._of(finish.choice).notes
        return {"content": content, "finishReason": reason, "index": finish.choice, **notes}

    def _of(self, choice: int) -> _Told:
        told = self._choices.get(choice)
        if told is None:
            told = self._choices[choice] = _Told()
        return told

    def _start(self, told: _Told, part: Part) -> Iterator[Out]:
        if told.cut:
            raise _broken(told.cut)
        told.part, told.pieces, told.said = part, [], False
        if text := text_of(part):
            yield from self._more(told, text)

    def _more(self, told: _Told, text: str) -> Iterator[Out]:
        if isinstance(told.part, ToolCall):
            told.pieces.append(text)
        elif isinstance(told.part, Thinking):
            told.said = True
            if self._shown:
                yield {"text": text, "thought": True}
        else:
            yield {"text": text}

    def _end(self, told: _Told, event: PartEnd) -> Iterator[Out]:
        part = told.part
        match part:
            case Text():
                told.notes.update(own(event.extras) or own(part.extras))
                yield from _seal(event.signature or part.signature, {"text": ""})
            case Thinking() if self._shown or not told.said:
                yield from _seal(event.signature or part.signature, {"text": "", "thought": True})
            case ToolCall():
                args = _arguments(part, "".join(told.pieces))
                if args is None:
                    told.cut = part.name
                    return
                call = {"functionCall": {"id": part.id, "name": part.name, "args": args}}
                sealed = slot(event.signature or part.signature, NAME)
                yield {**call, "thoughtSignature": sealed} if sealed else call
            case Media():
                yield _media(part)
            case Foreign() if part.origin == NAME:
                if part.value.keys() <= set(NOTES):
                    told.notes.update(part.value)
                else:
                    yield dict(part.value)


def _broken(name: str) -> BadFrame:
    return BadFrame(f"the arguments of the call of {name} are no JSON object")


def _seal(signature: Signature | None, part: Out) -> Iterator[Out]:
    """A part for a signature alone, as Google sends it behind text."""
    if sealed := slot(signature, NAME):
        yield {**part, "thoughtSignature": sealed}


def _arguments(call: ToolCall, text: str) -> Out | None:
    """A call's arguments; None where they are no JSON object (conversion.md, 27 and 28)."""
    if call.custom:
        return {"input": text}
    try:
        return load_object(text.encode("utf-8", "surrogatepass")) if text.strip() else {}
    except BadFrame:
        return None


def _media(part: Media) -> Out:
    more = own(part.extras)
    if part.data:
        return {"inlineData": {"mimeType": part.mime, "data": part.data}, **more}
    mime = {"mimeType": part.mime} if part.mime else {}
    return {"fileData": {**mime, "fileUri": part.url or part.file_id}, **more}
