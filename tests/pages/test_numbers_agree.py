"""Dashboard, usage report, what they export and the records themselves tell the same numbers, to the last
digit (accounting.md, "Numbers agree")."""

from __future__ import annotations

import csv
import random
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from consumers.models import User
from providers.models import Model
from tests.counts import count
from tests.usage.crowd import moments, sow
from usage.dashboard import SERIES
from usage.models import Attempt, Record

pytestmark = [pytest.mark.django_db, pytest.mark.database]

NOW = datetime(2026, 11, 22, 9, 52, 30, tzinfo=UTC)
FIRST = datetime(2026, 10, 20, tzinfo=UTC)
ZONES = ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns")
PERIODS: dict[str, tuple[dict[str, str], str, str]] = {
    "month": ({"from": "2026-11-01", "to": "2026-11-30"}, "2026-11-01T00:00", "2026-12-01T00:00"),
    "clock change in Berlin": ({"from": "2026-10-25", "to": "2026-10-25"}, "2026-10-25", "2026-10-26"),
    "clock change in St John's": ({"from": "2026-11-01", "to": "2026-11-01"}, "2026-11-01", "2026-11-02"),
    "odd minutes": (
        {"from": "2026-10-24T22:07", "to": "2026-11-01T03:41"}, "2026-10-24T22:00", "2026-11-01T03:45"
    ),
}  # fmt: skip
"""What is asked for, and from when until when that is by the reader's clock."""
MONEY = {"list_cost", "own_cost", "saved_cost"}
DIMENSIONS = ("model", "provider", "key", "consumer", "api_key", "client_format")


@dataclass(frozen=True)
class Span:
    """A period asked for, and its edges worked out apart from `usage.periods`."""

    asked: dict[str, str]
    first: datetime
    last: datetime

    def holds(self, moment: datetime) -> bool:
        return self.first <= moment < self.last


def spans(zone: str) -> Iterator[Span]:
    for asked, first, last in PERIODS.values():
        edges = (datetime.fromisoformat(each).replace(tzinfo=ZoneInfo(zone)) for each in (first, last))
        yield Span({"period": "custom", **asked}, *edges)
    end = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
    for name, length in (("24h", timedelta(days=1)), ("30d", timedelta(days=30))):
        yield Span({"period": name}, end - length, end)


def at_the_edges() -> Iterator[datetime]:
    """The first and the last millisecond at each edge of each period, in each zone."""
    for zone in ZONES:
        for span in spans(zone):
            for edge in (span.first, span.last):
                yield edge.astimezone(UTC)
                yield edge.astimezone(UTC) - timedelta(milliseconds=1)


@pytest.fixture
def records() -> list[Any]:
    """What was stored, read back row by row."""
    chance = random.Random(50_000)
    for number in range(1, 14):
        Model.objects.create(pk=number, name=f"model-{number}")
    edges = sorted(set(at_the_edges()))
    sow(chance, [*edges, *moments(chance, count(600, 50_000) - len(edges), FIRST, NOW)])
    call_command("rollup", "--rebuild", verbosity=0)
    return list(Record.objects.all())


def added(records: Iterable[Any]) -> dict[str, Any]:
    """The sums of records by plain addition, under the names of measures."""
    rows = list(records)
    sums: dict[str, Any] = {"requests": len(rows), "succeeded": sum(row.outcome == "ok" for row in rows)}
    for name in SERIES:
        if name not in sums:
            zero = Decimal(0) if name in MONEY else 0
            sums[name] = sum((getattr(row, name) or zero for row in rows), zero)
    return sums


def told(row: dict[str, str], names: Iterable[str] = SERIES) -> dict[str, Any]:
    """The same out of a row of CSV."""
    return {name: (Decimal if name in MONEY else int)(row[SERIES[name]]) for name in names}


def saved(client: Client, view: str, asked: dict[str, Any]) -> list[dict[str, str]]:
    answer: Any = client.get(reverse(view), asked)
    assert answer.status_code == 200
    return list(csv.DictReader(b"".join(answer.streaming_content).decode().splitlines()))


def exact(html: str) -> list[Decimal]:
    """The exact numbers in a part of a page, in their order."""
    return [Decimal(found) for found in re.findall(r'<data value="([^"]*)"', html)]


def part(html: str, begin: str, end: str) -> str:
    return html.split(begin, 1)[1].split(end, 1)[0]


def check_dashboard(client: Client, span: Span, zone: str, mine: list[Any], wanted: dict[str, Any]) -> None:
    page = client.get(reverse("admin:index"), span.asked).content.decode()
    cards = part(page, '<div class="figures cards">', '<section class="panel"')
    assert exact(part(cards, "<h2>Requests</h2>", "</strong>")) == [wanted["requests"]]
    assert exact(part(cards, "<h2>Spend, list prices</h2>", "</dl>")) == [
        wanted["list_cost"], wanted["own_cost"], wanted["saved_cost"]
    ]  # fmt: skip
    assert exact(part(cards, "<h2>Tokens</h2>", "</dl>")) == [
        wanted["input_tokens"] + wanted["output_tokens"],
        wanted["input_tokens"], wanted["output_tokens"], wanted["reasoning_tokens"],
    ]  # fmt: skip
    over_time = exact(part(part(page, 'id="chart-spend"', "</section>"), "<tbody>", "</tbody>"))
    assert sum(over_time[::3]) == wanted["list_cost"]
    assert sum(over_time[1::3]) == wanted["own_cost"]
    by_model = exact(part(part(page, 'id="chart-models"', "</section>"), "<tbody>", "</tbody>"))
    assert sum(by_model) == wanted["list_cost"]

    series = saved(client, "usage_series_csv", span.asked)
    for scope in ({"all"}, {"model", "other"}):
        rows = [told(row) for row in series if row["scope"] in scope]
        assert {name: sum(row[name] for row in rows) for name in SERIES} == wanted
    everything = [row for row in series if row["scope"] == "all"]
    edges = [datetime.fromisoformat(row["from"]) for row in everything]
    assert [row["to"] for row in everything[:-1]] == [row["from"] for row in everything[1:]]
    pieces: dict[int, list[Any]] = defaultdict(list)
    days: dict[str, list[Any]] = defaultdict(list)
    for each in mine:
        pieces[bisect_right(edges, each.started_at) - 1].append(each)
        days[each.started_at.astimezone(ZoneInfo(zone)).date().isoformat()].append(each)
    for place, (row, shown) in enumerate(zip(everything, over_time[::3], strict=True)):
        assert told(row) == added(pieces[place])
        assert Decimal(row["list_cost_usd"]) == shown
    if span.last - span.first > timedelta(days=3):
        assert days.keys() <= {row["from"][:10] for row in everything}
        for row in everything:
            assert told(row) == added(days[row["from"][:10]])


def check_tables(
    client: Client, span: Span, mine: list[Any], attempts: list[Any], wanted: dict[str, Any]
) -> None:
    ids = {row.pk for row in mine}
    tried: list[Any] = [each for each in attempts if each.record_id in ids]
    for by in random.sample(DIMENSIONS, count(2, 3)):
        column = by if by == "client_format" else f"{by}_id"
        groups: dict[Any, list[Any]] = defaultdict(list)
        for each in mine:
            groups[getattr(each, column) or 0].append(each)
        own: dict[Any, Decimal] = defaultdict(Decimal)
        if by in {"provider", "key"}:
            for each in tried:
                own[getattr(each, column)] += each.own_cost
        rows = saved(client, "usage_report_csv", {**span.asked, "by": by})
        names = [name for name in SERIES if name != "succeeded"]
        *lines, total = rows
        assert told(total, names) == {name: wanted[name] for name in names}
        told_by_group = {(row[by] if by == "client_format" else int(row[f"{by}_id"])): row for row in lines}
        assert set(told_by_group) == set(groups) | set(own)
        for group, row in told_by_group.items():
            expected = added(groups[group])
            if by in {"provider", "key"}:
                expected["own_cost"] = own[group]
            assert told(row, names) == {name: expected[name] for name in names}, (by, group)
        page = client.get(reverse("usage_report"), {**span.asked, "by": by})
        body = page.content.decode()
        assert exact(part(body, "<tfoot>", "</tfoot>"))[0] == wanted["requests"]
        for column_name in ("list_cost_usd", "own_cost_usd"):
            shown = [row[column_name] for row in lines]
            html = part(body, "<tbody>", "</tbody>")
            assert all(f'<data value="{cost}"' in html for cost in shown)
        check_drill(client, page, groups, wanted)


def check_drill(client: Client, page: Any, groups: dict[Any, list[Any]], wanted: dict[str, Any]) -> None:
    """The lists behind the first rows and behind all of them hold the very requests that were summed."""
    drilled = [(row.url, row.narrow) for row, _narrower in islice(page.context["rows"], 2)]
    for url, narrow in drilled:
        found = client.get(url)
        assert found.status_code == 200
        (group,) = narrow.values()
        assert {*found.context["cl"].queryset.values_list("pk", flat=True)} == {
            row.pk for row in groups.get(group, ())
        }, url
    behind = client.get(page.context["total"].url).context["cl"].queryset
    assert behind.count() == wanted["requests"]


def test_dashboard_export_and_records_agree_to_the_last_digit(
    client_of_root: Client,
    records: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOW)
    attempts: list[Any] = list(Attempt.objects.only("record_id", "provider_id", "key_id", "own_cost"))
    agreed = 0
    for zone in ZONES:
        User.objects.update(time_zone=zone)
        for span in random.sample([*spans(zone)], count(1, 6)):
            mine = [each for each in records if span.holds(each.started_at)]
            assert mine, urlencode(span.asked)
            wanted = added(mine)
            check_dashboard(client_of_root, span, zone, mine, wanted)
            check_tables(client_of_root, span, mine, attempts, wanted)
            agreed += len(mine)
    record_property(
        "measured",
        f"{len(records)} records; {', '.join(ZONES)}; {agreed} records summed: no difference",
    )
