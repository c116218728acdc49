"""Clients that take their time, and those that take too much room (security.md, 26 to 28)."""

from __future__ import annotations

import asyncio
import json

import pytest

from aether.connections import Limits
from tests.aether import corpus
from tests.endings.kit import blocked
from tests.relay.asks import STREAMED, WHOLE
from tests.relay.harness import House, house
from tests.rude import rude

pytestmark = pytest.mark.django_db(transaction=True)

BODY = json.dumps(WHOLE[0].body()).encode()
SWEEP = 0.02
QUICK = Limits(
    head_seconds=0.3, idle_seconds=0.3, body_grace=0.3, body_rate=100_000, body_seconds=1.5, stall_seconds=0.3
)


@pytest.fixture(autouse=True)
def swept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of thirty times the pace."""
    monkeypatch.setattr("aether.connections.SWEEP", SWEEP)
    monkeypatch.setattr("aether.server.SWEEP", SWEEP)


async def drip(each: House, first: bytes, piece: bytes = b"x") -> bytes:
    """What is told to a client that sends `first`, then a piece every moment."""
    async with rude(each.url) as client:
        heard = asyncio.create_task(client.closed())
        await client.send(first)
        while not heard.done():
            await asyncio.wait({heard}, timeout=0.02)
            if not heard.done():
                try:
                    await client.send(piece)
                except ConnectionError:
                    break
        return await heard


async def test_a_head_that_does_not_come_to_its_end_is_408(door: str) -> None:
    async with house(door, limits=QUICK) as each:
        told = await drip(each, corpus.head(each.secret) + b"X-Slow: ")
        assert told.startswith(b"HTTP/1.1 408 ")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert each.vendor.total == 0


async def test_a_connection_without_a_word_is_closed(door: str) -> None:
    async with house(door, limits=QUICK) as each, rude(each.url) as client:
        assert await client.closed() == b""


async def test_line_ends_before_a_request_keep_no_connection_open(door: str) -> None:
    async with house(door, limits=QUICK) as each:
        assert await drip(each, b"\r\n", b"\r\n") == b""


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n186a0\r\n"]
)
async def test_a_body_that_drips_is_408_in_the_clients_format(door: str, framing: bytes) -> None:
    async with house(door, limits=QUICK) as each:
        told = await drip(each, corpus.head(each.secret) + framing + b"{")
        assert told.startswith(b"HTTP/1.1 408 ")
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["message"]
        await each.idle()
        assert each.journal() == []
        assert each.vendor.total == 0


async def test_a_slow_body_that_keeps_its_pace_is_taken(door: str) -> None:
    limits = Limits(body_grace=0.3, body_rate=2_000, body_seconds=30)
    async with house(door, limits=limits) as each, rude(each.url) as client:
        padded = BODY[:-1] + b" " * 4_000 + b"}"
        await client.send(corpus.head(each.secret) + b"Content-Length: %d\r\n\r\n" % len(padded))
        for start in range(0, len(padded), 500):
            await client.send(padded[start : start + 500])
            await asyncio.sleep(0.1)
        assert await client.head() == 200


async def test_what_drips_behind_an_answer_that_came_early_is_cut_off(door: str) -> None:
    async with house(door, limits=QUICK) as each:
        top = corpus.START + corpus.HOST + b"Content-Length: 100000\r\n\r\n"
        told = await drip(each, top)
        assert told.count(b"HTTP/1.1") == 1
        assert told.startswith(b"HTTP/1.1 401 " if door == "asgi" else b"HTTP/1.1 408 ")


async def test_a_connection_is_kept_for_its_next_request_and_not_for_ever(door: str) -> None:
    async with house(door, limits=QUICK) as each, rude(each.url) as client:
        await client.send(corpus.whole(each.secret, BODY) * 2)
        told = await client.closed()
        assert told.count(b"HTTP/1.1 200 ") == 2
        assert b"408" not in told


async def test_an_answer_that_takes_long_is_waited_for(door: str) -> None:
    async with house(door, limits=QUICK) as each:
        each.vendor.script(["wait-900"])
        assert (await WHOLE[0].send(each)).status_code == 200


async def test_a_client_that_does_not_read_is_cut_off_by_the_server_too(door: str) -> None:
    """The relay's own limit, which comes first, is put off here."""
    async with house(door, limits=QUICK, knobs={"client_stall_timeout": 3600.0}) as each:
        each.vendor.script(["chunks-400.size-50000"])
        async with rude(each.url, stubborn=True) as client:
            asked = json.dumps(STREAMED[0].body()).encode()
            await client.send(corpus.whole(each.secret, asked))
            await blocked(each)
            (final,) = await each.settled()
        assert final["record"]["outcome"] == "client_gone"
        await each.idle()


async def test_more_headers_than_a_hundred_are_431(door: str) -> None:
    async with house(door) as each:
        top, length = corpus.head(each.secret), b"Content-Length: %d\r\n\r\n" % len(BODY)
        already = top.count(b"\r\n")  # the first line is none, the length will be one
        for more, status in ((100 - already, 200), (101 - already, 431)):
            async with rude(each.url) as client:
                await client.send(top + b"X-A: b\r\n" * more + length + BODY)
                assert await client.head() == status
        assert each.vendor.total == 1


@pytest.mark.parametrize("size", [1 << 16, 200_000, 2_000_000])
async def test_a_head_beyond_its_bound_is_431_however_it_comes(door: str, size: int) -> None:
    async with house(door) as each:
        for lines in (b"X-A: " + b"a" * size, b"X-A: " + b"a" * 1_000 + b"\r\n" + b"X-B: " + b"b" * size):
            async with rude(each.url) as client:
                told = asyncio.create_task(client.closed())
                try:
                    await client.send(corpus.head(each.secret) + lines + b"\r\n\r\n")
                except ConnectionError:
                    pass
                assert (await told).startswith(b"HTTP/1.1 431 ")
        assert each.vendor.total == 0


async def test_a_head_within_its_bound_is_taken_however_it_comes(door: str) -> None:
    async with house(door) as each, rude(each.url) as client:
        data = (
            corpus.head(each.secret)
            + b"X-A: "
            + b"a" * 60_000
            + b"\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        )
        for start in range(0, len(data), 7_000):
            await client.send(data[start : start + 7_000])
            await asyncio.sleep(0)
        await client.send(BODY)
        assert await client.head() == 200


async def test_more_framing_than_body_is_400(door: str) -> None:
    async with house(door) as each:
        for piece in (b"1;" + b"a" * 60_000 + b"\r\nx\r\n", b"0\r\nX-T: " + b"t" * 60_000):
            async with rude(each.url) as client:
                told = asyncio.create_task(client.closed())
                try:
                    await client.send(corpus.head(each.secret) + corpus.CHUNKED + b"\r\n" + piece)
                    for _ in range(100):
                        await client.send(piece if piece.startswith(b"1") else b"t" * 60_000)
                except ConnectionError:
                    pass
                assert (await told).startswith(b"HTTP/1.1 400 ")
        assert each.vendor.total == 0


async def test_an_address_has_so_many_connections_and_gets_them_back(door: str) -> None:
    async with house(door, limits=Limits(per_address=3)) as each:
        async with rude(each.url) as first, rude(each.url) as second, rude(each.url) as third:
            for client in (first, second, third):
                await client.send(corpus.whole(each.secret, BODY))
                assert await client.head() == 200
            async with rude(each.url) as fourth:
                assert await fourth.closed() == b""
        async with asyncio.timeout(5):
            while True:
                async with rude(each.url) as again:
                    await again.send(corpus.whole(each.secret, BODY))
                    try:
                        assert await again.head() == 200
                        break
                    except (EOFError, ConnectionError):
                        await asyncio.sleep(0.01)


async def test_all_together_have_so_many_connections(door: str) -> None:
    async with house(door, limits=Limits(connections=1)) as each, rude(each.url) as first:
        await first.send(corpus.whole(each.secret, BODY))
        assert await first.head() == 200
        async with rude(each.url) as second:
            assert await second.closed() == b""


async def test_a_client_that_was_not_asked_for_its_body_may_not_go_on() -> None:
    """It may send the body or not: where its next request begins is unknown."""
    async with house("asgi") as each:  # Django asks for it in any case
        top = corpus.START + corpus.HOST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        async with rude(each.url) as client:
            await client.send(top)
            assert (await client.closed()).startswith(b"HTTP/1.1 401 ")
