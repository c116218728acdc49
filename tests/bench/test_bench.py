"""`make bench`, in small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bench import servers
from bench.servers import ROOT
from tests.counts import count

pytestmark = pytest.mark.xdist_group("bench")


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip


def test_it_measures_each_server_and_judges_the_figures() -> None:
    rounds, doors = count(1, 2), count(1, 2)
    done = bench(
        "--rounds", str(rounds), "--scale", "0.05", "--only", "whole,burst,paced,converted",
        "--doors", ",".join(("asgi", "django")[:doors]),
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # so small a run proves nothing about the figures
    for server in ("direct", "control", "relay, asgi door"):
        assert done.stdout.count(f"\n| {server} |") == (4 if server.startswith("relay") else 3)
    assert done.stdout.count("times the control's CPU, at most") == 3


def test_an_unknown_workload_is_told_with_those_there_are() -> None:
    done = bench("--only", "all")
    assert done.returncode == 2
    assert "whole, burst, paced, converted, many, memory" in done.stderr


def test_the_control_is_as_bare_as_it_claims() -> None:
    assert len((ROOT / "bench" / "control.py").read_text().splitlines()) <= 60


def test_a_peer_is_a_name_an_address_and_what_it_asks_for() -> None:
    peer = servers.peer("other,http://127.0.0.1:4000/v1/chat/completions,sk-1,fast,7")
    assert (peer.name, peer.port, peer.path) == ("other", 4000, "/v1/chat/completions")
    assert (peer.key, peer.model, peer.pid) == ("sk-1", "fast", 7)
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:PORT"):
        servers.peer("other,http://example.com/v1")
