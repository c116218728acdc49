"""Failure rules, their dry run and the explained route in a real browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Browser

from providers.failurerules import FailureRule
from tests.counts import count
from tests.pages import world
from tests.pages.browser import NARROW, WIDE, visit

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("browser"),
]

LOCKED = {"error": {"message": "Your account is locked.", "code": "account_locked"}}


WINDOWS = ((NARROW, False), (WIDE, True))[: count(1, 2)]


@pytest.mark.parametrize(("size", "dark"), WINDOWS, ids=("phone-light", "wide-dark")[: len(WINDOWS)])
def test_an_operator_writes_a_rule_tries_it_and_asks_for_a_route(
    browser: Browser, live_server: Any, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
) -> None:
    world.supply()
    world.demand()
    FailureRule.objects.create(name="first of all", order=5, status="402", verdict="out_of_money")
    name = request.node.callspec.id
    with visit(browser, live_server.url, world.superuser(), size=size, dark=dark) as seen:
        page = seen.page

        def fits() -> None:
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0]

        seen.open(reverse("admin:providers_failurerule_add"))
        page.fill("[name=name]", "locked accounts")
        page.fill("[name=text]", "account is LOCKED")
        page.select_option("[name=verdict]", "key_refused")
        seen.shoot(f"{name}-rules-1-add")
        page.click("[name=_save]")
        page.get_by_text("was added successfully").wait_for()
        seen.shoot(f"{name}-rules-2-list")
        fits()

        page.get_by_text("Dry run: what would this error mean?").click()
        page.fill("[name=body]", json.dumps(LOCKED))
        page.get_by_role("button", name="Judge it").click()
        page.get_by_role("heading", name="Key refused").wait_for()
        assert page.locator("#outcome").get_by_text("failure rule “locked accounts”").is_visible()
        seen.shoot(f"{name}-rules-3-judged")
        fits()

        seen.open(reverse("explain_route"))
        page.fill("[name=model]", "acme-latest")
        page.locator("[name=api_key] + .select2").click()
        page.locator(".select2-results__option", has_text="laptop").click()
        page.get_by_role("button", name="Explain").click()
        page.get_by_role("heading", name="acme-fast for alice / laptop").wait_for()
        assert page.locator(".plan-table").get_by_text("acme / first").is_visible()
        seen.shoot(f"{name}-rules-4-explained")
        fits()
        assert seen.complaints == []
