"""Faults of our own that no other test shows: the clock jumps, an operator edits or deletes what a request
uses, the tables are already those of the next release."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from changes.feed import latest
from providers.models import Deployment, Endpoint, Key, Model
from simulator.compose import TEXT
from tests.endings.kit import MICRO
from tests.endings.test_canary import applied
from tests.faults.stage import Stage, assert_clean, cooling, stage
from tests.relay.asks import STREAMED, WHOLE, Ask, ends, text
from tests.relay.harness import house
from tests.rude import Rude, rude
from usage.models import Attempt, Record

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = WHOLE[0]
SLOW = "chunks-40.delay-25"
HOUR = 3600.0


async def started(client: Rude, on: Stage, ask: Ask) -> None:
    """A stream that has begun."""
    headers = {"x-api-key": on.house.secret, **ask.headers}
    await client.ask(ask.path(), ask.body(), headers)
    await client.head()
    await client.piece()


async def finished(client: Rude, ask: Ask) -> None:
    """It goes on to its own end, with every word."""
    answer = await client.rest()
    assert answer.whole
    assert text(ask, answer.body.decode()) == TEXT
    assert ends(ask, answer.body.decode())


@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
async def test_a_clock_that_jumps_changes_no_duration_and_no_cooldown(
    door: str, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = time.time
    async with stage(door) as on:
        on.house.vendor.script(["fault-429.retry-100", SLOW], secret="sk-vendor-first-key-1")
        assert_clean(CHAT, await CHAT.send(on.house))
        on.house.engine.affinity._pins.clear()
        on.house.vendor.script(SLOW, secret="sk-second-key-number-1")
        asking = STREAMED[2]
        async with rude(on.house.url) as client:
            await started(client, on, asking)
            monkeypatch.setattr(time, "time", lambda: true() + jump)
            await finished(client, asking)
        assert_clean(CHAT, await CHAT.send(on.house))
        (held, *_) = on.held(CHAT)
        assert held == cooling(held.cooling)
        assert 80 < held.cooling <= 100
        streamed, after = (final["record"] for final in (await on.house.settled(3))[1:])
        assert (streamed["outcome"], after["outcome"]) == ("ok", "ok")
        assert 0 <= streamed["first_token_ms"] <= streamed["total_ms"] < 10_000
        assert 0 <= after["total_ms"] < 10_000
        assert abs((after["started_at"] - streamed["started_at"]) / 1000 - jump) < 10
        monkeypatch.setattr(time, "time", true)


async def test_a_request_finishes_on_the_configuration_it_began_with(door: str) -> None:
    def edit() -> None:
        Endpoint.objects.filter(provider__name="vendor").update(base_url="http://127.0.0.1:9/v1")
        Model.objects.update(price_input="7", price_output="7")
        Deployment.objects.filter(provider__name="vendor").delete()

    async with stage(door) as on:
        before = on.house.engine.catalog.revision
        for number, ask in enumerate(STREAMED[:1], 1):
            on.house.vendor.script(SLOW, secret="sk-vendor-first-key-1")
            async with rude(on.house.url) as client:
                await started(client, on, ask)
                await sync_to_async(edit)()
                edited, newest = time.monotonic(), await sync_to_async(latest)()
                await finished(client, ask)
            record = (await on.house.settled(number))[-1]["record"]
            assert (record["outcome"], record["provider_name"]) == ("ok", "vendor")
            assert record["config_revision"] == before < newest
            assert record["list_cost"] == (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
        while on.house.engine.catalog.revision < newest:
            assert time.monotonic() - edited < 2
            await asyncio.sleep(0.02)
        assert_clean(CHAT, await CHAT.send(on.house))
        record = on.house.journal()[-1]["record"]
        assert (record["provider_name"], record["config_revision"]) == ("second", newest)
        assert record["list_cost"] == 7 * (record["input_tokens"] + record["output_tokens"]) * MICRO


async def test_a_stream_outlives_the_upstream_key_it_runs_on(door: str) -> None:
    async with stage(door) as on:
        on.house.vendor.script(SLOW, secret="sk-vendor-first-key-1")
        revision = on.house.engine.catalog.revision
        async with rude(on.house.url) as client:
            await started(client, on, STREAMED[0])
            await sync_to_async(Key.objects.filter(pk=on.keys[0]).delete)()
            async with asyncio.timeout(2):
                while on.house.engine.catalog.revision == revision:
                    await asyncio.sleep(0.02)
            await finished(client, STREAMED[0])
        (final,) = await on.house.settled()
        (attempt,) = final["attempts"]
        assert final["record"]["outcome"] == "ok"
        assert final["record"]["key_id"] == attempt["key_id"] == on.keys[0]
        assert (attempt["key_name"], attempt["verdict"]) == ("key-1", "ok")
        assert_clean(CHAT, await CHAT.send(on.house))
        assert on.house.journal()[-1]["attempts"][0]["provider_name"] == "second"


def _altered(statement: Callable[[str], str]) -> None:
    with connection.cursor() as cursor:
        for kind in (Record, Attempt, Key, Endpoint, Model):
            cursor.execute(statement(connection.ops.quote_name(kind._meta.db_table)))


def expand() -> None:
    """The first step of a migration to the next release: columns that the running one does not know."""
    _altered(lambda table: f"ALTER TABLE {table} ADD COLUMN of_the_next_release varchar(20) DEFAULT 'new'")


def contract() -> None:
    """The tables as they were."""
    _altered(lambda table: f"ALTER TABLE {table} DROP COLUMN of_the_next_release")


@pytest.mark.database
async def test_the_running_release_goes_on_when_the_tables_are_those_of_the_next(door: str) -> None:
    async with house(door) as each:
        try:
            await sync_to_async(expand)()
            await sync_to_async(Key.objects.update)(priority=5)
            newest = await sync_to_async(latest)()
            async with asyncio.timeout(3):
                while each.engine.catalog.revision < newest:
                    await asyncio.sleep(0.02)
            for ask in (*WHOLE, *STREAMED):
                assert_clean(ask, await ask.send(each))
            await each.settled(9)
            await sync_to_async(applied)(each.data_dir)
            assert await Record.objects.filter(outcome="ok").acount() == 9
            assert await Attempt.objects.acount() == 9
        finally:
            await sync_to_async(contract)()
