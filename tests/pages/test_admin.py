"""Every page of the admin opens, at a bounded number of queries, and never counts a giant table."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.db.models import Model as DjangoModel
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from consumers.models import ApiKey, Consumer, Membership, User
from providers.formats import Format
from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.pages import world
from usage.models import Record
from usage.pages import Ledger, LongPage

pytestmark = pytest.mark.django_db

MOST_QUERIES = 12


def test_every_page_of_every_table_opens(client_of_root: Client, root: User) -> None:
    world.everything(root)
    for url, page, model in world.addresses():
        answer = client_of_root.get(url)
        assert answer.status_code == (403 if world.read_only(model, page) else 200), url


def crowd() -> None:
    """Many rows in each table that people fill."""
    for number in range(12):
        provider = Provider.objects.create(name=f"vendor {number}")
        Endpoint.objects.create(provider=provider, format=Format.GEMINI, base_url="https://g.example.com")
        key = Key(provider=provider, name="first")
        key.set_secret(f"sk-crowd-{number:04d}-0123456789")
        key.save()
        model = Model.objects.create(name=f"model-{number}")
        Deployment.objects.create(model=model, provider=provider, upstream_name="m")
        consumer = Consumer.objects.create(name=f"team {number}")
        ApiKey.issue(consumer=consumer, name="one")
        user = User.objects.create_user(f"person{number}")
        Membership.objects.create(user=user, consumer=consumer)
        world.attempt(world.record(number + 1))


def asked(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.database
def test_a_list_takes_as_many_queries_for_many_rows_as_for_one(client_of_root: Client, root: User) -> None:
    world.everything(root)
    few = {model: len(asked(client_of_root, world.address(model, "changelist"))) for model in world.shown()}
    crowd()
    for model, count in few.items():
        queries = asked(client_of_root, world.address(model, "changelist"))
        assert len(queries) <= min(count, MOST_QUERIES), (model, queries)


def long_tables() -> list[type[DjangoModel]]:
    return [model for model, page in admin.site._registry.items() if isinstance(page, LongPage | Ledger)]


def test_no_long_table_is_counted(client_of_root: Client, root: User) -> None:
    world.everything(root)
    crowd()
    for model in long_tables():
        for query in asked(client_of_root, world.address(model, "changelist")):
            assert not re.search(rf'^SELECT COUNT\(\*\) AS "__count" FROM "{model._meta.db_table}"', query), (
                model
            )


@pytest.mark.database
def test_what_is_typed_into_an_autocomplete_is_answered_without_a_count(
    client_of_root: Client, root: User
) -> None:
    world.everything(root)
    crowd()
    url = reverse("admin:autocomplete")
    asks = {"app_label": "usage", "model_name": "record", "field_name": "api_key", "term": "one"}
    with CaptureQueriesContext(connection) as captured:
        answer = client_of_root.get(url, asks).json()
    assert len(answer["results"]) == 12
    assert not any("COUNT(" in query["sql"] for query in captured.captured_queries)


def walk(client: Client, url: str, direction: str) -> list[list[str]]:
    """The ids on each page, from `url` on, older or newer."""
    pages = []
    while url:
        change_list = client.get(url).context["cl"]
        pages.append([str(row.pk) for row in change_list.result_list])
        following = change_list.older_url if direction == "older" else change_list.newer_url
        url = reverse("admin:usage_record_changelist") + following if following else ""
    return pages


@pytest.mark.database
def test_records_are_walked_by_key_each_once_and_back(
    client_of_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site._registry[Record], "list_per_page", 4)
    ids = [str(world.record(number).pk) for number in range(10)][::-1]
    start = reverse("admin:usage_record_changelist")
    older = walk(client_of_root, start, "older")
    assert older == [ids[:4], ids[4:8], ids[8:]]
    newer = walk(client_of_root, f"{start}?before={ids[7]}", "newer")
    assert newer == [ids[8:], ids[4:8], ids[:4]]


def test_the_walk_keeps_filters_and_forgets_a_place_that_is_none(client_of_root: Client) -> None:
    for number in range(3):
        world.record(number, outcome="ok" if number else "rejected")
    url = reverse("admin:usage_record_changelist")
    found = client_of_root.get(f"{url}?outcome__exact=rejected&before=nonsense").context["cl"]
    assert [row.outcome for row in found.result_list] == ["rejected"]
    assert "outcome__exact=rejected" in found.get_query_string()
    assert "before" not in found.get_query_string()


@pytest.mark.parametrize(
    ("term", "number"),
    [("{id}", 1), ("{hex}", 1), (" {id} ", 1), ("acme", 0), ("%", 0), ("' OR 1=1 --", 0), ("", 3)],
)
def test_records_are_found_by_their_id_alone(client_of_root: Client, term: str, number: int) -> None:
    first, *_others = [world.record(each) for each in range(3)]
    wanted = term.format(id=first.pk, hex=first.pk.hex)
    with CaptureQueriesContext(connection) as captured:
        found = client_of_root.get(reverse("admin:usage_record_changelist"), {"q": wanted}).context["cl"]
    assert len(found.result_list) == number
    assert not any("LIKE" in query["sql"] for query in captured.captured_queries)


def test_a_client_finds_its_own_request_id_of_today(
    client_of_root: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: world.NOW)
    world.record(client_request_id="mine-1")
    found = client_of_root.get(reverse("admin:usage_record_changelist"), {"q": "mine-1"}).context["cl"]
    assert len(found.result_list) == 1


@pytest.mark.database
def test_a_time_filter_asks_for_a_range_of_ids(client_of_root: Client) -> None:
    early, late = world.record(0), world.record(3600)
    url = reverse("admin:usage_record_changelist")
    asks: dict[str, Any] = {"started_at_from_0": "2026-11-22", "started_at_from_1": "12:30"}
    found = client_of_root.get(url, asks).context["cl"]
    assert [row.pk for row in found.result_list] == [late.pk]
    asks = {"started_at_to_0": "2026-11-22", "started_at_to_1": "12:30"}
    found = client_of_root.get(url, asks).context["cl"]
    assert [row.pk for row in found.result_list] == [early.pk]


@pytest.mark.parametrize(
    ("view", "guess"),
    [
        ("providers_key_changelist", "sealed__startswith"),
        ("providers_key_changelist", "secret_digest__startswith"),
        ("providers_key_changelist", "seal_id"),
        ("providers_provider_changelist", "keys__sealed__startswith"),
        ("consumers_apikey_changelist", "digest__startswith"),
        ("consumers_consumer_changelist", "api_keys__digest__startswith"),
        ("consumers_user_changelist", "password__startswith"),
        ("usage_record_changelist", "api_key__digest__startswith"),
    ],
)
def test_an_address_cannot_ask_about_a_column_that_the_list_does_not_filter_by(
    client_of_root: Client, view: str, guess: str
) -> None:
    assert client_of_root.get(reverse(f"admin:{view}"), {guess: "v1"}).status_code == 400


def test_a_page_beyond_the_last_is_refused_kindly(client_of_root: Client) -> None:
    answer = client_of_root.get(reverse("admin:providers_key_changelist"), {"p": "99999999"})
    assert answer.status_code == 302
    assert client_of_root.get(answer["Location"]).status_code == 200


def test_a_record_names_what_is_gone(client_of_root: Client) -> None:
    one = world.record(
        consumer_id=404, provider_id=405, key_id=406, model_id=407, api_key_id=408, user_agent_id=409
    )
    page = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert "alice" in page
    assert "acme" in page


def test_flags_are_told_in_words(client_of_root: Client) -> None:
    one = world.record(unpriced=True, truncated=True, list_cost=None)
    page = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert "no price was known" in page
    assert "the stream ended without its own end" in page


def test_an_empty_list_says_whether_it_is_empty_or_filtered(client_of_root: Client) -> None:
    page = client_of_root.get(world.address(Record, "changelist")).content.decode()
    assert "There is nothing here yet." in page
    assert "Reset filters" not in page
    page = client_of_root.get(world.address(Record, "changelist"), {"q": "hello"}).content.decode()
    assert "Nothing here fits the search and the filters." in page
    assert "Reset filters" in page
