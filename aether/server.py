"""uvicorn's HTTP protocol with what it and ASGI lack: limits of time and size for clients (`connections`),
strictness about where a request ends, and the client's connection itself (`relay.call.Line`)."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserUpgrade, parse_url
from httptools.parser.url_parser import URL
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from aether.connections import LINGER, SWEEP, Connections
from relay.call import LINE, Headers
from relay.door import answering, turned_away, turned_away_at_once
from relay.refusals import unfit

IDLE, HEAD, BODY, BUSY, GONE = range(5)
"""Before the first byte of a request; its head comes; its body comes; it is whole and under way; the client
was turned away and may still read why."""

FOREIGN = frozenset(
    {
        b"CONNECT", b"PRI", b"SOURCE", b"DESCRIBE", b"ANNOUNCE", b"SETUP", b"PLAY", b"PAUSE", b"TEARDOWN",
        b"GET_PARAMETER", b"SET_PARAMETER", b"REDIRECT", b"RECORD", b"FLUSH",
    }
)  # fmt: skip
"""Methods that leave HTTP, or are of the other protocols that the parser knows."""
FRAMING, FRAMING_TIMES = 512 * 1024, 8
"""Bytes of chunk sizes, extensions and trailers that a body may have: so many, and this multiple of itself
more. A chunk of one byte has five."""


ACCEPTED = 128
"""Most connections that are accepted in one turn of the loop."""
TOGETHER = 32 * 1024
"""Bytes of an answer that go out at once, however many the loop's turn brings."""
UNSENT = 128 * 1024
"""Bytes that the system takes for a client beyond what is on its way to it; without such a bound it takes
megabytes for one that does not read."""


class Unfit(Exception):
    """A request that is not served, and why. Raised within the parser, which wraps it."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.why, self.status = why, status


def protocol(everyone: Connections) -> type[asyncio.Protocol]:
    """What makes the protocols of a server whose connections are all in `everyone`."""
    return cast("type[asyncio.Protocol]", functools.partial(Protocol, everyone))


class Acceptor:
    """Accepts all that wait. The loop's own server accepts one connection a turn: where turns are long, and
    many connect, some wait for a minute."""

    def __init__(self, listener: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener.dup()  # the server's own is not to be watched by others
        self._factory = factory
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Accepts no more."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(ACCEPTED):
            try:
                plug, _address = self._listener.accept()
            except OSError:  # none waits, or it left again; the server tells of the others
                return
            plug.setblocking(False)
            task = self._loop.create_task(self._loop.connect_accepted_socket(self._factory, plug))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class Protocol(HttpToolsProtocol):
    """Offers the application the extension `aether.line`. Serves requests that have one reading alone; after
    any other the connection is closed."""

    left: Callable[[], None] | None = None
    cycle: RequestResponseCycle | None  # type: ignore[assignment]  # uvicorn sets None, and has no name for it

    def __init__(self, everyone: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._everyone = everyone
        self._limits = everyone.limits
        self._address: str | None = None
        """By which it is counted, where it is."""
        self._phase: int = IDLE
        self._since = self.loop.time()
        """When the phase began."""
        self._begun = self._served = False
        """Whether a request ever began to come, and whether one was taken."""
        self._deaf = False
        """Whether what still comes is thrown away."""
        self._refusal: tuple[int, str] | None = None
        """Told once the requests before it are answered."""
        self._read = self._head = self._taken = self._body = 0
        self._blocked_at = 0.0
        self._closing_at = 0.0

    # The connection

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if (plug := transport.get_extra_info("socket")) is not None:
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        address = self.client[0] if self.client else ""
        if self._everyone.enter(self, address, self.loop):
            self._address = address
        else:
            self._deaf = True
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells who wants to know."""
        super().connection_lost(exc)
        if self._address is not None:
            self._everyone.leave(self, self._address)
            self._address = None
        if self.left is not None:
            left, self.left = self.left, None
            left()

    def data_received(self, data: bytes) -> None:
        """Parses what came."""
        if self._deaf:
            return
        self._read = len(data)
        in_head = self._phase == HEAD
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            self._deaf = True  # nothing is upgraded: the request is answered as it stands, and none after it
        except HttpParserError as error:
            cause = error.__context__
            found = cause if isinstance(cause, Unfit) else Unfit("not well-formed")
            self._refuse(found.status, found.why)
            return
        if self._phase == HEAD:
            if in_head:
                self._head += len(data)
                if self._head > self._limits.head_bytes:
                    self._refuse(431, "head too large")
        elif self._phase == BODY:
            self._taken += len(data)
            if self._taken > FRAMING + FRAMING_TIMES * self._body:
                self._refuse(400, "more framing than body")

    def pause_writing(self) -> None:
        super().pause_writing()
        self._blocked_at = self.loop.time()

    def expire(self, now: float) -> None:
        """Ends what took too long; `now` is the loop's time."""
        limits, phase, age = self._limits, self._phase, now - self._since
        if self.transport.is_closing():
            # Closed, with data that the client does not take.
            self._closing_at = self._closing_at or now
            if now - self._closing_at > limits.stall_seconds:
                self.transport.abort()
        elif phase == IDLE:
            if age > (limits.idle_seconds if self._served else limits.head_seconds):
                self.transport.close()
        elif phase == HEAD:
            if age > limits.head_seconds:
                self._refuse(408, "head too slow")
        elif phase == BODY and self.flow.read_paused:
            self._since += SWEEP  # it waits for us
        elif phase == BODY:
            if age > min(limits.body_seconds, limits.body_grace + self._taken / limits.body_rate):
                self._refuse(408, "body too slow")
        elif phase == GONE and age > LINGER:
            self.transport.close()
        if self.flow.write_paused and now - self._blocked_at > limits.stall_seconds:
            self.transport.abort()

    # The parser

    def on_message_begin(self) -> None:
        if self._deaf:
            return
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._begun = True
        self._phase, self._since, self._head = HEAD, self.loop.time(), 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase != HEAD:
            return  # a trailer, which must not become a header
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Begins a request, or has it wait for those before it. Raises Unfit."""
        if self._deaf:
            return
        parser = self.parser
        method, version, upgrades = parser.get_method(), parser.get_http_version(), parser.should_upgrade()
        known = dict(self.headers)
        self._check(method, version, known, upgrades=upgrades)
        if b"expect" in known:
            self.expect_100_continue = any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers
            )
        url = parse_url(self.url)
        before: RequestResponseCycle | None = self.cycle
        keep_alive = (
            self._everyone.keep_alive and not upgrades and version == "1.1" and parser.should_keep_alive()
        )
        self._served = True
        self._phase, self._since = BODY, self.loop.time()
        self._taken = self._body = 0
        free = before is None or before.response_complete
        plain = (
            free
            and keep_alive
            and method != b"HEAD"
            and not (self.expect_100_continue or self.flow.write_paused)
        )
        if plain and self._turns_away(method, url):
            return
        path: str = url.path.decode("ascii")
        extensions: dict[str, _Exchange] = {}
        scope: Any = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "extensions": extensions,
        }
        self.cycle = extensions[LINE] = exchange = _Exchange(self, scope, keep_alive=keep_alive)
        if plain:
            super()._start_asgi_task(exchange, self.app)
        elif free:
            self._start_asgi_task(exchange, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _turns_away(self, method: bytes, url: URL) -> bool:
        """Whether a request is turned away, which has been told then: at the cost of no task and no
        exchange. What comes of its body is passed over."""
        refusal = turned_away_at_once(
            method.decode("ascii"),
            url.path.decode("ascii"),
            (url.query or b"").decode("latin-1"),
            self.headers,
            self.client[0] if self.client else "",
        )
        if refusal is None:
            return False
        status, text = refusal
        self.transport.write(STATUS_LINE[status] + _lines(self.server_state.default_headers) + text)
        self.server_state.total_requests += 1
        self.cycle = None
        return True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Unless it is turned away."""
        answer = turned_away(cast("dict[str, Any]", cycle.scope))
        super()._start_asgi_task(cycle, app if answer is None else answering(answer))

    def _check(self, method: bytes, version: str, known: dict[bytes, bytes], *, upgrades: bool) -> None:
        """Raises Unfit for what the parser lets pass and others might read differently."""
        headers, limits = self.headers, self._limits
        if len(headers) > limits.headers or (
            self._head + self._read > limits.head_bytes and self._size_of_head() > limits.head_bytes
        ):
            raise Unfit("head too large", 431)
        coding = known.get(b"transfer-encoding")
        if version not in {"1.1", "1.0"} or method in FOREIGN:
            raise Unfit("another protocol")
        if b"host" not in known and version == "1.1":
            raise Unfit("no host, or two")
        if len(known) != len(headers):
            names = [name for name, _ in headers]
            if names.count(b"host") > 1:
                raise Unfit("no host, or two")
            if names.count(b"transfer-encoding") > 1:
                raise Unfit("a transfer coding but chunked")
        if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):
            raise Unfit("a transfer coding but chunked")
        if upgrades and (coding is not None or b"content-length" in known):
            raise Unfit("a body that would be upgraded")  # the parser passes over it
        if b"#" in self.url:
            raise Unfit("a fragment")

    def _size_of_head(self) -> int:
        lines = sum(len(name) + len(value) + len(b": \r\n") for name, value in self.headers)
        return lines + len(self.url) + len(b"POST  HTTP/1.1\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        cycle = self.cycle
        self._body += len(body)
        if cycle is None or cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
            self._phase = BUSY
        else:
            self._phase, self._since = IDLE, self.loop.time()
        if cycle is not None and not cycle.keep_alive:
            self._deaf = True  # the last request of this connection

    # Answers

    def on_response_complete(self) -> None:
        """Goes on with the next request, or waits for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._refusal is not None:
            self._bow_out(*self._refusal)
        elif self._phase == BUSY:
            self._phase, self._since = IDLE, self.loop.time()
        elif self._phase == BODY and self.expect_100_continue and not self._body:
            self.transport.close()  # it may send its body or not: where the next request begins is unknown

    def _refuse(self, status: int, why: str) -> None:
        """Hears no more of the client, and tells it why once the requests that it sent whole are answered."""
        if self._deaf:
            return
        self._deaf = True
        self._everyone.refused[why] += 1
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._phase == BODY:
                self.transport.close()  # it was answered before its body was broken
            else:
                self._bow_out(status, why)
        elif self._phase != BODY:
            self._refusal = (status, why)
        else:  # this is the broken one
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
                self._refusal = (status, why)
            elif cycle.response_started:
                self.transport.close()  # in mid-answer there is no place for another
            else:
                self._bow_out(status, why)

    def _bow_out(self, status: int, why: str) -> None:
        """Tells the client, and closes once it has read that: were it closed at once, what is still on its
        way to us would take the answer from it."""
        path = self.url.partition(b"?")[0].decode("latin-1") if self._begun else ""
        answer = unfit(status, self.parser.get_method().decode("ascii"), path, why)
        headers = [*self.server_state.default_headers, *answer.headers, (b"connection", b"close")]
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], lines, answer.body))
        self.transport.write_eof()
        self._phase, self._since = GONE, self.loop.time()


class _Exchange(RequestResponseCycle):
    """One request and its answer, and its view of its connection. What one turn of the loop brings of a
    streamed answer goes out in one write: each costs as much as a quarter of all else."""

    def __init__(self, protocol: Protocol, scope: Any, *, keep_alive: bool) -> None:
        super().__init__(
            scope,
            protocol.transport,
            protocol.flow,
            protocol.logger,
            protocol.access_logger,
            protocol.access_log,
            protocol.server_state.default_headers,
            asyncio.Event(),
            protocol.expect_100_continue,
            keep_alive,
            protocol.on_response_complete,
        )
        self._protocol = protocol
        self._held: list[bytes] = []
        self._size = 0

    def cut(self) -> None:
        self.transport.abort()

    def watch(self, left: Callable[[], None] | None) -> None:
        self._protocol.left = left
        if left is not None:
            self.flow.resume_reading()  # or the end of the connection is not seen

    def body_here(self) -> bytes | None:
        if self.more_body or self.disconnected or self.response_complete:
            return None
        body = bytes(self.body)
        self.body = bytearray()
        return body

    def reply(self, status: int, headers: Headers, body: bytes | None) -> bool:
        """As `send` would, less its messages and its look at each byte of each header: these are ours."""
        waits = self.flow.write_paused or self.disconnected or self.response_started
        if waits or self.scope["method"] == "HEAD":
            return False
        head = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        if head.count(b"\n") != len(headers):
            raise ValueError("a header's value holds a line break")
        if not self.keep_alive:
            head += b"connection: close\r\n"
        self.response_started = True
        self.waiting_for_100_continue = False
        start = STATUS_LINE[status] + _lines(self.default_headers)
        if body is None:
            self.chunked_encoding = True
            self._hold(start, head, b"transfer-encoding: chunked\r\n\r\n")
        else:
            self.transport.write(b"%b%b\r\n%b" % (start, head, body))
            self._complete()
        return True

    def pour(self, piece: bytes) -> bool:
        if self.flow.write_paused or self.disconnected or not self.chunked_encoding:
            self._flush()
            return False
        self._hold(b"%x\r\n" % len(piece), piece, b"\r\n")
        self._size += len(piece)
        if self._size >= TOGETHER:
            self._flush()
        return True

    def end(self) -> bool:
        if self.flow.write_paused or self.disconnected or not self.chunked_encoding:
            self._flush()
            return False
        self._held.append(b"0\r\n\r\n")
        self._flush()
        self._complete()
        return True

    def _hold(self, *parts: bytes) -> None:
        if not self._held:
            self._protocol.loop.call_soon(self._flush)
        self._held += parts

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            self._size = 0
            if not self.disconnected:  # since it was poured
                self.transport.write(data)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


_known: tuple[Headers, bytes] = ((), b"")


def _lines(headers: Headers) -> bytes:
    """Header lines of uvicorn's own, a list that it makes anew each second."""
    global _known  # noqa: PLW0603 - one server in a process
    known, lines = _known
    if known is not headers:
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        _known = (headers, lines)
    return lines
