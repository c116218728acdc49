"""The project's own commands, wiring only."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AetherConfig(AppConfig):
    name = "aether"
    verbose_name = _("Aether")
    default_auto_field = "django.db.models.BigAutoField"
