"""Gemini's streamed JSON array as bytes: whole elements out of reads that are cut anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wire.sse import MAX_EVENT, Frame
from wire.types import FrameTooLarge

_MARK = re.compile(rb'["{}\[\]]')
_STRING_END = re.compile(rb'["\\]')
_LEAD = b" \t\r\n,["


class ArrayFramer:
    """Cuts a JSON array (or a lone object, which is how some errors come) into blocks of whole elements.

    A block ends right after an element; what stands between two elements goes with the second. The closing
    bracket is a block of its own.
    """

    __slots__ = ("_base", "_depth", "_escaped", "_max", "_pending", "_string")

    def __init__(self, max_event: int = MAX_EVENT) -> None:
        self._max = max_event
        self._pending = bytearray()
        self._base = -1
        """Depth at which elements stand: 1 in an array, 0 for a lone object, -1 while nothing was seen."""
        self._depth = 0
        self._string = False
        self._escaped = False

    @property
    def lone(self) -> bool:
        """Whether what comes is an object and no array."""
        return self._base == 0

    @property
    def pending(self) -> bytes:
        """The bytes of the element that is not whole yet."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> list[bytes]:
        """The whole elements that this read completes, one by one, and the closing bracket. Raises
        FrameTooLarge."""
        blocks = []
        start = 0
        for end in self._ends(data):
            blocks.append(bytes(self._pending) + data[start:end])
            self._pending.clear()
            start = end
        self._pending += data[start:]
        if len(self._pending) > self._max or any(len(block) > self._max for block in blocks):
            raise FrameTooLarge(f"an element is larger than {self._max} bytes")
        return blocks

    def finish(self) -> list[bytes]:
        """White space after the array; an element that is not whole is dropped."""
        rest = bytes(self._pending)
        self._pending.clear()
        return [rest] if rest and not rest.strip() else []

    def _ends(self, data: bytes) -> Iterator[int]:
        """Positions in `data` right after an element or after the bracket that closes the array."""
        at = 0
        size = len(data)
        while at < size:
            if self._escaped:
                self._escaped = False
                at += 1
            elif self._string:
                match = _STRING_END.search(data, at)
                if match is None:
                    return
                at = match.end()
                if match[0] == b"\\":
                    self._escaped = True
                else:
                    self._string = False
            else:
                match = _MARK.search(data, at)
                if match is None:
                    return
                at = match.end()
                mark = match[0]
                if mark == b'"':
                    self._string = True
                elif mark in b"{[":
                    if self._base < 0:
                        self._base = 1 if mark == b"[" else 0
                    self._depth += 1
                else:
                    self._depth -= 1
                    if self._depth in (self._base, 0):
                        yield at


def elements(block: bytes) -> Iterator[Frame]:
    """The elements of a block of whole ones, from wherever in an array."""
    return map(read_element, ArrayFramer(len(block)).feed(block))


def read_element(raw: bytes) -> Frame:
    """One element as a frame; the closing bracket and white space are frames without data."""
    data = raw.lstrip(_LEAD)
    return Frame(raw, "", b"" if data == b"]" else data)
