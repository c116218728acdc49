"""Answers of the middle as Anthropic tells them: a stream of Messages events, or a whole message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wire.jsons import as_objects, dumps, load_object
from wire.neutral.anthropic_blocks import NAME, REDACTED
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Reason, Reply, Start
from wire.neutral.names import fitted
from wire.neutral.order import OneByOne
from wire.neutral.parts import Foreign, Media, Part, Refusal, Signature, Text, Thinking, ToolCall
from wire.neutral.requests import Request
from wire.neutral.seals import MARK, UNSIGNED, Lower, slot
from wire.types import BadFrame, Usage

WORDS: Final[Mapping[Reason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_length": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "refusal": "refusal",
    "pause": "pause_turn",
    "other": "end_turn",
}
CUT: Final = frozenset(("length", "context_length"))
"""Reasons by which an answer may end in the middle of a call."""
SEAL: Final = MARK.decode()
TIERS: Final = frozenset(("standard", "priority", "batch"))
Out = dict[str, Any]


class _Slots:
    """An answer's events as this format can tell them: one part after another, of one choice, signatures
    where they have a slot, thoughts as far as the client asked for them. Indexes may have gaps."""

    def __init__(self, request: Request) -> None:
        effort = request.effort
        self._thinks = effort is not None and effort.enabled is not False
        self._shown = self._thinks and effort is not None and effort.shown is not False
        self._order = OneByOne()
        self._lower = Lower(NAME, thinking=self._thinks, trailing=False)
        self.silent: int | None = None
        """The thought that is being told without its words, or not at all."""

    def feed(self, event: Event) -> Iterator[Event]:
        """The events to tell."""
        if isinstance(event, PartStart | PartDelta | PartEnd | Finish) and event.choice:
            return
        for ordered in self._order.feed(event):
            for lowered in self._lower.feed(ordered):
                if self._shown or self._told(lowered):
                    yield lowered

    def _told(self, event: Event) -> bool:
        if isinstance(event, PartStart) and isinstance(event.part, Thinking):
            self.silent = event.index
            return self._thinks
        if not isinstance(event, PartDelta | PartEnd) or event.index != self.silent:
            return True
        if isinstance(event, PartEnd):
            self.silent = None
            return self._thinks
        return False


class AnthropicEncoder:
    """Writes a stream of Messages events."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._slots = _Slots(asked.request)
        self.sequence = 0
        self._straight = -1
        """Index of the part, as it comes, whose deltas need no ordering: nothing else is told before it
        ends."""
        self._blocks = 0
        """Blocks that have begun."""
        self._part: Part | None = None
        """The part that is being told."""
        self._head = b""
        """How a delta of it begins; nothing while its block has not begun."""
        self._arguments: list[str] = []
        self._cut = ""
        """A tool whose call is no JSON: its block ends only if the answer was cut off."""
        self._seen = _Seen()
        self._finish = Finish("stop")

    def feed(self, event: Event) -> bytes:
        """The bytes that tell an event. Raises BadFrame where what upstream said has no form here."""
        if type(event) is PartDelta and event.index == self._straight and not event.choice:
            return self._delta(event.text)
        before = self._part
        out = b"".join([self._write(told) for told in self._slots.feed(event)])
        if isinstance(event, PartStart):
            if self._straight < 0 and self._part is not before and self._slots.silent is None:
                self._straight = event.index
        elif isinstance(event, PartEnd) and event.index == self._straight:
            self._straight = -1
        return out

    def _write(self, event: Event) -> bytes:
        match event:
            case PartDelta():
                return self._delta(event.text)
            case PartStart():
                return self._start(event.part)
            case PartEnd():
                return self._end(event)
            case Start():
                return self._sent("message_start", message=_message(event, self._asked))
            case Finish():
                self._finish = event
                return self._finished()
            case Over():
                delta = {
                    "stop_reason": self._seen.word(self._finish),
                    "stop_sequence": _sequence(self._finish),
                }
                told = self._sent("message_delta", delta=delta, usage=_told_last(event.usage))
                return told + self._sent("message_stop")

    def _sent(self, kind: str, **fields: Any) -> bytes:
        self.sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), dumps({"type": kind, **fields}))

    def _start(self, part: Part) -> bytes:
        if self._cut:
            raise _broken(self._cut)
        self._seen.look(part)
        self._part = part
        self._arguments = []
        if isinstance(part, Thinking):
            # Its block begins with its first words; one without any is told by another block.
            return self._delta(part.text)
        if isinstance(part, ToolCall):
            out = self._begin(_call_block(part), "input_json_delta", "partial_json")
            return out + self._delta(part.arguments)
        if isinstance(part, Text | Refusal | Media):
            return self._begin({"type": "text", "text": ""}, "text_delta", "text") + self._delta(_words(part))
        if isinstance(part, Foreign) and part.origin == NAME:
            return self._begin(dict(part.value), "", "")
        return b""

    def _begin(self, block: Out, kind: str, key: str) -> bytes:
        index = self._blocks
        self._blocks += 1
        self._head = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
            b'"delta":{"type":"%b","%b":' % (index, kind.encode(), key.encode())
        )
        return self._sent("content_block_start", index=index, content_block=block)

    def _delta(self, text: str) -> bytes:
        if not text:
            return b""
        out = b""
        if isinstance(self._part, ToolCall):
            if not self._arguments and text.isspace() and not self._part.custom:
                return b""  # the SDK cannot parse space alone
            self._arguments.append(text)
            if self._part.custom:
                return b""
        elif not self._head and isinstance(self._part, Thinking):
            out = self._begin(_thinking_block("", ""), "thinking_delta", "thinking")
        self.sequence += 1
        return b"%b%b%b}}\n\n" % (out, self._head, dumps(text))

    def _end(self, end: PartEnd) -> bytes:
        part, out = self._part, b""
        if isinstance(part, Thinking):
            out = self._signed(end.signature or part.signature)
        elif isinstance(part, ToolCall):
            out = self._called(part)
            if self._cut:
                return out
        elif isinstance(part, Text):
            extras = {**part.extras.get(NAME, {}), **end.extras.get(NAME, {})}
            for citation in as_objects(extras.get("citations")):
                delta = {"type": "citations_delta", "citation": citation}
                out += self._sent("content_block_delta", index=self._blocks - 1, delta=delta)
        return out + self._stop()

    def _stop(self) -> bytes:
        self._part = None
        if not self._head:
            return b""
        self._head = b""
        return self._sent("content_block_stop", index=self._blocks - 1)

    def _signed(self, signature: Signature | None) -> bytes:
        if not self._head:
            block = _silent_block(signature)
            if block is None:
                return b""
            if block["type"] == "redacted_thinking":
                return self._begin(block, "", "")
            out = self._begin(_thinking_block("", ""), "", "")
        else:
            out = b""
        delta = {"type": "signature_delta", "signature": slot(signature or UNSIGNED, NAME)}
        return out + self._sent("content_block_delta", index=self._blocks - 1, delta=delta)

    def _called(self, part: ToolCall) -> bytes:
        text = "".join(self._arguments)
        if _input(part, text) is None:
            self._cut = part.name
            return b""
        if text.strip() and not part.custom:
            return b""
        self.sequence += 1
        return b"%b%b}}\n\n" % (self._head, dumps(dumps({"input": text} if part.custom else {}).decode()))

    def _finished(self) -> bytes:
        self._seen.check(self._finish)
        if self._cut and self._finish.reason not in CUT:
            raise _broken(self._cut)
        return self._stop() if self._cut else b""


class _Seen:
    """What an answer held, as far as its ending must fit it."""

    def __init__(self) -> None:
        self._called = self._refused = self._said = False

    def check(self, finish: Finish) -> None:
        """Raises BadFrame for an end that no client may take for an answer's (59, 61)."""
        if finish.reason == "malformed_call":
            raise BadFrame("a tool call is malformed")
        if finish.reason == "other" and not self._said:
            raise BadFrame(f"the model ended without a word: {finish.native}")

    def look(self, part: Part) -> None:
        """Takes one part."""
        self._said = self._said or not isinstance(part, Thinking | Foreign)
        self._called = self._called or isinstance(part, ToolCall)
        self._refused = self._refused or isinstance(part, Refusal)

    def word(self, finish: Finish) -> str:
        """The `stop_reason` (59, 60, 61)."""
        reason = finish.reason
        if self._refused and reason in ("stop", "other"):
            reason = "refusal"
        elif reason in ("stop", "other", "tool_calls"):
            reason = "tool_calls" if self._called else "stop"
        return WORDS[reason]


def write_reply(reply: Reply, asked: Asked) -> bytes:
    """A whole answer. Raises BadFrame where what upstream said has no form here."""
    slots, seen = _Slots(asked.request), _Seen()
    told = fold(each for event in unfold(reply) for each in slots.feed(event))
    finish = told.choices[0].finish if told.choices else Finish("stop")
    blocks: list[Out] = []
    for part in told.choices[0].parts if told.choices else ():
        seen.look(part)
        block = _block(part, cut=finish.reason in CUT)
        if block is not None:
            blocks.append(block)
    seen.check(finish)
    message = _message(reply.start, asked)
    message["content"] = blocks
    message["stop_reason"] = seen.word(finish)
    message["stop_sequence"] = _sequence(finish)
    message["usage"].update(_told_last(reply.over.usage))
    return dumps(message)


def _block(part: Part, *, cut: bool) -> Out | None:
    """A whole part as a block; None for one that has no place here."""
    if isinstance(part, Text | Refusal | Media):
        block: Out = {"type": "text", "text": _words(part)}
        citations = as_objects(part.extras.get(NAME, {}).get("citations")) if isinstance(part, Text) else []
        return {**block, "citations": citations} if citations else block
    if isinstance(part, Thinking):
        if not part.text:
            return _silent_block(part.signature)
        return _thinking_block(part.text, slot(part.signature or UNSIGNED, NAME))
    if isinstance(part, ToolCall):
        given = _input(part, part.arguments)
        if given is None and not cut:
            raise _broken(part.name)
        return {**_call_block(part), "input": given or {}}
    return dict(part.value) if isinstance(part, Foreign) and part.origin == NAME else None


def _thinking_block(text: str, signature: str) -> Out:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _silent_block(signature: Signature | None) -> Out | None:
    """Thoughts without words: sealed as a whole, or this format's own with nothing to show."""
    value = slot(signature, NAME)
    if not value:
        return None
    if signature is not None and signature.origin == NAME and not value.startswith((REDACTED, SEAL)):
        return _thinking_block("", value)
    return {"type": "redacted_thinking", "data": value.removeprefix(REDACTED)}


def _call_block(call: ToolCall) -> Out:
    # The id must fit Anthropic's own rule: the conversation may go on there, in this same format.
    return {"type": "tool_use", "id": fitted(call.id), "name": call.name, "input": {}}


def _input(call: ToolCall, arguments: str) -> Out | None:
    """A call's input; None where its arguments are no JSON object."""
    if call.custom:
        return {"input": arguments}
    if not arguments.strip():
        return {}
    try:
        return load_object(arguments.encode("utf-8", "surrogatepass"))
    except BadFrame:
        return None


def _words(part: Text | Refusal | Media) -> str:
    if isinstance(part, Media):
        return f"({part.kind} of type {part.mime or 'unknown'}, which this format cannot carry)"
    return part.text


def _broken(tool: str) -> BadFrame:
    return BadFrame(f"the call of the tool {tool} is not valid JSON")


def _sequence(finish: Finish) -> str | None:
    return finish.sequence or None if finish.reason == "stop_sequence" else None


def _message(start: Start, asked: Asked) -> Out:
    """The message as it begins, with about the input that will be counted where nobody knows better (17)."""
    usage = start.usage
    if usage is None or not usage.input_tokens:
        told: Out = _counts(Usage(input_tokens=asked.input_estimate))
    else:
        told = _counts(usage)
        if usage.cache_write_tokens:
            told["cache_creation"] = {
                "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
                "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
            }
        if usage.service_tier in TIERS:
            told["service_tier"] = usage.service_tier
    told["input_tokens"] = max(told["input_tokens"], 1)
    return {
        "model": asked.model,
        "id": f"msg_{asked.id}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": told,
    }


def _counts(usage: Usage) -> Out:
    """The counters of `usage`: this format's input is what was neither read from a cache nor written to one
    (18)."""
    return {
        "input_tokens": max(usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens, 0),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.output_tokens,
    }


def _told_last(usage: Usage | None) -> Out:
    """The usage that comes with the end: all of it, cumulative."""
    if usage is None:
        return {"output_tokens": 0}
    told = _counts(usage)
    if usage.reasoning_tokens:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.tool_uses:
        told["server_tool_use"] = {
            f"{name}_requests": usage.tool_uses.get(name, 0) for name in ("web_search", "web_fetch")
        }
    return told
