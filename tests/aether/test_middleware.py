from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from pytest_django import Settings

from aether.middleware import no_store

STATIC = "/static/admin/css/base.css"


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    return client


def test_admin_pages_may_evaluate_and_style_but_run_no_inline_script(admin: Client) -> None:
    policy = admin.get("/admin/").headers["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval';" in policy + ";"
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.django_db
def test_all_else_gets_the_strict_policy(client: Client) -> None:
    policy = client.get("/nowhere").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/nowhere"])
def test_no_page_is_kept_by_browsers_or_proxies(client: Client, path: str) -> None:
    assert "no-store" in client.get(path).headers["Cache-Control"]


def test_a_page_of_someone_logged_in_is_not_kept(admin: Client) -> None:
    assert "no-store" in admin.get("/admin/").headers["Cache-Control"]


def test_a_page_may_say_otherwise_itself(rf: RequestFactory) -> None:
    said = no_store(lambda request: HttpResponse(headers={"Cache-Control": "max-age=60"}))
    assert said(rf.get("/")).headers["Cache-Control"] == "max-age=60"


@pytest.mark.django_db
def test_pages_carry_the_headers_that_browsers_heed(client: Client) -> None:
    headers = client.get("/admin/login/").headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.django_db
def test_another_host_name_is_refused(client: Client) -> None:
    assert client.get("/admin/login/", headers={"host": "evil.example.com"}).status_code == 400


def test_a_static_file_is_served_whole_and_may_be_kept(client: Client) -> None:
    response = client.get(STATIC)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/css")
    assert int(response.headers["Content-Length"]) == len(response.content) > 1000
    assert "max-age" in response.headers["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_a_static_file_is_served_from_the_event_loop_too(async_client: AsyncClient) -> None:
    response = await async_client.get(STATIC)
    assert response.status_code == 200
    assert len(response.content) > 1000


def test_a_static_file_that_the_browser_has_is_not_sent_again(client: Client) -> None:
    since = client.get(STATIC).headers["Last-Modified"]
    response = client.get(STATIC, headers={"if-modified-since": since})
    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.django_db
def test_people_are_sent_to_https_and_the_proxy_tells_the_scheme(client: Client, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert client.get("/admin/login/").status_code == 301
    assert client.get("/admin/login/", headers={"x-forwarded-proto": "https"}).status_code == 200
