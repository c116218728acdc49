"""providers/states.py: what the machine tells of keys and endpoints, and what operators ask of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from changes.models import Change
from providers import states
from providers.events import Condition, StateEvent
from providers.machine import EndpointState, KeyState
from providers.models import Endpoint, Key, Provider
from providers.types import Stored
from tests.usage.conftest import OpenJournal, OpenRecorder, journals, open_journal, open_recorder
from tests.usage.journals import START
from usage.jobs import outlive
from usage.models import DeadLetter, JournalPosition

__all__ = ["journals", "open_journal", "open_recorder"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOON, LATER, EARLIER = NOW + timedelta(minutes=5), NOW + timedelta(hours=2), NOW - timedelta(seconds=1)
APPLIERS = {each: states.applier(each) for each in (states.KEY, states.ENDPOINT)}


@pytest.fixture
def key() -> Key:
    provider = Provider.objects.create(name="acme")
    Endpoint.objects.create(provider=provider, format="openai_chat", base_url="https://api.example.com/v1")
    key = Key(provider=provider, name="first")
    key.set_secret("sk-secret-of-acme-0001")
    key.save()
    return key


def line(key: Key, at: int = START, **columns: Any) -> dict[str, Any]:
    """A `state` line of a key, as a change of state."""
    usual = {"breaker": "closed", "opened_until": None, "openings": 0, "cooling_until": None, "verdict": "",
             "disabled_at": None, "reason": "answers again"}  # fmt: skip
    return {"table": "key", "id": key.pk, "at": at, "columns": {**usual, **columns}}


def milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


# Events


def test_each_change_of_state_is_an_event_with_its_reason(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    opened: dict[str, Any] = {
        "breaker": "open",
        "opened_until": START + 30_000,
        "reason": "breaker open: reset",
    }
    journal.write("state", line(key, **opened))
    journal.write("state", line(key, START + 1, cooling_until=START + 9_000, reason="throttled"))
    refused: dict[str, Any] = {
        "cooling_until": START + 600_000,
        "disabled_at": START + 2,
        "verdict": "key_refused",
    }
    journal.write("state", line(key, START + 2, **refused, reason="key_refused"))
    journal.write("state", line(key, START + 3, breaker="half_open"))
    journal.write("state", line(key, START + 4))
    journal.write(
        "state", {"table": "key", "id": key.pk, "at": START + 5, "columns": {"last_used_at": START}}
    )
    open_recorder(appliers=APPLIERS).drain()
    events = list(StateEvent.objects.order_by("id"))
    told = [(each.condition, milliseconds(each.until), each.reason) for each in events]
    assert told == [
        ("open", START + 30_000, "breaker open: reset"),
        ("cooling", START + 9_000, "throttled"),
        ("refused", START + 600_000, "key_refused"),
        ("half_open", None, "answers again"),
        ("ready", None, "answers again"),
    ]
    assert {(each.key_id, each.endpoint_id, each.process) for each in events} == {(key.pk, None, "w1")}
    assert [milliseconds(each.at) for each in events] == [START, START + 1, START + 2, START + 3, START + 4]


def test_a_line_that_comes_again_makes_no_second_event(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal, other = open_journal(), open_journal()
    for number in range(6):
        (journal, other)[number % 2].write("state", line(key, START + number // 2, reason=f"number {number}"))
    recorder = open_recorder(appliers=APPLIERS, batch_rows=2)
    recorder.drain()
    before = list(StateEvent.objects.order_by("id").values_list())
    assert len(before) == 6
    recorder.rewind()
    recorder.drain()
    JournalPosition.objects.all().delete()
    open_recorder(appliers=APPLIERS).drain()
    assert list(StateEvent.objects.order_by("id").values_list()) == before


class Crash(BaseException):
    """The process dies."""


def test_row_and_event_come_together_or_not_at_all(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for number in range(4):
        journal.write("state", line(key, START + number, reason=f"number {number}"))
    crashes = 0
    for fatal in range(60):
        seen = 0

        def die(execute: Any, *statement: Any, fatal: int = fatal) -> Any:
            nonlocal seen
            seen += 1
            if seen > fatal:
                raise Crash
            return execute(*statement)

        try:
            with connection.execute_wrapper(die):
                open_recorder(appliers=APPLIERS, batch_rows=2).drain()
        except Crash:
            crashes += 1
            told = StateEvent.objects.order_by("-id").values_list("reason", flat=True).first()
            row = KeyState.objects.values_list("reason", flat=True).first()
            assert told == row
        else:
            break
    assert crashes > 5
    assert StateEvent.objects.count() == 4
    assert not DeadLetter.objects.exists()


def test_events_of_a_key_that_is_gone_stay(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("state", line(key))
    open_recorder(appliers=APPLIERS).drain()
    number = key.pk
    key.delete()
    assert StateEvent.objects.get().key_id == number


def test_events_are_kept_for_ninety_days(key: Key) -> None:
    for days in (89, 91):
        at = NOW - timedelta(days=days)
        StateEvent.objects.create(
            id=states.event_id(round(at.timestamp() * 1000), b"x"), at=at, key=key, condition="ready"
        )
    assert outlive(StateEvent, NOW, timedelta(days=90)) is False
    assert [(NOW - each.at).days for each in StateEvent.objects.all()] == [89]


# What holds


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, ("ready", None)),
        ({"breaker": "closed"}, ("ready", None)),
        ({"breaker": "open", "opened_until": SOON}, ("open", SOON)),
        ({"breaker": "open", "opened_until": EARLIER}, ("half_open", None)),
        ({"breaker": "half_open"}, ("half_open", None)),
        ({"cooling_until": SOON}, ("cooling", SOON)),
        ({"cooling_until": EARLIER}, ("ready", None)),
        ({"cooling_until": SOON, "breaker": "open", "opened_until": LATER}, ("cooling", SOON)),
        ({"cooling_until": SOON, "disabled_at": EARLIER}, ("refused", SOON)),
        ({"disabled_at": EARLIER}, ("refused", None)),
        ({"cooling_until": EARLIER, "disabled_at": EARLIER}, ("ready", None)),
        ({"parked_until": SOON, "cooling_until": LATER}, ("parked", SOON)),
        ({"parked_until": states.FOREVER}, ("parked", None)),
        ({"parked_until": EARLIER}, ("ready", None)),
    ],
    ids=str,
)
def test_what_holds_of_a_row_is_what_the_lists_count(
    key: Key, columns: dict[str, Any], expected: tuple[str, datetime | None]
) -> None:
    state = KeyState.objects.create(key=key, reason="why", **columns)
    holds = states.standing(state, NOW)
    assert (holds.condition, holds.until) == expected
    kept_out = Key.objects.filter(states.out("state__", NOW)).exists()
    assert kept_out is (holds.condition not in (Condition.READY, Condition.HALF_OPEN))
    assert Key.objects.filter(~states.out("state__", NOW)).exists() is not kept_out


def test_a_row_that_the_machine_has_not_met_is_ready(key: Key) -> None:
    assert states.standing(None, NOW).condition == Condition.READY
    assert Key.objects.filter(~states.out("state__", NOW)).exists()


# What operators ask


def changes() -> list[tuple[str, str]]:
    return list(Change.objects.order_by("id").values_list("kind", "object_id"))


@pytest.fixture
def asked(key: Key) -> Key:
    Change.objects.all().delete()
    return key


def test_parking_leaves_row_change_and_event_and_not_the_switch(asked: Key) -> None:
    until = timezone.now() + timedelta(hours=1)
    assert states.park([asked], until, by="ann", reason="billing dispute") == 1
    state = KeyState.objects.get()
    parked = (state.parked_until, state.parked_reason, state.parked_by)
    assert parked == (until, "billing dispute", "ann")
    assert changes() == [("health", f"key:{asked.pk}")]
    event = StateEvent.objects.get()
    told = (event.condition, event.until, event.reason, event.action, event.user_name)
    assert told == ("parked", until, "billing dispute", "park", "ann")
    asked.refresh_from_db()
    assert asked.is_active


def test_a_recovery_clears_what_is_held_and_comes_after_what_was_told_before(
    asked: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    recorder = open_recorder(appliers=APPLIERS)
    before, after = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(minutes=1)
    states.park([asked], None, by="ann", reason="x")
    KeyState.objects.update(learned_limit=3, detail={"peak": 5, "limit_reason": "throttled"})
    states.recover([asked], by="bob", reason="all is well")
    state = KeyState.objects.get()
    assert (state.learned_limit, state.detail) == (None, {})
    assert states.standing(state, timezone.now()) == states.Standing(Condition.READY)
    assert state.recovered_at is not None
    told = list(StateEvent.objects.order_by("id").values_list("action", "condition", "user_name", "until"))
    assert sorted(told) == [("park", "parked", "ann", None), ("recover", "ready", "bob", None)]
    journal = open_journal()
    late = {"breaker": "open", "opened_until": milliseconds(after), "reason": "breaker open: reset"}
    journal.write("state", line(asked, milliseconds(before) or 0, **late))
    recorder.drain()
    assert states.standing(KeyState.objects.get(), timezone.now()).condition == Condition.READY
    journal.write("state", line(asked, milliseconds(after) or 0, **late))
    recorder.drain()
    assert KeyState.objects.get().breaker == "open"


def test_a_probe_is_asked_for_of_many_at_once(asked: Key) -> None:
    endpoint = Endpoint.objects.get()
    assert states.ask_probe([asked, endpoint], by="ann") == 2
    assert changes() == [("health", f"key:{asked.pk}"), ("health", f"endpoint:{endpoint.pk}")]
    assert KeyState.objects.get().probe_asked_at == EndpointState.objects.get().probe_asked_at
    assert set(StateEvent.objects.values_list("action", "condition")) == {("probe", "ready")}


def test_asking_nothing_of_nobody_leaves_no_change(asked: Key) -> None:
    assert states.recover([], by="ann") == 0
    assert changes() == []


# What the engine reads


def test_the_engine_reads_back_what_was_asked_and_what_the_machine_told(asked: Key) -> None:
    KeyState.objects.create(
        key=asked, breaker="open", openings=3, opened_until=LATER, cooling_until=SOON, verdict="key_refused",
        disabled_at=EARLIER, reason="key_refused", learned_limit=4.5, parked_until=LATER,
        recovered_at=EARLIER, probe_asked_at=NOW, updated_at=NOW,
    )  # fmt: skip
    (read,) = states.load([f"key:{asked.pk}"])
    assert read == Stored(
        "key", asked.pk, milliseconds(NOW), "open", 3, milliseconds(LATER), milliseconds(SOON), "key_refused",
        milliseconds(EARLIER), "key_refused", 4.5, milliseconds(LATER), milliseconds(EARLIER),
        milliseconds(NOW),
    )  # fmt: skip


def test_names_that_mean_nothing_are_left_out(asked: Key) -> None:
    KeyState.objects.create(key=asked, breaker="open")
    assert states.load(["key:", "key:x", "model:1", "endpoint:99", f"endpoint:{asked.pk}", "key"]) == []


def test_at_the_start_only_what_holds_something_is_read(key: Key) -> None:
    far = timezone.now() + timedelta(hours=1)
    rows: list[dict[str, Any]] = [
        {"breaker": "closed"},
        {"last_used_at": NOW},
        {"cooling_until": NOW - timedelta(days=400)},
        {"breaker": "open"},
        {"cooling_until": far},
        {"disabled_at": NOW},
        {"parked_until": far},
        {"learned_limit": 2.0},
    ]
    for place, columns in enumerate(rows):
        other = Key(provider=key.provider, name=f"k{place}")
        other.set_secret(f"sk-other-{place}-0123456789")
        other.save()
        KeyState.objects.create(key=other, **columns)
    names = dict(Key.objects.values_list("pk", "name"))
    assert [names[each.id] for each in states.load()] == ["k3", "k4", "k5", "k6", "k7"]
    assert [names[each.id] for each in states.load(["key:1", ""])] == ["k3", "k4", "k5", "k6", "k7"]
