"""The pages on which a key, an endpoint and a provider show how they are, and the buttons that speak to the
machine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from changes.models import Change
from providers import states
from providers.cells import left, reason_of
from providers.events import StateEvent
from providers.machine import EndpointState, KeyState
from providers.models import Endpoint, Key, Provider
from tests.pages import world
from usage.models import HealthBucket
from usage.timelines import CELLS, Cell, span_of, timelines, together
from usage.vitals import COARSE, FINE

pytestmark = pytest.mark.django_db

YES = {"_form_submitted": "True"}
ROWS: list[type[Any]] = [Key, Endpoint]
both = pytest.mark.parametrize("model", ROWS)


def button(row: Any, name: str) -> str:
    return world.address(type(row), "change", row.pk).removesuffix("change/") + f"{name}/"


def page(client: Client, row: Any, query: str = "") -> str:
    return client.get(world.address(type(row), "change", row.pk) + query).content.decode()


def said(answer: Any) -> str:
    return " ".join(str(message) for message in get_messages(answer.wsgi_request))


@pytest.fixture
def supplied() -> Provider:
    provider = world.supply()
    KeyState.objects.all().delete()
    EndpointState.objects.all().delete()
    Change.objects.all().delete()
    return provider


# Buttons


@both
def test_a_row_is_parked_for_a_time_and_a_reason_and_its_switch_stays(
    client_of_root: Client, supplied: Provider, model: type[Any]
) -> None:
    row = model.objects.get()
    began = timezone.now()
    answer = client_of_root.post(button(row, "park"), {**YES, "how_long": "240", "why": "dispute"})
    assert answer["HX-Redirect"] == world.address(model, "change", row.pk)
    assert "Parked, 4 hours." in said(answer)
    state = model.objects.get().state
    assert timedelta(hours=4) <= state.parked_until - began < timedelta(hours=4, minutes=1)
    assert model.objects.get().is_active
    kind = model._meta.model_name
    assert [(each.kind, each.object_id) for each in Change.objects.all()] == [("health", f"{kind}:{row.pk}")]
    assert LogEntry.objects.get().change_message == "Parked, 4 hours: dispute"
    shown = page(client_of_root, row)
    assert "It is parked;" in shown
    assert "by root: dispute" in shown


@both
def test_what_is_parked_without_an_end_says_so(
    client_of_root: Client, supplied: Provider, model: type[Any]
) -> None:
    row = model.objects.get()
    client_of_root.post(button(row, "park"), {**YES, "how_long": "", "why": "dispute"})
    assert "It is parked until somebody recovers it." in page(client_of_root, row)


def test_nothing_is_parked_without_a_reason(client_of_root: Client, supplied: Provider) -> None:
    key = Key.objects.get()
    for asked in ({"how_long": "60"}, {"how_long": "61", "why": "x"}):
        answer = client_of_root.post(button(key, "park"), {**YES, **asked})
        assert "HX-Redirect" not in answer
    assert not KeyState.objects.exists()
    assert not Change.objects.exists()


@both
def test_a_recovery_takes_it_back_whatever_kept_it_out(
    client_of_root: Client, supplied: Provider, model: type[Any]
) -> None:
    row = model.objects.get()
    states.park([row], None, by="ann", reason="x")
    type(row.state).objects.update(breaker="open", opened_until=timezone.now() + timedelta(hours=1))
    answer = client_of_root.post(button(row, "recover"), YES)
    assert "1 recovered." in said(answer)
    assert "Nothing keeps it out." in page(client_of_root, row)
    assert StateEvent.objects.filter(action="recover", user_name="root").count() == 1


@both
def test_a_probe_is_asked_for_and_its_answer_shown(
    client_of_root: Client, supplied: Provider, model: type[Any]
) -> None:
    row = model.objects.get()
    assert "is being probed" in said(client_of_root.post(button(row, "probe"), YES))
    state = model.objects.get().state
    assert state.probe_asked_at is not None
    type(state).objects.update(probed_at=timezone.now(), probe_result="answers (12 ms)")
    assert "answers (12 ms)" in page(client_of_root, row)


@both
def test_selected_rows_are_recovered_and_probed_together(
    client_of_root: Client, supplied: Provider, model: type[Any]
) -> None:
    url, ids = world.address(model, "changelist"), [str(row.pk) for row in model.objects.all()]
    for action, told in (("recover", "1 recovered."), ("probe", "1 is being probed")):
        answer = client_of_root.post(url, {"action": action, "_selected_action": ids}, follow=True)
        assert told in answer.content.decode()
    assert sorted(StateEvent.objects.exclude(action="").values_list("action", flat=True)) == [
        "probe", "recover",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["park", "recover", "probe"])
def test_who_may_only_look_asks_nothing_of_the_machine(supplied: Provider, name: str) -> None:
    reader = Client()
    reader.force_login(world.staff("rita", "providers.view_key"))
    key = Key.objects.get()
    shown = page(reader, key)
    assert button(key, name) not in shown
    assert "Nothing keeps it out." in shown
    answer = reader.post(button(key, name), {**YES, "how_long": "60", "why": "x"})
    assert answer.status_code == 403
    assert not KeyState.objects.exists()


# Which of the two keeps it out


@pytest.mark.parametrize(
    ("switch", "columns", "sentence"),
    [
        (True, {}, "Nothing keeps it out."),
        (False, {}, "Its switch keeps it out."),
        (False, {"cooling_until": 60}, "Its switch keeps it out, and so would the machine."),
        (True, {"cooling_until": 60, "reason": "throttled"}, "The machine keeps it out, not its switch;"),
        (True, {"breaker": "open", "opened_until": 60}, "The machine keeps it out, not its switch;"),
        (True, {"breaker": "open", "opened_until": -60}, "It is asked again, one request at a time"),
        (True, {"cooling_until": 60, "disabled_at": -5}, "The vendor refuses this key."),
    ],
    ids=str,
)
def test_a_page_says_who_keeps_the_key_out(
    client_of_root: Client, supplied: Provider, switch: bool, columns: dict[str, Any], sentence: str
) -> None:
    key = Key.objects.get()
    Key.objects.update(is_active=switch)
    moments = {
        name: timezone.now() + timedelta(seconds=value) if isinstance(value, int) else value
        for name, value in columns.items()
    }
    KeyState.objects.create(key=key, updated_at=timezone.now(), **moments)
    assert sentence in page(client_of_root, key)
    listed = client_of_root.get(world.address(Key, "changelist"))
    assert listed.status_code == 200


def test_a_provider_that_is_off_is_named_as_what_keeps_its_key_out(
    client_of_root: Client, supplied: Provider
) -> None:
    Provider.objects.update(is_active=False)
    assert "Its provider is switched off" in page(client_of_root, Key.objects.get())


def test_a_provider_counts_what_is_parked_or_open_as_not_live(
    client_of_root: Client, supplied: Provider
) -> None:
    url = world.address(Provider, "changelist")
    assert "1 of 1" in client_of_root.get(url).content.decode()
    states.park([Key.objects.get()], None, by="ann", reason="x")
    assert "no live key" in client_of_root.get(url).content.decode()


def test_changes_of_state_stand_on_the_page_and_in_their_list(
    client_of_root: Client, supplied: Provider
) -> None:
    key = Key.objects.get()
    states.park([key], None, by="ann", reason="billing dispute")
    shown = page(client_of_root, key)
    assert "park, by ann" in shown
    assert "billing dispute" in shown
    url = world.address(StateEvent, "changelist")
    listed = client_of_root.get(f"{url}?key__id__exact={key.pk}").content.decode()
    assert f'href="{url}?key__id__exact={key.pk}"' in shown
    assert "billing dispute" in listed
    assert "key refused" not in listed  # the endpoint's


def test_a_change_of_state_of_what_is_gone_is_listed_by_its_number(
    client_of_root: Client, supplied: Provider
) -> None:
    number = Endpoint.objects.get().pk
    Endpoint.objects.all().delete()
    assert f"#{number}" in client_of_root.get(world.address(StateEvent, "changelist")).content.decode()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (-9, "0 s"), (42, "42 s"), (60, "1 min"), (252, "4 min 12 s"), (3_600, "1 h"),
        (11_100, "3 h 5 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_time_left_is_told_in_two_units(monkeypatch: pytest.MonkeyPatch, seconds: int, told: str) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: world.NOW)
    assert left(world.NOW + timedelta(seconds=seconds)).replace("\u00a0", " ") == told


# Timelines

NOW = world.NOW


def bucket(moment: datetime, seconds: int = COARSE, **columns: Any) -> None:
    begins = int(moment.timestamp()) // seconds * seconds
    HealthBucket.objects.create(
        **{"seconds": seconds, "begins": begins, "endpoint_id": 1, "key_id": 1, "format": "gemini", **columns}
    )


@pytest.mark.parametrize(
    ("good", "bad", "level"),
    [(0, 0, "none"), (1, 0, "good"), (95, 5, "good"), (94, 6, "warn"), (70, 30, "warn"), (69, 31, "bad")],
)
def test_a_cell_is_good_from_95_percent_and_a_warning_from_70(good: int, bad: int, level: str) -> None:
    assert Cell(NOW, {"succeeded": good, "gateway": bad, "attempts": good + bad, "aside": 9}).level == level


def test_what_was_not_the_vendors_fault_is_not_judged() -> None:
    cell = Cell(NOW, {"attempts": 5, "succeeded": 1, "aside": 4})
    assert (cell.level, cell.judged) == ("good", 1)


@pytest.mark.database
@pytest.mark.parametrize(
    ("span", "ago", "seconds"),
    [("1h", 59, FINE), ("24h", 23 * 60, COARSE), ("7d", 6 * 1_440, COARSE), ("30d", 29 * 1_440, COARSE)],
)
def test_a_span_has_ninety_cells_and_the_last_is_now(span: str, ago: int, seconds: int) -> None:
    bucket(NOW, seconds, attempts=3, succeeded=3)
    bucket(NOW - timedelta(minutes=ago), seconds, attempts=2, gateway=2)
    bucket(NOW - timedelta(days=40), seconds, attempts=7, gateway=7)
    (line,) = timelines(span, NOW, {1: "one"}, by="endpoint_id", key_id=1)
    assert len(line.cells) == CELLS
    assert line.cells[-1].level == "good"
    assert [cell.level for cell in line.cells].count("bad") == 1
    assert (line.total.counts["attempts"], line.total.judged) == (5, 5)


@pytest.mark.database
def test_lines_of_endpoints_come_apart_and_together() -> None:
    bucket(NOW, attempts=1, succeeded=1, first_token_count=1, first_token_ms=100)
    bucket(NOW, attempts=3, throttled=3, endpoint_id=2, key_id=2)
    bucket(NOW, attempts=1, succeeded=1, key_id=5, first_token_count=1, first_token_ms=300)
    lines = timelines(
        "24h", NOW, {1: "one", 2: "two", 3: "three"}, by="endpoint_id", endpoint_id__in=[1, 2, 3]
    )
    assert [line.total.level for line in lines] == ["good", "bad", "none"]
    assert lines[0].total.first_token == "200\u00a0ms"
    assert together("all", lines).total.percent.startswith("40")
    assert "throttled\u00a03" in lines[1].cells[-1].title


def test_an_unknown_span_is_the_usual_one() -> None:
    assert [span_of(each) for each in ("7d", "", "2h")] == ["7d", "24h", "24h"]


def test_a_page_shows_its_timeline_as_a_picture_with_words_and_as_a_table(
    client_of_root: Client, supplied: Provider
) -> None:
    endpoint, key = Endpoint.objects.get(), Key.objects.get()
    bucket(
        timezone.now(), attempts=10, succeeded=6, gateway=4, endpoint_id=endpoint.pk, key_id=key.pk,
        format="openai_chat", provider_id=supplied.pk,
    )  # fmt: skip
    for row in (endpoint, key, supplied):
        shown = page(client_of_root, row, "?health=30d")
        assert shown.count('<rect class="cell cell-bad"') == 2  # and one in the legend
        assert "60.0\u00a0% of 10 attempts went well; of 90 spans 0 good, 0 with a warning, 1 bad" in shown
        assert "no answer, or none that could be used\u00a04" in shown


REASONS = [
    ("key_refused", "key refused"),
    ("first_byte_timeout", "no answer in time"),
    ("breaker open: server_error", "breaker open: vendor failed"),
    ("answers again", "answers again"),
    ("may be asked again", "may be asked again"),
    ("INC_123 of the vendor", "INC_123 of the vendor"),
]


@pytest.mark.parametrize(("stored", "told"), REASONS)
def test_a_reason_is_told_in_words_and_an_operators_own_stays_as_it_is(stored: str, told: str) -> None:
    assert reason_of(stored) == told


def test_the_lists_of_states_tell_verdicts_and_reasons_in_words(client_of_root: Client) -> None:
    world.supply()
    for model in (KeyState, EndpointState):
        model.objects.update(verdict="first_byte_timeout", reason="breaker open: first_byte_timeout")
        text = client_of_root.get(world.address(model, "changelist")).content.decode()
        assert "first_byte_timeout" not in text
        assert "breaker open: no answer in time" in text
    for row in (Key.objects.get(), Endpoint.objects.get()):
        text = page(client_of_root, row).partition("state-group")[2]
        assert "first_byte_timeout" not in text
        assert "breaker open: no answer in time" in text


def test_an_endpoint_that_was_never_used_has_no_empty_box_of_its_state(client_of_root: Client) -> None:
    provider = world.supply()
    fresh = Endpoint.objects.create(provider=provider, format="gemini", base_url="https://api.example.com")
    text = client_of_root.get(world.address(Endpoint, "change", fresh.pk)).content.decode()
    assert "state-group" not in text
    used = Endpoint.objects.get(format="openai_chat")
    assert "state-group" in client_of_root.get(world.address(Endpoint, "change", used.pk)).content.decode()
