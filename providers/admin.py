"""The supply side's pages: providers with endpoints, keys and models; what the machine knows of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from providers.actions import EndpointActions, ProviderActions
from providers.cells import (
    ending,
    formats_named,
    lies_inside,
    machine_state,
    price_of_row,
    state_of,
    warn_of_price,
    warn_of_private,
    working,
)
from providers.condition import HealthActions, ProviderHealth
from providers.conformanceadmin import ConformanceActions
from providers.drilladmin import DrillAdmin  # noqa: F401 - a page of this app
from providers.forms import FIELDS, EndpointForm, KeyForm
from providers.inlines import (
    DeploymentInline,
    EndpointInline,
    EndpointStateInline,
    Guarded,
    KeyInline,
    KeyStateInline,
)
from providers.models import Deployment, Endpoint, Key, Model, Provider
from providers.ruleadmin import FailureRuleAdmin  # noqa: F401 - a page of this app
from providers.stateadmin import StateAdmin  # noqa: F401 - pages of this app
from usage.pages import (
    LongPage,
    Picked,
    Switch,
    badge,
    counted,
    instant,
    link,
    live_of_total,
    switched,
    whole,
)

PRICE_FIELDS = (
    ("price_input", "price_output"),
    ("price_cache_read", "price_reasoning"),
    ("price_cache_write_5m", "price_cache_write_1h"),
    "price_request",
    "price_tiers",
    ("price_fees", "price_tier_factors"),
)


@admin.register(Provider)
class ProviderAdmin(ProviderActions, ProviderHealth, Switch[Provider], Picked[Provider]):
    fields_as = FIELDS
    list_display = (
        "name",
        "state_shown",
        "priority",
        "endpoints_shown",
        "keys_shown",
        "models_shown",
        "billing",
    )
    list_filter = ("is_active", "billing")
    search_fields = ("name",)
    ordering = ("priority", "name")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "is_active",
                    ("priority", "billing"),
                    "concurrency_limit",
                    "website",
                    "note",
                )
            },
        ),
    )
    inlines = (EndpointInline, KeyInline, DeploymentInline)
    actions = ("test", *Switch.actions)
    actions_detail = ("fetch_list", "test_all", *Switch.actions_detail)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        rows = super().get_queryset(request)
        if not self.is_list(request):
            return rows
        deployed = Deployment.objects.filter(is_active=True, model__is_active=True)
        return rows.annotate(
            endpoints_all=counted(Endpoint.objects.all(), "provider"),
            endpoints_live=counted(Endpoint.objects.filter(working()), "provider"),
            keys_all=counted(Key.objects.all(), "provider"),
            keys_live=counted(Key.objects.filter(working()), "provider"),
            models_all=counted(Deployment.objects.all(), "provider"),
            models_live=counted(deployed, "provider"),
        )

    @admin.display(description=_("state"), ordering="is_active")
    def state_shown(self, provider: Any) -> SafeString:
        if not provider.is_active:
            return badge(_("off"))
        if not provider.endpoints_live:
            return badge(_("no live endpoint"), "bad")
        if not provider.keys_live:
            return badge(_("no live key"), "bad")
        if not provider.models_live:
            return badge(_("no model"), "warn")
        return badge(_("live"), "good")

    @admin.display(description=_("endpoints live"))
    def endpoints_shown(self, provider: Any) -> SafeString:
        return live_of_total(provider.endpoints_live, provider.endpoints_all)

    @admin.display(description=_("keys live"))
    def keys_shown(self, provider: Any) -> SafeString:
        return live_of_total(provider.keys_live, provider.keys_all)

    @admin.display(description=_("models live"))
    def models_shown(self, provider: Any) -> SafeString:
        return live_of_total(provider.models_live, provider.models_all)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        if formset.model is Endpoint:
            for endpoint in (*formset.new_objects, *(row for row, _changed in formset.changed_objects)):
                warn_of_private(request, endpoint)


@admin.register(Endpoint)
class EndpointAdmin(EndpointActions, ConformanceActions, HealthActions[Endpoint], Guarded, Switch[Endpoint]):
    form = EndpointForm
    fields_as = FIELDS
    list_display = ("format", "provider_shown", "base_url", "switched_shown", "state_shown", "private_shown")
    list_filter = (("provider", AutocompleteSelectFilter), ("format", ChoicesDropdownFilter), "is_active")
    search_fields = ("base_url", "provider__name")
    ordering = ("provider__name", "format")
    list_select_related = ("provider", "state")
    autocomplete_fields = ("provider",)
    fieldsets = (
        (None, {"fields": (("provider", "format"), "base_url", ("is_active", "allow_private"))}),
        (
            _("How it is called"),
            {
                "fields": (
                    ("credential_style", "proxy"),
                    "headers",
                    "quirks",
                    ("concurrency_limit", "when_client_leaves"),
                )
            },
        ),
        (_("Probes"), {"fields": ("probe_seconds",)}),
        (
            _("Timeouts"),
            {
                "fields": (
                    ("connect_timeout", "idle_timeout"),
                    ("first_byte_timeout", "first_event_timeout"),
                    "total_timeout",
                ),
                "description": _(
                    "In seconds. Where a field is empty, what it shows in grey holds; the second number is "
                    "for answers that are not streamed."
                ),
            },
        ),
    )
    inlines = (EndpointStateInline,)
    actions = ("test", *Switch.actions, "recover", "probe")
    actions_detail = (
        "test_one", "conformance_one", "probe_one", "recover_one", "park_one", "forget_one",
        *Switch.actions_detail,
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Endpoint | None = None) -> tuple[Any, ...]:
        # Moved to another provider, an endpoint would be sent that provider's keys.
        return (*super().get_readonly_fields(request, obj), *(("provider",) if obj else ()))

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj and hasattr(obj, "state") else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **options)
        form.user = request.user
        return form

    @admin.display(description=_("provider"), ordering="provider__name")
    def provider_shown(self, endpoint: Endpoint) -> SafeString:
        return link(endpoint.provider, "providers_provider_change", endpoint.provider_id)

    @admin.display(description=_("switch"), ordering="is_active")
    def switched_shown(self, endpoint: Endpoint) -> SafeString:
        return switched(endpoint)

    @admin.display(description=_("machine state"))
    def state_shown(self, endpoint: Endpoint) -> SafeString:
        return machine_state(state_of(endpoint))

    @admin.display(description=_("private addresses"))
    def private_shown(self, endpoint: Endpoint) -> SafeString | str:
        if endpoint.allow_private:
            return badge(_("allowed"), "info")
        if lies_inside(endpoint):
            return badge(_("needed, not allowed"), "bad")
        return "–"

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        warn_of_private(request, obj)


@admin.register(Key)
class KeyAdmin(HealthActions[Key], Switch[Key], LongPage[Key]):
    form = KeyForm
    fields_as = FIELDS
    list_display = (
        "name", "provider_shown", "hint_shown", "formats_shown", "priority", "weight", "switched_shown",
        "state_shown", "used_shown",
    )  # fmt: skip
    list_filter = (("provider", AutocompleteSelectFilter), "is_active")
    search_fields = ("name",)
    search_help_text = _("Part of the name, or … and the last four characters of the secret.")
    ordering = ("provider_id", "name")
    sortable_by = ("name", "priority", "weight")
    list_select_related = ("provider", "state")
    autocomplete_fields = ("provider",)
    fieldsets = (
        (None, {"fields": (("provider", "name"), "secret", "hint_shown", "is_active")}),
        (
            _("When it is used"),
            {
                "fields": (
                    ("priority", "weight"),
                    "formats",
                    "allowed_models",
                    "capabilities",
                    ("exclusive", "affinity_seconds"),
                    "concurrency_limit",
                )
            },
        ),
        (_("What it costs"), {"fields": ("cost_multiplier",)}),
    )
    inlines = (KeyStateInline,)
    actions = (*Switch.actions, "recover", "probe")
    actions_detail = ("probe_one", "recover_one", "park_one", *Switch.actions_detail)

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.inlines if obj and hasattr(obj, "state") else ()

    def get_readonly_fields(self, request: HttpRequest, obj: Key | None = None) -> tuple[Any, ...]:
        # Moved to another provider, a secret would be sent to that provider's addresses.
        return ("hint_shown", "provider") if obj else ("hint_shown",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Key], search_term: str
    ) -> tuple[QuerySet[Key], bool]:
        if search_term.startswith("…"):
            return queryset.filter(hint=search_term.removeprefix("…").strip()), False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("provider"))
    def provider_shown(self, key: Key) -> SafeString:
        return link(key.provider, "providers_provider_change", key.provider_id)

    @admin.display(description=_("ends in"))
    def hint_shown(self, key: Key) -> SafeString | str:
        return ending(key)

    @admin.display(description=_("formats"))
    def formats_shown(self, key: Key) -> str:
        return formats_named(key.formats)

    @admin.display(description=_("switch"))
    def switched_shown(self, key: Key) -> SafeString:
        return switched(key)

    @admin.display(description=_("machine state"))
    def state_shown(self, key: Key) -> SafeString:
        return machine_state(state_of(key))

    @admin.display(description=_("last used"))
    def used_shown(self, key: Key) -> SafeString | str:
        state = state_of(key)
        return instant(state.last_used_at if state else None)


@admin.register(Model)
class ModelAdmin(Switch[Model], Picked[Model]):
    fields_as = FIELDS
    list_display = (
        "name",
        "state_shown",
        "aliases_shown",
        "deployments_shown",
        "price_shown",
        "window_shown",
    )
    list_filter = ("is_active",)
    search_fields = ("name",)
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "aliases", "is_active")}),
        (
            _("Price, in dollars per million tokens"),
            {"fields": ("price_missing", *PRICE_FIELDS), "classes": ["price"]},
        ),
        (
            _("What it can do"),
            {
                "fields": (
                    "capabilities",
                    "allowed_formats",
                    ("routing_mode", "conversion"),
                    ("context_window", "max_output_tokens"),
                    "note",
                )
            },
        ),
    )
    readonly_fields = ("price_missing",)
    inlines = (DeploymentInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows = super().get_queryset(request)
        if not self.is_list(request):
            return rows
        live = Deployment.objects.filter(is_active=True, provider__is_active=True)
        return rows.annotate(
            deployments_all=counted(Deployment.objects.all(), "model"),
            deployments_live=counted(live, "model"),
        )

    @admin.display(description="")
    def price_missing(self, model: Model) -> SafeString:
        return format_html(
            '<p class="notice notice-warn" data-price-missing {}>{}</p>',
            "" if model.price() is None else "hidden",
            _("There is no price: requests to this model are recorded as unpriced."),
        )

    @admin.display(description=_("state"), ordering="is_active")
    def state_shown(self, model: Any) -> SafeString:
        if not model.is_active:
            return badge(_("off"))
        return badge(_("live"), "good") if model.deployments_live else badge(_("nowhere deployed"), "bad")

    @admin.display(description=_("aliases"))
    def aliases_shown(self, model: Model) -> str:
        return ", ".join(model.aliases) or "–"

    @admin.display(description=_("deployments live"))
    def deployments_shown(self, model: Any) -> SafeString:
        return live_of_total(model.deployments_live, model.deployments_all)

    @admin.display(description=_("price per million"), ordering="price_input")
    def price_shown(self, model: Model) -> SafeString | str:
        return price_of_row(model)

    @admin.display(description=_("context window"), ordering="context_window")
    def window_shown(self, model: Model) -> str:
        return whole(model.context_window)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        warn_of_price(request, obj)


@admin.register(Deployment)
class DeploymentAdmin(Switch[Deployment], LongPage[Deployment]):
    fields_as = FIELDS
    list_display = (
        "upstream_name",
        "model_shown",
        "provider_shown",
        "switched_shown",
        "formats_shown",
        "price_shown",
    )
    list_filter = (("provider", AutocompleteSelectFilter), ("model", AutocompleteSelectFilter), "is_active")
    search_fields = ("upstream_name", "model__name")
    ordering = ("model_id", "provider_id", "upstream_name")
    sortable_by = ("upstream_name",)
    list_select_related = ("model", "provider")
    autocomplete_fields = ("model", "provider")
    fieldsets = (
        (None, {"fields": (("model", "provider"), "upstream_name", "is_active")}),
        (_("Where it runs"), {"fields": ("formats", "capabilities")}),
        (
            _("Price here, in dollars per million tokens"),
            {
                "fields": PRICE_FIELDS,
                "description": _(
                    "Only where this provider's price differs: it replaces the model's as a whole."
                ),
            },
        ),
    )

    @admin.display(description=_("model"))
    def model_shown(self, deployment: Deployment) -> SafeString:
        return link(deployment.model, "providers_model_change", deployment.model_id)

    @admin.display(description=_("provider"))
    def provider_shown(self, deployment: Deployment) -> SafeString:
        return link(deployment.provider, "providers_provider_change", deployment.provider_id)

    @admin.display(description=_("switch"))
    def switched_shown(self, deployment: Deployment) -> SafeString:
        return switched(deployment)

    @admin.display(description=_("formats"))
    def formats_shown(self, deployment: Deployment) -> str:
        return formats_named(deployment.formats)

    @admin.display(description=_("price per million"))
    def price_shown(self, deployment: Deployment) -> SafeString | str:
        if deployment.price() is None and deployment.model.price() is not None:
            return str(_("the model's"))
        return price_of_row(deployment)
