"""Money: exact decimal dollars in code, whole pico-dollars in the database."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from usage.pico import SCALE, from_pico, to_pico

if TYPE_CHECKING:
    Integer = models.BigIntegerField[Any, Any]
else:
    Integer = models.BigIntegerField


class MoneyField(Integer):
    """A Decimal of dollars kept as an integer of pico-dollars (1e-12); the same exact fixed point serves
    ratios.

    SQLite keeps decimals as floats, so a DecimalField would lose digits. Sum in SQL over integers, never
    through the ORM's Sum, which would take this field's converter.
    """

    default_validators = []  # an integer's, which a Decimal fails
    description = _("Amount of money in US dollars")

    def from_db_value(self, value: int | None, expression: object, connection: object) -> Decimal | None:
        return None if value is None else from_pico(value)

    def to_python(self, value: Any) -> Decimal | None:
        if value is None or isinstance(value, Decimal):
            return value
        try:
            return Decimal(str(value))
        except InvalidOperation as error:
            raise ValidationError(_("Enter an amount such as 1.25."), code="invalid") from error

    def get_prep_value(self, value: Any) -> int | None:
        amount = self.to_python(value)
        return None if amount is None else to_pico(amount)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.value_from_object(obj)
        return "" if value is None else format(value, "f")

    @property
    def validators(self) -> Any:
        """Those that the model names; BigIntegerField's range is one of pico-dollars."""
        return super(models.IntegerField, self).validators

    def formfield(self, **options: Any) -> Any:
        return super(models.IntegerField, self).formfield(
            **{"form_class": forms.DecimalField, "max_digits": 18, "decimal_places": SCALE, **options}
        )
