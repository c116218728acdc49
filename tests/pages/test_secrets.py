"""No page shows a secret, ciphertext or digest; nothing changes without a token; nothing stored runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from consumers.models import ApiKey, Consumer, User
from providers.models import Key, Model, Provider
from tests.pages import world
from usage.models import Record, UserAgent

pytestmark = pytest.mark.django_db

BUTTONS = ("enable", "disable", "test", "models")


def links_of(root: User) -> Iterator[str]:
    """Every address of the admin that answers a plain GET: pages, buttons, JSON, searches."""
    yield from (url for url, page, model in world.addresses() if not world.read_only(model, page))
    provider, key, api_key = Provider.objects.get(), Key.objects.get(), ApiKey.objects.get()
    for view, row in (
        ("providers_provider", provider),
        ("providers_key", key),
        ("consumers_apikey", api_key),
    ):
        base = reverse(f"admin:{view}_change", args=[row.pk]).removesuffix("change/")
        yield from (f"{base}{each}/" for each in BUTTONS if each in {"enable", "disable"} or row is provider)
    yield reverse("admin:providers_model_pick")
    yield reverse("admin:providers_provider_pick")
    for term in ("first", "laptop", world.CANARY[:12]):
        yield f"{reverse('admin:search')}?s={term}&extended=1"
        yield f"{reverse('admin:providers_key_changelist')}?q={term}"
    for app, model, field in (("usage", "record", "api_key"), ("usage", "attempt", "key")):
        yield f"{reverse('admin:autocomplete')}?app_label={app}&model_name={model}&field_name={field}&term="


def test_no_page_shows_a_secret_a_ciphertext_or_a_digest(client_of_root: Client, root: User) -> None:
    secret = world.everything(root)
    key, api_key = Key.objects.get(), ApiKey.objects.get()
    hidden = {
        "secret": world.CANARY, "ciphertext": key.sealed, "digest": key.secret_digest,
        "seal": str(key.seal_id),
        "API key": secret, "API key's digest": api_key.digest,
    }  # fmt: skip
    seen = 0
    for url in links_of(root):
        answer = client_of_root.get(url)
        assert answer.status_code == 200, url
        body = answer.content.decode()
        assert not [name for name, text in hidden.items() if text in body], url
        seen += 1
    assert seen > 100


def test_a_secret_that_is_posted_stays_out_of_history_and_pages(client_of_root: Client, root: User) -> None:
    world.supply(secret="sk-before-0123456789abcdef")
    key = Key.objects.get()
    url = world.address(Key, "change", key.pk)
    posted = {
        "name": "first", "secret": f"  {world.CANARY}  ", "is_active": "on", "priority": "100", "weight": "1",
        "cost_multiplier": "1", "affinity_seconds": "300", "state-TOTAL_FORMS": "0",
        "state-INITIAL_FORMS": "0",
    }  # fmt: skip
    assert client_of_root.post(url, posted).status_code == 302
    key.refresh_from_db()
    assert key.secret() == world.CANARY
    assert key.hint == world.CANARY[-4:]
    for entry in LogEntry.objects.all():
        assert world.CANARY not in f"{entry.change_message} {entry.object_repr} {entry.get_change_message()}"
    assert LogEntry.objects.get().get_change_message() == "Changed Secret."
    invalid = client_of_root.post(url, {**posted, "name": ""})
    assert invalid.status_code == 200
    assert world.CANARY not in invalid.content.decode()


def test_a_dump_holds_no_secret(root: User, capsys: pytest.CaptureFixture[str]) -> None:
    secret = world.everything(root)
    call_command("dumpdata", "providers", "consumers", "admin")
    dumped = capsys.readouterr().out
    assert world.CANARY not in dumped
    assert secret not in dumped


def posts(root: User) -> list[str]:
    """Every address of the admin that changes something when it is posted to."""
    provider, key, api_key = Provider.objects.get(), Key.objects.get(), ApiKey.objects.get()
    found = [
        url
        for url, page, model in world.addresses()
        if not world.read_only(model, page) and page != "history"
    ]
    for row in (provider, key, api_key, Consumer.objects.get(), Model.objects.get()):
        base = world.address(type(row), "change", row.pk).removesuffix("change/")
        found += [f"{base}enable/", f"{base}disable/"]
    base = world.address(Provider, "change", provider.pk).removesuffix("change/")
    found += [f"{base}test/", f"{base}models/"]
    found += [reverse("admin:auth_user_password_change", args=[root.pk]), reverse("admin:password_change")]
    found += [reverse("admin:logout"), reverse("admin:login")]
    return found


def test_no_form_is_taken_without_its_token(root: User) -> None:
    world.everything(root)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(root)
    counts = {model: model._default_manager.count() for model in world.shown()}
    for url in posts(root):
        answer = strict.post(url, {"post": "yes", "_form_submitted": "True", "action": "delete_selected"})
        assert answer.status_code == 403, url
        assert "expired" in answer.content.decode(), url
    assert counts == {model: model._default_manager.count() for model in world.shown()}


@pytest.mark.parametrize("button", ["enable", "disable", "test", "models"])
def test_opening_a_button_changes_nothing(client_of_root: Client, root: User, button: str) -> None:
    world.everything(root)
    provider = Provider.objects.get()
    base = world.address(Provider, "change", provider.pk).removesuffix("change/")
    before = LogEntry.objects.count()
    assert client_of_root.get(f"{base}{button}/").status_code == 200
    provider.refresh_from_db()
    assert provider.is_active
    assert LogEntry.objects.count() == before


PAYLOAD = (
    "'\"></textarea></title><script>alert(1)</script><img src=x onerror=alert(1)>"
    "<svg onload=alert(1)>{{ 7|add:7 }}"
)
LIVE = re.compile(r"<script>alert|<img src=x|<svg onload|href=.javascript:")


def test_stored_markup_is_shown_and_never_run(client_of_root: Client, root: User) -> None:
    payload = PAYLOAD
    world.everything(root)
    short = payload[:40]
    Provider.objects.update(name=payload, note=payload, website="javascript:alert(1)//")
    Key.objects.update(name=payload, hint=payload[:8])
    Model.objects.update(name=payload, aliases=[payload], note=payload)
    Consumer.objects.update(name=payload, note=payload)
    ApiKey.objects.update(name=payload)
    User.objects.exclude(pk=root.pk).update(username=payload, first_name=payload)
    agent = UserAgent.objects.create(text=payload)
    Record.objects.update(
        consumer_name=payload, model_name=payload, upstream_model=payload, error_text=payload,
        error_code=short,
        provider_name=payload, client_request_id=payload, user_agent=agent, finish_reason=short,
    )  # fmt: skip
    LogEntry.objects.update(object_repr=payload, change_message=payload)
    for url in (*links_of(root), reverse("admin:index")):
        answer = client_of_root.get(url)
        if answer["Content-Type"] == "application/json":  # read by a program, which escapes it
            assert answer["X-Content-Type-Options"] == "nosniff"
            continue
        body = answer.content.decode()
        assert not LIVE.search(body), (url, LIVE.search(body))
        assert "{{ 7|add:7 }}" in body or "add:7" not in body, url
