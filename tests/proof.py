"""A pytest plugin for `make proof`: a progress bar, and the table of what was proved in docs/proof.md.

A test tells what it measured with `record_property("measured", "...")`; how often it repeated itself is known
from `tests.counts.count`. Tests that tell neither are summed up by file."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import pytest
from django.db import connection
from tqdm import tqdm

from tests import counts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "proof.md"


@dataclass
class Row:
    """One line of the table: a test that measured something, or a file's other tests."""

    tests: int = 0
    failed: int = 0
    repeats: list[int] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)

    def cells(self, name: str) -> str:
        outcome = f"**{self.failed} failed**" if self.failed else "passed"
        times = " · ".join(f"{number:,}" for number in self.repeats)
        return f"| {name} | {self.tests} | {times} | {'; '.join(self.measured)} | {outcome} |"


class Proof:
    """Collects the reports of one run and writes them down at its end."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self.bar: tqdm[Never] | None = None
        self.began = datetime.now(UTC)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._start(len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        if self.bar is None:
            self._start(len(ids))

    def _start(self, total: int) -> None:
        self.bar = tqdm(total=total, unit="test", dynamic_ncols=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        path, test, name = parts(report.nodeid)
        told = Told(report.user_properties)
        row = self.rows[f"{path} · {test}" if told.measured or told.repeats else path]
        row.tests += 1
        row.failed += report.failed
        row.measured += told.measured
        row.repeats = told.repeats or told.repeats_of_file
        if self.bar is not None and report.when == "call":
            self.bar.set_postfix_str(name[:60], refresh=False)
            self.bar.update()

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("passed", "", "") if report.passed and report.when == "call" else None  # the bar tells it

    def pytest_sessionfinish(self) -> None:
        if self.bar is not None:
            self.bar.close()
        section = connection.vendor
        minutes = (datetime.now(UTC) - self.began).total_seconds() / 60
        lines = [
            f"{self.began:%Y-%m-%d %H:%M} UTC, commit {commit()}, {minutes:.0f} minutes.",
            "",
            "| test | tests | times each | measured | outcome |",
            "|---|---|---|---|---|",
            *(self.rows[name].cells(name) for name in sorted(self.rows)),
        ]
        PAGE.write_text(between(PAGE.read_text(), section, "\n".join(lines)))


def between(page: str, section: str, text: str) -> str:
    """`page` with what stands between the section's markers replaced by `text`."""
    first, last = f"<!-- {section} -->", f"<!-- /{section} -->"
    before, _, rest = page.partition(first)
    _, _, after = rest.partition(last)
    return f"{before}{first}\n{text}\n{last}{after}"


def commit() -> str:
    """The short name of the commit under test, marked where the tree differs from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"


class Told:
    """What a test's report carries for the table."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self.measured = [str(value) for name, value in properties if name == "measured"]
        self.repeats = [value for name, value in properties if name == "repeats" and isinstance(value, int)]
        self.repeats_of_file = [
            value for name, value in properties if name == "repeats of file" and isinstance(value, int)
        ]


def parts(nodeid: str) -> tuple[str, str, str]:
    """The file, the test without its parameters, and with them."""
    path, _, name = nodeid.partition("::")
    return path, name.partition("[")[0], name


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Lets a test's report carry the counts in force to the process that prints."""
    if call.when == "call":
        path, test, _ = parts(item.nodeid)
        item.user_properties += [("repeats", number) for number in counts.ASKED.get((path, test), [])]
        item.user_properties += [("repeats of file", number) for number in counts.ASKED.get((path, ""), [])]


def pytest_configure(config: pytest.Config) -> None:
    """Turns the plugin on, in the process that prints."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proof(), "proof-table")
