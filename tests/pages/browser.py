"""Chromium as the tests drive it: its complaints, where it went, and pictures where somebody wants them.

`SCREENSHOTS=folder pytest tests/pages/test_browser.py` writes a picture of every page that the tests open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from consumers.models import User
from tests.servers import chromium_binary

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WIDE = (1440, 900)
NARROW = (390, 844)
FOLDER = os.environ.get("SCREENSHOTS", "")
LOOKS = {
    "wide-light": (WIDE, False),
    "phone-dark": (NARROW, True),
    "wide-dark": (WIDE, True),
    "phone-light": (NARROW, False),
}
"""Size of the window, and whether it is dark."""


def in_looks(*few: str) -> pytest.MarkDecorator:
    """Has a test run in these looks, as its `size` and `dark`; in all of them where pictures are wanted."""
    shown = list(LOOKS) if FOLDER else few
    return pytest.mark.parametrize(("size", "dark"), [LOOKS[look] for look in shown], ids=shown)


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window and without a network of its own."""
    return playwright.chromium.launch(executable_path=chromium_binary(), args=list(ARGUMENTS))


class Visit:
    """A page in a browser, and all that went wrong on it."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        page.on("console", lambda said: self._say(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self._say(str(error)))
        page.on("request", lambda request: self._went(request.url))
        page.on(
            "response",
            lambda answer: self._say(f"{answer.status} {answer.url}") if answer.status >= 400 else None,
        )

    def _say(self, text: str) -> None:
        self.complaints.append(f"{self.page.url}: {text}")

    def _went(self, url: str) -> None:
        parts = urlsplit(url)
        if (
            parts.scheme in {"http", "https", "ws", "wss"}
            and f"{parts.scheme}://{parts.netloc}" != self.origin
        ):
            self._say(f"a request to another host: {url}")

    def open(self, path: str) -> None:
        """Goes there and waits until nothing moves any more."""
        self.page.goto(f"{self.origin}{path}")
        self.page.wait_for_load_state("load")

    def shoot(self, name: str) -> None:
        """A picture of the whole page, where the environment names a folder for it."""
        if FOLDER:
            Path(FOLDER).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(FOLDER) / f"{name}.png", full_page=True)


@contextmanager
def visit(
    browser: Browser,
    origin: str,
    user: User | None = None,
    *,
    size: tuple[int, int] = WIDE,
    dark: bool = False,
) -> Iterator[Visit]:
    """A fresh browser window at `origin`, logged in as `user`."""
    context: BrowserContext = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        locale="en-US",
    )
    context.set_default_timeout(60_000)  # a machine that runs other tests beside may be slow
    if user is not None:
        client = Client()
        client.force_login(user)
        cookie = client.cookies[settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": origin}])
    try:
        yield Visit(context.new_page(), origin)
    finally:
        context.close()
