"""The client under load: as many connections as streams at once, on one core, without a library.

`python -m bench.load '{"port": 8000, ...}'`, the fields of `Ask`, prints those of `Seen`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import cast

import uvloop

_AT = re.compile(rb"at=(\d+)\.")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
KEPT = 1_000_000_000
"""Nanoseconds within which a chunk counts as kept."""


@dataclass
class Ask:
    """What to send, how often, on how many connections at once."""

    port: int
    path: str
    key: str
    model: str
    wanted: str
    """`whole`, or the upstream's `chunks=... every=...`."""
    requests: int
    at_once: int
    ramp: float = 0.0
    """Seconds over which the connections begin."""
    converted: bool = False
    """Ask as an Anthropic client."""

    @property
    def end(self) -> bytes:
        """What stands in the last event of a whole stream."""
        return b"message_stop" if self.converted else b"[DONE]"

    def request(self) -> bytes:
        text = self.wanted + " " + "y" * 1000
        fields: dict[str, object] = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        if self.wanted != "whole":
            fields["stream"] = True
        if self.converted:
            fields["max_tokens"] = 4000
        elif self.wanted != "whole":
            fields["stream_options"] = {"include_usage": True}
        body, path = json.dumps(fields), "/v1/messages" if self.converted else self.path
        return (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()


@dataclass
class Seen:
    """What came back."""

    requests: int = 0
    seconds: float = 0.0
    chunks: int = 0
    kept: int = 0
    latencies: list[float] = field(default_factory=list)
    """Milliseconds from a request to its last byte."""
    delays: list[float] = field(default_factory=list)
    """Milliseconds that clocked chunks took from the upstream."""
    firsts: list[float] = field(default_factory=list)
    """The same of the first chunk of each stream."""


class Connection(asyncio.Protocol):
    """Sends its requests one after another; `done` tells the end."""

    transport: asyncio.Transport

    def __init__(self, request: bytes, end: bytes, times: int, seen: Seen) -> None:
        self._request, self._end, self._left, self._seen = request, end, times, seen
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop\'s is none by its class
        self._ask()

    def _ask(self) -> None:
        self._head: bytes | None = b""
        self._first = True
        self._tail, self._due = b"", 0
        self._began = time.monotonic()
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, whole, data = self._head.partition(b"\r\n\r\n")
            if not whole:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(self._head)
                return
            length = _LENGTH.search(head)
            self._head, self._due = None, int(length[1]) if length else -1
        if self._due >= 0:
            self._due -= len(data)
            if self._due <= 0:
                self._over()
            return
        block = self._tail + data
        now = time.monotonic_ns()
        end = 0
        for found in _AT.finditer(block):
            delay, end = now - int(found[1]), found.end()
            self._seen.chunks += 1
            if self._first:
                self._first = False
                self._seen.firsts.append(delay / 1e6)
            self._seen.kept += delay <= KEPT
            self._seen.delays.append(delay / 1e6)
        self._tail = block[end:][-200:]
        if self._tail.endswith(b"0\r\n\r\n"):
            if self._end not in self._tail:
                self._fail(block[-300:])
            else:
                self._over()

    def _over(self) -> None:
        self._seen.requests += 1
        self._seen.latencies.append((time.monotonic() - self._began) * 1000)
        self._left -= 1
        if self._left:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)
            self.transport.close()

    def _fail(self, told: bytes) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(told.decode("utf-8", "replace")[:600]))

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError("the connection was closed before the answer's end"))


async def run(ask: Ask) -> Seen:
    """Raises RuntimeError for an answer that is not whole and 200."""
    seen, loop, request = Seen(), asyncio.get_running_loop(), ask.request()
    began = time.monotonic()

    async def one(number: int) -> None:
        await asyncio.sleep(ask.ramp * number / ask.at_once)
        times = ask.requests // ask.at_once
        _, connection = await loop.create_connection(
            lambda: Connection(request, ask.end, times, seen), "127.0.0.1", ask.port
        )
        await connection.done

    async with asyncio.TaskGroup() as group:
        for number in range(ask.at_once):
            group.create_task(one(number))
    seen.seconds = time.monotonic() - began
    return seen


if __name__ == "__main__":
    print(json.dumps(asdict(uvloop.run(run(Ask(**json.loads(sys.argv[1])))))))
