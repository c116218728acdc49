"""usage/lines.py: lines whose values have places, what the recorder makes of them, and of those of other
versions."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import orjson
import pytest
from django.db import connection, models
from django.db.backends.base.operations import BaseDatabaseOperations

from tests.counts import count
from tests.usage.books import random_final
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, amended, begun, by_place, finished, name, started
from tests.usage.sums import assert_sums_agree, snapshot
from usage import ledger
from usage.framing import encode, framed
from usage.letters import retry
from usage.lines import (
    COLUMNS,
    AttemptLine,
    Begun,
    RecordLine,
    Start,
    decode_final,
    encode_line,
    named,
    request_of,
)
from usage.models import Attempt, DeadLetter, Record
from usage.pico import from_pico
from usage.segments import read_lines, segments


def empty_the_ledger() -> None:
    with connection.cursor() as cursor:
        for table in ("attempt", "record", "rollup", "apikeyrollup", "attemptrollup", "journalposition"):
            cursor.execute(f"DELETE FROM usage_{table}")


def write(journal: Any, payload: dict[str, Any]) -> None:
    journal.finish(payload["record"]["request_id"], encode_line(b"final", by_place(payload)))


# The places


@pytest.mark.parametrize(("line", "model"), [(RecordLine, Record), (AttemptLine, Attempt)])
def test_a_place_takes_what_its_column_takes_and_nothing_else(line: Any, model: type[models.Model]) -> None:
    fields = {field.attname: field for field in model._meta.concrete_fields}
    converted = {"request_id", "started_at", "address", "tool_uses", "explanation", "number"}
    for column in [each for each in line.__struct_fields__ if each not in converted]:
        field = fields[column]
        told = get_type_hints(line, include_extras=True)[column]
        takes = msgspec.json.Decoder(told).decode

        def refuses(value: Any, takes: Any = takes) -> bool:
            try:
                takes(orjson.dumps(value))
            except ValueError:
                return True
            return False

        assert refuses(None) is not field.null, column
        if isinstance(field, models.BooleanField):
            assert (takes(b"true"), refuses(1)) == (True, True)
        elif isinstance(field, models.CharField | models.TextField):
            if field.max_length:
                assert takes(orjson.dumps("é" * field.max_length)) == "é" * field.max_length
                assert refuses("é" * (field.max_length + 1)), column
            assert refuses(1)
        else:
            target = field.target_field if isinstance(field, models.ForeignKey) else field
            least, most = BaseDatabaseOperations.integer_field_ranges[target.get_internal_type()]
            assert (takes(str(least).encode()), takes(str(most).encode())) == (least, most), column
            assert refuses(least - 1 if least > -(2**63) else "x"), column
            assert refuses(most + 1), column
            assert refuses("1")
            assert refuses(1.5)


def test_a_line_is_read_by_the_names_of_its_places() -> None:
    payload = finished(1, attempts=2)
    line = orjson.loads(msgspec.json.encode(by_place(payload)))
    told = named(line, COLUMNS)
    assert {key: told["record"][key] for key in payload["record"]} == payload["record"]
    assert [each["verdict"] for each in told["attempts"]] == ["next_key", "ok"]
    assert (told["price"], told["stored"]) == (payload["price"], None)
    assert request_of(line) == request_of(payload) == name(1)
    assert named(payload, COLUMNS) is payload


def test_what_utf_8_cannot_say_is_replaced_not_refused() -> None:
    line = by_place(finished(1, error_text="lone \udcff"))
    body = encode_line(b"final", line).split(b" ", 3)[3]
    assert decode_final(body).record.error_text == "lone \ufffd"


# What the recorder makes of them


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_a_ledger_is_the_same_whether_its_lines_had_names_or_places(
    open_journal: OpenJournal, open_recorder: OpenRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(11)
    payloads = [random_final(number, chance) for number in range(count(60, 1_000))]
    payloads += [finished(90_001, tool_uses={"web_search": 2}, explanation={"é": ["\\u0000"]}, address=None)]
    payloads += [finished(90_002, client_request_id="x" * 500, input_tokens=2**40, address="::ffff:10.0.0.1")]
    payloads += [finished(90_003, error_text="nul \0", total_ms=0, outcome="upstream_error")]
    journal = open_journal()
    for each in payloads:
        journal.write("final", each)
    journal.write("amend", amended(90_001))
    open_recorder().drain()
    before = snapshot()
    empty_the_ledger()
    journal.close()
    carefully: list[Any] = []
    real = ledger.Ledger._read_carefully

    def read(self: ledger.Ledger, work: ledger.Work) -> ledger.Final:
        carefully.append(work)
        return real(self, work)

    monkeypatch.setattr(ledger.Ledger, "_read_carefully", read)
    again = open_journal()
    for each in payloads:
        write(again, each)
    again.write("amend", amended(90_001))
    for path in segments(journal.directory):
        path.unlink()
    open_recorder().drain()
    assert_sums_agree()
    assert len(carefully) == 3
    assert snapshot() == before


def with_columns(path: Path, columns: Any, *bodies: Any) -> None:
    """A segment as another version writes it."""
    head = {"version": 9, "worker": "w1", "segment": 1, "columns": columns}
    lines = [framed(b"final", orjson.dumps(body)) for body in bodies]
    path.write_bytes(encode("head", head) + b"".join(lines))


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_a_line_of_another_version_is_read_by_its_own_names(
    open_journal: OpenJournal, open_recorder: OpenRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Its columns stand in another order, one is not ours, and some of ours it does not know."""
    payload = finished(1, attempts=2, from_the_future=7)
    record, attempt = sorted(payload["record"]), sorted(payload["attempts"][0])
    record.insert(0, record.pop(record.index("request_id")))
    columns = {"final": ["record", "price", "attempts"], "record": record, "attempt": attempt}
    body = [
        [payload["record"][each] for each in record],
        payload["price"],
        [[each[column] for column in attempt] for each in payload["attempts"]],
    ]
    journal = open_journal()
    with_columns(segments(journal.directory)[0], columns, body, body[:2])
    with caplog.at_level(logging.WARNING):
        open_recorder().drain()
    found = Record.objects.get()
    assert (found.input_tokens, found.list_cost, found.is_stream) == (1_000, from_pico(2_200_000_000), True)
    assert [each.verdict for each in found.attempts.order_by("id")] == ["next_key", "ok"]
    assert len([each for each in caplog.records if "from_the_future" in each.getMessage()]) == 1
    assert "ValueError" in DeadLetter.objects.get().reason  # the line that is too short for its columns
    assert_sums_agree()


@pytest.mark.django_db(transaction=True)
def test_a_segment_that_was_found_before_its_first_line_is_read_by_its_own_names(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    payload = finished(1)
    columns = {"final": ["record", "attempts"], "record": list(payload["record"]), "attempt": []}
    (path,) = segments(open_journal().directory)
    path.write_bytes(b"")
    recorder = open_recorder()
    recorder.drain()
    with_columns(path, columns, [list(payload["record"].values()), []])
    recorder.drain()
    assert Record.objects.get().input_tokens == 1_000


def spoilt(**columns: Any) -> Any:
    """A line with values that their columns do not take."""
    line = orjson.loads(msgspec.json.encode(by_place(finished(5))))
    for column, value in columns.items():
        line[0][COLUMNS["record"].index(column)] = value
    return line


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (spoilt(request_id="no uuid"), "ValueError"),
        (spoilt(request_id="8c2a6bd4-0b55-4b0e-9f43-0d3a3fca4d5e"), "not one of ours"),
        (spoilt(input_tokens="many"), "ValueError"),
        (spoilt(started_at="yesterday"), "ValueError"),
        (spoilt()[:4], "ValueError"),
        ([*spoilt(), 1], "ValueError"),
        ([spoilt()[0][:-1], *spoilt()[1:]], "ValueError"),
        ([spoilt()[0], [[1]], *spoilt()[2:]], "ValueError"),
        ([*spoilt()[:3], {"source": "no hash"}, None], "KeyError"),
        ([5, [], "", None, None], "TypeError"),
    ],
)
def test_an_array_that_makes_no_sense_is_parked_alone(
    open_journal: OpenJournal, open_recorder: OpenRecorder, line: Any, reason: str
) -> None:
    journal = open_journal()
    write(journal, finished(7))
    with segments(journal.directory)[0].open("ab") as file:
        file.write(framed(b"final", orjson.dumps(line)))
    write(journal, finished(8))
    open_recorder().drain()
    assert Record.objects.count() == 2
    assert reason in DeadLetter.objects.get().reason
    assert_sums_agree()


@pytest.mark.django_db(transaction=True)
def test_a_parked_array_has_names_and_can_be_tried_again_without_its_segment(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.finish(name(5), framed(b"final", orjson.dumps(spoilt(input_tokens="many"))))
    open_recorder().drain()
    letter = DeadLetter.objects.get()
    line = orjson.loads(letter.line)
    assert (line["record"]["input_tokens"], line["record"]["request_id"]) == ("many", name(5))
    line["record"]["input_tokens"] = 3
    letter.line = orjson.dumps(line).decode()
    assert retry(letter, {}, letter.created_at) == ""
    assert Record.objects.get().input_tokens == 3


@pytest.mark.django_db(transaction=True)
def test_a_start_with_its_first_attempt_is_taken_over_as_two_lines_were(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    old, new = open_journal(), open_journal()
    old.write_many([("start", started(1)), ("attempt", begun(1)), ("attempt", begun(1, 2))])
    price = msgspec.Raw(orjson.dumps(begun(2)["price"]))
    attempt = Begun(**{**begun(2), "context_window": 10**6, "price": price})
    start = Start(**started(2), attempt=attempt)
    new.start(name(2), encode_line(b"start", start))
    new.add(name(2), encode_line(b"attempt", msgspec.structs.replace(attempt, number=2)))
    assert [line.kind for line in read_lines(segments(new.directory)[0])] == ["head", "start", "attempt"]
    for journal in (old, new):
        journal.close()
    open_recorder().drain()
    first, second = Record.objects.order_by("request_id")
    assert (first.outcome, second.outcome) == ("interrupted", "interrupted")
    assert (first.attempts.count(), second.attempts.count()) == (2, 2)
    alike = ("provider_id", "key_name", "own_cost", "list_cost", "upstream_model", "consumer_name")
    assert [getattr(first, each) for each in alike] == [getattr(second, each) for each in alike]
    assert_sums_agree()


def test_every_id_in_a_line_begins_where_the_clock_of_its_request_stands() -> None:
    assert int(by_place(finished(3)).record.request_id.replace("-", "")[:12], 16) == START + 3
