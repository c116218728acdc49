"""The pages of what the machine knows of keys and endpoints, and of what happened to them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from providers.cells import machine_state, reason_of
from providers.condition import event_condition, event_what
from providers.events import StateEvent
from providers.inlines import STATE_FIELDS, StateCells
from providers.machine import EndpointState, KeyState
from usage.filters import NamedFilter
from usage.pages import Ledger, column, instant, link


class StateAdmin(StateCells, Ledger[Any]):
    """What the machine knows, row by row."""

    fieldsets = ((None, {"fields": STATE_FIELDS}), (_("Detail"), {"fields": ("detail",)}))

    @admin.display(description=_("state"))
    def state_shown(self, state: Any) -> SafeString:
        return machine_state(state)


@admin.register(KeyState)
class KeyStateAdmin(StateAdmin):
    list_display = ("key", "state_shown", "verdict_shown", "reason_shown", "used_shown", "error_shown")
    list_select_related = ("key__provider",)


@admin.register(EndpointState)
class EndpointStateAdmin(StateAdmin):
    list_display = ("endpoint", "state_shown", "verdict_shown", "reason_shown", "used_shown", "error_shown")
    list_select_related = ("endpoint__provider",)


@admin.register(StateEvent)
class StateEventAdmin(Ledger[StateEvent]):
    """What happened to keys and endpoints, newest first."""

    list_display = (
        "at_shown", "key_shown", "endpoint_shown", "what_shown", "condition_shown", "until_shown",
        "reason_shown",
    )  # fmt: skip
    list_filter = (
        ("key", NamedFilter),
        ("endpoint", NamedFilter),
        ("condition", ChoicesDropdownFilter),
        ("action", ChoicesDropdownFilter),
    )
    list_select_related = ("key__provider", "endpoint__provider")
    fields = (
        ("at_shown", "process"),
        ("key_shown", "endpoint_shown"),
        ("what_shown", "condition_shown"),
        ("until_shown", "reason_shown"),
    )
    at_shown = column("at", instant, _("time"))
    until_shown = column("until", instant, _("until"))
    reason_shown = column("reason", lambda reason: reason_of(reason) or "–", _("reason"))

    @admin.display(description=_("key"))
    def key_shown(self, event: StateEvent) -> SafeString | str:
        return _named(event.key, "key", event.key_id)

    @admin.display(description=_("endpoint"))
    def endpoint_shown(self, event: StateEvent) -> SafeString | str:
        return _named(event.endpoint, "endpoint", event.endpoint_id)

    @admin.display(description=_("what"))
    def what_shown(self, event: StateEvent) -> str:
        return event_what(event)

    @admin.display(description=_("state after it"))
    def condition_shown(self, event: StateEvent) -> SafeString:
        return event_condition(event)


def _named(row: Any, kind: str, number: int | None) -> SafeString | str:
    """A row by its name, linked to it; by its number where it is gone."""
    if number is None:
        return "–"
    return link(row, f"providers_{kind}_change", number) if row else f"#{number}"
