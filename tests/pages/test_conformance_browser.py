"""Conformance, in a real browser: a run that goes on while somebody looks, and its matrix in every look."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser

from providers.conformance import Conformance
from providers.models import Endpoint
from tests.pages import world
from tests.pages.browser import in_looks, visit
from tests.pages.test_conformance import address, result

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("browser"),
]


@in_looks("phone-dark")
def test_a_run_is_followed_to_its_end(
    browser: Browser, live_server: Any, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    run = Conformance.objects.create(endpoint=endpoint, model="acme-fast-2", rows=[["text", "works", ""]])
    with visit(browser, live_server.url, world.superuser(), size=size, dark=dark) as seen:
        seen.open(address(endpoint))
        panel = seen.page.locator("#conformance")
        panel.get_by_text("1 of 13").wait_for()
        seen.shoot(f"conformance-{request.node.callspec.id}")
        run.rows.append(["streaming", "works", ""])
        run.save()
        panel.get_by_text("2 of 13").wait_for()
        run.finish(timezone.now())
        panel.get_by_text("Trying it out").wait_for(state="detached")
        assert panel.get_attribute("hx-trigger") is None
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert seen.complaints == []


@pytest.mark.parametrize("width", [1024, 1280, 1440])
def test_the_name_of_an_endpoint_stands_beside_its_buttons(
    browser: Browser, live_server: Any, width: int
) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    with visit(browser, live_server.url, world.superuser(), size=(width, 900)) as seen:
        seen.open(address(endpoint))
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        box = seen.page.locator(".crumb-last").bounding_box()
        assert box is not None
        assert box["width"] > 60
        assert seen.complaints == []


def test_what_was_found_is_forgotten_from_its_panel(browser: Browser, live_server: Any) -> None:
    world.supply()
    endpoint = Endpoint.objects.get()
    result(endpoint)
    with visit(browser, live_server.url, world.superuser()) as seen:
        seen.open(address(endpoint))
        seen.page.locator("#conformance").get_by_text("Forget conformance").click()
        seen.page.get_by_role("button", name="Forget").click()
        seen.page.get_by_text("1 result forgotten.").wait_for()
        seen.page.get_by_text("Nobody has tried out yet what works here.").wait_for()
        assert seen.complaints == []
    assert not Conformance.objects.exists()
