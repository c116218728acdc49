"""`previous_response_id` where no vendor holds the answer that it names (conversion.md, 65): one that came by
conversion. If the operator wants it (RELAY_KEEP_RESPONSES), the relay keeps what went before as items of
Responses' own input, and puts them before the next request's; else a 400 says what to do.
"""

from __future__ import annotations

import re
import time
from uuid import UUID

import msgspec

from relay.errors import Refused
from relay.keeping import Keeping
from usage.models import Record
from wire.body import parsed_items
from wire.jsons import as_object, dumps, load_object
from wire.splice import apply, spans
from wire.sse import frames
from wire.types import BadFrame, Fault

MOST = 4 * 1024 * 1024
"""Bytes of a history; a longer one is not kept."""
_OURS = re.compile(r"resp_([0-9a-f]{32})")
"""Ids of answers that came by conversion (`wire.neutral.responses_encoder`)."""


class History(msgspec.Struct, frozen=True):
    """What went before, up to an answer and with it: items as they stand in a JSON array, without its
    brackets. `until` is Unix seconds."""

    items: bytes
    until: float


def response_id(request_text: str) -> str:
    """The id of the answer that a request got by conversion."""
    return f"resp_{request_text.replace('-', '')}"


def with_history(body: bytes, history: History) -> bytes:
    """A Responses request with its history in its input, and nothing that names an earlier answer."""
    edits = []
    told = False
    for span in spans(body):
        if span.name == "input":
            joined = b",".join(filter(None, (history.items, items_of(body[span.start : span.end]))))
            edits.append((span.start, span.end, b"[%b]" % joined))
            told = True
        elif span.name == "previous_response_id":
            edits.append((span.start, span.end, b"null"))
    if not told:
        at = body.index(b"{") + 1
        edits.append((at, at, b'"input":[%b],' % history.items))
    return apply(body, edits)


def items_of(value: bytes) -> bytes:
    """The items of an `input`, without brackets; a text is a message of the user."""
    value = value.strip()
    if value.startswith(b'"'):
        return b'{"role":"user","content":%b}' % value
    if not value.startswith(b"["):
        return b""
    _, found = parsed_items(value)
    return b",".join(bytes(memoryview(raw)) for raw in found)


def input_of(body: bytes) -> bytes:
    """The items of a request's input; nothing where they are too many to be kept."""
    found = next((body[span.start : span.end] for span in spans(body) if span.name == "input"), b"")
    return items_of(found) if len(found) <= MOST else b""


def keep(
    kept: Keeping[History],
    consumer_id: int,
    request_text: str,
    *,
    history: bytes,
    answer: bytes,
    seconds: float,
) -> None:
    """Keeps the items that a converted answer went on from, and the answer: it whole, or the end of its
    stream. Never waits."""
    output = _output_of(answer)
    if output is None:
        return
    items = b",".join(filter(None, (history, items_of(dumps(output)))))
    if len(items) <= MOST:
        kept.put(consumer_id, {response_id(request_text): History(items, time.time() + seconds)})


def _output_of(answer: bytes) -> object:
    """The output items of an answer: of its last event where it was streamed. None where it has none."""
    for frame in reversed(list(frames(answer))) if answer.startswith(b"event:") else ():
        if frame.data:
            answer = frame.data
            break
    try:
        told = load_object(answer)
    except BadFrame:
        return None
    return as_object(told.get("response") or told).get("output")


async def find(kept: Keeping[History], consumer_id: int, previous_id: str) -> History | None:
    """What is kept of an answer of this consumer's."""
    found = (await kept.find(consumer_id, [previous_id])).get(previous_id)
    return found if found is not None and found.until > time.time() else None


def is_ours(previous_id: str, consumer_id: int) -> bool:
    """Whether this names an answer that this consumer got by conversion. Blocking."""
    match = _OURS.fullmatch(previous_id)
    if match is None:
        return False
    rows = Record.objects.filter(request_id=UUID(match[1]), consumer_id=consumer_id)
    return rows.exclude(conversion="").exists()


def gone(previous_id: str, *, wanted: bool) -> Refused:
    """400, for an answer of the caller's own that nobody holds. `wanted`: the relay keeps such answers, but
    no longer this one."""
    why = "is no longer kept" if wanted else "is kept by nobody"
    remedy = "" if wanted else ", or have the operator set RELAY_KEEP_RESPONSES"
    text = (
        f"The response {previous_id} came from an upstream of another format and {why}: send the items of "
        f"the conversation in 'input' instead of 'previous_response_id'{remedy}."
    )
    return Refused(Fault("invalid_request", text, "previous_response_id"))
