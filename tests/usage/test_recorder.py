"""usage/recorder.py and usage/ledger.py: every line of every journal reaches the database, once."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError, OperationalError, connection

from tests.counts import count
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, amended, begun, finished, name, started
from tests.usage.sums import assert_sums_agree, snapshot
from usage import recorder as recorder_module
from usage.framing import encode
from usage.ledger import Applied, Ledger
from usage.models import (
    ApiKeyRollup,
    Attempt,
    AttemptRollup,
    DeadLetter,
    JournalPosition,
    PriceSnapshot,
    Record,
    Rollup,
    StoredResponse,
    UserAgent,
)
from usage.segments import read_lines, segments
from usage.states import StateChange

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_a_final_line_becomes_a_record_with_its_attempts(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("final", finished(1, attempts=2, error_text="é ünd 中文", explanation={"why": ["first"]}))
    open_recorder().drain()
    record = Record.objects.get()
    assert record.request_id == UUID(name(1))
    assert record.started_at == datetime.fromtimestamp((START + 1) / 1000, UTC)
    assert (record.consumer_id, record.api_key_id, record.model_id, record.key_id) == (1, 3, 4, 7)
    assert (record.input_tokens, record.output_tokens, record.cached_tokens) == (1_000, 100, 0)
    assert (record.list_cost, record.own_cost) == (Decimal("0.0022"), Decimal("0.0011"))
    assert (record.outcome, record.status_code, record.is_stream, record.estimated) == (
        "ok",
        200,
        True,
        False,
    )
    assert (record.first_token_ms, record.overhead_us, record.address) == (150, None, "127.0.0.1")
    assert (record.error_text, record.explanation) == ("é ünd 中文", {"why": ["first"]})
    assert UserAgent.objects.get(pk=record.user_agent_id or 0).text == "OpenAI/Python 3.54"
    price = PriceSnapshot.objects.get(pk=record.price_id or 0)
    assert (price.source, price.input, price.request) == ("model fast", Decimal(1), Decimal("0.001"))
    assert price.defaulted == ["cache_read", "cache_write_5m", "cache_write_1h"]
    first, second = record.attempts.order_by("id")
    assert (first.number, first.verdict, first.status_code) == (1, "next_key", 429)
    assert (second.number, second.verdict, second.own_cost) == (2, "ok", Decimal("0.0011"))
    assert second.pk.int == record.request_id.int | 2
    assert second.cost_multiplier == Decimal("0.5")
    assert_sums_agree()


def test_records_share_user_agents_and_prices(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    journal = open_journal()
    for number in range(20):
        journal.write("final", {**finished(number), "user_agent": f"agent {number % 2}"})
    recorder = open_recorder(batch_rows=3)
    recorder.drain()
    assert (UserAgent.objects.count(), PriceSnapshot.objects.count()) == (2, 1)
    journal.write("final", {**finished(20), "user_agent": "", "price": None})
    open_recorder().drain()
    assert Record.objects.filter(user_agent=None, price=None).count() == 1
    assert (UserAgent.objects.count(), PriceSnapshot.objects.count()) == (2, 1)


def test_lines_delivered_three_times_make_one_record(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(40):
        journal.write("final", finished(number, attempts=1 + number % 3))
        if number % 4 == 0:
            journal.write("amend", amended(number))
    recorder = open_recorder(batch_rows=7)
    recorder.drain()
    before = snapshot()
    for _ in range(2):
        recorder.rewind()
        recorder.drain()
    JournalPosition.objects.all().delete()
    open_recorder(batch_rows=11).drain()
    assert snapshot() == before
    assert Record.objects.count() == 40
    assert_sums_agree()


def test_the_same_line_twice_in_one_batch_counts_once(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal, again = open_journal(), open_journal()
    for each in (journal, again, journal):
        each.write("final", finished(1, attempts=2))
    open_recorder().drain()
    assert (Record.objects.count(), Attempt.objects.count()) == (1, 2)
    assert Rollup.objects.get().requests == 1
    assert_sums_agree()


class Crash(BaseException):
    """The process dies."""


def test_a_crash_at_any_statement_loses_nothing_and_doubles_nothing(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(30):
        journal.write("final", finished(number, attempts=2))
        journal.write("amend", amended(number))
    crashes = 0
    for fatal in range(200):
        seen = 0

        def die(execute: Any, *statement: Any, fatal: int = fatal) -> Any:
            nonlocal seen
            seen += 1
            if seen > fatal:
                raise Crash
            return execute(*statement)

        recorder = open_recorder(batch_rows=10)
        try:
            with connection.execute_wrapper(die):
                recorder.drain()
        except Crash:
            crashes += 1
            assert Record.objects.count() % 10 in (0, 5)
            assert_sums_agree()
        else:
            break
    assert crashes > 20
    assert Record.objects.count() == 30
    assert Record.objects.filter(amendments=1, output_tokens=200).count() == 30
    assert_sums_agree()


def test_positions_rolled_back_apply_the_lost_rows_again(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(10):
        journal.write("final", finished(number))
    open_recorder().drain()
    before = snapshot()
    # A promoted replica lacks the newest transactions: rows, sums and positions alike.
    for model in (Record, Attempt, Rollup, ApiKeyRollup, AttemptRollup, JournalPosition):
        model.objects.all().delete()
    open_recorder().drain()
    assert snapshot() == before


def test_committed_rows_that_the_database_lost_come_back_with_a_rewind(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(10):
        journal.write("final", finished(number))
    recorder = open_recorder()
    recorder.drain()
    Record.objects.filter(request_id__in=[name(number) for number in (2, 5)]).delete()
    Attempt.objects.filter(record_id__in=[name(number) for number in (2, 5)]).delete()
    recorder.rewind()
    recorder.drain()
    assert (Record.objects.count(), Attempt.objects.count()) == (10, 10)


def test_many_workers_and_segments_are_read_in_turn(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    chance = random.Random(3)
    opened = [open_journal(segment_bytes=4_000) for _ in range(3)]
    recorder = open_recorder(batch_rows=9)
    for number in range(count(120, 3_000)):
        journal = chance.choice(opened)
        journal.write("start", started(number))
        journal.write("attempt", begun(number))
        journal.write("final", finished(number))
        if chance.random() < 0.2:
            recorder.step()
    recorder.drain()
    assert Record.objects.count() == count(120, 3_000)
    assert all(journal.backlog_bytes == 0 for journal in opened)
    assert_sums_agree()


# Rows that the database refuses


def refusing(monkeypatch: pytest.MonkeyPatch, poison: Sequence[str], error: Exception) -> list[int]:
    """Makes the database refuse every statement that holds one of these ids; returns the sizes of batches
    tried."""
    sizes: list[int] = []
    real = Ledger.apply

    def apply(self: Ledger, batch: Sequence[Any], *rest: Any) -> Applied:
        sizes.append(len(batch))

        def refuse(execute: Any, sql: str, params: Any, *more: Any) -> Any:
            if any(each in str(params).replace("-", "") for each in poison):
                raise error
            return execute(sql, params, *more)

        with connection.execute_wrapper(refuse):
            return real(self, batch, *rest)

    monkeypatch.setattr(Ledger, "apply", apply)
    return sizes


def test_a_poison_row_is_parked_alone_and_the_rest_goes_on(
    open_journal: OpenJournal, open_recorder: OpenRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    for number in range(64):
        journal.write("final", finished(number))
    poison = [UUID(name(number)).hex for number in (0, 17, 63)]
    sizes = refusing(monkeypatch, poison, DataError("invalid value"))
    recorder = open_recorder()
    recorder.drain()
    assert Record.objects.count() == 61
    assert DeadLetter.objects.count() == 3
    letter = DeadLetter.objects.order_by("position").first()
    assert letter is not None
    assert letter.segment == "w1/00000001.journal"
    assert letter.kind == "final"
    assert name(0) in letter.line
    assert letter.reason == "DataError: invalid value"
    assert max(sizes) == 64
    assert len(sizes) < 64
    assert_sums_agree()
    recorder.rewind()
    recorder.drain()
    assert DeadLetter.objects.count() == 3


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({}, "KeyError"),
        ({"record": {"request_id": "no uuid"}}, "ValueError"),
        (
            {"record": {"request_id": "8c2a6bd4-0b55-4b0e-9f43-0d3a3fca4d5e", "started_at": START}},
            "not one of ours",
        ),
        ({"record": {**finished(1)["record"], "started_at": "yesterday"}}, "ValueError"),
        ({"record": {**finished(1)["record"], "input_tokens": "many"}}, "ValueError"),
        ({"record": finished(1)["record"], "attempts": [{"number": 900}]}, "1 to 255"),
        ({"record": finished(1)["record"], "attempts": [{}]}, "KeyError"),
        ({"record": 5}, "TypeError"),
        ([], "ValueError"),
    ],
)
def test_a_line_that_makes_no_sense_is_parked(
    open_journal: OpenJournal, open_recorder: OpenRecorder, journals: Path, payload: Any, reason: str
) -> None:
    journal = open_journal()
    journal.write("final", finished(7))
    with segments(journal.directory)[0].open("ab") as file:
        file.write(encode("final", payload))
    journal.write("final", finished(8))
    open_recorder().drain()
    assert Record.objects.count() == 2
    assert reason in DeadLetter.objects.get().reason


def test_a_damaged_stretch_is_parked_and_what_follows_is_applied(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(3):
        journal.write("final", finished(number))
    path = segments(journal.directory)[0]
    data = bytearray(path.read_bytes())
    data[data.index(name(1).encode())] ^= 1
    path.write_bytes(data)
    open_recorder().drain()
    assert set(Record.objects.values_list("request_id", flat=True)) == {UUID(name(0)), UUID(name(2))}
    assert DeadLetter.objects.get().kind == "damage"


NASTY = "nul \0, \udcff, and 𝄞"
CLEAN = "nul \ufffd, \ufffd, and 𝄞"


def test_text_that_no_database_takes_is_made_presentable(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    line = finished(
        1,
        model_name=NASTY,
        error_text=NASTY,
        client_request_id=NASTY * 50,
        explanation={NASTY: [NASTY, {"deep": NASTY}]},
        tool_uses={"web\0": 1},
        address="not an address",
    )
    line["attempts"][0]["error_text"] = NASTY
    journal.write("final", {**line, "user_agent": NASTY + "x" * 1_000})
    open_recorder().drain()
    record = Record.objects.get()
    assert (record.model_name, record.error_text) == (CLEAN, CLEAN)
    assert record.client_request_id == (CLEAN * 50)[:120]
    assert record.explanation == {CLEAN: [CLEAN, {"deep": CLEAN}]}
    assert record.tool_uses == {"web\ufffd": 1}
    assert record.address is None
    assert record.attempts.get().error_text == CLEAN
    assert UserAgent.objects.get().text == (CLEAN + "x" * 1_000)[:300]
    assert DeadLetter.objects.count() == 0


def test_numbers_beyond_their_columns_are_clamped(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write(
        "final",
        finished(
            1,
            input_tokens=2**40,
            total_ms=-(2**70),
            list_cost=2**80,
            status_code=99_999,
            config_revision=2**63,
        ),
    )
    open_recorder().drain()
    record = Record.objects.get()
    assert (record.input_tokens, record.total_ms, record.status_code) == (2**31 - 1, -(2**31), 32_767)
    assert record.config_revision == 2**63 - 1
    assert record.list_cost == Decimal(2**63 - 1).scaleb(-12)


def test_a_column_that_is_not_ours_is_told_and_left_out(
    open_journal: OpenJournal, open_recorder: OpenRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    journal = open_journal()
    journal.write("final", finished(1, from_the_future="yes"))
    journal.write("final", finished(2, from_the_future="yes"))
    with caplog.at_level(logging.WARNING):
        open_recorder().drain()
    assert Record.objects.count() == 2
    assert len([record for record in caplog.records if "from_the_future" in record.getMessage()]) == 1


# A database that cannot just now


def test_a_database_that_is_away_is_waited_for_and_nothing_is_parked(
    open_journal: OpenJournal, open_recorder: OpenRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    for number in range(20):
        journal.write("final", finished(number))
    tries = 0
    real = Ledger.apply

    def apply(self: Ledger, *rest: Any) -> Applied:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OperationalError("database is locked")
        return real(self, *rest)

    monkeypatch.setattr(Ledger, "apply", apply)
    open_recorder().drain()
    assert Record.objects.count() == 20
    assert DeadLetter.objects.count() == 0


def test_told_to_end_it_does_not_wait_forever_for_a_database_that_is_away(
    open_journal: OpenJournal, open_recorder: OpenRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    journal.write("final", finished(1))
    now = [0.0]

    def apply(self: Ledger, *rest: Any) -> Applied:
        now[0] += 6
        raise OperationalError("connection refused")

    monkeypatch.setattr(Ledger, "apply", apply)
    recorder = open_recorder(monotonic=lambda: now[0])
    recorder.stop.set()
    recorder.run(ready=lambda: None)
    assert now[0] < 60
    monkeypatch.undo()
    open_recorder().drain()
    assert Record.objects.count() == 1


def test_a_database_taken_away_in_the_middle_costs_nothing(
    open_journal: OpenJournal, open_recorder: OpenRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL the server ends our connection, on SQLite another process keeps the file locked."""
    journal = open_journal()
    for number in range(30):
        journal.write("final", finished(number))
    monkeypatch.setattr(recorder_module, "LONGEST_RETRY", 0.05)
    tries = 0
    real = Ledger.apply
    other = connection.copy()

    def apply(self: Ledger, *rest: Any) -> Applied:
        nonlocal tries
        tries += 1
        if tries == 2:
            take_away(other)
        if tries == 3:
            other.close()
        return real(self, *rest)

    monkeypatch.setattr(Ledger, "apply", apply)
    recorder = open_recorder(batch_rows=10)
    recorder.drain()
    connection.close()  # and with it the short time-out
    assert tries > 3
    assert Record.objects.count() == 30
    assert DeadLetter.objects.count() == 0
    assert_sums_agree()


def take_away(other: Any) -> None:
    """Ends every other connection to the database, or locks it until `other` is closed."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout = 10")
    with other.cursor() as cursor:
        if other.vendor == "sqlite":
            cursor.execute("BEGIN IMMEDIATE")
        else:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


# Amendments


def test_usage_that_came_later_changes_record_attempt_and_sums(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("final", finished(1, attempts=1))
    recorder = open_recorder()
    recorder.drain()
    other = {**finished(1)["price"], "hash": "f" * 64, "source": "another"}
    journal.write("amend", {**amended(1, first_token_ms=2_000, outcome="partial"), "price": other})
    recorder.drain()
    record = Record.objects.get()
    assert (record.output_tokens, record.list_cost, record.own_cost) == (
        200,
        Decimal("0.0024"),
        Decimal("0.0012"),
    )
    assert (record.amendments, record.outcome, record.input_tokens) == (1, "partial", 1_000)
    assert PriceSnapshot.objects.get(pk=record.price_id or 0).source == "another"
    assert record.attempts.get().own_cost == Decimal("0.0012")
    assert Rollup.objects.get(outcome="partial").output_tokens == 200
    assert_sums_agree()


def test_amendments_are_applied_once_and_in_their_order(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write_many(
        [
            ("final", finished(1)),
            ("amend", amended(1, 1)),
            ("amend", amended(1, 1)),
            ("amend", amended(1, 2, output_tokens=300)),
            ("amend", amended(1, 1)),
        ]
    )
    recorder = open_recorder()
    recorder.drain()
    recorder.rewind()
    recorder.drain()
    record = Record.objects.get()
    assert (record.output_tokens, record.amendments) == (300, 2)
    assert_sums_agree()


def test_an_amendment_of_nothing_is_parked(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    journal = open_journal()
    journal.write("amend", amended(1))
    open_recorder().drain()
    assert "no such record" in DeadLetter.objects.get().reason


# Stored responses and states


def test_a_stored_response_is_remembered_and_renewed(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    stored = {
        "response_id": "resp_1",
        "consumer_id": 1,
        "api_key_id": 3,
        "endpoint_id": 6,
        "key_id": 7,
        "model_id": 4,
        "upstream_model": "acme-fast-1",
        "created_at": START,
        "expires_at": START + 1_000,
    }
    journal = open_journal()
    journal.write("final", {**finished(1), "stored": stored})
    journal.write("final", {**finished(2), "stored": {**stored, "key_id": 8}})
    open_recorder().drain()
    found = StoredResponse.objects.get()
    assert (found.response_id, found.key_id) == ("resp_1", 8)
    assert found.expires_at == datetime.fromtimestamp((START + 1_000) / 1000, UTC)


def test_states_are_handed_to_whoever_keeps_them(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    heard: list[tuple[str, list[StateChange]]] = []

    def keep(table: str) -> Any:
        return lambda changes, using: heard.append((table, list(changes)))

    journal = open_journal()
    journal.write("state", {"table": "key", "id": 7, "at": 5, "columns": {"verdict": "cooling"}})
    (segment,) = segments(journal.directory)
    said = [each.start for each in read_lines(segment) if each.kind == "state"]
    journal.write("final", finished(1, address="10.0.0.9"))
    journal.write("state", {"table": "weather", "id": 1, "at": 5, "columns": {}})
    open_recorder(appliers={"key": keep("key"), "api_key": keep("api_key")}).drain()
    assert heard == [
        ("api_key", [StateChange(3, START + 1, {"last_used_at": START + 1, "last_address": "10.0.0.9"})]),
        ("key", [StateChange(7, 5, {"verdict": "cooling"}, f"w1/{segment.name}:{said[0]}")]),
    ]
    assert "weather" in DeadLetter.objects.get().reason


def test_a_state_that_is_refused_costs_no_record(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    def refuse(changes: Sequence[StateChange], using: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere" if connection.vendor == "sqlite" else "SELECT 1/0")

    journal = open_journal()
    journal.write("final", finished(1))
    journal.write("state", {"table": "key", "id": 7, "at": 5, "columns": {}})

    def raise_it(changes: Sequence[StateChange], using: str) -> None:
        raise ValueError("no")

    open_recorder(appliers={"key": raise_it, "api_key": raise_it}).drain()
    assert Record.objects.count() == 1
    assert DeadLetter.objects.get().kind == "state"


# Deletion


def test_segments_go_when_the_database_has_had_them_long_enough(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    now = [1_000.0]
    journal = open_journal(segment_bytes=2_000)
    number = 0
    while len(segments(journal.directory)) < 4:
        journal.write("final", finished(number))
        number += 1
    recorder = open_recorder(monotonic=lambda: now[0])
    recorder.drain()
    now[0] += 599
    recorder.drain()
    assert len(segments(journal.directory)) == 4
    now[0] += 2
    recorder.drain()
    assert [path.name for path in segments(journal.directory)] == ["00000004.journal"]
    assert JournalPosition.objects.count() == 1
    journal.write("final", finished(number))
    recorder.drain()
    assert Record.objects.count() == number + 1


def test_a_dead_workers_directory_goes_too(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    now = [1_000.0]
    journal = open_journal()
    journal.write("final", finished(1))
    journal.close()
    recorder = open_recorder(monotonic=lambda: now[0])
    recorder.drain()
    now[0] += 599
    recorder.drain()
    assert journal.directory.exists()
    now[0] += 2
    recorder.drain()
    assert not journal.directory.exists()
    assert JournalPosition.objects.count() == 0
    recorder.drain()
