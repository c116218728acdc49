"""usage/states.py: the newest word on a key holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consumers.models import ApiKey, ApiKeyState, Consumer
from providers.machine import KeyState
from providers.models import Key, Provider
from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import START, finished
from usage.models import DeadLetter, Record
from usage.states import StateChange, newest, state_table

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

APPLIERS = {
    "key": state_table(KeyState, stamp="updated_at"),
    "api_key": state_table(ApiKeyState, stamp="last_used_at"),
}


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


@pytest.fixture
def key() -> Key:
    provider = Provider.objects.create(name="acme")
    key = Key(provider=provider, name="k1")
    key.set_secret("sk-secret-of-acme-0001")
    key.save()
    return key


def test_changes_of_one_row_are_merged_newest_last() -> None:
    assert newest(
        [
            StateChange(2, 5, {"a": 5}),
            StateChange(1, 9, {"a": 9}),
            StateChange(1, 3, {"a": 3, "b": 3}),
        ]
    ) == [StateChange(1, 9, {"a": 9, "b": 3}), StateChange(2, 5, {"a": 5})]


def test_a_change_makes_the_row_and_later_ones_touch_their_columns_alone(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    line = {"table": "key", "id": key.pk, "at": START}
    journal.write(
        "state", {**line, "columns": {"verdict": "cooling", "cooling_until": START + 500, "reason": "429\0"}}
    )
    recorder = open_recorder(appliers=APPLIERS)
    recorder.drain()
    state = KeyState.objects.get()
    assert (state.verdict, state.cooling_until, state.reason) == ("cooling", moment(START + 500), "429\ufffd")
    assert (state.updated_at, state.detail, state.learned_limit) == (moment(START), {}, None)
    journal.write("state", {**line, "at": START + 10, "columns": {"cooling_until": None, "detail": {"n": 1}}})
    recorder.drain()
    state.refresh_from_db()
    assert (state.verdict, state.cooling_until, state.detail) == ("cooling", None, {"n": 1})
    assert state.updated_at == moment(START + 10)


def test_an_older_word_changes_nothing(
    key: Key, open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    for at, verdict in ((START + 5, "ok"), (START, "cooling")):
        journal.write("state", {"table": "key", "id": key.pk, "at": at, "columns": {"verdict": verdict}})
        open_recorder(appliers=APPLIERS).drain()
    assert KeyState.objects.get().verdict == "ok"


def test_words_on_a_key_that_is_gone_are_dropped(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    journal = open_journal()
    journal.write("state", {"table": "key", "id": 12345, "at": START, "columns": {"verdict": "ok"}})
    journal.write("final", finished(1))
    open_recorder(appliers=APPLIERS).drain()
    assert (KeyState.objects.count(), ApiKeyState.objects.count()) == (0, 0)
    assert Record.objects.count() == 1
    assert DeadLetter.objects.count() == 0


def test_an_api_key_knows_when_it_was_used_last_and_from_where(
    open_journal: OpenJournal, open_recorder: OpenRecorder
) -> None:
    consumer = Consumer.objects.create(name="alice")
    api_key = ApiKey(consumer=consumer, name="laptop", prefix="sk-aethe", digest="d" * 64)
    api_key.save()
    journal = open_journal()
    for number, address in ((5, "10.0.0.5"), (9, "10.0.0.9"), (7, "10.0.0.7")):
        journal.write("final", finished(number, api_key_id=api_key.pk, address=address))
    recorder = open_recorder(appliers=APPLIERS)
    recorder.drain()
    journal.write("final", finished(6, api_key_id=api_key.pk, address="10.0.0.6"))
    recorder.drain()
    state = ApiKeyState.objects.get()
    assert (state.last_used_at, state.last_address) == (moment(START + 9), "10.0.0.9")
