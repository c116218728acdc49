"""usage/periods.py: what an address asks for, in the reader's zone, and how a chart cuts it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from tests.counts import count
from usage.periods import CUSTOM, DEFAULT, LONGEST, QUARTER, ROLLING, Period, chosen, exactly

NOW = datetime(2026, 11, 22, 9, 52, 30, tzinfo=UTC)
BERLIN, KOLKATA, ST_JOHNS = (ZoneInfo(name) for name in ("Europe/Berlin", "Asia/Kolkata", "America/St_Johns"))
ZONES = (
    ZoneInfo("UTC"),
    BERLIN,
    KOLKATA,
    ST_JOHNS,
    ZoneInfo("Asia/Kathmandu"),
    ZoneInfo("Australia/Lord_Howe"),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("name", ROLLING)
def test_a_rolling_period_ends_with_the_quarter_that_runs(name: str) -> None:
    period = chosen({"period": name}, now=NOW, zone=BERLIN)
    assert (period.name, period.last, period.length) == (name, utc("2026-11-22T10:00"), ROLLING[name][1])
    assert period.before == period.first - period.length
    assert period.asked() == {"period": name}


@pytest.mark.parametrize("asked", [{}, {"period": "century"}, {"period": ""}])
def test_without_a_period_it_is_the_last_day(asked: dict[str, str]) -> None:
    assert chosen(asked, now=NOW, zone=UTC).name == DEFAULT


@pytest.mark.parametrize(
    ("start", "end", "zone", "first", "last"),
    [
        ("2026-11-01", "2026-11-30", KOLKATA, "2026-10-31T18:30", "2026-11-30T18:30"),
        ("2026-11-01", "2026-11-01", ST_JOHNS, "2026-11-01T02:30", "2026-11-02T03:30"),
        ("2026-10-25", "2026-10-25", BERLIN, "2026-10-24T22:00", "2026-10-25T23:00"),
        ("2026-03-29T01:59", "2026-03-29T03:01", BERLIN, "2026-03-29T00:45", "2026-03-29T01:15"),
        ("2026-11-22T09:07", "2026-11-22T09:31", UTC, "2026-11-22T09:00", "2026-11-22T09:45"),
        ("2026-11-22T09:00", "2026-11-22T09:15", UTC, "2026-11-22T09:00", "2026-11-22T09:15"),
        ("2026-10-25T02:30+01:00", "2026-10-25T03:00", BERLIN, "2026-10-25T01:30", "2026-10-25T02:00"),
    ],
)
def test_a_period_is_widened_to_whole_quarters_of_an_hour(
    start: str, end: str, zone: ZoneInfo, first: str, last: str
) -> None:
    period = chosen({"period": CUSTOM, "from": start, "to": end}, now=NOW, zone=zone)
    assert (period.first, period.last, period.problem) == (utc(first), utc(last), "")
    assert chosen(period.asked(), now=NOW, zone=zone) == period


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("", "2026-11-01", "both"),
        ("2026-11-01", "yesterday", "both"),
        ("2026-11-02T10:00", "2026-11-02T10:00", "earlier"),
        ("2026-11-02", "2026-11-01", "earlier"),
        ("2024-01-01", "2026-11-01", "a year"),
        ("0001-01-01", "9999-12-31", "both"),
        ("2026-11-01", "9999-12-31", "both"),
    ],
)
def test_what_makes_no_sense_is_told_and_gives_the_last_day(start: str, end: str, said: str) -> None:
    period = chosen({"period": CUSTOM, "from": start, "to": end}, now=NOW, zone=UTC)
    assert period.name == DEFAULT
    assert said in str(period.problem)


def test_a_time_that_clocks_show_twice_is_told_with_its_offset() -> None:
    once, again = utc("2026-10-25T00:30"), utc("2026-10-25T01:30")
    assert exactly(once, BERLIN) == "2026-10-25T02:30"
    assert exactly(again, BERLIN) == "2026-10-25T02:30+01:00"


def test_the_pieces_of_any_period_fill_it_without_gap_or_overlap() -> None:
    chance = random.Random(3)
    for _each in range(count(60, 3_000)):
        zone = chance.choice(ZONES)
        first = utc("2026-01-01T00:00") + chance.randrange(40_000) * QUARTER
        length = chance.randrange(1, LONGEST // QUARTER) * QUARTER
        if chance.random() < 0.5:
            length = chance.randrange(1, 4 * 96) * QUARTER
        period = Period(CUSTOM, first, first + length, zone)
        pieces = period.pieces()
        assert (pieces[0].first, pieces[-1].last) == (period.first, period.last)
        assert all(before.last == after.first for before, after in pairwise(pieces))
        assert all(piece.first < piece.last for piece in pieces)
        assert len({piece.label for piece in pieces}) == len(pieces) <= 102
        for piece in pieces[1:]:
            local = piece.first.astimezone(zone)
            if period.step != "quarter":
                assert local.minute == 0
            if period.step in {"day", "month"}:
                assert (local.hour, local.minute) == (0, 0)
            if period.step == "month":
                assert local.day == 1


@pytest.mark.parametrize(
    ("name", "step"), [("1h", "quarter"), ("24h", "hour"), ("7d", "day"), ("30d", "day"), ("90d", "day")]
)
def test_longer_periods_take_longer_steps(name: str, step: str) -> None:
    assert chosen({"period": name}, now=NOW, zone=BERLIN).step == step


def test_a_day_has_25_hours_where_clocks_go_back() -> None:
    period = chosen({"from": "2026-10-25", "to": "2026-10-25"}, now=NOW, zone=BERLIN)
    labels = [piece.label for piece in period.pieces()]
    assert len(labels) == 25
    assert labels[2:4] == ["2026-10-25 02:00", "2026-10-25 02:00 CET"]
    assert period.length == timedelta(hours=25)
