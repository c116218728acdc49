"""The filters of the usage report: what an address asks for, and the form that asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.urls import reverse
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminAutocompleteModelChoiceFieldWidget, UnfoldAdminSelectWidget

from usage.models import Outcome
from usage.names import NAMED, Names, label
from usage.sources import Filters
from usage.tables import FILTERS
from wire import FORMATS

GREATEST_ID = 2**63 - 1


def filters_of(asked: Mapping[str, str]) -> dict[str, int | str]:
    """The filters in an address; what is no id, format or outcome counts as none."""
    found: dict[str, int | str] = {}
    for name in FILTERS:
        text = asked.get(name, "").strip()
        if name in NAMED:
            if text.isascii() and text.isdecimal() and int(text) <= GREATEST_ID:
                found[name] = int(text)
        elif text in (Outcome.values if name == "outcome" else FORMATS):
            found[name] = text
    return found


class UsageForm(forms.Form):
    """One field for each filter. Rows with a name are searched for as they are typed, never listed."""

    def __init__(self, filters: Filters, names: Names) -> None:
        super().__init__(initial=dict(filters))
        for name, title in FILTERS.items():
            self.fields[name] = forms.ChoiceField(label=capfirst(title), required=False, widget=_widget(name))
            self.fields[name].widget.choices = _choices(name, filters, names)


def _widget(name: str) -> Any:
    if name not in NAMED:
        return UnfoldAdminSelectWidget()
    # Django's own autocomplete, by the record's reference, as the filters of the record list use it.
    asked = urlencode({"app_label": "usage", "model_name": "record", "field_name": name})
    return UnfoldAdminAutocompleteModelChoiceFieldWidget(
        {"data-ajax--url": f"{reverse('admin:autocomplete')}?{asked}"}
    )


def _choices(name: str, filters: Filters, names: Names) -> list[tuple[Any, Any]]:
    blank: list[tuple[Any, Any]] = [("", "---------")]
    if name == "outcome":
        return blank + list(Outcome.choices)
    if name not in NAMED:
        return blank + [(each, each) for each in FORMATS]
    chosen = filters.get(name)
    return blank if chosen is None else [*blank, (chosen, label(name, chosen, names))]
