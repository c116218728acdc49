"""A request as both doors hand it to the pipeline."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

CUT = "aether.cut"
"""ASGI extension: a function that closes the client's connection at once, whatever still waits to be sent."""
LEFT = "aether.left"
"""ASGI extension: takes a function that is to be called when the client's connection is gone, or None.
Without it a server is asked by a task that waits in `receive`."""

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """`path` is raw, as sent; `query` without the question mark; header names are lower case."""

    method: str
    path: str
    query: str
    headers: Headers = field(repr=False)
    address: str
    length: int
    """What the client announced of its body, 0 where it did not. It may lie."""
    chunks: AsyncGenerator[bytes, None] = field(repr=False)
    """The body, piece by piece. Raises errors.Unreadable if the client leaves before its end."""
    cut: Callable[[], None] | None = field(default=None, repr=False)
    """Closes the client's connection at once; None where the server has no such thing."""
    _first: dict[bytes, bytes] | None = field(default=None, init=False, repr=False)

    def header(self, name: bytes) -> str:
        """The first value of a header by its lower-case name, or an empty string."""
        if self._first is None:
            self._first = dict(reversed(self.headers))
        return self._first.get(name, b"").decode("latin-1")


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


def extension(scope: Mapping[str, Any], name: str) -> Any:
    """What the server offers under `name`; None where it has no such thing."""
    return (scope.get("extensions") or {}).get(name)
