"""Form fields for what JSON and money columns hold, so that nobody has to write JSON into a form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminMultipleAutocompleteModelChoiceFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)


def plain(amount: Decimal | None) -> str:
    """An amount as people write it: no exponent, no zeros behind the last digit that counts."""
    if amount is None:
        return ""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class MoneyInput(UnfoldAdminTextInputWidget):
    """An amount in a text field; a number field would turn 0.0000001 into 1e-7."""

    def __init__(self, attrs: dict[str, Any] | None = None) -> None:
        super().__init__({"inputmode": "decimal", "autocomplete": "off", "class": "money", **(attrs or {})})

    def format_value(self, value: Any) -> str | None:
        return plain(value) if isinstance(value, Decimal) else super().format_value(value)


class Area(UnfoldAdminTextareaWidget):
    """A text area of a few lines, in the type of code."""

    def __init__(self, rows: int = 3, placeholder: str = "") -> None:
        super().__init__({"rows": rows, "placeholder": placeholder, "class": "code", "spellcheck": "false"})


def note(**options: Any) -> forms.Field:
    """Free text of a few lines."""
    return forms.CharField(widget=UnfoldAdminTextareaWidget({"rows": 3}), **options)


class Lines(forms.CharField):
    """A list of strings, one on each line; blank lines and blanks around a line do not count."""

    def __init__(self, *, placeholder: str = "", **options: Any) -> None:
        super().__init__(**{"widget": Area(placeholder=placeholder), **options})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return list(initial or []) != list(self.to_python(data))


class Pairs(forms.CharField):
    """A mapping of strings, one `name: value` on each line."""

    default_error_messages = {
        "pair": _("Line %(number)s: write a name, a colon and a value."),
        "twice": _("“%(name)s” stands here twice: keep one."),
    }

    def __init__(self, *, placeholder: str = "", **options: Any) -> None:
        super().__init__(**{"widget": Area(placeholder=placeholder), **options})

    def prepare_value(self, value: Any) -> Any:
        return (
            "\n".join(f"{name}: {each}" for name, each in value.items()) if isinstance(value, dict) else value
        )

    def to_python(self, value: Any) -> Any:
        pairs: dict[str, str] = {}
        for number, line in enumerate(str(value or "").splitlines(), start=1):
            if not line.strip():
                continue
            name, colon, each = (part.strip() for part in line.partition(":"))
            if not name or not colon or not each:
                raise ValidationError(self.error_messages["pair"], code="pair", params={"number": number})
            if name in pairs:
                raise ValidationError(self.error_messages["twice"], code="twice", params={"name": name})
            pairs[name] = each
        return pairs

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool((initial or {}) != self.to_python(data))
        except ValidationError:
            return True


class TickBoxes(UnfoldAdminCheckboxSelectMultipleWidget):
    """Boxes beside each other, as many on a line as there is room for."""

    template_name = "admin/ticks.html"


class Ticks(forms.MultipleChoiceField):
    """A list out of few known names, as boxes to tick."""

    def __init__(
        self, *, choices: Iterable[tuple[str, Any]] | Callable[[], Iterable[tuple[str, Any]]], **options: Any
    ) -> None:
        super().__init__(**{"choices": choices, "widget": TickBoxes, **options})


class Ids(forms.Field):
    """A list of primary keys of `model` (`app.Model`), picked by name from the admin's own search.

    A row that is gone stays in the list under its number until somebody takes it out: dropping it in silence
    could leave the list empty, and an empty list allows everything."""

    default_error_messages = {"gone": _("There is no %(what)s with the number %(number)s.")}

    def __init__(self, *, model: str, **options: Any) -> None:
        self.label_of_model = model
        address = reverse_lazy("admin:{}_{}_pick".format(*model.lower().split(".")))
        # The plain autocomplete widget of Unfold 0.91 writes value="True" into each option.
        widget = UnfoldAdminMultipleAutocompleteModelChoiceFieldWidget({"data-ajax--url": address})
        self.kept: frozenset[int] = frozenset()
        super().__init__(**{"widget": widget, **options})

    def get_bound_field(self, form: forms.BaseForm, field_name: str) -> forms.BoundField:
        self.kept = frozenset(_whole_numbers(form.get_initial_for_field(self, field_name)))
        return super().get_bound_field(form, field_name)

    def prepare_value(self, value: Any) -> Any:
        ids = _whole_numbers(value)
        names = self._names(ids)
        self.widget.choices = [(each, names.get(each) or _("number %d, deleted") % each) for each in ids]
        return ids

    def clean(self, value: Any) -> list[int]:
        ids = _whole_numbers(value)
        known = self._names(ids)
        for each in ids:
            if each not in known and each not in self.kept:
                raise ValidationError(
                    self.error_messages["gone"],
                    code="gone",
                    params={"what": self._model()._meta.verbose_name, "number": each},
                )
        return ids

    def has_changed(self, initial: Any, data: Any) -> bool:
        return sorted(_whole_numbers(initial)) != sorted(_whole_numbers(data))

    def _model(self) -> type[Model]:
        return apps.get_model(self.label_of_model)

    def _names(self, ids: list[int]) -> Mapping[int, str]:
        return {row.pk: str(row) for row in self._model()._default_manager.filter(pk__in=ids)} if ids else {}


def _whole_numbers(value: Any) -> list[int]:
    """The numbers in a list of ids or of posted texts, in order, each once."""
    found = (int(each) for each in value or () if isinstance(each, int) or str(each).isdecimal())
    return list(dict.fromkeys(number for number in found if 0 < number < 2**63))
