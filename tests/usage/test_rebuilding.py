"""usage/rebuilding.py and `manage.py rollup --rebuild`: the records give the same sums again."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from tests.counts import count
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, amended, finished
from tests.usage.sums import assert_sums_agree, quarter_of
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, Record, Rollup
from usage.rebuilding import Rebuilt, rebuild

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

HOUR = 3_600_000
ROLLUPS = (Rollup, ApiKeyRollup, AttemptRollup)


@pytest.fixture
def ledger(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    """Some hours of requests of all sorts."""
    chance = random.Random(11)
    journal = open_journal()
    for number in range(count(80, 800)):
        at = START + chance.randrange(6) * HOUR + chance.randrange(HOUR)
        journal.write(
            "final",
            finished(
                number,
                at=at,
                attempts=chance.randint(1, 3),
                consumer_id=chance.choice([None, 1, 2]),
                api_key_id=chance.choice([None, 3, 4]),
                model_id=chance.choice([4, 5]),
                key_id=chance.choice([None, 7]),
                outcome=chance.choice(["ok", "partial", "client_gone"]),
                list_cost=chance.choice([None, 0, chance.randrange(10**12)]),
                own_cost=chance.randrange(10**12),
                saved_cost=chance.randrange(10**9),
                first_token_ms=chance.choice([None, chance.randrange(100_000)]),
                total_ms=chance.randrange(1_000_000),
                estimated=chance.random() < 0.3,
            ),
        )
        if chance.random() < 0.2:
            journal.write("amend", amended(number, at=at))
    open_recorder(batch_rows=16).drain()


def rows() -> list[list[tuple[Any, ...]]]:
    return [list(model.objects.order_by("id").values_list()) for model in ROLLUPS]


@pytest.mark.usefixtures("ledger")
def test_a_rebuild_of_right_sums_changes_nothing() -> None:
    before = rows()
    result = rebuild()
    assert result.corrected == 0
    assert result.quarters == Rollup.objects.values("quarter").distinct().count()
    assert rows() == before
    assert_sums_agree()


@pytest.mark.usefixtures("ledger")
def test_a_rebuild_brings_back_what_was_lost_changed_or_made_up() -> None:
    Rollup.objects.filter(outcome="partial").delete()
    ApiKeyRollup.objects.update(requests=F("requests") + 1, list_cost=F("list_cost") + 1)
    made_up = Rollup.objects.first()
    assert made_up is not None
    made_up.pk, made_up.consumer_id, made_up.requests = None, 99, 7
    made_up.save()
    AttemptRollup.objects.all().delete()
    assert rebuild().corrected > 10
    assert_sums_agree()
    assert not Rollup.objects.filter(consumer_id=99).exists()
    assert rebuild().corrected == 0


@pytest.mark.usefixtures("ledger")
def test_quarters_older_than_the_oldest_record_are_left_alone() -> None:
    oldest = Record.objects.order_by("request_id")[Record.objects.count() // 2]
    first_kept = quarter_of(oldest.started_at)
    older = Rollup.objects.filter(quarter__lt=first_kept).order_by("id")
    before = list(older.values_list())
    assert before
    Attempt.objects.filter(record_id__lt=oldest.pk).delete()
    Record.objects.filter(pk__lt=oldest.pk).delete()
    rebuild()
    assert list(older.values_list()) == before
    kept = Rollup.objects.filter(quarter__gte=first_kept)
    assert sum(row.requests for row in kept) == Record.objects.count()


@pytest.mark.usefixtures("ledger")
def test_it_can_begin_later() -> None:
    late = datetime.fromtimestamp(START / 1000, UTC) + timedelta(hours=3)
    Rollup.objects.all().delete()
    rebuild(late)
    assert not Rollup.objects.filter(quarter__lt=late - timedelta(minutes=15)).exists()
    assert Rollup.objects.filter(quarter__gte=late).exists()


def test_without_a_record_there_is_nothing_to_do() -> None:
    assert rebuild() == Rebuilt(0, 0)


@pytest.mark.usefixtures("ledger")
def test_it_tells_how_far_it_is() -> None:
    heard: list[float] = []
    rebuild(progress=lambda done, of: heard.append(done / of))
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert heard[-1] == 1


@pytest.mark.usefixtures("ledger")
def test_the_command_says_what_it_did() -> None:
    AttemptRollup.objects.all().delete()
    out = StringIO()
    call_command("rollup", "--rebuild", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert told["corrected"] > 0
    assert told["quarters"] > 0
    out = StringIO()
    call_command("rollup", "--rebuild", "--since", "2026-11-22T10:00:00", stdout=out)
    assert "0 rows corrected" in out.getvalue()
    assert_sums_agree()


@pytest.mark.parametrize("arguments", [[], ["--rebuild", "--since", "yesterday"]])
def test_the_command_refuses_what_it_does_not_understand(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("rollup", *arguments)
