"""The tables inside the supply side's pages, and who may change what of an endpoint."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from providers.cells import ending, learned_limit, machine_state, reason_of, state_of
from providers.forms import FIELDS, EndpointForm, KeyForm, KeyFormSet
from providers.machine import EndpointState, KeyState, MachineState
from providers.models import Deployment, Endpoint, Key, Provider
from usage.pages import Humane, ReadOnlyInline, StackedInline, TabularInline, column, instant

TIMEOUTS = {
    "connect_timeout": ("RELAY_CONNECT_TIMEOUT",),
    "first_byte_timeout": ("RELAY_FIRST_BYTE_TIMEOUT", "RELAY_WHOLE_FIRST_BYTE_TIMEOUT"),
    "first_event_timeout": ("RELAY_FIRST_EVENT_TIMEOUT",),
    "idle_timeout": ("RELAY_IDLE_TIMEOUT",),
    "total_timeout": ("RELAY_STREAM_TOTAL_TIMEOUT", "RELAY_WHOLE_TOTAL_TIMEOUT"),
}
"""Columns and the settings that hold where a column is empty."""


class Guarded(Humane[Endpoint]):
    """Who may change what of an endpoint: security.md, 11 and 12."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        locked = list(super().get_readonly_fields(request, obj))
        if not request.user.is_superuser:
            locked.append("allow_private")
            if not request.user.has_perm("providers.set_base_url"):
                locked += ["base_url", "proxy"]
        return tuple(locked)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        inherited: Any = super().has_add_permission
        allowed = inherited(request, obj) if isinstance(self, StackedInline) else inherited(request)
        return bool(allowed) and request.user.has_perm("providers.set_base_url")

    def formfield_for_dbfield(
        self, db_field: models.Field[Any, Any], request: HttpRequest, **options: Any
    ) -> forms.Field | None:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and db_field.name in TIMEOUTS:
            defaults = (f"{getattr(settings, name):g}" for name in TIMEOUTS[db_field.name])
            field.widget.attrs["placeholder"] = " / ".join(defaults)
        return field


class EndpointInline(Guarded, StackedInline[Endpoint, Provider]):
    model = Endpoint
    form = EndpointForm
    fields_as = FIELDS
    tab = True
    show_change_link = True
    fields = (
        ("format", "base_url"),
        ("is_active", "allow_private"),
        ("credential_style", "quirks"),
    )

    def get_extra(self, request: HttpRequest, obj: Any = None, **options: Any) -> int:
        return 0 if obj else 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **options)
        formset.form.user = request.user
        return formset


class KeyInline(Humane[Key], TabularInline[Key, Provider]):
    model = Key
    form = KeyForm
    formset = KeyFormSet
    ordering = ("name",)
    fields_as = FIELDS
    tab = True
    per_page = 25
    show_change_link = True
    fields = ("name", "secret", "hint_shown", "priority", "weight", "is_active", "state_shown")
    readonly_fields = ("hint_shown", "state_shown")

    def get_extra(self, request: HttpRequest, obj: Any = None, **options: Any) -> int:
        return 0 if obj else 1

    def get_queryset(self, request: HttpRequest) -> QuerySet[Key]:
        return super().get_queryset(request).select_related("provider", "state")

    @admin.display(description=_("ends in"))
    def hint_shown(self, key: Key) -> SafeString | str:
        return ending(key)

    @admin.display(description=_("state"))
    def state_shown(self, key: Key) -> SafeString | str:
        return machine_state(state_of(key)) if key.pk else "–"


class DeploymentInline(Humane[Deployment], TabularInline[Deployment, Any]):
    model = Deployment
    fields_as = FIELDS
    tab = True
    per_page = 25
    extra = 0
    show_change_link = True
    fields = ("model", "provider", "upstream_name", "formats", "is_active")
    autocomplete_fields = ("model", "provider")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return super().get_queryset(request).select_related("model", "provider")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        own = self.parent_model._meta.model_name
        return [each for each in self.fields if each != own]


class StateCells:
    """What the machine knows, ready to be shown."""

    disabled_shown = column("disabled_at", instant, _("disabled by machine"))
    cooling_shown = column("cooling_until", instant, _("cooling until"))
    opened_shown = column("opened_until", instant, _("breaker open until"))
    probed_shown = column("probed_at", instant, _("last probed at"))
    used_shown = column("last_used_at", instant, _("last used"))
    verdict_shown = column("verdict", lambda name: reason_of(name) or "–", _("last verdict"))
    reason_shown = column("reason", lambda reason: reason_of(reason) or "–", _("reason"))
    updated_shown = column("updated_at", instant, _("updated"))
    error_shown = column("last_error_at", instant, _("last error at"))

    @admin.display(description=_("learned concurrency"))
    def learned_shown(self, state: MachineState) -> str:
        return learned_limit(state)


STATE_FIELDS = (
    ("breaker", "opened_shown"),
    ("verdict_shown", "reason_shown"),
    ("disabled_shown", "cooling_shown"),
    ("used_shown", "updated_shown"),
    ("error_shown", "last_error"),
    ("probed_shown", "probe_result"),
    "learned_shown",
)


class KeyStateInline(StateCells, ReadOnlyInline[KeyState], StackedInline[KeyState, Key]):
    model = KeyState
    fields = STATE_FIELDS
    verbose_name = verbose_name_plural = _("machine state")


class EndpointStateInline(StateCells, ReadOnlyInline[EndpointState], StackedInline[EndpointState, Endpoint]):
    model = EndpointState
    fields = STATE_FIELDS
    verbose_name = verbose_name_plural = _("machine state")
