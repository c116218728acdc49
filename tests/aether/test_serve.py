from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import psycopg
import pytest
from django.core.management import CommandError, call_command

from aether import secretfiles
from aether.management.commands.serve import bind
from tests import servers
from tests.counts import count
from tests.programs import ROOT, Running, environment, manage
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("serve")
BARE: dict[str, str | None] = dict.fromkeys(secretfiles.NAMES)
QUICK = {"RELAY_DRAIN_SECONDS": "1"}


@pytest.fixture
def env(tmp_path: Path, migrated: Path) -> dict[str, str]:
    """A migrated database and nothing else; no secret is set."""
    return home(tmp_path, migrated)


def home(folder: Path, migrated: Path) -> dict[str, str]:
    shutil.copytree(migrated, folder / "home")
    return environment(folder / "home", **BARE, **QUICK)


def address(server: Running) -> str:
    said = server.line("Listening on ")
    found = re.search(r"http://\S+", said)
    assert found, said
    return found[0]


class Life(NamedTuple):
    """What a server did from its start to its end."""

    home: Path
    ready: httpx.Response
    login: httpx.Response
    children: list[psutil.Process]
    commands: list[str]
    status: int


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Life:
    env = home(tmp_path_factory.mktemp("life"), migrated)
    with Running("serve", "--port", "0", env=env) as server:
        base = address(server)
        ready, login = httpx.get(f"{base}/readyz"), httpx.get(f"{base}/admin/login/")
        children = psutil.Process(server.process.pid).children()
        commands = [child.cmdline()[-1] for child in children]
        return Life(Path(env["AETHER_DATA_DIR"]), ready, login, children, commands, server.end())


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Standing]:
    """A server that goes on."""
    env = home(tmp_path_factory.mktemp("standing"), migrated)
    with Running("serve", "--port", "0", env=env) as server:
        yield Standing(env, server, address(server))


class Standing(NamedTuple):
    """How it was started, the server, and where it listens."""

    env: dict[str, str]
    server: Running
    base: str


def test_it_gets_ready_serves_pages_and_ends_in_good_order(life: Life) -> None:
    assert life.ready.status_code == 200
    assert life.login.status_code == 200
    assert "server" not in life.login.headers
    assert life.commands == ["recorder"]
    assert life.status == 0
    assert not any(child.is_running() for child in life.children)
    assert sorted(path.name for path in (life.home / "secrets").iterdir()) == [
        "aether_encryption_keys",
        "aether_key_pepper",
        "secret_key",
    ]


def test_everything_it_writes_is_for_us_alone(life: Life) -> None:
    paths = list(life.home.rglob("*"))
    assert life.home / "aether.sqlite3" in paths
    for path in paths:
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_second_server_on_the_same_data_is_refused(standing: Standing) -> None:
    second = manage("serve", "--port", "0", env=standing.env)
    assert second.returncode == 1
    assert "Another server runs on" in second.stderr
    assert "AETHER_DATA_DIR" in second.stderr


def test_a_dead_recorder_comes_back_while_the_server_goes_on(standing: Standing) -> None:
    server = psutil.Process(standing.server.process.pid)
    (recorder,) = server.children()
    recorder.kill()
    until(lambda: [p.pid for p in server.children() if p.pid != recorder.pid], what="another recorder")
    assert httpx.get(f"{standing.base}/healthz").status_code == 200


def test_the_recorder_ends_when_the_server_is_killed(env: dict[str, str]) -> None:
    with Running("serve", "--port", "0", env=env) as server:
        address(server)
        (recorder,) = psutil.Process(server.process.pid).children()
        server.process.send_signal(signal.SIGKILL)
        until(lambda: not recorder.is_running() or recorder.status() == psutil.STATUS_ZOMBIE, what="its end")


def test_a_port_in_use_gives_one_sentence(env: dict[str, str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = manage("serve", "--port", str(port), env=env)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"CommandError: Cannot listen on 127.0.0.1 port {port}")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("port", ["70000", "x"])
def test_an_impossible_port_gives_one_sentence(port: str) -> None:
    with pytest.raises(CommandError, match="is no port"):
        call_command("serve", "--port", port)


def test_an_impossible_address_gives_one_sentence() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 8000)


def test_run_sets_up_greets_and_keeps_everything_for_the_next_run(tmp_path: Path) -> None:
    env = environment(tmp_path / "home", **BARE, **QUICK, AETHER_SIMULATOR=None)
    port = str(servers.free_port())
    with Running("run", "--port", port, env=env) as first:
        password = first.line("password").split()[-1]
        secret = first.line("API key").split()[-1]
        first.line("Hello from the simulator")
        first.line("Record ")
        assert re.search(r"\d+ tokens in, \d+ tokens out, \$0\.\d+", first.line("tokens in"))
        assert secret in "".join([first.line("curl"), first.line("Authorization")])
        first.line("Ctrl-C ends")
        for name, printed in readme_examples(port, secret).items():
            assert "Hello from the simulator" in printed, name
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            page = client.get("/admin/login/")
            form = {
                "username": "admin",
                "password": password,
                "csrfmiddlewaretoken": client.cookies["csrftoken"],
            }
            assert client.post("/admin/login/?next=/admin/", data=form).headers["location"] == "/admin/"
            assert page.status_code == 200
        assert first.end() == 0

    elsewhere = str(servers.free_port())
    with Running("run", "--port", elsewhere, env=env) as second:
        second.line("Hello from the simulator")
        second.line("tokens in")
        second.line("Ctrl-C ends")
        said = "".join(second.said)
        assert "password" not in said
        assert "$AETHER_API_KEY" in said
        answer = httpx.get(
            f"http://127.0.0.1:{elsewhere}/v1/models", headers={"authorization": f"Bearer {secret}"}
        )
        assert answer.status_code == 200
        assert second.end() == 0

    with closing(sqlite3.connect(tmp_path / "home" / "aether.sqlite3")) as database:
        kept = database.execute("SELECT outcome, list_cost > 0 FROM usage_record").fetchall()
        keys = database.execute("SELECT name FROM consumers_apikey").fetchall()
    assert kept == [("ok", 1)] * 6
    assert keys == [("demo",)]


def test_run_does_the_same_on_postgresql(tmp_path: Path, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE DATABASE run")
    url = postgres.rpartition("/")[0] + "/run"
    env = environment(tmp_path / "home", **BARE, **QUICK, DATABASE_URL=url)
    starts = count(1, 2)
    for _ in range(starts):
        with Running("run", "--port", str(servers.free_port()), env=env) as running:
            running.line("Hello from the simulator")
            running.line("tokens in")
            running.line("Ctrl-C ends")
            assert running.end() == 0
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT outcome FROM usage_record").fetchall() == [("ok",)] * starts
    assert not (tmp_path / "home" / "aether.sqlite3").exists()


def readme_examples(port: str, secret: str) -> dict[str, str]:
    """Runs the README's first requests, one for each SDK, and returns what each printed."""
    text = (ROOT / "README.md").read_text().replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    programs = re.findall(r"\*\*([a-z-]+)\*\*\n\n```python\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in programs] == ["openai", "anthropic", "google-genai"]
    env = {**os.environ, "AETHER_API_KEY": secret}
    running = {
        name: subprocess.Popen([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE, text=True)
        for name, program in programs
    }
    printed = {name: program.communicate(timeout=60)[0] for name, program in running.items()}
    assert {name: program.returncode for name, program in running.items()} == dict.fromkeys(running, 0)
    return printed


def test_run_says_in_one_sentence_that_its_port_is_taken(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        ended = manage(
            "run", "--port", str(taken.getsockname()[1]), env=environment(tmp_path / "home", **BARE)
        )
    assert ended.returncode == 1
    assert "Cannot listen on" in ended.stderr
    assert "password" not in ended.stdout
