"""`manage.py recorder` as a process of its own."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.counts import count
from tests.programs import MANAGE, ROOT, environment, manage
from tests.usage.journals import begun, finished, started
from tests.waiting import until
from usage.bodies import Recorded, write_file
from usage.journal import Journal


@pytest.fixture
def data(migrated: Path, data_dir: Path) -> Path:
    """An own data directory with a migrated database."""
    with (
        sqlite3.connect(migrated / "aether.sqlite3") as source,
        sqlite3.connect(data_dir / "aether.sqlite3") as target,
    ):
        source.backup(target)
    source.close()
    target.close()
    return data_dir


@contextmanager
def running(data: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", MANAGE, "recorder"],
        env=environment(data),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().strip()


def close(stream: IO[Any] | None) -> None:
    assert stream is not None
    stream.close()


def records(data: Path, where: str = "1") -> int:
    connection = sqlite3.connect(data / "aether.sqlite3")
    try:
        return int(connection.execute(f"SELECT count(*) FROM usage_record WHERE {where}").fetchone()[0])
    finally:
        connection.close()


def journal(data: Path, worker: str = "w1") -> Journal:
    return Journal(data / "journals", worker=worker, clock=time.monotonic, ballast_bytes=0)


def test_it_says_ready_once_everything_found_is_applied_and_goes_on(data: Path) -> None:
    writer = journal(data)
    for number in range(700):
        writer.write("final", finished(number))
    with running(data) as process:
        assert said(process.stdout) == "ready"
        assert records(data) == 700
        writer.write("final", finished(700))
        until(lambda: records(data) == 701, what="the new record")
        until(lambda: writer.backlog_bytes == 0, what="the progress told")
        write_file(data / "bodies", Recorded(finished(1)["record"]["request_id"], 0, request_body=b"x"))
        until(lambda: not list((data / "bodies").iterdir()), what="the bodies taken")
    writer.close()


def test_it_takes_over_a_dead_worker_at_once(data: Path) -> None:
    writer = journal(data)
    writer.write_many([("start", started(1)), ("attempt", begun(1))])
    with running(data) as process:
        assert said(process.stdout) == "ready"
        assert records(data) == 0
        writer.close()
        until(lambda: records(data, "outcome = 'interrupted'") == 1, what="the take-over", seconds=5)


@pytest.mark.parametrize("how", ["end of input", "SIGTERM"])
def test_it_drains_all_journals_before_it_ends(data: Path, how: str) -> None:
    writer = journal(data)
    with running(data) as process:
        assert said(process.stdout) == "ready"
        for number in range(1_000):
            writer.write("final", finished(number))
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            close(process.stdin)
            process.stdin = None
        assert process.wait(30) == 0
    assert records(data) == 1_000
    writer.close()


def test_only_one_works_on_a_data_directory(data: Path) -> None:
    with running(data) as process:
        assert said(process.stdout) == "ready"
        with running(data) as second:
            # The second waits for the first to end, and is ready then.
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            assert said(second.stdout) == "ready"


def test_killed_at_random_it_loses_nothing_and_doubles_nothing(data: Path) -> None:
    writer = journal(data)
    total = 0
    for run in range(count(3, 15)):
        for _ in range(600):
            writer.write("final", finished(total))
            total += 1
        with running(data) as process:
            if run % 2:
                assert said(process.stdout) == "ready"
            else:
                seen = records(data)
                until(lambda seen=seen: records(data) > seen, what="the first new record")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
    with running(data) as process:
        assert said(process.stdout) == "ready"
    assert records(data) == total
    connection = sqlite3.connect(data / "aether.sqlite3")
    assert connection.execute("SELECT sum(requests) FROM usage_rollup").fetchone() == (total,)
    connection.close()
    writer.close()


def test_standard_input_that_is_no_pipe_is_left_alone(data: Path) -> None:
    with (data / "out").open("w+") as out:
        process = subprocess.Popen(
            [sys.executable, MANAGE, "recorder"],
            env=environment(data),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
        )
        until(lambda: (data / "out").read_text().strip() == "ready", what="ready")
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 0


def test_a_parent_that_died_before_it_was_ready_is_no_error(data: Path) -> None:
    writer = journal(data)
    writer.write("final", finished(1))
    with (data / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", MANAGE, "recorder"],
            env=environment(data), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
        close(process.stdout)
        until(lambda: records(data) == 1, what="the record")
        close(process.stdin)
        assert process.wait(30) == 0
    assert (data / "errors").read_text() == ""
    writer.close()


def test_without_its_tables_it_says_so_in_a_sentence(data_dir: Path) -> None:
    failed = manage("recorder", env=environment(data_dir))
    assert failed.returncode == 1
    assert "manage.py migrate" in failed.stderr
    assert "Traceback" not in failed.stderr
