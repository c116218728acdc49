"""What the pages of the admin share: typed base classes on Unfold's, switches, badges and numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.utils import flatten, unquote
from django.core.exceptions import FieldDoesNotExist, PermissionDenied
from django.db import models
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _now, gettext_lazy as _, ngettext
from unfold.decorators import action as _unfold_action

from usage.forms import MoneyInput, plain
from usage.money import MoneyField
from usage.paging import InfinitePaginator, Keyset

__all__ = [
    "Humane",
    "Ledger",
    "LongPage",
    "ModelAdmin",
    "Page",
    "Picked",
    "ReadOnlyInline",
    "StackedInline",
    "Switch",
    "TabularInline",
    "back_to",
    "badge",
    "button",
    "column",
    "counted",
    "found",
    "instant",
    "link",
    "live_of_total",
    "milliseconds",
    "money",
    "switched",
    "whole",
]

M = TypeVar("M", bound=models.Model)
P = TypeVar("P", bound=models.Model)
F = TypeVar("F", bound=Callable[..., Any])
Label = Any  # a string, translated now or later

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.contrib.admin.options import BaseModelAdmin
else:
    from unfold import admin as unfold

    class BaseModelAdmin(Generic[M]):
        pass

    class ModelAdmin(unfold.ModelAdmin, Generic[M]):
        pass

    class StackedInline(unfold.StackedInline, Generic[M, P]):
        pass

    class TabularInline(unfold.TabularInline, Generic[M, P]):
        pass


def button(**options: Any) -> Callable[[F], F]:
    """Unfold's `action`, typed: a button at the head of a page."""
    return cast("Callable[[F], F]", _unfold_action(**options))


# What a cell shows


def badge(text: Label, tone: str = "plain", *, title: Label = "") -> SafeString:
    """A word on a coloured ground: `good`, `warn`, `bad`, `info`, `plain`. The word alone must say it all."""
    return format_html('<span class="badge badge-{}" title="{}">{}</span>', tone, title, text)


def money(amount: Decimal | None) -> str:
    """Dollars to the last digit, or a dash."""
    return "–" if amount is None else f"${plain(amount)}"


def whole(number: int | None) -> str:
    """A whole number with its thousands apart, or a dash."""
    return "–" if number is None else number_format(number, use_l10n=True, force_grouping=True)


def milliseconds(duration: int | None) -> str:
    """A duration as people say it, or a dash."""
    if duration is None:
        return "–"
    return f"{duration}\u00a0ms" if duration < 1_000 else f"{duration / 1_000:.2f}\u00a0s"


def instant(moment: datetime | None) -> SafeString | str:
    """A point in time to the second, in the current time zone, with the exact one to be seen on it."""
    if moment is None:
        return "–"
    shown = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        moment.isoformat(),
        moment.isoformat(),
        f"{shown:%Y-%m-%d %H:%M:%S}",
    )


def link(label: Any, view: str, *args: Any) -> SafeString:
    """A link to the admin's page `view` (`providers_key_change`)."""
    return format_html('<a class="text-link" href="{}">{}</a>', reverse(f"admin:{view}", args=args), label)


def live_of_total(live: int, total: int) -> SafeString:
    """How many of so many work, as a badge whose words say it."""
    if not total:
        return badge(_("none"))
    tone = "good" if live == total else "warn" if live else "bad"
    return badge(_("%(live)d of %(total)d") % {"live": live, "total": total}, tone)


def switched(row: Any) -> SafeString:
    return badge(_("on"), "good") if row.is_active else badge(_("off"))


def counted(rows: QuerySet[Any], owner: str) -> Coalesce:
    """How many of `rows` point to the outer row by `owner`: a subquery, as joins would multiply."""
    per_owner = (
        rows.filter(**{owner: OuterRef("pk")}).order_by().values(owner).annotate(n=Count("pk")).values("n")
    )
    return Coalesce(Subquery(per_owner, output_field=models.IntegerField()), 0)


def column(
    name: str, show: Callable[[Any], Any], label: Label, *, order: bool = False
) -> Callable[[Any, Any], Any]:
    """A read-only column or field: `show` of the attribute `name`."""

    @admin.display(description=label, ordering=name if order else None)
    def shown(page: Any, row: Any) -> Any:
        return show(getattr(row, name))

    shown.__name__ = f"{name}_shown"
    return shown


# Pages


class Humane(BaseModelAdmin[M]):
    """Gives each column a form field that people can fill in: by name from `fields_as`, money as decimals."""

    formfield_overrides = {MoneyField: {"widget": MoneyInput}}
    fields_as: ClassVar[Mapping[str, Callable[..., forms.Field]]] = {}

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        make = self.fields_as.get(db_field.name)
        if make is None:
            return super().formfield_for_dbfield(db_field, request, **options)
        return make(
            required=not db_field.blank, label=capfirst(db_field.verbose_name), help_text=db_field.help_text
        )


class Page(Humane[M], ModelAdmin[M]):
    """A table that people may change."""

    empty_value_display = "–"
    show_facets = admin.ShowFacets.NEVER  # a facet is a count
    list_per_page = 50
    list_filter_submit = True
    warn_unsaved_form = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[M]:
        """With what a row is named by, in lists and pickers alike: most names begin with another row's."""
        rows = super().get_queryset(request)
        return (
            rows.select_related(*self.list_select_related)
            if isinstance(self.list_select_related, tuple)
            else rows
        )

    def is_list(self, request: HttpRequest) -> bool:
        """Whether the list itself is asked for: only it needs what is counted for each row."""
        match = request.resolver_match
        return match is None or match.url_name == f"{self.opts.app_label}_{self.opts.model_name}_changelist"

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only what the list filters by; Django would let `?sealed__startswith=` guess at a column."""
        name = lookup.split("__", 1)[0]
        try:
            self.opts.get_field(name)
        except FieldDoesNotExist:
            return super().lookup_allowed(lookup, value, request)
        return name in map(_filtered, self.get_list_filter(request)) and super().lookup_allowed(
            lookup, value, request
        )


def _filtered(offered: Any) -> Any:
    """The column that an entry of `list_filter` filters by."""
    return offered[0] if isinstance(offered, tuple | list) else getattr(offered, "parameter_name", offered)


class LongPage(Page[M]):
    """A table that may grow to hundreds of thousands of rows."""

    paginator = InfinitePaginator
    show_full_result_count = False
    list_disable_select_all = True
    exact_fields: tuple[str, ...] = ()
    """Indexed columns that a search term may equal."""

    MOST_FOUND = 500

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """By a part of the name. The ids come first: the index in the order of the list answers that
        without reading a row."""
        term = search_term.strip()
        if not term or self.search_fields != ("name",):
            return super().get_search_results(request, queryset, search_term)
        rows = self.model._default_manager.all()
        named = rows.filter(name__icontains=term).order_by(*self.ordering or ("pk",))
        ids = [*named.values_list("pk", flat=True)[: self.MOST_FOUND]]
        for field in self.exact_fields:
            ids += rows.filter(**{field: term}).order_by("pk").values_list("pk", flat=True)[: self.MOST_FOUND]
        return queryset.filter(pk__in=ids), False


class Ledger(Page[M]):
    """A table that machines write and people read."""

    show_full_result_count = False
    sortable_by = ()
    actions: tuple[str, ...] | None = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[Keyset]:
        return Keyset


class ReadOnlyInline(BaseModelAdmin[M]):
    """An inline that only shows."""

    empty_value_display = "–"
    extra = 0
    can_delete = False
    show_change_link = True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return flatten(self.fields or ())

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Picked(Page[M]):
    """A table whose rows other forms pick by name (`usage.forms.Ids`)."""

    PICKS = 20

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_pick"
        return [path("pick/", self.admin_site.admin_view(self.pick), name=name), *super().get_urls()]

    def pick(self, request: HttpRequest) -> HttpResponse:
        """The rows whose name holds `?q=`, as select2 reads them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        rows, _more = self.get_search_results(
            request, self.get_queryset(request).order_by("name"), request.GET.get("q", "")
        )
        number = request.GET.get("page", "1")
        page = InfinitePaginator(rows, self.PICKS).page(number if number.isdecimal() else 1)
        return JsonResponse(
            {
                "results": [{"id": str(row.pk), "text": str(row)} for row in page.object_list],
                "pagination": {"more": page.has_next()},
            }
        )


def found(page: ModelAdmin[M], request: HttpRequest, object_id: str) -> M:
    """The row that a button's address names. Raises Http404 where there is none, PermissionDenied where this
    user may not change it."""
    row = page.get_object(request, unquote(object_id))
    if row is None:
        raise Http404
    if not page.has_change_permission(request, row):
        raise PermissionDenied
    return row


def back_to(page: ModelAdmin[M], row: M) -> HttpResponse:
    """Sends a dialog back to the row's own page."""
    view = f"admin:{page.opts.app_label}_{page.opts.model_name}_change"
    return HttpResponse(headers={"HX-Redirect": reverse(view, args=[row.pk])})


class Switch(Page[M]):
    """A table with a column `is_active`, switched from the list and at the head of a row's page."""

    actions: tuple[str, ...] = ("enable", "disable")
    actions_detail: tuple[str, ...] = ("enable_one", "disable_one")

    @admin.action(description=_("Enable selected %(verbose_name_plural)s"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        self.switch(request, queryset, on=True)

    @admin.action(description=_("Disable selected %(verbose_name_plural)s"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[M]) -> None:
        self.switch(request, queryset, on=False)

    @button(
        description=_("Enable"),
        icon="toggle_on",
        permissions=["change"],
        url_path="enable",
        dialog={
            "title": _("Enable it?"),
            "description": _("Obeyed within two seconds."),
            "form_submit_text": _("Enable"),
        },
    )
    def enable_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        return self.switch_one(request, object_id, on=True)

    @button(
        description=_("Disable"),
        icon="toggle_off",
        permissions=["change"],
        url_path="disable",
        dialog={
            "title": _("Disable it?"),
            "description": _("Obeyed within two seconds; nothing is deleted."),
            "form_submit_text": _("Disable"),
        },
    )
    def disable_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        return self.switch_one(request, object_id, on=False)

    def switch(self, request: HttpRequest, rows: QuerySet[M], *, on: bool) -> None:
        """Switches `rows` that this user may change, notes it in their history and says how many."""
        allowed = [row.pk for row in rows if self.has_change_permission(request, row)]
        changed = self.model._default_manager.filter(pk__in=allowed)
        count = changed.update(is_active=on)
        what = _now("Enabled.") if on else _now("Disabled.")
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk), queryset=changed, action_flag=CHANGE, change_message=what
        )
        if on:
            said = ngettext("%(count)d enabled.", "%(count)d enabled.", count)
        else:
            said = ngettext("%(count)d disabled.", "%(count)d disabled.", count)
        self.message_user(request, said % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    def switch_one(self, request: HttpRequest, object_id: str, *, on: bool) -> HttpResponse:
        """Switches the row whose page the button stands on, and shows that page again. Raises Http404."""
        row = found(self, request, object_id)
        self.switch(request, self.get_queryset(request).filter(pk=row.pk), on=on)
        return back_to(self, row)

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Leaves out the button that would change nothing."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # Unfold's
        row: Any = self.get_object(request, object_id)
        useless = "enable" if row is not None and row.is_active else "disable"
        return [each for each in buttons if each.path != useless]
