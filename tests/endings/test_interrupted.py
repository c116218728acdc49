"""Requests that we end ourselves: the API key is switched off in mid-stream, the process goes down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey, Consumer
from tests.counts import PROOF
from tests.endings.kit import (
    CHAT,
    DIALECTS,
    MICRO,
    Dialect,
    ask,
    blocked,
    clean_house,
    events,
    final_of,
    gone,
)
from tests.relay.harness import House
from tests.rude import Rude, rude

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = "chunks-2000.size-40.delay-10.in-100.out-50"
PACE = 50 if PROOF else 15
"""Milliseconds between frames: sixty of them take longer than it does to hear of a change."""
OBEYED = 2.0 if PROOF else 20.0
"""Seconds in which a change must be obeyed."""
AT_ONCE = 0.25 if PROOF else 5.0
"""Seconds in which upstream must see that a stream ended."""


def switch_off_key() -> None:
    key = ApiKey.objects.get()
    key.is_active = False
    key.save()


def delete_key() -> None:
    ApiKey.objects.get().delete()


def switch_off_consumer() -> None:
    Consumer.objects.update(is_active=False)


def expire_key() -> None:
    ApiKey.objects.update(expires_at="2020-01-01T00:00:00Z")


async def started(client: Rude, each: House, dialect: Dialect = CHAT) -> None:
    """A stream that has begun."""
    await ask(client, each, dialect)
    await client.head()
    while len(client.heard.body) < 3000:
        await client.piece()


@pytest.mark.parametrize("change", [switch_off_key, delete_key, switch_off_consumer, expire_key])
async def test_a_stream_ends_when_its_api_key_no_longer_works(door: str, change: Callable[[], None]) -> None:
    async with clean_house(door) as each:
        each.vendor.script(SLOW)
        async with rude(each.url) as client:
            await started(client, each)
            await sync_to_async(change)()
            changed = time.monotonic()
            answer = await client.rest()
            assert time.monotonic() - changed < OBEYED
            await gone(each.vendor.requests[-1], AT_ONCE)
        assert answer.whole
        assert CHAT.error in answer.body
        assert CHAT.end not in answer.body
        final = await final_of(each)
        record = final["record"]
        assert (record["outcome"], record["status_code"], record["error_code"]) == (
            "interrupted",
            200,
            "revoked",
        )
        assert record["output_tokens"] > 0
        assert record["list_cost"] == (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
        assert final["attempts"][0]["verdict"] == "interrupted"


async def test_every_dialect_is_told_that_it_was_interrupted(door: str) -> None:
    async def one(dialect: Dialect) -> None:
        async with rude(each.url) as client:
            await started(client, each, dialect)
            ready.release()
            answer = await client.rest()
        assert answer.whole
        assert dialect.error in answer.body
        assert dialect.end not in answer.body
        last = events(dialect, answer.body)[-1]
        assert "switched off" in str(last.get("error") or last["response"]["error"])

    async with clean_house(door) as each:
        each.vendor.script(SLOW)
        ready = asyncio.Semaphore(0)
        clients = [asyncio.create_task(one(dialect)) for dialect in DIALECTS.values()]
        for _ in clients:
            await ready.acquire()
        await sync_to_async(switch_off_key)()
        await asyncio.gather(*clients)
        finals = await each.settled(len(DIALECTS))
        assert {final["record"]["outcome"] for final in finals} == {"interrupted"}
        assert len(finals) == len(DIALECTS)


async def test_a_key_that_finishes_its_streams_lets_them_end(door: str) -> None:
    async with clean_house(door, prepare=lambda url: ApiKey.objects.update(finish_streams=True)) as each:
        each.vendor.script(f"chunks-60.size-40.delay-{PACE}.in-100.out-50")
        async with rude(each.url) as client:
            await started(client, each)
            await sync_to_async(switch_off_key)()
            answer = await client.rest()
        assert CHAT.end in answer.body
        assert (await final_of(each))["record"]["outcome"] == "ok"
        refused = await each.http.post(CHAT.path, json=CHAT.body)
        assert refused.status_code == 401


async def test_a_change_elsewhere_lets_a_stream_go_on(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(f"chunks-60.size-40.delay-{PACE}.in-100.out-50")
        async with rude(each.url) as client:
            await started(client, each)
            consumer = await Consumer.objects.acreate(name="bob")
            await sync_to_async(ApiKey.issue)(consumer=consumer, name="phone")
            await sync_to_async(Consumer.objects.filter(name="alice").update)(note="hers")
            answer = await client.rest()
        assert CHAT.end in answer.body


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_key_switched_off_before_the_first_byte_gets_an_error(door: str, stream: bool) -> None:
    async with clean_house(door) as each:
        each.vendor.script("fault-stall-head")
        async with rude(each.url) as client:
            await ask(client, each, stream=stream)
            await each.vendor.wait_for(1)
            await sync_to_async(switch_off_key)()
            changed = time.monotonic()
            answer = await client.rest()
            assert time.monotonic() - changed < OBEYED
        assert (answer.status, answer.whole) == (503, True)
        assert b"switched off" in answer.body
        record = (await final_of(each))["record"]
        assert (record["outcome"], record["status_code"], record["list_cost"]) == ("interrupted", 503, 0)


async def test_a_key_switched_off_after_the_silent_commit_is_told_in_the_stream(door: str) -> None:
    async with clean_house(door, knobs={"keep_alive": 0.05}) as each:
        each.vendor.script("fault-stall-head")
        async with rude(each.url) as client:
            await ask(client, each)
            await client.head()
            await sync_to_async(switch_off_key)()
            changed = time.monotonic()
            answer = await client.rest()
            assert time.monotonic() - changed < OBEYED
        assert (answer.status, answer.whole) == (200, True)
        assert CHAT.error in answer.body
        record = (await final_of(each))["record"]
        assert (record["outcome"], record["status_code"], record["list_cost"]) == ("interrupted", 200, 0)


async def test_a_key_switched_off_while_its_client_does_not_read_ends_in_time(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("chunks-2000.size-10000.in-100.out-50")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each)
            await client.head()
            await blocked(each)
            await sync_to_async(switch_off_key)()
            await gone(each.vendor.requests[-1], OBEYED)
            record = (await final_of(each))["record"]
            assert (record["outcome"], record["error_code"]) == ("interrupted", "revoked")
            assert record["list_cost"] > 0


async def test_a_busy_stream_is_interrupted_too(door: str) -> None:
    """Its client reads as fast as it can, and we wait for it again and again."""
    async with clean_house(door) as each:
        each.vendor.script("chunks-1200.size-20000.in-100.out-50")
        async with rude(each.url) as client:
            await ask(client, each)
            await client.head()
            reading = asyncio.create_task(client.rest())
            await asyncio.sleep(0.1)
            each.engine.interrupt("shutdown")
            answer = await reading
        assert answer.whole
        assert CHAT.error in answer.body[-1000:]
        record = (await final_of(each))["record"]
        assert (record["outcome"], record["error_code"]) == ("interrupted", "shutdown")


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
async def test_a_stream_is_told_that_the_process_goes_down(door: str, dialect: Dialect) -> None:
    async with clean_house(door) as each:
        each.vendor.script(SLOW)
        async with rude(each.url) as client:
            await started(client, each, dialect)
            each.engine.interrupt("shutdown")
            answer = await client.rest()
        assert answer.whole
        assert dialect.error in answer.body
        assert dialect.end not in answer.body
        record = (await final_of(each))["record"]
        assert (record["outcome"], record["status_code"], record["error_code"]) == (
            "interrupted",
            200,
            "shutdown",
        )
        assert record["list_cost"] > 0


async def test_closing_the_engine_ends_every_request_in_its_own_way(door: str) -> None:
    """In mid-stream, before the first byte, with a client that does not read, in the middle of a body."""
    async with clean_house(door) as each:
        each.vendor.script([SLOW, "fault-stall-head", "chunks-2000.size-10000"])
        async with (
            rude(each.url) as streaming,
            rude(each.url) as waiting,
            rude(each.url, stubborn=True) as stubborn,
            rude(each.url) as half,
        ):
            await started(streaming, each)
            await ask(waiting, each)
            await each.vendor.wait_for(2)
            await ask(stubborn, each)
            await stubborn.head()
            await blocked_one(each)
            await ask(half, each, only=20)
            began = time.monotonic()
            each.engine.interrupt("shutdown")
            answers = [await client.rest() for client in (streaming, waiting)]
            finals = await each.settled(3)
            assert time.monotonic() - began < OBEYED
            assert [answer.status for answer in answers] == [200, 503]
            assert CHAT.error in answers[0].body
            records = sorted((final["record"] for final in finals), key=lambda each: str(each["request_id"]))
            assert [(record["outcome"], record["status_code"]) for record in records[:3]] == [
                ("interrupted", 200),
                ("interrupted", 503),
                ("interrupted", 200),
            ]


async def blocked_one(each: House) -> None:
    """Waits until one of several open requests waits for its client."""
    async with asyncio.timeout(10):
        while not any(_held(ctx) for ctx in each.engine.open):
            await asyncio.sleep(0.01)


def _held(ctx: Any) -> bool:
    return ctx.blocked_since is not None and time.monotonic() - ctx.blocked_since > 0.1
