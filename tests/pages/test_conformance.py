"""Conformance on an endpoint's page: who may run it, what is shown while it runs and afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from providers.conformance import LONGEST, Conformance
from providers.corpus import TITLES
from providers.models import Endpoint, Key
from tests.pages import world

pytestmark = pytest.mark.django_db
SAID = {
    "images": ("refused", "400: This model does not support image input."),
    "parallel_tools": ("wrong", "get_time was not called, only get_weather"),
    "count_tokens": ("absent", ""),
    "thinking": ("untried", "status 429: slow down"),
}


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs stand where they were begun."""
    monkeypatch.setattr("providers.runs.threading.Thread.start", lambda thread: None)


def result(endpoint: Endpoint, model: str = "acme-fast-1") -> Conformance:
    run = Conformance(endpoint=endpoint, model=model, user_name="root", key_name="first")
    run.rows = [[name, *SAID.get(name, ("works", ""))] for name in TITLES]
    run.save()
    run.finish(timezone.now())
    return run


def address(endpoint: Endpoint, what: str = "change") -> str:
    page = world.address(Endpoint, "change", endpoint.pk)
    return page if what == "change" else page.removesuffix("change/") + f"{what}/"


def html(browser: Client, endpoint: Endpoint) -> str:
    return browser.get(address(endpoint)).content.decode()


def test_an_endpoint_that_nobody_tried_says_so(client_of_root: Client) -> None:
    world.supply()
    page = html(client_of_root, Endpoint.objects.get())
    assert "Nobody has tried out yet what works here." in page
    assert "forget-conformance" not in page


def test_the_dialog_offers_the_models_that_are_deployed_there(client_of_root: Client) -> None:
    world.supply()
    page = client_of_root.get(address(Endpoint.objects.get(), "conformance")).content.decode()
    assert "acme-fast-1" in page
    assert "It takes a minute" in page


@pytest.mark.usefixtures("still")
def test_a_run_is_begun_and_its_page_says_how_far_it_is(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    asked = {"_form_submitted": "True", "model": "acme-fast-1"}
    answer = client_of_root.post(address(endpoint, "conformance"), asked)
    assert answer["HX-Redirect"] == address(endpoint)
    run = Conformance.objects.get()
    assert (run.model, run.user_name, run.key_name) == ("acme-fast-1", "root", "first")
    run.rows = [["text", "works", ""]]
    run.save()
    page = html(client_of_root, endpoint)
    assert f"Trying it out with acme-fast-1: 1 of {len(TITLES)}." in page
    assert 'hx-trigger="every 2s"' in page
    client_of_root.post(address(endpoint, "conformance"), asked)
    assert "It is being tried out already." in html(client_of_root, endpoint)
    assert Conformance.objects.count() == 1


def test_a_run_that_died_with_its_process_is_not_shown_as_running(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    Conformance.objects.create(
        endpoint=endpoint, model="m", started_at=timezone.now() - LONGEST - timedelta(1)
    )
    assert "hx-trigger" not in html(client_of_root, endpoint).partition('id="conformance"')[2][:200]


def test_the_matrix_says_each_verdict_in_a_word_and_a_symbol(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    page = html(client_of_root, endpoint)
    for shown in ("✓ works", "✕ refused", "! wrong", "– not in this format", "? not tried"):
        assert shown in page
    for title in TITLES.values():
        assert str(title) in page
    assert "This model does not support image input." in page


def test_an_endpoint_that_does_not_answer_is_told_as_one(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    assert "Nothing could be tried" not in html(client_of_root, endpoint)
    dead = Conformance(endpoint=endpoint, model="acme-fast-1", user_name="root", key_name="first")
    dead.rows = [["text", "untried", "no connection"], *([name, "untried", "x"] for name in list(TITLES)[1:])]
    dead.save()
    dead.finish(timezone.now())
    page = html(client_of_root, endpoint)
    assert page.count("Nothing could be tried") == 1
    assert "What was found before holds." in page
    assert "✕ refused" in page


def test_what_a_vendor_says_is_no_markup(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    run = result(endpoint)
    run.rows[0] = ["text", "refused", "<script>alert(1)</script>"]
    run.save()
    page = html(client_of_root, endpoint)
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_what_was_found_can_be_forgotten(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    assert address(endpoint, "forget-conformance") in html(client_of_root, endpoint)
    client_of_root.post(address(endpoint, "forget-conformance"), {"_form_submitted": "True"})
    assert not Conformance.objects.exists()


def test_without_a_live_key_a_sentence_says_so(client_of_root: Client) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    Key.objects.update(is_active=False)
    asked = {"_form_submitted": "True", "model": "acme-fast-1"}
    client_of_root.post(address(endpoint, "conformance"), asked)
    assert "has no live key" in html(client_of_root, endpoint)
    assert not Conformance.objects.exists()


def test_whoever_may_only_look_neither_runs_nor_forgets() -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    browser = Client()
    browser.force_login(world.staff("olga", "providers.view_endpoint"))
    assert "✕ refused" in html(browser, endpoint)
    assert "forget-conformance" not in html(browser, endpoint)
    asked = {"_form_submitted": "True", "model": "acme-fast-1"}
    for what in ("conformance", "forget-conformance"):
        assert browser.post(address(endpoint, what), asked).status_code == 403
    assert Conformance.objects.count() == 1
