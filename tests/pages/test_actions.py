"""The buttons: switch on and off, test an endpoint, fetch a vendor's models and deploy them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from changes.models import Change
from consumers.models import ApiKey
from providers import probe
from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.pages import world
from usage.models import DeadLetter

pytestmark = pytest.mark.django_db

YES = {"_form_submitted": "True"}


def button(row: Any, name: str) -> str:
    return world.address(type(row), "change", row.pk).removesuffix("change/") + f"{name}/"


def said(answer: Any) -> list[str]:
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_a_button_switches_a_row_off_and_on_and_history_knows(client_of_root: Client) -> None:
    provider = world.supply()
    Change.objects.all().delete()
    answer = client_of_root.post(button(provider, "disable"), YES)
    assert answer["HX-Redirect"] == world.address(Provider, "change", provider.pk)
    assert not Provider.objects.get().is_active
    assert Change.objects.filter(kind="provider", object_id=str(provider.pk)).exists()
    client_of_root.post(button(provider, "enable"), YES)
    assert Provider.objects.get().is_active
    assert [entry.change_message for entry in LogEntry.objects.order_by("pk")] == ["Disabled.", "Enabled."]


def test_a_row_offers_the_one_switch_that_does_something(client_of_root: Client) -> None:
    provider = world.supply()
    page = client_of_root.get(world.address(Provider, "change", provider.pk)).content.decode()
    assert button(provider, "disable") in page
    assert button(provider, "enable") not in page


@pytest.mark.parametrize("model", [Provider, Endpoint, Key, Model, Deployment, ApiKey])
def test_selected_rows_are_switched_together(client_of_root: Client, model: type[Any]) -> None:
    world.supply()
    world.demand()
    ids = [str(row.pk) for row in model.objects.all()]
    url = world.address(model, "changelist")
    answer = client_of_root.post(url, {"action": "disable", "_selected_action": ids}, follow=True)
    assert not model.objects.filter(is_active=True).exists()
    assert "disabled." in answer.content.decode()
    client_of_root.post(url, {"action": "enable", "_selected_action": ids})
    assert not model.objects.filter(is_active=False).exists()


def test_a_button_of_a_row_that_is_gone_is_not_found(client_of_root: Client) -> None:
    provider = world.supply()
    url = button(provider, "disable")
    provider.delete()
    assert client_of_root.post(url, YES).status_code == 404
    assert client_of_root.post(url.replace(str(provider.pk), "nobody"), YES).status_code == 404


def test_an_endpoint_says_how_its_test_went(client_of_root: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    monkeypatch.setattr(probe, "fetch_models", lambda endpoint: ["a", "b"])
    assert "lists 2 models. (" in said(client_of_root.post(button(endpoint, "test"), YES))[0]


def test_the_test_of_a_provider_covers_its_endpoints(
    client_of_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = world.supply()
    Endpoint.objects.create(provider=provider, format="gemini", base_url="https://g.example.com")

    def refuse(endpoint: Endpoint) -> list[str]:
        raise probe.ProbeError(f"{endpoint.format} is down")

    monkeypatch.setattr(probe, "fetch_models", refuse)
    told = said(client_of_root.post(button(provider, "test"), YES))
    assert [each.split(" (")[0] for each in told] == ["openai_chat is down", "gemini is down"]
    Endpoint.objects.update(is_active=False)
    client_of_root.get(reverse("admin:index"))
    assert "add one first" in said(client_of_root.post(button(provider, "test"), YES))[0]


def test_the_vendors_list_is_fetched_when_asked_and_ticked_models_are_deployed(
    client_of_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = world.supply()
    Model.objects.create(name="known", aliases=["vendor-known"], price_input=1, price_output=2)
    asked: list[Endpoint] = []

    def listed(endpoint: Endpoint) -> list[str]:
        asked.append(endpoint)
        return ["acme-fast-1", "vendor-known", "vendor-new"]

    monkeypatch.setattr(probe, "fetch_models", listed)
    url = button(provider, "models")
    assert client_of_root.get(url).status_code == 200
    assert not asked
    page = client_of_root.post(url, {"fetch": ""}).content.decode()
    assert len(asked) == 1
    assert "vendor-new" in page
    assert "acme-fast</td>" in page  # what acme-fast-1 is deployed as
    answer = client_of_root.post(url, {"deploy": "", "name": ["vendor-known", "vendor-new"]})
    assert answer.status_code == 302
    deployed = dict(Deployment.objects.values_list("upstream_name", "model__name"))
    assert deployed == {"acme-fast-1": "acme-fast", "vendor-known": "known", "vendor-new": "vendor-new"}
    assert any("until you give one: vendor-new." in each for each in said(answer))
    again = client_of_root.post(url, {"deploy": "", "name": ["vendor-new", "../etc"]}).content.decode()
    assert "serves the model under that name already" in again
    assert "is 1 to 200 letters" in again
    assert Deployment.objects.count() == 3


def test_a_vendor_that_does_not_answer_is_named(
    client_of_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = world.supply()

    def refuse(endpoint: Endpoint) -> list[str]:
        raise probe.ProbeError("api.example.com cannot be reached: check the base URL.")

    monkeypatch.setattr(probe, "fetch_models", refuse)
    page = client_of_root.post(button(provider, "models"), {"fetch": ""}).content.decode()
    assert "cannot be reached: check the base URL" in page
    assert "No model was listed" in page


def test_a_dead_letter_that_nobody_can_apply_is_given_up_by_who_may_change_it(client_of_root: Client) -> None:
    letters = [
        DeadLetter.objects.create(segment="w1/1", position=place, kind="final", line="{}", reason="no id")
        for place in range(3)
    ]
    url = world.address(DeadLetter, "changelist")
    asked = {"action": "give_up", "_selected_action": [str(letter.pk) for letter in letters[:2]]}
    reader = Client()
    reader.force_login(world.staff("rita", "usage.view_deadletter"))
    assert "give_up" not in reader.get(url).content.decode()
    reader.post(url, asked)
    assert DeadLetter.objects.filter(resolved_at__isnull=True).count() == 3
    answer = client_of_root.post(url, asked, follow=True)
    assert "2 marked as resolved." in answer.content.decode()
    assert [*DeadLetter.objects.filter(resolved_at__isnull=True)] == letters[2:]
    assert {entry.change_message for entry in LogEntry.objects.all()} == {"Resolved without being applied."}
