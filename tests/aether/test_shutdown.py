"""What happens to running streams when the server is told to end."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx

from tests import servers
from tests.programs import Running, environment, manage

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


@contextmanager
def streaming(home: Path, model: str, drain: str) -> Iterator[tuple[Running, Iterator[str]]]:
    """A server with one stream under way, its first word read; yields the server and the following lines."""
    port = servers.free_port()
    env = environment(home, RELAY_DRAIN_SECONDS=drain)
    (home.parent / "config.yaml").write_text(CONFIG.format(port=port, secret=SECRET))
    for command in (["migrate", "-v0"], ["import_config", str(home.parent / "config.yaml")]):
        ended = manage(*command, env=env)
        assert ended.returncode == 0, ended.stderr
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


def test_a_running_stream_is_finished(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with streaming(home, "short", drain="60") as (server, lines):
        server.process.terminate()
        assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.end() == 0
    assert records(home) == [("ok", 200, 1)]


def test_one_that_outlasts_the_drain_is_told_so_and_charged_for_what_came(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with streaming(home, "endless", drain="5") as (server, lines):
        server.process.terminate()
        told = [json.loads(line[6:]) for line in lines if re.match(r"data: \{", line)]
        assert "error" in told[-1]
        assert server.end() == 0
    assert records(home) == [("interrupted", 200, 1)]
