"""Answers of Chat Completions, streamed and whole, written from events; and the dialect as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wire.jsons import as_text, dumps, loads
from wire.neutral.chat_decoder import ChatDecoder, read_reply
from wire.neutral.chat_messages import LEGACY
from wire.neutral.chat_reasoning import NAME, client_detail
from wire.neutral.chat_requests import read_request, spelled
from wire.neutral.chat_writing import write_request
from wire.neutral.collect import text_of, unfold
from wire.neutral.dialect import Asked, Decoder, Encoder
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reply
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.requests import Request, Target, Tool, Written
from wire.neutral.seals import slot
from wire.types import BadFrame, Brief, Usage

PATH: Final = "/v1/chat/completions"
DONE: Final = b"data: [DONE]\n\n"
_REASONS: Final = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "other": "stop",
    "length": "length",
    "context_length": "length",
    "tool_calls": "tool_calls",
    "refusal": "content_filter",
}
"""The typed clients know no other words."""
_WHOLE: Final = frozenset({"", "stop", "completed"})
"""Vendors' words for an answer that a model, not a filter, ended."""


class OpenAIChat:
    """The dialect of `/v1/chat/completions`."""

    name = NAME
    addresses = frozenset({"image", "video"})

    def read_request(
        self, body: bytes, brief: Brief, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Raises BadRequest naming the field."""
        return read_request(body, brief)

    def write_request(self, request: Request, target: Target) -> Written:
        """Raises CannotHold."""
        return write_request(request, target)

    def path(self, brief: Brief) -> str:
        """One for all."""
        return PATH

    def decoder(self, asked: Asked) -> Decoder:
        """A fresh one."""
        return ChatDecoder(asked)

    def read_reply(self, body: bytes, asked: Asked) -> Reply:
        """Raises BadFrame."""
        return read_reply(body, asked)

    def encoder(self, asked: Asked) -> Encoder:
        """A fresh one."""
        return ChatEncoder(asked)

    def write_reply(self, reply: Reply, asked: Asked) -> bytes:
        """What a client makes of the same answer's chunks."""
        return write_reply(reply, asked)

    def spelled(self, knob: str) -> str:
        """As people write it in a request."""
        return spelled(knob)


class ChatEncoder:
    """Writes one streamed answer: chunks as OpenAI sends them, `[DONE]` last."""

    def __init__(self, asked: Asked) -> None:
        self.sequence = 0
        self._speaker = Speaker(asked)
        self._wants_usage = asked.brief.wants_usage
        opening = dumps(
            {
                "id": answer_id(asked),
                "object": "chat.completion.chunk",
                "created": asked.now,
                "model": asked.model,
                "system_fingerprint": None,
            }
        )
        self._head = b"data: " + opening[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if self._wants_usage else b"]}\n\n"
        self._behind = b'},"logprobs":null,"finish_reason":null}' + self._tail
        self._texts: dict[tuple[int, int], bytes] = {}
        """What stands before a piece of text, by its part."""

    def feed(self, event: Event) -> bytes:
        """The chunks that tell an event. Raises BadFrame where the vendor could not read its model's call."""
        if isinstance(event, PartDelta):
            before = self._texts.get((event.choice, event.index))
            if before is not None:
                self.sequence += 1
                return before + dumps(event.text) + self._behind
        elif isinstance(event, PartStart) and isinstance(event.part, Text):
            opening = b'%b{"index":%d,"delta":{"content":' % (self._head, event.choice)
            self._texts[event.choice, event.index] = opening
        elif isinstance(event, PartEnd):
            self._texts.pop((event.choice, event.index), None)
        elif isinstance(event, Over):
            return self._end(event)
        return b"".join([self._chunk(choice) for choice in self._speaker.feed(event)])

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        self.sequence += 1
        return self._head + dumps(choice) + self._tail

    def _end(self, over: Over) -> bytes:
        if not self._wants_usage or over.usage is None:
            return DONE
        self.sequence += 1
        return b'%b],"usage":%b}\n\n%b' % (self._head, dumps(usage_object(over.usage)), DONE)


def write_reply(reply: Reply, asked: Asked) -> bytes:
    """A whole answer: its chunks, put together. Raises BadFrame as they do."""
    speaker = Speaker(asked)
    choices: dict[int, dict[str, Any]] = {}
    for event in unfold(reply):
        for said in speaker.feed(event):
            number = said["index"]
            choice = choices.setdefault(
                number,
                {
                    "index": number,
                    "message": {"role": "assistant", "content": None, "refusal": None},
                    "logprobs": None,
                    "finish_reason": None,
                },
            )
            choice["logprobs"] = said["logprobs"] or choice["logprobs"]
            choice["finish_reason"] = said["finish_reason"] or choice["finish_reason"]
            _add(choice["message"], said["delta"])
    for choice in choices.values():
        for call in choice["message"].get("tool_calls", ()):
            del call["index"]
    answer: dict[str, Any] = {
        "id": answer_id(asked),
        "object": "chat.completion",
        "created": asked.now,
        "model": asked.model,
        "choices": [choices[number] for number in sorted(choices)],
    }
    if reply.over.usage is not None:
        answer["usage"] = usage_object(reply.over.usage)
    answer["system_fingerprint"] = None
    return dumps(answer)


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Adds a delta as the official clients do: text to text, objects key by key, lists by `index`."""
    for key, value in delta.items():
        known = message.get(key)
        if known is None or key in ("role", "index", "type", "id"):
            message[key] = value
        elif isinstance(known, str) and isinstance(value, str):
            message[key] = known + value
        elif isinstance(known, dict) and isinstance(value, dict):
            _add(known, value)
        elif isinstance(known, list) and isinstance(value, list):
            for item in value:
                same = next((each for each in known if each["index"] == item["index"]), None)
                if same is None:
                    known.append(item)
                else:
                    _add(same, item)


def answer_id(asked: Asked) -> str:
    """The id of an answer, as OpenAI's begin."""
    return f"chatcmpl-{asked.id}"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Input contains what was read from and written to a cache, output reasoning (conversion.md, 18, 20)."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


class _Spoken:
    """A part that is being told."""

    __slots__ = ("number", "part", "pieces", "silent", "wrapped")

    def __init__(self, part: Part, number: int = -1, *, wrapped: bool = False) -> None:
        self.part = part
        self.number = number
        """Of a call among the message's calls; -1 for the one that is told in the old way."""
        self.wrapped = wrapped
        """Whether a call's arguments are JSON around the text that the client wants."""
        self.silent = True
        """Whether no arguments were told yet."""
        self.pieces: list[str] = []
        """What can be told at the end alone."""


class _Told:
    """What was told of one choice."""

    def __init__(self) -> None:
        self.begun = False
        self.calls = 0
        self.details = 0
        self.pictures = 0
        self.refused = False
        self.said = False
        """Whether there was more than thoughts."""
        self.old = False
        """Whether a call was told in the old way."""
        self.signature: Signature | None = None
        self.notes: Mapping[str, Any] = {}


class Speaker:
    """Events as `choices` of chunks: what streamed and whole answers have in common."""

    def __init__(self, asked: Asked) -> None:
        tools = [tool for tool in asked.request.tools if isinstance(tool, Tool)]
        self._custom = frozenset(tool.name for tool in tools if tool.custom)
        self._legacy = any(LEGACY in tool.extras.get(NAME, ()) for tool in tools)
        self._parts: dict[tuple[int, int], _Spoken] = {}
        self._choices: dict[int, _Told] = {}

    def feed(self, event: Event) -> Iterator[dict[str, Any]]:
        """The choices of chunks that tell an event, a chunk for each."""
        if isinstance(event, PartDelta):
            for delta in self._more(self._parts[event.choice, event.index], event.text):
                yield _choice(event.choice, delta)
        elif isinstance(event, PartStart):
            for delta in self._start(event):
                yield _choice(event.choice, delta)
        elif isinstance(event, PartEnd):
            for delta in self._end(event):
                yield _choice(event.choice, delta)
        elif isinstance(event, Finish):
            yield from self._finish(event)

    def _of(self, choice: int) -> _Told:
        told = self._choices.get(choice)
        if told is None:
            told = self._choices[choice] = _Told()
        return told

    def _begin(self, told: _Told, content: str | None) -> Iterator[dict[str, Any]]:
        if not told.begun:
            told.begun = True
            yield {"role": "assistant", "content": content, "refusal": None}

    def _start(self, event: PartStart) -> Iterator[dict[str, Any]]:
        told, part = self._of(event.choice), event.part
        yield from self._begin(told, "" if isinstance(part, Text) else None)
        told.said = told.said or not isinstance(part, Thinking | Foreign)
        spoken = self._parts[event.choice, event.index] = _Spoken(part)
        if isinstance(part, ToolCall):
            yield self._call(part, spoken, told)
        elif isinstance(part, Refusal):
            told.refused = True
        elif isinstance(part, Media) and part.kind == "image":
            url = part.url or f"data:{part.mime};base64,{part.data}"
            yield {"images": [{"index": told.pictures, "type": "image_url", "image_url": {"url": url}}]}
            told.pictures += 1
        elif isinstance(part, Foreign) and part.origin == NAME and "audio" in part.value:
            yield {"audio": part.value["audio"]}
        if text := text_of(part):
            yield from self._more(spoken, text)

    def _call(self, part: ToolCall, spoken: _Spoken, told: _Told) -> dict[str, Any]:
        if self._legacy and not told.old:
            told.old = True
            return {"function_call": {"name": part.name, "arguments": ""}}
        spoken.number = told.calls
        told.calls += 1
        custom = part.custom or part.name in self._custom
        spoken.wrapped = custom and not part.custom
        body = {"custom": {"name": part.name, "input": ""}} if custom else _function(part.name)
        kind = "custom" if custom else "function"
        call = {"index": spoken.number, "id": part.id, "type": kind, **body, **_sealed(part.signature)}
        return {"tool_calls": [call]}

    def _more(self, spoken: _Spoken, text: str) -> Iterator[dict[str, Any]]:
        part = spoken.part
        if isinstance(part, Text):
            yield {"content": text}
        elif isinstance(part, Thinking):
            spoken.pieces.append(text)
            yield {"reasoning_content": text}
        elif isinstance(part, Refusal):
            yield {"refusal": text}
        elif isinstance(part, ToolCall):
            spoken.silent = False
            if spoken.wrapped:
                spoken.pieces.append(text)
            else:
                yield _arguments(spoken, text)

    def _end(self, event: PartEnd) -> Iterator[dict[str, Any]]:
        spoken = self._parts.pop((event.choice, event.index))
        told, part = self._of(event.choice), spoken.part
        if isinstance(part, ToolCall):
            if spoken.wrapped:
                yield _arguments(spoken, unwrapped("".join(spoken.pieces)))
            elif spoken.silent and not part.custom:
                yield _arguments(spoken, "{}")
            if spoken.number >= 0 and (sealed := _sealed(event.signature)):
                last = _arguments(spoken, "")
                last["tool_calls"][0] |= sealed
                yield last
        elif isinstance(part, Thinking):
            whole = msgspec.structs.replace(
                part, text="".join(spoken.pieces), signature=event.signature or part.signature
            )
            detail = client_detail(whole, told.details)
            if detail is not None:
                told.details += 1
                yield {"reasoning_details": [detail]}
        elif isinstance(part, Text):
            told.signature = event.signature or part.signature or told.signature
            told.notes = {**told.notes, **event.extras.get(NAME, part.extras.get(NAME, {}))}

    def _finish(self, event: Finish) -> Iterator[dict[str, Any]]:
        told = self._of(event.choice)
        for delta in self._begin(told, ""):
            yield _choice(event.choice, delta)
        if sealed := _sealed(told.signature):
            yield _choice(event.choice, sealed)
        if told.notes:
            notes = {"annotations": told.notes["annotations"]} if "annotations" in told.notes else {}
            noted = _choice(event.choice, notes)
            if "logprobs" in told.notes:
                noted["logprobs"] = {"content": told.notes["logprobs"], "refusal": None}
            yield noted
        ended = _choice(event.choice, {})
        ended["finish_reason"] = _reason(event, told)
        yield ended


def _choice(number: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": number, "delta": delta, "logprobs": None, "finish_reason": None}


def _function(name: str) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": ""}}


def _arguments(spoken: _Spoken, text: str) -> dict[str, Any]:
    if spoken.number < 0:
        return {"function_call": {"arguments": text}}
    custom = spoken.wrapped or (isinstance(spoken.part, ToolCall) and spoken.part.custom)
    more = {"custom": {"input": text}} if custom else {"function": {"arguments": text}}
    return {"tool_calls": [{"index": spoken.number, **more}]}


def _sealed(signature: Signature | None) -> dict[str, Any]:
    """Gemini's own place for signatures on text and calls (conversion.md, 43)."""
    sealed = slot(signature, "gemini")
    return {"extra_content": {"google": {"thought_signature": sealed}}} if sealed else {}


def unwrapped(arguments: str) -> str:
    """The text of a custom tool's call, which was a function's one argument on the way."""
    try:
        value = loads(arguments.encode("utf-8", "surrogatepass"))
    except BadFrame:
        return arguments
    return as_text(value["input"]) if isinstance(value, dict) and "input" in value else arguments


def _reason(event: Finish, told: _Told) -> str:
    if event.reason == "malformed_call":
        # The vendor left the call out. Whatever word ended this, an agent would take what is there for the
        # whole answer and stop; on an error it asks again (conversion.md, 28 and 59).
        raise BadFrame("a tool call is malformed")
    if event.reason == "other" and not told.said:
        raise BadFrame(f"the model ended without a word: {event.native}")  # never an empty success (61)
    if event.reason == "refusal" and told.refused and event.native in _WHOLE:
        return "stop"  # as OpenAI ends an answer with a `refusal`
    if event.reason == "tool_calls" and told.old:
        return "function_call"
    return _REASONS[event.reason]
