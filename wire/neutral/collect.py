"""Events to a whole reply, and back: streamed and whole answers share one logic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from wire.neutral.events import (
    Choice,
    Event,
    Finish,
    Over,
    PartDelta,
    PartEnd,
    PartStart,
    Reply,
    Start,
)
from wire.neutral.parts import Extras, Part, Refusal, Text, Thinking, ToolCall
from wire.types import BadFrame


class Fold:
    """Gathers the events of one answer."""

    def __init__(self) -> None:
        self._start = Start()
        self._over: Over | None = None
        self._open: dict[tuple[int, int], tuple[Part, list[str]]] = {}
        self._parts: dict[int, dict[int, Part]] = {}
        self._finishes: dict[int, Finish] = {}

    def feed(self, events: Iterable[Event]) -> None:
        """Takes some events, in their order."""
        for event in events:
            match event:
                case PartDelta():
                    self._open[event.choice, event.index][1].append(event.text)
                case PartStart():
                    self._open[event.choice, event.index] = event.part, []
                case PartEnd():
                    part, pieces = self._open.pop((event.choice, event.index))
                    self._parts.setdefault(event.choice, {})[event.index] = _whole(part, pieces, event)
                case Start():
                    self._start = event
                case Finish():
                    self._finishes[event.choice] = event
                case Over():
                    self._over = event

    def reply(self) -> Reply:
        """The whole answer. Raises BadFrame where it is not whole."""
        if self._over is None or self._open:
            raise BadFrame("the answer broke off")
        choices = [
            Choice(tuple(part for _, part in sorted(self._parts.get(number, {}).items(), key=_index)), finish)
            for number, finish in sorted(self._finishes.items(), key=_index)
        ]
        return Reply(self._start, tuple(choices), self._over)


def _index(item: tuple[int, object]) -> int:
    return item[0]


def fold(events: Iterable[Event]) -> Reply:
    """The whole answer that these events tell. Raises BadFrame where they do not end it."""
    gathered = Fold()
    gathered.feed(events)
    return gathered.reply()


def unfold(reply: Reply) -> Iterator[Event]:
    """The events that tell a whole answer."""
    yield reply.start
    for choice in reply.choices:
        number = choice.finish.choice
        for index, part in enumerate(choice.parts):
            text = text_of(part)
            yield PartStart(index, bare(part), number)
            if text:
                yield PartDelta(index, text, number)
            yield PartEnd(index, choice=number)
        yield choice.finish
    yield reply.over


def text_of(part: Part) -> str:
    """What deltas say of a part; "" for one that comes whole."""
    if isinstance(part, Text | Thinking | Refusal):
        return part.text
    return part.arguments if isinstance(part, ToolCall) else ""


def bare(part: Part) -> Part:
    """A part as it starts: without what deltas say."""
    if isinstance(part, Text | Thinking | Refusal):
        return msgspec.structs.replace(part, text="")
    return msgspec.structs.replace(part, arguments="") if isinstance(part, ToolCall) else part


def _whole(part: Part, pieces: list[str], end: PartEnd) -> Part:
    text = "".join(pieces)
    if isinstance(part, Refusal):
        return Refusal(part.text + text)
    if isinstance(part, Text | Thinking):
        return msgspec.structs.replace(
            part,
            text=part.text + text,
            signature=end.signature or part.signature,
            extras=merged(part.extras, end.extras),
        )
    if isinstance(part, ToolCall):
        return msgspec.structs.replace(
            part,
            arguments=part.arguments + text,
            signature=end.signature or part.signature,
            extras=merged(part.extras, end.extras),
        )
    return part


def merged(one: Extras, other: Extras) -> Extras:
    """Both bags in one; the other's words count."""
    if not other:
        return one
    return {name: {**one.get(name, {}), **other.get(name, {})} for name in {*one, *other}}
