"""Whatever an operator changes is obeyed within two seconds of its commit, at both doors, without a restart;
and a database that is away stops nobody who was here before (pains.md, 13 and 16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model as Row
from django.http import HttpRequest
from django.test import Client

from consumers.models import ApiKey, Consumer
from providers.models import Deployment, Key, Model, Provider
from relay import views
from relay.door import BodyLimit
from tests.counts import PROOF
from tests.pages import world
from tests.pages.test_forms import MODEL, management
from tests.relay.asks import WHOLE
from tests.relay.harness import House, django_application, house, served

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN = 2.0 if PROOF else 30.0
"""Seconds. Only the proof, which has the machine for itself, holds the promise to its word."""
FIRST, SECOND, NEW = "sk-vendor-first-key-1", "sk-vendor-second-key-2", "sk-vendor-new-key-3"
UNKNOWN = "sk-aether-created-only-later-0123456789"
BUTTON = {"_form_submitted": "True"}


@dataclass
class Doors:
    """One relay with both doors open: an engine, and a client for each door."""

    house: House
    clients: tuple[httpx.AsyncClient, ...]

    async def ask(self, model: str = "sim", secret: str = "") -> list[httpx.Response]:
        """The answers of both doors to one question."""
        headers = {"x-api-key": secret or self.house.secret}
        return [
            await each.post(WHOLE[0].path(), json=WHOLE[0].body(model), headers=headers)
            for each in self.clients
        ]

    async def statuses(self, model: str = "sim", secret: str = "") -> list[int]:
        return [each.status_code for each in await self.ask(model, secret)]


@asynccontextmanager
async def both_doors(**options: Any) -> AsyncIterator[Doors]:
    async with (
        house("asgi", keys=(FIRST, SECOND), **options) as each,
        served(BodyLimit(django_application())) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as second,
    ):
        yield Doors(each, (each.http, second))


def press(row: Row, button: str, browser: Client) -> None:
    """Presses a button of a row's page."""
    base = world.address(type(row), "change", row.pk).removesuffix("change/")
    assert browser.post(f"{base}{button}/", BUTTON).status_code < 400


def fill(page: str, posted: dict[str, Any], browser: Client) -> None:
    """Fills and saves a form."""
    answer = browser.post(page, posted)
    errors = answer.context["errors"] if answer.status_code == 200 and "errors" in answer.context else ()
    assert not errors, errors


def fill_model(browser: Client, **columns: str) -> None:
    posted = {**MODEL, **management("deployments"), "name": "sim", "price_input": "1", "price_output": "2"}
    fill(world.address(Model, "change", Model.objects.get(name="sim").pk), {**posted, **columns}, browser)


@dataclass(frozen=True)
class Edit:
    """A change of the tables, made in either way, and how it shows before and after."""

    name: str
    orm: Callable[[], object]
    admin: Callable[[Client], object]
    shows: Callable[[Doors], Awaitable[Any]]
    before: Any
    after: Any

    def __str__(self) -> str:
        return self.name


def switch_off(kind: type[Any], **which: Any) -> tuple[Callable[[], object], Callable[[Client], object]]:
    """Both ways to switch a row off."""

    def orm() -> None:
        row = kind.objects.get(**which)
        row.is_active = False
        row.save()

    return orm, lambda browser: press(kind.objects.get(**which), "disable", browser)


def add_key(secret: str) -> None:
    ApiKey.issue(consumer=Consumer.objects.get(), name="new", secret=secret)


def add_key_by_form(browser: Client) -> None:
    posted = {"consumer": Consumer.objects.get().pk, "name": "new", "is_active": "on", "recording": "none"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("consumers.admin.new_secret", lambda: UNKNOWN)
        fill(world.address(ApiKey, "add"), posted, browser)


def replace_secret() -> None:
    key = Key.objects.get(name="key-1")
    key.set_secret(NEW)
    key.save()


def replace_secret_by_form(browser: Client) -> None:
    posted = {
        "name": "key-1", "secret": NEW, "is_active": "on", "priority": "0", "weight": "1",
        "cost_multiplier": "1", "affinity_seconds": "300", **management("state"),
    }  # fmt: skip
    fill(world.address(Key, "change", Key.objects.get(name="key-1").pk), posted, browser)


def add_alias() -> None:
    model = Model.objects.get(name="sim")
    model.aliases = ["sim-latest"]
    model.save()


def deploy() -> None:
    Deployment.objects.create(
        model=Model.objects.get(name="bare"), provider=Provider.objects.get(), upstream_name="sim"
    )


def deploy_by_form(browser: Client) -> None:
    posted = {
        "model": Model.objects.get(name="bare").pk, "provider": Provider.objects.get().pk,
        "upstream_name": "sim", "is_active": "on",
    }  # fmt: skip
    fill(world.address(Deployment, "add"), posted, browser)


async def status(doors: Doors) -> list[int]:
    return await doors.statuses()


async def secrets_used(doors: Doors) -> list[str]:
    """With which secret upstream is asked."""
    await doors.ask()
    return [seen.secret for seen in list(doors.house.vendor.requests)[-2:]]


async def output_price(doors: Doors) -> list[int]:
    """Pico-dollars that a record bills for a token of output."""
    await doors.ask()
    finals = [final["record"] for final in doors.house.journal()[-2:]]
    return [
        (each["list_cost"] - each["input_tokens"] * 1_000_000) // each["output_tokens"] for each in finals
    ]


async def with_other(doors: Doors) -> list[int]:
    return await doors.statuses(secret=UNKNOWN)


EDITS = (
    Edit("secret replaced", replace_secret, replace_secret_by_form, secrets_used, [FIRST] * 2, [NEW] * 2),
    Edit(
        "price changed", lambda: Model.objects.filter(name="sim").update(price_output=Decimal(7)),
        lambda browser: fill_model(browser, price_output="7"), output_price, [2_000_000] * 2, [7_000_000] * 2,
    ),
    Edit(
        "alias added", add_alias, lambda browser: fill_model(browser, aliases="sim-latest"),
        lambda doors: doors.statuses("sim-latest"), [404] * 2, [200] * 2,
    ),
    Edit(
        "deployment added", deploy, deploy_by_form, lambda doors: doors.statuses("bare"), [404] * 2, [200] * 2
    ),
    Edit("API key created", lambda: add_key(UNKNOWN), add_key_by_form, with_other, [401] * 2, [200] * 2),
    Edit("key disabled", *switch_off(Key, name="key-1"), secrets_used, [NEW] * 2, [SECOND] * 2),
    Edit("provider disabled", *switch_off(Provider, name="vendor"), status, [200] * 2, [503] * 2),
    Edit("API key disabled", *switch_off(ApiKey, name="laptop"), status, [503] * 2, [401] * 2),
    Edit("consumer disabled", *switch_off(Consumer, name="alice"), with_other, [503] * 2, [401] * 2),
)  # fmt: skip
"""One after the other, on one relay: each is made when the one before is obeyed."""


def prepare(_: str) -> None:
    Model.objects.create(name="bare", price_input=1, price_output=2)


def browser_of_root() -> Client:
    browser = Client()
    browser.force_login(world.superuser())
    return browser


@pytest.mark.parametrize("by", ["orm", "admin"])
async def test_each_change_is_obeyed_within_two_seconds_of_its_commit(by: str) -> None:
    browser = await sync_to_async(browser_of_root)()
    async with both_doors(prepare=prepare) as doors:
        for edit in EDITS:
            assert await edit.shows(doors) == edit.before, edit.name
            if by == "orm":
                await sync_to_async(edit.orm)()
            else:
                await sync_to_async(edit.admin)(browser)
            await obeyed(partial(edit.shows, doors), edit.after, edit.name)


async def obeyed(shows: Callable[[], Awaitable[Any]], wanted: Any, what: str) -> None:
    """Waits for what a change, just made, must show; fails where that takes too long."""
    committed = time.monotonic()
    while (shown := await shows()) != wanted:
        assert time.monotonic() - committed < WITHIN, f"{what}: {shown}"
        await asyncio.sleep(0.02)


class Database:
    """A database that can be taken away: every connection that the process has or wants fails."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def leave(self) -> None:
        def refused(*args: Any, **options: Any) -> None:
            raise OperationalError("the database is away")

        self._patch.setattr(BaseDatabaseWrapper, "connect", refused)
        self._patch.setattr(BaseDatabaseWrapper, "_cursor", refused)

    def come_back(self) -> None:
        self._patch.undo()


@pytest.fixture
def database() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        yield Database(patch)


async def reached(condition: Callable[[], bool], within: float = 5) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def test_callers_that_are_known_go_on_while_the_database_is_away(database: Database) -> None:
    async with both_doors() as doors:
        engine = doors.house.engine
        api_key, unused = await sync_to_async(ApiKey.issue)(
            consumer=await Consumer.objects.aget(), name="never used"
        )
        await doors.ask()
        database.leave()
        await reached(lambda: engine.degraded)
        ready = await views.readyz(HttpRequest())
        assert (ready.status_code, ready.content) == (200, b"ready, degraded\n")
        assert await doors.statuses() == [200, 200]
        for secret in (UNKNOWN, unused):
            for answer in await doors.ask(secret=secret):
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) > 0
                assert answer.json()["error"]["code"]
        database.come_back()
        await reached(lambda: not engine.degraded)
        assert (await views.readyz(HttpRequest())).content == b"ready\n"
        assert await doors.statuses() == [200, 200]
        assert await doors.statuses(secret=UNKNOWN) == [401, 401]
        assert await doors.statuses(secret=unused) == [200, 200]
        await sync_to_async(api_key.delete)()
        await obeyed(partial(doors.statuses, secret=unused), [401, 401], "API key deleted")


async def test_a_change_made_behind_our_back_is_obeyed_once_the_database_is_back(database: Database) -> None:
    async with both_doors() as doors:
        engine = doors.house.engine
        assert await doors.statuses() == [200, 200]
        database.leave()
        await reached(lambda: engine.degraded)
        with pytest.MonkeyPatch.context() as patch:  # the rest of the world still sees it
            patch.setattr(engine, "in_thread", _away)
            database.come_back()
            await sync_to_async(ApiKey.objects.filter(name="laptop").update)(is_active=False)
            assert await doors.statuses() == [200, 200]
        await obeyed(doors.statuses, [401, 401], "API key disabled")


async def _away(*args: Any) -> None:
    raise OperationalError("the database is away")


async def test_callers_are_not_believed_for_ever_without_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.auth.STALE_SECONDS", 0.5)
    async with both_doors() as doors:
        assert await doors.statuses() == [200, 200]
        database.leave()
        async with asyncio.timeout(5):
            while await doors.statuses() != [503, 503]:
                await asyncio.sleep(0.05)
        database.come_back()
        assert await doors.statuses() == [200, 200]
