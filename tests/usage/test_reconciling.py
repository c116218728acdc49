"""usage/reconciling.py: what does not follow from the ledger is found by name, and exactly that is mended."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.db import connections
from django.db.models import F

from tests.counts import count
from tests.usage.books import HOUR, random_final
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, amended, finished
from tests.usage.sums import assert_sums_agree
from usage.differences import Difference
from usage.ids import attempt_id
from usage.models import ApiKeyRollup, Attempt, AttemptRollup, DeadLetter, PriceSnapshot, Record, Rollup
from usage.reconciling import Reconciled, Reconciler

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

CENT = Decimal("0.01")
PICO_DOLLAR = Decimal("0.000000000001")
Told = set[tuple[str, str]]


Fill = Callable[[int], None]


@pytest.fixture
def fill(open_journal: OpenJournal, open_recorder: OpenRecorder) -> Fill:
    """Makes a ledger of so many requests of all sorts within two hours, brought over by the recorder."""

    def make(number: int) -> None:
        chance = random.Random(23)
        journal = open_journal()
        for each in range(number):
            journal.write("final", random_final(each, chance, hours=2))
        journal.write("final", finished(900_001, at=START + HOUR))
        journal.write("amend", amended(900_001, at=START + HOUR))
        open_recorder().drain()

    return make


@pytest.fixture
def ledger(fill: Fill) -> None:
    fill(200)


def reconciled(
    *, fix: bool = False, since: datetime | None = None, until: datetime | None = None
) -> tuple[Reconciled, list[Difference]]:
    found: list[Difference] = []
    reconciler = Reconciler(found.append, fix=fix)
    reconciler.letters(datetime.now(UTC))
    reconciler.rows(since, until)
    return reconciler.done, found


def everything() -> list[list[tuple[Any, ...]]]:
    """All rows of the ledger, the rollups without their serial numbers."""
    rows = [list(model.objects.order_by("pk").values_list()) for model in (Record, Attempt, PriceSnapshot)]
    rollups = (Rollup, ApiKeyRollup, AttemptRollup)
    rows += [sorted(row[1:] for row in model.objects.values_list()) for model in rollups]
    return rows


def change_a_rollup() -> Told:
    row = Rollup.objects.order_by("id")[7]
    Rollup.objects.filter(pk=row.pk).update(list_cost=row.list_cost + PICO_DOLLAR, total_05=F("total_05") + 2)
    return {("usage_rollup", "list_cost"), ("usage_rollup", "total_05")}


def lose_a_rollup() -> Told:
    row = ApiKeyRollup.objects.order_by("id")[3]
    row.delete()
    told = {("usage_apikeyrollup", name) for name in row.SUMS if getattr(row, name)}
    return told | {
        ("usage_apikeyrollup", name) for name in (*row.FIRST_TOKEN, *row.TOTAL) if getattr(row, name)
    }


def make_a_rollup_up() -> Told:
    row = AttemptRollup.objects.order_by("id")[2]
    AttemptRollup.objects.create(
        quarter=row.quarter, provider_id=99, endpoint_id=98, key_id=97, model_id=96, verdict="ok", requests=1
    )
    return {("usage_attemptrollup", "requests")}


def change_a_list_cost() -> Told:
    record = Record.objects.filter(list_cost__gt=0, price__isnull=False).order_by("pk")[3]
    Record.objects.filter(pk=record.pk).update(list_cost=record.list_cost + PICO_DOLLAR)
    return {
        ("usage_record", "list_cost"),
        ("usage_rollup", "list_cost"),
        ("usage_apikeyrollup", "list_cost"),
    }


def change_an_own_cost() -> Told:
    record = Record.objects.filter(own_cost__gt=0).order_by("pk")[5]
    Record.objects.filter(pk=record.pk).update(own_cost=record.own_cost - PICO_DOLLAR)
    return {
        ("usage_record", "own_cost"),
        ("usage_rollup", "own_cost"),
        ("usage_apikeyrollup", "own_cost"),
    }


def change_what_was_saved() -> Told:
    record = Record.objects.filter(saved_cost__gt=0).order_by("pk")[0]
    Record.objects.filter(pk=record.pk).update(saved_cost=record.saved_cost + CENT)
    return {
        ("usage_record", "saved_cost"),
        ("usage_rollup", "saved_cost"),
        ("usage_apikeyrollup", "saved_cost"),
    }


def forget_that_a_price_was_known() -> Told:
    record = Record.objects.filter(list_cost__gt=0, price__isnull=False).order_by("pk")[1]
    Record.objects.filter(pk=record.pk).update(list_cost=None, unpriced=True)
    return {
        ("usage_record", "list_cost"),
        ("usage_record", "unpriced"),
        *(
            (table, name)
            for table in ("usage_rollup", "usage_apikeyrollup")
            for name in ("list_cost", "unpriced")
        ),
    }


def price_what_has_no_price() -> Told:
    record = Record.objects.filter(unpriced=True, price__isnull=True).order_by("pk")[0]
    Record.objects.filter(pk=record.pk).update(list_cost=CENT)
    return {
        ("usage_record", "list_cost"),
        *(
            (table, name)
            for table in ("usage_rollup", "usage_apikeyrollup")
            for name in ("list_cost", "unpriced")
        ),
    }


def leave_an_attempt_without_a_record() -> Told:
    record = Record.objects.order_by("pk")[4]
    gone = UUID(int=record.pk.int ^ 1 << 20)
    Attempt.objects.create(
        id=attempt_id(gone, 1),
        record_id=gone,
        number=1,
        started_at=record.started_at,
        verdict="ok",
        total_ms=50,
        list_cost=0,
    )
    columns = ("requests", "succeeded", "total_ms", "total_00")
    return {("usage_attempt", "record_id"), *(("usage_attemptrollup", name) for name in columns)}


DAMAGE: tuple[Callable[[], Told], ...] = (
    change_a_rollup,
    lose_a_rollup,
    make_a_rollup_up,
    change_a_list_cost,
    change_an_own_cost,
    change_what_was_saved,
    forget_that_a_price_was_known,
    price_what_has_no_price,
    leave_an_attempt_without_a_record,
)


def test_what_the_recorder_wrote_is_clean(fill: Fill, record_property: Callable[[str, object], None]) -> None:
    fill(count(200, 20_000))
    before = everything()
    done, found = reconciled()
    assert found == []
    assert done == Reconciled(
        quarters=Rollup.objects.values("quarter").distinct().count(),
        records=Record.objects.count(),
        attempts=Attempt.objects.count(),
    )
    assert reconciled(fix=True) == (done, [])
    assert everything() == before
    record_property("measured", f"{done.records} records, {done.attempts} attempts: 0 differences")


def test_each_damage_is_found_by_name_and_exactly_it_is_mended(
    fill: Fill, record_property: Callable[[str, object], None]
) -> None:
    fill(count(200, 2_000))
    before = everything()
    for damage in DAMAGE:
        wanted = damage()
        damaged = everything()
        done, found = reconciled()
        told = {(each.table, each.column) for each in found}
        assert told == wanted, damage.__name__
        assert done.left == done.differences == len(found) > 0
        assert everything() == damaged
        mended, same = reconciled(fix=True)
        assert same == found
        assert (mended.differences, mended.left) == (len(found), 0)
        assert everything() == before, damage.__name__
        assert reconciled()[1] == []
    record_property("measured", f"{len(DAMAGE)} kinds of damage, each found by name and mended")


@pytest.mark.usefixtures("ledger")
def test_all_damage_at_once_is_mended_too() -> None:
    before = everything()
    for damage in DAMAGE:
        damage()
    assert reconciled(fix=True)[0].left == 0
    assert everything() == before
    assert_sums_agree()


@pytest.mark.usefixtures("ledger")
def test_a_difference_says_where_it_is_and_both_values() -> None:
    row = Rollup.objects.order_by("id")[0]
    Rollup.objects.filter(pk=row.pk).update(list_cost=row.list_cost + CENT)
    _, (difference,) = reconciled()
    assert difference.quarter == row.quarter
    assert difference.row == {name: getattr(row, name) for name in row.DIMENSIONS[1:]}
    assert difference.ledger_shown == row.list_cost
    assert difference.found_shown == row.list_cost + CENT


@pytest.mark.usefixtures("ledger")
def test_it_looks_only_where_it_is_told_to() -> None:
    quarters = sorted(set(Rollup.objects.values_list("quarter", flat=True)))
    Rollup.objects.update(requests=F("requests") + 1)
    quarter = timedelta(minutes=15)
    _, found = reconciled(since=quarters[2] + timedelta(minutes=3), until=quarters[4] + timedelta(minutes=1))
    assert {each.quarter for each in found} == set(quarters[2:5])
    _, found = reconciled(since=quarters[2], until=quarters[2] + quarter)
    assert {each.quarter for each in found} == {quarters[2]}


@pytest.mark.usefixtures("ledger")
def test_quarters_older_than_the_oldest_record_are_left_alone() -> None:
    oldest = Record.objects.order_by("pk")[Record.objects.count() // 2]
    quarter = oldest.started_at.replace(minute=oldest.started_at.minute // 15 * 15, second=0, microsecond=0)
    kept = Record.objects.filter(started_at__gte=quarter).order_by("pk")[0]
    Attempt.objects.filter(record_id__lt=kept.pk).delete()
    Record.objects.filter(pk__lt=kept.pk).delete()
    assert Rollup.objects.filter(quarter__lt=quarter).exists()
    assert reconciled(fix=True)[1] == []
    assert Rollup.objects.filter(quarter__lt=quarter).exists()


@pytest.mark.usefixtures("ledger")
def test_a_lost_attempt_is_told_and_no_cost_is_made_up_for_it() -> None:
    attempt = Attempt.objects.filter(own_cost__gt=0).order_by("pk")[2]
    attempt.delete()
    told = {(each.table, each.column) for each in reconciled()[1]}
    assert {("usage_record", "attempt_count"), ("usage_record", "own_cost")} <= told
    done, _ = reconciled(fix=True)
    assert done.left == 2
    _, left = reconciled()
    assert {(each.table, each.column) for each in left} == {
        ("usage_record", "attempt_count"),
        ("usage_record", "own_cost"),
    }


@pytest.mark.usefixtures("ledger")
def test_an_attempt_whose_id_is_not_its_records_is_told() -> None:
    attempt = Attempt.objects.order_by("pk")[6]
    right = attempt.pk
    Attempt.objects.filter(pk=right).update(id=attempt_id(attempt.record_id, 200))
    wrong = next(each for each in reconciled()[1] if each.table == "usage_attempt")
    assert (wrong.column, wrong.ledger, wrong.found) == (
        "id",
        str(right),
        str(attempt_id(attempt.record_id, 200)),
    )


@pytest.mark.usefixtures("ledger")
def test_a_record_whose_price_is_gone_is_told() -> None:
    price = PriceSnapshot.objects.order_by("pk")[0]
    PriceSnapshot.objects.filter(pk=price.pk).delete()
    done, found = reconciled(fix=True)
    assert {each.column for each in found} == {"price_id"}
    assert len(found) == done.left == Record.objects.filter(price_id=price.pk).count() > 0


def test_a_recorder_at_work_makes_no_difference(
    open_journal: OpenJournal, open_recorder: OpenRecorder, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(29)
    journal = open_journal()
    for number in range(total := count(200, 4_000)):
        at = START + chance.randrange(HOUR)
        journal.write("final", finished(number, at=at))
        if chance.random() < 0.3:
            journal.write("amend", amended(number, at=at))

    def work() -> None:
        try:
            open_recorder(batch_rows=8).drain()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    looks = 0
    while thread.is_alive():
        assert reconciled()[1] == []
        looks += 1
    thread.join()
    done, found = reconciled()
    assert (done.records, found) == (total, [])
    record_property("measured", f"{looks} looks while {total} records came in: 0 differences")


def park(kind: str, line: str) -> DeadLetter:
    return DeadLetter.objects.create(
        segment="w9/00000001.journal", position=18, kind=kind, line=line, reason="full"
    )


def test_a_dead_letter_is_told_and_tried_again(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("final", finished(1))
    open_recorder().drain()
    letter = park("final", _json(finished(2)))
    done, (difference,) = reconciled()
    assert difference.table == "usage_deadletter"
    assert difference.row == {
        "id": letter.pk,
        "segment": "w9/00000001.journal",
        "position": 18,
        "kind": "final",
    }
    assert (difference.found, done.left, Record.objects.count()) == ("waiting: full", 1, 1)
    assert reconciled(fix=True)[0].left == 0
    assert Record.objects.count() == 2
    letter.refresh_from_db()
    assert letter.resolved_at is not None
    assert reconciled()[1] == []
    assert_sums_agree()


def test_a_dead_letter_whose_record_is_there_by_now_is_resolved_without_another(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    open_journal().write("final", finished(1))
    open_recorder().drain()
    park("final", _json(finished(1)))
    before = everything()
    assert reconciled(fix=True)[0].left == 0
    assert everything() == before


@pytest.mark.parametrize(
    ("kind", "line"), [("damage", "\x01\x02"), ("final", "{}"), ("amend", "{"), ("state", "[]")]
)
def test_a_dead_letter_that_makes_no_sense_stays(kind: str, line: str) -> None:
    letter = park(kind, line)
    assert reconciled(fix=True)[0].left == 1
    letter.refresh_from_db()
    assert letter.resolved_at is None
    assert DeadLetter.objects.count() == 1
    assert reconciled()[0].left == 1


def _json(payload: Any) -> str:
    return orjson.dumps(payload).decode()
