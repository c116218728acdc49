"""Three times what a server can do is offered: it goes on at what it can do, says no at once to the rest, and
is as before when the crowd has gone (resilience.md, "Shedding")."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import servers
from tests.counts import PROOF, count

pytestmark = pytest.mark.xdist_group("kill")

GOODPUT, LATER, TIMES = 0.9, 20.0, 5.0


def apart(server: int, *others: int) -> None:
    """Keeps a server on one core and all others off it, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        servers.pin(server, cores[0])
        for each in others:
            servers.pin(each, cores[1])


def test_three_times_its_capacity_leaves_a_server_at_its_best(tmp_path: Path, record_property: Any) -> None:
    """A small run offers too little to crowd a server: it shows that all of it is served.

    All times count from when a request was due, so that the crowd's own lateness is in each, and is told.
    The lag is how long a new connection's first bytes take to be refused, asked for 20 times a second whether
    or not the last was answered: what waits for its answer would measure few of the worst. As before is the
    first second from which nobody is turned away, with a 99th percentile as within the capacity. The server
    has a core of its own where there are two: what it loses to its neighbours is no load of its own.
    """
    ramp, over, after = count(1, 20), count(1, 60), count(1, 10)
    with (
        servers.upstream() as vendor,
        servers.relay(
            "asgi", vendor.port, tmp_path, RELAY_ADDRESS_CONNECTIONS="0"
        ) as relay,  # the crowd has one
    ):
        program = [sys.executable, "-m", "tests.openloop", str(relay.port), servers.KEY]
        with subprocess.Popen(
            [*program, str(ramp), str(over), str(after)], cwd=servers.ROOT, stdout=subprocess.PIPE, text=True
        ) as crowd:
            apart(relay.pid, relay.recorder, vendor.pid, crowd.pid)
            said, _ = crowd.communicate(timeout=300)
        assert crowd.returncode == 0
    told = json.loads(said)
    calm = list(enumerate(zip(told["calm_shed"], told["calm_p99"], strict=True)))
    again = max((each for each, (shed, _) in calm if shed), default=-1) + 1
    within = (each for each, (_, p99) in calm[again:] if p99 < TIMES * told["idle_p99"])
    back = next(within, after)
    assert told["failed"] == {}, said
    assert told["goodput"] > 0
    if PROOF:
        assert told["goodput"] >= GOODPUT * told["peak"]
        assert told["shed_p95"] <= told["lag_p95"] + LATER
        assert back < after
    record_property(
        "measured",
        f"capacity {told['capacity']:.0f}/s (p99 alone {told['idle_p99']:.1f} ms); offered {told['sent']:,}"
        f" in {over} s: {told['goodput']:.0f}/s served, {told['shed']:,} told no, p95 {told['shed_p95']:.0f}"
        f" ms at a lag of {told['lag_p95']:.0f} ms, the crowd's own of {told['own_p95']:.0f} ms; as before"
        f" within {back + 1} s",
    )
