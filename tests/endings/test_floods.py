"""Clients that only want to be in the way: slow ones, and ones that do not read (security.md, 27 and 28)."""

from __future__ import annotations

import asyncio
import random
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import uvloop

from tests.counts import PROOF, count
from tests.killer import SECRET, Template, Victim, template, victim
from tests.rude import rude

pytestmark = pytest.mark.xdist_group("kill")

MB = 1_000_000
GROWTH = 100 * MB
TIMES = 2.0
"""By how much normal requests may be slower, at their 99th percentile."""
SLOW, STALLED, NORMAL = count(50, 2_000), count(10, 200), count(20, 1_000)
PLAYS = {"short": "short", "flood": "flood"}
FRAME = b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"delta":{"content":"%b"}}]}\n\n'
BLOCK = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in [FRAME % (b"word " * 400)] * 20)
WHOLE = (
    b'{"id":"1","object":"chat.completion","choices":[{"index":0,"finish_reason":"stop","message":'
    b'{"role":"assistant","content":"Hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
HEAD = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {SECRET}\r\n"


async def vend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A vendor without a thought: a short answer, or one without an end, as fast as it is taken."""
    with suppress(OSError, EOFError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head, re.I)
            assert found
            if b'"flood"' in await reader.readexactly(int(found[1])):
                kind = b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind)
                while True:
                    writer.write(BLOCK)
                    await writer.drain()
            kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE)
            writer.write(b"HTTP/1.1 200 OK\r\n" + kind + WHOLE)
    writer.close()


@contextmanager
def vendor() -> Iterator[str]:
    """It, in a thread of its own; yields its address."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="vendor")
    thread.start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(vend, sock=listener), loop).result(10)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(gone(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def gone(server: asyncio.Server) -> None:
    """Ends the vendor and whatever it still tells."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Template]:
    """A configured database."""
    with template(tmp_path_factory.mktemp("floods"), migrated, PLAYS, vendor()) as each:
        yield each


@pytest.fixture(scope="module")
def server(made: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A running server, warm; slow heads have less time where there is little to show."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    slow = {} if PROOF else {"RELAY_HEADER_TIMEOUT": "1"}
    patience = pytest.MonkeyPatch()
    patience.setattr("tests.rude.PATIENCE", 60.0)
    with victim(made, tmp_path_factory.mktemp("server"), **slow) as each:
        yield each
    patience.undo()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def normal(server: Victim) -> float:
    """The 99th percentile of ordinary requests, in seconds, one after another."""
    body = {"model": "short", "messages": [{"role": "user", "content": "Hello"}]}
    headers, seconds = {"x-api-key": SECRET}, []
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30, trust_env=False) as client:
        for _ in range(NORMAL):
            began = time.perf_counter()
            answer = await client.post("/v1/chat/completions", json=body)
            seconds.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
    return sorted(seconds)[len(seconds) * 99 // 100]


@asynccontextmanager
async def crowd(size: int, one: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """So many of them, at it again and again."""

    async def again() -> None:
        while True:
            with suppress(OSError, EOFError):
                await one()

    tasks = [asyncio.create_task(again()) for _ in range(size)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measured(server: Victim, size: int, one: Callable[[], Awaitable[None]], ready: Any) -> str:
    """What a crowd does to ordinary requests and to the server's memory."""
    process = psutil.Process(server.process.pid)
    await normal(server)
    before, held = await normal(server), process.memory_info().rss
    async with crowd(size, one):
        async with asyncio.timeout(60):
            while not ready():
                await asyncio.sleep(0.05)
        among, grown = await normal(server), process.memory_info().rss - held
    assert grown < GROWTH
    if PROOF:
        assert among < TIMES * before
    return (
        f"p99 of ordinary requests {before * 1000:.1f} ms before, {among * 1000:.1f} ms among {size:,};"
        f" memory {grown / MB:+.0f} MB"
    )


async def test_slow_sockets_are_in_nobodys_way(server: Victim, record_property: Any) -> None:
    ends: Counter[int] = Counter()
    connected = 0

    async def one() -> None:
        nonlocal connected
        async with rude(server.url) as client:
            connected += 1
            heads = (HEAD + "X-Slow: ", HEAD + "Content-Length: 100000\r\n\r\n{")
            told = asyncio.create_task(client.head())
            try:
                await client.send(random.choice(heads).encode())
                while not told.done():
                    await asyncio.wait({told}, timeout=random.uniform(1, 2))
                    if not told.done():
                        await client.send(b"x")
                ends[await told] += 1
            finally:
                connected -= 1
                told.cancel()
                await asyncio.gather(told, return_exceptions=True)

    told = await measured(server, SLOW, one, lambda: connected >= SLOW)
    async with crowd(SLOW, one), asyncio.timeout(30):
        while not ends[408]:
            await asyncio.sleep(0.05)
    assert set(ends) == {408}
    record_property("measured", f"{told}; {ends[408]:,} were told 408")


async def test_clients_that_do_not_read_are_in_nobodys_way(server: Victim, record_property: Any) -> None:
    stalled = 0
    body = {"model": "flood", "stream": True, "messages": [{"role": "user", "content": "x"}]}

    async def one() -> None:
        nonlocal stalled
        async with rude(server.url, stubborn=True) as client:
            await client.ask("/v1/chat/completions", body, {"x-api-key": SECRET})
            assert await client.head() == 200
            stalled += 1
            await asyncio.sleep(3600)

    record_property("measured", await measured(server, STALLED, one, lambda: stalled >= STALLED))
