"""Dashboard, usage report and record page in a real browser, over a relay in use.

`SCREENSHOTS=folder pytest tests/pages/test_faces.py` writes their pictures: light and dark, wide and narrow.
"""

from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser

from providers.models import Key, Provider
from tests.counts import count
from tests.pages import world
from tests.pages.browser import FOLDER, LOOKS, Visit, in_looks, visit
from tests.pages.busy import Busy
from usage.models import Record

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("faces"),
]


def busy(number: int) -> datetime:
    now = timezone.now()
    Busy(random.Random(7), now).serve(number, days=60)
    return now


def faces() -> dict[str, str]:
    """The pages of a relay in use, and a name for the picture of each."""
    worst: Any = Record.objects.filter(outcome="ok", attempt_count=3).order_by("-pk").first()
    worst = worst or Record.objects.filter(outcome="ok").order_by("-attempt_count").first()
    report = reverse("usage_report")
    return {
        "dashboard": f"{reverse('admin:index')}?period=30d",
        "usage-model": f"{report}?period=30d",
        "usage-key": f"{report}?period=7d&by=key",
        "usage-filtered": f"{report}?period=7d&by=consumer&model={worst.model_id}&outcome=ok",
        "record": world.address(Record, "change", worst.pk),
        "records": world.address(Record, "changelist"),
        "provider": world.address(Provider, "change", worst.provider_id),
        "providers": world.address(Provider, "changelist"),
        "key": world.address(Key, "change", worst.key_id),
        "keys": world.address(Key, "changelist"),
    }


def drawn(seen: Visit) -> list[bool]:
    """For each chart of the page whether something was painted on it."""
    painted: list[bool] = seen.page.evaluate(
        """() => [...document.querySelectorAll("canvas.chart")].map((each) => {
            const data = each.getContext("2d").getImageData(0, 0, each.width, each.height).data;
            return data.some((value) => value);
        })"""
    )
    return painted


@in_looks(*list(LOOKS)[: count(2, 4)])
def test_a_relay_in_use_shows_its_face(
    browser: Browser, live_server: Any, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
) -> None:
    root = world.superuser()
    busy(2_500 if FOLDER else count(60, 300))
    with visit(browser, live_server.url, root, size=size, dark=dark) as seen:
        for name, url in faces().items():
            seen.open(url)
            seen.shoot(f"{request.node.callspec.id}-{name}")
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0], name
            if name == "dashboard":
                assert drawn(seen) == [True, True, True]
        assert seen.complaints == []


if FOLDER:

    def test_pictures_for_the_readme(browser: Browser, live_server: Any) -> None:
        root = world.superuser()
        busy(6_000)
        with visit(browser, live_server.url, root, size=(1280, 800)) as seen:
            pages = faces()
            for name in ("dashboard", "usage-model", "record"):
                seen.open(pages[name])
                if name == "record":
                    seen.page.locator("#attempts").scroll_into_view_if_needed()
                    seen.page.evaluate("document.querySelector('#attempts').scrollIntoView()")
                seen.page.screenshot(path=f"{FOLDER}/readme-{name}.png")
