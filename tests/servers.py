"""Throw-away servers for tests: PostgreSQL and Redis on 127.0.0.1, ended with their directory when done.

As a program it runs a command with a PostgreSQL at hand, or says that there is none:
`python -m tests.servers pytest -m database`."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until

INITDB = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": 100,
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}
NO_POSTGRES = "left out on PostgreSQL: no PostgreSQL binaries here (Debian: apt-get install postgresql)"


def postgres_binaries() -> Path | None:
    """The folder of the newest PostgreSQL here, or None."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if not found and (path := shutil.which("postgres")):
        found = [Path(path).parent]
    return max(found, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), default=None)


def redis_binary() -> str | None:
    """The Redis (or Valkey) server here, or None."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


def chromium_binary() -> str | None:
    """The Chromium here, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether something accepts connections at 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _account() -> str | None:
    """Whom PostgreSQL runs as: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextmanager
def _process(command: list[str], folder: Path, port: int, user: str | None = None) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, user=user)
        try:
            until(lambda: listening(port) or process.poll() is not None, what=f"{command[0]} listening")
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended: {(folder / 'log').read_text(errors='replace')}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def postgres() -> Iterator[str]:
    """A fresh PostgreSQL cluster; yields the address of its database. Durability is off: it lives for one
    run."""
    binaries = postgres_binaries()
    if binaries is None:
        raise RuntimeError(NO_POSTGRES)
    user, port = _account(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="aether-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        subprocess.run(
            [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "aether", *INITDB],
            check=True,
            cwd=folder,
            user=user,
            capture_output=True,
        )
        options = {**OPTIONS, "port": port, "unix_socket_directories": folder}
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with _process([str(binaries / "postgres"), "-D", str(folder / "data"), *flags], folder, port, user):
            url = f"postgresql://aether@127.0.0.1:{port}/postgres"
            ready = [str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            until(lambda: subprocess.run(ready, check=False).returncode == 0, what="PostgreSQL ready")
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis() -> Iterator[str]:
    """A fresh Redis that keeps nothing; yields its address."""
    binary = redis_binary()
    if binary is None:
        raise RuntimeError("no redis-server here (Debian: apt-get install redis-server)")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="aether-redis-"))
    try:
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with _process(command, folder, port):
            yield f"redis://127.0.0.1:{port}/0"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(command: list[str]) -> int:
    """Runs `command` with AETHER_TEST_DATABASE_URL; returns its exit status, 0 where there is no
    PostgreSQL."""
    if postgres_binaries() is None:
        sys.stdout.write(f"{NO_POSTGRES}\n")
        return 0
    with postgres() as url:
        environment = {**os.environ, "AETHER_TEST_DATABASE_URL": url}
        return subprocess.run(command, check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
