"""The health of keys, endpoints and providers, in a real browser."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect

from providers import states
from providers.events import StateEvent
from providers.machine import EndpointState, KeyState
from providers.models import Endpoint, Key, Provider
from tests.pages import world
from tests.pages.browser import FOLDER, in_looks, visit
from usage.models import HealthBucket
from usage.vitals import COARSE, FINE

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("browser"),
]


def a_day(now: datetime) -> Provider:
    """A provider with two endpoints and a key that had a bad afternoon, and is cooling now."""
    provider = world.supply()
    Endpoint.objects.create(provider=provider, format="anthropic", base_url="https://api.example.com")
    key, chance = Key.objects.get(), random.Random(4)
    buckets = []
    for endpoint in Endpoint.objects.all():
        for seconds, span in ((FINE, 3_600), (COARSE, 86_400)):
            for ago in range(0, span, seconds):
                share = 0.5 if 20_000 < ago < 30_000 else 0.85 if 30_000 < ago < 36_000 else 0.995
                number = 0 if 50_000 < ago < 60_000 else chance.randrange(20, 200)
                well = round(number * share)
                buckets.append(
                    HealthBucket(
                        seconds=seconds, begins=(int(now.timestamp()) - ago) // seconds * seconds,
                        provider_id=provider.pk, endpoint_id=endpoint.pk, key_id=key.pk,
                        format=endpoint.format, attempts=number, succeeded=well,
                        throttled=(number - well) // 2, gateway=number - well - (number - well) // 2,
                        first_token_count=well, first_token_ms=well * 420,
                    )
                )  # fmt: skip
    HealthBucket.objects.bulk_create(buckets)
    KeyState.objects.update(
        breaker="closed", cooling_until=now + timedelta(minutes=4), reason="throttled", verdict="throttled",
        probed_at=now - timedelta(minutes=9), probe_result="answers (212 ms)",
        last_error="throttled: Rate limit reached for requests", last_error_at=now,
    )  # fmt: skip
    EndpointState.objects.update(disabled_at=None, reason="")
    history = (
        ("open", "breaker open: server_error", 9),
        ("ready", "answers again", 8),
        ("cooling", "throttled", 1),
    )
    for condition, reason, hours in history:
        at = now - timedelta(hours=hours)
        StateEvent.objects.create(
            id=states.event_id(round(at.timestamp() * 1000), reason.encode()), at=at, key=key,
            condition=condition, reason=reason, until=at + timedelta(seconds=34), process="host-1",
        )  # fmt: skip
    return provider


def test_an_operator_parks_a_key_probes_it_and_takes_it_back(browser: Browser, live_server: Any) -> None:
    a_day(timezone.now())
    key = Key.objects.get()
    with visit(browser, live_server.url, world.superuser()) as seen:
        page = seen.page
        seen.open(world.address(Key, "change", key.pk))
        notice = page.locator(".notice", has_text="The machine keeps it out, not its switch")
        before = notice.locator("[data-until]").inner_text()
        expect(notice.locator("[data-until]")).not_to_have_text(before)
        page.locator("a", has_text="Park").click()
        page.select_option("[name=how_long]", "240")
        page.get_by_role("button", name="Park").click()
        page.get_by_text("This field is required").wait_for()
        seen.shoot("health-park-without-a-reason")
        page.fill("[name=why]", "billing dispute")
        page.get_by_role("button", name="Park").click()
        page.get_by_text("Parked, 4 hours.").wait_for()
        page.get_by_text("by root: billing dispute").wait_for()
        seen.shoot("health-parked")
        page.locator("a", has_text="Probe now").click()
        page.get_by_role("button", name="Probe").click()
        page.get_by_text("is being probed").wait_for()
        page.locator("a", has_text="Recover").click()
        page.get_by_role("button", name="Recover").click()
        page.get_by_text("1 recovered.").wait_for()
        page.get_by_text("Nothing keeps it out.").wait_for()
        page.get_by_role("link", name="All changes of state").click()
        page.get_by_text("park, by root").wait_for()
        seen.shoot("health-changes-of-state")
        assert seen.complaints == []
    assert list(StateEvent.objects.filter(action="park").values_list("reason", flat=True)) == [
        "billing dispute"
    ]


@in_looks("phone-dark")
def test_health_is_to_be_seen_in_every_look(
    browser: Browser, live_server: Any, size: tuple[int, int], dark: bool, request: pytest.FixtureRequest
) -> None:
    provider = a_day(timezone.now())
    look = request.node.callspec.id
    with visit(browser, live_server.url, world.superuser(), size=size, dark=dark) as seen:
        for row in (Key.objects.get(), Endpoint.objects.get(format="anthropic"), provider):
            for span in ("24h", "1h") if FOLDER else ("24h",):
                seen.open(f"{world.address(type(row), 'change', row.pk)}?health={span}")
                picture = seen.page.locator(".timeline svg").first
                box = picture.bounding_box()
                assert box is not None
                assert box["width"] > size[0] / 3
                assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
                seen.shoot(f"health-{look}-{row._meta.model_name}-{span}")
        for model in (Key, Endpoint, Provider, StateEvent):
            seen.open(world.address(model, "changelist"))
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= size[0]
            seen.shoot(f"health-{look}-{model._meta.model_name}-list")
        assert seen.complaints == []
