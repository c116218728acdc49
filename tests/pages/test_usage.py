"""The dashboard and the usage report: what an address asks for, who may see it, what it costs to ask."""

from __future__ import annotations

import random
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from consumers.models import Consumer, User
from providers.models import Key, Model
from tests.pages import world
from tests.usage.crowd import moments, sow
from usage import reports
from usage.models import PriceSnapshot, Record
from usage.periods import Period
from usage.sources import RECORDS
from usage.tables import BY

pytestmark = [pytest.mark.django_db]

MOST_QUERIES = 10


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: world.NOW)


@pytest.fixture
def used() -> list[Record]:
    """A few hours of random requests, with their sums."""
    chance = random.Random(8)
    records = sow(chance, moments(chance, 60, world.NOW - timedelta(hours=20), world.NOW))
    call_command("rollup", "--rebuild", verbosity=0)
    return records


def report(client: Client, **asked: Any) -> Any:
    answer = client.get(reverse("usage_report"), asked)
    assert answer.status_code == 200
    return answer


@pytest.mark.database
@pytest.mark.usefixtures("used")
def test_each_page_takes_ten_queries_at_most(client_of_root: Client) -> None:
    pages: list[tuple[str, dict[str, Any]]] = [
        (reverse("admin:index"), {"period": each}) for each in ("1h", "90d")
    ]
    pages += [(reverse("usage_report"), {"by": by}) for by in BY]
    every = {"model": 1, "provider": 1, "key": 1, "consumer": 1, "api_key": 1, "client_format": "anthropic"}
    pages += [(reverse("usage_report"), {"by": by, **every, "outcome": "ok"}) for by in ("key", "consumer")]
    record: Any = Record.objects.order_by("-attempt_count")[0]
    pages += [(world.address(Record, "change", record.pk), {})]
    for url, asked in pages:
        with CaptureQueriesContext(connection) as captured:
            assert client_of_root.get(url, asked).status_code == 200
        assert len(captured) <= MOST_QUERIES, (url, asked, [each["sql"] for each in captured])


@pytest.mark.usefixtures("used")
def test_the_dashboard_compares_with_the_period_before(client_of_root: Client) -> None:
    sow(random.Random(1), [world.NOW - timedelta(hours=30)] * 30)
    call_command("rollup", "--rebuild", verbosity=0)
    page = client_of_root.get(reverse("admin:index"))
    requests = page.context["board"]["cards"][0]
    assert "60" in requests.value
    assert requests.change == "+100\u00a0%"


def test_unpriced_requests_are_told_with_the_way_to_them(client_of_root: Client) -> None:
    chance = random.Random(2)
    sow(chance, [world.NOW - timedelta(hours=1)] * 3, list_cost=None, unpriced=True)
    call_command("rollup", "--rebuild", verbosity=0)
    page = client_of_root.get(reverse("admin:index"))
    assert "3 requests had no price" in page.content.decode()
    found = client_of_root.get(page.context["unpriced_url"]).context["cl"]
    assert len(found.result_list) == 3


def test_before_the_first_request_no_dashboard_stands_in_the_way(client_of_root: Client) -> None:
    page = client_of_root.get(reverse("admin:index"))
    assert page.context["board"] is None
    assert "What to do next" in page.content.decode()


@pytest.mark.database
def test_what_no_sums_hold_together_is_read_from_records_of_a_week_at_most(
    client_of_root: Client, used: list[Any]
) -> None:
    wanted = [each for each in used if each.api_key_id == 1 and each.client_format == "anthropic"]
    asked: dict[str, Any] = {"by": "consumer", "api_key": 1, "client_format": "anthropic"}
    page = report(client_of_root, period="7d", **asked)
    assert page.context["found"].total.totals.requests == len(wanted) > 0
    assert "read from the requests themselves" in page.content.decode()
    refused = report(client_of_root, period="30d", **asked)
    assert "7 days at most" in refused.content.decode()
    assert client_of_root.get(reverse("usage_report_csv"), {"period": "30d", **asked}).status_code == 404


@pytest.mark.database
def test_records_and_rollups_give_the_same_table(used: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    period = Period("24h", world.NOW - timedelta(hours=24), world.NOW + timedelta(minutes=15), UTC)
    for by in BY:
        summed = reports.table(period, by, {})
        with monkeypatch.context() as patch:
            patch.setattr(reports, "source_of", lambda asked: RECORDS)
            read = reports.table(period, by, {})
        assert isinstance(summed, reports.Table)
        assert isinstance(read, reports.Table)
        assert [(row.group, row.totals) for row in summed.rows] == [
            (row.group, row.totals) for row in read.rows
        ]
        assert summed.total.totals.requests == len(used)


@pytest.mark.database
def test_rows_beyond_the_most_are_summed_as_one(
    client_of_root: Client, used: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report(client_of_root, by="key", period="24h").context["found"]
    monkeypatch.setattr(reports, "MOST_ROWS", 2)
    found = report(client_of_root, by="key", period="24h").context["found"]
    assert len(found.rows) == 2
    assert found.total == whole.total
    parts = [*found.rows, found.others]
    for number in ("requests", "list_cost", "saved_cost"):
        assert sum(getattr(part.totals, number) for part in parts) == getattr(whole.total.totals, number)
    assert sum(part.own_cost for part in parts) == whole.total.own_cost == sum(each.own_cost for each in used)


def test_a_provider_that_answered_nothing_is_in_the_table(client_of_root: Client, used: list[Any]) -> None:
    found = report(client_of_root, by="provider").context["found"]
    third = next(row for row in found.rows if row.group == 3)
    assert third.totals.requests == 0
    assert third.tried.requests > 0


def test_names_that_look_like_formulas_are_kept_from_spreadsheets(client_of_root: Client) -> None:
    consumer = Consumer.objects.create(name="=HYPERLINK(1)")
    sow(random.Random(3), [world.NOW - timedelta(hours=1)], consumer_id=consumer.pk)
    call_command("rollup", "--rebuild", verbosity=0)
    answer: Any = client_of_root.get(reverse("usage_report_csv"), {"by": "consumer"})
    assert b"'=HYPERLINK(1)," in b"".join(answer.streaming_content)
    assert "=HYPERLINK(1)" in report(client_of_root, by="consumer").content.decode()


@pytest.mark.database
def test_keys_are_told_apart_by_whose_they_are(client_of_root: Client) -> None:
    provider = world.supply()
    api_key, _secret = world.demand()
    key, model = Key.objects.get(), Model.objects.get()
    columns = {"provider_id": provider.pk, "key_id": key.pk, "model_id": model.pk, "api_key_id": api_key.pk}
    sow(random.Random(3), [world.NOW - timedelta(hours=1)], **columns)
    call_command("rollup", "--rebuild", verbosity=0)
    page = report(client_of_root, by="key", api_key=api_key.pk)
    assert page.context["rows"][0][0].name == "acme / first"
    assert page.context["chips"][0][1] == "alice / laptop"
    for row in (provider, key, model, api_key):
        row.delete()
    assert "number" in report(client_of_root, by="model").context["rows"][0][0].name


@pytest.mark.parametrize(
    "asked",
    [
        {"by": "password"},
        {"model": "x", "key": "-1", "outcome": "' OR 1=1", "client_format": "%"},
        {"model": "9" * 30, "consumer": "½", "api_key": "²"},
        {"period": "custom", "from": "\x00", "to": "<script>"},
    ],
)
def test_nonsense_in_an_address_counts_as_nothing(client_of_root: Client, asked: dict[str, str]) -> None:
    page = report(client_of_root, **asked)
    assert page.context["by"] == "model"
    assert page.context["chips"] == []
    assert (
        "<script>"
        not in page.content.decode()
        .partition("<body")[2]
        .partition('id="content"')[2]
        .partition("</form>")[0]
    )


def browser_of(*permissions: str) -> Client:
    client = Client()
    client.force_login(world.staff("vera", *permissions))
    return client


@pytest.mark.usefixtures("used")
def test_sums_are_for_those_who_may_see_them() -> None:
    views = [reverse(name) for name in ("usage_report", "usage_report_csv", "usage_series_csv")]
    blind = browser_of("usage.view_record")
    assert [blind.get(url).status_code for url in views] == [403] * 3
    start = blind.get(reverse("admin:index"))
    assert start.context["board"] is None
    assert reverse("usage_report") not in start.content.decode()
    nobody = Client()
    assert [nobody.get(url).status_code for url in views] == [302] * 3
    User.objects.all().delete()
    seer = browser_of("usage.view_rollup")
    assert [seer.get(url).status_code for url in views] == [200] * 3
    assert reverse("usage_report") in seer.get(reverse("admin:index")).content.decode()


def test_times_are_told_in_the_reader_s_zone(root: User, client_of_root: Client) -> None:
    one = world.record()
    User.objects.update(time_zone="Asia/Kolkata")
    page = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert "2026-11-22 17:30:00.000 IST" in page
    assert "Asia/Kolkata" in client_of_root.get(reverse("usage_report")).content.decode()
    User.objects.update(time_zone="Atlantis/Capital")
    page = client_of_root.get(world.address(Record, "change", one.pk)).content.decode()
    assert "2026-11-22 12:00:00.000 UTC" in page


@pytest.mark.django_db(transaction=True)
async def test_times_are_told_in_the_reader_s_zone_in_the_event_loop_too() -> None:
    root = await User.objects.acreate(
        username="root", is_staff=True, is_superuser=True, time_zone="America/St_Johns"
    )
    client = AsyncClient()
    await client.aforce_login(root)
    page = (await client.get(reverse("usage_report"))).content.decode()
    assert "2026-11-21 08:45 to 2026-11-22 08:45, America/St_Johns" in page
    answer: Any = await client.get(reverse("usage_series_csv"))
    lines = b"".join([line async for line in answer.streaming_content]).decode().splitlines()
    assert lines[1].startswith("2026-11-21T08:45-03:30,")


def test_the_record_page_shows_attempts_and_arithmetic(client_of_root: Client) -> None:
    price = PriceSnapshot.objects.create(
        hash="2" * 64,
        source="model fast",
        input=1,
        output=2,
        cache_read=0,
        cache_write_5m=1,
        cache_write_1h=2,
    )
    one = world.record(price=price, cached_tokens=0, list_cost="0.00136", own_cost="0.00031", attempt_count=2)
    world.attempt(one, 1, verdict="next", reason="throttled", status_code=429, own_cost=0, total_ms=300)
    world.attempt(one, 2, first_token_ms=200, started_at=one.started_at + timedelta(milliseconds=310))
    page = client_of_root.get(world.address(Record, "change", one.pk))
    first, second = page.context["tries"]
    assert (first.reason, first.status, first.left) == ("throttled", "429", "0.00")
    assert second.began == "after 310\u00a0ms"
    html = page.content.decode()
    assert "1,200 input tokens at $1 a million" in html
    assert "This is what is stored, to the last digit." in html
    assert "next target" in html


def test_a_filter_by_consumer_uses_its_name(client_of_root: Client) -> None:
    api_key, _secret = world.demand()
    url = reverse("admin:autocomplete")
    asked = {"app_label": "usage", "model_name": "record", "field_name": "consumer", "term": "ali"}
    assert client_of_root.get(url, asked).json()["results"][0]["text"] == "alice"
    page = report(client_of_root, consumer=api_key.consumer_id)
    assert "alice" in page.context["form"].as_p()
