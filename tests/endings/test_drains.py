"""Streams that are read on after their client left, where the endpoint wants it: what ends them, and what is
charged. Their ordinary end is told in `tests/faults/test_clients.py`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from providers.models import Endpoint
from tests.counts import PROOF
from tests.endings.kit import MICRO, ask, blocked, clean_house, final_of, gone
from tests.journals import lines
from tests.relay.harness import House, house
from tests.rude import Rude, rude

pytestmark = pytest.mark.django_db(transaction=True)

PAUSED = "chunks-9.size-400.pause-60000.after-7.in-100.out-50"
"""It pauses in the middle, until the vendor is told to hurry."""
TEXT = (
    b'data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"sim",'
    b'"choices":[{"index":0,"delta":{"content":"once upon a time"},"finish_reason":null}]}\n\n'
)
PATIENCE = 5.0
AT_ONCE = 0.25 if PROOF else PATIENCE
"""Seconds in which upstream must see that it is left."""


def drain(_url: str) -> None:
    Endpoint.objects.update(when_client_leaves="drain")


async def begun(client: Rude, each: House) -> None:
    await ask(client, each)
    await client.head()
    await client.piece()


async def left_by(client: Rude, each: House, *, others: int = 0) -> None:
    """Leaves a stream, and waits until the relay has seen it."""
    client.leave()
    async with asyncio.timeout(PATIENCE):
        while len(each.engine.sending) > others:
            await asyncio.sleep(0.005)


def assert_estimated(final: dict[str, Any], verdict: str = "client_gone") -> None:
    """Charged for what came, by an estimate."""
    record, (attempt,) = final["record"], final["attempts"]
    assert (record["outcome"], record["status_code"], record["error_code"]) == (
        "client_gone",
        200,
        "client_gone",
    )
    assert record["estimated"]
    assert record["output_tokens"] > 0
    assert record["list_cost"] == (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
    assert attempt["verdict"] == verdict


async def test_a_drain_ends_with_its_time_and_what_came_is_charged(door: str) -> None:
    async with clean_house(door, prepare=drain, knobs={"drain_upstream_seconds": 0.2}) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as client:
            await begun(client, each)
            await left_by(client, each)
            assert each.engine.in_flight.slots
            assert await gone(each.vendor.requests[-1], PATIENCE) < 0.2 + AT_ONCE
        assert_estimated(await final_of(each))
        assert each.engine.health.well


async def test_beyond_so_many_drains_the_vendor_is_left_at_once(door: str) -> None:
    async with clean_house(door, prepare=drain, knobs={"drain_upstream_most": 2}) as each:
        each.vendor.script(PAUSED)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(rude(each.url)) for _ in range(3)]
            for client in clients:
                await begun(client, each)
            for others, client in zip((2, 1, 0), clients, strict=True):
                await left_by(client, each, others=others)
            first, second, third = each.vendor.requests
            await gone(third, AT_ONCE)
            assert_estimated(await final_of(each))
            assert not first.gone.is_set()
            assert not second.gone.is_set()
            each.vendor.hurry()
            await each.idle()
            assert [final["record"]["usage_source"] for final in each.journal()] == [
                "estimated", "reported", "reported",
            ]  # fmt: skip


@pytest.mark.parametrize("reason", ["shutdown", "revoked"])
async def test_an_interruption_ends_a_drain(door: str, reason: str) -> None:
    async with clean_house(door, prepare=drain) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as client:
            await begun(client, each)
            await left_by(client, each)
            each.engine.interrupt(reason)
            await gone(each.vendor.requests[-1], AT_ONCE)
        assert_estimated(await final_of(each))


async def test_the_engines_end_is_not_held_up_by_a_drain(door: str) -> None:
    async with house(door, prepare=drain) as each:
        each.vendor.script(PAUSED)
        async with rude(each.url) as client:
            await begun(client, each)
            await left_by(client, each)
        assert each.engine.open
    (final,) = lines(each.data_dir / "journals", "final")
    assert_estimated(final)


async def test_a_drain_is_noted_for_the_case_that_the_process_dies(door: str) -> None:
    async with clean_house(door, prepare=drain) as each:
        each.vendor.script("chunks-4000.size-40.delay-5.in-100.out-50")
        async with rude(each.url) as client:
            await begun(client, each)
            await left_by(client, each)
        before = len(each.journal("checkpoint"))
        async with asyncio.timeout(PATIENCE):
            while len(each.journal("checkpoint")) <= before:
                await asyncio.sleep(0.05)
        last = each.journal("checkpoint")[-1]
        assert last["committed"]
        assert last["text_bytes"] > 0
        each.engine.interrupt("shutdown")


async def test_a_vendor_that_breaks_off_while_it_is_drained_is_held_to_it(door: str) -> None:
    async with clean_house(door, prepare=drain) as each:
        each.vendor.script(body=[TEXT, TEXT], pause=60)
        async with rude(each.url) as client:
            await begun(client, each)
            await left_by(client, each)
            each.vendor.hurry()
        final = await final_of(each)
        assert_estimated(final, verdict="partial")
        assert final["attempts"][0]["reason"] == "truncated"
        assert not each.engine.health.well


async def test_a_client_gone_before_the_first_frame_leaves_nothing_to_drain(door: str) -> None:
    async with clean_house(door, prepare=drain) as each:
        each.vendor.script("fault-stall-first")
        async with rude(each.url) as client:
            await ask(client, each)
            seen = await each.vendor.wait_for(1)
            client.leave()
            await gone(seen, AT_ONCE)
        assert (await final_of(each))["record"]["list_cost"] == 0


async def test_a_client_that_reads_no_more_is_left_without_a_drain(door: str) -> None:
    async with clean_house(door, prepare=drain, knobs={"client_stall_timeout": 0.3}) as each:
        each.vendor.script("chunks-2000.size-10000.last-60000.in-100.out-50")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each)
            await client.head()
            await blocked(each)
            await gone(each.vendor.requests[-1], PATIENCE)
        assert (await final_of(each))["record"]["error_code"] == "stalled"
