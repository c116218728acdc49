"""A request as both doors hand it to the pipeline, and the client's connection behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Protocol, cast

LINE = "aether.line"
"""ASGI extension: the client's connection as a `Line`. Without it the relay keeps to what ASGI offers."""

Headers = Sequence[tuple[bytes, bytes]]


class Line(Protocol):
    """A client's connection, for what ASGI has no words for."""

    def cut(self) -> None:
        """Closes it at once, whatever still waits to be sent."""

    def watch(self, left: Callable[[], None] | None) -> None:
        """Has `left` called when the connection is gone; None: nobody is to be told any more."""

    def body_here(self) -> bytes | None:
        """The rest of the request's body, where all of it is here; None where ASGI has to be asked for it."""

    def reply(self, status: int, headers: Headers, body: bytes | None) -> bool:
        """Sends a whole answer at once, or, where `body` is None, the head of a streamed one. The length of a
        body is among its headers; `connection` and `transfer-encoding` are not. False, and nothing is sent,
        where that cannot be (the client takes nothing right now, or asked for the head alone): then it is to
        be sent in ASGI's way."""

    def pour(self, piece: bytes) -> bool:
        """Sends a piece of a streamed answer, which is not empty, at the loop's next turn. False, and the
        piece is not sent, where it must wait for the client, or cannot be: then in ASGI's way."""

    def end(self) -> bool:
        """Ends a streamed answer. False as above."""


class Call:
    """`path` is raw, as sent; `query` without the question mark; header names are lower case.

    `read` gives the next piece of the body, which may be empty, and whether more follow; it raises
    errors.Unreadable if the client leaves before its end. `cut` closes the client's connection at once; None
    where the server has no such thing.
    """

    __slots__ = ("_first", "address", "cut", "headers", "method", "path", "query", "read")

    def __init__(
        self,
        *,
        method: str,
        path: str,
        query: str,
        headers: Headers,
        address: str,
        read: Callable[[], Awaitable[tuple[bytes, bool]]],
        cut: Callable[[], None] | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.address = address
        self.read = read
        self.cut = cut
        self._first = dict(reversed(headers))

    def header(self, name: bytes) -> str:
        """The first value of a header by its lower-case name, or an empty string."""
        return self._first.get(name, b"").decode("latin-1")

    @property
    def length(self) -> int:
        """What the client announced of its body, 0 where it did not. It may lie."""
        value = self._first.get(b"content-length", b"")
        return int(value) if value.isdigit() and len(value) < 20 else 0


def client_address(peer: str, headers: Headers, proxies: int) -> str:
    """The client's address, with so many proxies of ours in front of us: the one that the outermost of them
    saw and appended to `X-Forwarded-For`. Whatever stands before it is the client's own word. The peer's
    address where the header is too short for that, or no address stands there."""
    if not proxies:
        return peer
    lines = (value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for")
    hops = [hop.strip() for line in lines for hop in line.split(",")]
    try:
        return str(ip_address(hops[-proxies]))
    except (IndexError, ValueError):
        return peer


def line_of(scope: Mapping[str, Any]) -> Line | None:
    """The connection behind a request; None where the server does not offer it."""
    return cast("Line | None", (scope.get("extensions") or {}).get(LINE))


def take_line(scope: Mapping[str, Any]) -> Line | None:
    """The same, taken out of the scope, for whoever serves the request: scope and connection would hold each
    other, and all of the request, until the garbage collector stops everything to find them."""
    return cast("Line | None", (scope.get("extensions") or {}).pop(LINE, None))


def printable(text: str, cap: int) -> str:
    """The first `cap` characters of what a client sent, for records and error texts: what cannot be shown is
    replaced."""
    text = text[:cap]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\ufffd" for each in text)
