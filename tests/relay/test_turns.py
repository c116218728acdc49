"""relay/turns.py: retry budgets, limits of concurrency and those who wait, through the whole relay."""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey, Consumer
from providers import states
from providers.machine import KeyState
from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay.breaker import Rules
from relay.retries import pause
from tests.counts import count
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, error
from tests.relay.harness import House, house
from tests.relay.test_attempts import more_providers
from wire.types import GENERATE

pytestmark = pytest.mark.django_db(transaction=True)

CHAT, CHAT_STREAM = WHOLE[0], STREAMED[0]
ONE, TWO, THREE = "sk-vendor-first-key-1", "sk-vendor-second-key-2", "sk-vendor-third-key-3"


def limits(**concurrency: int) -> Callable[[str], None]:
    """Sets limits: of `key`, `endpoint`, `provider`, or of a key by its name."""

    def prepare(_url: str) -> None:
        for name, value in concurrency.items():
            match name:
                case "key":
                    Key.objects.update(concurrency_limit=value)
                case "endpoint":
                    Endpoint.objects.update(concurrency_limit=value)
                case "provider":
                    Provider.objects.update(concurrency_limit=value)
                case _:
                    Key.objects.filter(name=name.replace("_", "-")).update(concurrency_limit=value)

    return prepare


async def another(each: House, name: str = "bob") -> dict[str, str]:
    """The headers of another consumer."""

    def issue() -> str:
        return ApiKey.issue(consumer=Consumer.objects.create(name=name), name="laptop")[1]

    return {"x-api-key": await sync_to_async(issue)()}


async def holding(each: House, number: int, ask: Ask = CHAT_STREAM, **more: Any) -> list[asyncio.Task[Any]]:
    """Requests that are answered, but not to the end: each holds its slot."""
    before = len(each.engine.in_flight.slots)
    tasks = [asyncio.create_task(ask.send(each, **more)) for _ in range(number)]
    await each.vendor.wait_for(before + number)
    return tasks


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# Retries


async def test_where_every_upstream_fails_few_retries_are_added() -> None:
    offered = count(50, 2_000)
    knobs = {"retry_tokens": 50 if offered < 500 else 500}
    async with house("asgi", keys=(ONE, TWO, THREE), knobs=knobs) as each:
        each.vendor.script(["fault-503"])
        gate = asyncio.Semaphore(10)

        async def ask() -> int:
            async with gate:
                return (await CHAT.send(each)).status_code

        statuses = await asyncio.gather(*(ask() for _ in range(offered)))
        assert set(statuses) == {503}
        assert each.vendor.total <= 1.2 * offered
        await each.idle()


async def test_a_retry_that_the_budget_does_not_allow_is_explained(door: str) -> None:
    async with house(door, keys=(ONE, TWO), knobs={"retry_tokens": 0}) as each:
        each.vendor.script(["fault-500"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 502
        (final,) = await each.settled()
        skipped = final["record"]["explanation"]["skipped"]
        assert [(row["key"], row["reason"]) for row in skipped] == [("key-2", "retry budget spent")]
        assert len(final["attempts"]) == 1


@pytest.mark.parametrize(("keys", "skipped"), [((ONE, TWO), ["key-2"]), ((ONE,), ["key-1"])])
@pytest.mark.parametrize("ask", ASKS, ids=str)
async def test_an_api_key_that_wants_no_failover_is_told_of_the_first_failure(
    ask: Ask, keys: tuple[str, ...], skipped: list[str]
) -> None:
    def opted_out(_url: str) -> None:
        ApiKey.objects.update(failover=False)

    async with house("asgi", keys=keys, prepare=opted_out) as each:
        each.vendor.script(["fault-500", "ok"])
        answer = await ask.send(each)
        assert answer.status_code == 502
        error(ask, answer.text)
        (final,) = await each.settled()
        told = [(row["key"], row["reason"]) for row in final["record"]["explanation"]["skipped"]]
        assert told == [(key, "its API key wants no other") for key in skipped]
        assert len(final["attempts"]) == each.vendor.total == 1


async def test_one_dead_key_of_three_is_never_noticed() -> None:
    offered = count(50, 2_000)
    async with house("asgi", keys=(ONE, TWO, THREE)) as each:
        each.vendor.script(["fault-503"], secret=ONE)
        gate = asyncio.Semaphore(40)

        async def ask() -> int:
            async with gate:
                return (await CHAT.send(each)).status_code

        statuses = await asyncio.gather(*(ask() for _ in range(offered)))
        assert statuses.count(200) >= 0.999 * offered
        await each.idle()


@pytest.mark.parametrize(("keys", "pauses"), [((ONE, TWO), []), ((ONE,), [0.25])])
async def test_only_the_same_target_is_waited_for(
    door: str, keys: tuple[str, ...], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def noted(again: int, chance: float) -> float:
        seen.append(pause(again, 1.0))
        return 0.0

    monkeypatch.setattr("relay.turns.pause", noted)
    async with house(door, keys=keys) as each:
        each.vendor.script(["fault-500", "ok"])
        assert (await CHAT.send(each)).status_code == 200
        assert each.vendor.total == 2
        assert seen == pauses


async def test_no_key_is_tried_twice_under_whatever_name_the_model_goes_there(door: str) -> None:
    def prepare(_url: str) -> None:
        model, provider = Model.objects.get(), Provider.objects.get()
        Deployment.objects.create(model=model, provider=provider, upstream_name="sim-too")

    async with house(door, keys=(ONE, TWO), prepare=prepare) as each:
        each.vendor.script(["fault-429"])
        assert (await CHAT.send(each)).status_code == 429
        (final,) = await each.settled()
        assert sorted(row["key_name"] for row in final["attempts"]) == ["key-1", "key-2"]
        skipped = [row["reason"] for row in final["record"]["explanation"]["skipped"]]
        assert skipped == ["its key was tried already"] * 2


async def test_a_key_that_went_out_of_service_meanwhile_is_not_failed_over_to(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["wait-200.fault-500"], secret=ONE)
        _, second = each.engine.catalog.candidates("sim", "openai_chat")
        late = asyncio.create_task(CHAT.send(each))
        await each.vendor.wait_for(1)
        each.engine.monitor.failed(second.target, "throttled", 30.0, GENERATE)
        assert (await late).status_code == 502
        assert [seen.secret for seen in each.vendor.requests] == [ONE]
        (final,) = await each.settled()
        (row,) = final["record"]["explanation"]["skipped"]
        assert (row["key"], row["reason"]) == ("key-2", "key: cooling")


async def test_requests_that_fail_over_at_once_send_one_probe(door: str) -> None:
    """A breaker whose opening has passed lets one of them through, whoever the plan began with."""
    rules = Rules(first_opening=0.01, jitter=0)
    async with house(door, keys=(ONE, TWO), rules=rules) as each:
        _, second = each.engine.catalog.candidates("sim", "openai_chat")
        for _ in range(5):
            each.engine.monitor.failed(second.target, "server_error", None, GENERATE)
        each.engine.health.recover("endpoint", second.target.endpoint_id)  # it is the key that fails
        await asyncio.sleep(0.02)
        each.vendor.script(["wait-200.fault-500"], secret=ONE)
        each.vendor.script(["wait-200"], secret=TWO)
        answers = await asyncio.gather(*(CHAT.send(each) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 502, 502, 502]
        assert [seen.secret for seen in each.vendor.requests].count(TWO) == 1


async def test_where_its_endpoint_gives_too_little_time_no_further_attempt_begins(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.update(total_timeout=1.5)

    async with house(door, keys=(ONE, TWO), prepare=prepare) as each:
        each.vendor.script(["fault-500"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 502
        (final,) = await each.settled()
        (row,) = final["record"]["explanation"]["skipped"]
        assert (row["key"], row["reason"]) == ("key-2", "too little time left")


@pytest.mark.parametrize(
    ("play", "most"),
    [("fault-503", 0.010), ("fault-429", 0.010), ("fault-error-server", 0.010), ("refused", 0.020)],
)
async def test_failing_over_costs_little(play: str, most: float) -> None:
    """Seconds that a failover adds to a request, beside one that needs none, in turn."""

    def prepare(url: str) -> None:
        more_providers("second")(url)
        second = Provider.objects.get(name="second")
        Deployment.objects.filter(model__name="direct").update(provider=second)
        if play == "refused":
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                dead = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
            Endpoint.objects.filter(provider__name="vendor", format="openai_chat").update(base_url=dead)

    async with house("asgi", keys=(ONE,), models=("sim", "direct"), prepare=prepare) as each:
        if play != "refused":
            each.vendor.script([play], secret=ONE)
        for ask in (CHAT_STREAM,) if play == "fault-error-server" else (CHAT, CHAT_STREAM):
            spent: dict[str, list[float]] = {"sim": [], "direct": []}
            for _ in range(count(3, 100)):
                for model, seconds in spent.items():
                    each.afresh()
                    began = time.perf_counter()
                    answer = await ask.send(each, model)
                    seconds.append(time.perf_counter() - began)
                    assert answer.status_code == 200, answer.text
            added = statistics.median(spent["sim"]) - statistics.median(spent["direct"])
            assert not count(0, 1) or added < most, (str(ask), added)
        found = await each.settled(1)
        tries = {final["record"]["model_name"]: len(final["attempts"]) for final in found}
        assert tries == {"sim": 2, "direct": 1}


# Limits


@pytest.mark.parametrize("place", ["key", "endpoint", "provider"])
async def test_beyond_its_limit_a_place_is_asked_no_further(door: str, place: str) -> None:
    async with house(door, prepare=limits(**{place: 2}), knobs={"queue_timeout": 0.05}) as each:
        each.vendor.script(["fault-stall"])
        tasks = await holding(each, 2)
        for ask in ASKS if place == "provider" else (CHAT, CHAT_STREAM):
            answer = await ask.send(each)
            assert answer.status_code == 429, str(ask)
            assert 1 <= int(answer.headers["retry-after"]) <= 2
            assert "limit of requests at a time" in error(ask, answer.text)["message"]
        assert each.vendor.total == 2
        final = each.journal()[-1]
        assert (final["record"]["outcome"], final["record"]["error_code"]) == ("rejected", "rate_limited")
        assert final["attempts"] == []
        skipped = final["record"]["explanation"]["skipped"]
        assert {row["reason"] for row in skipped} == {f"{place}: at concurrency limit, 2 of 2"}
        await ended(*tasks)
        await each.idle()
        each.vendor.script()
        assert (await CHAT.send(each)).status_code == 200


async def test_a_key_at_its_limit_is_passed_over_for_the_next(door: str) -> None:
    async with house(door, keys=(ONE, TWO), prepare=limits(key_1=1)) as each:
        each.vendor.script(["fault-stall"], secret=ONE)
        tasks = await holding(each, 1)
        answer = await CHAT.send(each)
        assert answer.status_code == 200
        (final,) = await each.settled()
        assert [row["key_name"] for row in final["attempts"]] == ["key-2"]
        await ended(*tasks)


async def test_a_request_waits_for_a_slot_and_its_wait_is_no_overhead_of_ours(door: str) -> None:
    async with house(door, prepare=limits(key=1), knobs={"queue_timeout": 5.0}) as each:
        each.vendor.script(["fault-stall"])
        tasks = await holding(each, 1)
        each.vendor.script()
        late = asyncio.create_task(CHAT.send(each))
        (pool,) = each.engine.in_flight.pools.values()
        async with asyncio.timeout(5):
            while not pool.waiting:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.3)
        await ended(*tasks)
        assert (await late).status_code == 200
        record = (await each.settled(2))[-1]["record"]
        assert record["total_ms"] >= 300
        assert record["overhead_us"] < 300_000
        await each.idle()


async def test_a_slot_is_held_for_the_whole_stream(door: str) -> None:
    async with house(door, prepare=limits(key=1), knobs={"queue_timeout": 0.05}) as each:
        each.vendor.script(["fault-stall.after-5"])
        async with each.http.stream("POST", CHAT_STREAM.path(), json=CHAT_STREAM.body()) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            assert (await CHAT.send(each)).status_code == 429
        await each.idle()
        each.vendor.script()
        assert (await CHAT.send(each)).status_code == 200


async def test_a_client_that_leaves_while_it_waits_leaves_the_queue(door: str) -> None:
    async with house(door, prepare=limits(key=1), knobs={"queue_timeout": 5.0}) as each:
        each.vendor.script(["fault-stall"])
        tasks = await holding(each, 1)
        for ask in (CHAT, CHAT_STREAM):
            late = asyncio.create_task(ask.send(each))
            (pool,) = each.engine.in_flight.pools.values()
            async with asyncio.timeout(5):
                while not pool.waiting:
                    await asyncio.sleep(0.005)
                await ended(late)
                while pool.waiting:
                    await asyncio.sleep(0.005)
        await ended(*tasks)
        await each.idle()
        assert each.vendor.total == 1


async def test_one_tenant_cannot_starve_another() -> None:
    """Security 58: while one consumer floods a pool and its queue, another is served at the next release."""
    async with house("asgi", prepare=limits(key=4), knobs={"queue_timeout": 20.0}) as each:
        bob = await another(each)
        each.vendor.script(["wait-100"])
        flood = [asyncio.create_task(CHAT.send(each)) for _ in range(8)]
        async with asyncio.timeout(10):
            while not (pools := each.engine.in_flight.pools) or next(iter(pools.values())).waiting < 4:
                await asyncio.sleep(0.005)
        answers = [await CHAT.send(each, headers=bob) for _ in range(count(3, 20))]
        assert [answer.status_code for answer in answers] == [200] * len(answers)
        statuses = [(await task).status_code for task in flood]
        assert set(statuses) <= {200, 429}
        order = [final["record"]["consumer_name"] for final in each.journal()]
        assert order.index("bob") <= 6
        await each.idle()


# What keys teach


async def test_a_throttled_key_learns_its_limit_and_tells_it(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-stall"], secret=ONE)
        tasks = await holding(each, 4)
        each.vendor.script(["fault-429.retry-1"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        (key_id,) = each.engine.in_flight.learned
        assert each.engine.in_flight.learned[key_id].limit == 3
        (line,) = [line for line in each.journal("state") if "learned_limit" in line["columns"]]
        assert (line["table"], line["id"]) == ("key", key_id)
        assert line["columns"]["learned_limit"] == 3
        expected = {"peak": 5, "limit_reason": "throttled", "limit_changed_at": line["at"]}
        assert line["columns"]["detail"] == expected
        await ended(*tasks)
        await each.idle()


async def test_an_outage_teaches_no_limit(door: str) -> None:
    """A vendor that is down calls itself overloaded, too: once its breaker is open that counts no more."""
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-529"])
        while each.engine.health.well or not any(
            part.state == "open" for part in each.engine.health.endpoints.values()
        ):
            await CHAT.send(each)
        each.engine.in_flight.learned.clear()
        asked = each.vendor.total
        while each.vendor.total == asked:
            assert (await CHAT.send(each)).status_code == 503
        assert each.engine.in_flight.learned == {}


async def test_what_was_learned_survives_a_restart(door: str) -> None:
    def prepare(_url: str) -> None:
        detail = {"peak": 2, "limit_reason": "throttled"}
        KeyState.objects.create(key=Key.objects.get(), learned_limit=1, detail=detail)

    async with house(door, prepare=prepare, knobs={"queue_timeout": 0.05}) as each:
        each.vendor.script(["fault-stall"])
        tasks = await holding(each, 1)
        assert (await CHAT.send(each)).status_code == 429
        await ended(*tasks)


async def test_what_was_learned_ends_with_an_operator_s_recovery(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-stall"], secret=ONE)
        tasks = await holding(each, 4)
        each.vendor.script(["fault-429.retry-1"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        (key_id,) = each.engine.in_flight.learned
        await sync_to_async(states.recover)([await Key.objects.aget(pk=key_id)], by="ann")
        async with asyncio.timeout(5):
            while each.engine.in_flight.learned:
                await asyncio.sleep(0.01)
        line = [line for line in each.journal("state") if "learned_limit" in line["columns"]][-1]
        assert line["columns"] == {"learned_limit": None, "detail": {}}
        await ended(*tasks)
        await each.idle()


async def test_one_slow_upstream_of_three_holds_up_nobody() -> None:
    """Pains 24: streams over three upstreams, each with a limit, one of them slow: those that go elsewhere
    wait for no slot."""
    streams = count(15, 500)
    each_holds = streams * 2 // 5

    def prepare(_url: str) -> None:
        Key.objects.update(priority=1, concurrency_limit=each_holds)

    async with house("asgi", keys=(ONE, TWO, THREE), prepare=prepare) as each:
        each.vendor.script(["delay-100"], secret=ONE)
        waits: list[float] = []
        find, loop = each.engine.in_flight.wait, asyncio.get_running_loop()

        async def timed(*args: Any) -> Any:
            began = loop.time()
            slot = await find(*args)
            waits.append(loop.time() - began)
            return slot

        each.engine.in_flight.wait = timed  # type: ignore[method-assign,assignment]
        unbounded = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=each.url, headers=each.http.headers, trust_env=False, timeout=120, limits=unbounded
        ) as each.http:
            answers: list[httpx.Response] = await asyncio.gather(
                *(CHAT_STREAM.send(each) for _ in range(streams))
            )
        assert {answer.status_code for answer in answers} == {200}
        waits += [0.0] * (streams - len(waits))
        assert sorted(waits)[int(len(waits) * 0.99) - 1] < 0.05
        served = Counter(final["attempts"][0]["key_name"] for final in await each.settled(streams))
        assert served["key-1"] < streams
        await each.idle()
