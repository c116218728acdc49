"""Signatures in the slots of clients that speak another format than their vendor.

A client sends back what stands in its format's own slot (Anthropic's `signature` and `data`, Responses'
`encrypted_content`, Gemini's `thoughtSignature`). There a foreign signature travels sealed: base64, as
Gemini's SDK decodes what it gets, of a mark and what the signature is. A vendor that finds the mark among
what it made itself would refuse the request: `MARK` is what to look for in a body that passes unread.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from wire.neutral.events import Event, PartDelta, PartEnd, PartStart
from wire.neutral.parts import Part, Signature, Text, Thinking, ToolCall

MARK = b"YWV0aGVyLXNlYWw6"
"""How every sealed signature begins."""
_PLAIN = b"aether-seal:"
_STANDARD = str.maketrans("-_", "+/")
"""Google's client sends base64 back in the other alphabet."""
UNSIGNED = Signature("", "unsigned")
"""Stands for no signature at all in a slot that a format has always filled: what is sealed is found and taken
out before a vendor sees it, an empty slot is not."""
On = Literal["own", "next", "last"]
"""Whose signature it is: that of the thinking it stands on, of the part behind, or of the one before."""


class _Seal(msgspec.Struct, array_like=True):
    origin: str
    value: str
    id: str = ""
    on: On = "own"


_READ = msgspec.msgpack.Decoder(_Seal)


def _clean(text: str) -> str:
    """A text without lone surrogates, which no signature has."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def sealed(signature: Signature, on: On = "own") -> str:
    """A foreign signature for a slot of another format."""
    told = _Seal(signature.origin, _clean(signature.value), _clean(signature.id), on)
    return base64.b64encode(_PLAIN + msgspec.msgpack.encode(told)).decode()


def opened(text: str, origin: str) -> tuple[Signature, On]:
    """What stands in a slot of the format `origin`: its own, or a sealed foreign one. One with a broken seal
    is nobody's: its origin is "", and every writer drops it."""
    if not text.startswith(MARK.decode()):
        return Signature(origin, text), "own"
    try:
        plain = base64.b64decode(text.translate(_STANDARD), validate=True)
        told = _READ.decode(plain.removeprefix(_PLAIN))
    except (ValueError, msgspec.MsgspecError):
        return Signature("", ""), "own"
    return Signature(told.origin, told.value, told.id), told.on


def slot(signature: Signature | None, origin: str, on: On = "own") -> str:
    """What to put into a slot of the format `origin`; "" for nothing."""
    if signature is None or not signature.value:
        return ""
    return signature.value if signature.origin == origin and on == "own" else sealed(signature, on)


class Lower:
    """Gives signatures on text and on calls, for which a client's format has no slot, thinking of their own
    to stand on: before a call, behind text. To be fed one part after another (`order.OneByOne`); `restored`
    is its reverse. `thinking` False drops them instead: the client asked for none, and the relay keeps those
    of calls itself. `trailing` False drops one behind which nothing is told: for clients that take an
    answer's last part for its words."""

    def __init__(self, origin: str, *, thinking: bool, trailing: bool = True) -> None:
        self._origin = origin
        self._thinking = thinking
        self._trailing = trailing
        self._behind: dict[int, Signature] = {}
        """Signatures of texts that wait for another part, by choice."""
        self._added: dict[int, int] = {}
        """Parts added so far, by choice."""
        self._text = False
        """Whether the open part is text, and its signature so far."""
        self._signature: Signature | None = None

    def feed(self, event: Event) -> Iterator[Event]:
        """The events, with parts added and counted anew."""
        if isinstance(event, PartStart):
            part, signature = _unsigned(event.part)
            if (waiting := self._behind.pop(event.choice, None)) is not None:
                yield from self._stand(event.index, waiting, "last", event.choice)
            if signature is not None and isinstance(part, ToolCall):
                yield from self._stand(event.index, signature, "next", event.choice)
            self._text = isinstance(part, Text)
            self._signature = signature if self._text else None
            yield PartStart(self._at(event), part, event.choice)
        elif isinstance(event, PartEnd) and self._text:
            yield PartEnd(self._at(event), None, event.extras, event.choice)
            signature = event.signature or self._signature
            if signature is not None and not self._trailing:
                self._behind[event.choice] = signature
            elif signature is not None:
                yield from self._stand(event.index + 1, signature, "last", event.choice)
        elif isinstance(event, PartEnd | PartDelta):
            yield msgspec.structs.replace(event, index=self._at(event))
        else:
            yield event

    def _at(self, event: PartStart | PartDelta | PartEnd) -> int:
        return event.index + self._added.get(event.choice, 0)

    def _stand(self, index: int, signature: Signature, on: On, choice: int) -> Iterator[Event]:
        if not self._thinking:
            return
        added = self._added.get(choice, 0)
        self._added[choice] = added + 1
        carrier = Signature(self._origin, sealed(signature, on))
        yield PartStart(index + added, Thinking(signature=carrier), choice)
        yield PartEnd(index + added, choice=choice)


def _unsigned(part: Part) -> tuple[Part, Signature | None]:
    """Text or a call without its signature, and that."""
    if isinstance(part, Text | ToolCall) and part.signature is not None:
        return msgspec.structs.replace(part, signature=None), part.signature
    return part, None


def restored(parts: Iterable[tuple[Part, On]]) -> tuple[Part, ...]:
    """A turn's parts with each signature on the part that it is of; thinking that only carried one is
    gone. Each part comes with what `opened` said of its signature."""
    told: list[Part] = []
    waiting: Signature | None = None
    for part, on in parts:
        if isinstance(part, Thinking) and on != "own":
            if on == "next":
                waiting = part.signature
            elif told and isinstance(told[-1], Text):
                told[-1] = msgspec.structs.replace(told[-1], signature=part.signature)
            if part.text:
                told.append(msgspec.structs.replace(part, signature=None))
        elif isinstance(part, ToolCall) and waiting is not None:
            told.append(msgspec.structs.replace(part, signature=waiting))
            waiting = None
        else:
            told.append(part)
    return tuple(told)
