"""A journal's lines on disk: length, checksum, kind, JSON. Written whole or recognised as not whole.

A line is `llllllll cccccccc kind {json}` and a newline: eight hex digits of the length and of the CRC-32 of
all that follows up to the newline. Nothing is read as a line unless length, checksum and newline agree.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, NamedTuple
from zlib import crc32

import orjson

HEADER = 18
NEWLINE = b"\n"
GREATEST_LINE = 64 * 1024 * 1024
INT64 = 2**63
_SURROGATE = re.compile("[\ud800-\udfff]")
_HEADER = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_LINE_START = re.compile(rb"(?=[0-9a-f]{8} [0-9a-f]{8} )")


class Line(NamedTuple):
    """One whole line; `start` and `end` are its place in the segment."""

    kind: str
    body: bytes
    start: int
    end: int

    def payload(self) -> Any:
        """The line's JSON. Raises ValueError if it is none."""
        return orjson.loads(self.body)


class Damage(NamedTuple):
    """A stretch of a segment that holds no whole line, although whole lines follow it."""

    start: int
    end: int


class Parsed(NamedTuple):
    """What a buffer held: lines in order, damaged stretches between them, and the place up to which it was
    understood. `torn`: bytes follow that place."""

    lines: list[Line]
    damage: list[Damage]
    end: int
    torn: bool


def encode(kind: str, payload: Any) -> bytes:
    """The line's bytes. What JSON or the database cannot hold (lone surrogates, integers beyond 64 bits) is
    replaced rather than refused: a request must be billed whatever its caller sent."""
    try:
        body = orjson.dumps(payload)
    except TypeError:
        body = orjson.dumps(presentable(payload))
    return framed(kind.encode(), body)


def framed(kind: bytes, body: bytes) -> bytes:
    """The line's bytes, of JSON that is made already."""
    inner = b"%b %b" % (kind, body)
    return b"%08x %08x %b\n" % (len(inner), crc32(inner), inner)


def presentable(value: Any) -> Any:
    """`value` with everything in it made JSON-able: surrogates become U+FFFD, integers are cut to 64 bits,
    keys and unknown objects become text."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return value
    if isinstance(value, int):
        return min(max(value, -INT64), INT64 - 1)
    if isinstance(value, dict):
        return {presentable(str(key)): presentable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [presentable(each) for each in value]
    return presentable(str(value))


def parse(buffer: bytes, base: int = 0, kinds: Container[str] | None = None) -> Parsed:
    """Reads the whole lines of `buffer`, which begins at place `base` of its segment; those of other kinds
    than `kinds` are checked and left out.

    Stops before bytes that make no whole line: more may come. Where a whole line follows them they are
    damage, and are skipped.
    """
    lines: list[Line] = []
    damage: list[Damage] = []
    place, size = 0, len(buffer)
    while place < size:
        inner = _inner(buffer, place)
        if inner is not None:
            start, place = place, place + HEADER + len(inner) + 1
            kind, _, body = inner.partition(b" ")
            name = kind.decode("ascii", "replace")
            if kinds is None or name in kinds:
                lines.append(Line(name, body, base + start, base + place))
            continue
        following = _next_whole(buffer, place + 1)
        if following is None:
            break
        damage.append(Damage(base + place, base + following))
        place = following
    return Parsed(lines, damage, base + place, torn=place < size)


def _inner(buffer: bytes, place: int) -> bytes | None:
    """What the whole line at `place` holds between its header and its newline; None if there is none."""
    header = _HEADER.match(buffer, place)
    if header is None:
        return None
    begin = place + HEADER
    end = begin + int(header[1], 16)
    if end - begin > GREATEST_LINE or buffer[end : end + 1] != NEWLINE:
        return None
    inner = buffer[begin:end]
    return inner if crc32(inner) == int(header[2], 16) else None


def _next_whole(buffer: bytes, place: int) -> int | None:
    for match in _LINE_START.finditer(buffer, place):
        if _inner(buffer, match.start()) is not None:
            return match.start()
    return None
