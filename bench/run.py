"""Rounds of load on each server in turn, and what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bench import servers
from bench.figures import Measured, Results, percentile
from bench.load import Ask, Seen
from bench.servers import Server


@dataclass(frozen=True)
class Workload:
    """What the client does to each server in a round."""

    name: str
    title: str
    wanted: str
    requests: int
    at_once: int
    apart: bool = False
    """Upstream and client on another core than the server."""
    chunks: int = 0
    """Clocked chunks of a stream; the unit is then a chunk, else a request."""
    ramp: float = 0.0
    converted: bool = False
    """Asked for in another format than the upstream's: of the relay alone, whose own cost is the measure."""


WORKLOADS = (
    Workload("whole", "whole answers of 1.2 KB, 16 at once", "whole", 3200, 16),
    Workload("burst", "streams of 100 chunks sent at once, 16 at once", "chunks=100 every=0", 960, 16),
    Workload(
        "paced", "50 streams, each a chunk every 10 ms", "chunks=200 every=10", 50, 50,
        apart=True, chunks=200, ramp=0.5,
    ),
    Workload(
        "converted", "the same, of Anthropic clients", "chunks=200 every=10", 50, 50,
        apart=True, chunks=200, ramp=0.5, converted=True,
    ),
    Workload(
        "many", "1,000 streams, each a chunk every 100 ms", "chunks=70 every=100", 1000, 1000,
        apart=True, chunks=70, ramp=5.0,
    ),
)  # fmt: skip
WARM_UP = (
    Workload("", "", "whole", 160, 16),
    Workload("", "", "chunks=100 every=0", 160, 16),
)
MEMORY = Workload("memory", "", "chunks=60 every=100", 1000, 1000, apart=True, ramp=4.0)


def scaled(workload: Workload, by: float) -> Workload:
    """The same with fewer requests, for a quick look."""
    at_once = max(1, round(workload.at_once * min(1, by)))
    times = max(1, round(workload.requests / workload.at_once * by))
    return replace(workload, at_once=at_once, requests=at_once * times)


@dataclass
class Bench:
    """The servers under test, and the cores that everything is pinned to."""

    upstream: Server
    tested: list[Server]
    cores: tuple[int, int]
    results: Results = field(default_factory=Results)

    def round(self, workload: Workload) -> None:
        """One workload on every server."""
        self.pin(workload)
        for server in self.tested:
            if not workload.converted or server.name.startswith("relay"):
                self.measure(workload, server)

    def warm_up(self) -> None:
        """What is not measured: imports, caches, connections."""
        for workload in WARM_UP:
            self.pin(workload)
            for server in self.tested:
                load(self.ask(workload, server), self.cores[0])
                server.sent += workload.requests

    def pin(self, workload: Workload) -> None:
        servers.pin(self.upstream.pid, self.cores[workload.apart])
        for server in self.tested:
            if server.pid not in (0, self.upstream.pid):
                servers.pin(server.pid, self.cores[0])

    def ask(self, workload: Workload, server: Server) -> Ask:
        return Ask(
            server.port, server.path, server.key, server.model,
            workload.wanted, workload.requests, workload.at_once, workload.ramp, workload.converted,
        )  # fmt: skip

    def measure(self, workload: Workload, server: Server) -> None:
        """One workload on one server."""
        server.settled()
        before, recorder_before = server.cpu(), server.recorder_cpu()
        seen = load(self.ask(workload, server), self.cores[workload.apart])
        used = server.cpu() - before
        server.sent += seen.requests
        server.settled()
        due = workload.chunks * workload.requests
        measured = Measured(
            units=due or seen.requests,
            server=used,
            recorder=server.recorder_cpu() - recorder_before,
            latency_p50=percentile(seen.latencies, 0.5),
            latency_p99=percentile(seen.latencies, 0.99),
            rate=seen.requests / seen.seconds,
            kept=seen.kept / due if due else 1.0,
            delay_p99=percentile(seen.delays, 0.99),
            first_p50=percentile(seen.firsts, 0.5),
        )
        self.results.add(workload.name, server.name, measured)


def load(ask: Ask, core: int, look: Callable[[], None] = lambda: None) -> Seen:
    """Runs the client in a process of its own, and calls `look` five times a second meanwhile.

    Raises RuntimeError with its last words.
    """
    # Files, not pipes: what nobody reads from a pipe stops the client once it is full.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            [sys.executable, "-m", "bench.load", json.dumps(asdict(ask))],
            cwd=servers.ROOT, stdout=out, stderr=errors,
        ) as client:  # fmt: skip
            os.sched_setaffinity(client.pid, {core})
            while True:
                try:
                    client.wait(timeout=0.2)
                    break
                except subprocess.TimeoutExpired:
                    look()
        if client.returncode:
            errors.seek(0)
            raise RuntimeError(f"the client failed: {errors.read()[-600:].decode('utf-8', 'replace')}")
        out.seek(0)
        return Seen(**json.loads(out.read()))


def memory(folder: Path, cores: tuple[int, int], streams: int = MEMORY.at_once) -> dict[str, float]:
    """Bytes that a fresh control and a fresh relay behind its bare door hold for each open stream."""
    held = {}
    workload = replace(MEMORY, requests=streams, at_once=streams)
    with servers.all_of(folder, [], doors=("asgi",)) as (upstream, *tested):
        bench = Bench(upstream, tested, cores)
        bench.warm_up()
        bench.pin(workload)
        for server in tested:
            before, most = server.memory(), 0

            def look(server: Server = server) -> None:
                nonlocal most
                most = max(most, server.memory())

            load(bench.ask(workload, server), cores[1], look)
            held[server.name] = (most - before) / streams
    return held
