"""Timelines: ninety cells in which a key, an endpoint or a provider is seen to answer, or not (admin.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import BigIntegerField, ExpressionWrapper, F, Sum
from django.utils import timezone
from django.utils.translation import gettext as _, gettext_lazy

from usage.figures import share
from usage.models import HealthBucket
from usage.pages import milliseconds, whole
from usage.vitals import COARSE, COUNTS, FAILURES, FINE

CELLS = 90
GOOD, WARNING = 0.95, 0.7
"""The least share of attempts that went well, of a good cell and of one to be warned of."""
HOUR, DAY = 3_600, 86_400
SPANS: Mapping[str, tuple[Any, int]] = {
    "1h": (gettext_lazy("1 hour"), HOUR),
    "24h": (gettext_lazy("24 hours"), DAY),
    "7d": (gettext_lazy("7 days"), 7 * DAY),
    "30d": (gettext_lazy("30 days"), 30 * DAY),
}
DEFAULT = "24h"
LEVELS: Mapping[str, Any] = {
    "good": gettext_lazy("good: 95 % or more went well"),
    "warn": gettext_lazy("warning: 70 % or more"),
    "bad": gettext_lazy("bad: less"),
    "none": gettext_lazy("nothing was sent"),
}
CLASSES: Mapping[str, Any] = {
    "gateway": gettext_lazy("no answer, or none that could be used"),
    "timeout": gettext_lazy("out of time"),
    "throttled": gettext_lazy("throttled"),
    "overloaded": gettext_lazy("overloaded"),
    "auth": gettext_lazy("key refused"),
    "money": gettext_lazy("out of money"),
    "unsupported": gettext_lazy("model not served"),
    "other": gettext_lazy("other"),
}
HEIGHTS: Mapping[str, int] = {"good": 30, "warn": 20, "bad": 10, "none": 3}
"""Of 30: what a cell says in its colour it says by its height as well."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What the attempts of one span came to."""

    begins: datetime
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Attempts that went well, or failed by the vendor's or the key's fault."""
        return sum(self.counts.get(each, 0) for each in ("succeeded", *FAILURES))

    @property
    def well(self) -> float | None:
        """The share that went well, 0 to 1; None where there was nothing to judge by."""
        return self.counts.get("succeeded", 0) / self.judged if self.judged else None

    @property
    def level(self) -> str:
        if self.well is None:
            return "none"
        return "good" if self.well >= GOOD else "warn" if self.well >= WARNING else "bad"

    @property
    def height(self) -> int:
        return HEIGHTS[self.level]

    @property
    def top(self) -> int:
        return HEIGHTS["good"] - self.height

    @property
    def time(self) -> str:
        return f"{timezone.localtime(self.begins):%Y-%m-%d %H:%M:%S}"

    @property
    def percent(self) -> str:
        return str(share(self.well)) if self.well is not None else "–"

    @property
    def attempts(self) -> str:
        return whole(self.counts.get("attempts", 0))

    @property
    def failed(self) -> str:
        """How many failed of each class, in words."""
        told = [
            f"{CLASSES[each]}\u00a0{whole(self.counts[each])}" for each in FAILURES if self.counts.get(each)
        ]
        return ", ".join(told) or "–"

    @property
    def first_token(self) -> str:
        """The mean time to the first token."""
        number = self.counts.get("first_token_count", 0)
        return milliseconds(round(self.counts["first_token_ms"] / number) if number else None)

    @property
    def title(self) -> str:
        """All of it in a line, to be seen on the cell."""
        if self.well is None:
            return f"{self.time}: {LEVELS['none']}"
        told = _("%(time)s: %(share)s of %(judged)s went well") % {
            "time": self.time, "share": self.percent, "judged": whole(self.judged),
        }  # fmt: skip
        return f"{told}; {self.failed}" if self.judged > self.counts.get("succeeded", 0) else told


@dataclass(frozen=True, slots=True)
class Timeline:
    """The cells of one place, oldest first, and what they come to together."""

    title: str
    cells: Sequence[Cell]
    total: Cell

    @property
    def placed(self) -> list[tuple[int, Cell]]:
        """Each cell and where it begins on the picture, whose cells are 10 wide."""
        return [(10 * place, cell) for place, cell in enumerate(self.cells)]

    @property
    def width(self) -> int:
        return 10 * CELLS

    @property
    def used(self) -> list[Cell]:
        """The cells that have something to tell, newest first: the same as a table."""
        return [cell for cell in reversed(self.cells) if cell.counts.get("attempts")]

    @property
    def label(self) -> str:
        """The picture in words."""
        if self.total.well is None:
            return _("%(title)s: nothing was sent") % {"title": self.title}
        levels = [cell.level for cell in self.cells]
        return _(
            "%(title)s: %(share)s of %(judged)s attempts went well; of %(cells)d spans %(good)d good, "
            "%(warn)d with a warning, %(bad)d bad"
        ) % {
            "title": self.title, "share": self.total.percent, "judged": whole(self.total.judged),
            "cells": len(levels), **{each: levels.count(each) for each in ("good", "warn", "bad")},
        }  # fmt: skip


def span_of(asked: str) -> str:
    """The span that an address asks for, or the usual one."""
    return asked if asked in SPANS else DEFAULT


def timelines(span: str, now: datetime, parts: Mapping[int, str], *, by: str, **which: Any) -> list[Timeline]:
    """The timelines of what the columns `which` of a bucket choose: of each part, by the id in the column
    `by` and with its title, in one query. A part that was not asked is there too."""
    seconds = SPANS[span][1]
    size, cell = (FINE if seconds <= HOUR else COARSE), seconds // CELLS
    end = (int(now.timestamp()) // size + 1) * size
    start = end - seconds
    rows = HealthBucket.objects.filter(seconds=size, begins__gte=start, begins__lt=end, **which)
    place = ExpressionWrapper((F("begins") - start) / cell, output_field=BigIntegerField())  # a whole number
    sums = {f"n_{each}": Sum(each) for each in COUNTS}
    found = {
        (row[by], row["place"]): {each: row[f"n_{each}"] for each in COUNTS}
        for row in rows.annotate(place=place).order_by().values(by, "place").annotate(**sums)
    }
    return [
        _timeline(
            title,
            [
                Cell(datetime.fromtimestamp(start + each * cell, UTC), found.get((part, each), {}))
                for each in range(CELLS)
            ],
        )
        for part, title in parts.items()
    ]


def together(title: str, lines: Sequence[Timeline]) -> Timeline:
    """Several timelines of one span as one."""
    return _timeline(
        title,
        [
            Cell(cells[0].begins, _sum(cell.counts for cell in cells))
            for cells in zip(*(line.cells for line in lines), strict=True)
        ],
    )


def _timeline(title: str, cells: Sequence[Cell]) -> Timeline:
    return Timeline(title, cells, Cell(cells[0].begins, _sum(cell.counts for cell in cells)))


def _sum(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, number in each.items():
            total[name] = total.get(name, 0) + number
    return total
