"""usage/takeover.py: what a dead worker left unfinished becomes exactly one record."""

from __future__ import annotations

import os
from decimal import Decimal
from uuid import UUID

import pytest

from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import PICO, START, begun, checkpoint, finished, name, started
from tests.usage.sums import assert_sums_agree
from usage.framing import encode
from usage.models import DeadLetter, JournalPosition, PriceSnapshot, Record
from usage.segments import segments

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

# 1 for a million tokens in, 2 out, 0.001 a request; half of it at the provider.


def test_a_stream_that_was_running_is_billed_from_its_last_checkpoint(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write_many([("start", started(1)), ("attempt", begun(1))])
    journal.write("checkpoint", checkpoint(1, text_bytes=4))
    journal.write("checkpoint", checkpoint(1))
    journal.close()
    os.utime(segments(journal.directory)[0], ((START + 5_001) / 1000,) * 2)
    open_recorder().drain()
    record = Record.objects.get()
    assert record.request_id == UUID(name(1))
    assert (record.outcome, record.status_code, record.error_code) == ("interrupted", 200, "interrupted")
    assert (record.consumer_id, record.provider_id, record.key_id, record.upstream_model) == (
        1,
        5,
        7,
        "acme-fast-1",
    )
    assert (record.input_tokens, record.output_tokens, record.estimated) == (1_000, 100, True)
    # 1,000 at 1 and 100 at 2 for a million, and the request
    assert (record.list_cost, record.own_cost) == (Decimal("0.0022"), Decimal("0.0011"))
    assert PriceSnapshot.objects.get(pk=record.price_id or 0).source == "model fast"
    assert (record.total_ms, record.attempt_count, record.usage_source) == (5_000, 1, "estimated")
    attempt = record.attempts.get()
    assert (attempt.verdict, attempt.list_cost, attempt.output_tokens) == (
        "interrupted",
        Decimal("0.0022"),
        100,
    )
    assert not attempt.maybe_billed
    assert_sums_agree()


def test_before_a_frame_reached_the_client_it_pays_nothing(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write_many([("start", started(1)), ("attempt", begun(1))])
    journal.close()
    open_recorder().drain()
    record = Record.objects.get()
    assert (record.outcome, record.status_code) == ("interrupted", 0)
    assert (record.list_cost, record.input_tokens, record.price_id) == (0, 0, None)
    attempt = record.attempts.get()
    # the request's 4,000 bytes are 1,000 tokens, at half price
    assert (attempt.input_tokens, attempt.own_cost, attempt.maybe_billed) == (1_000, Decimal("0.0005"), True)
    assert record.own_cost == attempt.own_cost


def test_a_request_without_an_attempt_costs_nobody_anything(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("start", started(1))
    journal.close()
    open_recorder().drain()
    record = Record.objects.get()
    assert (record.outcome, record.list_cost, record.own_cost, record.attempt_count) == (
        "interrupted",
        0,
        0,
        0,
    )


def test_failed_attempts_before_it_keep_what_they_cost(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write_many([("start", started(1)), ("attempt", begun(1))])
    journal.write(
        "attempt_end",
        {
            "request_id": name(1),
            "number": 1,
            "verdict": "next_key",
            "status_code": 529,
            "own_cost": PICO // 1000,
        },
    )
    journal.write("attempt", begun(1, 2, key_id=8, key_name="k2"))
    journal.write("checkpoint", checkpoint(1, 2))
    journal.close()
    open_recorder().drain()
    record = Record.objects.get()
    assert (record.key_id, record.key_name, record.attempt_count) == (8, "k2", 2)
    assert record.own_cost == Decimal("0.0021")
    first, second = record.attempts.order_by("id")
    assert (first.verdict, first.status_code, first.own_cost) == ("next_key", 529, Decimal("0.001"))
    assert (second.verdict, second.own_cost) == ("interrupted", Decimal("0.0011"))


def test_a_free_provider_and_an_unknown_price_are_honoured(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write_many(
        [("start", started(1)), ("attempt", begun(1, free=True)), ("checkpoint", checkpoint(1))]
    )
    journal.write_many(
        [("start", started(2)), ("attempt", begun(2, price=None)), ("checkpoint", checkpoint(2))]
    )
    journal.close()
    open_recorder().drain()
    free, unpriced = Record.objects.order_by("request_id")
    assert (free.list_cost, free.own_cost) == (Decimal("0.0022"), 0)
    assert (unpriced.list_cost, unpriced.unpriced, unpriced.own_cost) == (None, True, 0)
    assert_sums_agree()


def test_the_living_are_left_alone(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    journal = open_journal()
    journal.write("start", started(1))
    recorder = open_recorder()
    recorder.drain()
    assert Record.objects.count() == 0
    journal.write("final", finished(1))
    journal.close()
    recorder.drain()
    assert Record.objects.get().outcome == "ok"


def test_each_unfinished_request_makes_one_record_over_rotations_and_restarts(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal(segment_bytes=3_000)
    for number in range(60):
        journal.write_many([("start", started(number)), ("attempt", begun(number))])
        if number % 2:
            journal.write("checkpoint", checkpoint(number))
        if number % 3:
            journal.write("final", finished(number))
    assert len(segments(journal.directory)) > 5
    recorder = open_recorder(batch_rows=8)
    recorder.drain()
    assert Record.objects.count() == 40
    journal.close()
    recorder.drain()
    assert Record.objects.count() == 60
    interrupted = {number for number in range(60) if number % 3 == 0}
    assert {
        number for number in range(60) if Record.objects.get(pk=UUID(name(number))).outcome == "interrupted"
    } == interrupted
    recorder.rewind()
    recorder.drain()
    JournalPosition.objects.all().delete()
    open_recorder(batch_rows=7).drain()
    assert Record.objects.count() == 60
    assert_sums_agree()


@pytest.mark.parametrize("lost", [1, 10, 300, 700, 1_200])
def test_a_torn_tail_costs_only_the_line_that_was_being_written(
    open_journal: OpenJournal, open_recorder: OpenRecorder, lost: int
) -> None:
    journal = open_journal()
    for number in range(3):
        journal.write_many([("start", started(number)), ("attempt", begun(number))])
    for number in range(3):
        journal.write("final", finished(number))
    journal.close()
    path = segments(journal.directory)[0]
    os.truncate(path, path.stat().st_size - lost)
    open_recorder().drain()
    outcomes = [record.outcome for record in Record.objects.order_by("request_id")]
    assert outcomes == ["ok", "ok", "interrupted"]
    assert_sums_agree()


def test_a_request_whose_lines_make_no_sense_is_parked_and_the_others_go_on(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("start", started(1))
    journal.write("start", {**started(2), "started_at": None})
    journal.write("start", {"request_id": "x"})
    journal.write("attempt", {"request_id": name(1), "number": "first"})
    with segments(journal.directory)[0].open("ab") as file:
        file.write(encode("checkpoint", {"no": "id"}) + encode("attempt", 7))
    journal.close()
    open_recorder().drain()
    assert Record.objects.get().request_id == UUID(name(1))
    assert DeadLetter.objects.count() == 2


def test_the_ballast_of_a_dead_worker_is_given_back(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal(ballast_bytes=4_096)
    ballast = journal.directory / "ballast"
    kept = ballast.read_bytes()
    journal.close()
    ballast.write_bytes(kept)  # as after SIGKILL
    open_recorder().drain()
    assert not ballast.exists()
