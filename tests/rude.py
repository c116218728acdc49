"""A client on a bare socket, for what no library would do: leave at a chosen moment, read slowly or not at
all, send half a request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

PATIENCE = 10.0
"""Seconds that any one read may take."""


@dataclass
class Heard:
    """What a client got of an answer. `whole`: the message ended as HTTP wants it; else it was cut."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False


class Rude:
    """One connection with one request on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._left = 0
        self._chunked = False
        self.heard = Heard()

    @property
    def port(self) -> int:
        """The client's own port."""
        return int(self._writer.get_extra_info("sockname")[1])

    async def ask(
        self,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
        only: int | None = None,
    ) -> None:
        """Sends a request. `body` is bytes, or a value to be sent as JSON; of it only the first `only` bytes
        are sent, while the head announces all."""
        sent = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        told = {"host": "localhost", "content-type": "application/json", **(headers or {})}
        if sent:
            told["content-length"] = str(len(sent))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        await self.send("\r\n".join(lines).encode() + sent[:only])

    async def send(self, data: bytes) -> None:
        """Sends these bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> int:
        """Reads the status line and the headers; returns the status."""
        async with asyncio.timeout(PATIENCE):
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.heard.status = int(lines[0].split()[1])
        self.heard.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        self._chunked = "chunked" in self.heard.headers.get("transfer-encoding", "")
        self._left = int(self.heard.headers.get("content-length", 0))
        return self.heard.status

    async def piece(self) -> bytes:
        """The next piece of the body; empty at its end. Raises EOFError or ConnectionError where it is
        cut."""
        async with asyncio.timeout(PATIENCE):
            data = await (self._chunk() if self._chunked else self._part())
        self.heard.body += data
        self.heard.whole = self.heard.whole or not data
        return data

    async def _chunk(self) -> bytes:
        size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    async def _part(self) -> bytes:
        if not self._left:
            return b""
        data = await self._reader.read(min(self._left, 1 << 16))
        if not data:
            raise EOFError
        self._left -= len(data)
        return data

    async def until(self, mark: bytes) -> bytes:
        """Reads on until the body holds `mark`; returns the body so far. Raises EOFError where it ends
        before."""
        while mark not in self.heard.body:
            if not await self.piece():
                raise EOFError(f"no {mark!r} in {self.heard.body!r}")
        return self.heard.body

    async def events(self, count: int) -> bytes:
        """Reads on until the body holds `count` whole events; returns the body so far."""
        while self.heard.body.count(b"\n\n") < count:
            if not await self.piece():
                raise EOFError(f"no {count} events in {self.heard.body!r}")
        return self.heard.body

    async def rest(self) -> Heard:
        """Reads all that still comes, headers included, to the end or the cut."""
        with contextlib.suppress(EOFError, ConnectionError):
            if not self.heard.status:
                await self.head()
            while await self.piece():
                pass
        return self.heard

    async def closed(self) -> bytes:
        """What comes until the other side closes the connection, as raw bytes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self._reader.read(-1)
            except ConnectionError:
                return b""

    def finish_sending(self) -> None:
        """Closes the sending half."""
        self._writer.write_eof()

    def leave(self, *, reset: bool = False) -> None:
        """Closes the connection at once; by a reset, if so wished."""
        if reset:
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort() if reset else self._writer.close()


@asynccontextmanager
async def rude(url: str, *, stubborn: bool = False) -> AsyncIterator[Rude]:
    """A connection to `url`. A `stubborn` client takes no more than a few kilobytes that it did not ask for:
    while it does not read, the other side soon has to wait."""
    parts = urlsplit(url)
    plug = socket.socket()
    plug.setblocking(False)
    if stubborn:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    try:
        await asyncio.get_running_loop().sock_connect(plug, (parts.hostname, parts.port))
        reader, writer = await asyncio.open_connection(sock=plug, limit=1024 if stubborn else 1 << 20)
    except BaseException:  # its own end too: a socket that nobody closes is told of in some later test
        plug.close()
        raise
    client = Rude(reader, writer)
    try:
        yield client
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await writer.wait_closed()
