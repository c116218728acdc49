"""What a client's format or habits may lose between two turns: the thoughts and signatures that a vendor
wants back with its tool calls (pains.md, 29). The relay keeps them by the call's id, and puts them back."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wire.neutral.events import Event, PartDelta, PartEnd, PartStart
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Request

MOST = 64 * 1024
"""Characters of thoughts and signatures that are kept of one answer; of one with more, nothing is."""


class Keepsake(msgspec.Struct, frozen=True):
    """The signed thoughts that stood before a call since the one before it, and the call's own signature."""

    thoughts: tuple[Thinking, ...] = ()
    signature: Signature | None = None
    early: int = 0
    """How many of the thoughts stood before words, which stood before the call."""


class Keeper:
    """Learns from the events of an answer what is worth keeping; the first choice's alone."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Part, list[str]]] = {}
        self._thoughts: list[Thinking] = []
        self._early = 0
        self._size = 0
        self.kept: dict[str, Keepsake] = {}
        """By call id."""

    def feed(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, PartDelta):
            if event.index in self._parts and not event.choice:
                self._parts[event.index][1].append(event.text)
        elif isinstance(event, PartStart):
            if not event.choice and isinstance(event.part, Thinking):
                self._parts[event.index] = event.part, []
            elif not event.choice and isinstance(event.part, Text):
                self._early = len(self._thoughts)
            elif not event.choice and isinstance(event.part, ToolCall):
                self._call(event.part)
        elif isinstance(event, PartEnd) and not event.choice and event.index in self._parts:
            part, pieces = self._parts.pop(event.index)
            self._think(part, "".join(pieces), event.signature)

    def _think(self, part: Part, text: str, signature: Signature | None) -> None:
        if isinstance(part, Thinking) and (signature := signature or part.signature) is not None:
            text = part.text + text
            self._size += len(text) + len(signature.value)
            self._thoughts.append(Thinking(text, signature, part.extras))

    def _call(self, call: ToolCall) -> None:
        if call.signature is not None:
            self._size += len(call.signature.value)
        if self._thoughts or call.signature is not None:
            self.kept[call.id] = Keepsake(tuple(self._thoughts), call.signature, self._early)
            self._thoughts, self._early = [], 0
        if self._size > MOST:
            self.kept.clear()


def lacking(request: Request, origin: str) -> list[str]:
    """Ids of the calls in a history for which something that `origin` wants back may have been lost."""
    return [
        part.id
        for turn in request.turns
        if turn.role == "assistant" and not _sealed(turn, origin)
        for part in turn.parts
        if isinstance(part, ToolCall)
    ]


def restored(request: Request, found: Mapping[str, Keepsake], origin: str) -> Request:
    """The request with what was kept for its calls, in the turns that lack it."""
    if not found:
        return request
    turns = tuple(
        msgspec.structs.replace(turn, parts=tuple(_refilled(turn, found)))
        if turn.role == "assistant" and not _sealed(turn, origin)
        else turn
        for turn in request.turns
    )
    return msgspec.structs.replace(request, turns=turns)


def _sealed(turn: Turn, origin: str) -> bool:
    return any(
        isinstance(part, Thinking | ToolCall)
        and part.signature is not None
        and part.signature.origin == origin
        for part in turn.parts
    )


def _refilled(turn: Turn, found: Mapping[str, Keepsake]) -> list[Part]:
    parts: list[Part] = []
    for part in turn.parts:
        kept = found.get(part.id) if isinstance(part, ToolCall) else None
        if kept is None or not isinstance(part, ToolCall):
            parts.append(part)
        else:
            words = len(parts)
            while words and isinstance(parts[words - 1], Text):
                words -= 1
            parts[words:words] = kept.thoughts[: kept.early]
            parts += [*kept.thoughts[kept.early :], msgspec.structs.replace(part, signature=kept.signature)]
    return parts
