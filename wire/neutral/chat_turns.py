"""Turns written as the messages of a Chat Completions request."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from wire.jsons import dumps
from wire.neutral.chat_messages import AUDIO
from wire.neutral.chat_reasoning import NAME, own_detail
from wire.neutral.names import fitted, short_id
from wire.neutral.parts import (
    Extras,
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import CannotHold, Request, Target

LONGEST_ID: Final = 40
"""Characters of a call's id that OpenAI takes (conversion.md names no case; the API's own error does)."""
NO_RESULT: Final = "(no result)"
_SOUNDS: Final = {
    **{mime: kind for kind, mime in AUDIO.items()},
    "audio/mp3": "mp3",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
}
OPENAI: Final = frozenset({NAME, "openai_responses"})
"""The formats of OpenAI's own."""
Message = dict[str, Any]


class Messages:
    """Writes a request's turns for one target. `renamed`: tools whose names do not fit, from the client's
    name."""

    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._own = request.origin == NAME
        self._quirks = target.quirks
        self._tools = bool(request.tools) or any(
            isinstance(part, ToolCall) for turn in request.turns for part in turn.parts
        )
        self._signed = self._own or "gemini" in target.model.lower() or "google_signatures" in target.quirks
        self._after: list[Message] = []
        """Parts for the message behind the one that has no place for them."""

    def written(self) -> list[Message]:
        """The messages. Raises CannotHold."""
        messages: list[Message] = []
        turns = self._request.turns
        results, taken = paired(turns)
        for number, turn in enumerate(turns):
            parts = [part for at, part in enumerate(turn.parts) if (number, at) not in taken]
            if parts or not turn.parts:
                messages += self._turn(turn, parts, f"messages.{number}", results.get(number, {}))
        return self._system_first(messages) if "system_first" in self._quirks else messages

    def with_instruction(self, messages: list[Message], text: str) -> list[Message]:
        """The messages with a sentence of ours in their first system message."""
        first = messages[0] if messages and messages[0]["role"] in ("system", "developer") else None
        if first is None:
            return [{"role": "system", "content": text}, *messages]
        content = self._joined([*_pieces(first["content"]), _line(text)])
        return [{**first, "content": content}, *messages[1:]]

    def _system_first(self, messages: list[Message]) -> list[Message]:
        """One system message at the beginning; those that come later are the user's."""
        leading = list(takewhile(lambda message: message["role"] == "system", messages))
        rest = [
            {**message, "role": "user"} if message["role"] == "system" else message
            for message in messages[len(leading) :]
        ]
        if not leading:
            return rest
        pieces = [piece for message in leading for piece in _pieces(message["content"])]
        return [{**leading[0], "content": self._joined(pieces)}, *rest]

    def _turn(
        self, turn: Turn, parts: list[Part], where: str, results: Mapping[str, ToolResult]
    ) -> Iterator[Message]:
        if turn.role == "assistant":
            message = self._assistant(turn, parts, where)
            if self._own or message.keys() != {"role", "content"} or message["content"]:
                yield message  # else it held nothing but thinking, and many vendors refuse an empty one
            for call in parts:
                if isinstance(call, ToolCall):
                    yield self._result(call, results.get(call.id), where)
        else:
            yield self._plain(turn.role, turn, parts, where)
        if self._after:
            yield {"role": "user", "content": self._after}
            self._after = []

    def _plain(self, role: str, turn: Turn, parts: list[Part], where: str) -> Message:
        written: list[Message] = []
        for number, part in enumerate(parts):
            place = f"{where}.content.{number}"
            if role == "system" and not isinstance(part, Text):
                self._attach(part, place)
            else:
                written += self._piece(part, place)
        message = {"role": role, "content": self._joined(written)}
        return self._finished(message, turn)

    def _finished(self, message: Message, turn: Turn) -> Message:
        if turn.name:
            message["name"] = turn.name
        return {**message, **turn.extras.get(NAME, {})} if self._own else message

    def _joined(self, pieces: list[Message]) -> str | list[Message]:
        """A string where there is nothing but one text, and for vendors that take nothing else."""
        texts = [piece["text"] for piece in pieces if piece.keys() == {"type", "text"}]
        if len(texts) == len(pieces) and (len(texts) < 2 or "string_content" in self._quirks):
            return "\n\n".join(texts)
        return pieces

    def _assistant(self, turn: Turn, parts: list[Part], where: str) -> Message:
        pieces: list[Message] = []
        calls: list[Message] = []
        refusals: list[str] = []
        signature: Signature | None = None
        extras: Message = {}
        for number, part in enumerate(parts):
            match part:
                case ToolCall():
                    calls.append(self._call(part))
                case Text():
                    pieces += self._piece(part, f"{where}.content.{number}")
                    signature = part.signature or signature
                case Refusal():
                    refusals.append(part.text)
                case Foreign(origin=origin, value=value) if origin == NAME and value.keys() == {"audio"}:
                    extras["audio"] = value["audio"]
                case Media():
                    self._attach(part, f"{where}.content.{number}")
                case Thinking():
                    pass
                case _:
                    pieces += self._piece(part, f"{where}.content.{number}")
        message: Message = {"role": "assistant", "content": self._joined(pieces)}
        if not pieces and (calls or refusals or extras):
            message["content"] = None
        message.update(self._reasoning(parts, wanted=bool(calls) or (self._tools and bool(pieces))))
        if refusals:
            message["refusal"] = "".join(refusals)
        if calls:
            message["tool_calls"] = calls
        self._seal(message, signature)
        return self._finished({**message, **extras}, turn)

    def _reasoning(self, parts: Sequence[Part], *, wanted: bool) -> Message:
        """What of its thinking a target wants back: nothing, unless it says so (conversion.md, 47). `wanted`:
        those who do may refuse the message without."""
        thoughts = [part for part in parts if isinstance(part, Thinking)]
        message: Message = {}
        if self._own or "reasoning_content" in self._quirks:
            said = "".join(part.text for part in thoughts if _ours(part))
            if said:
                message["reasoning_content"] = said
            elif wanted and not self._own:
                # Thinking of another vendor, or none: DeepSeek and Moonshot refuse calls without the field,
                # DeepSeek the model's words too where there are tools (github.com/MoonshotAI/kimi-cli/issues/
                # 2141), Moonshot an empty one (github.com/can1357/oh-my-pi/issues/787).
                message["reasoning_content"] = " "
        if self._own or "reasoning_details" in self._quirks:
            details = [detail for part in thoughts if (detail := own_detail(part)) is not None]
            if details:
                message["reasoning_details"] = details
        return message

    def _seal(self, message: Message, signature: Signature | None) -> None:
        if self._signed and signature is not None and signature.origin == "gemini":
            message["extra_content"] = {"google": {"thought_signature": signature.value}}

    def _call(self, call: ToolCall) -> Message:
        written: Message
        if call.custom and self._own:
            written = {"type": "custom", "custom": {"name": fitted(call.name), "input": call.arguments}}
        else:
            arguments = dumps({"input": call.arguments}).decode() if call.custom else call.arguments or "{}"
            written = {"type": "function", "function": {"name": fitted(call.name), "arguments": arguments}}
        written = {"id": self._id(call.id), **written}
        self._seal(written, call.signature)
        return {**written, **call.extras.get(NAME, {})} if self._own else written

    def _id(self, made: str) -> str:
        if "short_call_ids" in self._quirks:
            return short_id(made)
        return made if len(made) <= LONGEST_ID else fitted(made, longest=LONGEST_ID)

    def _result(self, call: ToolCall, result: ToolResult | None, where: str) -> Message:
        """The message that answers a call. One that nobody answered gets a word that says so: OpenAI refuses
        the history else, and with it whatever the user says next (conversion.md, 33)."""
        if result is None:
            return {"role": "tool", "tool_call_id": self._id(call.id), "content": NO_RESULT}
        pieces: list[Message] = []
        attached = 0
        for number, part in enumerate(result.parts):
            place = f"{where}.tool_calls.{call.id}.content.{number}"
            if isinstance(part, Media) and not self._own:
                if not attached:
                    self._after.append(_line(f"Attached to the result of tool call {self._id(call.id)}:"))
                attached += self._attach(part, place)
            else:
                pieces += self._piece(part, place)
        if result.failed:
            pieces = [_line("Error:"), *pieces]
        if attached:
            pieces.append(_line("(The files of this result follow in the next user message.)"))
        content = self._joined(pieces)
        if isinstance(content, list) and not self._own:
            # Many vendors take nothing but a string here.
            content = "\n".join(piece["text"] for piece in pieces)
        message = {"role": "tool", "tool_call_id": self._id(call.id), "content": content}
        if not self._own:
            return message
        return {**message, **({"name": result.name} if result.name else {}), **result.extras.get(NAME, {})}

    def _attach(self, part: Part, where: str) -> int:
        self._after += self._piece(part, where)
        return 1

    def _piece(self, part: Part, where: str) -> Iterable[Message]:
        """A part as it stands in a list of content."""
        match part:
            case Text():
                return (
                    [self._marked(part, {"type": "text", "text": part.text})]
                    if part.text or self._own
                    else []
                )
            case Media():
                return [self._marked(part, self._media(part, where))]
            case ToolResult():
                return self._orphan(part, where)
            case Refusal():
                return [_line(part.text)]
            case Foreign() if part.origin == NAME:
                return [dict(part.value)]
            case Thinking():
                return []
        raise CannotHold(f"'{where}' has no counterpart in Chat Completions", param=where)

    def _marked(self, part: Text | Media, piece: Message) -> Message:
        """With the cache's mark, for those who take it, and what this format alone knows."""
        if part.cache and (self._own or "cache_control" in self._quirks):
            mark = {"type": "ephemeral"} if part.cache == "5m" else {"type": "ephemeral", "ttl": part.cache}
            piece["cache_control"] = mark
        return {**piece, **_rest(part.extras)} if self._own else piece

    def _orphan(self, result: ToolResult, where: str) -> list[Message]:
        """A result whose call is not there, as plain text (conversion.md, 32)."""
        pieces = [_line(f"Result of the tool call {result.call_id}:")]
        for number, part in enumerate(result.parts):
            pieces += self._piece(part, f"{where}.content.{number}")
        return pieces

    def _media(self, part: Media, where: str) -> Message:
        located = part.url or f"data:{part.mime};base64,{part.data}"
        held = bool(part.file_id) and not (part.data or part.url)
        if part.kind == "image" and not held:
            detail = {"detail": part.detail} if part.detail else {}
            return {"type": "image_url", "image_url": {"url": located, **detail}}
        if part.kind == "video" and not held and (self._own or "video_url" in self._quirks):
            return {"type": "video_url", "video_url": {"url": located}}
        if part.kind == "audio" and part.data:
            kind = _SOUNDS.get(part.mime) or (part.mime.removeprefix("audio/") if self._own else "")
            if kind:
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": kind}}
        if part.kind == "document":
            return self._document(part, located, where)
        raise CannotHold(f"Chat Completions cannot hold '{where}' ({part.kind})", param=where)

    def _document(self, part: Media, located: str, where: str) -> Message:
        if part.mime.startswith("text/") and part.data and not self._own:
            try:
                text = base64.b64decode(part.data).decode()
            except ValueError as error:
                raise CannotHold(f"'{where}' is not text in base64", param=where) from error
            return _line(f"{part.name}\n{text}" if part.name else text)
        name = {"filename": part.name} if part.name else {}
        if part.file_id and self._request.origin in OPENAI:
            data = {"file_data": located} if part.data else {}
            return {"type": "file", "file": {"file_id": part.file_id, **data, **name}}
        if part.data or (part.url and self._own):
            named = name or ({} if self._own else {"filename": "document.pdf"})
            return {"type": "file", "file": {**named, "file_data": located}}
        raise CannotHold(f"Chat Completions takes a document's bytes alone: '{where}'", param=where)


def paired(
    turns: Sequence[Turn],
) -> tuple[dict[int, dict[str, ToolResult]], set[tuple[int, int]]]:
    """Which results answer the calls of each assistant's turn: those that stand before the next one, the
    first for each call. Also the places of those results (turn, part); any other has no call."""
    found: dict[int, dict[str, ToolResult]] = {}
    taken: set[tuple[int, int]] = set()
    wanted: set[str] = set()
    answers: dict[str, ToolResult] = {}
    for number, turn in enumerate(turns):
        if turn.role == "assistant":
            wanted = {part.id for part in turn.parts if isinstance(part, ToolCall)}
            answers = found[number] = {}
        for at, part in enumerate(turn.parts):
            if isinstance(part, ToolResult) and part.call_id in wanted and part.call_id not in answers:
                answers[part.call_id] = part
                taken.add((number, at))
    return found, taken


def _pieces(content: str | list[Message]) -> list[Message]:
    return [_line(content)] if isinstance(content, str) else content


def _line(text: str) -> Message:
    return {"type": "text", "text": text}


def _ours(part: Thinking) -> bool:
    """Whether a vendor of this format may see its own words again: those that no other has signed
    (conversion.md, 44)."""
    return part.signature is None or part.signature.origin == NAME


def _rest(extras: Extras) -> Mapping[str, Any]:
    return extras.get(NAME, {})
