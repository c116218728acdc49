"""Measures the relay beside the control, round by round, and prints the ratios.

python -m bench                                   # 9 rounds of everything, about 15 minutes
python -m bench --rounds 3 --only whole,burst
python -m bench --peer litellm,http://127.0.0.1:4000/v1/chat/completions,sk-1234,bench,4711
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from bench import report, run, servers

PAGE = servers.ROOT / "docs" / "benchmarks.md"


def options(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each workload (default: 9)")
    names = [each.name for each in run.WORKLOADS] + ["memory"]
    parser.add_argument(
        "--only",
        default=",".join(names),
        metavar="NAMES",
        help=f"of {', '.join(names)} (default: all)",
    )
    parser.add_argument(
        "--doors", default="asgi,django", help="doors of the relay to measure (default: asgi,django)"
    )
    parser.add_argument(
        "--peer", action="append", default=[], type=servers.peer, metavar="NAME,URL[,KEY[,MODEL[,PID]]]",
        help="another gateway on this machine that forwards OpenAI Chat to the port of --upstream",
    )  # fmt: skip
    parser.add_argument("--upstream", type=int, default=0, help="port of the upstream (default: any)")
    parser.add_argument("--write", action="store_true", help="write the results into docs/benchmarks.md")
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    chosen.only = chosen.only.split(",")
    for name in chosen.only:
        if name not in names:
            parser.error(f"there is no workload {name!r}: choose of {', '.join(names)}")
    return chosen


def main(arguments: list[str]) -> int:
    """Returns 1 where a figure passes its limit."""
    chosen = options(arguments)
    available = sorted(os.sched_getaffinity(0))
    cores = (available[0], available[-1])
    workloads = [run.scaled(each, chosen.scale) for each in run.WORKLOADS if each.name in chosen.only]
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name:
        folder = Path(name)
        doors = tuple(chosen.doors.split(","))
        with servers.all_of(folder, chosen.peer, doors=doors, upstream_port=chosen.upstream) as (
            upstream,
            *tested,
        ):
            bench = run.Bench(upstream, [upstream, *tested], cores)
            bench.warm_up()
            steps = [each for _ in range(chosen.rounds) for each in workloads]
            for workload in tqdm(steps, unit="workload", dynamic_ncols=True, disable=None):
                bench.round(workload)
        memory = []
        if "memory" in chosen.only:
            for number in tqdm(range(3), desc="memory", unit="round", dynamic_ncols=True, disable=None):
                fresh = folder / f"memory-{number}"
                fresh.mkdir()
                memory.append(run.memory(fresh, cores, streams=max(1, round(1000 * chosen.scale))))
    page, failed = report.page(bench.results, workloads, memory, chosen.rounds)
    print(page)
    if chosen.write:
        report.write(PAGE, page)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
