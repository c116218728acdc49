"""The staff page of usage, and what of it and of the dashboard can be saved as CSV."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from usage import dashboard, tables
from usage.exports import download
from usage.names import label
from usage.periods import ROLLING, Period, chosen
from usage.reports import TooLong, table
from usage.sources import Filters
from usage.usageform import UsageForm, filters_of


def sees_sums(request: HttpRequest) -> bool:
    """Whether this user may see sums of what was used."""
    return request.user.has_perm("usage.view_rollup")


def period_of(request: HttpRequest) -> Period:
    """The period that the address asks for, in the reader's time zone."""
    return chosen(request.GET, now=timezone.now(), zone=timezone.get_current_timezone())


def picker(period: Period, address: str, kept: dict[str, Any]) -> dict[str, Any]:
    """What the period picker shows: `kept` are the other parameters of the page at `address`."""
    shown = {
        moment: f"{getattr(period, moment).astimezone(period.zone):%Y-%m-%d %H:%M}"
        for moment in ("first", "last")
    }
    return {
        "period": period,
        "asked": period.asked(),
        "address": address,
        "kept": kept,
        "choices": [
            (title, f"{address}?{urlencode({**kept, 'period': name})}", name == period.name)
            for name, (title, _length) in ROLLING.items()
        ],
        **shown,
        "from": period.local(period.first),
        "to": period.local(period.last),
        "zone": str(period.zone),
    }


def report(request: HttpRequest) -> HttpResponse:
    """Usage of a period by one dimension, with filters; all of it in the address."""
    period, by, filters, found = _asked(request)
    names = tables.names_for(filters, found)
    kept = {"by": by, **filters}
    here = {**period.asked(), **kept}
    address = reverse("usage_report")
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": _("Usage"),
        "is_fullwidth": "1",
        "picker": picker(period, address, kept),
        "tabs": [
            (title, f"{address}?{urlencode({**here, 'by': name})}", name == by)
            for name, title in tables.BY.items()
        ],
        "form": UsageForm(filters, names),
        "by": by,
        "by_title": tables.BY[by],
        "chips": _chips(address, here, filters, names),
        "export": f"{reverse('usage_report_csv')}?{urlencode(here)}",
    }
    if isinstance(found, TooLong):
        context["too_long"] = found.most.days
    else:
        rows, total = tables.lines(found, period, filters, names)
        context |= {
            "found": found,
            "stacks": tables.stacks(by),
            "rows": [(row, _narrowed(address, here, row)) for row in rows],
            "total": total,
        }
    return render(request, "admin/usage_report.html", context)


def report_csv(request: HttpRequest) -> Any:
    """The table of the usage page as CSV: the same rows and numbers."""
    period, by, filters, found = _asked(request)
    if isinstance(found, TooLong):
        raise Http404
    names = tables.names_for(filters, found)
    return download(request, _file(f"usage-by-{by}", period), tables.exported(found, names))


def series_csv(request: HttpRequest) -> Any:
    """The charts of the dashboard as CSV: the same steps and numbers."""
    if not sees_sums(request):
        raise PermissionDenied
    period = period_of(request)
    return download(request, _file("usage-over-time", period), dashboard.series(period))


def _asked(request: HttpRequest) -> tuple[Period, str, Filters, Any]:
    if not sees_sums(request):
        raise PermissionDenied
    period, filters = period_of(request), filters_of(request.GET)
    by = request.GET.get("by", "")
    by = by if by in tables.BY else "model"
    return period, by, filters, table(period, by, filters)


def _chips(address: str, here: dict[str, Any], filters: Filters, names: Any) -> list[tuple[Any, str, str]]:
    """The filters in force, each with the address that leaves it out."""
    return [
        (
            tables.FILTERS[name],
            label(name, value, names),
            f"{address}?{urlencode({k: v for k, v in here.items() if k != name})}",
        )
        for name, value in filters.items()
    ]


def _narrowed(address: str, here: dict[str, Any], row: tables.Line) -> str:
    return "" if row.narrow is None else f"{address}?{urlencode({**here, **row.narrow})}"


def _file(name: str, period: Period) -> str:
    first, last = (moment.astimezone(period.zone) for moment in (period.first, period.last))
    return f"{name}-{first:%Y%m%dT%H%M}-{last:%Y%m%dT%H%M}.csv"
