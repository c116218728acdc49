"""Django's routes; the relay's own paths are in relay/routes.py."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path

from relay import staff, views
from usage import views as usage

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/usage/report/", admin.site.admin_view(usage.report), name="usage_report"),
    path("admin/usage/report/csv/", admin.site.admin_view(usage.report_csv), name="usage_report_csv"),
    path("admin/usage/series/csv/", admin.site.admin_view(usage.series_csv), name="usage_series_csv"),
    path("admin/routing/dry-run/", admin.site.admin_view(staff.dry_run), name="failure_dry_run"),
    path("admin/routing/explain/", admin.site.admin_view(staff.explain_route), name="explain_route"),
    path("admin/", admin.site.urls),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    re_path(r"^v1(beta)?(/[\s\S]*)?\Z", views.relay, name="relay"),  # whatever it holds, line ends too
]
