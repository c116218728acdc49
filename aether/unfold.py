"""How the admin looks and what its sidebar holds: the settings of django-unfold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

ROUTES = ("providers.view_deployment", "consumers.view_apikey")


def _file(name: str) -> Callable[[HttpRequest], str]:
    return lambda request: static(name)


def sees_sums(request: HttpRequest) -> bool:
    """Whether this user may see sums of what was used."""
    return request.user.has_perm("usage.view_rollup")


def sees_routes(request: HttpRequest) -> bool:
    """Whether this user may see where requests would go."""
    return request.user.has_perms(ROUTES)


def _page(title: Any, icon: str, model: str) -> dict[str, Any]:
    """A line of the sidebar: the list of `model` (`app.model`), for those who may see it."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: (
            request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(f"{app}.change_{name}")
        ),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Aether",
    "SITE_HEADER": "Aether",
    "SITE_SUBHEADER": _("LLM relay"),
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _file("aether/favicon.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "6px",
    "STYLES": [_file("aether/admin.css")],
    "SCRIPTS": [_file("aether/admin.js")],
    "DASHBOARD_CALLBACK": "aether.admin.start_page",
    "COMMAND": {"search_callback": "aether.admin.search", "search_models": False, "show_history": False},
    "COLORS": {
        "primary": {
            "50": "oklch(97.5% .017 196)",
            "100": "oklch(94.5% .040 196)",
            "200": "oklch(89.5% .070 197)",
            "300": "oklch(82.5% .100 199)",
            "400": "oklch(74.5% .115 203)",
            "500": "oklch(64.5% .108 207)",
            "600": "oklch(53.0% .092 211)",
            "700": "oklch(46.0% .079 214)",
            "800": "oklch(39.5% .066 216)",
            "900": "oklch(34.0% .055 218)",
            "950": "oklch(26.0% .043 220)",
        },
    },
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {"title": _("Start"), "icon": "home", "link": reverse_lazy("admin:index")},
                    {
                        "title": _("Usage"),
                        "icon": "monitoring",
                        "link": reverse_lazy("usage_report"),
                        "permission": sees_sums,
                    },
                ]
            },
            {
                "title": _("Supply"),
                "items": [
                    _page(_("Providers"), "cloud", "providers.provider"),
                    _page(_("Endpoints"), "link", "providers.endpoint"),
                    _page(_("Keys"), "key", "providers.key"),
                    _page(_("Models"), "deployed_code", "providers.model"),
                    _page(_("Deployments"), "account_tree", "providers.deployment"),
                    _page(_("Changes of state"), "monitor_heart", "providers.stateevent"),
                    _page(_("Failure rules"), "rule", "providers.failurerule"),
                    {
                        "title": _("Explain a route"),
                        "icon": "route",
                        "link": reverse_lazy("explain_route"),
                        "permission": sees_routes,
                    },
                ],
            },
            {
                "title": _("Demand"),
                "items": [
                    _page(_("Consumers"), "groups", "consumers.consumer"),
                    _page(_("API keys"), "vpn_key", "consumers.apikey"),
                    _page(_("Users"), "person", "consumers.user"),
                    _page(_("Memberships"), "badge", "consumers.membership"),
                    _page(_("Groups"), "admin_panel_settings", "auth.group"),
                ],
            },
            {
                "title": _("Ledger"),
                "items": [
                    _page(_("Records"), "receipt_long", "usage.record"),
                    _page(_("Attempts"), "alt_route", "usage.attempt"),
                    _page(_("Prices billed"), "sell", "usage.pricesnapshot"),
                    _page(_("Stored bodies"), "inventory_2", "usage.body"),
                    _page(_("Stored responses"), "forum", "usage.storedresponse"),
                ],
            },
            {
                "title": _("System"),
                "collapsible": True,
                "items": [
                    _page(_("Game day"), "crisis_alert", "providers.drill"),
                    _page(_("Dead letters"), "mail_off", "usage.deadletter"),
                    _page(_("Key states"), "ecg_heart", "providers.keystate"),
                    _page(_("Endpoint states"), "lan", "providers.endpointstate"),
                    _page(_("API key states"), "schedule", "consumers.apikeystate"),
                    _page(_("Rollups"), "functions", "usage.rollup"),
                    _page(_("Rollups by API key"), "functions", "usage.apikeyrollup"),
                    _page(_("Rollups of attempts"), "functions", "usage.attemptrollup"),
                    _page(_("Journal positions"), "bookmark", "usage.journalposition"),
                    _page(_("Change feed"), "sync", "changes.change"),
                    _page(_("Admin history"), "history", "admin.logentry"),
                ],
            },
        ],
    },
}
