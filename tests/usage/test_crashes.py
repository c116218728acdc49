"""Batches that are delivered again, recorders that are killed, journals torn at every byte: the sums stay the
same."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from tests.counts import count
from tests.programs import ROOT, environment
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.crashing import COMMIT, COMMITTED, ENDED, STATEMENT
from tests.usage.journals import amended, begun, checkpoint, finished, name, started
from tests.usage.sums import assert_sums_agree, snapshot
from usage.framing import encode
from usage.journal import Journal
from usage.ledger import Applied, Ledger
from usage.models import DeadLetter, JournalPosition, Record
from usage.segments import segment_key, segments

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def write_some(journal: Journal, total: int) -> None:
    """Lines of `total` requests, in batches that hold some of everything."""
    for number in range(total):
        journal.write_many([("start", started(number)), ("attempt", begun(number))])
        journal.write(
            "final", finished(number, attempts=1 + number % 3, outcome=("ok", "partial")[number % 2])
        )
        if number % 4 == 0:
            journal.write("amend", amended(number))


def forget_everything() -> None:
    """Empties the ledger's tables, so that the journals are applied anew."""
    tables = ("attempt", "record", "rollup", "apikeyrollup", "attemptrollup", "journalposition")
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM usage_{table}")


def test_batches_delivered_three_times_make_the_sums_of_one_delivery(
    open_journal: OpenJournal,
    open_recorder: OpenRecorder,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Any,
) -> None:
    total = count(60, 2_000)
    write_some(open_journal(segment_bytes=20_000), total)
    open_recorder(batch_rows=7).drain()
    once = snapshot()
    forget_everything()
    batches = 0
    real = Ledger.apply

    def thrice(self: Ledger, batch: Sequence[Any], *rest: Any) -> Applied:
        nonlocal batches
        batches += bool(batch)
        first, *again = [real(self, batch, *rest) for _ in range(3)]
        assert [each.records for each in again] == [0, 0]
        return first

    monkeypatch.setattr(Ledger, "apply", thrice)
    open_recorder(batch_rows=7).drain()
    assert batches > total / 7
    assert snapshot() == once
    assert Record.objects.count() == total
    assert DeadLetter.objects.count() == 0
    assert_sums_agree()
    record_property("measured", f"{batches:,} batches of {total:,} records, each three times: equal sums")


def test_a_recorder_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    open_journal: OpenJournal,
    open_recorder: OpenRecorder,
    journals: Path,
    data_dir: Path,
    record_property: Any,
) -> None:
    kills, rows = count(6, 50), 6
    total = 3 * kills * rows
    journal = open_journal(segment_bytes=20_000)
    write_some(journal, total)
    connection.close()
    ended = subprocess.run(
        [sys.executable, "-m", "tests.usage.crashing", str(journals), str(kills), str(rows)],
        env=environment(data_dir, DATABASE_URL=address()), cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    where = {name: int(number) for name, number in re.findall(r"(.+): (\d+)", ended.stdout)}
    assert where.keys() <= {STATEMENT, COMMIT, COMMITTED, ENDED}
    assert (sum(where.values()), where[ENDED]) == (kills + 1, 1)
    assert Record.objects.count() == total
    assert DeadLetter.objects.count() == 0
    assert dict(JournalPosition.objects.values_list("segment", "position")) == {
        segment_key(path): path.stat().st_size for path in segments(journal.directory)
    }
    assert_sums_agree()
    crashed = snapshot()
    forget_everything()
    open_recorder().drain()
    assert snapshot() == crashed
    del where[ENDED]
    told = ", ".join(f"{number} {name}" for name, number in sorted(where.items()))
    record_property("measured", f"{kills} kills ({told}) over {total:,} records: none lost, none twice")


def address() -> str:
    """The test's own database, for another process."""
    name = str(connection.settings_dict["NAME"])
    server = os.environ.get("AETHER_TEST_DATABASE_URL")
    return f"{server.rpartition('/')[0]}/{name}" if server else f"sqlite:///{name}"


def test_a_journal_torn_at_any_byte_of_its_tail_is_replayed_to_its_last_whole_line(
    open_journal: OpenJournal, open_recorder: OpenRecorder, record_property: Any
) -> None:
    """Each cut is the end of one dead worker's journal; one recorder reads all of them."""
    size = sum(tail_of(0, open_journal()))
    cuts = sorted(random.sample(range(size + 1), min(count(60, 100_000), size + 1)))
    wanted: dict[UUID, tuple[str, int]] = {}
    for worker, cut in enumerate(cuts, start=1):
        journal = open_journal()
        lines = tail_of(worker, journal)
        (path,) = segments(journal.directory)
        journal.close()
        os.truncate(path, path.stat().st_size - sum(lines) + cut)
        wanted[UUID(name(2 * worker))] = ("ok", 100)
        if outcome := what_is_whole(cut, lines):
            wanted[UUID(name(2 * worker + 1))] = outcome
    open_recorder().drain()
    found = Record.objects.exclude(pk__in=[name(0), name(1)])
    there = {row.request_id: (row.outcome, row.output_tokens) for row in found}
    assert there == wanted
    assert DeadLetter.objects.count() == 0
    assert_sums_agree()
    record_property("measured", f"{len(cuts):,} of the tail's {size + 1:,} places: each replayed right")


def tail_of(worker: int, journal: Journal) -> list[int]:
    """Writes a whole request and then the tail: one that began, was under way, ended and was amended. Returns
    the sizes of the tail's lines."""
    one, two = 2 * worker, 2 * worker + 1
    journal.write("start", started(one))
    journal.write("final", finished(one))
    tail = [
        ("start", started(two)),
        ("attempt", begun(two)),
        ("checkpoint", checkpoint(two)),
        ("final", finished(two)),
        ("amend", amended(two)),
    ]
    for kind, payload in tail:
        journal.write(kind, payload)
    return [len(encode(kind, payload)) for kind, payload in tail]


def what_is_whole(cut: int, lines: Sequence[int]) -> tuple[str, int] | None:
    """Outcome and tokens out of the tail's request where its journal ends at `cut`."""
    whole = sum(end <= cut for end in accumulate(lines))
    return [
        None,
        ("interrupted", 0),
        ("interrupted", 0),
        ("interrupted", 100),
        ("ok", 100),
        ("ok", 200),
    ][whole]
