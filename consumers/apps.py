"""The demand side: who may call us."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConsumersConfig(AppConfig):
    name = "consumers"
    verbose_name = _("demand")
    default_auto_field = "django.db.models.BigAutoField"
