"""HTTP/1.1 as a client speaks it: a connection, its requests one after another, and the pool that keeps it.

httptools parses, in C. What comes most often, headers and pieces of a body, it hands to C functions as well:
the methods of a dictionary and of a list stand where a parser's callbacks would.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from providers.dialer import Dialer, Forbidden, ascii_host, check_host
from relay.errors import UpstreamFailure

KEEP_ALIVE = 20.0
"""Seconds that a connection waits for its next request."""
IDLE_CONNECTIONS = 256
"""Most connections to one place that wait for their next request."""
PLACES, LONG = 10_000, 1_000
"""Most addresses that are remembered, and the characters from which on one is not."""
PROXY_SECONDS = 60.0
"""For a proxy's answer, where no shorter time to connect is set."""
LINES, LINE, HEAD = 512, 8 << 10, 64 << 10
"""Most header lines, bytes of one of them, and bytes of an answer's head, interim answers included."""
SMALL_HEAD = LINES * len("a:\r\n")
"""No head below this breaks one of those bounds."""
HIGH_WATER, TAKEN = 64 << 10, 32 << 10
"""Bytes of an answer that wait to be taken before upstream has to wait, and most that come off the socket, or
are taken, at a time. The loop by itself would read eight times that at once, of which a client that does not
read would hold a copy at each place on the way."""

_URL = re.compile(
    r"(https?)://(\[[0-9a-fA-F:.]+\]|[^\[\]/?#@\\:\x00-\x20\x7f]+)(?::(\d{1,5}))?(/[^#\x00-\x20\x7f]*|\?[^#\x00-\x20\x7f]*)?",
    re.I,
)
_ASCII_HOST = re.compile(r"[a-z0-9._-]+", re.I)
_BLANK = re.compile(rb"[\r\n]*")
_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"HTTP/\S+ 1")


class Malformed(Exception):
    """What came is no answer of HTTP/1.1, or one beyond our bounds."""


class Origin(NamedTuple):
    """Whom a connection leads to; through `proxy`, where one is named (`http://host:port`)."""

    tls: bool
    host: str
    port: int
    proxy: str

    @property
    def authority(self) -> str:
        """As Host tells it: without the port that its scheme has anyway."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Place(NamedTuple):
    """What a method and an address come to. `start` is the request line and Host."""

    origin: Origin
    start: bytes


def parse_url(url: str) -> tuple[bool, str, int, str]:
    """TLS or not, host, port, and path with query. Raises ValueError unless it is an address of HTTP with
    nothing else in it."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("no address of HTTP")
    scheme, host, port, rest = found.groups()
    tls = scheme.lower() == "https"
    host = host[1:-1] if host.startswith("[") else ascii_host(host)
    if ":" not in host and not _ASCII_HOST.fullmatch(host):
        raise ValueError("no host name")
    number = int(port) if port else 443 if tls else 80
    if not 0 < number < 1 << 16:
        raise ValueError("no port")
    rest = rest or "/"
    return tls, host, number, rest if rest.startswith("/") else f"/{rest}"


def words(error: BaseException) -> str:
    """What an operator may read of a transport's error: its kind and the system's own words, and no address
    but one that may not be called."""
    if isinstance(error, Forbidden):
        return str(error)
    if isinstance(error, ssl.SSLError):
        said = error.reason or ""
    elif isinstance(error, socket.gaierror):
        said = error.strerror or ""
    elif isinstance(error, OSError):
        said = os.strerror(error.errno) if error.errno else ""
    else:
        said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class Connection(asyncio.BufferedProtocol):
    """One connection, and the answer that it receives: `status` is 0 until the head is here, `headers` have
    lower-case names, `received` is how many bytes of the body were read, `over` tells that no more will come,
    `failure` why, where that is not the answer's own end."""

    __slots__ = (
        "_body", "_bodyless", "_feed", "_head", "_may_write", "_parser", "_paused", "_pool", "_raw",
        "_reusable", "_room", "_sent", "_size", "_timer", "_timer_due", "_waiter", "_waits_until", "closed",
        "failure", "headers", "loop", "on_body", "on_header", "origin", "over", "received", "status",
        "transport",
    )  # fmt: skip

    transport: asyncio.Transport

    def __init__(self, pool: Pool, origin: Origin) -> None:
        self._pool = pool
        self._room = pool.room
        self.origin = origin
        self.loop = asyncio.get_running_loop()
        self._raw: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self.on_header = self._raw.setdefault  # of two lines with one name the first counts
        self.on_body = self._body.append
        self._parser = HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._feed: Callable[[bytes], None] = self._unasked
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = self._waits_until = 0.0
        self.headers: dict[bytes, bytes] = {}
        self.status = self.received = self._size = 0
        self._head = b""
        self.failure: UpstreamFailure | None = None
        self.over = self._may_write = True
        self.closed = self._paused = self._sent = self._reusable = self._bodyless = False

    # What the caller does
    # --------------------------------------------------------------------------------------------------

    def begin(self, data: bytes, *, whole: bool, bodyless: bool = False) -> None:
        """Sends the beginning of a request, or the `whole` of it. `bodyless`: its answer has only a head
        (HEAD)."""
        self.status = self.received = 0
        self.over = False
        self._feed = self._feed_head
        self._sent = whole
        self._reusable = False
        if bodyless:
            self._bodyless = True
        self.transport.write(data)

    async def send(self, pieces: Iterable[bytes | memoryview], due: float) -> bool:
        """Sends the rest of a request as fast as it is taken. False where the answer came before its end, or
        the connection broke. Raises TimeoutError at `due`."""
        for piece in pieces:
            await asyncio.sleep(0)  # others' turn, and where an early answer is seen
            while not (self._may_write or self.status or self.over):
                await self.news(due)
            if self.status or self.over:
                return False
            self.transport.write(piece)
        self._sent = True
        return True

    def news(self, due: float) -> asyncio.Future[None]:
        """Is done when the head has come, more of the body, the end, or room to write. One caller at a time.
        Raises TimeoutError at `due`, in monotonic seconds, and when `ring` is called.

        One timer serves all waits, of this request and the next: a later deadline costs an assignment."""
        self._waits_until = due
        if self._timer is None or due < self._timer_due:
            self._set_timer()
        self._waiter = waiter = self.loop.create_future()
        return waiter

    def ring(self) -> bool:
        """Ends the wait at once; False where nobody waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_exception(TimeoutError())
        waiter.exception()  # seen, also where the one who waits is stopped before it hears of it
        return True

    async def read(self, due: float) -> bytes:
        """What has come of the body and was not read, at least one byte, at most `TAKEN`; empty at the end.
        Raises UpstreamFailure where the answer broke off, TimeoutError as `news`."""
        body = self._body
        while not body:
            if self.over:
                if self.failure is not None:
                    raise self.failure
                return b""
            await self.news(due)
        data = b"".join(body)  # of a single piece, the piece itself
        body.clear()
        if len(data) > TAKEN:
            body.append(data[TAKEN:])
            data = data[:TAKEN]
        elif self._size:
            self._go_on()
        self.received += len(data)
        return data

    @property
    def whole(self) -> bool:
        """Whether the answer came to its own end and all of it was read."""
        return self.over and not self._body and self.failure is None

    def release(self) -> None:
        """Keeps the connection for the next request if this one is over on both sides, else closes it."""
        if self._reusable:
            self._body.clear()  # of an answer that was not read
            if self._size:
                self._go_on()
            self._pool.keep(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Closes the connection at once."""
        self.closed, self._reusable = True, False
        self.transport.abort()

    # What the transport does
    # --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next read goes. All connections share it: what is read is taken at once."""
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._room[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Takes one read."""
        try:
            self._feed(data)
        except (HttpParserError, HttpParserUpgrade, Malformed) as error:
            self._refuse(error)
        waiter = self._waiter
        if waiter is not None and self._body:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)
            return
        if self.status or self.over:
            self._wake()
        self._hold_up(len(data))

    def eof_received(self) -> None:
        self._end(None)
        self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self.closed, self._reusable = True, False
        if self._timer is not None:
            self._timer.cancel()
        del self._feed, self._parser  # they hold the connection, and it them
        self._pool.forget(self)
        self._pool.all.discard(self)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _feed_head(self, data: bytes) -> None:
        self._head += data
        self._parser.feed_data(data)
        if len(self._head) > HEAD:  # and still no end of it
            raise Malformed("the head is too large")

    def _unasked(self, data: bytes) -> None:
        """Nobody asked for this: whatever it is, it must not become the next answer."""
        self._drop()

    def _hold_up(self, size: int) -> None:
        """Counts bytes that nobody waits for. Beyond the bound upstream has to wait until they are read; of
        what is no body, the answer is given up."""
        self._size += size
        if self._size <= HIGH_WATER or self.over:
            return
        if not self._body:
            self._refuse(Malformed("all frame and no body"))
        elif not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """What was counted is read."""
        self._size = 0
        if self._paused and not self.closed:
            self._paused = False
            self.transport.resume_reading()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = self._waits_until
        self._timer = self.loop.call_later(max(0.0, self._timer_due - monotonic()), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return  # the next wait sets it again
        if monotonic() < self._waits_until:
            self._set_timer()
        else:
            self.ring()

    def _drop(self) -> None:
        """Closes a connection from which nothing is wanted any more."""
        self._pool.forget(self)
        self.abort()

    def _refuse(self, error: Exception) -> None:
        """Ends an answer that is none. What came too much, behind the end of one, does it no harm."""
        if not self.over:
            self._fail("bad_frame", error.__context__ or error)
        self.abort()

    def _end(self, error: Exception | None) -> None:
        """Upstream says no more, for the reason given, or because it is done."""
        if self.over:
            return
        framed = b"content-length" in self.headers or b"transfer-encoding" in self.headers
        if not self.status or error is not None or framed:
            self._fail("reset", error or EOFError("the connection was closed"))
        self.over = True
        self._wake()

    def _fail(self, reason: str, error: BaseException) -> None:
        """Ends the answer: for the reason given, or, in its body, as truncated."""
        reason, phase = ("truncated", "stream") if self.status else (reason, "headers")
        self.failure = UpstreamFailure(reason, phase=phase, text=words(error))
        self.failure.__cause__ = error
        self.over = True

    # What the parser does
    # --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Makes room for a head. Raises Malformed where the answer that was asked for is here already."""
        if self.over:
            raise Malformed("an answer that nobody asked for")
        self._raw.clear()

    def on_headers_complete(self) -> None:
        """Takes the head, unless it is an interim one. Trailers come too late to be taken."""
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:
                raise Malformed(f"status {status}")
            return
        if len(self._head) > SMALL_HEAD:
            _check_head(self._head)
        names, values = map(bytes.lower, self._raw), map(bytes.rstrip, self._raw.values())
        self.headers = dict(zip(names, values, strict=True))
        self.status = status
        self._head = b""
        self._feed = self._parser.feed_data
        if self._bodyless:
            self.over = True
            raise Malformed("no body is to follow")  # stops the parser, which expects one

    def on_message_complete(self) -> None:
        """Notes the end of the answer, or of an interim one."""
        if self.status:
            self._reusable = self._sent and self._parser.should_keep_alive()
            self._feed = self._unasked
            self.over = True


def _check_head(received: bytes) -> None:
    """Raises Malformed where the head that `received` begins with passes a bound."""
    end, interim = 0, True
    while interim:
        start = _BLANK.match(received, end).end()  # type: ignore[union-attr]
        interim = _INTERIM.match(received, start) is not None
        found = _END.search(received, start)
        end = found.end() if found else len(received)
    lines = received[start:end].split(b"\n")
    if end > HEAD or len(lines) > LINES + len(("status", "blank", "rest")) or max(map(len, lines)) > LINE:
        raise Malformed("the head is too large")


class Pool:
    """Connections that lead where `dialer` may go. A pooled connection is not judged again, so endpoints with
    and without `allow_private` must not share a pool."""

    def __init__(self, dialer: Dialer, *, tls: ssl.SSLContext) -> None:
        self.all: set[Connection] = set()
        self.room = memoryview(bytearray(TAKEN))
        """What its connections read into."""
        self._dialer = dialer
        self._tls = tls
        self._idle: dict[Origin, dict[Connection, float]] = {}
        self._places: dict[tuple[str, str, str], Place] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> int:
        """How many connections wait for their next request."""
        return sum(map(len, self._idle.values()))

    def place(self, method: str, url: str, proxy: str) -> Place:
        """Where a request goes, and how it begins. Raises ValueError for what is no address of HTTP."""
        asked = (method, url, proxy)
        known = self._places.get(asked)
        if known is None:
            tls, host, port, target = parse_url(url)
            origin = Origin(tls, host, port, proxy)
            if proxy and not tls:
                target = f"http://{origin.authority}{target}"
            known = Place(origin, f"{method} {target} HTTP/1.1\r\nhost: {origin.authority}\r\n".encode())
            if len(self._places) >= PLACES:
                self._places.clear()
            if len(url) < LONG:
                self._places[asked] = known
        return known

    def waiting(self, origin: Origin) -> Connection | None:
        """A connection that waits for its next request, the one that was used last; None where there is
        none."""
        kept = self._idle.get(origin)
        while kept:
            connection, since = kept.popitem()
            if monotonic() - since < KEEP_ALIVE:
                return connection
            connection.abort()
        return None

    def keep(self, connection: Connection) -> None:
        """Lets a connection wait for its next request; at the bound it is closed instead."""
        kept = self._idle.get(connection.origin)
        if kept is None:
            kept = self._idle[connection.origin] = {}
        if len(kept) >= IDLE_CONNECTIONS:
            connection.abort()
            return
        kept[connection] = monotonic()
        if self._sweeper is None:
            self._sweep_later()

    def forget(self, connection: Connection) -> None:
        """A connection is of no more use."""
        if kept := self._idle.get(connection.origin):
            kept.pop(connection, None)

    async def connect(self, origin: Origin) -> Connection:
        """A new connection. Raises OSError (Forbidden, socket.gaierror, ssl.SSLError among them), ValueError
        and UpstreamFailure."""
        host, port = origin.host, origin.port
        if origin.proxy:
            check_host(host, allow_private=self._dialer.allow_private)
            _, host, port, _ = parse_url(origin.proxy)
        connected = await self._dialer.connect(host, port)
        connection = Connection(self, origin)
        await connection.loop.create_connection(lambda: connection, sock=connected)
        if origin.tls:
            try:
                if origin.proxy:
                    await _ask_proxy(connection)
                connection = await self._encrypted(connection)
            except BaseException:
                connection.abort()
                raise
        if connection.closed:
            raise ConnectionResetError("the connection was closed")
        self.all.add(connection)
        return connection

    async def _encrypted(self, plain: Connection) -> Connection:
        connection = Connection(self, plain.origin)
        transport = await connection.loop.start_tls(
            plain.transport, connection, self._tls, server_hostname=plain.origin.host.rstrip(".")
        )
        if transport is None:
            raise ConnectionResetError("the connection was closed")
        connection.connection_made(transport)
        return connection

    async def close(self) -> None:
        """Closes every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.all):
            connection.abort()
        while self.all:  # noqa: ASYNC110, they tell at the loop's next turn
            await asyncio.sleep(0)

    def _sweep_later(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(KEEP_ALIVE, self._sweep)

    def _sweep(self) -> None:
        """Closes the connections that have waited for too long."""
        self._sweeper = None
        oldest = monotonic() - KEEP_ALIVE
        for origin, kept in list(self._idle.items()):
            for connection in [each for each, since in kept.items() if since <= oldest]:
                del kept[connection]
                connection.abort()
            if not kept:
                del self._idle[origin]
        if self._idle:
            self._sweep_later()


async def _ask_proxy(connection: Connection) -> None:
    """Has the proxy open a way to the vendor. Raises UpstreamFailure."""
    host, port = connection.origin.host, connection.origin.port
    there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection.begin(f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n\r\n".encode(), whole=True)
    await connection.news(monotonic() + PROXY_SECONDS)
    if not 200 <= connection.status < 300:
        told = f"the proxy answered {connection.status or 'nothing'}"
        raise UpstreamFailure("connect", phase="connect", text=told)
