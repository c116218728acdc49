"""The ASGI host, on a real server and driven by hand."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from simulator.asgi import Application, application
from simulator.compose import TEXT
from simulator.core import Vendor
from simulator.server import Simulator
from tests.simulator.raw import QUIET, ask, body_for, exchange, request

PATH = "/simulator/v1/chat/completions"


@contextlib.asynccontextmanager
async def served(app: Application) -> AsyncIterator[Simulator]:
    """The application on a port, dressed as the thing whose `port` the raw client reads."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.wait({serving}, timeout=0.01)
    stand_in = Simulator(vendor=app.vendor)
    stand_in.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield stand_in
    finally:
        server.should_exit = server.force_exit = True
        await serving


@pytest.fixture
async def mounted() -> AsyncIterator[Simulator]:
    async with served(Application(Vendor())) as stand_in:
        yield stand_in


@pytest.mark.parametrize("path", [PATH, "/v1/chat/completions"])
async def test_it_answers_with_and_without_its_prefix(mounted: Simulator, path: str) -> None:
    whole = await exchange(mounted, request(path, body_for("openai_chat", "sim", stream=False)))
    assert whole.json["choices"][0]["message"]["content"] == TEXT
    streamed = await exchange(mounted, request(path, body_for("openai_chat", "sim")))
    assert streamed.data[-1] == "[DONE]"


async def test_a_gemini_path_keeps_its_query(mounted: Simulator) -> None:
    path = "/simulator/v1beta/models/sim.chunks-2:streamGenerateContent?alt=sse"
    heard = await exchange(mounted, request(path, body_for("gemini", "")))
    assert len(heard.data) == 2
    assert mounted.requests[-1].path == "/v1beta/models/sim.chunks-2:streamGenerateContent"


FAULTS = {
    "429": ("eof", 429, 0),
    "cut": ("eof", 200, 3),
    "reset": ("eof", 200, 3),
    "stall": ("silence", 200, 3),
    "stall-head": ("silence", 0, 0),
    "reset-head": ("eof", 500, 0),
    "length-long": ("eof", 200, 43),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_faults_go_as_far_as_asgi_lets_them(
    mounted: Simulator, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
        quiet = QUIET if "stall" in fault else 20
        heard = await ask(mounted, f"sim.fault-{fault}", quiet=quiet)
    assert (heard.ending, heard.status, len(heard.frames)) == FAULTS[fault]
    assert heard.complete is (heard.status in (429, 500))


async def test_a_length_too_short_cuts_the_answer(mounted: Simulator) -> None:
    heard = await ask(mounted, "sim.fault-length-short")
    assert heard.complete
    assert heard.rest == b""
    assert b"[DONE]" not in heard.body


async def test_it_sees_the_client_leave(mounted: Simulator) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", mounted.port)
    writer.write(request(PATH, body_for("openai_chat", "sim.delay-60000")))
    seen = await mounted.wait_for(1)
    writer.close()
    await asyncio.wait_for(seen.gone.wait(), 5)
    assert seen.left


async def test_the_demo_takes_no_scripts_and_remembers_nothing() -> None:
    async with served(application) as stand_in:
        refused = await exchange(stand_in, request("/simulator/_simulator/script", {"plays": ["fault-500"]}))
        heard = await exchange(stand_in, request(PATH, body_for("openai_chat", "sim.chunks-1")))
    assert (refused.status, heard.status) == (404, 200)
    assert len(application.vendor.requests) == 0
    assert application.vendor.pace > 0


async def test_a_client_that_leaves_during_its_request_is_no_error() -> None:
    app = Application(Vendor())
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    assert app.vendor.requests[0].left
