"""usage/months.py and usage/partitions.py: PostgreSQL has each month's partition before a row needs it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection

from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, finished
from usage.bodies import BodyStore, Recorded, write_file
from usage.ids import request_id
from usage.models import Attempt, Body, Record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

NOW = datetime.fromtimestamp(START / 1000, UTC)


def at(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits")
        return {name for (name,) in cursor.fetchall() if not name.endswith("_idx") and "_pkey" not in name}


def in_partition(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ONLY {connection.ops.quote_name(table)}")
        return int(cursor.fetchone()[0])


def test_rows_of_any_month_land_in_that_months_partition(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    starts = [at(2026, 11), at(2026, 12, 31) + 86_399_999, at(2027, 1), at(2026, 3, 15), at(2031, 7, 4)]
    journal = open_journal()
    for start in starts:
        journal.write("final", finished(0, at=start, attempts=2))
    open_recorder(clock=lambda: START / 1000).drain()
    assert (Record.objects.count(), Attempt.objects.count()) == (5, 10)
    if connection.vendor != "postgresql":
        return
    for table in ("usage_record", "usage_attempt"):
        assert in_partition(f"{table}_default") == 0
        for month in ("2026_03", "2026_11", "2026_12", "2027_01", "2031_07"):
            assert in_partition(f"{table}_{month}") == (1 if table == "usage_record" else 2)


def test_this_month_and_the_two_after_it_are_there_with_the_first_batch(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("final", finished(1))
    recorder = open_recorder(clock=lambda: at(2027, 12, 31) / 1000)
    recorder.drain()
    if connection.vendor == "postgresql":
        months = {"2026_11", "2027_12", "2028_01", "2028_02"}
        assert {f"usage_record_{month}" for month in months} <= partitions()
        assert {f"usage_attempt_{month}" for month in months} <= partitions()
    assert Record.objects.count() == 1


def test_bodies_have_their_months_too(tmp_path: Path) -> None:
    root = tmp_path / "bodies"
    recorded = Recorded(request_id(at(2026, 11), bytes(9)), at(2026, 12), request_body=b"hello")
    write_file(root, recorded)
    BodyStore(root, cap_bytes=100).store(at(2026, 11))
    assert Body.objects.count() == 1
    if connection.vendor == "postgresql":
        assert in_partition("usage_body_default") == 0
        assert in_partition("usage_body_2026_11") == 1
        assert "usage_body_2027_01" in partitions()


def test_a_month_that_cannot_be_made_costs_no_record(
    open_journal: OpenJournal, open_recorder: OpenRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    # Rows in the default partition, as no recorder of ours would leave them, keep their month from being
    # attached.
    first = finished(0, at=at(2029, 5))["record"]
    Record.objects.create(
        request_id=first["request_id"], started_at=NOW, client_format="gemini", outcome="ok"
    )
    journal = open_journal()
    journal.write("final", finished(1, at=at(2029, 5)))
    open_recorder(clock=lambda: START / 1000).drain()
    assert Record.objects.count() == 2
    if connection.vendor == "postgresql":
        assert in_partition("usage_record_default") == 2
        assert "2029-05" in caplog.text
