"""What quirks of an endpoint change in a chat request that otherwise passes as it is: edits that leave every
other byte."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wire.jsons import as_text, loads
from wire.neutral.names import short_id
from wire.splice import Edit, apply, item_spans, spans
from wire.types import BadFrame

EDITED = frozenset({"short_call_ids", "max_tokens"})
"""Quirks that may change a request of the endpoint's own format."""
_SHORT = re.compile(rb'"[A-Za-z0-9]{9}"')


def edited(body: bytes, quirks: frozenset[str]) -> bytes:
    """The body of a chat request as an endpoint with these quirks takes it."""
    edits: list[Edit] = []
    if "max_tokens" in quirks and b"max_completion_tokens" in body:
        edits += _older_limit(body)
    if "short_call_ids" in quirks and b'"tool_call' in body:
        edits += _short_ids(body)
    return apply(body, edits)


def _older_limit(body: bytes) -> Iterator[Edit]:
    """Gives `max_completion_tokens` its older name, unless that stands there too."""
    found = {span.name: span for span in spans(body)}
    limit = found.get("max_completion_tokens")
    if limit is not None and "max_tokens" not in found:
        key = body.rfind(b'"max_completion_tokens"', 0, limit.start)
        if key >= 0:
            yield key, key + len(b'"max_completion_tokens"'), b'"max_tokens"'


def _short_ids(body: bytes) -> Iterator[Edit]:
    for messages in spans(body):
        if messages.name != "messages" or body[messages.start : messages.start + 1] != b"[":
            continue
        for start, end in item_spans(body, messages.start, messages.end):
            if body[start : start + 1] == b"{":
                yield from _of_message(body, start, end)


def _of_message(body: bytes, start: int, end: int) -> Iterator[Edit]:
    for span in spans(body, start, end):
        if span.name == "tool_call_id":
            yield from _fitted(body, span.start, span.end)
        elif span.name == "tool_calls" and body[span.start : span.start + 1] == b"[":
            for first, last in item_spans(body, span.start, span.end):
                if body[first : first + 1] != b"{":
                    continue
                for field in spans(body, first, last):
                    if field.name == "id":
                        yield from _fitted(body, field.start, field.end)


def _fitted(body: bytes, start: int, end: int) -> Iterator[Edit]:
    value = body[start:end]
    if value[:1] != b'"' or _SHORT.fullmatch(value):
        return
    try:
        made = as_text(loads(value))
    except BadFrame:  # pragma: no cover - the body was read before
        return
    if made:
        yield start, end, b'"%b"' % short_id(made).encode()
