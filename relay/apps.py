"""The engine between callers and providers."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class RelayConfig(AppConfig):
    name = "relay"
    verbose_name = _("relay")
    default_auto_field = "django.db.models.BigAutoField"
