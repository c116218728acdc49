"""aether/server.py: a client's connection, for what ASGI has no words for."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from aether.server import Acceptor, _Exchange

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


def connection(*, method: str = "POST", keep_alive: bool = True, **state: Any) -> tuple[_Exchange, Wire]:
    """A request on its connection, in a state, and what it writes to."""
    wire = Wire()
    protocol: Any = SimpleNamespace(
        transport=wire, loop=asyncio.get_running_loop(), flow=SimpleNamespace(write_paused=False),
        server_state=SimpleNamespace(default_headers=[(b"date", b"today")]), expect_100_continue=True,
        on_response_complete=lambda: None, logger=None, access_logger=None, access_log=False,
    )  # fmt: skip
    line = _Exchange(protocol, {"method": method}, keep_alive=keep_alive)
    for name, value in state.items():
        setattr(line, name, value)
    return line, wire


async def test_a_whole_answer_is_one_write() -> None:
    line, wire = connection()
    assert line.reply(200, HEADERS, b"hello")
    assert wire.writes == [OURS + b"\r\nhello"]
    assert (line.response_started, line.response_complete) == (True, True)
    assert not wire.closed


async def test_what_one_turn_brings_of_a_stream_is_one_write() -> None:
    line, wire = connection()
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
    line, wire = connection(keep_alive=False)
    assert line.reply(200, HEADERS, b"")
    assert wire.writes == [OURS + b"connection: close\r\n\r\n"]
    assert wire.closed


async def test_nothing_is_written_to_a_client_that_left_since() -> None:
    line, wire = connection()
    line.reply(200, HEADERS, None)
    line.pour(b"hello")
    line.disconnected = wire.closed = True
    await asyncio.sleep(0)
    assert wire.writes == []
    assert (line.pour(b"more"), line.end()) == (False, False)


@pytest.mark.parametrize(
    "state",
    [
        {"flow": SimpleNamespace(write_paused=True)},
        {"disconnected": True},
        {"response_started": True},
        {"method": "HEAD"},
    ],
)
async def test_what_must_wait_or_cannot_be_is_left_to_asgi(state: dict[str, Any]) -> None:
    line, wire = connection(**state)
    assert not line.reply(200, HEADERS, b"hello")
    assert not line.pour(b"hello")
    assert not line.end()
    assert wire.writes == []


async def test_what_was_poured_goes_before_what_asgi_sends() -> None:
    line, wire = connection()
    line.reply(200, HEADERS, None)
    line.pour(b"hello")
    line.flow.write_paused = True
    assert not line.pour(b"more")
    assert len(wire.writes) == 1


async def test_a_line_break_in_a_header_is_never_sent() -> None:
    line, wire = connection()
    with pytest.raises(ValueError, match="line break"):
        line.reply(200, [(b"x-a", b"1\r\nx-b: 2")], b"")
    assert wire.writes == []


async def test_a_body_is_handed_over_once_all_of_it_is_here() -> None:
    line, _ = connection()
    line.body += b"he"
    assert line.body_here() is None
    line.body += b"llo"
    line.more_body = False
    assert line.body_here() == b"hello"


@pytest.mark.parametrize("over", ["disconnected", "response_complete"])
async def test_of_a_request_that_is_over_there_is_no_body(over: str) -> None:
    line, _ = connection(more_body=False)
    setattr(line, over, True)
    assert line.body_here() is None


async def test_all_who_wait_are_accepted_in_one_turn() -> None:
    made: list[asyncio.Protocol] = []

    def factory() -> asyncio.Protocol:
        made.append(asyncio.Protocol())
        return made[-1]

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener, ExitStack() as clients:
        listener.setblocking(False)
        for _ in range(50):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        turns, acceptor = 0, Acceptor(listener, factory)
        while len(made) < 50:
            await asyncio.sleep(0)
            turns += 1
        assert turns < 10
        acceptor.close()
        clients.enter_context(socket.create_connection(listener.getsockname()))
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(made) == 50
        clients.enter_context(listener.accept()[0])  # it waits for whoever accepts next
