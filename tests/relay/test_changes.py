"""What an operator changes is obeyed within two seconds, however it was changed; and what happens while the
database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, transaction
from django.test import Client
from django.urls import reverse

from changes.models import Change
from consumers.models import ApiKey, Consumer, User
from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay import engine
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

HELLO: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": "hello"}]}
OBEYED = 2.0
STEP = 0.02


async def ask(each: House, model: str = "sim", **headers: str) -> httpx.Response:
    return await each.http.post("/v1/chat/completions", json={**HELLO, "model": model}, headers=headers)


async def obeyed(happened: Callable[[], Awaitable[bool]]) -> None:
    """Waits until something is so, and asserts that this took no longer than it may."""
    began = time.monotonic()
    while not await happened():
        assert time.monotonic() - began < OBEYED
        await asyncio.sleep(STEP)
    assert time.monotonic() - began < OBEYED


def answers(each: House, status: int, model: str = "sim") -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return (await ask(each, model)).status_code == status

    return asked


def by_save(model: type[Any], *, on: bool) -> None:
    row = model.objects.get()
    row.is_active = on
    row.save()


def by_update(model: type[Any], *, on: bool) -> None:
    model.objects.filter(is_active=not on).update(is_active=on)


def by_bulk(model: type[Any], *, on: bool) -> None:
    rows = list(model.objects.all())
    for row in rows:
        row.is_active = on
    model.objects.bulk_update(rows, ["is_active"])


def by_admin(model: type[Any], *, on: bool) -> None:
    user = User.objects.filter(username="root").first() or User.objects.create_superuser(
        "root", "", "pass word"
    )
    browser = Client()
    browser.force_login(user)
    meta = model._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist")
    ids = [str(row.pk) for row in model.objects.all()]
    answer = browser.post(url, {"action": "enable" if on else "disable", "_selected_action": ids})
    assert answer.status_code == 302


WAYS = {"save": by_save, "update": by_update, "bulk": by_bulk, "admin": by_admin}


@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
async def test_switching_off_and_on_again_is_obeyed(
    door: str, way: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POLL", 0.05)  # fourteen changes, which need not wait a second each
    async with house(door, formats=["openai_chat"]) as each:
        assert (await ask(each)).status_code == 200
        for model, status in (
            (ApiKey, 401),
            (Consumer, 401),
            (Provider, 503),
            (Endpoint, 503),
            (Key, 503),
            (Model, 404),
            (Deployment, 503),
        ):
            if way is by_admin and model is Consumer:
                continue  # switched on its own page
            await sync_to_async(way)(model, on=False)
            await obeyed(answers(each, status))
            asked = each.vendor.total
            assert (await ask(each)).status_code == status
            assert each.vendor.total == asked
            await sync_to_async(way)(model, on=True)
            await obeyed(answers(each, 200))


async def test_a_new_price_is_charged(door: str) -> None:
    async def costs(pico: int) -> bool:
        await ask(each, "sim.in-100.out-50")
        return bool(each.journal()[-1]["record"]["list_cost"] == pico)

    async with house(door, models=["sim.in-100.out-50"]) as each:
        assert await costs(200_000_000)
        before = len(each.journal())
        await Model.objects.aupdate(price_input=Decimal("0.5"))
        await obeyed(lambda: costs(150_000_000))
        sources = {final["price"]["hash"] for final in each.journal()}
        assert len(sources) == 2
        assert all(final["record"]["list_cost"] for final in each.journal()[:before])


async def test_a_new_alias_name_and_model_are_known(door: str) -> None:
    def add() -> None:
        model = Model.objects.create(name="fresh", price_input="1", price_output="1")
        Deployment.objects.create(model=model, provider=Provider.objects.get(), upstream_name="sim")

    async with house(door) as each:
        assert (await ask(each, "newest")).status_code == 404
        await Model.objects.filter(name="sim").aupdate(aliases=["newest"])
        await obeyed(answers(each, 200, "newest"))
        assert each.journal()[-1]["record"]["model_name"] == "sim"
        assert (await ask(each, "fresh")).status_code == 404
        await sync_to_async(add)()
        await obeyed(answers(each, 200, "fresh"))
        listed = (await each.http.get("/v1/models")).json()["data"]
        assert {entry["id"] for entry in listed} == {"sim", "fresh"}
        await Model.objects.filter(name="sim").aupdate(aliases=[])
        await obeyed(answers(each, 404, "newest"))
        await Model.objects.filter(name="fresh").adelete()
        await obeyed(answers(each, 404, "fresh"))


async def test_a_better_deployment_is_used(door: str) -> None:
    def add() -> None:
        provider = Provider.objects.create(name="better", priority=1)
        Endpoint.objects.create(
            provider=provider, format="openai_chat", base_url=each.vendor.url + "/v1", allow_private=True
        )
        key = Key(provider=provider, name="k")
        key.set_secret("sk-better-vendor-key")
        key.save()
        Deployment.objects.create(model=Model.objects.get(), provider=provider, upstream_name="sim")

    async def served_by_better() -> bool:
        await ask(each)
        return each.vendor.requests[-1].secret == "sk-better-vendor-key"

    async with house(door) as each:
        assert not await served_by_better()
        await sync_to_async(add)()
        await obeyed(served_by_better)
        assert each.journal()[-1]["record"]["provider_name"] == "better"


async def test_a_new_upstream_secret_is_used(door: str) -> None:
    def renew() -> None:
        key = Key.objects.get()
        key.set_secret("sk-vendor-renewed-key")
        key.save()

    async def renewed() -> bool:
        await ask(each)
        return each.vendor.requests[-1].secret == "sk-vendor-renewed-key"

    async with house(door) as each:
        assert not await renewed()
        await sync_to_async(renew)()
        await obeyed(renewed)


async def test_a_new_api_key_works_at_once_although_it_was_tried_before(door: str) -> None:
    def issue() -> str:
        return ApiKey.issue(consumer=Consumer.objects.get(), name="phone")[1]

    async with house(door) as each:
        secret = await sync_to_async(issue)()
        assert (await ask(each, **{"x-api-key": secret})).status_code == 200
        await ApiKey.objects.filter(name="phone").aupdate(is_active=False)

        async def refused() -> bool:
            return (await ask(each, **{"x-api-key": secret})).status_code == 401

        await obeyed(refused)
        await ApiKey.objects.filter(name="phone").aupdate(is_active=True)

        async def let_in() -> bool:
            return not await refused()

        await obeyed(let_in)


async def test_many_changes_at_once_are_obeyed_as_fast(door: str) -> None:
    """An import touches thousands of rows; the API key among the last of them must not wait for its turn."""

    def import_many() -> None:
        with transaction.atomic():
            Change.objects.bulk_create(Change(kind="apikey", object_id=str(10_000 + n)) for n in range(5_000))
            ApiKey.objects.update(is_active=False)

    async with house(door) as each:
        assert (await ask(each)).status_code == 200
        await sync_to_async(import_many)()
        await obeyed(answers(each, 401))


async def test_while_the_database_is_away_known_callers_go_on(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*args: object) -> object:
        raise OperationalError("the database is away")

    async with house(door) as each:
        stranger = await sync_to_async(lambda: ApiKey.issue(consumer=Consumer.objects.get(), name="x")[1])()
        assert (await ask(each)).status_code == 200
        monkeypatch.setattr(each.engine, "in_thread", away)
        async with asyncio.timeout(3):
            while not each.engine.degraded:
                await asyncio.sleep(STEP)
        for _ in range(3):
            assert (await ask(each)).status_code == 200
        refused = await ask(each, **{"x-api-key": stranger})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "looked up" in refused.json()["error"]["message"]
        assert len(each.journal()) == 4
        monkeypatch.undo()

        async def let_in() -> bool:
            return (await ask(each, **{"x-api-key": stranger})).status_code == 200

        await obeyed(let_in)
        await Model.objects.filter(name="sim").aupdate(aliases=["again"])
        await obeyed(answers(each, 200, "again"))
        assert not each.engine.degraded
