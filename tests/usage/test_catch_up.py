"""How fast the recorder brings to the database what waited in the journals."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.counts import count
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, begun, finished, started
from tests.usage.sums import assert_sums_agree
from usage.models import Attempt, Record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

LEAST = 300
"""Rows a second that even a machine with much else to do must manage; what it did manage is told."""
SPREAD_MS = 500


def test_what_waited_is_brought_to_the_database_in_a_moment(
    open_journal: OpenJournal, open_recorder: OpenRecorder, record_property: Any
) -> None:
    total = count(2_000, 20_000)
    journal = open_journal()
    for number in range(total):
        at = START + number * SPREAD_MS
        lines = {"consumer_id": number % 20 + 1, "model_id": number % 7 + 1, "outcome": "ok"}
        final = finished(number, at, attempts=1 + (number % 10 == 0), **lines)
        journal.write_many([("start", started(number, at)), ("attempt", begun(number, at=at))])
        journal.write("final", final)
    recorder = open_recorder()
    began, cpu = time.perf_counter(), time.process_time()
    recorder.drain()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert Record.objects.count() == total
    assert Attempt.objects.count() == total + total // 10
    assert total / seconds > LEAST
    assert_sums_agree()
    record_property(
        "measured",
        f"{total / seconds:,.0f} records a second, {cpu / total * 1e6:.0f} us of our CPU each",
    )
