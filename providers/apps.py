"""The supply side: whom we may call."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ProvidersConfig(AppConfig):
    name = "providers"
    verbose_name = _("supply")
    default_auto_field = "django.db.models.BigAutoField"
