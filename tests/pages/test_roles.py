"""What a lower role may not do: reach addresses, give what it lacks, take over who has more."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from consumers.models import User
from providers.models import Endpoint, Key, Provider
from tests.pages import world
from tests.pages.test_forms import PROVIDER, endpoint, management

pytestmark = pytest.mark.django_db

OPERATOR = (
    "providers.view_provider", "providers.change_provider", "providers.view_endpoint",
    "providers.change_endpoint",
    "providers.add_endpoint", "providers.view_key", "providers.change_key",
)  # fmt: skip
PEOPLE = ("consumers.view_user", "consumers.add_user", "consumers.change_user", "consumers.delete_user")


def browser_of(name: str, *permissions: str) -> Client:
    client = Client()
    client.force_login(world.staff(name, *permissions))
    return client


MOVED = {
    "format": "openai_chat", "base_url": "https://evil.example.com", "proxy": "http://evil.example.com:3128",
    "when_client_leaves": "abort",
    "allow_private": "on", "is_active": "on", "headers": "", **management("state"),
}  # fmt: skip


def test_an_operator_cannot_move_an_endpoint_or_open_private_addresses() -> None:
    world.supply()
    there = Endpoint.objects.get()
    url = world.address(Endpoint, "change", there.pk)
    assert browser_of("olga", *OPERATOR).post(url, MOVED).status_code == 302
    there.refresh_from_db()
    assert (there.base_url, there.proxy, there.allow_private) == ("https://api.example.com/v1", "", False)
    assert there.headers == {}  # the rest of the form was saved


def test_who_may_set_addresses_may_still_not_open_private_ones() -> None:
    world.supply()
    there = Endpoint.objects.get()
    url = world.address(Endpoint, "change", there.pk)
    browser = browser_of("otto", *OPERATOR, "providers.set_base_url")
    assert browser.post(url, MOVED).status_code == 302
    there.refresh_from_db()
    assert (there.base_url, there.allow_private) == ("https://evil.example.com", False)
    Endpoint.objects.update(allow_private=True)
    answer = browser.post(url, {**MOVED, "base_url": "http://10.0.0.1"})
    assert "ask a superuser" in answer.content.decode()
    there.refresh_from_db()
    assert there.base_url == "https://evil.example.com"


def test_the_table_inside_a_provider_keeps_to_the_same_rule() -> None:
    provider = world.supply()
    there = Endpoint.objects.get()
    posted: dict[str, Any] = {
        **PROVIDER, **management("endpoints", "keys", "deployments"),
        **endpoint(0, base_url="https://evil.example.com", allow_private="on", id=str(there.pk)),
        **endpoint(1, format="gemini", base_url="https://evil.example.com"),
        "endpoints-TOTAL_FORMS": "2", "endpoints-INITIAL_FORMS": "1",
    }  # fmt: skip
    url = world.address(Provider, "change", provider.pk)
    assert browser_of("olga", *OPERATOR).post(url, posted).status_code in {200, 302}
    there.refresh_from_db()
    assert (there.base_url, there.allow_private) == ("https://api.example.com/v1", False)
    assert Endpoint.objects.count() == 1


def test_who_may_only_look_sees_no_field_and_no_button() -> None:
    provider = world.supply()
    browser = browser_of("vera", "providers.view_provider", "providers.view_key", "providers.view_endpoint")
    page = browser.get(world.address(Provider, "change", provider.pk)).content.decode()
    assert 'name="name"' not in page
    assert "/disable/" not in page
    assert "/models/" not in page
    for url in ("disable", "enable", "test", "models"):
        target = world.address(Provider, "change", provider.pk).removesuffix("change/") + f"{url}/"
        assert browser.post(target, {"_form_submitted": "True"}).status_code == 403
    assert browser.get(world.address(Key, "change", Key.objects.get().pk)).status_code == 200


def test_nobody_picks_names_from_a_table_they_may_not_see() -> None:
    world.supply()
    browser = browser_of("carol", "consumers.view_consumer", "consumers.change_consumer")
    assert browser.get(reverse("admin:providers_model_pick")).status_code == 403
    assert (
        browser.get(f"{reverse('admin:search')}?s=acme&extended=1").content.decode().find("acme-fast") == -1
    )
    assert "live keys" not in browser.get(reverse("admin:index")).content.decode()


def form_of(user: User, **columns: Any) -> dict[str, Any]:
    return {
        "username": user.username, "is_active": "on", "is_staff": "on", "time_zone": "UTC",
        **management("memberships"), **columns,
    }  # fmt: skip


def test_who_manages_users_cannot_give_what_they_lack() -> None:
    browser = browser_of("petra", *PEOPLE)
    bob = world.staff("bob")
    strong = Permission.objects.get(codename="delete_provider")
    weak = Permission.objects.get(codename="view_user")
    admins = Group.objects.create(name="admins")
    admins.permissions.add(strong)
    url = world.address(User, "change", bob.pk)
    assert browser.post(url, form_of(bob, is_superuser="on")).status_code == 302
    bob.refresh_from_db()
    assert not bob.is_superuser
    assert browser.post(url, form_of(bob, user_permissions=[str(strong.pk)])).status_code == 200
    assert browser.post(url, form_of(bob, groups=[str(admins.pk)])).status_code == 200
    assert browser.post(url, form_of(bob, user_permissions=[str(weak.pk)])).status_code == 302
    assert bob.get_user_permissions() == {"consumers.view_user"}


def test_who_manages_users_cannot_take_over_who_has_more() -> None:
    browser = browser_of("petra", *PEOPLE)
    root, olga = world.superuser(), world.staff("olga", *OPERATOR)
    for user in (root, olga):
        assert browser.post(world.address(User, "change", user.pk), form_of(user)).status_code == 403
        password = reverse("admin:auth_user_password_change", args=[user.pk])
        assert browser.get(password).status_code == 403
        assert browser.post(world.address(User, "delete", user.pk), {"post": "yes"}).status_code == 403


def test_who_manages_groups_cannot_put_into_one_what_they_lack() -> None:
    browser = browser_of("greta", "auth.view_group", "auth.change_group", "auth.add_group")
    strong = Permission.objects.get(codename="delete_provider")
    answer = browser.post(reverse("admin:auth_group_add"), {"name": "mine", "permissions": [str(strong.pk)]})
    assert answer.status_code == 200
    admins = Group.objects.create(name="admins")
    admins.permissions.add(strong)
    assert browser.post(world.address(Group, "change", admins.pk), {"name": "x"}).status_code == 403


def test_a_user_of_the_relay_has_no_way_into_the_admin() -> None:
    client = Client()
    client.force_login(User.objects.create_user("ursula"))
    answer = client.get(reverse("admin:index"))
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("password", ["correct horse battery", "x"])
def test_a_user_is_added_with_a_password_that_is_no_trifle(client_of_root: Client, password: str) -> None:
    posted = {"username": "nina", "usable_password": "true", "password1": password, "password2": password}
    answer = client_of_root.post(reverse("admin:consumers_user_add"), posted)
    assert answer.status_code == (302 if len(password) > 10 else 200)
    assert User.objects.filter(username="nina").exists() is (len(password) > 10)
