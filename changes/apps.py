"""The feed by which one process learns what another changed."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ChangesConfig(AppConfig):
    name = "changes"
    verbose_name = _("system")
    default_auto_field = "django.db.models.BigAutoField"
