"""How a request ends when its client decides: it leaves before the first byte, in mid-stream, while we wait
for it to read; or it stays and reads no more."""

from __future__ import annotations

import asyncio
import re
from statistics import median
from typing import Any

import httpx
import orjson
import pytest

from tests.counts import PROOF, count
from tests.endings.kit import (
    CHAT,
    DIALECTS,
    GEMINI_ARRAY,
    MICRO,
    Dialect,
    ask,
    blocked,
    clean_house,
    connected,
    final_of,
    gone,
    text_of,
)
from tests.relay.harness import House
from tests.rude import rude

pytestmark = pytest.mark.django_db(transaction=True)
dialects = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
resets = pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])

PATIENCE = 5.0
AT_ONCE = 0.25 if PROOF else PATIENCE
"""Seconds in which upstream must see that the client left; of many times, most."""
BIG = "chunks-2000.size-10000.last-60000.in-100.out-50"
"""More than all buffers on the way hold; its end is late, lest they take it all once the client is gone."""


def ending(final: dict[str, Any]) -> tuple[str, int, str]:
    """Outcome, status and error code of a record."""
    record = final["record"]
    return record["outcome"], record["status_code"], record["error_code"]


async def test_a_client_that_leaves_between_two_attempts_is_not_tried_for_again(door: str) -> None:
    async with clean_house(door, keys=("sk-vendor-first-key-1", "sk-vendor-second-key-2")) as each:
        took = []
        for number in range(1, count(1, 50) + 1):
            each.afresh()
            each.vendor.script(["fault-500", "fault-stall-head"])
            async with rude(each.url) as client:
                await ask(client, each)
                seen = await each.vendor.wait_for(2 * number)
                client.leave()
                took.append(await gone(seen, PATIENCE))
            final = await final_of(each, number)
            assert ending(final) == ("client_gone", 0, "client_gone")
            assert [attempt["reason"] for attempt in final["attempts"]] == ["server_error", "client_gone"]
            await each.idle()
        await asyncio.sleep(0.1)
        assert each.vendor.total == 2 * number
        assert median(took) < AT_ONCE


async def test_a_client_that_leaves_after_the_silent_commit_pays_nothing(door: str) -> None:
    async with clean_house(door, knobs={"keep_alive": 0.05}) as each:
        each.vendor.script("fault-stall-first")
        took = []
        for number in range(1, count(1, 50) + 1):
            async with rude(each.url) as client:
                await ask(client, each)
                await client.head()
                await client.until(b"\n\n")
                client.leave()
                took.append(await gone(each.vendor.requests[-1], PATIENCE))
            final = await final_of(each, number)
            assert ending(final) == ("client_gone", 200, "client_gone")
            assert final["record"]["list_cost"] == 0
            await each.idle()
        assert median(took) < AT_ONCE


@dialects
async def test_a_client_that_leaves_at_any_event_leaves_one_record(door: str, dialect: Dialect) -> None:
    play = "chunks-3.size-40.in-100.out-50"
    async with clean_house(door) as each:
        frames = await _frames(each, dialect, play)
        for place in range(len(frames)):
            each.vendor.script(f"{play}.fault-stall.after-{place}")
            seen = b"".join(frame for frame in frames[:place] if b'"choices":[]' not in frame)
            text = text_of(dialect, seen) if seen else ""
            async with rude(each.url) as client:
                await ask(client, each, dialect)
                await _arrived(each, place if text else 0)
                if text:
                    await client.head()
                    while len(client.heard.body) < len(seen):
                        await client.piece()
                    assert len(client.heard.body) == len(seen)
                client.leave()
                await gone(each.vendor.requests[-1], AT_ONCE)
            await each.idle()
            finals = each.journal()
            assert len(finals) == place + 1
            record = finals[-1]["record"]
            assert ending(finals[-1]) == ("client_gone", 200 if text else 0, "client_gone")
            assert record["list_cost"] == (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
            told = any(b"message_delta" in frame or b'"choices":[]' in frame for frame in frames[:place])
            assert record["output_tokens"] == (50 if told else len(text) / 4)
            assert record["estimated"] == (bool(text) and not told)


async def _frames(each: House, dialect: Dialect, play: str) -> list[bytes]:
    """The frames of an answer as the vendor sends them to us."""
    each.vendor.script(play)
    body = {**dialect.body, "stream_options": {"include_usage": True}}
    headers = {"x-api-key": "sk-vendor", "authorization": "Bearer sk-vendor", "x-goog-api-key": "sk-vendor"}
    async with httpx.AsyncClient(trust_env=False, headers=headers | dict(dialect.headers)) as http:
        answer = (await http.post(each.vendor.url + dialect.path, json=body)).content
    each.vendor.reset()
    if dialect is GEMINI_ARRAY:
        return re.findall(rb"(?:\[|,\r\n)\{.*?\}(?=,\r\n|\]$)", answer)
    return [frame + b"\n\n" for frame in answer.split(b"\n\n")[:-1]]


async def _arrived(each: House, place: int) -> None:
    """Waits until the relay has seen `place` frames of the one open request; of none, until it waits for the
    first."""
    async with asyncio.timeout(5):
        while not any(
            ctx.frames_seen >= place and ctx.attempts and ctx.attempts[-1].phase in ("first_event", "stream")
            for ctx in each.engine.open
        ):
            await asyncio.sleep(0.005)


@resets
async def test_a_client_that_leaves_while_it_holds_us_up_is_noticed_at_once(door: str, reset: bool) -> None:
    async with clean_house(door) as each:
        each.vendor.script(BIG)
        took = []
        for number in range(1, count(1, 20) + 1):
            async with rude(each.url, stubborn=True) as client:
                await ask(client, each)
                await client.head()
                await client.events(3)
                await blocked(each)
                client.leave(reset=reset)
                took.append(await gone(each.vendor.requests[-1], PATIENCE))
            final = await final_of(each, number)
            assert ending(final) == ("client_gone", 200, "client_gone")
            assert final["record"]["list_cost"] > 0
            await each.idle()
        assert median(took) < AT_ONCE


@dialects
async def test_a_client_that_reads_no_more_is_left(door: str, dialect: Dialect) -> None:
    async with clean_house(door, knobs={"client_stall_timeout": 0.3}) as each:
        each.vendor.script(BIG)
        took = []
        for number in range(1, count(1, 5) + 1):
            async with rude(each.url, stubborn=True) as client:
                await ask(client, each, dialect)
                await client.head()
                await blocked(each)
                took.append(await gone(each.vendor.requests[-1], PATIENCE))
                final = await final_of(each, number)
                assert ending(final) == ("client_gone", 200, "stalled")
                assert final["record"]["list_cost"] > 0
                await each.idle()
                async with asyncio.timeout(2):
                    while connected(client.port):
                        await asyncio.sleep(0.01)
            await each.idle()
        assert median(took) < 0.3 + 2 * AT_ONCE


async def test_a_client_that_reads_slowly_gets_everything(door: str) -> None:
    """What upstream is silent for while the client holds us up does not count as upstream's idleness."""
    async with clean_house(door, knobs={"client_stall_timeout": 2, "idle_timeout": 0.3}) as each:
        each.vendor.script("chunks-600.size-20000.in-100.out-50")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each)
            await client.head()
            for _ in range(3):
                await blocked(each)
                await asyncio.sleep(0.4)
                read = len(client.heard.body)
                while len(client.heard.body) < read + 2_000_000:
                    await client.piece()
            answer = await client.rest()
        assert answer.whole
        assert CHAT.end in answer.body
        assert ending(await final_of(each)) == ("ok", 200, "")


async def test_a_client_that_reads_a_whole_answer_slowly_gets_all_of_it(door: str) -> None:
    async with clean_house(door, knobs={"client_stall_timeout": 1.5}) as each:
        each.vendor.script("chunks-9.size-1000000.in-100.out-50")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each, stream=False)
            await client.head()
            for _ in range(3):
                await asyncio.sleep(0.3)
                read = len(client.heard.body)
                while len(client.heard.body) < read + 2_000_000:
                    await client.piece()
            answer = await client.rest()
        assert answer.whole
        assert len(orjson.loads(answer.body)["choices"][0]["message"]["content"]) == 9_000_000


async def test_large_events_may_take_their_client_a_while(door: str) -> None:
    async with clean_house(door, knobs={"client_stall_timeout": 1.5}) as each:
        each.vendor.script("chunks-9.size-1000000.in-100.out-50")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each)
            await client.head()
            for _ in range(3):
                await asyncio.sleep(0.3)
                read = len(client.heard.body)
                while len(client.heard.body) < read + 2_000_000:
                    await client.piece()
            answer = await client.rest()
        assert answer.whole
        assert CHAT.end in answer.body
        assert ending(await final_of(each)) == ("ok", 200, "")
