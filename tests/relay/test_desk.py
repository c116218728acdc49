"""Who is turned away before anything is read, at both doors."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID

import pytest

from relay.call import Call
from relay.desk import rank_of
from relay.shedding import Rank, Shedding
from tests.relay.asks import ASKS, WHOLE, error
from tests.relay.harness import House, house
from tests.relay.wires import exchange
from usage.refusal import Refusal, read

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = WHOLE[0]
BAD = "sk-aether-nobody-knows-this-key-000000000"


async def guess(each: House, number: int, **headers: str) -> list[int]:
    """The statuses of so many requests with keys that are none."""
    asked = [
        each.http.post(CHAT.path(), json=CHAT.body(), headers={"x-api-key": f"{BAD}{index}", **headers})
        for index in range(number)
    ]
    return [(await answer).status_code for answer in asked]


async def test_an_address_that_guesses_is_held_back_before_its_key_is_looked_at(door: str) -> None:
    async with house(door, knobs={"bad_keys": 5}) as each:
        assert await guess(each, 5) == [401] * 5
        for ask in ASKS:
            answer = await ask.send(each)
            assert answer.status_code == 429, str(ask)
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert "bad API keys" in error(ask, answer.text)["message"]
            told = read(UUID(answer.headers["x-request-id"]))
            assert told is not None
            assert (told.rule, told.measured, told.wait) == (
                "bad_keys",
                5,
                int(answer.headers["retry-after"]),
            )
        assert each.vendor.total == 0
        assert each.journal() == []


async def test_who_was_served_of_late_is_served_from_an_address_that_is_held_back(door: str) -> None:
    async with house(door, knobs={"bad_keys": 5}) as each:
        assert (await CHAT.send(each)).status_code == 200
        assert await guess(each, 6) == [401] * 5 + [429]
        assert (await CHAT.send(each)).status_code == 200
        assert await guess(each, 1) == [429]


async def test_a_good_key_and_none_are_no_guesses(door: str) -> None:
    async with house(door, knobs={"bad_keys": 2}) as each:
        for _ in range(5):
            assert (await CHAT.send(each)).status_code == 200
            unsigned = await each.http.post(CHAT.path(), json=CHAT.body(), headers={"x-api-key": ""})
            assert unsigned.status_code == 401
        assert not each.engine.throttle


async def test_whatever_a_client_writes_of_its_address_changes_nothing(door: str) -> None:
    async with house(door, knobs={"bad_keys": 3}) as each:
        told = [await guess(each, 1, **{"x-forwarded-for": f"203.0.113.{number}"}) for number in range(5)]
        assert told == [[401], [401], [401], [429], [429]]


async def test_behind_proxies_of_ours_each_client_is_counted_alone(door: str) -> None:
    async with house(door, knobs={"bad_keys": 3, "trusted_proxies": 1}) as each:
        mine = {"x-forwarded-for": "198.51.100.7, 203.0.113.1"}  # the first is the client's own word
        assert await guess(each, 4, **mine) == [401, 401, 401, 429]
        assert await guess(each, 1, **{"x-forwarded-for": "203.0.113.1, 203.0.113.2"}) == [401]
        assert (await CHAT.send(each, headers={"x-forwarded-for": "203.0.113.2"})).status_code == 200


async def test_a_body_is_not_waited_for(door: str) -> None:
    async with house(door) as each:
        strain(each, 1.0, 0)
        top = (
            f"POST {CHAT.path()} HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {each.secret}\r\n"
            "Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"
        )
        told = await exchange(each, top.encode(), within=5)
        assert told.status == 503
        assert int(told.headers["retry-after"]) >= 1
        assert json.loads(told.body)["error"]["code"] == "overloaded"


async def test_every_format_is_told_in_its_own_words_and_nothing_is_recorded(door: str) -> None:
    async with house(door) as each:
        strain(each, 0.0, 10**12)
        waits = set()
        for ask in ASKS * 4:
            answer = await ask.send(each)
            assert answer.status_code == (529 if ask.format == "anthropic" else 503), str(ask)
            assert "overloaded" in error(ask, answer.text)["message"]
            waits.add(answer.headers["retry-after"])
        assert len(waits) > 1
        lists = await each.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
        assert lists.status_code == 529
        assert each.vendor.total == 0
        assert each.journal() == []
        strain(each, 0.0, 0)
        assert (await CHAT.send(each)).status_code == 200


async def test_the_id_tells_which_rule_refused_and_by_what_count(door: str) -> None:
    async with house(door, knobs={"max_in_flight": 0}) as each:
        assert (await refused(each))[1:3] == ("under_way", 0)
        strain(each, 0.99, 0)
        assert (await refused(each))[1:3] == ("memory", 99)
        strain(each, 0.0, 10**12)
        assert (await refused(each))[1:3] == ("journal", 10**6)


async def test_requests_that_end_before_there_is_a_caller_tell_why_by_their_id(door: str) -> None:
    async with house(door, knobs={"bad_keys": 5}) as each:
        assert (await refused(each, headers={"x-api-key": BAD}))[1:3] == ("bad_api_key", 1)
        assert (await refused(each, headers={"x-api-key": ""})).rule == "no_api_key"
        two = {"x-api-key": each.secret, "authorization": f"Bearer {BAD}"}
        assert (await refused(each, headers=two)).rule == "two_api_keys"
        for method, path, rule in (
            ("GET", CHAT.path(), "method"), ("POST", "/v1/nothing", "no_path"),
            ("GET", "/v1/models/nothing", "not_listed"),
        ):  # fmt: skip
            answer = await each.http.request(method, path)
            told = read(UUID(answer.headers["x-request-id"]))
            assert told is not None
            assert told.rule == rule
            assert abs(told.at / 1000 - time.time()) < 60
        assert each.journal() == []


async def test_what_is_refused_by_a_rule_and_recorded_keeps_rule_and_count() -> None:
    async with house("asgi", knobs={"body_memory": 10}) as each:
        answer = await CHAT.send(each)
        assert answer.status_code == 503
        stored = (await each.settled())[0]["record"]["explanation"]
        wait = int(answer.headers["retry-after"])
        assert stored == {"refused": {"rule": "body_memory", "measured": 0}, "retry_after": wait}


def strain(each: House, memory: float, backlog: int) -> None:
    """As if so much were in use, from now on: the engine's own look, each moment, is put off."""
    shedding = each.engine.shedding
    Shedding.look(shedding, memory, backlog)
    shedding.look = lambda *_: None  # type: ignore[method-assign]


async def refused(each: House, **options: Any) -> Refusal:
    """What the id of a refused request tells."""
    answer = await CHAT.send(each, **options)
    assert answer.status_code >= 400
    told = read(UUID(answer.headers["x-request-id"]))
    assert told is not None
    return told


async def test_more_requests_than_may_be_under_way_are_turned_away(door: str) -> None:
    async with house(door, knobs={"max_in_flight": 3}) as each:
        await CHAT.send(each)
        each.vendor.script(["wait-1500"])
        running = [asyncio.create_task(CHAT.send(each)) for _ in range(3)]
        await each.vendor.wait_for(4)
        assert (await CHAT.send(each)).status_code == 503
        assert [(await one).status_code for one in running] == [200] * 3
        each.vendor.script(["ok"])
        assert (await CHAT.send(each)).status_code == 200
        await each.idle()


async def test_the_rank_of_a_request_is_known_by_its_key_and_its_own_word() -> None:
    async with house("asgi") as each:
        await CHAT.send(each)

        def rank(headers: dict[str, str]) -> Rank:
            return rank_of(each.engine, call({"x-api-key": each.secret} | headers))

        assert rank({}) is Rank.INTERACTIVE
        assert rank({"x-aether-priority": "Batch"}) is Rank.BATCH
        assert rank({"x-api-key": BAD}) is Rank.ANONYMOUS
        assert rank({"x-api-key": ""}) is Rank.ANONYMOUS


def call(headers: dict[str, str], path: str = CHAT.path()) -> Call:
    async def read() -> tuple[bytes, bool]:
        return b"", False

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Call(method="POST", path=path, query="", headers=pairs, address="192.0.2.1", read=read)
