"""Addresses of the lists behind a number: the same filters, the same period."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from usage.names import NAMED
from usage.periods import Period, exactly
from usage.sources import Filters

MINUTE = timedelta(minutes=1)


def to_records(period: Period, filters: Filters) -> str:
    """The list of the requests that began within `period` and pass `filters`."""
    return _list("usage_record", period, filters)


def to_attempts(period: Period, filters: Filters) -> str:
    """The list of the attempts of such requests."""
    return _list("usage_attempt", period, filters)


def _list(name: str, period: Period, filters: Mapping[str, Any]) -> str:
    asked = {
        **_edge("from", period.first, period.zone),
        **_edge("to", period.last - MINUTE, period.zone),  # the list's end is inclusive to the minute
    }
    for dimension, value in filters.items():
        asked.update([_filter(dimension, value)])
    return f"{reverse(f'admin:{name}_changelist')}?{urlencode(asked)}"


def _edge(which: str, moment: datetime, zone: tzinfo) -> dict[str, str]:
    day, _t, clock = exactly(moment, zone).partition("T")
    return {f"started_at_{which}_0": day, f"started_at_{which}_1": clock}


def _filter(dimension: str, value: int | str) -> tuple[str, str]:
    if dimension in NAMED:
        return (f"{dimension}__id__exact", str(value)) if value else (f"{dimension}__isnull", "True")
    return ("outcome__exact" if dimension == "outcome" else dimension), str(value)
