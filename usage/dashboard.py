"""What the dashboard shows: cards with their change, charts with their tables, and the same as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from usage.figures import change, change_in_points, dollars, duration, share, whole
from usage.names import Names, label, names_of
from usage.periods import Period
from usage.reports import Overview, Totals, overview

PALETTE = (
    "#0891b2", "#d97706", "#7c3aed", "#16a34a", "#e11d48", "#2563eb", "#a16207", "#c026d3", "#4d7c0f",
    "#0f766e", "#78716c",
)  # fmt: skip
"""One colour for each model and one for the others; told apart on light and on dark ground."""
QUIET = "#8b95a5"


@dataclass(frozen=True, slots=True)
class Card:
    """A figure, its change against the period before, and what it is made of."""

    title: str
    value: Any
    change: str
    parts: Sequence[tuple[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart for Unfold's Chart.js: `data` and `options` are JSON; `head` and `rows` are the same as a
    table."""

    name: str
    title: str
    kind: str
    data: str
    options: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


def cards(now: Totals, before: Totals) -> list[Card]:
    """The cards at the head of the dashboard."""
    return [
        Card(_("Requests"), whole(now.requests), change(now.requests, before.requests)),
        Card(
            _("Success"),
            share(now.success),
            change_in_points(now.success, before.success),
            [(_("not ok"), whole(now.failed))],
        ),
        Card(
            _("Spend, list prices"),
            dollars(now.list_cost),
            change(now.list_cost, before.list_cost),
            [(_("own cost"), dollars(now.own_cost)), (_("cache saved"), dollars(now.saved_cost))],
        ),
        Card(
            _("Tokens"),
            whole(now.tokens),
            change(now.tokens, before.tokens),
            [
                (_("input"), whole(now["input_tokens"])),
                (_("output"), whole(now["output_tokens"])),
                (_("reasoning"), whole(now["reasoning_tokens"])),
            ],
        ),
        Card(
            _("Cache hits"),
            share(now.cache_hits),
            change_in_points(now.cache_hits, before.cache_hits),
            [
                (_("read"), whole(now["cached_tokens"])),
                (_("written"), whole(now["cache_creation_tokens"])),
            ],
        ),
        Card(
            _("First token, median"),
            duration(now.first_token(0.5)),
            change(now.first_token(0.5), before.first_token(0.5)),
            [(_("95 % within"), duration(now.first_token(0.95)))],
        ),
    ]


def charts(found: Overview, names: Names) -> list[Chart]:
    """Requests and spend over time, and spend by model."""
    labels = [piece.label for piece in found.pieces]
    short = _shortened(labels)
    models = [_("other") if model is None else label("model", model, names) for model in found.models]
    return [
        Chart(
            "requests",
            _("Requests over time"),
            "bar",
            _data(
                short,
                [
                    (_("ok"), [each["succeeded"] for each in found.by_piece], PALETTE[0]),
                    (_("not ok"), [each.failed for each in found.by_piece], PALETTE[1]),
                ],
            ),
            _options(stacked=True),
            [_("Begin"), _("Requests"), _("ok"), _("not ok")],
            [
                (name, whole(each.requests), whole(each["succeeded"]), whole(each.failed))
                for name, each in zip(labels, found.by_piece, strict=True)
            ],
        ),
        Chart(
            "spend",
            _("Spend over time"),
            "line",
            _data(
                short,
                [
                    (_("list prices"), [float(each.list_cost) for each in found.by_piece], PALETTE[0]),
                    (_("own cost"), [float(each.own_cost) for each in found.by_piece], PALETTE[1]),
                ],
                dashed=1,
            ),
            _options(money=True, line=True),
            [_("Begin"), _("List prices"), _("Own cost"), _("Saved by cache")],
            [
                (name, dollars(each.list_cost), dollars(each.own_cost), dollars(each.saved_cost))
                for name, each in zip(labels, found.by_piece, strict=True)
            ],
        ),
        Chart(
            "models",
            _("Spend by model"),
            "bar",
            _data(
                short,
                [
                    (name, [float(each.list_cost) for each in part], PALETTE[place % len(PALETTE)])
                    for place, (name, part) in enumerate(zip(models, found.by_model, strict=True))
                ],
            ),
            _options(stacked=True, money=True),
            [_("Begin"), *models],
            [
                (name, *(dollars(part[place].list_cost) for part in found.by_model))
                for place, name in enumerate(labels)
            ],
        ),
    ]


def _shortened(labels: Sequence[str]) -> list[str]:
    """The labels of an axis: without the year, and the day only where it changes."""
    short, latest = [], ""
    for text in labels:
        day, _blank, clock = text.partition(" ")
        if not clock:
            short.append(day[5:] if len(day) > len("2026-11") else day)
        else:
            short.append(clock if day == latest else f"{day[5:]} {clock}")
        latest = day
    return short


def _data(
    labels: Sequence[str], series: Sequence[tuple[str, Sequence[float], str]], *, dashed: int | None = None
) -> str:
    """Labels and named series as Chart.js reads them; the series `dashed` is a broken line."""
    datasets = []
    for place, (name, numbers, colour) in enumerate(series):
        dataset: dict[str, Any] = {
            "label": name, "data": numbers, "borderColor": colour, "backgroundColor": colour,
        }  # fmt: skip
        if place == dashed:
            dataset["borderDash"] = [6, 4]
        datasets.append(dataset)
    return json.dumps({"labels": list(labels), "datasets": datasets})


def _options(*, stacked: bool = False, money: bool = False, line: bool = False) -> str:
    """Options of a chart: legend, axes from 0, dollars where it is money."""
    ticks: dict[str, Any] = {"color": QUIET, "maxTicksLimit": 6}
    if money:
        ticks["format"] = {"style": "currency", "currency": "USD", "maximumSignificantDigits": 3}
    else:
        ticks["precision"] = 0
    plain_axis = {"stacked": stacked, "border": {"display": False}}
    options = {
        "animation": False,
        "responsive": True,
        "maintainAspectRatio": False,
        "interaction": {"mode": "index", "intersect": False},
        "datasets": {
            "bar": {"maxBarThickness": 28, "categoryPercentage": 0.8, "barPercentage": 0.9},
            "line": {"borderWidth": 2, "pointRadius": 0, "pointHitRadius": 8, "tension": 0.15},
        },
        "plugins": {
            "legend": {
                "position": "bottom",
                "align": "start",
                "labels": {
                    "color": QUIET,
                    "boxWidth": 24 if line else 12,
                    "boxHeight": 12,
                    "padding": 14,
                    "usePointStyle": line,
                    "pointStyle": "line" if line else "rect",
                    "pointStyleWidth": 28,
                },
            }
        },
        "scales": {
            "x": {
                **plain_axis,
                "grid": {"display": False},
                "ticks": {"color": QUIET, "maxRotation": 0, "autoSkipPadding": 16},
            },
            "y": {**plain_axis, "beginAtZero": True, "grid": {"tickWidth": 0}, "ticks": ticks},
        },
    }
    return json.dumps(options)


def board(period: Period) -> dict[str, Any]:
    """What the dashboard's template shows of a period: two queries."""
    found = overview(period)
    names = names_of({"model": [model for model in found.models if model]})
    return {
        "cards": cards(found.now, found.before),
        "charts": charts(found, names) if found.now.requests else [],
        "unpriced": found.now["unpriced"],
        "used": bool(found.now.requests or found.before.requests),
    }


def series(period: Period) -> list[Sequence[Any]]:
    """The charts as rows of CSV: for each piece of the period one of all requests, and one for each model."""
    found = overview(period)
    names = names_of({"model": [model for model in found.models if model]})
    rows: list[Sequence[Any]] = [("from", "to", "scope", "model", *SERIES.values())]
    for place, piece in enumerate(found.pieces):
        edges = (piece.first.astimezone(period.zone), piece.last.astimezone(period.zone))
        rows.append((*edges, "all", "", *_cells(found.by_piece[place])))
        for model, part in zip(found.models, found.by_model, strict=True):
            which = ("other", "") if model is None else ("model", label("model", model, names))
            rows.append((*edges, *which, *_cells(part[place])))
    return rows


SERIES: Mapping[str, str] = {
    "requests": "requests",
    "succeeded": "succeeded",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cached_tokens": "cache_read_tokens",
    "cache_creation_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "list_cost": "list_cost_usd",
    "own_cost": "own_cost_usd",
    "saved_cost": "saved_by_cache_usd",
}
"""Measures in the CSV, and what their columns are called."""


def _cells(totals: Totals) -> list[Any]:
    return [getattr(totals, name) if name.endswith("_cost") else totals[name] for name in SERIES]
