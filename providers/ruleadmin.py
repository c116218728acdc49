"""The pages of failure rules."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from providers.catalog import live_rules
from providers.failurerules import FailureRule
from providers.forms import FIELDS, FailureRuleForm
from providers.rules import taken_by
from usage.pages import Switch, badge
from usage.words import reason as reason_in_words


@admin.register(FailureRule)
class FailureRuleAdmin(Switch[FailureRule]):
    form = FailureRuleForm
    fields_as = FIELDS
    list_display = ("name", "state_shown", "condition_shown", "verdict_shown", "order")
    list_filter = ("is_active", ("provider", AutocompleteSelectFilter))
    search_fields = ("name",)
    ordering = ("order", "pk")
    ordering_field = "order"
    sortable_by = ()
    list_select_related = ("provider",)
    autocomplete_fields = ("provider",)
    list_before_template = "admin/failure_rules.html"
    fieldsets = (
        (None, {"fields": ("name", ("is_active", "order"))}),
        (
            _("Where an upstream answers with an error"),
            {
                "fields": (("provider", "format"), ("status", "error_type"), "text"),
                "description": _(
                    "All that is filled in must hold. Timeouts, broken connections and pages instead of "
                    "answers are not asked about: there, nothing was said."
                ),
            },
        ),
        (_("It means"), {"fields": ("verdict", "note")}),
    )

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """With each row that can never decide goes the one that takes its errors."""
        shown: Any = super().get_changelist_instance(request)
        taken = taken_by(live_rules())
        for row in shown.result_list:
            row.taken_by = taken.get(row.pk)
        return shown

    @admin.display(description=_("state"))
    def state_shown(self, rule: Any) -> SafeString:
        if not rule.is_active:
            return badge(_("off"))
        if rule.taken_by:
            why = _("“%(rule)s” goes before it") % {"rule": rule.taken_by.name}
            return format_html('{} <span class="quiet">{}</span>', badge(_("never decides"), "bad"), why)
        return badge(_("live"), "good")

    @admin.display(description=_("where"))
    def condition_shown(self, rule: FailureRule) -> str:
        parts = (
            rule.provider and rule.provider.name,
            rule.format and rule.get_format_display(),
            rule.status and _("status %(status)s") % {"status": rule.status},
            rule.error_type,
            rule.text and f"“{rule.text}”",
        )
        return " · ".join(str(part) for part in parts if part)

    @admin.display(description=_("it means"))
    def verdict_shown(self, rule: FailureRule) -> str:
        return reason_in_words(rule.verdict)

    def save_model(self, request: HttpRequest, obj: FailureRule, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        live = live_rules()
        names = {rule.id: rule.name for rule in live}
        idle = [names[number] for number, taker in taken_by(live).items() if taker.id == obj.pk]
        if idle:
            self.message_user(
                request,
                _("Now these can never decide, as “%(rule)s” goes before them: %(others)s.")
                % {"rule": obj, "others": ", ".join(idle)},
                messages.WARNING,
            )
