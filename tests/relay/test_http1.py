"""The data plane's HTTP client (relay/http1.py, relay/upstream.py): answers cut at every byte, connections
kept or not, what stays behind of a request that is stopped."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from providers import dialer
from relay import http1
from relay.errors import UpstreamFailure
from relay.http1 import Connection, Origin, Pool, parse_url
from relay.payload import CHUNK, Sendable
from relay.upstream import Opened, Outgoing, Upstream
from tests.providers.listener import Listener, certificate, listening
from tests.providers.test_dialer import Names
from tests.relay.targets import target

ORIGIN = Origin(False, "vendor.test", 80, "")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LATER = time.monotonic() + 3600


class Wire(asyncio.Transport):
    """A transport that leads nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


@pytest.fixture
async def pool() -> Pool:
    return Pool(dialer.Dialer(allow_private=True), tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def connected(pool: Pool) -> tuple[Connection, Wire]:
    """A connection that was sent a request."""
    connection, wire = Connection(pool, ORIGIN), Wire()
    connection.connection_made(wire)
    connection.begin(b"GET / HTTP/1.1\r\n\r\n", whole=True)
    return connection, wire


def answered(pool: Pool, *pieces: bytes) -> tuple[Connection, Wire]:
    """A connection that received these pieces."""
    connection, wire = connected(pool)
    for piece in pieces:
        connection.data_received(piece)
    return connection, wire


def reason(connection: Connection) -> str:
    """Why an answer is none; empty where it is one."""
    return connection.failure.reason if connection.failure else ""


# Answers, cut at every byte

WHOLE = {
    "by length": (OK + b"Content-Type: a/b\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "empty": (OK + b"content-length: 0\r\n\r\n", b""),
    "in chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello"),
    "in chunks with extensions": (CHUNKED + b'5;a=b;c="d"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    "in chunks with blanks behind their sizes": (CHUNKED + b"5  \r\nhello\r\n0  \r\n\r\n", b"hello"),
    "with trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nretry-after: 9\r\nx: y\r\n\r\n", b"hello"),
    "after interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n"
        + OK
        + b"content-length: 5\r\n\r\nhello",
        b"hello",
    ),
    "with bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", b"hello"),
    "behind blank lines": (b"\r\n\r\n" + OK + b"content-length: 5\r\n\r\nhello", b"hello"),
    "kept by an old server": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 5\r\n\r\nhello", b"hello",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", b""),
    "304": (b"HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", b""),
}  # fmt: skip
LAST = {
    "told to close": (OK + b"Connection: close\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    "of an old server": (b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
}


def cuts(raw: bytes) -> Iterator[list[bytes]]:
    """A whole in one piece, in two at every place, and byte by byte."""
    yield [raw]
    yield from ([raw[:place], raw[place:]] for place in range(1, len(raw)))
    yield [raw[place : place + 1] for place in range(len(raw))]


@pytest.mark.parametrize("name", WHOLE)
async def test_an_answer_is_the_same_wherever_it_is_cut_and_its_connection_is_kept(
    name: str, pool: Pool
) -> None:
    raw, body = WHOLE[name]
    for pieces in cuts(raw):
        connection, wire = answered(pool, *pieces)
        assert (connection.over, connection.failure) == (True, None), pieces
        assert await connection.read(LATER) == body
        assert b"retry-after" not in connection.headers
        connection.release()
        assert not wire.closed
        assert pool.waiting(ORIGIN) is connection


@pytest.mark.parametrize("name", LAST)
async def test_an_answer_that_is_the_last_of_its_connection_closes_it(name: str, pool: Pool) -> None:
    raw, body = LAST[name]
    for pieces in cuts(raw):
        connection, wire = answered(pool, *pieces)
        assert (connection.over, connection.failure, await connection.read(LATER)) == (True, None, body)
        connection.release()
        assert wire.closed
        assert pool.waiting(ORIGIN) is None


async def test_an_answer_without_a_length_ends_with_its_connection(pool: Pool) -> None:
    for pieces in cuts(OK + b"content-type: a/b\r\n\r\nhello"):
        connection, wire = answered(pool, *pieces)
        assert not connection.over
        connection.eof_received()
        assert (connection.over, connection.failure, await connection.read(LATER)) == (True, None, b"hello")
        assert wire.closed


async def test_names_of_headers_are_told_in_lower_case_and_the_first_of_two_counts(pool: Pool) -> None:
    connection, _ = answered(pool, OK + b"X-A: 1\r\nX-A: 2\r\nX-B:  3 \r\ncontent-length: 0\r\n\r\n")
    assert connection.headers == {b"x-a": b"1", b"x-b": b"3", b"content-length": b"0"}


async def test_the_answer_to_head_is_its_head_and_the_last_of_its_connection(pool: Pool) -> None:
    for body in (b"", b"hello"):
        connection, wire = connected(pool)
        connection.begin(b"HEAD / HTTP/1.1\r\n\r\n", whole=True, bodyless=True)
        connection.data_received(OK + b"content-length: 5\r\n\r\n" + body)
        assert (connection.status, connection.over, connection.failure) == (200, True, None)
        assert await connection.read(LATER) == b""
        connection.release()
        assert wire.closed


async def test_one_connection_carries_many_answers(pool: Pool) -> None:
    connection, wire = connected(pool)
    for raw, body in WHOLE.values():
        connection.begin(b"GET / HTTP/1.1\r\n\r\n", whole=True)
        connection.data_received(raw)
        assert (connection.over, connection.failure, await connection.read(LATER)) == (True, None, body)
        connection.release()
        assert pool.waiting(ORIGIN) is connection
    assert not wire.closed


@pytest.mark.parametrize("waits", [False, True], ids=["unread", "while a read is stopped"])
async def test_nothing_of_an_answer_that_was_not_read_is_in_the_next(waits: bool, pool: Pool) -> None:
    large = b"x" * (http1.HIGH_WATER + 1)
    for body in (b"secret", large):
        connection, wire = connected(pool)
        reading = asyncio.create_task(connection.read(LATER)) if waits else None
        await asyncio.sleep(0)
        connection.data_received(OK + b"content-length: %d\r\n\r\n" % len(body) + body)
        if reading is not None:
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        connection.release()
        assert pool.waiting(ORIGIN) is connection
        assert not wire.paused
        connection.begin(b"GET / HTTP/1.1\r\n\r\n", whole=True)
        connection.data_received(OK + b"content-length: 4\r\n\r\nnext")
        assert (connection.whole, await connection.read(LATER), connection.whole) == (False, b"next", True)


# Answers that are none

NO_ANSWERS = {
    "garbage": b"SSH-2.0-OpenSSH_9.2\r\n",
    "status 99": b"HTTP/1.1 099 Low\r\n\r\n",
    "status 0": b"HTTP/1.1 000 Nothing\r\n\r\n",
    "101": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nxyz",
    "101 without a word": b"HTTP/1.1 101 Switching\r\n\r\nxyz",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "a length below nothing": OK + b"content-length: -1\r\n\r\n",
    "a length beyond all": OK + b"content-length: 99999999999999999999999\r\n\r\n",
    "a folded line": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "a blank before the colon": OK + b"a : b\r\ncontent-length: 0\r\n\r\n",
    "NUL": OK + b"a: b\x00c\r\ncontent-length: 0\r\n\r\n",
    "a lone carriage return": OK + b"a: b\rc\r\ncontent-length: 0\r\n\r\n",
    "a line too many": OK + b"a:\r\n" * 513 + b"\r\n",
    "a line too long": OK + b"a: %b\r\n\r\n" % (b"x" * 8190),
    "a head too large": OK + b"a: %b\r\n" % (b"x" * 8000) * 9 + b"\r\n",
    "a head too large behind interim ones": b"HTTP/1.1 100 Continue\r\n\r\n" * 3000 + OK + b"\r\n",
    "interim ones without end": b"HTTP/1.1 102 Processing\r\n\r\n" * 3000,
    "a head too large behind blank lines": b"\r\n" * 40_000 + OK + b"content-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_what_is_no_answer_is_refused_and_closes_the_connection(name: str, pool: Pool) -> None:
    raw = NO_ANSWERS[name]
    for size in (len(raw), 1000, 1) if len(raw) < 5000 else (len(raw), 1000):
        connection, wire = connected(pool)
        for place in range(0, len(raw), size):
            if not wire.closed:
                connection.data_received(raw[place : place + size])
        assert reason(connection) == "bad_frame", size
        assert (connection.status, connection.over, wire.closed) == (0, True, True)


async def test_a_head_at_its_bounds_is_taken(pool: Pool) -> None:
    lines = b"content-length: 5\r\n" + b"".join(b"a%d:\r\n" % number for number in range(511))
    long = b"a: %b\r\n" % (b"x" * 8180) + b"content-length: 5\r\n"
    for head in (OK + lines + b"\r\n", OK + long + b"\r\n", b"HTTP/1.1 100 C\r\n\r\n" + OK + lines + b"\r\n"):
        for pieces in ([head + b"hello"], [head, b"hello"], [head[:3000], head[3000:] + b"hello"]):
            connection, _ = answered(pool, *pieces)
            assert (connection.failure, await connection.read(LATER)) == (None, b"hello")


async def test_a_large_body_in_the_first_read_is_not_taken_for_a_head(pool: Pool) -> None:
    body = (b"x" * 20_000 + b"\n") * 5
    connection, _ = answered(pool, OK + b"content-length: %d\r\n\r\n" % len(body) + body)
    read = b"".join([await connection.read(LATER) for _ in range(4)])
    assert (connection.failure, read) == (None, body)


BROKEN = {
    "by length": OK + b"content-length: 9\r\n\r\nhello",
    "in chunks": CHUNKED + b"5\r\nhello\r\n",
    "in a chunk": CHUNKED + b"9\r\nhello",
    "by an encoding that we do not know": OK + b"transfer-encoding: gzip\r\n\r\nhello",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_of_an_answer_that_breaks_off_what_came_is_there_and_then_the_failure(
    name: str, pool: Pool
) -> None:
    for error in (None, ConnectionResetError(104, "reset")):
        connection, _ = answered(pool, BROKEN[name])
        opened = Opened(connection)
        connection.connection_lost(error)
        assert await opened.read(LATER) == b"hello"
        for _ in range(2):
            with pytest.raises(UpstreamFailure) as failure:
                await opened.read(LATER)
            assert (failure.value.reason, failure.value.phase) == ("truncated", "stream")
        assert reason(connection) == "truncated"
        opened.close()
        assert pool.waiting(ORIGIN) is None


async def test_chunks_that_make_no_sense_break_an_answer_off(pool: Pool) -> None:
    for rest in (b"zz\r\n", b"5\r\nhelloX", b"-1\r\n", b"ffffffffffffffffff\r\n"):
        connection, wire = answered(pool, CHUNKED + b"2\r\nab\r\n", rest)
        assert reason(connection) == "truncated"
        assert wire.closed
        assert (await connection.read(LATER)).startswith(b"ab")


async def test_trailers_without_end_break_an_answer_off(pool: Pool) -> None:
    connection, wire = answered(pool, CHUNKED + b"2\r\nab\r\n0\r\n")
    await connection.read(LATER)
    for number in range(100):
        connection.news(LATER)
        if not wire.closed:
            connection.data_received(b"a%d: %b\r\n" % (number, b"x" * 8000))
    assert reason(connection) == "truncated"


# What nobody asked for


@pytest.mark.parametrize("extra", [b"H", b"x", b"0\r\n\r\n", OK, OK + b"retry-after: 9\r\n\r\nevil"])
async def test_what_follows_an_answer_is_dropped_with_its_connection(extra: bytes, pool: Pool) -> None:
    raw = OK + b"content-length: 5\r\n\r\nhello"
    for pieces in cuts(raw + extra):
        connection, wire = connected(pool)
        for piece in pieces:
            connection.data_received(piece)
        connection.release()
        assert (connection.status, connection.failure) == (200, None)
        assert b"retry-after" not in connection.headers
        assert await connection.read(LATER) in (b"hello", b"")
        assert wire.closed
        assert pool.waiting(ORIGIN) is None


async def test_a_kept_connection_on_which_anything_happens_is_dropped(pool: Pool) -> None:
    happenings: tuple[Callable[[Connection], None], ...] = (
        lambda each: each.data_received(b"\r\n"),
        lambda each: each.eof_received(),
        lambda each: each.connection_lost(None),
        lambda each: each.connection_lost(ConnectionResetError()),
    )
    for happen in happenings:
        connection, _ = answered(pool, OK + b"content-length: 0\r\n\r\n")
        connection.release()
        assert pool.idle == 1
        happen(connection)
        assert pool.idle == 0
        assert pool.waiting(ORIGIN) is None


# The pool


async def test_the_connection_that_was_used_last_is_used_next(pool: Pool) -> None:
    one, two = (answered(pool, OK + b"content-length: 0\r\n\r\n")[0] for _ in range(2))
    one.release()
    two.release()
    assert [pool.waiting(ORIGIN), pool.waiting(ORIGIN), pool.waiting(ORIGIN)] == [two, one, None]


async def test_no_connection_is_used_for_another_place_or_proxy(pool: Pool) -> None:
    connection, _ = answered(pool, OK + b"content-length: 0\r\n\r\n")
    connection.release()
    for other in (
        ORIGIN._replace(tls=True),
        ORIGIN._replace(host="other.test"),
        ORIGIN._replace(port=81),
        ORIGIN._replace(proxy="http://proxy.test"),
    ):
        assert pool.waiting(other) is None


async def test_a_connection_that_waited_for_too_long_is_not_used(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(http1, "monotonic", lambda: now)
    connection, wire = answered(pool, OK + b"content-length: 0\r\n\r\n")
    connection.release()
    now += http1.KEEP_ALIVE
    assert pool.waiting(ORIGIN) is None
    assert wire.closed


async def test_connections_that_nobody_uses_are_closed_in_time(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "KEEP_ALIVE", 0.01)
    wires = []
    for _ in range(3):
        connection, wire = answered(pool, OK + b"content-length: 0\r\n\r\n")
        connection.release()
        wires.append(wire)
    await until(lambda: all(wire.closed for wire in wires))
    assert pool.idle == 0


async def test_beyond_the_bound_a_connection_is_closed_instead(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "IDLE_CONNECTIONS", 2)
    made = [answered(pool, OK + b"content-length: 0\r\n\r\n") for _ in range(3)]
    for connection, _ in made:
        connection.release()
    assert [wire.closed for _, wire in made] == [False, False, True]
    assert pool.idle == 2


async def test_a_connection_is_not_kept_before_its_request_and_its_answer_are_over(pool: Pool) -> None:
    half, _ = answered(pool, OK + b"content-length: 5\r\n\r\nhe")
    half.release()
    unsent, wire = connected(pool)
    unsent.begin(b"POST / HTTP/1.1\r\n", whole=False)
    unsent.data_received(OK + b"content-length: 0\r\n\r\n")
    unsent.release()
    assert wire.closed
    assert pool.idle == 0


async def test_what_is_known_of_addresses_is_bounded(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "PLACES", 3)
    for number in range(10):
        assert (
            pool.place("GET", f"http://a/{number}", "").start == b"GET /%d HTTP/1.1\r\nhost: a\r\n" % number
        )
        assert len(pool._places) <= 3
    pool.place("GET", f"http://a/{'x' * http1.LONG}", "")
    assert max(len(url) for _, url, _ in pool._places) < http1.LONG


# Addresses


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://a", (False, "a", 80, "/")),
        ("https://A.test/v1?x=1&y", (True, "a.test", 443, "/v1?x=1&y")),
        ("HTTP://a:8080/x", (False, "a", 8080, "/x")),
        ("http://a?x", (False, "a", 80, "/?x")),
        ("http://[::1]:8080/x", (False, "::1", 8080, "/x")),
        ("http://bücher.test/é", (False, "xn--bcher-kva.test", 80, "/é")),
        ("http://127。0。0。1/", (False, "127.0.0.1", 80, "/")),
    ],
)
def test_an_address_is_taken_apart(url: str, told: tuple[bool, str, int, str]) -> None:
    assert parse_url(url) == told


@pytest.mark.parametrize(
    "url",
    [
        "", "a", "ftp://a/", "http://", "http:///x", "http://a:0/", "http://a:65536/", "http://a:x/",
        "http://a b/",
        "http://user@a/", "http://a\\@b/", "http://a#b", "http://a/#b", "http://a/x y", "http://a/\r\nx: y",
        "http://a\n/", "http://a%00/", "http://[fe80::1%1]/", "http://[::1/", "http://::1/", "http://a/\x7f",
        "http://a/?x\x00", "http://a,b/", "http://\N{OK HAND SIGN}/",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^"):
        parse_url(url)


def test_host_names_the_port_only_where_it_is_an_unusual_one() -> None:
    assert [Origin(tls, host, port, "").authority for tls, host, port in (
        (False, "a", 80), (True, "a", 443), (False, "a", 443), (True, "::1", 80),
    )] == ["a", "a", "a:443", "[::1]:80"]  # fmt: skip


# Waiting


async def test_an_answer_that_nobody_takes_holds_upstream_up(pool: Pool) -> None:
    connection, wire = answered(pool, OK + b"content-length: 9999999\r\n\r\n")
    opened = Opened(connection)
    paused = []
    for _ in range(http1.HIGH_WATER // CHUNK):
        paused.append(wire.paused)
        connection.data_received(b"x" * CHUNK)
    assert [*paused, wire.paused] == [False] * len(paused) + [True]
    for _ in range(http1.HIGH_WATER // http1.TAKEN):
        assert wire.paused is True
        assert len(await opened.read(LATER)) == http1.TAKEN
    assert wire.paused is False
    assert opened.bytes_received == http1.HIGH_WATER


async def test_a_read_that_waits_is_woken_by_bytes_the_end_or_the_failure(pool: Pool) -> None:
    for news, told in ((b"2\r\nab\r\n", b"ab"), (b"0\r\n\r\n", b"")):
        connection, _ = answered(pool, CHUNKED)
        reading = asyncio.create_task(Opened(connection).read(LATER))
        await asyncio.sleep(0)
        for place in range(len(news)):
            connection.data_received(news[place : place + 1])
            await asyncio.sleep(0)
        assert await reading == (told and b"a")
    connection, _ = answered(pool, CHUNKED)
    reading = asyncio.create_task(Opened(connection).read(LATER))
    await asyncio.sleep(0)
    connection.connection_lost(None)
    with pytest.raises(UpstreamFailure):
        await reading


async def test_a_wait_ends_at_its_time_and_when_it_is_told_to(pool: Pool) -> None:
    connection, _ = answered(pool, CHUNKED)
    assert not connection.ring()
    for due in (LATER, time.monotonic() + 0.01, time.monotonic() - 1):  # each sooner than the one before
        reading = asyncio.create_task(connection.read(due))
        await asyncio.sleep(0)
        assert due != LATER or connection.ring()
        with pytest.raises(TimeoutError):
            await reading
    connection.data_received(b"2\r\nab\r\n")
    assert await connection.read(time.monotonic() - 1) == b"ab"
    connection.connection_lost(None)


async def test_a_body_goes_out_as_fast_as_it_is_taken(pool: Pool) -> None:
    connection, wire = connected(pool)
    connection.begin(b"", whole=False)
    wire.sent = b""
    connection.pause_writing()
    sending = asyncio.create_task(connection.send(iter([b"a", b"b"]), LATER))
    await asyncio.sleep(0.01)
    assert wire.sent == b""
    connection.resume_writing()
    assert await sending
    assert wire.sent == b"ab"


@pytest.mark.parametrize("held_up", [False, True])
async def test_a_body_goes_out_no_further_once_the_answer_is_here(held_up: bool, pool: Pool) -> None:
    happenings: tuple[Callable[[Connection], None], ...] = (
        lambda each: each.data_received(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"),
        lambda each: each.connection_lost(ConnectionResetError()),
    )
    for happen in happenings:
        connection, wire = connected(pool)
        connection.begin(b"", whole=False)
        wire.sent = b""
        if held_up:
            connection.pause_writing()
        sending = asyncio.create_task(connection.send(iter([b"a"] * 100), LATER))
        await asyncio.sleep(0)
        happen(connection)
        assert not await sending
        assert len(wire.sent) <= 1
        connection.release()
        assert wire.closed


# Over sockets: what is sent, what fails, what it leaves behind

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Vendor:
    """Counts the connections of a vendor, and keeps what `serve` read of them."""

    def __init__(self, serve: Serve) -> None:
        self.serve = serve
        self.open = self.seen = 0
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.seen += 1
        try:
            await self.serve(reader, writer)
            while await reader.read(1 << 20):
                pass
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[Vendor]:
    vendor = Vendor(serve)
    server = await asyncio.start_server(vendor, "127.0.0.1", 0, ssl=tls)
    vendor.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield vendor
        await until(lambda: not vendor.open)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():
            await asyncio.sleep(0.001)


def outgoing(
    url: str,
    data: bytes | Iterator[bytes] = b"{}",
    size: int = 0,
    *,
    seconds: float = 5.0,
    sent: list[int] | None = None,
) -> Outgoing:
    """A request to `url`; `sent` gets an item when all has left."""
    body = Sendable(data, len(data) if isinstance(data, bytes) else size)
    told = sent if sent is not None else []
    return Outgoing("POST", f"{url}/v1/x", b"x-a: b\r\n", body, seconds, seconds, partial(told.append, 1))


async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says nothing."""


def says(*answers: bytes) -> Serve:
    """Answers each head that comes with the next of `answers`, whatever the body; the last one closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await writer.drain()
        writer.close()

    return serve


async def failing(url: str, *, proxy: str = "", seconds: float = 5.0) -> UpstreamFailure:
    """What becomes of a request that must fail; nothing of it stays behind."""
    async with Upstream() as upstream:
        place, request = target(allow_private=True, proxy=proxy), outgoing(url, seconds=seconds)
        with pytest.raises(UpstreamFailure) as failure:
            await upstream.open(place, request)
        await until(lambda: upstream.connections == (0, 0))
    assert "127.0.0.1" not in failure.value.text
    assert "vendor.test" not in failure.value.text
    return failure.value


async def test_a_request_leaves_in_one_piece_and_byte_for_byte() -> None:
    seen = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(1 << 20))
        writer.write(OK + b"x-request-id: r1\r\ncontent-length: 2\r\n\r\nok")
        await writer.drain()

    sent: list[int] = []
    async with serving(serve) as vendor, Upstream() as upstream:
        opened = await upstream.open(target(allow_private=True), outgoing(vendor.url, sent=sent))
        assert (opened.status, opened.request_id, await opened.read_all(10, LATER)) == (200, "r1", b"ok")
        opened.close()
        opened.close()
        assert upstream.connections == (0, 1)
        assert await opened.read(LATER) == b""
    host = vendor.url.removeprefix("http://").encode()
    assert seen == [b"POST /v1/x HTTP/1.1\r\nhost: %b\r\nx-a: b\r\ncontent-length: 2\r\n\r\n{}" % host]
    assert sent == [1]


@pytest.mark.parametrize("size", [CHUNK, CHUNK + 1, 3_000_000])
@pytest.mark.parametrize("pieces", [False, True], ids=["bytes", "pieces"])
async def test_a_body_of_any_size_arrives_and_its_connection_is_kept(size: int, pieces: bool) -> None:
    seen = []
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            seen.append(await reader.readexactly(size))
            writer.write(OK + b"content-length: 0\r\n\r\n")

    sent: list[int] = []
    async with serving(serve) as vendor, Upstream() as upstream:
        for _ in range(2):
            data = iter([body[:10], body[10:]]) if pieces else body
            request = outgoing(vendor.url, data, size, sent=sent)
            opened = await upstream.open(target(allow_private=True), request)
            assert await opened.read(LATER) == b""
            opened.close()
        assert (vendor.seen, upstream.connections) == (1, (0, 1))
    assert seen == [body, body]
    assert sent == [1, 1]


async def test_an_answer_before_the_end_of_the_body_counts_and_closes_the_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await writer.drain()

    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * CHUNK

    sent: list[int] = []
    async with serving(serve) as vendor, Upstream() as upstream:
        request = outgoing(vendor.url, endless(), 1 << 40, sent=sent)
        opened = await upstream.open(target(allow_private=True), request)
        assert (opened.status, await opened.read_all(10, LATER)) == (413, b"no")
        opened.close()
        await until(lambda: upstream.connections == (0, 0))
    assert sent == []


async def test_each_failure_of_the_way_has_its_reason_its_phase_and_the_systems_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused = await failing(nobody)
    assert (refused.reason, refused.phase) == ("connect", "connect")
    assert refused.text == "ConnectionRefusedError: Connection refused"
    monkeypatch.setattr(dialer, "Dialer", partial(dialer.Dialer, lookup=Names([]).later))
    unknown = await failing("http://vendor.test")
    assert (unknown.reason, unknown.phase, unknown.text) == ("dns", "connect", "gaierror: no such name")
    strange = await failing("http://vendor test")
    assert (strange.reason, strange.phase) == ("connect", "connect")
    server, _ = certificate(tmp_path, "127.0.0.1")
    async with serving(mute, server) as vendor:
        untrusted = await failing(vendor.url)
    assert (untrusted.reason, untrusted.phase) == ("tls", "connect")
    assert untrusted.text == "SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED"
    async with serving(says(b"")) as vendor:
        lost = await failing(vendor.url)
    assert (lost.reason, lost.phase, lost.text) == ("reset", "headers", "EOFError: the connection was closed")
    async with serving(says(b"SSH-2.0-x\r\n")) as vendor:
        other = await failing(vendor.url)
    assert (other.reason, other.phase) == ("bad_frame", "headers")
    async with serving(mute) as vendor:
        silent = await failing(vendor.url, seconds=0.05)
        assert (silent.reason, silent.phase) == ("first_byte_timeout", "headers")
        unanswered = await failing(vendor.url.replace("http:", "https:"), seconds=0.05)
        assert (unanswered.reason, unanswered.phase) == ("connect_timeout", "connect")
        closed = await failing("http://vendor.test", proxy=vendor.url, seconds=0.05)
        assert closed.reason == "first_byte_timeout"
        deaf = await failing("https://vendor.test", proxy=vendor.url, seconds=0.05)
        assert (deaf.reason, deaf.phase) == ("connect_timeout", "connect")
    async with serving(says(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n")) as vendor:
        asked = await failing("https://vendor.test", proxy=vendor.url)
    assert (asked.reason, asked.phase) == ("connect", "connect")
    assert asked.text == "the proxy answered 407"


async def test_a_body_that_upstream_does_not_take_in_time_is_a_time_out() -> None:
    blocked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await blocked.wait()

    async with serving(serve) as vendor, Upstream() as upstream:
        request = outgoing(vendor.url, b"x" * 50_000_000, seconds=0.05)
        with pytest.raises(UpstreamFailure) as failure:
            await upstream.open(target(allow_private=True), request)
        blocked.set()
        await until(lambda: upstream.connections == (0, 0))
    assert failure.value.reason == "first_byte_timeout"


@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
async def test_a_vendor_that_hangs_up_at_once_leaves_nothing_behind(
    hard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if hard:
            writer.transport.abort()
        writer.close()

    server, client = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setattr("relay.upstream._tls", lambda: client)
    for tls in (None, server):
        async with serving(hang_up, tls) as vendor:
            for _ in range(5):
                failure = await failing(vendor.url)
                assert failure.reason in ("connect", "reset")


# Stopped at any moment


async def stopped(
    upstream: Upstream, url: str, moment: Callable[[], object], data: bytes = b"{}", *, proxy: str = ""
) -> None:
    """Asks, waits for the moment, stops, and waits until nothing is left of it."""

    async def ask() -> None:
        opened = await upstream.open(target(allow_private=True, proxy=proxy), outgoing(url, data))
        try:
            while await opened.read(LATER):
                pass
        finally:
            opened.close()

    asking = asyncio.create_task(ask())
    await until(moment)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: upstream.connections == (0, 0))


async def test_a_request_that_is_stopped_at_any_await_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads, blocked = 0, asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"2\r\nab\r\n")
        heads += 1

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await blocked.wait()

    async with Upstream() as upstream:
        async with serving(mute) as vendor:
            await stopped(upstream, vendor.url, lambda: vendor.open)  # waits for the head
            await until(lambda: not vendor.open)
            await stopped(upstream, vendor.url.replace("http:", "https:"), lambda: vendor.open)  # for TLS
            await until(lambda: not vendor.open)
            await stopped(upstream, "https://a.test", lambda: vendor.open, proxy=vendor.url)  # for the proxy
        async with serving(begin) as vendor:
            await stopped(upstream, vendor.url, lambda: heads)  # for more of the body
        async with serving(deaf) as vendor:
            await stopped(upstream, vendor.url, lambda: vendor.open, b"x" * 50_000_000)  # for room to write
            blocked.set()
    asked: list[str] = []

    async def lookup(host: str, port: int, family: int) -> list[dialer.AddressInfo]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(dialer, "Dialer", partial(dialer.Dialer, lookup=lookup))
    async with Upstream() as upstream:
        await stopped(upstream, "http://vendor.test", lambda: asked)  # for the name
    with socket.socket() as full:  # for the connection: nobody accepts, and the queue is full
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        made: list[socket.socket] = []
        monkeypatch.undo()
        monkeypatch.setattr(socket, "socket", partial(noted, made, socket.socket))
        async with Upstream() as upstream:
            await stopped(upstream, f"http://127.0.0.1:{port}", lambda: made)
        assert [each.fileno() for each in made] == [-1]
        for each in waiting:
            each.close()


def noted(made: list[socket.socket], kind: type[socket.socket], *args: int) -> socket.socket:
    made.append(kind(*args))
    return made[-1]


async def test_a_vendor_behind_tls_is_asked_by_its_name_over_a_connection_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certificate(tmp_path, "vendor.test")
    monkeypatch.setattr("relay.upstream._tls", lambda: client)
    monkeypatch.setattr(dialer, "Dialer", partial(dialer.Dialer, lookup=Names(["127.0.0.1"]).later))
    listener = Listener()
    listener.answer = lambda path: (200, {"connection": "keep-alive"}, b"{}")
    with listening(listener, tls=server):
        async with Upstream() as upstream:
            for _ in range(2):
                request = Outgoing(
                    "GET", f"https://vendor.test:{listener.port}/x", b"", None, 5.0, 5.0, lambda: None
                )
                opened = await upstream.open(target(allow_private=True), request)
                assert await opened.read_all(10, LATER) == b"{}"
                opened.close()
            assert upstream.connections == (0, 1)
    assert listener.names == ["vendor.test"]
    assert listener.lines == ["GET /x HTTP/1.1"] * 2


async def test_a_connection_that_ends_before_an_answer_says_why(pool: Pool) -> None:
    for error, told in (
        (None, "EOFError: the connection was closed"),
        (ConnectionResetError(104, "reset"), "ConnectionResetError: Connection reset by peer"),
    ):
        connection, _ = answered(pool, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20")
        connection.connection_lost(error)
        assert connection.failure is not None
        assert (reason(connection), connection.failure.phase) == ("reset", "headers")
        assert connection.failure.text == told
