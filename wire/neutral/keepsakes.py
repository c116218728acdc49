"""What a client's format or habits may lose between two turns: the thoughts and signatures that a vendor
wants back with its tool calls (pains.md, 29). The relay keeps them by the call's id, and puts them back."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from wire.neutral.events import Event, PartDelta, PartEnd, PartStart
from wire.neutral.names import fitted
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall, Turn
from wire.neutral.requests import Request

MOST = 64 * 1024
"""Characters of thoughts and signatures that are kept of one answer; of one with more, nothing is."""


class Keepsake(msgspec.Struct, frozen=True):
    """The signed thoughts that stood before a call since the one before it, and the call's own signature. The
    last `behind` of the thoughts stood behind words, the others before them."""

    thoughts: tuple[Thinking, ...] = ()
    signature: Signature | None = None
    behind: int = 0


class Keeper:
    """Learns from the events of an answer what is worth keeping; the first choice's alone."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[Part, list[str]]] = {}
        self._thoughts: list[Thinking] = []
        self._words = False
        """Whether something was said since the last call."""
        self._behind = 0
        self._size = 0
        self.kept: dict[str, Keepsake] = {}
        """By the call's id, as the vendor gave it and as an Anthropic client knows it."""

    def feed(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, PartDelta):
            if event.index in self._parts and not event.choice:
                self._parts[event.index][1].append(event.text)
        elif isinstance(event, PartStart):
            if not event.choice and isinstance(event.part, Thinking):
                self._parts[event.index] = event.part, []
            elif not event.choice and isinstance(event.part, Text):
                self._words = True
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
            self._behind += self._words

    def _call(self, call: ToolCall) -> None:
        if call.signature is not None:
            self._size += len(call.signature.value)
        if (self._thoughts or call.signature is not None) and not _counted(call):
            kept = Keepsake(tuple(self._thoughts), call.signature, self._behind)
            self.kept |= dict.fromkeys((call.id, fitted(call.id)), kept)
        self._thoughts, self._words, self._behind = [], False, 0
        if self._size > MOST:
            self.kept.clear()


def _counted(call: ToolCall) -> bool:
    """Whether the call's id is its tool's name and a count (Moonshot's `functions.weather:0`): every
    conversation has it, and what was thought in another is worse than nothing."""
    name = re.escape(call.name)
    return bool(name) and re.search(rf"(?<![A-Za-z0-9]){name}[^A-Za-z0-9]?\d{{0,4}}\Z", call.id) is not None


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
    """The turn's parts, the thoughts at their places: a vendor may refuse them elsewhere."""
    parts: list[Part] = []
    since = 0
    """Where what was said since the last call begins."""
    for part in turn.parts:
        if not isinstance(part, ToolCall):
            parts.append(part)
            continue
        kept = found.get(part.id, Keepsake(signature=part.signature))
        before = len(kept.thoughts) - kept.behind
        parts[since:since] = kept.thoughts[:before]
        parts += [*kept.thoughts[before:], msgspec.structs.replace(part, signature=kept.signature)]
        since = len(parts)
    return parts
