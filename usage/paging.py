"""Pages of long tables: nothing here counts rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.paginator import EmptyPage, Page, Paginator
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.views import ChangeList

if TYPE_CHECKING:
    _Page = Page[Any]
    _Paginator = Paginator[Any]
else:
    _Page, _Paginator = Page, Paginator

MANY = 9_999_999_999
"""Stands where a count is asked for."""
LAST_PAGE = 1_000
"""Beyond it an offset is only work for the database: search or filter instead."""


class LongPage(_Page):
    """One page, and whether rows follow it."""

    more: bool = False

    def has_next(self) -> bool:
        return self.more

    def has_other_pages(self) -> bool:
        return self.more or self.number > 1


# Unfold knows by this very class name that there is no count to show.
class InfinitePaginator(_Paginator):
    """Pages by offset; whether there is a next one is told by one row more, not by a count."""

    template_name = "admin/pages.html"
    latest: LongPage | None = None

    @property
    def count(self) -> int:
        return MANY

    def page(self, number: int | str) -> LongPage:
        """Raises EmptyPage for what is no page number, and beyond the last."""
        try:
            wanted = int(number)
        except (TypeError, ValueError):
            wanted = 0
        if not 1 <= wanted <= LAST_PAGE:
            raise EmptyPage
        start = (wanted - 1) * self.per_page
        rows = list(self.object_list[start : start + self.per_page + 1])
        self.latest = LongPage(rows[: self.per_page], wanted, self)
        self.latest.more = len(rows) > self.per_page and wanted < LAST_PAGE
        return self.latest


def counted_to(most: int, tables: Sequence[QuerySet[Any]]) -> list[int]:
    """How many rows each of `tables` has, counted no further than `most` + 1: one query for all of them."""
    if not tables:
        return []
    counts: list[str] = []
    parameters: list[Any] = []
    for rows in tables:
        statement, values = rows.order_by().values("pk")[: most + 1].query.sql_with_params()
        counts.append(f"(SELECT COUNT(*) FROM ({statement}) counted)")
        parameters += values
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(counts)}", parameters)
        return [int(number) for number in cursor.fetchone()]


class Keyset(ChangeList):
    """A list in the order of the primary key, newest first, that walks by key (`?before=`, `?after=`): every
    page costs the same."""

    before: Any = None
    after: Any = None
    older_url = ""
    newer_url = ""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        for name in ("before", "after"):
            self.filter_params.pop(name, None)
            if name in self.params:
                setattr(self, name, self._key(self.params.pop(name)))
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows

    def get_results(self, request: HttpRequest) -> None:
        size = self.list_per_page
        rows = self.queryset.order_by("-pk")
        if self.after is not None:
            found = list(rows.filter(pk__gt=self.after).order_by("pk")[: size + 1])
            older, newer = True, len(found) > size
            found = found[:size][::-1]
        else:
            if self.before is not None:
                rows = rows.filter(pk__lt=self.before)
            found = list(rows[: size + 1])
            older, newer = len(found) > size, self.before is not None
            found = found[:size]
        if found:
            self.older_url = self.get_query_string({"before": found[-1].pk}) if older else ""
            self.newer_url = self.get_query_string({"after": found[0].pk}) if newer else ""
        self.result_list = found
        self.result_count = MANY
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = InfinitePaginator(found, size)
        self.paginator.template_name = "admin/keyset.html"

    def _key(self, text: str) -> Any:
        """The key that `text` names; None for what is none."""
        try:
            return self.opts.pk.to_python(text)
        except ValidationError:
            return None
