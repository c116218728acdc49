"""The first page, the search over all pages, and the pages that say what went wrong."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.views import defaults

from consumers.models import User
from providers.machine import EndpointState
from providers.models import Key
from tests.pages import world
from usage.models import DeadLetter

pytestmark = pytest.mark.django_db


def test_an_empty_relay_says_what_to_do_next(client_of_root: Client) -> None:
    page = client_of_root.get(reverse("admin:index")).content.decode()
    assert "What to do next" in page
    assert "No request has been recorded yet" in page
    assert reverse("admin:providers_provider_add") in page


@pytest.mark.database
def test_the_start_page_counts_what_lives(client_of_root: Client, root: User) -> None:
    world.everything(root)
    figures = client_of_root.get(reverse("admin:index")).context["figures"]
    assert [each.count for each in figures] == ["0", "1", "1", "1"]  # the endpoint is disabled by the machine
    EndpointState.objects.update(disabled_at=None)
    Key.objects.update(is_active=False)
    figures = client_of_root.get(reverse("admin:index")).context["figures"]
    assert [each.count for each in figures] == ["1", "0", "1", "1"]


def test_the_start_page_shows_the_last_ten_requests_at_few_queries(client_of_root: Client) -> None:
    for number in range(12):
        world.record(number, model_name=f"m{number}")
    with CaptureQueriesContext(connection) as captured:
        answer = client_of_root.get(reverse("admin:index"))
    assert [row["model"] for row in answer.context["records"]] == [
        f"m{number}" for number in range(11, 1, -1)
    ]
    assert "What to do next" not in answer.content.decode()
    assert len(captured) <= 10


def test_a_dead_letter_is_told_to_those_who_may_see_it(client_of_root: Client) -> None:
    letter = DeadLetter.objects.create(segment="w1/1", position=7, kind="final", line="{}", reason="too long")
    page = client_of_root.get(reverse("admin:index")).content.decode()
    assert "1 line of the journal was refused by the database" in page
    assert f'href="{reverse("admin:usage_deadletter_changelist")}"' in page
    letter.resolved_at = letter.created_at
    letter.save()
    assert "refused by the database" not in client_of_root.get(reverse("admin:index")).content.decode()
    letter.resolved_at = None
    letter.save()
    User.objects.update(is_superuser=False)
    assert "refused by the database" not in client_of_root.get(reverse("admin:index")).content.decode()


@pytest.mark.parametrize(
    ("term", "found"), [("acm", "acme-fast"), ("lapt", "laptop"), ("alic", "alice"), ("x", "")]
)
def test_rows_are_found_by_name(client_of_root: Client, root: User, term: str, found: str) -> None:
    cache.clear()
    world.everything(root)
    page = client_of_root.get(reverse("admin:search"), {"s": term, "extended": "1"}).content.decode()
    assert found in page


def test_a_record_is_found_by_its_id(client_of_root: Client) -> None:
    cache.clear()
    one = world.record()
    page = client_of_root.get(reverse("admin:search"), {"s": str(one.pk), "extended": "1"}).content.decode()
    assert reverse("admin:usage_record_change", args=[one.pk]) in page


def test_what_is_not_there_is_told_with_a_way_on(client_of_root: Client) -> None:
    answer = client_of_root.get("/admin/nowhere/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is nothing here" in page
    assert 'href="/admin/"' in page
    assert "<script" not in page


def test_every_error_page_says_what_to_do() -> None:
    request = RequestFactory().get("/")
    pages = {
        400: defaults.bad_request(request, ValueError("secret detail")),
        403: defaults.permission_denied(request, PermissionError("secret detail")),
        404: defaults.page_not_found(request, ValueError("secret detail")),
        500: defaults.server_error(request),
    }
    for status, page in pages.items():
        body = page.content.decode()
        assert page.status_code == status
        assert str(status) in body
        assert "secret detail" not in body
        assert "/static/aether/error.css" in body
