"""A program: a recorder that is killed by SIGKILL again and again, each time before a random statement,
before a commit or right after one, and in the end let live.

`python -m tests.usage.crashing JOURNALS KILLS BATCH_ROWS` prints how often it was killed, and where.
The children are forks of a process with one thread and no connection open."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import django

django.setup()

# Only now: these import models, and the apps must be ready.
from django.db import connection  # noqa: E402

from usage.recorder import Recorder  # noqa: E402

STATEMENT, COMMIT, COMMITTED, ENDED = "before a statement", "before a commit", "after a commit", "not at all"
REACH = 45
"""Moments after its start in which a recorder is killed: some three batches."""


def record(journals: Path, batch_rows: int, fatal: int, told: int) -> None:
    """Applies the journals; dies at its moment number `fatal`, having written to `told` which that was."""
    moments = 0

    def moment(name: str) -> None:
        nonlocal moments
        moments += 1
        if moments == fatal:
            os.write(told, f"{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(run: Any, *statement: Any) -> Any:
        moment(STATEMENT)
        return run(*statement)

    database: Any = connection
    commit = database._commit

    def committing() -> None:
        moment(COMMIT)
        commit()
        moment(COMMITTED)

    database._commit = committing
    recorder = Recorder(journals, appliers={}, keep_seconds=600, batch_rows=batch_rows)
    with connection.execute_wrapper(execute):
        recorder.drain()
    recorder.close()
    connection.close()
    os.write(told, f"{ENDED}\n".encode())


def main(journals: Path, kills: int, batch_rows: int) -> Counter[str]:
    """Where the recorders were killed."""
    chance = random.Random(batch_rows)
    where: Counter[str] = Counter()
    while where.total() < kills + 1:
        fatal = chance.randint(1, REACH) if where.total() < kills else 0
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            record(journals, batch_rows, fatal, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as told:
            where[told.read().strip()] += 1
        os.waitpid(child, 0)
    return where


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write("".join(f"{name}: {number}\n" for name, number in sorted(found.items())))
