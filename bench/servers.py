"""What is measured: the upstream alone, the control, the relay behind each door, and peers."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-aether-" + secrets.token_urlsafe(32)
MODEL = "bench"
CONFIGURATION = """
providers:
  - name: bench
    endpoints: [{{format: openai_chat, base_url: "http://127.0.0.1:{upstream}/v1", allow_private: true}}]
    keys: [{{name: one, secret: "sk-bench-upstream-key"}}]
    models: [{{model: bench, upstream_name: bench-1}}]
models:
  - {{name: bench, price: {{input: "1.00", output: "2.00"}}}}
consumers:
  - {{name: bench, api_keys: [{{name: bench, secret: "{key}"}}]}}
"""
BOOT_SECONDS = 60


@dataclass
class Server:
    """Something that answers on a port of this machine. `pid` 0: it is not ours, its CPU is not known."""

    name: str
    port: int
    pid: int = 0
    path: str = "/v1/chat/completions"
    key: str = KEY
    model: str = MODEL
    data_dir: Path | None = None
    """The relay's, whose recorder has a CPU time of its own."""
    recorder: int = 0
    sent: int = field(default=0, repr=False)

    def cpu(self) -> float:
        """Seconds of CPU that the process has used, its recorder's apart."""
        return cpu_of(self.pid)

    def recorder_cpu(self) -> float:
        return cpu_of(self.recorder)

    def memory(self) -> int:
        """Bytes of memory that the process holds for itself."""
        return int(psutil.Process(self.pid).memory_full_info().uss)

    def settled(self, within: float = 60) -> None:
        """Waits until the recorder has written every record. Raises TimeoutError."""
        if self.data_dir is None:
            return
        until = time.monotonic() + within
        with sqlite3.connect(f"file:{self.data_dir / 'aether.sqlite3'}?mode=ro", uri=True) as database:
            while database.execute("SELECT count(*) FROM usage_record").fetchone()[0] < self.sent:
                if time.monotonic() > until:
                    raise TimeoutError(f"{self.name}: the recorder has not caught up in {within} s")
                time.sleep(0.1)


def cpu_of(pid: int) -> float:
    """Seconds of CPU, to the nanosecond where the kernel tells, that a process and its threads have used."""
    if not pid:
        return 0.0
    try:
        files = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
        if files:
            return sum(int(each.read_text().split()[0]) for each in files) / 1e9
    except OSError:
        pass
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def pin(pid: int, core: int) -> None:
    """Keeps a process, with its threads and children, on one core."""
    for each in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for thread in each.threads():
            os.sched_setaffinity(thread.id, {core})


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(**more: str) -> dict[str, str]:
    """This process's environment less what would configure a relay, and `more`."""
    ours = ("AETHER_", "RELAY_", "DATABASE_", "REDIS_", "DJANGO_", "SECRET_KEY", "ALLOWED_HOSTS")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)} | more


@contextmanager
def started(name: str, arguments: list[str], port: int, **more: str) -> Iterator[Server]:
    """A process that answers on `port`, ended with SIGTERM. Raises RuntimeError where it does not start."""
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment(**more), stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + BOOT_SECONDS
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start")
            time.sleep(0.05)
        yield Server(name, port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def upstream(port: int = 0) -> Iterator[Server]:
    port = port or free_port()
    with started("direct", [sys.executable, "-m", "bench.upstream", str(port)], port) as server:
        yield server


@contextmanager
def control(upstream_port: int) -> Iterator[Server]:
    port = free_port()
    address = f"http://127.0.0.1:{upstream_port}"
    with started("control", [sys.executable, "-m", "bench.control", str(port), address], port) as server:
        yield server


@contextmanager
def relay(door: str, upstream_port: int, folder: Path, **more: str) -> Iterator[Server]:
    """The relay as `manage.py serve` starts it, everything on, behind `door` (asgi or django); `more` are
    variables of its environment."""
    data = folder / f"data-{door}"
    configuration = folder / f"{door}.yaml"
    configuration.write_text(CONFIGURATION.format(upstream=upstream_port, key=KEY))
    place = {"AETHER_DATA_DIR": str(data), "AETHER_ENV_FILE": os.devnull, "RELAY_DOOR": door, **more}
    for command in (["migrate", "-v0"], ["import_config", str(configuration)]):
        subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT, env=environment(**place), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    port = free_port()
    serve = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with started(f"relay, {door} door", serve, port, **place) as server:
        server.data_dir = data
        (recorder,) = psutil.Process(server.pid).children()
        server.recorder = recorder.pid
        yield server


def peer(text: str) -> Server:
    """`NAME,URL[,KEY[,MODEL[,PID]]]` as a server. Raises ValueError."""
    name, url, *rest = text.split(",")
    scheme, _, address = url.partition("://127.0.0.1:")
    port, _, path = address.partition("/")
    if scheme != "http" or not port.isdigit():
        raise ValueError(f"{url!r}: a peer's address is http://127.0.0.1:PORT/v1/chat/completions")
    key, model, pid = [*rest, *["x", MODEL, "0"][len(rest) :]][:3]
    return Server(name, int(port), int(pid), "/" + path, key, model)


@contextmanager
def all_of(
    folder: Path, peers: list[Server], *, doors: tuple[str, ...], upstream_port: int = 0
) -> Iterator[list[Server]]:
    """Everything that is measured; the upstream is the first, the control the second."""
    with ExitStack() as stack:
        vendor = stack.enter_context(upstream(upstream_port))
        barest = stack.enter_context(control(vendor.port))
        ours = [stack.enter_context(relay(door, vendor.port, folder)) for door in doors]
        yield [vendor, barest, *ours, *peers]
