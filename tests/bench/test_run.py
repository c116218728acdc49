"""The load client as a process, and what is read beside it."""

from __future__ import annotations

import os

from bench import run, servers
from bench.load import Ask


def test_a_client_with_much_to_tell_is_read_while_its_server_is_looked_at() -> None:
    core = min(os.sched_getaffinity(0))
    looks: list[int] = []
    with servers.upstream() as upstream:
        ask = Ask(upstream.port, upstream.path, "", upstream.model, "chunks=40 every=10", 300, 300, 0.0)
        seen = run.load(ask, core, lambda: looks.append(upstream.memory()))
    assert len(seen.delays) * len("0.001,") > 65_536, "as much as fills a pipe, or it shows nothing"
    assert seen.kept == 300 * 40
    assert looks
    assert all(looks)
