"""usage/vitals.py: every attempt counts once in the health of its moment."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from relay.failover import VERDICTS
from tests.counts import count
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, amended, finished
from usage import vitals
from usage.differences import Difference
from usage.ids import instant
from usage.models import Attempt, HealthBucket, JournalPosition
from usage.reconciling import Reconciler
from usage.vitals import CLASSES, COARSE, COUNTS, ENDED, FAILURES, FINE, class_of, forget, rebuild

NOW = datetime.fromtimestamp(START / 1000, UTC)
REASONS = ("", "reset", "throttled", "key_refused", "caller", "redirect", "out_of_money", "overloaded")


def stored() -> dict[Any, list[int]]:
    rows = HealthBucket.objects.values_list(*HealthBucket.DIMENSIONS, *COUNTS)
    size = len(HealthBucket.DIMENSIONS)
    return {row[:size]: list(row[size:]) for row in rows}


def assert_all_counted() -> None:
    """Every bucket, and no other, is what plain loops over the attempts say."""
    wanted: dict[Any, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    for each in Attempt.objects.all():
        began = int(instant(each.record_id).timestamp())
        for seconds in (FINE, COARSE):
            place = (each.provider_id or 0, each.endpoint_id or 0, each.key_id or 0, each.upstream_format)
            counts = wanted[seconds, began - began % seconds, *place]
            counts["attempts"] += 1
            counts[class_of(each.verdict, each.reason)] += 1
            if each.first_token_ms is not None:
                counts["first_token_count"] += 1
                counts["first_token_ms"] += each.first_token_ms
    assert stored() == {key: list(counts.values()) for key, counts in wanted.items()}


def random_final(number: int, chance: random.Random) -> dict[str, Any]:
    """A request of the last hours, at one of a few places."""
    final = finished(number, at=START - chance.randrange(5 * 3_600_000), attempts=chance.randint(1, 3))
    for each in final["attempts"]:
        each["reason"] = chance.choice(REASONS)
        each["verdict"] = chance.choice(["next", "stop", "partial"]) if each["reason"] else "ok"
        each["endpoint_id"], each["key_id"] = chance.choice([None, 6, 8]), chance.choice([7, 9])
        each["first_token_ms"] = chance.choice([None, chance.randrange(60_000)])
    return final


@pytest.fixture
def ledger(open_journal: OpenJournal, open_recorder: OpenRecorder) -> None:
    chance, journal = random.Random(5), open_journal()
    for number in range(count(60, 2_000)):
        journal.write("final", random_final(number, chance))
    open_recorder(batch_rows=16).drain()


@pytest.mark.parametrize("reason", VERDICTS)
def test_every_reason_of_the_relay_has_its_class(reason: str) -> None:
    told = {"blocked_address", "redirect", "too_large", "encoding"}
    assert (class_of("next", reason) == "other") is (reason in told)


def test_the_classes_are_columns_and_their_reasons_the_relays() -> None:
    assert {*CLASSES.values(), *ENDED.values()} | {"other"} == {*FAILURES, "succeeded", "aside"}
    assert CLASSES.keys() <= VERDICTS.keys()


def test_ninety_cells_of_every_span_are_whole_buckets() -> None:
    assert [span % (90 * size) for span, size in ((3_600, FINE), (86_400, COARSE))] == [0, 0]
    assert (7 * 86_400 // 90 % COARSE, 30 * 86_400 // 90 % COARSE, COARSE % FINE) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
@pytest.mark.usefixtures("ledger")
class TestCounted:
    def test_attempts_are_counted_with_their_record(self) -> None:
        assert_all_counted()

    def test_a_rebuild_of_what_is_right_changes_nothing(self) -> None:
        before = list(HealthBucket.objects.order_by("id").values_list())
        recent = int((NOW - timedelta(hours=2)).timestamp()) // FINE * FINE
        HealthBucket.objects.filter(seconds=FINE, begins__lt=recent).delete()
        kept = list(HealthBucket.objects.order_by("id").values_list())
        assert rebuild(NOW) == 0
        assert list(HealthBucket.objects.order_by("id").values_list()) == kept != before

    def test_a_rebuild_brings_back_what_was_lost_changed_or_made_up(self) -> None:
        recent = int((NOW - timedelta(hours=2)).timestamp()) // FINE * FINE
        HealthBucket.objects.filter(seconds=FINE, begins__lt=recent).delete()
        before = stored()
        HealthBucket.objects.filter(key_id=7).delete()
        HealthBucket.objects.filter(seconds=COARSE).update(succeeded=99)
        made_up = HealthBucket.objects.filter(seconds=COARSE).first()
        assert made_up is not None
        made_up.pk, made_up.key_id = None, 404
        made_up.save()
        assert rebuild(NOW) > 10
        assert stored() == before
        assert rebuild(NOW) == 0

    def test_a_check_names_each_count_that_is_wrong_and_mends_just_these(self) -> None:
        clean = stored()
        assert reconciled() == []
        row = HealthBucket.objects.filter(seconds=COARSE, attempts__gt=1).order_by("id")[0]
        HealthBucket.objects.filter(pk=row.pk).update(attempts=row.attempts + 2, succeeded=row.succeeded + 1)
        recent = NOW.timestamp() - 3_600
        gone = HealthBucket.objects.filter(seconds=FINE, begins__gt=recent).order_by("id")[3]
        gone.delete()
        made_up = HealthBucket.objects.get(pk=row.pk)
        made_up.pk, made_up.key_id = None, 404
        made_up.save()
        found = reconciled()
        places = {(each.row["seconds"], each.row["begins"], each.row["key_id"]) for each in found}
        at, then = told(row.begins), told(gone.begins)
        assert places == {(COARSE, at, row.key_id), (COARSE, at, 404), (FINE, then, gone.key_id)}
        wrong = [each for each in found if each.row["key_id"] == row.key_id and each.row["begins"] == at]
        assert [(each.column, each.ledger, each.found) for each in wrong] == [
            ("attempts", row.attempts, row.attempts + 2), ("succeeded", row.succeeded, row.succeeded + 1),
        ]  # fmt: skip
        assert all(each.found is None for each in found if each.row["seconds"] == FINE)
        assert all(each.ledger is None for each in found if each.row["key_id"] == 404)
        assert len(reconciled(fix=True)) == len(found)
        assert reconciled() == []
        assert stored() == clean

    def test_a_check_keeps_to_its_time(self) -> None:
        HealthBucket.objects.all().delete()
        hour = NOW - timedelta(hours=1)
        begins = {each.row["begins"] for each in reconciled(since=hour)}
        assert begins
        assert min(begins) >= told(hour.timestamp() - COARSE)
        begins = {each.row["begins"] for each in reconciled(until=hour)}
        assert max(begins) < told(hour.timestamp())

    def test_a_rebuild_can_begin_later(self) -> None:
        HealthBucket.objects.all().delete()
        rebuild(NOW, NOW - timedelta(hours=1))
        first = int((NOW - timedelta(hours=1)).timestamp()) // COARSE * COARSE
        assert HealthBucket.objects.exists()
        assert not HealthBucket.objects.filter(begins__lt=first).exists()

    def test_buckets_go_when_they_had_their_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vitals, "AT_ONCE", 10)
        while forget(NOW):
            pass
        fine = HealthBucket.objects.filter(seconds=FINE).order_by("begins").first()
        assert fine is not None
        assert fine.begins >= START // 1000 - 7_200 - FINE
        assert HealthBucket.objects.filter(seconds=COARSE, begins__lt=fine.begins - COARSE).exists()
        while forget(NOW + timedelta(days=31)):
            pass
        assert not HealthBucket.objects.exists()

    def test_the_command_makes_health_again_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
        HealthBucket.objects.filter(seconds=COARSE).delete()
        out = StringIO()
        call_command("rollup", "--rebuild", stdout=out)
        assert "0 rows corrected" not in out.getvalue()
        assert rebuild(NOW) == 0
        assert HealthBucket.objects.filter(seconds=COARSE).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_lines_delivered_again_count_once_and_amendments_not_at_all(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    chance, journal, again = random.Random(6), open_journal(), open_journal()
    for number in range(20):
        final = random_final(number, chance)
        for each in (journal, again):
            each.write("final", final)
        journal.write("amend", amended(number, at=START))
    recorder = open_recorder(batch_rows=7)
    recorder.drain()
    recorder.rewind()
    recorder.drain()
    JournalPosition.objects.all().delete()
    open_recorder(batch_rows=5).drain()
    assert_all_counted()


def told(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def reconciled(*, fix: bool = False, **span: datetime) -> list[Difference]:
    """What a check of the buckets finds."""
    found: list[Difference] = []
    reconciler = Reconciler(found.append, fix=fix)
    reconciler.health(NOW, **span)
    assert reconciler.done.differences == len(found)
    assert reconciler.done.left == (0 if fix else len(found))
    return found


@pytest.mark.django_db
def test_without_an_attempt_there_is_nothing_to_make_again() -> None:
    assert rebuild(NOW) == 0
