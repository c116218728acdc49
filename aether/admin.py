"""The admin site: its start page, its search, and the tables that belong to no other app's page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from unfold.dataclasses import SearchResult

from changes.models import Change
from consumers.admin import working as api_key_works
from consumers.models import ApiKey, Consumer
from consumers.snippets import base_url
from providers.cells import working
from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay import engine as engines
from relay.troubles import troubles as strains
from usage.cells import cost_in_short, named_by_id, outcome_badge, target, tokens
from usage.dashboard import board
from usage.drill import to_records
from usage.models import Record
from usage.pages import Ledger, badge, column, instant, milliseconds
from usage.paging import counted_to
from usage.troubles import troubles
from usage.views import period_of, picker, sees_sums

COUNTED = 1_000
"""The start page counts no further."""
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Figure:
    """A number on the start page: what is counted, how many are live, where they are listed."""

    title: Any
    count: str
    url: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something left to do before the first request can be answered."""

    text: Any
    url: str
    done: bool


def figures_of(request: HttpRequest, tables: Sequence[tuple[Any, QuerySet[Any]]]) -> list[Figure]:
    """How many rows there are in each table, for those who may see them."""
    seen = [(title, rows) for title, rows in tables if request.user.has_perm(_view(rows.model))]
    numbers = counted_to(COUNTED, [rows for _title, rows in seen])
    return [
        Figure(
            title,
            f"{COUNTED}+" if number > COUNTED else str(number),
            reverse(f"admin:{rows.model._meta.app_label}_{rows.model._meta.model_name}_changelist"),
        )
        for (title, rows), number in zip(seen, numbers, strict=True)
    ]


def _view(model: type[Any]) -> str:
    return f"{model._meta.app_label}.view_{model._meta.model_name}"


def start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the first page of the admin shows: what is live, what is missing, the latest requests."""
    endpoints = Endpoint.objects.filter(working(), provider=OuterRef("pk"))
    deployments = Deployment.objects.filter(is_active=True, provider__is_active=True, model=OuterRef("pk"))
    tables: tuple[tuple[Any, QuerySet[Any]], ...] = (
        (_("live providers"), Provider.objects.filter(Exists(endpoints), is_active=True)),
        (_("live keys"), Key.objects.filter(working(), provider__is_active=True)),
        (_("live models"), Model.objects.filter(Exists(deployments), is_active=True)),
        (_("live API keys"), ApiKey.objects.filter(api_key_works(), consumer__is_active=True)),
    )
    period = period_of(request)
    shown = board(period) if sees_sums(request) else None
    sees_records = request.user.has_perm("usage.view_record")
    records = (
        list(Record.objects.order_by("-request_id").defer("explanation")[:SHOWN]) if sees_records else []
    )
    tell_troubles(request)
    context.update(
        title=_("Start"),
        board=shown if shown and (shown["used"] or records) else None,
        picker=picker(period, reverse("admin:index"), {}),
        series_url=f"{reverse('usage_series_csv')}?{urlencode(period.asked())}",
        report_url=f"{reverse('usage_report')}?{urlencode(period.asked())}",
        unpriced_url=f"{to_records(period, {})}&unpriced__exact=1",
        figures=figures_of(request, tables),
        steps=[] if records else steps(request),
        sees_records=sees_records,
        records=[row_of(record) for record in records],
        base_url=base_url(request),
    )
    return context


def tell_troubles(request: HttpRequest) -> None:
    """Warns, at the head of the page, those who may see dead letters of what is wrong with the ledger, and of
    what strains the process."""
    if not request.user.has_perm("usage.view_deadletter"):
        return
    engine = engines.current()
    journal = engine.ledger.journal if engine is not None and engine.ready else None
    for sentence in troubles(journal, settings.AETHER_DATA_DIR / "recorder.lock"):
        messages.warning(request, sentence)
    if engine is not None and engine.ready:
        for strain in strains(engine, time.monotonic()):
            messages.warning(request, strain)


def steps(request: HttpRequest) -> list[Step]:
    """What to do, in order, until the first request is answered."""
    supplied = Key.objects.exists() and Endpoint.objects.exists()
    wanted = (
        ("providers.provider", _("Add a provider with an endpoint and a key"), supplied),
        (
            "providers.model",
            _("Add a model with its price, deployed at the provider"),
            Deployment.objects.exists(),
        ),
        ("consumers.consumer", _("Add a consumer: who is billed"), Consumer.objects.exists()),
        (
            "consumers.apikey",
            _("Create an API key, and send the first request with it"),
            ApiKey.objects.exists(),
        ),
    )
    found = []
    for model, text, done in wanted:
        app, name = model.split(".")
        if request.user.has_perm(f"{app}.add_{name}"):
            found.append(Step(text, reverse(f"admin:{app}_{name}_add"), done))
    return found


def row_of(record: Record) -> dict[str, Any]:
    """One of the latest requests, ready to be shown."""
    return {
        "url": reverse("admin:usage_record_change", args=[record.pk]),
        "time": instant(record.started_at),
        "consumer": record.consumer_name or "–",
        "model": record.model_name or "–",
        "target": target(record),
        "outcome": outcome_badge(record),
        "tokens": tokens(record),
        "cost": cost_in_short(record),
        "total": milliseconds(record.total_ms),
    }


LEAST = 2
"""Fewer letters find nothing in particular."""
FOUND = 8


def search(request: HttpRequest, term: str) -> list[SearchResult]:
    """Rows by name, and a usage record by its id, for the search over all pages; a few of each table."""
    results: list[SearchResult] = []
    identifier = named_by_id(term)
    if identifier is not None and request.user.has_perm("usage.view_record"):
        record = Record.objects.filter(request_id=identifier).first()
        results += [found_row(record)] if record else []
    if len(term) < LEAST:
        return results
    tables: tuple[QuerySet[Any], ...] = (
        Provider.objects.all(),
        Model.objects.all(),
        Consumer.objects.all(),
        Key.objects.select_related("provider"),
        ApiKey.objects.all(),
    )
    for rows in tables:
        if request.user.has_perm(_view(rows.model)):
            results += [found_row(row) for row in rows.filter(name__icontains=term).order_by("pk")[:FOUND]]
    return results


def found_row(row: Any) -> SearchResult:
    """One line of the search's results."""
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return SearchResult(
        title=str(row), description=str(capfirst(meta.verbose_name)), link=url, icon="arrow_forward"
    )


@admin.register(Change)
class ChangeAdmin(Ledger[Change]):
    list_display = ("id", "kind", "object_id", "created_shown")
    fields = ("id", "kind", "object_id", "created_shown")

    created_shown = column("created_at", instant, _("written"))


@admin.register(LogEntry)
class LogEntryAdmin(Ledger[LogEntry]):
    """Who changed what in the admin."""

    list_display = ("time_shown", "user", "action_shown", "content_type", "object_repr", "message_shown")
    list_filter = ("action_flag",)
    list_select_related = ("user", "content_type")
    fields = (
        ("time_shown", "user"),
        ("action_shown", "content_type"),
        ("object_id", "object_repr"),
        "message_shown",
    )

    time_shown = column("action_time", instant, _("time"))

    @admin.display(description=_("action"))
    def action_shown(self, entry: LogEntry) -> SafeString:
        return badge(entry.get_action_flag_display(), "bad" if entry.is_deletion() else "plain")

    @admin.display(description=_("what"))
    def message_shown(self, entry: LogEntry) -> str:
        return entry.get_change_message() or "–"
