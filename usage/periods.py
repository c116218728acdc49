"""Periods that people ask about: from one quarter of an hour to another, in the reader's time zone, and how
a chart cuts them into pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any

from django.utils.translation import gettext_lazy as _

QUARTER = timedelta(minutes=15)
LONGEST = timedelta(days=366)
YEARS = (2000, 2200)
DEFAULT = "24h"
CUSTOM = "custom"
ROLLING: Mapping[str, tuple[Any, timedelta]] = {
    "1h": (_("1 hour"), timedelta(hours=1)),
    "24h": (_("24 hours"), timedelta(hours=24)),
    "7d": (_("7 days"), timedelta(days=7)),
    "30d": (_("30 days"), timedelta(days=30)),
    "90d": (_("90 days"), timedelta(days=90)),
}
"""The periods that end with the quarter of an hour that is running now."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One step of a chart: from `first` up to, not with, `last`; `label` is its beginning in the reader's
    zone."""

    first: datetime
    last: datetime
    label: str


@dataclass(frozen=True, slots=True)
class Period:
    """From `first` up to, not with, `last`: UTC, both on a quarter of an hour. `name` is a key of `ROLLING`
    or `CUSTOM`; `problem` says why it is not what was asked for."""

    name: str
    first: datetime
    last: datetime
    zone: tzinfo
    problem: Any = ""

    @property
    def length(self) -> timedelta:
        return self.last - self.first

    @property
    def before(self) -> datetime:
        """Where the period of the same length that ends with this one's beginning begins."""
        return self.first - self.length

    @property
    def step(self) -> str:
        """`quarter`, `hour`, `day` or `month`: what a chart of this period shows as one."""
        if self.length <= timedelta(hours=12):
            return "quarter"
        if self.length <= timedelta(days=3):
            return "hour"
        return "day" if self.length <= timedelta(days=100) else "month"

    def pieces(self) -> list[Piece]:
        """The period cut into steps that begin where the reader's hour, day or month does; the first and the
        last may be shorter."""
        edges = [self.first, *self._inner_edges(), self.last]
        return [Piece(first, last, self._label(first)) for first, last in pairwise(edges)]

    def local(self, moment: datetime) -> str:
        """A point in time in the reader's zone, as a form of the browser takes it."""
        return f"{moment.astimezone(self.zone):%Y-%m-%dT%H:%M}"

    def asked(self) -> dict[str, str]:
        """The parameters of an address that ask for this period."""
        if self.name != CUSTOM:
            return {"period": self.name}
        return {"period": CUSTOM, "from": exactly(self.first, self.zone), "to": exactly(self.last, self.zone)}

    def _inner_edges(self) -> Iterator[datetime]:
        if self.step in {"quarter", "hour"}:
            moment = self.first + QUARTER
            while moment < self.last:
                if self.step == "quarter" or moment.astimezone(self.zone).minute == 0:
                    yield moment
                moment += QUARTER
            return
        latest, day = self.first, self.first.astimezone(self.zone).date()
        while True:
            day = _next_month(day) if self.step == "month" else day + timedelta(days=1)
            moment = datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)
            if moment >= self.last:
                return
            if moment > latest:  # a zone that changed sides of the date line has no such day
                yield moment
                latest = moment

    def _label(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        if self.step == "month":
            return f"{local:%Y-%m}"
        if self.step == "day":
            return f"{local:%Y-%m-%d}"
        return f"{local:%Y-%m-%d %H:%M %Z}" if local.fold else f"{local:%Y-%m-%d %H:%M}"


def chosen(asked: Mapping[str, str], *, now: datetime, zone: tzinfo) -> Period:
    """The period that an address asks for: `period`, and with `custom` also `from` and `to`, each a day or a
    minute in the reader's zone; `to` is not in it, but a day given as `to` is. What makes no sense gives the
    default and says so."""
    name = asked.get("period", "")
    if name == CUSTOM or (not name and (asked.get("from") or asked.get("to"))):
        return _custom(asked.get("from", ""), asked.get("to", ""), now, zone)
    return rolling(name if name in ROLLING else DEFAULT, now=now, zone=zone)


def rolling(name: str, *, now: datetime, zone: tzinfo, problem: Any = "") -> Period:
    """The period of that name, up to the end of the quarter of an hour that is running."""
    last = floor(now) + QUARTER
    return Period(name, last - ROLLING[name][1], last, zone, problem)


def floor(moment: datetime) -> datetime:
    """The beginning of the quarter of an hour that holds `moment`, in UTC."""
    moment = moment.astimezone(UTC)
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def exactly(moment: datetime, zone: tzinfo) -> str:
    """A point in time in the reader's zone; with its offset where a clock shows that time twice."""
    local = moment.astimezone(zone)
    return local.isoformat(timespec="minutes") if local.fold else f"{local:%Y-%m-%dT%H:%M}"


def _custom(start: str, end: str, now: datetime, zone: tzinfo) -> Period:
    first, last = _moment(start, zone), _moment(end, zone, end=True)
    problem: Any = ""
    if first is None or last is None:
        problem = _("Give both from and to, as a day or as a day and a time.")
    elif first >= last:
        problem = _("“From” must be earlier than “to”.")
    elif last - first > LONGEST:
        problem = _("A period may have a year at most.")
    if problem or first is None or last is None:
        return rolling(DEFAULT, now=now, zone=zone, problem=problem)
    return Period(CUSTOM, first, last, zone)


def _moment(text: str, zone: tzinfo, *, end: bool = False) -> datetime | None:
    """What stands in an address, in UTC: `from` brought back, `to` (`end`) forward, to a quarter of an
    hour. None for what is no moment of this century or the next."""
    try:
        found = datetime.fromisoformat(text.strip())
        if len(text.strip()) == len("2026-11-22") and end:
            found += timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    if not YEARS[0] <= found.year < YEARS[1]:
        return None
    moment = (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
    snapped = floor(moment)
    return snapped + QUARTER if end and snapped < moment else snapped


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
