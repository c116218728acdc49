"""Who looks at the pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from playwright.sync_api import Browser, sync_playwright

from consumers.models import User
from tests.pages import world
from tests.pages.browser import launch


@pytest.fixture
def root(db: None) -> User:
    return world.superuser()


@pytest.fixture
def client_of_root(root: User) -> Client:
    """A browser in which a superuser is logged in."""
    client = Client()
    client.force_login(root)
    return client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for the tests of a module."""
    # Playwright leaves a running event loop in this thread, which Django takes for an asynchronous caller.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        chromium = launch(playwright)
        yield chromium
        chromium.close()
