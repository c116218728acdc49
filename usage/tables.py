"""The tables of the usage report: their columns, on the page and in CSV alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _now, gettext_lazy as _

from usage.drill import to_attempts, to_records
from usage.figures import NONE, dollars, duration, share, whole
from usage.names import NAMED, Names, label, names_of
from usage.periods import Period
from usage.reports import ANSWERED, Row, Table, TooLong
from usage.sources import ATTEMPTS, Filters

BY: Mapping[str, Any] = {
    "model": _("model"),
    "provider": _("provider"),
    "key": _("key"),
    "consumer": _("consumer"),
    "api_key": _("API key"),
    "client_format": _("client format"),
}
"""What the report can be broken down by."""
FILTERS: Mapping[str, Any] = {**BY, "outcome": _("outcome")}


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name in CSV, its heading, the number of a row, and how the page shows that."""

    name: str
    title: Any
    value: Callable[[Row], Any]
    show: Callable[[Any], Any]


def _rounded(found: float | None) -> int | None:
    return None if found is None else round(found)


def _tried(row: Row) -> int | None:
    return None if row.tried is None else row.tried.requests


def _went_well(row: Row) -> float | None:
    return None if row.tried is None else row.tried.success


def _counted(number: int | None) -> Any:
    return NONE if number is None else whole(number)


def _count(name: str, title: Any, measure: str) -> Column:
    return Column(name, title, lambda row: row.totals[measure], whole)


COLUMNS = (
    _count("requests", _("Requests"), "requests"),
    Column("success", _("Success"), lambda row: row.totals.success, share),
    _count("input_tokens", _("Input"), "input_tokens"),
    _count("cache_read_tokens", _("Cache read"), "cached_tokens"),
    _count("cache_write_tokens", _("cache write"), "cache_creation_tokens"),
    _count("cache_write_1h_tokens", _("for an hour"), "cache_creation_1h_tokens"),
    _count("output_tokens", _("Output"), "output_tokens"),
    _count("reasoning_tokens", _("reasoning"), "reasoning_tokens"),
    Column("list_cost_usd", _("List cost"), lambda row: row.totals.list_cost, dollars),
    Column("own_cost_usd", _("Own cost"), lambda row: row.own_cost, dollars),
    Column("saved_by_cache_usd", _("cache saved"), lambda row: row.totals.saved_cost, dollars),
    Column("list_usd_per_million_tokens", _("per million"), lambda row: row.totals.per_million, dollars),
    Column(
        "first_token_p50_ms", _("First token"), lambda row: _rounded(row.totals.first_token(0.5)), duration
    ),
    Column("first_token_p95_ms", _("95 %"), lambda row: _rounded(row.totals.first_token(0.95)), duration),
    Column("total_p50_ms", _("In all"), lambda row: _rounded(row.totals.total(0.5)), duration),
    Column("total_p95_ms", _("95 %"), lambda row: _rounded(row.totals.total(0.95)), duration),
    _count("unpriced_requests", _("unpriced"), "unpriced"),
)
TRIED = (
    Column("attempts", _("Attempts"), _tried, _counted),
    Column("attempts_success", _("ok"), _went_well, share),
)
"""What is told of a provider or a key besides."""


STACKS: tuple[tuple[str, ...], ...] = (
    ("requests", "unpriced_requests"),
    ("success",),
    ("attempts", "attempts_success"),
    ("input_tokens",),
    ("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    ("output_tokens", "reasoning_tokens"),
    ("list_cost_usd", "list_usd_per_million_tokens"),
    ("own_cost_usd", "saved_by_cache_usd"),
    ("first_token_p50_ms", "first_token_p95_ms"),
    ("total_p50_ms", "total_p95_ms"),
)
"""The columns as the page stands them one above the other, so that the table fits a screen."""


def columns(by: str) -> tuple[Column, ...]:
    """The columns of the table by `by`."""
    return (*COLUMNS[:2], *TRIED, *COLUMNS[2:]) if by in ANSWERED else COLUMNS


def stacks(by: str) -> list[list[Column]]:
    """The same as the page stands them."""
    known = {column.name: column for column in columns(by)}
    return [[known[name] for name in stack] for stack in STACKS if stack[0] in known]


Cell = list[tuple[Any, str]]
"""Numbers that stand one above the other, each with where it leads to."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row as the page shows it: its name, the filters that keep to it, where its requests are listed."""

    name: str
    narrow: Filters | None
    url: str
    cells: list[Cell]


def names_for(filters: Filters, found: Table | TooLong) -> Names:
    """The names of all that the page mentions: one query."""
    wanted: dict[str, set[int]] = {name: {int(value)} for name, value in filters.items() if name in NAMED}
    if isinstance(found, Table) and found.by in NAMED:
        wanted.setdefault(found.by, set()).update(row.group for row in found.rows)
    return names_of(wanted)


def lines(found: Table, period: Period, filters: Filters, names: Names) -> tuple[list[Line], Line]:
    """The rows of a table, the others beyond them among them, and the line of all together."""
    shown = [_line(found.by, row, label(found.by, row.group, names), period, filters) for row in found.rows]
    if found.others is not None:
        shown.append(Line(_now("all others"), None, "", _cells(found.by, found.others, {})))
    url = to_records(period, filters)
    total = Line(_now("all"), None, url, _cells(found.by, found.total, {"requests": url}))
    return shown, total


def _line(by: str, row: Row, name: str, period: Period, filters: Filters) -> Line:
    narrowed = {**filters, by: row.group}
    of_attempts = {name: value for name, value in narrowed.items() if name in ATTEMPTS.dimensions}
    url = to_records(period, narrowed)
    behind = {"requests": url, "attempts": to_attempts(period, of_attempts)}
    return Line(name, narrowed, url, _cells(by, row, behind))


def _cells(by: str, row: Row, behind: Mapping[str, str]) -> list[Cell]:
    return [
        [(column.show(column.value(row)), behind.get(column.name, "")) for column in stack]
        for stack in stacks(by)
    ]


def exported(found: Table, names: Names) -> list[Sequence[Any]]:
    """The table as rows of CSV, the line of all together last."""
    shown = columns(found.by)
    rows: list[Sequence[Any]] = [(found.by, f"{found.by}_id", *(column.name for column in shown))]
    for row in found.rows:
        number = row.group if found.by in NAMED else ""
        name = label(found.by, row.group, names)
        rows.append((name, number, *(column.value(row) for column in shown)))
    for name, others in (("(others)", found.others), ("(all)", found.total)):
        if others is not None:
            rows.append((name, "", *(column.value(others) for column in shown)))
    return rows
