"""A vendor that costs next to nothing: ready-made answers in OpenAI Chat's format, streams on a clock.

A request says what it wants in its first message: `whole`, or `chunks=100 every=10` for a stream of 100
chunks, one each 10 ms; `every=0` sends all of them at once. Each chunk of a clocked stream carries the
instant, in nanoseconds of the system's monotonic clock, at which it was written: `at=123456789.`.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sys
import time
from typing import cast

import uvloop

_ASKED = re.compile(rb"chunks=(\d+) every=(\d+)")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.I)
TICK = 0.01


def _chunk(**fields: object) -> bytes:
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench", **fields}
    return b"data: %b\n\n" % json.dumps(event).encode()


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return _chunk(choices=[choice], usage=None)


USAGE = {"prompt_tokens": 250, "completion_tokens": 200, "total_tokens": 450}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 180}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
).encode()  # fmt: skip
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FIRST, _, LAST = _delta("word word word word at=*.").partition(b"*")
END = b"".join(
    _framed(each)
    for each in (
        _chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], usage=None),
        _chunk(choices=[], usage=USAGE),
        b"data: [DONE]\n\n",
    )
) + b"0\r\n\r\n"  # fmt: skip


@functools.cache
def _at_once(chunks: int) -> bytes:
    return b"".join(_framed(_delta(f"word word word word {n}")) for n in range(chunks)) + END


class Clock:
    """Sends the chunks of all streams; those that began together go on together."""

    def __init__(self) -> None:
        self._slots: dict[int, list[tuple[Connection, int, int]]] = {}
        self._tick = 0
        self._began = time.monotonic()
        self._running = False

    def add(self, connection: Connection, chunks: int, ticks: int) -> None:
        """A stream of so many chunks, one each so many ticks, from the next tick on."""
        if not self._running:
            self._running, self._tick = True, round((time.monotonic() - self._began) / TICK)
            self._again()
        self._slots.setdefault(self._tick + 1, []).append((connection, chunks, ticks))

    def _again(self) -> None:
        loop = asyncio.get_running_loop()
        due = self._began + (self._tick + 1) * TICK
        loop.call_later(max(0.0, due - time.monotonic()), self._turn)

    def _turn(self) -> None:
        self._tick += 1
        for connection, left, ticks in self._slots.pop(self._tick, ()):
            if connection.transport.is_closing():
                continue
            connection.transport.write(_framed(b"%b%d%b" % (FIRST, time.monotonic_ns(), LAST)))
            if left > 1:
                self._slots.setdefault(self._tick + ticks, []).append((connection, left - 1, ticks))
            else:
                connection.transport.write(END)
        self._running = bool(self._slots)
        if self._running:
            self._again()


class Connection(asyncio.Protocol):
    """One connection; requests come one after another."""

    transport: asyncio.Transport

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop\'s is none by its class

    def data_received(self, data: bytes) -> None:
        self._pending += data
        head, found, rest = self._pending.partition(b"\r\n\r\n")
        if not found or (length := _LENGTH.search(head)) is None or len(rest) < int(length[1]):
            return
        self._pending = b""
        asked = _ASKED.search(rest)
        if asked is None:
            self.transport.write(WHOLE)
            return
        chunks, every = int(asked[1]), int(asked[2])
        self.transport.write(HEAD)
        if every:
            self._clock.add(self, chunks, max(1, round(every / 1000 / TICK)))
        else:
            self.transport.write(_at_once(chunks))


async def serve(port: int) -> None:
    """Listens on 127.0.0.1 until the process is ended."""
    clock = Clock()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(clock), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
