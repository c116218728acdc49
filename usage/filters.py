"""Filters of the ledger's lists."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, DropdownFilter, RangeDateTimeFilter
from unfold.utils import parse_datetime_str

from usage import words
from usage.ids import lower_bound
from wire import FORMATS


class StartedFilter(RangeDateTimeFilter):
    """When a request began, from and to, inclusive to the minute. Asks for a range of ids, which hold the
    instant: the column itself has no index."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = self._moment("from"), self._moment("to")
        if first is not None:
            queryset = queryset.filter(pk__gte=lower_bound(first))
        if last is not None:
            queryset = queryset.filter(pk__lt=lower_bound(last + timedelta(minutes=1)))
        return queryset

    def _moment(self, edge: str) -> datetime | None:
        day = self.used_parameters.get(f"{self.parameter_name}_{edge}_0")
        clock = self.used_parameters.get(f"{self.parameter_name}_{edge}_1") or (
            "00:00" if edge == "from" else "23:59"
        )
        found = (parse_datetime_str(f"{day} {clock}") or _with_offset(f"{day}T{clock}")) if day else None
        return found if found is None or timezone.is_aware(found) else timezone.make_aware(found)


def _with_offset(text: str) -> datetime | None:
    """A moment such as 2026-10-25T02:30+01:00: its offset tells which, where clocks show that time twice."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else None


class NamedFilter(AutocompleteSelectFilter):
    """A row that the ledger names by its id; or, with `__isnull=True`, none."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.lookup_val_isnull == "True" and not self.value():
            return queryset.filter(**{f"{self.field_path}__isnull": True})
        found: QuerySet[Any] = super().queryset(request, queryset)
        return found


class FormatFilter(DropdownFilter):
    """A wire format by name."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words.FORMATS.get(name, name)) for name in FORMATS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value()
        return queryset.filter(**{self.parameter_name: wanted}) if wanted in FORMATS else queryset


class ClientFormatFilter(FormatFilter):
    title = _("client format")
    parameter_name = "client_format"


class UpstreamFormatFilter(FormatFilter):
    title = _("upstream format")
    parameter_name = "upstream_format"
