"""The data plane's HTTP client: the only file of the relay that knows aiohttp."""

from __future__ import annotations

import asyncio
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import BytesPayload
from yarl import URL

from providers import dialer
from providers.types import Target
from relay.alarm import Alarm
from relay.errors import UpstreamFailure
from relay.payload import CHUNK, Sendable

LARGE_BODY = 1 << 20
RATIO = 100
"""Greatest believable compression; beyond it a body is a bomb (security.md, 21)."""
FREE = 1 << 20
"""Bytes that may come out before the ratio is looked at."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent. Timeouts are seconds; `on_sent` is called once all of it has left."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: Sendable | None = field(repr=False)
    connect_timeout: float
    first_byte_timeout: float
    on_sent: Callable[[], None]


class _Body(BytesPayload):
    """A body that tells when it has left."""

    def __init__(self, data: bytes, on_sent: Callable[[], None]) -> None:
        super().__init__(data)
        self._on_sent = on_sent

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        await super().write_with_length(writer, content_length)
        self._on_sent()


class _LargeBody(_Body):
    """The same, sent piece by piece, not in one write that blocks the loop; by a view of the bytes, not as a
    BytesIO, of which aiohttp would make a copy."""

    def __init__(self, data: bytes, on_sent: Callable[[], None]) -> None:
        super().__init__(b"", on_sent)  # it would warn of as many bytes
        self._value, self._size = data, len(data)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        rest = memoryview(self._value)
        while rest:
            await writer.write(rest[:CHUNK])
            await asyncio.sleep(0)
            rest = rest[CHUNK:]
        self._on_sent()


async def _told(pieces: AsyncIterator[bytes], on_sent: Callable[[], None]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece
    on_sent()


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


class _Reader(aiohttp.StreamReader):
    """aiohttp's reader less what nobody here asks for: where the chunks of HTTP began and ended. Noting that,
    and taking them one by one, costs more than all else that becomes of a stream.

    Only `readany` works. An answer's reader is made by aiohttp's parser; it is given this class."""

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Notes nothing."""

    def end_http_chunk_receiving(self) -> None:
        """Notes nothing."""

    def _read_nowait(self, n: int) -> bytes:
        buffer = self._buffer
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self._size = 0
        if self._protocol._reading_paused:
            self._protocol.resume_reading()
        return data


class Opened:
    """An upstream answer whose headers are here."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        if type(response.content) is aiohttp.StreamReader:  # else an empty body's
            response.content.__class__ = _Reader  # the same layout
        self._response = response
        self.status = response.status
        self.content_type = response.headers.get("content-type", "")
        self.bytes_received = 0
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            self._inflater: Inflater | None = None
        elif encoding in ("gzip", "x-gzip", "deflate"):
            self._inflater = Inflater()
        else:
            self.close()
            raise UpstreamFailure("encoding", phase="headers", text=f"content-encoding {encoding!r}")

    @property
    def headers(self) -> dict[str, str]:
        """Upstream's headers, names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    @property
    def request_id(self) -> str:
        headers = self._response.headers
        return (headers.get("x-request-id") or headers.get("request-id") or "")[:120]

    @property
    def retry_after(self) -> float | None:
        """Seconds until upstream wants to be asked again, as its headers tell; None where they do not."""
        return retry_after(self._response.headers)

    async def read(self) -> bytes:
        """Everything that has arrived, at least one byte; empty at the end. Raises UpstreamFailure."""
        try:
            data = await self._response.content.readany()
            while data and self._inflater is not None:
                self.bytes_received += len(data)
                out = self._inflater.feed(data)
                if out:
                    return out
                data = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            data = self._rest()
            if not data:
                self.close()
                raise UpstreamFailure("truncated", phase="stream", text=_words(error)) from error
        self.bytes_received += len(data)
        return data

    def _rest(self) -> bytes:
        """What came before the connection broke, while we were busy: aiohttp tells of the break at once."""
        content: Any = self._response.content
        return bytes(content._read_nowait(-1)) if content._buffer and self._inflater is None else b""

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamFailure, also beyond `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while data := await self.read():
            size += len(data)
            if size > limit:
                self.close()
                raise UpstreamFailure("too_large", phase="stream", text=f"the answer is over {limit} bytes")
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Gives the connection back if the answer was read to its end, else closes it. Safe to call twice."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


@lru_cache(maxsize=256)
def _timeouts(connect: float, first_byte: float) -> aiohttp.ClientTimeout:
    # `sock_read` counts from when the request is sent.
    return aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=first_byte)


@cache
def _tls() -> ssl.SSLContext:
    # Reading the system's certificates takes 50 ms: once for a process.
    return ssl.create_default_context()


class Upstream:
    """The pooled clients, one for each policy of where they may connect."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._urls: dict[str, URL] = {}

    async def __aenter__(self) -> Upstream:
        for allow_private in (False, True):
            self._sessions[allow_private] = aiohttp.ClientSession(
                connector=dialer.connector(allow_private=allow_private, tls=_tls()),
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=1 << 18,
                max_headers=512,
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self

    async def __aexit__(self, *exc: object) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    @property
    def connections(self) -> tuple[int, int]:
        """Connections in use, and those kept for the next request."""
        busy = idle = 0
        for session in self._sessions.values():
            connector: Any = session.connector
            busy += len(connector._acquired)
            idle += sum(len(each) for each in connector._conns.values())
        return busy, idle

    async def open(self, target: Target, request: Outgoing, alarm: Alarm) -> Opened:
        """Sends a request and waits for the headers of its answer, by the alarm of the running task. Raises
        UpstreamFailure."""
        data: Any = None
        headers = request.headers
        if request.body is not None:
            data = request.body.data
            if not isinstance(data, bytes):
                headers = {**headers, "content-length": str(request.body.size)}
                data = _told(data, request.on_sent)
            elif data:
                data = (_LargeBody if len(data) > LARGE_BODY else _Body)(data, request.on_sent)
        try:
            asked = self._sessions[target.allow_private].request(
                request.method,
                self._url(request.url),
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=target.proxy or None,
                timeout=_timeouts(request.connect_timeout, request.first_byte_timeout),
            )
            due = time.monotonic() + request.connect_timeout + request.first_byte_timeout
            response = await alarm.wait(asked, due)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise UpstreamFailure("connect_timeout", phase="connect", text=_words(error)) from error
            raise UpstreamFailure("first_byte_timeout", phase="headers", text="no answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(error) from error
        if response.connection is not None and response.connection.protocol is not None:
            # What follows the headers has timers of its own.
            response.connection.protocol.read_timeout = None
            response.connection.protocol.start_timeout()
        return Opened(response)

    def _url(self, url: str) -> URL:
        known = self._urls.get(url)
        if known is None:
            if len(self._urls) > 10_000:
                self._urls.clear()
            known = self._urls[url] = URL(url, encoded=True)
        return known


_BORDER: tuple[tuple[type[BaseException], str, str], ...] = (
    (aiohttp.ClientConnectorDNSError, "dns", "connect"),
    (aiohttp.ClientSSLError, "tls", "connect"),
    (aiohttp.ServerFingerprintMismatch, "tls", "connect"),
    (aiohttp.ConnectionTimeoutError, "connect_timeout", "connect"),
    (aiohttp.ClientConnectorError, "connect", "connect"),
    (aiohttp.ClientProxyConnectionError, "connect", "connect"),
    (aiohttp.ClientHttpProxyError, "connect", "connect"),
    (aiohttp.InvalidURL, "connect", "connect"),
    (aiohttp.ServerDisconnectedError, "reset", "headers"),
    (aiohttp.ClientOSError, "reset", "headers"),
    (aiohttp.ClientPayloadError, "truncated", "headers"),
    (aiohttp.ClientResponseError, "bad_frame", "headers"),
    (OSError, "reset", "headers"),
    (ValueError, "bad_frame", "headers"),
    (aiohttp.ClientError, "reset", "headers"),
)
"""Foreign exceptions, most specific first: reason and phase."""


def _translated(error: BaseException) -> UpstreamFailure:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, dialer.Forbidden):
            return UpstreamFailure("blocked_address", phase="connect", text=str(cause))
        cause = getattr(cause, "os_error", None) or cause.__cause__
    for kind, reason, phase in _BORDER:
        if isinstance(error, kind):
            return UpstreamFailure(reason, phase=phase, text=_words(error))
    raise AssertionError from error


def _words(error: BaseException) -> str:
    """What an operator may read of a transport error: its kind and the system's own words, no address."""
    inner = getattr(error, "os_error", error)
    said = getattr(inner, "strerror", None) or ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


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
