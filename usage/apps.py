"""The ledger: journal, records, prices, rollups."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = _("ledger")
    default_auto_field = "django.db.models.BigAutoField"
