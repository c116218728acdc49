"""Game day in the admin: superusers start, read and stop a drill; nobody else sees one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from consumers.models import ApiKey
from providers.drills import Drill
from providers.models import Key
from tests.pages import world

pytestmark = pytest.mark.django_db
ASKED = {"fault": "dead_port", "key": "", "api_key": "", "minutes": "5", "after": "0", "reset_seconds": "30"}
PERMISSIONS = ("view", "add", "change", "delete")


def start(browser: Client, **fields: Any) -> Any:
    return browser.post(world.address(Drill, "add"), {**ASKED, **fields})


def test_a_drill_is_started_read_and_stopped(client_of_root: Client) -> None:
    world.supply()
    key = Key.objects.get()
    assert start(client_of_root, key=key.pk).status_code == 302
    drill = Drill.objects.get()
    assert (drill.key_id, drill.fault, drill.user_name) == (key.pk, "dead_port", "root")
    assert drill.ends_at - drill.starts_at == timedelta(minutes=5)
    page = client_of_root.get(world.address(Drill, "change", drill.pk)).content.decode().lower()
    for shown in ("running", "dead port", "time to eject", "what clients saw", str(key).lower()):
        assert shown in page
    base = world.address(Drill, "change", drill.pk).removesuffix("change/")
    stopped = client_of_root.post(f"{base}stop/", {"_form_submitted": "True"})
    assert stopped["HX-Redirect"] == world.address(Drill, "change", drill.pk)
    drill.refresh_from_db()
    assert not drill.runs(timezone.now())
    ended = client_of_root.get(world.address(Drill, "change", drill.pk)).content.decode()
    assert f"{base}stop/" not in ended
    assert "ended" in ended


def test_what_was_asked_for_is_not_changed_afterwards(client_of_root: Client) -> None:
    world.supply()
    start(client_of_root, key=Key.objects.get().pk)
    drill = Drill.objects.get()
    page = client_of_root.get(world.address(Drill, "change", drill.pk)).content.decode()
    assert 'name="_save"' not in page
    client_of_root.post(world.address(Drill, "change", drill.pk), {**ASKED, "fault": "cut", "minutes": "600"})
    again = Drill.objects.get()
    assert (again.fault, again.ends_at) == (drill.fault, drill.ends_at)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "one of them"),
        ({"both": True}, "one of them"),
        ({"minutes": "0"}, "greater than or equal to 1"),
        ({"minutes": "5000"}, "less than or equal to 1440"),
        ({"fault": "earthquake"}, "not one of the available choices"),
    ],
)
def test_a_mistake_is_told_in_the_form(client_of_root: Client, fields: dict[str, Any], said: str) -> None:
    world.supply()
    api_key, _ = world.demand()
    posted = {"key": Key.objects.get().pk, **fields}
    if not fields:
        posted["key"] = ""
    elif posted.pop("both", False):
        posted["api_key"] = api_key.pk
    answer = start(client_of_root, **posted)
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Drill.objects.exists()


def test_that_it_is_for_one_of_two_is_said_once_beside_the_field(client_of_root: Client) -> None:
    world.supply()
    page = start(client_of_root).content.decode()
    assert page.count("Choose a key or an API key, one of them.") == 1
    assert "drill_of_one" not in page


def test_an_api_key_is_named_with_its_consumer(client_of_root: Client) -> None:
    world.supply()
    api_key, _ = world.demand()
    start(client_of_root, api_key=api_key.pk)
    for page in (
        world.address(Drill, "changelist"),
        world.address(Drill, "change", Drill.objects.get().pk),
    ):
        assert f"alice / {api_key}" in client_of_root.get(page).content.decode()


def shown(browser: Client, drill: Drill) -> dict[str, str]:
    """What the report on a drill's page says, by its fields."""
    page = browser.get(world.address(Drill, "change", drill.pk))
    admin_form = page.context["adminform"]
    fields = [field for fieldset in admin_form for line in fieldset for field in line]
    return {each.field["name"]: re.sub("<[^>]+>", "", str(each.contents())) for each in fields}


def test_a_report_without_numbers_says_why_there_are_none(client_of_root: Client) -> None:
    world.supply()
    api_key, _ = world.demand()
    key, now = Key.objects.get(), timezone.now()
    long_ago, ended = now - timedelta(hours=2), now - timedelta(hours=1)
    running = Drill.objects.create(fault="cut", key=key, starts_at=now, ends_at=now + timedelta(minutes=5))
    idle = Drill.objects.create(fault="cut", key=key, starts_at=long_ago, ends_at=ended)
    of_caller = Drill.objects.create(fault="cut", api_key=api_key, starts_at=long_ago, ends_at=ended)
    assert shown(client_of_root, running)["returned_shown"] == "the drill still runs"
    assert shown(client_of_root, running)["state_shown"].startswith("running, ")
    told = shown(client_of_root, idle)
    assert told["requests_shown"] == "0: nobody sent a request that met it"
    assert told["ejected_shown"] == "nothing failed"
    assert told["returned_shown"] == "no good answer since"
    told = shown(client_of_root, of_caller)
    assert told["ejected_shown"] == told["returned_shown"] == "no key is blamed for it"


def test_a_key_that_failed_and_was_not_left_alone_is_told_as_that(client_of_root: Client) -> None:
    world.supply()
    key = Key.objects.get()
    drill = Drill.objects.create(
        fault="cut", key=key, starts_at=world.NOW, ends_at=world.NOW + timedelta(minutes=5)
    )
    world.attempt(world.record(5), 1, key_id=key.pk, reason="connect", verdict="next", endpoint_id=None)
    told = shown(client_of_root, drill)
    assert told["requests_shown"] == "1"
    assert told["failures_shown"] == "1"
    assert told["ejected_shown"] == "it was not left alone"


def test_a_drill_may_be_for_an_api_key_and_outlive_it(client_of_root: Client) -> None:
    world.supply()
    api_key, _ = world.demand()
    start(client_of_root, api_key=api_key.pk, fault="stall", after="3")
    drill = Drill.objects.get()
    assert (drill.api_key_id, drill.key_id, drill.after) == (api_key.pk, None, 3)
    ApiKey.objects.all().delete()
    for page in (world.address(Drill, "changelist"), world.address(Drill, "change", drill.pk)):
        assert f"#{api_key.pk}" in client_of_root.get(page).content.decode()


def test_whoever_is_no_superuser_sees_no_drill() -> None:
    world.supply()
    now = timezone.now()
    drill = Drill.objects.create(
        fault="cut", key=Key.objects.get(), starts_at=now, ends_at=now + timedelta(minutes=5)
    )
    browser = Client()
    browser.force_login(world.staff("olga", *(f"providers.{each}_drill" for each in PERMISSIONS)))
    for page, *args in (("changelist",), ("add",), ("change", drill.pk), ("delete", drill.pk)):
        assert browser.get(world.address(Drill, str(page), *args)).status_code == 403
    assert start(browser, key=drill.key_id).status_code == 403
    base = world.address(Drill, "change", drill.pk).removesuffix("change/")
    assert browser.post(f"{base}stop/", {"_form_submitted": "True"}).status_code == 403
    drill.refresh_from_db()
    assert drill.runs(timezone.now())
