"""The demand side's pages: who signs in, who is billed, and what their programs call with."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from consumers.forms import FIELDS
from consumers.models import ApiKey, ApiKeyState, Consumer, Membership, User, new_secret
from consumers.people import GroupAdmin, MembershipInline, UserAdmin
from consumers.snippets import ANY_MODEL, base_url, snippets
from usage.pages import (
    Ledger,
    LongPage,
    ReadOnlyInline,
    StackedInline,
    Switch,
    TabularInline,
    badge,
    column,
    counted,
    instant,
    link,
    live_of_total,
    switched,
)


def working() -> Q:
    """API keys that are on and have not expired."""
    return Q(is_active=True) & (Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


def state_of(api_key: ApiKey) -> SafeString:
    """Whether an API key is let in, in a word."""
    if not api_key.is_active:
        return badge(_("off"))
    if api_key.expires_at and api_key.expires_at <= timezone.now():
        return badge(_("expired"), "warn")
    return badge(_("live"), "good")


def example_model() -> str:
    """A public model name to write into the snippets."""
    names = apps.get_model("providers", "Model")._default_manager.filter(is_active=True)
    return str(names.order_by("pk").values_list("name", flat=True).first() or ANY_MODEL)


class ApiKeyInline(ReadOnlyInline[ApiKey], TabularInline[ApiKey, Consumer]):
    model = ApiKey
    tab = True
    per_page = 25
    fields = ("name", "prefix_shown", "state_shown", "expires_shown", "used_shown")
    template_before = "admin/add_api_key.html"
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        return super().get_queryset(request).select_related("consumer", "state")

    @admin.display(description=_("begins with"))
    def prefix_shown(self, api_key: ApiKey) -> str:
        return f"{api_key.prefix}…"

    @admin.display(description=_("state"))
    def state_shown(self, api_key: ApiKey) -> SafeString:
        return state_of(api_key)

    @admin.display(description=_("expires"))
    def expires_shown(self, api_key: ApiKey) -> SafeString | str:
        return expiry(api_key)

    @admin.display(description=_("last used"))
    def used_shown(self, api_key: ApiKey) -> SafeString | str:
        return last_used(api_key)


def expiry(api_key: ApiKey) -> SafeString | str:
    """When an API key ends to be let in."""
    return instant(api_key.expires_at) if api_key.expires_at else str(_("never"))


def last_used(api_key: ApiKey) -> SafeString | str:
    state: ApiKeyState | None = getattr(api_key, "state", None)
    return instant(state.last_used_at if state else None)


ACCESS: Any = (
    _("What may be reached"),
    {"fields": ("allowed_models", "allowed_providers", "allowed_formats", "allowed_networks")},
)


@admin.register(Consumer)
class ConsumerAdmin(Switch[Consumer], LongPage[Consumer]):
    fields_as = FIELDS
    list_display = ("name", "state_shown", "api_keys_shown", "members_shown", "time_zone", "created_shown")
    list_filter = ("is_active",)
    search_fields = ("name",)
    ordering = ("name",)
    sortable_by = ("name",)
    fieldsets = ((None, {"fields": ("name", ("is_active", "time_zone"), "note")}), ACCESS)
    inlines = (ApiKeyInline, MembershipInline)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj else (MembershipInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Consumer]:
        rows = super().get_queryset(request)
        if not self.is_list(request):
            return rows
        return rows.annotate(
            api_keys_all=counted(ApiKey.objects.all(), "consumer"),
            api_keys_live=counted(ApiKey.objects.filter(working()), "consumer"),
            members=counted(Membership.objects.all(), "consumer"),
        )

    @admin.display(description=_("state"))
    def state_shown(self, consumer: Consumer) -> SafeString:
        return switched(consumer)

    @admin.display(description=_("API keys live"))
    def api_keys_shown(self, consumer: Any) -> SafeString:
        return live_of_total(consumer.api_keys_live, consumer.api_keys_all)

    @admin.display(description=_("members"))
    def members_shown(self, consumer: Any) -> int:
        return int(consumer.members)

    @admin.display(description=_("since"))
    def created_shown(self, consumer: Consumer) -> SafeString | str:
        return instant(consumer.created_at)


@admin.register(Membership)
class MembershipAdmin(LongPage[Membership]):
    list_display = ("user", "consumer", "role", "created_shown")
    created_shown = column("created_at", instant, _("since"))
    list_filter = ("role", ("consumer", AutocompleteSelectFilter), ("user", AutocompleteSelectFilter))
    search_fields = ("user__username", "consumer__name")
    ordering = ("user_id", "consumer_id")
    sortable_by = ()
    list_select_related = ("user", "consumer")
    autocomplete_fields = ("user", "consumer")


class ApiKeyStateInline(ReadOnlyInline[ApiKeyState], StackedInline[ApiKeyState, ApiKey]):
    model = ApiKeyState
    fields = (("used_shown", "last_address"),)
    used_shown = column("last_used_at", instant, _("last used"))
    verbose_name = verbose_name_plural = _("machine state")


ISSUED = "issued_secret"
"""Attribute of a row just created that holds its secret until the answer is made."""


@admin.register(ApiKey)
class ApiKeyAdmin(Switch[ApiKey], LongPage[ApiKey]):
    fields_as = FIELDS
    list_display = ("name", "consumer_shown", "prefix_shown", "state_shown", "expires_shown", "used_shown")
    list_filter = (("consumer", AutocompleteSelectFilter), "is_active")
    search_fields = ("name",)
    exact_fields = ("prefix",)
    search_help_text = _("Part of the name, or the eight characters behind “sk-aether-”.")
    ordering = ("consumer_id", "name")
    sortable_by = ("name",)
    list_select_related = ("consumer", "state")
    autocomplete_fields = ("consumer",)
    inlines = (ApiKeyStateInline,)
    change_form_after_template = "admin/snippets_panel.html"

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = ("prefix_shown",) if obj else ()
        return (
            (
                None,
                {
                    "fields": (
                        ("consumer", "name"),
                        *shown,
                        "is_active",
                        "expires_at",
                        "failover",
                        "finish_streams",
                        "recording",
                        "concurrency_limit",
                    )
                },
            ),
            ACCESS,
        )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        return ("prefix_shown", "consumer") if obj else ("prefix_shown",)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            secret = new_secret()
            obj.set_secret(secret)
            setattr(obj, ISSUED, secret)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Shows the secret, this once: it stands in this answer and nowhere else."""
        secret = getattr(obj, ISSUED)
        context = {
            **self.admin_site.each_context(request),
            "title": _("API key “%(name)s” was created") % {"name": obj.name},
            "opts": self.opts,
            "original": obj,
            "api_key": obj,
            "secret": secret,
            "snippets": snippets(base_url(request), secret=secret, model=example_model()),
        }
        return TemplateResponse(request, "admin/issued.html", context)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Whatever button saves it, its secret is what comes next.
        one_button = {"show_save_and_continue": False, "show_save_and_add_another": False}
        return super().add_view(request, form_url, {**one_button, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        shown = {"snippets": snippets(base_url(request), model=example_model())}
        return super().change_view(request, object_id, form_url, {**shown, **(extra_context or {})})

    @admin.display(description=_("consumer"))
    def consumer_shown(self, api_key: ApiKey) -> SafeString:
        return link(api_key.consumer, "consumers_consumer_change", api_key.consumer_id)

    @admin.display(description=_("begins with"))
    def prefix_shown(self, api_key: ApiKey) -> str:
        return f"{api_key.prefix}…"

    @admin.display(description=_("state"))
    def state_shown(self, api_key: ApiKey) -> SafeString:
        return state_of(api_key)

    @admin.display(description=_("expires"))
    def expires_shown(self, api_key: ApiKey) -> SafeString | str:
        return expiry(api_key)

    @admin.display(description=_("last used"))
    def used_shown(self, api_key: ApiKey) -> SafeString | str:
        return last_used(api_key)


@admin.register(ApiKeyState)
class ApiKeyStateAdmin(Ledger[ApiKeyState]):
    list_display = ("api_key", "used_shown", "last_address")
    fields = ("api_key", ("used_shown", "last_address"))
    used_shown = column("last_used_at", instant, _("last used"))
    list_select_related = ("api_key__consumer",)


admin.site.unregister(Group)
admin.site.register(Group, GroupAdmin)
admin.site.register(User, UserAdmin)
