"""An API key's secret is shown once, on the page that answers its creation, with what clients need."""

from __future__ import annotations

import re

import pytest
from django.conf import LazySettings
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory
from django.urls import reverse

from consumers.digest import digest
from consumers.models import ApiKey, Consumer
from consumers.snippets import base_url, snippets
from tests.pages import world
from tests.pages.test_forms import management

pytestmark = pytest.mark.django_db


def issue(client: Client, **columns: str) -> str:
    """Creates an API key in the admin and returns the page that answers."""
    consumer, _new = Consumer.objects.get_or_create(name="alice")
    posted = {
        "consumer": str(consumer.pk),
        "name": "laptop",
        "is_active": "on",
        "recording": "none",
        **columns,
    }
    answer = client.post(reverse("admin:consumers_apikey_add"), posted)
    assert answer.status_code == 200
    assert answer["Cache-Control"].find("no-store") >= 0
    return answer.content.decode()


def secret_on(page: str) -> str:
    found = re.search(r'id="secret">(sk-aether-[A-Za-z0-9_-]{43})<', page)
    assert found
    return found[1]


def test_a_secret_is_shown_once_and_only_its_digest_is_kept(client_of_root: Client) -> None:
    page = issue(client_of_root)
    secret = secret_on(page)
    api_key = ApiKey.objects.get()
    assert api_key.digest == digest(secret)
    for url in (
        world.address(ApiKey, "change", api_key.pk),
        world.address(ApiKey, "history", api_key.pk),
        world.address(ApiKey, "changelist"),
        world.address(Consumer, "change", api_key.consumer_id),
    ):
        again = client_of_root.get(url).content.decode()
        assert secret not in again
        assert api_key.prefix in again or url.endswith("history/")
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())


def test_an_api_key_that_is_posted_twice_is_refused(client_of_root: Client) -> None:
    issue(client_of_root)
    assert "has an API key of that name already" in issue(client_of_root)
    assert ApiKey.objects.count() == 1


def test_every_client_is_told_how_to_call(client_of_root: Client, settings: LazySettings) -> None:
    settings.AETHER_PUBLIC_URL = "https://relay.example.com/"
    world.supply()
    page = issue(client_of_root)
    for name in ("curl", "OpenAI SDK", "Anthropic SDK", "Gemini SDK", "Claude Code", "Codex", "Gemini CLI"):
        assert name in page
    assert "https://relay.example.com/v1/chat/completions" in page
    assert "acme-fast" in page
    assert page.count(secret_on(page)) == 8


def test_without_a_public_address_the_one_in_use_is_told(settings: LazySettings) -> None:
    settings.AETHER_PUBLIC_URL = ""
    assert base_url(RequestFactory().get("/admin/x/")) == "http://testserver"


def test_the_snippets_are_programs(settings: LazySettings) -> None:
    for snippet in snippets("https://relay.example.com", secret="sk-aether-x", model="fast"):
        if snippet.place == "Python":
            compile(snippet.text, snippet.name, "exec")
        assert "fast" in snippet.text
        assert "sk-aether-x" in snippet.text


def test_an_api_key_stays_with_its_consumer(client_of_root: Client) -> None:
    issue(client_of_root)
    api_key = ApiKey.objects.get()
    other = Consumer.objects.create(name="bob")
    posted = {"consumer": str(other.pk), "name": "renamed", "recording": "none", **management("state")}
    assert client_of_root.post(world.address(ApiKey, "change", api_key.pk), posted).status_code == 302
    api_key.refresh_from_db()
    assert (api_key.consumer.name, api_key.name, api_key.is_active) == ("alice", "renamed", False)
