"""Forms of the demand side. Models and providers are known by name: this floor does not import theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.apps import apps
from unfold.widgets import UnfoldAdminSelect2Widget

from usage.forms import Ids, Lines, Ticks, note


def formats() -> Iterable[tuple[str, Any]]:
    """The wire formats and how they are called, as an endpoint may have them."""
    choices: Any = apps.get_model("providers", "Endpoint")._meta.get_field("format").choices
    return [(str(name), label) for name, label in choices]


def time_zones() -> list[tuple[str, str]]:
    """All time zones by name, UTC first."""
    names = sorted(available_timezones() - {"UTC", "localtime"})
    return [(name, name) for name in ("UTC", *names)]


FIELDS: Mapping[str, Callable[..., forms.Field]] = {
    "note": note,
    "allowed_models": lambda **options: Ids(model="providers.Model", **options),
    "allowed_providers": lambda **options: Ids(model="providers.Provider", **options),
    "allowed_formats": lambda **options: Ticks(choices=formats, **options),
    "allowed_networks": lambda **options: Lines(placeholder="10.0.0.0/8", **options),
    "time_zone": lambda **options: forms.ChoiceField(
        choices=time_zones, widget=UnfoldAdminSelect2Widget, **options
    ),
}
"""How the columns of the demand side are filled in."""
