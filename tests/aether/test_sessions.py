from __future__ import annotations

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client

PASSWORD = "a password of twenty-nine chars"


@pytest.fixture
def member(db: None) -> None:
    get_user_model().objects.create_superuser("root", password=PASSWORD)


def sign_in(client: Client) -> None:
    answer = client.post("/admin/login/?next=/admin/", {"username": "root", "password": PASSWORD})
    assert answer.status_code == 302


def test_signing_in_changes_the_session_key(client: Client, member: None) -> None:
    session = client.session
    session["before"] = True
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(session.session_key)
    sign_in(client)
    assert client.session.session_key != session.session_key


def test_signing_out_kills_the_session(client: Client, member: None) -> None:
    sign_in(client)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.post("/admin/logout/")
    assert not Session.objects.filter(session_key=cookie).exists()
    stolen = Client(headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"})
    assert stolen.get("/admin/").status_code == 302


def test_a_session_ends_after_twelve_idle_hours_and_each_page_prolongs_it(
    client: Client, member: None
) -> None:
    sign_in(client)
    cookie = client.get("/admin/").cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["max-age"] == 12 * 3600


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(client: Client, member: None) -> None:
    client.get("/admin/login/")
    sign_in(client)
    for name in (settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME):
        assert client.cookies[name]["httponly"], name
        assert client.cookies[name]["samesite"] == "Lax", name


@pytest.mark.parametrize("path", ["/admin/login/?next=/admin/", "/admin/logout/"])
def test_a_form_without_its_token_is_refused(member: None, path: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(path, {"username": "root", "password": PASSWORD}).status_code == 403
