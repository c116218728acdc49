"""What every test may ask for, and what is left out where a program is missing."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from pytest_django import Settings

from tests import servers
from tests.agents import programs
from tests.counts import PROOF
from tests.grouping import Scheduling
from tests.programs import environment, manage

AGENTS = "the coding agents"
NEEDS: dict[str, tuple[Callable[[], object], str]] = {
    "postgres": (servers.postgres_binaries, "postgresql"),
    "redis": (servers.redis_binary, "redis-server"),
    "browser": (servers.chromium_binary, "chromium"),
    "agents": (programs.installed, AGENTS),
}
"""Fixture or marker -> what tells whether its program is here, and the program's Debian package."""

left_out = pytest.StashKey[dict[str, int]]()


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """An own AETHER_DATA_DIR for each test."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    settings.AETHER_DATA_DIR = folder
    return folder


@pytest.fixture(scope="session", autouse=True)
def few_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One authority instead of the system's hundreds: reading those takes each client 50 ms."""
    one, end, _ = Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----\n")
    file = tmp_path_factory.mktemp("tls") / "authorities.pem"
    file.write_text(one + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_polls() -> Iterator[None]:
    """What changed is looked for twenty times as often, except in the proof: many tests wait for it."""
    with pytest.MonkeyPatch.context() as patch:
        if not PROOF:
            patch.setattr("relay.engine.POLL", 0.05)
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with an up-to-date SQLite database, to be copied. Made once, whatever the number of
    xdist's workers, each of which has a folder of its own in a common one."""
    base = tmp_path_factory.getbasetemp()
    common = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    home = common / "migrated"
    with (common / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            making = common / "migrating"
            ended = manage("migrate", "-v0", env=environment(making))
            assert ended.returncode == 0, ended.stderr
            making.rename(home)
    return home


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL."""
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The address of a real Redis."""
    with servers.redis() as url:
        yield url


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keeps groups of tests together, where tests run side by side."""
    return Scheduling(config, log) if config.getoption("dist") == "loadgroup" else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where only tests of the database are wanted, reads no module that has none."""
    if config.getoption("markexpr") != "database" or not collection_path.match("test_*.py"):
        return None
    return True if "pytest.mark.database" not in collection_path.read_text() else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what cannot run here, and remembers it for the summary."""
    absent = {name: package for name, (here, package) in NEEDS.items() if not here()}
    counts: dict[str, int] = {}
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        wanted = {*getattr(item, "fixturenames", ()), *(marker.name for marker in item.iter_markers())}
        missing = [package for name, package in absent.items() if name in wanted]
        (dropped if missing else kept).append(item)
        for package in missing:
            counts[package] = counts.get(package, 0) + 1
    config.stash[left_out] = counts
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hands the counts of an xdist worker to the process that prints; every worker collects all tests."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash.get(left_out, {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes the counts of an xdist worker."""
    node.config.stash[left_out] = getattr(node, "workeroutput", {}).get("left_out", {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says plainly what was left out."""
    for package, number in config.stash.get(left_out, {}).items():
        debian = "nodejs npm, of node 20 or newer; then make agents" if package == AGENTS else package
        hint = f"(Debian: apt-get install {debian})"
        terminalreporter.write_line(f"left out: {number} tests that need {package} {hint}")
