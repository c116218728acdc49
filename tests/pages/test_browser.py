"""What people see, in a real browser."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.core.cache import cache
from playwright.sync_api import Browser, expect

from consumers.models import ApiKey, Consumer
from providers import probe
from providers.models import Key, Model, Provider
from tests.counts import count
from tests.pages import world
from tests.pages.browser import FOLDER, NARROW, WIDE, visit
from usage.models import Record

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("browser"),
]


def opened() -> list[tuple[str, str]]:
    """The pages that open, and a name for the picture of each."""
    return [
        (url, f"{model._meta.app_label}-{model._meta.model_name}-{page}")
        for url, page, model in world.addresses()
        if not world.read_only(model, page)
    ]


def some(pages: list[tuple[str, str]], number: int) -> list[tuple[str, str]]:
    """As many of the pages, any ones; all of them where pictures are wanted."""
    return pages if FOLDER else random.sample(pages, min(number, len(pages)))


def test_every_page_opens_without_a_complaint_and_stays_on_this_host(
    browser: Browser, live_server: Any
) -> None:
    root = world.superuser()
    world.everything(root)
    with visit(browser, live_server.url, root) as seen:
        for url, name in some(opened(), count(25, 1000)):
            seen.open(url)
            seen.shoot(f"wide-light-{name}")
        assert seen.complaints == []


def test_an_operator_sets_up_a_provider_a_model_and_an_api_key(browser: Browser, live_server: Any) -> None:
    world.superuser()
    with visit(browser, live_server.url) as seen:
        page = seen.page
        seen.open("/admin/")
        seen.shoot("journey-01-login")
        page.fill("[name=username]", "root")
        page.fill("[name=password]", world.PASSWORD)
        page.click("button[type=submit]")
        page.get_by_text("What to do next").wait_for()
        seen.shoot("journey-02-empty-start")

        page.click("text=Add a provider with an endpoint and a key")
        page.fill("[name=name]", "acme")
        page.get_by_role("link", name="Endpoints").last.click()
        page.select_option("[name=endpoints-0-format]", "openai_chat")
        page.fill("[name=endpoints-0-base_url]", "https://api.example.com/v1")
        seen.shoot("journey-03-provider-endpoints")
        page.get_by_role("link", name="Keys").last.click()
        page.fill("[name=keys-0-name]", "first")
        page.fill("[name=keys-0-secret]", world.CANARY)
        seen.shoot("journey-04-provider-keys")
        page.click("[name=_save]")
        page.get_by_text("was added successfully").wait_for()
        seen.shoot("journey-05-providers")

        seen.open("/admin/providers/model/add/")
        page.fill("[name=name]", "fast")
        assert page.locator("[data-price-missing]").is_visible()
        page.fill("[name=price_input]", "0.25")
        page.fill("[name=price_output]", "1.5")
        assert page.locator("[data-price-missing]").is_hidden()
        page.get_by_role("link", name="Deployments").last.click()
        page.click("text=Add another deployment")
        page.locator("[name=deployments-0-provider] + .select2").click()
        page.locator(".select2-results__option", has_text="acme").click()
        page.fill("[name=deployments-0-upstream_name]", "acme-fast-1")
        seen.shoot("journey-06-model-deployments")
        page.click("[name=_save]")
        page.get_by_text("was added successfully").wait_for()
        seen.shoot("journey-07-models")

        seen.open("/admin/consumers/consumer/add/")
        page.fill("[name=name]", "alice")
        page.click("[name=_continue]")
        page.get_by_text("was added successfully").wait_for()
        page.get_by_role("link", name="API keys").last.click()
        seen.shoot("journey-08-consumer-api-keys")
        page.click("text=Add an API key")
        page.fill("[name=name]", "laptop")
        page.locator("[name=allowed_models] + .select2").click()
        page.locator(".select2-results__option", has_text="fast").click()
        seen.shoot("journey-09-api-key-add")
        page.click("[name=_save]")
        secret = page.locator("#secret").inner_text()
        assert secret.startswith("sk-aether-")
        assert secret in page.locator("#snippet-1").inner_text()
        seen.shoot("journey-10-api-key-issued")
        page.click("text=Open this API key")
        page.wait_for_url("**/change/**")
        seen.shoot("journey-11-api-key")
        assert secret not in page.content()

        page.click("[name=_save]")
        page.get_by_text("was changed successfully").wait_for()
        assert ApiKey.objects.get().allowed_models == [Model.objects.get().pk]

        seen.open("/admin/")
        seen.shoot("journey-12-start")
        assert seen.complaints == []
        for model in (Key, Provider, ApiKey):
            for kind, *row in (("changelist",), ("change", 1), ("history", 1), ("delete", 1)):
                seen.open(world.address(model, kind, *row))
                assert world.CANARY not in page.content()
                assert secret not in page.content()


def test_an_operator_tests_a_provider_takes_its_models_and_switches_it_off(
    browser: Browser, live_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "fetch_models", lambda endpoint: ["acme-fast-1", "acme-large-2", "acme-tiny"])
    provider = world.supply()
    with visit(browser, live_server.url, world.superuser()) as seen:
        page = seen.page
        seen.open(world.address(Provider, "change", provider.pk))
        page.get_by_text("Test endpoints").click()
        page.get_by_role("button", name="Test").wait_for()
        seen.shoot("buttons-1-dialog")
        page.get_by_role("button", name="Test").click()
        page.get_by_text("lists 3 models").wait_for()
        seen.shoot("buttons-2-tested")

        page.get_by_text("Fetch model list").click()
        page.get_by_role("button", name="Fetch the list").click()
        page.get_by_label("Filter the list").fill("tiny")
        assert page.get_by_text("acme-large-2").is_hidden()
        page.get_by_label("acme-tiny").check()
        page.get_by_label("Filter the list").fill("")
        seen.shoot("buttons-3-models")
        page.get_by_role("button", name="Deploy what is ticked").click()
        page.get_by_text("1 model deployed").wait_for()
        seen.shoot("buttons-4-deployed")

        page.locator("a", has_text="Disable").click()
        page.get_by_role("button", name="Disable").click()
        page.get_by_text("1 disabled").wait_for()
        assert page.locator("a", has_text="Enable").is_visible()
        assert seen.complaints == []
    assert not Provider.objects.get().is_active


def test_a_filter_stands_in_the_address_and_the_search_finds_rows(browser: Browser, live_server: Any) -> None:
    root = world.superuser()
    world.everything(root)
    cache.clear()  # the theme keeps what a search found
    alice = Consumer.objects.get(name="alice")
    world.record(5, outcome="rejected", consumer_id=alice.pk)
    with visit(browser, live_server.url, root) as seen:
        page = seen.page
        seen.open(world.address(Record, "changelist"))
        page.locator("a", has_text="Filters").click()
        page.locator("[name=consumer__id__exact] + .select2").click()
        page.locator(".select2-results__option", has_text="alice").click()
        seen.shoot("filters-1-open")
        page.get_by_role("button", name="Apply").click()
        page.wait_for_url(f"**consumer__id__exact={alice.pk}**")
        assert page.locator("#result_list tbody tr").count() == 1
        seen.shoot("filters-2-applied")

        page.keyboard.press("Control+k")
        entry = page.locator("#search-input-command")
        expect(entry).to_be_focused()
        entry.press_sequentially("acme", delay=20)
        page.locator("a", has_text="acme-fast").first.wait_for()
        seen.shoot("search")
        assert seen.complaints == []


def test_the_pages_fit_a_phone_in_the_dark(browser: Browser, live_server: Any) -> None:
    root = world.superuser()
    world.everything(root)
    apps = ("admin-", "providers-", "consumers-", "usage-record", "usage-attempt-")
    with visit(browser, live_server.url, root, size=NARROW, dark=True) as seen:
        pages = [
            (url, name)
            for url, name in opened()
            if name.startswith(apps) and not name.endswith(("delete", "history"))
        ]
        for url, name in some(pages, count(15, 1000)):
            seen.open(url)
            seen.shoot(f"phone-dark-{name}")
            width = seen.page.evaluate("document.documentElement.scrollWidth")
            assert width <= NARROW[0], f"{url} is {width} pixels wide"
        assert seen.complaints == []


if FOLDER:

    @pytest.mark.parametrize(
        ("size", "dark"), [(WIDE, True), (NARROW, False)], ids=["wide-dark", "phone-light"]
    )
    def test_pictures_of_the_other_looks(
        browser: Browser, live_server: Any, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
    ) -> None:
        root = world.superuser()
        world.everything(root)
        with visit(browser, live_server.url, root, size=size, dark=dark) as seen:
            for url, name in opened():
                if name.endswith(("change", "changelist", "index")):
                    seen.open(url)
                    seen.shoot(f"{request.node.callspec.id}-{name}")
