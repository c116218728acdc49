"""The results as a page of tables."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Figure, Results
from bench.run import Workload
from bench.servers import ROOT

LIMITS = {"whole": 2.0, "burst": 1.6, "paced": 1.3}
"""The most that the bare door may cost, as a multiple of the control."""
KEPT = 0.98
MEMORY = 1.5
BARE = "relay, asgi door"
SLACK = 1.1
PLAIN, CONVERTED, LATER = "paced", 3.0, 5.0
"""A converted stream is measured by the same one passed through: times its CPU, milliseconds later."""


def page(
    results: Results, workloads: list[Workload], memory: list[dict[str, float]], rounds: int
) -> tuple[str, bool]:
    """The results in Markdown, and whether a figure passes its limit."""
    verdicts: list[tuple[str, bool]] = []
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {rounds} rounds, {_machine()}.",
        "Medians, quartiles in brackets.",
        "",
    ]
    for workload in workloads:
        lines += _table(results, workload, verdicts)
    if memory:
        lines += _memory(memory, verdicts)
    lines += ["| figure | verdict |", "|---|---|"]
    lines += [f"| {text} | {'holds' if holds else '**does not hold**'} |" for text, holds in verdicts]
    return "\n".join(lines), not all(holds for _, holds in verdicts)


def _table(results: Results, workload: Workload, verdicts: list[tuple[str, bool]]) -> list[str]:
    name, found = workload.name, results.rounds[workload.name]
    unit = "100k chunks, s" if workload.chunks else "request, ms"
    late = "chunks kept · p99 ms" if workload.chunks else "requests/s · p50 · p99 ms"
    lines = [
        f"### {name}: {workload.title}",
        "",
        f"| server | times the control | CPU per {unit} | of it recorder | {late} |",
        "|---|---|---|---|---|",
    ]
    scale = 100.0 if workload.chunks else 1.0
    for server, measured in found.items():
        times = cost = recorder = ""
        if workload.converted:
            if PLAIN in results.rounds:
                times = f"{results.beyond(name, PLAIN, server)[0].text()} times its own paced"
            cost = Figure.of([each.cost * scale for each in measured]).text(3)
        elif measured[0].server and server != "direct":
            times = "1" if server == "control" else results.ratio(name, server).text()
            cost = Figure.of([each.cost * scale for each in measured]).text(3)
            recorder = Figure.of([each.recorder_cost * scale for each in measured]).text(3)
            recorder = recorder if server.startswith("relay") else ""
        kept, rate = results.figure(name, server, "kept"), results.figure(name, server, "rate")
        p50, p99 = (results.figure(name, server, each).median for each in ("latency_p50", "latency_p99"))
        seen = f"{rate.median:,.0f} · {p50:.1f} · {p99:.1f}"
        if workload.chunks:
            seen = f"{kept.median:.2%} · {results.figure(name, server, 'delay_p99').median:.0f}"
        lines.append(f"| {server} | {times} | {cost} | {recorder} | {seen} |")
    if name in LIMITS and BARE in found:
        ratio, most = results.ratio(name, BARE), LIMITS[name]
        holds = ratio.median <= most and ratio.upper <= most * SLACK
        verdicts.append((f"{name}: {ratio.text()} times the control's CPU, at most {most}", holds))
    if workload.converted and BARE in found and PLAIN in results.rounds:
        ratio, later = results.beyond(name, PLAIN, BARE)
        text = f"{name}: {ratio.text()} times a passed-through chunk's CPU, at most {CONVERTED}"
        verdicts.append((text, ratio.median <= CONVERTED and ratio.upper <= CONVERTED * SLACK))
        text = f"{name}: first token {later.text()} ms later, at most {LATER}"
        verdicts.append((text, later.median <= LATER))
    if name == "many" and BARE in found:
        ours, theirs = (results.figure(name, each, "kept").median for each in (BARE, "control"))
        if theirs < KEPT:
            verdicts.append((f"many: void, the control itself keeps {theirs:.2%} of the chunks", True))
        else:
            verdicts.append((f"many: {ours:.2%} of the chunks kept, at least {KEPT:.0%}", ours >= KEPT))
    return [*lines, ""]


def _memory(memory: list[dict[str, float]], verdicts: list[tuple[str, bool]]) -> list[str]:
    ratio = Figure.of([each[BARE] / each["control"] for each in memory])
    lines = ["### memory: bytes for an open stream, of 1,000", "", "| server | KB |", "|---|---|"]
    lines += [
        f"| {server} | {Figure.of([each[server] / 1000 for each in memory]).text(1)} |"
        for server in memory[0]
    ]
    verdicts.append(
        (
            f"memory: {ratio.text()} times the control's for an open stream, at most {MEMORY}",
            ratio.median <= MEMORY,
        )
    )
    return [*lines, ""]


def _machine() -> str:
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model or platform.machine()}), Python {platform.python_version()}"


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


def write(path: Path, text: str) -> None:
    """Puts the results between the page's markers."""
    first, last = "<!-- results -->", "<!-- /results -->"
    before, _, rest = path.read_text().partition(first)
    _, _, after = rest.partition(last)
    path.write_text(f"{before}{first}\n{text}\n{last}{after}")
