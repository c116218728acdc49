"""Edits to a JSON body that leave every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeAlias

import msgspec

from wire.body import parsed_fields, parsed_items

# A key and its colon, with the comma before it.
_KEY = re.compile(rb'[\s,]*+"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+:\s*+', re.DOTALL)
_GAP = re.compile(rb"[\s,]*+")
_NAMED = rb'"model"\s*+:\s*+("[^"\\]*+")'
_KEY_OF_ANOTHER = rb'\s*+"(?!model")[^"\\]*+"\s*+:\s*+'
_PLAIN = rb'(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"\\,:{}\[\]]++)'
_FLAT = rb"\{(?:[\s,:]*+%b)*+\s*+\}" % _PLAIN
# The model's name at the top level: all before it is plain, or all behind it is plain or a flat object.
_LEADING = re.compile(rb"\s*+\{(?:%b%b\s*+,)*+\s*+%b" % (_KEY_OF_ANOTHER, _PLAIN, _NAMED), re.DOTALL)
_TRAILING = re.compile(
    rb"%b(?:\s*+,%b(?:%b|%b))*+\s*+\}\s*+\Z" % (_NAMED, _KEY_OF_ANOTHER, _PLAIN, _FLAT), re.DOTALL
)


class Span(NamedTuple):
    """Where the value of one field stands: body[start:end]."""

    name: str
    start: int
    end: int


Edit: TypeAlias = tuple[int, int, bytes]
"""Start, end and value: body[start:end] becomes the value."""


def spans(body: bytes, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """The fields of the valid JSON object at body[start:end], in order, repeated ones too."""
    readable, found = parsed_fields(body[start:end])
    at = readable.index(b"{") + 1
    for name, raw in found.items():
        key = _KEY.match(readable, at)
        if key is None:
            return
        at = key.end() + len(memoryview(raw))
        yield Span(str(name), start + key.end(), start + at)


def item_spans(body: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The elements of the valid JSON array at body[start:end]."""
    readable, found = parsed_items(body[start:end])
    at = readable.index(b"[") + 1
    for raw in found:
        gap = _GAP.match(readable, at)
        first = gap.end() if gap else at
        at = first + len(memoryview(raw))
        yield start + first, start + at


def apply(body: bytes, edits: Collection[Edit]) -> bytes:
    """The body with the edits, which must not overlap, applied; the body itself where there is none."""
    if not edits:
        return body
    parts: list[bytes | memoryview] = []
    view, at = memoryview(body), 0  # slices of it copy nothing
    for start, end, value in sorted(edits):
        parts += view[at:start], value
        at = end
    parts.append(view[at:])
    return b"".join(parts)


def model_edits(body: bytes, old: str, new: str) -> list[Edit]:
    """What puts `new` in the place of the top-level model name `old`, of a body that was peeked at before; at
    its beginning where it names none."""
    if old == new:
        return []
    value = msgspec.json.encode(new)
    match = _LEADING.match(body) or _TRAILING.match(body, max(0, body.rfind(b'"model"')))
    if match is not None:
        start, end = match.span(1)
        return [(start, end, value)]
    found = list(spans(body))
    edits: list[Edit] = [(span.start, span.end, value) for span in found if span.name == "model"]
    if not edits:  # one that was understood
        at = body.index(b"{") + 1
        edits.append((at, at, b'"model":' + value + (b"," if found else b"")))
    return edits


def usage_edits(body: bytes) -> list[Edit]:
    """What makes `stream_options.include_usage` true and leaves other stream options as they are. A value
    that is neither an object nor null stays, for upstream to refuse."""
    found: list[Span] = []
    if b"stream_options" in body or b"\\u00" in body:
        found = [span for span in spans(body) if span.name == "stream_options"]
    if not found:
        at = body.index(b"{") + 1
        return [(at, at, b'"stream_options":{"include_usage":true},')]
    _, start, end = found[-1]
    if body[start:end] == b"null":
        return [(start, end, b'{"include_usage":true}')]
    if body[start : start + 1] != b"{":
        return []
    options = list(spans(body, start, end))
    present = [span for span in options if span.name == "include_usage"]
    if present:
        return [(span.start, span.end, b"true") for span in present]
    return [(start + 1, start + 1, b'"include_usage":true,' if options else b'"include_usage":true')]
