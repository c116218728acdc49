"""What to do on the wire, told to whichever host plays it: the raw server or the ASGI application."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field


class Act(enum.Enum):
    """What a server should never do, and does here on request."""

    FIN = "fin"
    """Close the connection with the message unfinished."""
    RESET = "reset"
    """Reset the connection, after what was sent has left."""
    STALL = "stall"
    """Stay silent until the client leaves, ten minutes at most."""


Step = bytes | float | Act
"""Bytes to send, seconds to wait, or something rude, which ends the play."""

Headers = list[tuple[str, str]]
Event = tuple[str, bytes]
"""One server-sent event: its name (empty for none) and its data."""


@dataclass(slots=True)
class Play:
    """One answer.

    `length`: the declared Content-Length; None means chunked, or until the connection closes if
    `until_close`. `before`: steps before the head, their bytes sent as they are. `raw`: the steps are the
    whole conversation, head included. `close`: the connection ends after the answer; `announce` says so in
    the head. `tail`: bytes after the end of the message.
    """

    status: int = 200
    headers: Headers = field(default_factory=list)
    steps: Iterable[Step] = ()
    length: int | None = None
    until_close: bool = False
    before: tuple[Step, ...] = ()
    trailers: Headers = field(default_factory=list)
    raw: bool = False
    close: bool = False
    announce: bool = True
    tail: bytes = b""


def whole(
    body: bytes, *, status: int = 200, kind: str = "application/json", headers: Headers | None = None
) -> Play:
    """An answer with a length."""
    return Play(status, [("content-type", kind), *(headers or [])], (body,) if body else (), length=len(body))


def sse(event: Event, *, end: bytes = b"\n", colon: bytes = b": ", multiline: bool = False) -> bytes:
    """One event as bytes. `multiline` puts the first and the last byte of the data on lines of their own,
    where JSON does not mind."""
    name, data = event
    lines = [b"event" + colon + name.encode()] if name else []
    pieces = [data[:1], data[1:-1], data[-1:]] if multiline and data[:1] == b"{" else [data]
    lines += [b"data" + colon + piece for piece in pieces]
    return end.join([*lines, b"", b""])


def array(events: list[Event]) -> list[bytes]:
    """Events as the pieces of one JSON array, as Gemini streams without `alt=sse`."""
    frames = [(b",\r\n" if index else b"[") + data for index, (_, data) in enumerate(events)]
    return [*frames, b"]" if frames else b"[]"]
