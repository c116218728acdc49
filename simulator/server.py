"""The simulator on a socket of its own: HTTP/1.1 by hand, so that it can break every rule of it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl as tls
import struct
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Self, cast

import httptools

from simulator import routes
from simulator.core import Raw, Seen, Vendor
from simulator.play import Act, Headers, Play, Step

STALL_SECONDS = 600.0
_FLUSH_AT = 65536
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Overloaded"}


class Simulator:
    """A vendor listening on a port. `pace`: milliseconds between frames for model names without options.

    `script`, `requests`, `total`, `wait_for`, `hurry` and `reset` are those of its `vendor`.
    """

    def __init__(self, *, pace: int = 0, vendor: Vendor | None = None) -> None:
        self.vendor = vendor or Vendor(pace=pace)
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._scheme = "http"
        self.host, self.port = "", 0

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, *, ssl: tls.SSLContext | None = None
    ) -> Self:
        """Listen; port 0 takes a free one. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), host, port, ssl=ssl, backlog=4096)
        self._scheme = "https" if ssl else "http"
        self.host, self.port = host, self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and drop every connection; nothing is left running."""
        if self._server is not None:
            self._server.close()
        playing = []
        for connection in list(self.connections):
            playing.append(connection.task)
            connection.drop()
        await asyncio.gather(*(task for task in playing if task), return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self if self._server else await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """Where it listens, without a path: `http://127.0.0.1:1234`."""
        return f"{self._scheme}://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    @property
    def requests(self) -> deque[Seen]:
        return self.vendor.requests

    @property
    def total(self) -> int:
        return self.vendor.total

    def script(
        self,
        plays: Sequence[str | Raw] | str = (),
        *,
        secret: str = "",
        raw: Iterable[bytes] | None = None,
        body: Iterable[bytes] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        pause: float = 0.001,
        then: str = "close",
    ) -> None:
        """See Vendor.script."""
        self.vendor.script(
            plays, secret=secret, raw=raw, body=body, status=status, headers=headers, pause=pause, then=then
        )

    def reset(self) -> None:
        """Forget scripts, requests and stored responses; connections stay."""
        self.vendor.reset()

    def hurry(self) -> None:
        """See Vendor.hurry."""
        self.vendor.hurry()

    async def wait_for(self, count: int, within: float = 10) -> Seen:
        """See Vendor.wait_for."""
        return await self.vendor.wait_for(count, within)


def head_of(play: Play, *, keep: bool) -> bytes:
    """The status line and the headers, with the framing that the play wants."""
    lines = [f"HTTP/1.1 {play.status} {_REASONS.get(play.status, '')}".rstrip()]
    lines += [f"{name}: {value}" for name, value in play.headers]
    if play.length is not None:
        lines.append(f"content-length: {play.length}")
    elif not play.until_close and not _bodiless(play):
        lines.append("transfer-encoding: chunked")
    if not keep:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _bodiless(play: Play) -> bool:
    return play.status in (204, 304)


def _chunked(play: Play) -> bool:
    return play.length is None and not play.until_close and not play.raw and not _bodiless(play)


class Connection(asyncio.Protocol):
    """One client's connection: requests are parsed as they come and played one after another."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._vendor = simulator.vendor
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[tuple[Seen, bytes, bool]] = deque()
        self.task: asyncio.Task[None] | None = None
        self._seen: Seen | None = None
        self._open: list[Seen] = []
        self._target = b""
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._deaf = False

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_FLUSH_AT * 4)
        self._simulator.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._simulator.connections.discard(self)
        self._writable.set()
        if self.task is not None:
            self.task.cancel()
        for seen in self._open:
            seen.end(left=True)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse()
        except httptools.HttpParserError:
            self._refuse()

    def _refuse(self) -> None:
        if not self._deaf:
            self._deaf = True
            self._transport.write(
                b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            )
            self._transport.close()

    # what the parser calls

    def on_message_begin(self) -> None:
        self._target, self._headers, self._body = b"", [], []

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        method = self._parser.get_method().decode()
        self._seen = self._vendor.begin(method, self._target.decode("latin-1"), self._headers)
        self._open.append(self._seen)
        if (self._seen.header("expect") or "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._early(b"")

    def on_body(self, piece: bytes) -> None:
        if not self._body:
            self._early(piece)
        self._body.append(piece)

    def on_message_complete(self) -> None:
        if self._deaf or self._seen is None:
            return
        self._waiting.append((self._seen, b"".join(self._body), self._parser.should_keep_alive()))
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._serve())

    def _early(self, piece: bytes) -> None:
        """Faults of the body's reading, played as soon as they are known."""
        if self._deaf or self._seen is None or self._seen.method != "POST":
            return
        match self._vendor.early(self._seen, piece):
            case "body-reset":
                self._deaf = True
                self._reset()
            case "body-refuse":
                self._deaf = True
                self._transport.pause_reading()
            case "body-early":
                self._deaf = True
                self._transport.pause_reading()
                play = routes.refusal("413", routes.dialect_of(self._seen))
                body = b"".join(step for step in play.steps if isinstance(step, bytes))
                self._transport.write(head_of(play, keep=False) + body)
                self._seen.end(left=False)
                self._transport.close()
            case _:
                pass

    # playing

    async def _serve(self) -> None:
        try:
            while self._waiting:
                seen, body, keep = self._waiting.popleft()
                play = routes.answer(self._vendor, seen, body)
                stays = await self._play(play, keep=keep and not (play.close and play.announce))
                self._open.remove(seen)
                seen.end(left=False)
                if not stays or not keep or play.close:
                    self._deaf = True
                    self._transport.close()
                    return
        except Exception:
            self._transport.abort()
            raise
        finally:
            self.task = None

    async def _play(self, play: Play, *, keep: bool) -> bool:
        """Do all of it. False where the connection must not be used again."""
        for step in play.before:
            if not await self._step(step):
                return False
        if play.raw:
            for step in play.steps:
                if not await self._step(step):
                    return False
            return True
        keep = keep and not play.until_close
        chunked = _chunked(play)
        out = [head_of(play, keep=keep)]
        size = 0
        for step in play.steps:
            if isinstance(step, bytes):
                if not step:
                    continue
                out.append(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
                size += len(step)
                if size < _FLUSH_AT:
                    continue
            if out:
                self._transport.write(b"".join(out))
                out, size = [], 0
            if isinstance(step, bytes):
                await self._writable.wait()
            elif not await self._step(step):
                return False
        if chunked:
            out.append(b"0\r\n")
            out += [f"{name}: {value}\r\n".encode() for name, value in play.trailers]
            out.append(b"\r\n")
        out.append(play.tail)
        self._transport.write(b"".join(out))
        await self._writable.wait()
        return keep

    async def _step(self, step: Step) -> bool:
        """One step outside of a body's framing. False where it ends the connection."""
        if isinstance(step, bytes):
            self._transport.write(step)
            await self._writable.wait()
        elif isinstance(step, Act):
            if step is Act.STALL:
                await asyncio.sleep(STALL_SECONDS)
            elif step is Act.RESET:
                await self._drained()
                self._reset()
            return False
        else:
            await self._vendor.pause(step)
        return True

    async def _drained(self) -> None:
        """Until what was written has left, and a moment for the client to read it before the reset wipes
        it."""
        self._transport.set_write_buffer_limits(high=0)
        await self._writable.wait()
        await asyncio.sleep(0.02)

    def _reset(self) -> None:
        for seen in self._open:
            seen.end(left=False)
        linger = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            linger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def drop(self) -> None:
        """Close at once."""
        self._transport.abort()
