"""A real server to be killed: `manage.py serve` with its recorder on a data directory and a database of its
own, a vendor that survives it, and what the server wrote, read with nothing of its own running.

    with template(folder, migrated) as made, victim(made, tmp_path, RELAY_DRAIN_SECONDS="7") as server:
        async with Callers(server.url, SECRET, ["quick"]) as callers:    # tests.callers: they remember
            await callers.busy(10)
            await asyncio.to_thread(server.kill)     # or end(), kill_at_once(), recorder().kill()
            await asyncio.to_thread(server.start)
        server.drained()
        server.rows("SELECT * FROM usage_record")    # against callers.seen
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg

from aether.supervision import LONGEST_PAUSE
from simulator.server import Simulator
from tests import servers
from tests.gate import Gate
from tests.journals import lines
from tests.programs import MANAGE, ROOT, environment, manage
from tests.waiting import until
from usage.journal import PROGRESS
from usage.segments import segment_number, segments, workers

SECRET = "sk-aether-of-the-killers-tests-000000000000"
WORDS = {"quick": 8, "middle": 20, "long": 60, "endless": 4000}
"""What the callers may ask for, by its words, each a token: an answer of less than half a second, of one, of
three, and of minutes."""
PACE_MS = 50
PRICE = (1_000_000, 2_000_000)
"""Pico-dollars for a token in, and for one out."""
BOOT_SECONDS = 90.0


@contextmanager
def surviving_vendor() -> Iterator[str]:
    """A simulator in a thread of its own; yields its address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="vendor")
    thread.start()
    vendor = Simulator()
    try:
        asyncio.run_coroutine_threadsafe(vendor.start(), loop).result(10)
        yield vendor.url
        asyncio.run_coroutine_threadsafe(vendor.stop(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def fresh_database(template: str = "") -> Iterator[str]:
    """A database in the PostgreSQL that AETHER_TEST_DATABASE_URL names, a copy of `template` if so wished,
    dropped at the end; yields its address, "" where the tests run on SQLite."""
    server = os.environ.get("AETHER_TEST_DATABASE_URL", "")
    if not server:
        yield ""
        return
    name = f"killer_{secrets.token_hex(6)}"
    like = f" TEMPLATE {template.rpartition('/')[2]}" if template else ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{like}".encode())
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@dataclass(frozen=True)
class Template:
    """A configured database, to be copied: a data directory, or a PostgreSQL address."""

    folder: Path
    database: str


PLAYS = {name: f"sim.chunks-{words}.delay-{PACE_MS}" for name, words in WORDS.items()}


@contextmanager
def template(
    folder: Path,
    migrated: Path,
    plays: Mapping[str, str] = PLAYS,
    vendor: AbstractContextManager[str] | None = None,
) -> Iterator[Template]:
    """A migrated database, on SQLite a copy of `migrated`, with the vendor (the simulator, unless another is
    given), one API key and these models in it, each with what the vendor plays for it."""
    with vendor or surviving_vendor() as vendor_url, fresh_database() as database:
        env = environment(folder / "data", DATABASE_URL=database or None)
        (folder / "config.yaml").write_text(_config(vendor_url, plays))
        if not database:
            shutil.copytree(migrated, folder / "data")
        migrate = [["migrate", "-v0"]] if database else []
        for command in (*migrate, ["import_config", str(folder / "config.yaml")]):
            ended = manage(*command, env=env)
            assert ended.returncode == 0, ended.stderr
        yield Template(folder / "data", database)


def _config(vendor: str, plays: Mapping[str, str]) -> str:
    deployments = "\n".join(
        f"      - {{model: {name}, upstream_name: {play}}}" for name, play in plays.items()
    )
    models = "\n".join(f'  - {{name: {name}, price: {{input: "1", output: "2"}}}}' for name in plays)
    return f"""
providers:
  - name: vendor
    endpoints:
      - {{format: openai_chat, base_url: "{vendor}/v1", allow_private: true}}
      - {{format: anthropic, base_url: "{vendor}", allow_private: true}}
    keys:
      - {{name: k1, secret: sk-vendor-key-number-1}}
      - {{name: k2, secret: sk-vendor-key-number-2}}
    models:
{deployments}
models:
{models}
consumers:
  - name: alice
    api_keys:
      - {{name: laptop, secret: {SECRET}}}
"""


class Victim:
    """A server on a fixed port, which can be killed and started again. It starts and kills processes of its
    own alone."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.data = Path(env["AETHER_DATA_DIR"])
        self.env = env
        self.port = servers.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.recorders: list[psutil.Process] = []
        self._log = folder / "log"
        self._begun = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server. Raises RuntimeError where none was started."""
        if self._process is None:
            raise RuntimeError("no server was started")
        return self._process

    @property
    def said(self) -> str:
        """All that servers and recorders have said so far."""
        return self._log.read_text(errors="replace")

    def begin(self) -> None:
        """Starts the server and does not wait for it."""
        self._begun = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, MANAGE, "serve", "--port", str(self.port)],
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        """Starts the server; returns once it listens. Raises RuntimeError where it ends before."""
        self.begin()
        until(self._listens, what="the server listening", seconds=BOOT_SECONDS)
        self.recorder()

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the server ended:\n{self.said}")
        return b"Listening on" in self._log.read_bytes()[self._begun :]

    def recorder(self) -> psutil.Process:
        """The server's recorder, once there is one."""

        def find() -> list[psutil.Process]:
            children = psutil.Process(self.process.pid).children()
            return [each for each in children if not is_gone(each) and each not in killed]

        killed = [each for each in self.recorders if is_gone(each)]
        # One that is killed before it is ready counts as broken, and is started again ever more slowly.
        until(find, what="a recorder", seconds=2 * LONGEST_PAUSE)
        (found,) = find()
        if found not in self.recorders:
            self.recorders.append(found)
        return found

    def kill(self, *, with_recorder: bool = False) -> None:
        """SIGKILLs the server, and its recorder if so wished."""
        recorder = self.recorder()
        self.process.kill()
        if with_recorder:
            recorder.kill()
        self.process.wait()

    def kill_at_once(self) -> None:
        """SIGKILLs the server wherever it is, be it in the middle of its start; it may have a recorder."""
        self.recorders += psutil.Process(self.process.pid).children()
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 60) -> int:
        """Sends SIGTERM; returns the exit status."""
        self.recorder()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self) -> None:
        """Ends what still runs, by force."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for each in self.recorders:
            if not is_gone(each):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
                until(partial(is_gone, each), what="a recorder's end")

    # What it wrote

    def starts(self) -> set[str]:
        """The ids of all requests that any journal says were begun."""
        return {line["request_id"] for line in lines(self.data / "journals", "start")}

    def drained(self, seconds: float = 60) -> None:
        """Returns once the recorder says that all journals are in the database."""
        until(self._is_drained, what="the journals drained", seconds=seconds)

    def _is_drained(self) -> bool:
        settled = {row["segment"] for row in self.rows("SELECT segment FROM usage_journalposition")}
        return all(
            f"{worker.name}/" in settled or self._is_told(worker)
            for worker in workers(self.data / "journals")
        )

    @staticmethod
    def _is_told(worker: Path) -> bool:
        last = segments(worker)[-1]
        with suppress(FileNotFoundError, ValueError):
            number, position = map(int, (worker / PROGRESS).read_bytes().split())
            return (number, position) == (segment_number(last), last.stat().st_size)
        return False

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What the database answers, by the columns' names."""
        names, found = self._select(query)
        return [dict(zip(names, row, strict=True)) for row in found]

    def tuples(self, query: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        return self._select(query)[1]

    def _select(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        if url := self.env.get("DATABASE_URL"):
            with psycopg.connect(url) as connection:
                cursor = connection.execute(query.encode())
                return [each.name for each in cursor.description or ()], cursor.fetchall()
        with closing(sqlite3.connect(self.data / "aether.sqlite3", timeout=30)) as database:
            answer = database.execute(query)
            return [each[0] for each in answer.description], answer.fetchall()


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended; a zombie has."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def victim(made: Template, folder: Path, gate: Gate | None = None, /, **env: str) -> Iterator[Victim]:
    """A running server on a copy of the template, ended and cleared away at the end. With a `gate` it reaches
    its PostgreSQL through that alone."""
    home = folder / "home"
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(made.database))
        shutil.copytree(made.folder, home)
        address = gate.before(database) if gate and database else database
        each = Victim(folder, environment(home, DATABASE_URL=address or None, **env))
        stack.callback(each.close)
        each.start()
        yield each
