"""aether/server.py: a client's connection, for what ASGI has no words for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from aether.server import _Line

HEADERS = [(b"content-type", b"text/plain"), (b"x-request-id", b"1")]
OURS = b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-type: text/plain\r\nx-request-id: 1\r\n"


class Wire:
    """A transport that notes what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.writes.append(data)

    def close(self) -> None:
        self.closed = True


def connection(**cycle: Any) -> tuple[_Line, Any, Wire]:
    """A line, its cycle, and what it writes to."""
    wire = Wire()
    made: Any = SimpleNamespace(
        transport=wire, flow=SimpleNamespace(write_paused=False), disconnected=False, response_started=False,
        response_complete=False, waiting_for_100_continue=True, chunked_encoding=None, keep_alive=True,
        scope={"method": "POST"}, default_headers=[(b"date", b"today")], message_event=asyncio.Event(),
        on_response=lambda: None,
    )  # fmt: skip
    vars(made).update(cycle)
    protocol: Any = SimpleNamespace(transport=wire, loop=asyncio.get_running_loop())
    line = _Line(protocol)
    line.cycle = made
    return line, made, wire


async def test_a_whole_answer_is_one_write() -> None:
    line, cycle, wire = connection()
    assert line.reply(200, HEADERS, b"hello")
    assert wire.writes == [OURS + b"\r\nhello"]
    assert (cycle.response_started, cycle.response_complete) == (True, True)
    assert not wire.closed


async def test_what_one_turn_brings_of_a_stream_is_one_write() -> None:
    line, _, wire = connection()
    assert line.reply(200, HEADERS, None)
    assert line.pour(b"hello ")
    assert wire.writes == []
    await asyncio.sleep(0)
    head = OURS + b"transfer-encoding: chunked\r\n\r\n"
    assert wire.writes == [head + b"6\r\nhello \r\n"]
    assert line.pour(b"world")
    assert line.end()
    assert wire.writes[1:] == [b"5\r\nworld\r\n0\r\n\r\n"]


async def test_a_connection_that_is_not_kept_says_so_and_closes() -> None:
    line, _, wire = connection(keep_alive=False)
    assert line.reply(200, HEADERS, b"")
    assert wire.writes == [OURS + b"connection: close\r\n\r\n"]
    assert wire.closed


async def test_nothing_is_written_to_a_client_that_left_since() -> None:
    line, cycle, wire = connection()
    line.reply(200, HEADERS, None)
    line.pour(b"hello")
    cycle.disconnected = wire.closed = True
    await asyncio.sleep(0)
    assert wire.writes == []
    assert (line.pour(b"more"), line.end()) == (False, False)


@pytest.mark.parametrize(
    "cycle",
    [
        {"flow": SimpleNamespace(write_paused=True)},
        {"disconnected": True},
        {"response_started": True},
        {"scope": {"method": "HEAD"}},
    ],
)
async def test_what_must_wait_or_cannot_be_is_left_to_asgi(cycle: dict[str, Any]) -> None:
    line, _, wire = connection(**cycle)
    assert not line.reply(200, HEADERS, b"hello")
    assert not line.pour(b"hello")
    assert not line.end()
    assert wire.writes == []


async def test_what_was_poured_goes_before_what_asgi_sends() -> None:
    line, cycle, wire = connection()
    line.reply(200, HEADERS, None)
    line.pour(b"hello")
    cycle.flow.write_paused = True
    assert not line.pour(b"more")
    assert len(wire.writes) == 1


async def test_a_line_break_in_a_header_is_never_sent() -> None:
    line, _, wire = connection()
    with pytest.raises(ValueError, match="line break"):
        line.reply(200, [(b"x-a", b"1\r\nx-b: 2")], b"")
    assert wire.writes == []
