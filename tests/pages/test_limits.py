"""Limits and budgets have columns, but no page shows one before the work that enforces it: a limit seen that
does nothing is a promise broken with money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import ValidationError
from django.db.models import Model as DjangoModel
from django.test import Client, RequestFactory
from django.urls import reverse

from aether.unfold import UNFOLD
from consumers.models import ApiKey, Budget, Consumer, Entry, User
from providers.machine import KeyState
from providers.models import Endpoint, Key, Provider
from tests.pages import world

pytestmark = pytest.mark.django_db

ENFORCED: frozenset[tuple[type[DjangoModel], str]] = frozenset(
    (model, "concurrency_limit") for model in (Provider, Endpoint, Key, ApiKey)
)
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
    assert (Key, "rpm_limit") in limits()
    assert (Consumer, "rpm_limit") in limits()


@pytest.mark.parametrize("changing", [True, False], ids=["change", "add"])
def test_no_form_list_or_filter_shows_a_limit_without_an_enforcer(root: User, *, changing: bool) -> None:
    request = RequestFactory().get("/admin/")
    request.user = root
    world.everything(root)
    for model, page in admin.site._registry.items():
        row = (model._default_manager.first() or model()) if changing else None
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


@pytest.mark.parametrize("model", [Provider, Endpoint, Key, ApiKey])
def test_a_limit_of_concurrency_is_set_on_the_page_and_is_one_or_more(
    client_of_root: Client, root: User, model: Any
) -> None:
    world.everything(root)
    row = model.objects.first()
    page = client_of_root.get(world.address(model, "change", row.pk))
    form = page.context["adminform"].form
    assert "concurrency_limit" in form.fields
    field = form.fields["concurrency_limit"]
    assert (field.clean(""), field.clean("12")) == (None, 12)
    with pytest.raises(ValidationError):
        field.clean("many")
    row.concurrency_limit = 0
    with pytest.raises(ValidationError, match="concurrency_limit"):
        row.full_clean()


@pytest.mark.parametrize(
    ("limit", "detail", "shown"),
    [
        (None, {}, "–"),
        (7, {}, "7 at a time"),
        (
            7.0,
            {"peak": 12, "limit_reason": "throttled", "limit_changed_at": 1_700_000_000_000},
            "7 at a time, of late at most 12; since 2023-11-14 22:13:20: throttled",
        ),
        (
            8,
            {"limit_reason": "full use", "limit_changed_at": 1_700_000_000_000},
            "8 at a time; since 2023-11-14 22:13:20: in full use without a throttle",
        ),
        (8, ["junk"], "8 at a time"),
        (8, {"peak": "junk", "limit_changed_at": "junk"}, "8 at a time"),
    ],
)
def test_the_page_of_a_key_tells_its_learned_limit(
    client_of_root: Client, root: User, limit: float | None, detail: Any, shown: str
) -> None:
    world.everything(root)
    state = KeyState.objects.first()
    assert state is not None
    KeyState.objects.filter(pk=state.pk).update(learned_limit=limit, detail=detail)
    page = client_of_root.get(world.address(Key, "change", state.pk)).content.decode()
    assert shown in page
