"""How the admin looks: the settings of django-unfold."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Aether",
    "SITE_HEADER": "Aether",
    "SITE_SUBHEADER": _("LLM relay"),
    "SITE_SYMBOL": "hub",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
}
