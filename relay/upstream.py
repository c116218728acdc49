"""The data plane's way to a vendor: a request goes out, its answer comes in, and whatever goes wrong is an
UpstreamFailure."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Coroutine, Iterator
from email.utils import parsedate_to_datetime
from functools import cache
from time import monotonic
from typing import Any

import msgspec

from providers import dialer
from providers.types import Target
from relay.errors import UpstreamFailure
from relay.http1 import Connection, Origin, Pool, words
from relay.payload import CHUNK, Sendable

RATIO = 100
"""Greatest believable compression; beyond it a body is a bomb (security.md, 21)."""
FREE = 1 << 20
"""Bytes that may come out before the ratio is looked at."""


class Outgoing(msgspec.Struct, eq=False):
    """A request as it is sent. `head` are its header lines as bytes, each with its line end; Host and length
    come by themselves. Timeouts are seconds; `on_sent` is called once all of it has left."""

    method: str
    url: str
    head: bytes
    body: Sendable | None
    connect_timeout: float
    first_byte_timeout: float
    on_sent: Callable[[], None]

    def __repr__(self) -> str:
        return f"<Outgoing {self.method} {self.url}>"


class Inflater:
    """Undoes gzip or deflate of an upstream that compresses although it was asked not to."""

    def __init__(self) -> None:
        self._codec = zlib.decompressobj(wbits=47)
        self._taken = self._given = 0

    def feed(self, data: bytes) -> bytes:
        """What `data` unfolds to. Raises UpstreamFailure for a bomb or for bytes that are not gzip or
        deflate."""
        self._taken += len(data)
        room = max(FREE, self._taken * RATIO) - self._given
        try:
            out = self._codec.decompress(data, room + 1)
        except zlib.error as error:
            raise UpstreamFailure("encoding", phase="stream", text=f"broken compression: {error}") from error
        self._given += len(out)
        if len(out) > room or self._codec.unconsumed_tail:
            raise UpstreamFailure("encoding", phase="stream", text="the answer unfolds beyond 100 to 1")
        return out


class Opened:
    """An upstream answer whose headers are here."""

    __slots__ = ("_connection", "_headers", "_inflater", "_received", "content_type", "status")

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection
        self._headers = headers = connection.headers
        self._inflater: Inflater | None = None
        self.status = connection.status
        self.content_type = headers.get(b"content-type", b"").decode("latin-1")
        if b"content-encoding" in headers:
            self._expect(headers[b"content-encoding"].decode("latin-1").strip().lower())

    def _expect(self, encoding: str) -> None:
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._inflater = Inflater()
        elif encoding not in ("", "identity"):
            self.close()
            raise UpstreamFailure("encoding", phase="headers", text=f"content-encoding {encoding!r}")

    @property
    def headers(self) -> dict[str, str]:
        """Upstream's headers, names in lower case."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers.items()}

    @property
    def request_id(self) -> str:
        headers = self._headers
        return (headers.get(b"x-request-id") or headers.get(b"request-id") or b"")[:120].decode("latin-1")

    @property
    def retry_after(self) -> float | None:
        """Seconds until upstream wants to be asked again, as its headers tell; None where they do not."""
        return retry_after(self.headers)

    @property
    def bytes_received(self) -> int:
        """Bytes of the body as they were read, before anything was unfolded."""
        return self._received if self._connection is None else self._connection.received

    def read(self, due: float) -> Coroutine[Any, Any, bytes]:
        """Everything that has arrived, at least one byte; empty at the end, and once closed. Raises
        UpstreamFailure, and TimeoutError at `due`, in monotonic seconds, or when `ring` is called."""
        if self._connection is None:
            return _nothing()
        if self._inflater is None:
            return self._connection.read(due)
        return self._inflated(self._connection, self._inflater, due)

    async def _inflated(self, connection: Connection, inflater: Inflater, due: float) -> bytes:
        while data := await connection.read(due):
            if out := inflater.feed(data):
                return out
        return b""

    def ring(self) -> None:
        """Ends a wait for upstream, if there is one, at once."""
        if self._connection is not None:
            self._connection.ring()

    async def read_all(self, limit: int, due: float) -> bytes:
        """The whole body. Raises as `read`, and UpstreamFailure beyond `limit` bytes."""
        connection = self._connection
        data = await self.read(due)
        if len(data) <= limit and (connection is None or connection.whole):
            return data
        parts: list[bytes] = []
        size = 0
        while data:
            size += len(data)
            if size > limit:
                self.close()
                raise UpstreamFailure("too_large", phase="stream", text=f"the answer is over {limit} bytes")
            parts.append(data)
            data = await self.read(due)
        return b"".join(parts)

    def close(self) -> None:
        """Gives the connection back if the answer has come to its end, else closes it. Safe to call twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._received = connection.received
            connection.release()


async def _nothing() -> bytes:
    return b""


@cache
def _tls() -> ssl.SSLContext:
    # Reading the system's certificates takes 50 ms: once for a process.
    return ssl.create_default_context()


class Upstream:
    """The pools, one for each policy of where they may connect."""

    def __init__(self) -> None:
        self._pools: dict[bool, Pool] = {}

    async def __aenter__(self) -> Upstream:
        for allow_private in (False, True):
            self._pools[allow_private] = Pool(dialer.Dialer(allow_private=allow_private), tls=_tls())
        return self

    async def __aexit__(self, *exc: object) -> None:
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    @property
    def connections(self) -> tuple[int, int]:
        """Connections in use, and those kept for the next request."""
        idle = sum(pool.idle for pool in self._pools.values())
        return sum(len(pool.all) for pool in self._pools.values()) - idle, idle

    async def open(self, target: Target, request: Outgoing) -> Opened:
        """Sends a request and waits for the headers of its answer. Raises UpstreamFailure."""
        pool, method, body = self._pools[target.allow_private], request.method, request.body
        try:
            place = pool.place(method, request.url, target.proxy)
        except ValueError as error:
            raise _translated(error) from error
        connection = pool.waiting(place.origin)
        if connection is None:
            connection = await _connected(pool, place.origin, request.connect_timeout)
        data, size = (b"", 0) if body is None else (body.data, body.size)
        length = b"content-length: %d\r\n\r\n" % size if size or method != "GET" else b"\r\n"
        try:
            if isinstance(data, bytes) and size <= CHUNK:
                whole = b"".join((place.start, request.head, length, data))
                connection.begin(whole, whole=True, bodyless=method == "HEAD")
                request.on_sent()
            else:
                connection.begin(b"".join((place.start, request.head, length)), whole=False)
                due = monotonic() + request.connect_timeout + request.first_byte_timeout
                if await connection.send(_pieces(data), due):
                    request.on_sent()
            due = monotonic() + request.first_byte_timeout
            while not connection.over and not connection.status:
                await connection.news(due)
        except TimeoutError as error:
            connection.abort()
            raise UpstreamFailure("first_byte_timeout", phase="headers", text="no answer in time") from error
        except BaseException:
            connection.abort()
            raise
        if connection.status:
            return Opened(connection)
        connection.abort()
        raise connection.failure or AssertionError("over without an answer or a failure")


async def _connected(pool: Pool, origin: Origin, seconds: float) -> Connection:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await pool.connect(origin)
    except (OSError, ValueError) as error:  # the system's own time-outs among them
        if limit.expired():
            raise UpstreamFailure("connect_timeout", phase="connect", text="no connection in time") from error
        raise _translated(error) from error


def _pieces(data: bytes | Iterator[bytes]) -> Iterator[bytes | memoryview]:
    """A body in pieces that do not block the loop; of bytes by views, not by copies."""
    if not isinstance(data, bytes):
        yield from data
        return
    view = memoryview(data)
    for start in range(0, len(data), CHUNK):
        yield view[start : start + CHUNK]


_BORDER: tuple[tuple[type[Exception], str], ...] = (
    (dialer.Forbidden, "blocked_address"),
    (socket.gaierror, "dns"),
    (ssl.SSLError, "tls"),
    (OSError, "connect"),
    (ValueError, "connect"),
)
"""What may go wrong on the way to a connection, most specific first, and its reason."""


def _translated(error: OSError | ValueError) -> UpstreamFailure:
    reason = next(reason for kind, reason in _BORDER if isinstance(error, kind))
    return UpstreamFailure(reason, phase="connect", text=words(error))


def retry_after(headers: Any) -> float | None:
    """Seconds from `retry-after-ms`, `retry-after` (seconds or a date against the answer's own `date`,
    else our clock); None where nothing usable is given."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None and (seconds := _number(milliseconds)) is not None:
        return seconds / 1000
    value = headers.get("retry-after")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        until, sent = parsedate_to_datetime(value), headers.get("date")
        now = parsedate_to_datetime(sent).timestamp() if sent else time.time()
        return max(0.0, until.timestamp() - now)
    except (ValueError, TypeError):
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 10**6 else None
