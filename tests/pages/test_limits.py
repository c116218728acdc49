"""Limits and budgets have columns, but no page shows one before the work that enforces it: a limit seen that
does nothing is a promise broken with money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.db.models import Model as DjangoModel
from django.test import Client, RequestFactory
from django.urls import reverse

from aether.unfold import UNFOLD
from consumers.models import ApiKey, Budget, Consumer, Entry, User
from providers.models import Endpoint, Key, Provider
from tests.pages import world

pytestmark = pytest.mark.django_db

ENFORCED: frozenset[tuple[type[DjangoModel], str]] = frozenset()
"""(model, column) of each limit that the relay holds requests to; the work that enforces one adds it here."""


def limits() -> list[tuple[type[DjangoModel], str]]:
    return [
        (model, name)
        for model in (Consumer, ApiKey, Provider, Endpoint, Key)
        for name in model.LIMITS
        if (model, name) not in ENFORCED
    ]


def names_on(page: Any, request: Any, row: Any) -> Iterator[str]:
    """Every column that a page or inline shows, edits, filters by, searches or orders by."""
    yield from flatten_fieldsets(page.get_fieldsets(request, row))
    yield from page.get_readonly_fields(request, row)
    for name in ("list_display", "list_editable", "search_fields", "ordering"):
        yield from (str(each).lstrip("-=^@") for each in getattr(page, name, None) or ())
    for each in getattr(page, "list_filter", None) or ():
        yield str(each[0] if isinstance(each, tuple | list) else getattr(each, "parameter_name", each))


def test_the_walk_would_see_a_limit() -> None:
    assert (Key, "concurrency_limit") in limits()
    assert (Consumer, "rpm_limit") in limits()


@pytest.mark.parametrize("changing", [True, False], ids=["change", "add"])
def test_no_form_list_or_filter_shows_a_limit_without_an_enforcer(root: User, *, changing: bool) -> None:
    request = RequestFactory().get("/admin/")
    request.user = root
    for model, page in admin.site._registry.items():
        row = model() if changing else None
        shown = {(model, name) for name in names_on(page, request, row)}
        if page.has_change_permission(request):
            form: Any = page.get_form(request, row)
            shown |= {(model, name) for name in form.base_fields}
        for inline in page.get_inline_instances(request, row):
            shown |= {(inline.model, name) for name in names_on(inline, request, row)}
            shown |= {(inline.model, name) for name in inline.get_formset(request, row).form.base_fields}
        assert not shown & set(limits()), model


def test_budgets_and_balances_have_no_page(client_of_root: Client, root: User) -> None:
    assert not {Budget, Entry} & set(admin.site._registry)
    links = [str(item["link"]) for group in UNFOLD["SIDEBAR"]["navigation"] for item in group["items"]]
    assert not [each for each in links if "budget" in each or "entry/" in each.replace("logentry/", "")]
    for page in admin.site._registry.values():
        request = RequestFactory().get("/admin/")
        request.user = root
        assert not {Budget, Entry} & {inline.model for inline in page.get_inline_instances(request)}
    world.everything(root)
    for view in ("auth_group_add", "consumers_user_add"):
        assert "Can add budget" not in client_of_root.get(reverse(f"admin:{view}")).content.decode()
    user = client_of_root.get(world.address(User, "change", root.pk)).content.decode()
    assert "Can add consumer" in user
    assert "Can add budget" not in user
    assert "Can add balance entry" not in user
