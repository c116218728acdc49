"""Endings at exactly one message: left before the headers, while they are being sent, while any piece of the
body is; and what a server may do beside."""

from __future__ import annotations

import asyncio

import pytest
from django.http.response import HttpResponseBase

from relay import views
from relay.answer import Answer
from tests.counts import count
from tests.endings.kit import CHAT, DIALECTS, Dialect, clean_house, final_of
from tests.endings.scripted import Message, exchange, holds, is_head
from tests.relay.harness import House

pytestmark = pytest.mark.django_db(transaction=True)
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
PLAY = "chunks-3.size-40.in-100.out-50"


async def outcome(each: House, number: int = 1) -> tuple[str, int]:
    """Outcome and status of the `number`-th record."""
    record = (await final_of(each, number))["record"]
    return record["outcome"], record["status_code"]


@dialects
async def test_left_while_the_headers_are_being_sent_costs_nothing(door: str, dialect: Dialect) -> None:
    async with clean_house(door) as each:
        each.vendor.script(PLAY)
        for number in range(1, count(1, 50) + 1):
            async with exchange(each, door, dialect, blocks=is_head) as ours:
                await ours.waiting.wait()
                ours.leave()
                await ours.over()
            final = await final_of(each, number)
            assert (final["record"]["outcome"], final["record"]["status_code"]) == ("client_gone", 0)
            assert final["record"]["list_cost"] == 0
            assert final["record"]["own_cost"] > 0
            await each.idle()


@pytest.mark.parametrize("place", range(1, 5))
async def test_left_while_a_piece_is_being_sent_is_settled_once(door: str, place: int) -> None:
    def nth(message: Message) -> bool:
        seen.append(message)
        return len(seen) == 1 + place

    seen: list[Message] = []
    async with clean_house(door) as each:
        each.vendor.script("chunks-50.size-40.delay-5.in-100.out-50")
        for number in range(1, count(1, 50) + 1):
            seen.clear()
            async with exchange(each, door, blocks=nth) as ours:
                await ours.waiting.wait()
                ours.leave()
                await ours.over()
            assert await outcome(each, number) == ("client_gone", 200)
            await each.idle()
            assert len(each.journal()) == number


@dialects
async def test_left_while_the_end_is_being_sent_is_whole_already(door: str, dialect: Dialect) -> None:
    async with clean_house(door) as each:
        each.vendor.script(PLAY)
        for number in range(1, count(1, 50) + 1):
            async with exchange(each, door, dialect, blocks=holds(dialect.end)) as ours:
                await ours.waiting.wait()
                assert await outcome(each, number) == ("ok", 200)
                assert dialect.end not in ours.body
                ours.leave()
                await ours.over()
            await each.idle()


async def test_a_client_that_does_not_take_the_end_is_left_too(door: str) -> None:
    async with clean_house(door, knobs={"client_stall_timeout": 0.2}) as each:
        each.vendor.script(PLAY)
        async with exchange(each, door, blocks=holds(CHAT.end)) as ours:
            await ours.waiting.wait()
            await ours.over()
            assert not each.engine.sending
        assert await outcome(each) == ("ok", 200)


async def test_a_client_that_does_not_take_the_headers_is_left_too(door: str) -> None:
    async with clean_house(door, knobs={"client_stall_timeout": 0.2}) as each:
        each.vendor.script(PLAY)
        async with exchange(each, door, blocks=is_head) as ours:
            await ours.waiting.wait()
            await ours.over()
        final = await final_of(each)
        assert (final["record"]["outcome"], final["record"]["error_code"]) == ("client_gone", "stalled")


async def test_left_while_a_keep_alive_is_being_sent_costs_nothing(door: str) -> None:
    async with clean_house(door, knobs={"keep_alive": 0.05}) as each:
        each.vendor.script("fault-stall-head")
        for number in range(1, count(1, 50) + 1):
            async with exchange(each, door, blocks=holds(b": keep-alive")) as ours:
                await ours.waiting.wait()
                ours.leave()
                await ours.over()
            final = await final_of(each, number)
            assert (final["record"]["outcome"], final["record"]["status_code"]) == ("client_gone", 200)
            assert final["record"]["list_cost"] == 0
            assert final["record"]["own_cost"] > 0
            await each.idle()


@pytest.mark.parametrize("mark", [CHAT.end, b'"finish_reason":"stop"', b'"delta":{"content"'])
async def test_a_server_that_raises_at_a_lost_connection_changes_nothing(mark: bytes) -> None:
    async with clean_house("asgi") as each:
        each.vendor.script("chunks-3.size-40.delay-5.in-100.out-50")
        for number in range(1, count(1, 50) + 1):
            async with exchange(each, "asgi", breaks=holds(mark)) as ours:
                assert isinstance(await ours.over(), OSError)
            assert await outcome(each, number) == ("ok" if mark == CHAT.end else "client_gone", 200)
            await each.idle()


async def test_left_while_a_whole_answer_is_being_sent_stays_as_settled(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(PLAY)
        for number in range(1, count(1, 50) + 1):
            async with exchange(each, door, stream=False, blocks=holds(b'"usage"')) as ours:
                await ours.waiting.wait()
                assert await outcome(each, number) == ("ok", 200)
                ours.leave()
                await ours.over()
            await each.idle()


async def test_left_between_the_view_and_the_headers_is_settled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's own middleware may stand between the two, and drops the answer if it is cancelled there."""
    made: list[None] = []
    answered = views._response

    def response(answer: Answer) -> HttpResponseBase:
        made.append(None)
        return answered(answer)

    monkeypatch.setattr(views, "_response", response)
    async with clean_house("django") as each:
        each.vendor.script(PLAY)
        for number in range(1, 25):
            made.clear()
            async with exchange(each, "django", blocks=lambda message: True) as ours:
                while not made:
                    await asyncio.sleep(0)
                await asyncio.sleep((number - 1) * 0.0002)
                ours.leave()
                await ours.over()
            record = (await each.settled(number))[-1]["record"]
            assert (record["outcome"], record["status_code"]) == ("client_gone", 0)
            await each.idle()
