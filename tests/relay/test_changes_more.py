"""Changes are obeyed by whichever method of the ORM they were made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey, Consumer
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


WAYS = {"save": by_save, "update": by_update, "bulk": by_bulk}


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
            await sync_to_async(way)(model, on=False)
            await obeyed(answers(each, status))
            asked = each.vendor.total
            assert (await ask(each)).status_code == status
            assert each.vendor.total == asked
            await sync_to_async(way)(model, on=True)
            await obeyed(answers(each, 200))


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
