"""relay/allowance.py: how many requests an API key may have under way, through the pipeline and by itself."""

from __future__ import annotations

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from redis.asyncio import Redis

from consumers.auth import Caller
from consumers.models import ApiKey
from providers.models import Endpoint
from relay import redis_leases
from relay.allowance import Allowance
from relay.errors import Refused
from relay.leases import Alone, Lease
from tests.relay.asks import ASKS, STREAMED, Ask
from tests.relay.harness import House, house
from tests.relay.test_leases import PREFIX, process
from tests.rude import Rude, rude
from usage.refusal import Rule

CHAT, STREAM = Ask("openai_chat"), Ask("openai_chat", stream=True)
PAUSED = "chunks-9.size-400.pause-60000.after-7.in-100.out-50"
"""It pauses in the middle, until the vendor is told to hurry."""
SAID = "This API key has 2 requests under way, as many as it may have: wait until one has ended."


def caller(limit: int | None = None, number: int = 1) -> Caller:
    return Caller(number, "laptop", 1, "alice", "digest", concurrency_limit=limit)


async def refused(allowance: Allowance, of: Caller) -> Refused:
    with pytest.raises(Refused) as found:
        await allowance.take(of, allowance.of(of))
    return found.value


async def test_an_api_key_has_as_many_as_it_may_and_others_are_no_part_of_them() -> None:
    allowance = Allowance(Alone(), 0)
    of = caller(12)
    leases = [await allowance.take(of, 12) for _ in range(12)]
    assert len({lease.id for lease in leases}) == 12
    told = await refused(allowance, of)
    assert (told.fault.code, told.rule, told.measured) == ("rate_limited", Rule.KEY_IN_FLIGHT, 12)
    assert 1 <= (told.retry_after or 0) <= 5
    await allowance.take(caller(1, number=2), 1)
    allowance.give_back(leases[0])
    await allowance.take(of, 12)


def test_the_relays_default_is_for_those_without_a_limit_of_their_own() -> None:
    assert (Allowance(Alone(), 0).of(caller()), Allowance(Alone(), 0).of(caller(3))) == (0, 3)
    assert (Allowance(Alone(), 5).of(caller()), Allowance(Alone(), 5).of(caller(9))) == (5, 9)


async def test_processes_with_one_redis_count_together_and_keep_nothing_for_others(
    redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "TIMEOUT", 5.0)
    async with Redis.from_url(redis) as client:
        await client.flushall()
        async with process(redis, "a") as (_, ours), process(redis, "b") as (_, theirs):
            here, there, of = Allowance(ours, 0), Allowance(theirs, 0), caller(10)
            leases: list[Lease] = [await here.take(of, 10) for _ in range(6)]
            for _ in range(4):
                await there.take(of, 10)
            assert (await refused(here, of)).measured == 10
            assert (await refused(there, of)).measured == 10
            here.give_back(leases.pop())
            async with asyncio.timeout(5):
                while await client.zcard(f"{PREFIX}slots:api_key:1") == 10:
                    await asyncio.sleep(0.005)
            await there.take(of, 10)


async def test_one_that_leaves_while_redis_is_asked_is_not_counted(
    redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "TIMEOUT", 5.0)
    async with Redis.from_url(redis) as client:
        await client.flushall()
    async with process(redis, "a") as (_, leases):
        allowance = Allowance(leases, 0)
        task = asyncio.create_task(allowance.take(caller(1), 1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        async with asyncio.timeout(5):
            while True:
                try:
                    await allowance.take(caller(1), 1)
                    break
                except Refused:
                    await asyncio.sleep(0.005)


# Through the pipeline


def two_at_a_time(_url: str) -> None:
    ApiKey.objects.update(concurrency_limit=2)


async def begun(client: Rude, each: House) -> None:
    await client.ask(STREAM.path(), STREAM.body(), {"x-api-key": each.secret})
    await client.head()
    await client.piece()


def told_so(ask: Ask, body: str) -> str:
    """What an error in the client's format says, once its shape is seen to be that of a rate limit."""
    error = json.loads(body)["error"]
    match ask.format:
        case "gemini":
            assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
        case "anthropic":
            assert error["type"] == "rate_limit_error"
        case _:
            assert error["code"] == "rate_limit_exceeded"
    return str(error["message"])


@pytest.mark.django_db(transaction=True)
async def test_beyond_its_limit_an_api_key_is_told_429_in_each_format_until_one_has_ended(door: str) -> None:
    async with house(door, prepare=two_at_a_time) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as one, rude(each.url) as two:
            await begun(one, each)
            await begun(two, each)
            for number, ask in enumerate(ASKS, 1):
                answer = await ask.send(each)
                assert answer.status_code == 429, str(ask)
                assert told_so(ask, answer.text) == SAID
                assert 1 <= int(answer.headers["retry-after"]) <= 5
                record = each.journal()[number - 1]["record"]
                assert (record["outcome"], record["status_code"], record["error_code"]) == (
                    "rejected", 429, "rate_limited",
                )  # fmt: skip
                assert record["explanation"] == {
                    "refused": {"rule": "key_in_flight", "measured": 2},
                    "retry_after": int(answer.headers["retry-after"]),
                }
                assert record["error_text"] == SAID
                assert record["list_cost"] == 0
            assert each.vendor.total == 2
            assert (await each.http.get("/v1/models")).status_code == 200
            each.vendor.hurry()
            await one.rest()
            await two.rest()
        each.vendor.script("in-100.out-50")
        for ask in (*ASKS, *STREAMED):
            assert (await ask.send(each)).status_code == 200, str(ask)
        await each.idle()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ending", ["left", "broken", "refused", "interrupted", "unread"])
async def test_whatever_ends_a_request_gives_its_place_back(door: str, ending: str) -> None:
    async with house(door, prepare=lambda _: ApiKey.objects.update(concurrency_limit=1)) as each:
        each.vendor.script("fault-reset.after-7" if ending == "broken" else PAUSED)
        async with rude(each.url) as client:
            match ending:
                case "left":
                    await begun(client, each)
                    client.leave()
                case "broken":
                    await begun(client, each)
                    await client.rest()
                case "refused":
                    assert (await CHAT.send(each, model="unheard-of")).status_code == 404
                case "interrupted":
                    await begun(client, each)
                    each.engine.interrupt("shutdown")
                    await client.rest()
                case "unread":
                    await client.ask(CHAT.path(), CHAT.body(), {"x-api-key": each.secret}, only=10)
                    client.leave()
        await each.idle()
        each.vendor.script("in-100.out-50")
        each.afresh()
        assert (await CHAT.send(each)).status_code == 200


@pytest.mark.django_db(transaction=True)
async def test_a_stream_that_is_drained_keeps_its_place(door: str) -> None:
    def prepare(_url: str) -> None:
        ApiKey.objects.update(concurrency_limit=1)
        Endpoint.objects.update(when_client_leaves="drain")

    async with house(door, prepare=prepare) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as client:
            await begun(client, each)
            client.leave()
            async with asyncio.timeout(5):
                while each.engine.sending:
                    await asyncio.sleep(0.005)
        assert (await CHAT.send(each)).status_code == 429
        each.vendor.hurry()
        await each.idle()


@pytest.mark.django_db(transaction=True)
async def test_the_default_and_a_limit_that_changes_are_obeyed(door: str) -> None:
    async with house(door, knobs={"key_in_flight": 1}) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as client:
            await begun(client, each)
            assert (await CHAT.send(each)).status_code == 429
            key = await ApiKey.objects.aget()
            key.concurrency_limit = 2
            await sync_to_async(key.save)()
            each.vendor.script("in-100.out-50")
            async with asyncio.timeout(5):
                while (await CHAT.send(each)).status_code == 429:
                    await asyncio.sleep(0.05)
            each.vendor.hurry()
            await client.rest()
        await each.idle()
