"""`manage.py reconcile`: what it prints, and how it ends."""

from __future__ import annotations

import json
import random
from datetime import UTC
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from consumers.models import Consumer
from tests.usage.books import random_final
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import begun, finished, started
from usage.models import ApiKeyRollup, JournalPosition, Record, Rollup
from usage.recorder import recorder_lock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def ledger(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    chance = random.Random(5)
    journal = open_journal()
    for number in range(20):
        journal.write("final", random_final(number, chance, hours=1))
    open_recorder().drain()


def said(*arguments: str) -> str:
    """What the command prints when it ends well."""
    out = StringIO()
    call_command("reconcile", *arguments, stdout=out)
    return out.getvalue()


def complained(*arguments: str) -> tuple[str, str]:
    """What it prints, and its last words, when it ends with 1."""
    out = StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("reconcile", *arguments, stdout=out)
    assert raised.value.returncode == 1
    return out.getvalue(), str(raised.value)


@pytest.mark.usefixtures("ledger")
def test_a_clean_ledger_ends_well() -> None:
    text = said()
    assert "20 records" in text
    assert text.endswith("No difference.\n")


@pytest.mark.usefixtures("ledger")
def test_a_difference_is_named_and_ends_with_1_until_it_is_mended() -> None:
    row = Rollup.objects.exclude(consumer_id=0).order_by("id")[0]
    alice = Consumer.objects.create(pk=row.consumer_id, name="alice")
    Rollup.objects.filter(pk=row.pk).update(requests=F("requests") + 5)
    text, last = complained()
    line = text.splitlines()[0]
    assert line.startswith(
        f"usage_rollup {row.quarter.astimezone(UTC):%Y-%m-%dT%H:%MZ} (consumer alice ({alice.pk}), model #"
    )
    assert line.endswith(f"requests: by the ledger {row.requests}, found {row.requests + 5}")
    assert "usage_rollup: 1 difference\n" in text
    assert last == "1 difference is left."
    assert "1 mended." in said("--fix")
    assert "No difference." in said()


@pytest.mark.usefixtures("ledger")
def test_json_is_a_line_for_each_difference_and_one_for_the_sum() -> None:
    row = ApiKeyRollup.objects.filter(list_cost__gt=0).order_by("id")[0]
    ApiKeyRollup.objects.filter(pk=row.pk).delete()
    text, _ = complained("--json")
    *differences, last = map(json.loads, text.splitlines())
    cost = next(each for each in differences if each["column"] == "list_cost")
    assert cost["table"] == "usage_apikeyrollup"
    assert cost["quarter"] == str(row.quarter)
    assert set(cost["row"]) == {"api_key", "model"}
    assert (cost["ledger"], cost["found"]) == (str(row.list_cost), None)
    assert last["sum"]["differences"] == last["sum"]["left"] == len(differences)
    assert last["sum"]["by_table"] == {"usage_apikeyrollup": len(differences)}
    assert json.loads(said("--fix", "--json").splitlines()[-1])["sum"]["left"] == 0
    assert json.loads(said("--json"))["sum"]["differences"] == 0


@pytest.mark.usefixtures("ledger")
def test_it_can_look_at_a_part() -> None:
    Rollup.objects.update(requests=F("requests") + 1)
    assert "No difference." in said("--until", "2026-11-22T10:00:00")
    assert complained("--since", "2026-11-22T10:00:00+00:00")[1]


@pytest.mark.parametrize("instant", ["yesterday", ""])
def test_an_instant_that_is_none_is_refused(instant: str) -> None:
    with pytest.raises(CommandError, match="is not an instant"):
        call_command("reconcile", "--since", instant)


def test_a_position_inside_a_line_or_beyond_the_end_is_told_and_read_again(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("final", finished(1))
    open_recorder().drain()
    (segment,) = JournalPosition.objects.values_list("segment", flat=True)
    right = JournalPosition.objects.get(segment=segment).position
    assert "No difference." in said()
    for position in (right - 3, right + 10_000, -1):
        JournalPosition.objects.filter(segment=segment).update(position=position)
        text, _ = complained()
        assert text.startswith(f"usage_journalposition (segment {segment}) position: by the ledger ")
        assert "1 mended." in said("--fix")
        assert JournalPosition.objects.get(segment=segment).position == right
    assert Record.objects.count() == 1


def test_the_journal_of_a_dead_process_is_told_and_taken_over(open_journal: OpenJournal) -> None:
    journal = open_journal()
    journal.write_many([("start", started(1)), ("attempt", begun(1))])
    journal.write("final", finished(2))
    assert "No difference." in said()
    journal.close()
    text, _ = complained()
    assert text.startswith("usage_journalposition (worker w1) taken_over: by the ledger yes, found no")
    assert Record.objects.count() == 0
    assert "1 mended." in said("--fix")
    assert {*Record.objects.values_list("outcome", flat=True)} == {"ok", "interrupted"}
    assert "No difference." in said()


def test_while_a_recorder_runs_its_journals_are_left_to_it(open_journal: OpenJournal, data_dir: Path) -> None:
    journal = open_journal()
    journal.write("final", finished(2))
    journal.close()
    with recorder_lock(data_dir / "recorder.lock", seconds=0):
        assert complained("--fix")[1] == "1 difference is left."
    assert Record.objects.count() == 0
    assert "1 mended." in said("--fix")
