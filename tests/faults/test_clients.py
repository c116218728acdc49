"""The client half of the fault matrix, in every format, whole and streamed. What a client does is held
against no key and no endpoint."""

from __future__ import annotations

import asyncio
import json
import math
from statistics import median

import orjson
import pytest

from providers.models import Endpoint
from simulator import ports
from simulator.compose import TEXT
from tests.counts import count
from tests.endings.kit import MICRO, connected, gone
from tests.faults.stage import NAMES, Stage, assert_billed, assert_nothing_billed, envelope, stage
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, text
from tests.relay.harness import BASES
from tests.rude import Rude, rude

pytestmark = pytest.mark.django_db(transaction=True)
ways = pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])

AT_ONCE = 0.25
"""Seconds in which upstream must see that the client left; of many times, most."""
PATIENCE = 5.0
LARGE = "chunks-9.size-1000000.in-100.out-50"
"""More than the buffers between us and a client hold."""


async def begin(client: Rude, on: Stage, ask: Ask, *, only: int | None = None) -> bytes:
    """Sends a request, or the first `only` bytes of its body. Returns the whole body."""
    body = orjson.dumps(ask.body())
    await client.ask(ask.path(), body, {"x-api-key": on.house.secret, **ask.headers}, only=only)
    return body


@ways
async def test_a_client_gone_before_the_first_byte_pays_nothing_and_is_not_tried_for_again(
    door: str, reset: bool
) -> None:
    """The vendor is told at once; what it may have done by then is the operator's to pay."""
    took = []
    plays = [(ask, "fault-stall-head") for ask in ASKS] + [(ask, "fault-stall-first") for ask in ASKS]
    async with stage(door, knobs={"first_event_timeout": 5.0, "whole_total_timeout": 10.0}) as on:
        for number, (ask, play) in enumerate(plays * count(1, 10), 1):
            on.house.vendor.script([play])
            async with rude(on.house.url) as client:
                body = await begin(client, on, ask)
                seen = await on.house.vendor.wait_for(number)
                client.leave(reset=reset)
                took.append(await gone(seen, PATIENCE))
            await on.house.idle()
            (final,) = on.house.journal()[number - 1 :]
            record, (attempt,) = final["record"], final["attempts"]
            assert (record["outcome"], record["status_code"], record["error_code"]) == (
                "client_gone", 0, "client_gone",
            ), str(ask)  # fmt: skip
            assert record["list_cost"] == record["input_tokens"] == record["output_tokens"] == 0
            assert (attempt["verdict"], attempt["reason"]) == ("client_gone", "client_gone")
            assert (attempt["maybe_billed"], attempt["output_tokens"]) == (True, 0)
            assert attempt["input_tokens"] == math.ceil(len(body) / 4), str(ask)
            assert attempt["own_cost"] == record["own_cost"] == attempt["input_tokens"] * MICRO
            assert on.house.engine.health.well
        assert on.house.vendor.total == number
    assert median(took) < AT_ONCE


async def test_a_client_gone_before_anything_was_sent_costs_nobody_anything(door: str) -> None:
    """The vendor has not even taken the connection."""
    with ports.unanswered() as port:

        def prepare(_url: str) -> None:
            for form, base in BASES.items():
                found = Endpoint.objects.filter(provider__name=NAMES[0], format=form)
                found.update(base_url=f"http://127.0.0.1:{port}{base}", connect_timeout=20)

        async with stage(door, prepare=prepare) as on:
            for number, ask in enumerate(ASKS, 1):
                async with rude(on.house.url) as client:
                    await begin(client, on, ask)
                    async with asyncio.timeout(PATIENCE):
                        while not on.house.engine.in_flight.slots:
                            await asyncio.sleep(0.005)
                    client.leave(reset=False)
                await on.house.idle()
                (final,) = on.house.journal()[number - 1 :]
                record, (attempt,) = final["record"], final["attempts"]
                assert (record["outcome"], record["status_code"]) == ("client_gone", 0), str(ask)
                assert (attempt["phase"], attempt["verdict"]) == ("send", "client_gone"), str(ask)
                assert not attempt["maybe_billed"]
                assert_nothing_billed(final)
                assert on.house.engine.health.well
            assert on.house.vendor.total == 0


@ways
async def test_a_client_gone_in_mid_stream_stops_the_vendor_and_pays_for_what_came(
    door: str, reset: bool
) -> None:
    took = []
    async with stage(door) as on:
        on.house.vendor.script("chunks-2000.size-40.delay-5.in-100.out-50")
        for number, ask in enumerate(STREAMED * count(1, 20), 1):
            async with rude(on.house.url) as client:
                await begin(client, on, ask)
                await client.head()
                while len(client.heard.body) < 6000:
                    await client.piece()
                client.leave(reset=reset)
                took.append(await gone(on.house.vendor.requests[-1], PATIENCE))
            await on.house.idle()
            (final,) = on.house.journal()[number - 1 :]
            record, (attempt,) = final["record"], final["attempts"]
            assert (record["outcome"], record["status_code"], record["error_code"]) == (
                "client_gone", 200, "client_gone",
            ), str(ask)  # fmt: skip
            assert record["estimated"]
            assert record["output_tokens"] >= 20
            assert record["list_cost"] == (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
            assert record["list_cost"] == record["own_cost"] == attempt["own_cost"]
            assert (attempt["phase"], attempt["verdict"]) == ("stream", "client_gone")
            assert on.house.engine.health.well
    assert median(took) < AT_ONCE


@ways
async def test_where_the_endpoint_drains_a_client_gone_pays_what_the_vendor_counts(
    door: str, reset: bool
) -> None:
    def drain(_url: str) -> None:
        Endpoint.objects.update(when_client_leaves="drain")

    async with stage(door, prepare=drain) as on:
        for number, ask in enumerate(STREAMED * count(1, 20), 1):
            on.house.vendor.script("chunks-9.size-400.pause-60000.after-7.in-100.out-50")
            async with rude(on.house.url) as client:
                await begin(client, on, ask)
                await client.head()
                await client.piece()
                client.leave(reset=reset)
                await left(on)
            (seen,) = on.house.vendor.requests
            assert not seen.gone.is_set()
            (slot,) = on.house.engine.in_flight.slots
            assert slot.target.format == ask.format
            on.house.vendor.hurry()
            await on.house.idle()
            (final,) = on.house.journal()[number - 1 :]
            record, (attempt,) = final["record"], final["attempts"]
            assert (record["outcome"], record["status_code"], record["error_code"]) == (
                "client_gone", 200, "client_gone",
            ), str(ask)  # fmt: skip
            assert (record["usage_source"], record["estimated"]) == ("reported", False)
            assert_billed(record, 100, 50)
            assert record["list_cost"] == record["own_cost"] == attempt["own_cost"]
            assert (attempt["phase"], attempt["verdict"], attempt["reason"]) == ("stream", "ok", "")
            assert on.house.engine.health.well
            on.forgive()


async def left(on: Stage) -> None:
    """Waits until the relay has seen that the one client left, whose request is still under way."""
    async with asyncio.timeout(PATIENCE):
        while on.house.engine.sending:
            await asyncio.sleep(0.005)
    assert len(on.house.engine.open) == 1


async def test_a_client_that_does_not_read_a_whole_answer_is_left(door: str) -> None:
    """Its answer is settled by then: the vendor gave all of it."""
    async with stage(door, knobs={"client_stall_timeout": 1.0}) as on:
        on.house.vendor.script(LARGE)

        async def one(ask: Ask) -> None:
            async with rude(on.house.url, stubborn=True) as client:
                await begin(client, on, ask)
                assert await client.head() == 200
                async with asyncio.timeout(5):
                    while connected(client.port):
                        await asyncio.sleep(0.02)

        await asyncio.gather(*(one(ask) for ask in WHOLE))
        records = [final["record"] for final in await on.house.settled(len(WHOLE))]
        assert {(each["outcome"], each["status_code"], each["output_tokens"]) for each in records} == {
            ("ok", 200, 50)
        }
        assert not on.house.engine.sending
        assert on.house.engine.health.well


async def test_half_a_body_is_given_up_and_leaves_nothing(door: str) -> None:
    """Silence is told to be one in the client's own format; who is gone is told nothing."""
    async with stage(door, knobs={"client_body_timeout": 0.3}) as on:

        async def silent(ask: Ask) -> None:
            async with rude(on.house.url) as client:
                await begin(client, on, ask, only=20)
                answer = await client.rest()
                assert (answer.status, answer.whole) == (408, True)
                assert answer.headers["connection"] == "close"
                told = envelope(
                    ask, "request_timeout", "The request body took too long.", answer.headers["x-request-id"]
                )
                assert json.loads(answer.body) == told
                assert await client.closed() == b""

        async def finished(ask: Ask, *, reset: bool) -> None:
            async with rude(on.house.url) as client:
                await begin(client, on, ask, only=20)
                await asyncio.sleep(0.05)
                client.leave(reset=reset)

        await asyncio.gather(
            *(silent(ask) for ask in ASKS),
            *(finished(ask, reset=reset) for ask in ASKS for reset in (False, True)),
        )
        await on.house.idle()
        assert on.house.journal("start") == on.house.journal() == []
        assert on.house.vendor.total == 0
        assert on.house.engine.health.well


async def test_pipelined_requests_are_answered_one_by_one_and_smuggled_bytes_are_none(door: str) -> None:
    """After two whole requests comes what is no third: it is refused, and leaves no record."""
    async with stage(door) as on:
        for number, ask in enumerate(WHOLE, 1):
            body = orjson.dumps(ask.body())
            lines = [f"POST {ask.path()} HTTP/1.1", "host: localhost", "content-type: application/json"]
            lines += [f"{name}: {value}" for name, value in ask.headers.items()]
            lines += [f"x-api-key: {on.house.secret}", f"content-length: {len(body)}", "", ""]
            whole = "\r\n".join(lines).encode() + body
            lying = whole.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n", 1)
            async with rude(on.house.url) as client:
                await client.send(whole + whole)
                for _ in range(2):
                    client.heard.body = b""
                    assert await client.head() == 200
                    while await client.piece():
                        pass
                    assert text(ask, client.heard.body.decode()) == TEXT, str(ask)
                await client.send(lying)
                assert (await client.closed()).startswith(b"HTTP/1.1 400 "), str(ask)
            await on.house.idle()
            assert len(on.house.journal()) == on.house.vendor.total == 2 * number
        assert on.house.engine.health.well
