"""Whatever is sent, nothing breaks: no answer of 500, each error in the envelope of its path, nothing kept
(security.md, 4, 16, 25, 26, 29 to 32)."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from relay.routes import MODELS, format_of, match
from tests.counts import count
from tests.endings.kit import clean_house
from tests.relay.asks import Ask, error
from tests.relay.fuzz import Fuzzer, Request
from tests.relay.harness import House
from tests.rude import Heard, rude

pytestmark = pytest.mark.django_db(transaction=True)

TOGETHER = 30
NO_HTTP = b"The request was not served: "
"""What the server says of bytes that are no request: there is no path then whose format would do."""
SEEDS = {"asgi": 1, "django": 2}


async def answer_to(each: House, request: Request) -> Heard:
    """What comes back, on a connection of its own; of bytes that are no request perhaps nothing."""
    async with rude(each.url) as client:
        with suppress(ConnectionError):  # refused while it was still being sent
            await client.send(request.data)
        if not request.http:
            client.finish_sending()
        with suppress(EOFError, ConnectionError):
            while await client.head() == 100:
                pass
        return client.heard if request.method == "HEAD" else await client.rest()


def judge(request: Request, heard: Heard) -> int:
    """The status of an answer, once it is found to be one that a client can read; 0 where what was sent is no
    request."""
    assert heard.status != 500
    if heard.status == 0:
        assert not request.http
    if heard.status < 400 or request.method == "HEAD":
        return heard.status
    assert heard.whole
    if heard.body.startswith(NO_HTTP):  # before its path was known, and with it a format
        assert heard.status in (400, 408, 431)
        return 0
    assert heard.headers["content-type"] == "application/json"
    if request.http:
        error(Ask(expected_format(request, heard)), heard.body.decode())
    return heard.status


def expected_format(request: Request, heard: Heard) -> str:
    """The format of the path; a list of models has the one that the headers tell, unless the request was
    turned away before these were whole."""
    found = None if NO_HTTP in heard.body else match(request.method, request.path)
    if found is not None and found.route.kind == MODELS and not request.path.startswith("/v1beta"):
        if "x-goog-api-key" in request.headers:
            return "gemini"
        if "anthropic-version" in request.headers:
            return "anthropic"
    return format_of(request.method, request.path)


async def test_no_request_breaks_anything(
    door: str,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    caplog.set_level(logging.ERROR)
    process, statuses = psutil.Process(), dict[int, int]()
    async with clean_house(door, knobs={"client_body_timeout": 2.0}) as each:
        fuzzer, turn = Fuzzer(SEEDS[door], each.secret), asyncio.Semaphore(TOGETHER)

        async def one(request: Request) -> None:
            async with turn:
                answer = await answer_to(each, request)
            try:
                status = judge(request, answer)
            except Exception as problem:
                problem.add_note(f"{request}\n{request.data[:1500]!r}\n{answer}")
                raise
            statuses[status] = statuses.get(status, 0) + 1

        async def some(number: int) -> int:
            """Plays so many; the process's memory after it, in bytes."""
            for _ in range(0, number, 200):
                await asyncio.gather(*(one(fuzzer.request()) for _ in range(min(number, 200))))
            await each.idle()
            each.vendor.requests.clear()
            gc.collect()
            return process.memory_info().rss

        total = count(250, 10_000)
        before = await some(total // 5)
        grown = (await some(total - total // 5)) - before
        codes = {final["record"]["error_code"] for final in each.journal()}
    assert "internal" not in codes
    assert [line for line in caplog.records if line.levelno >= logging.ERROR] == []
    assert grown < 50_000_000
    assert {200, 400, 401, 404} <= set(statuses)
    told = ", ".join(f"{number} of {status or 'no HTTP'}" for status, number in sorted(statuses.items()))
    record_property("measured", f"{door}: 0 of 500 ({told}), memory grew {grown / 1e6:.1f} MB")
