"""What a model and a deployment have in common: prices."""

from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from changes.models import Versioned
from providers.checks import check_fees, check_tier_factors, check_tiers
from usage.money import MoneyField
from usage.pricing import Price


class Priced(Versioned):
    """Prices in dollars per million tokens. Empty cache prices follow from the input price
    (accounting.md)."""

    price_input = MoneyField(_("input"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))])
    price_output = MoneyField(_("output"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))])
    price_cache_read = MoneyField(
        _("cache read"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: 0.1 times input."),
    )  # fmt: skip
    price_cache_write_5m = MoneyField(
        _("cache write, 5 minutes"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: 1.25 times input."),
    )  # fmt: skip
    price_cache_write_1h = MoneyField(
        _("cache write, 1 hour"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: 2 times input."),
    )  # fmt: skip
    price_reasoning = MoneyField(
        _("reasoning"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))],
        help_text=_("Empty: as output."),
    )  # fmt: skip
    price_request = MoneyField(
        _("per request"), null=True, blank=True, validators=[MinValueValidator(Decimal(0))],
        help_text=_("Dollars for each request that delivered output."),
    )  # fmt: skip
    price_tiers = models.JSONField(
        _("tiers"),
        default=list,
        blank=True,
        validators=[check_tiers],
        help_text=_(
            'Prices by size of the whole input: [{"up_to": 200000, "input": "1.25", "output": "10"}, …]. '
            "The tier prices the whole request; beyond the last, the last."
        ),
    )
    price_fees = models.JSONField(
        _("fees"),
        default=dict,
        blank=True,
        validators=[check_fees],
        help_text=_('Dollars for each use of a server tool: {"web_search": "0.01"}.'),
    )
    price_tier_factors = models.JSONField(
        _("service tier factors"),
        default=dict,
        blank=True,
        validators=[check_tier_factors],
        help_text=_('Factor on token prices by the service tier that answered: {"flex": "0.5"}.'),
    )

    class Meta:
        abstract = True

    def price_source(self) -> str:
        """What a price snapshot names as the origin of these prices."""
        raise NotImplementedError

    def price(self) -> Price | None:
        """These prices as a plain value; None while neither input nor request has one."""
        if self.price_input is None and self.price_request is None:
            return None
        return Price.build(
            source=self.price_source(),
            input=self.price_input or Decimal(0),
            output=self.price_output or Decimal(0),
            cache_read=self.price_cache_read,
            cache_write_5m=self.price_cache_write_5m,
            cache_write_1h=self.price_cache_write_1h,
            reasoning=self.price_reasoning,
            request=self.price_request or Decimal(0),
            tiers=self.price_tiers,
            fees=self.price_fees,
            tier_factors=self.price_tier_factors,
        )

    def clean(self) -> None:
        super().clean()
        if self.price_input is not None and self.price_output is None:
            raise ValidationError({"price_output": _("Give the output price too, 0 if output is free.")})
        if self.price_input is None and (self.price_output is not None or self.price_tiers):
            raise ValidationError({"price_input": _("Give the input price too, 0 if input is free.")})
