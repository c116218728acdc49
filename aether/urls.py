"""Django's routes; the relay's own paths are in relay/routes.py."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path

from relay import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    re_path(r"^v1(beta)?(/[\s\S]*)?\Z", views.relay, name="relay"),  # whatever it holds, line ends too
]
