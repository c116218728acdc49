"""What happens to running streams when the server is told to end."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest
import uvicorn
from django.core.management.base import BaseCommand
from pytest_django import Settings

from aether.connections import Connections, Limits
from aether.management.commands.serve import Server
from tests import servers
from tests.programs import Running, environment, manage
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("shutdown")
SECRET = "sk-aether-of-the-shutdown-tests-0000000000"
CONFIG = """
providers:
  - name: simulator
    endpoints:
      - {{format: openai_chat, base_url: "http://127.0.0.1:{port}/simulator/v1", allow_private: true}}
    keys:
      - {{name: k1, secret: sk-simulator}}
    models:
      - {{model: short, upstream_name: sim.chunks-40.delay-25}}
      - {{model: endless, upstream_name: sim.chunks-4000.delay-25}}
models:
  - {{name: short, price: {{input: "1", output: "2"}}}}
  - {{name: endless, price: {{input: "1", output: "2"}}}}
consumers:
  - name: alice
    api_keys:
      - {{name: laptop, secret: {secret}}}
"""


class Place(NamedTuple):
    """A data directory that is set up, and the port of the server whose it is."""

    home: Path
    port: int


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Place:
    """To be copied: setting one up takes seconds."""
    folder, port = tmp_path_factory.mktemp("shutdown"), servers.free_port()
    (folder / "config.yaml").write_text(CONFIG.format(port=port, secret=SECRET))
    shutil.copytree(migrated, folder / "home")
    ended = manage("import_config", str(folder / "config.yaml"), env=environment(folder / "home"))
    assert ended.returncode == 0, ended.stderr
    return Place(folder / "home", port)


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """One of this test's own."""
    shutil.copytree(made.home, tmp_path / "home")
    return Place(tmp_path / "home", made.port)


@contextmanager
def streaming(place: Place, model: str, drain: str, **more: str) -> Iterator[tuple[Running, Iterator[str]]]:
    """A server with one stream under way, its first word read; yields the server and the following lines."""
    port, env = place.port, environment(place.home, RELAY_DRAIN_SECONDS=drain, **more)
    with (
        Running("serve", "--port", str(port), env=env) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        server.line("Listening on")
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        headers = {"authorization": f"Bearer {SECRET}"}
        with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
            assert response.status_code == 200
            lines = response.iter_lines()
            assert next(lines).startswith("data:")
            yield server, lines


def records(home: Path) -> list[tuple[str, int, int]]:
    with closing(sqlite3.connect(home / "aether.sqlite3")) as database:
        return database.execute("SELECT outcome, status_code, output_tokens > 0 FROM usage_record").fetchall()


def test_a_running_stream_is_finished(place: Place) -> None:
    with streaming(place, "short", drain="60") as (server, lines):
        server.process.terminate()
        assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.end() == 0
    assert records(place.home) == [("ok", 200, 1)]


def test_one_that_outlasts_the_drain_is_told_so_and_charged_for_what_came(place: Place) -> None:
    with streaming(place, "endless", drain="5") as (server, lines):
        server.process.terminate()
        told = [json.loads(line[6:]) for line in lines if re.match(r"data: \{", line)]
        assert "error" in told[-1]
        assert server.end() == 0
    assert records(place.home) == [("interrupted", 200, 1)]


def asked(port: int, client: httpx.Client | None = None) -> httpx.Response:
    """A whole answer of the server's, over a connection of its own unless there is one."""
    body = {"model": "short", "messages": [{"role": "user", "content": "Hello"}]}
    headers = {"authorization": f"Bearer {SECRET}"}
    post = httpx.post if client is None else client.post
    return post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, headers=headers, timeout=60)


def test_first_it_says_that_it_leaves_and_serves_on_and_only_then_takes_no_more(place: Place) -> None:
    port = place.port
    health = f"http://127.0.0.1:{port}/readyz"
    with streaming(place, "endless", "6", RELAY_SHUTDOWN_DELAY="2") as (server, lines):
        with httpx.Client() as kept:
            assert "connection" not in asked(port, kept).headers
            server.process.terminate()
            until(lambda: httpx.get(health).status_code == 503, what="readiness false")
            answer = asked(port, kept)
            assert answer.status_code == 200  # a load balancer has yet to hear of it
            assert answer.headers["connection"] == "close"
        until(lambda: not servers.listening(port), what="the port closed")
        assert next(line for line in lines if line).startswith("data:")  # it still streams
        told = [json.loads(line[6:]) for line in lines if re.match(r"data: \{", line)]
        assert "error" in told[-1]
        assert server.end() == 0
    outcomes = [outcome for outcome, *_ in records(place.home)]
    assert sorted(outcomes) == ["interrupted", "ok", "ok"]


def test_a_worn_out_server_finishes_its_streams_and_ends_to_be_started_again(place: Place) -> None:
    with streaming(place, "short", "30", RELAY_RECYCLE_REQUESTS="3") as (server, lines):
        for _ in range(4):
            httpx.get(f"http://127.0.0.1:{place.port}/healthz")
        assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(60) == 0
        assert "requests were served" in server.line("to be started again")
    assert records(place.home) == [("ok", 200, 1)]


def unstarted(**engine: object) -> tuple[Server, Any]:
    """A server that runs nothing, and the engine that it looks at."""
    config = uvicorn.Config("aether.asgi:application", log_config=None)
    server = Server(config, command=BaseCommand(), connections=Connections(Limits()))
    return server, SimpleNamespace(**engine)


def test_memory_wears_a_server_out_too(settings: Settings) -> None:
    server, engine = unstarted(memory=SimpleNamespace(resident=lambda: 2_000_000))
    assert server._worn_out(engine) == ""
    settings.RELAY_RECYCLE_MEMORY_BYTES = 2_000_000
    assert server._worn_out(engine) == ""
    settings.RELAY_RECYCLE_MEMORY_BYTES = 1_999_999
    assert server._worn_out(engine) == "2000000 bytes of memory are held"


async def test_who_asks_twice_or_presses_keys_does_not_wait_for_load_balancers(settings: Settings) -> None:
    settings.RELAY_SHUTDOWN_DELAY = 3600.0
    for signals in ([signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]):
        server, _ = unstarted()
        for number in signals:
            server.handle_exit(number, None)
        async with asyncio.timeout(5):
            await server._be_seen_leaving()
        assert server.should_exit
