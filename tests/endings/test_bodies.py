"""Requests that never arrive whole, and what becomes of the memory and the files that held them."""

from __future__ import annotations

import asyncio

import pytest

from tests.endings.kit import CHAT, FORM, ask, clean_house, form, gone, uploads
from tests.relay.harness import House
from tests.rude import Rude, rude

pytestmark = pytest.mark.django_db(transaction=True)


async def upload(client: Rude, each: House, size: int, *, only: int | None = None) -> None:
    await client.ask("/v1/audio/transcriptions", form(size), {"x-api-key": each.secret, **FORM}, only=only)


async def test_half_an_upload_leaves_no_file(door: str) -> None:
    async with clean_house(door) as each:
        async with rude(each.url) as client:
            await upload(client, each, 3_000_000, only=2_500_000)
            await asyncio.sleep(0.1)
            assert door == "django" or uploads()
            client.leave()
        await each.idle()
        assert uploads() == []
        assert each.journal("start") == each.journal() == []


@pytest.mark.parametrize(
    "play", ["", "fault-500", "fault-stall-head", "fault-body-early", "fault-body-refuse"]
)
async def test_an_upload_is_gone_with_its_request(door: str, play: str) -> None:
    async with clean_house(door, knobs={"connect_timeout": 0.3, "whole_first_byte_timeout": 0.3}) as each:
        if play:
            each.vendor.script(play)
        async with rude(each.url) as client:
            await upload(client, each, 3_000_000)
            answer = await client.rest()
            assert answer.whole
        await each.idle()
        assert uploads() == []
        assert list((each.data_dir / "uploads").glob("*")) == []
        (final,) = each.journal()
        assert final["record"]["status_code"] == answer.status
        assert final["record"]["kind"] == "transcribe"


async def test_an_upload_is_gone_when_its_client_leaves(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("fault-stall-head")
        async with rude(each.url) as client:
            await upload(client, each, 3_000_000)
            seen = await each.vendor.wait_for(1)
            client.leave()
            await gone(seen, 5)
        await each.idle()
        assert uploads() == []
        (final,) = each.journal()
        assert final["record"]["outcome"] == "client_gone"


async def test_a_body_is_let_go_as_soon_as_the_stream_has_begun(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("chunks-50.delay-20")
        async with rude(each.url) as client:
            await ask(client, each, padding="x" * 2_000_000)
            await client.head()
            assert each.engine.body_bytes == 0
            assert each.engine.open
            await client.rest()


async def test_a_body_counts_while_it_waits_for_an_answer(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("fault-stall-head")
        async with rude(each.url) as client:
            await ask(client, each, padding="x" * 2_000_000)
            seen = await each.vendor.wait_for(1)
            assert each.engine.body_bytes > 2_000_000
            client.leave()
            await gone(seen, 5)
        await each.idle()


async def test_too_many_bodies_at_once_are_refused_and_counted_back(door: str) -> None:
    async with clean_house(door, knobs={"body_memory": 3_000_000}) as each:
        each.vendor.script(["fault-stall-head", "ok"])
        async with rude(each.url) as first, rude(each.url) as second:
            await ask(first, each, padding="x" * 2_000_000)
            seen = await each.vendor.wait_for(1)
            await ask(second, each, padding="x" * 2_000_000)
            answer = await second.rest()
            assert answer.status == 503
            assert int(answer.headers["retry-after"]) >= 1
            first.leave()
            await gone(seen, 5)
        await each.idle()
        async with rude(each.url) as third:
            await ask(third, each, padding="x" * 2_000_000)
            assert CHAT.end in (await third.rest()).body
        outcomes = sorted(final["record"]["outcome"] for final in each.journal())
        assert outcomes == ["client_gone", "ok", "rejected"]


async def test_a_request_whose_client_left_before_it_was_read_leaves_no_record(door: str) -> None:
    """It sent everything and went away at once: nothing was begun for it, or it is told as gone."""
    async with clean_house(door) as each:
        for _ in range(20):
            async with rude(each.url) as client:
                await ask(client, each)
                client.leave(reset=True)
        await each.idle()
        await asyncio.sleep(0.1)
        await each.idle()
        finals = each.journal()
        assert {final["record"]["outcome"] for final in finals} <= {"client_gone"}
        assert len(finals) == len(each.journal("start"))


async def test_leaving_a_list_of_models_leaves_no_record(door: str) -> None:
    async with clean_house(door) as each:
        for _ in range(10):
            async with rude(each.url) as client:
                await client.ask("/v1/models", None, {"x-api-key": each.secret}, method="GET")
                client.leave(reset=True)
        await asyncio.sleep(0.1)
        await each.idle()
        assert each.journal() == []
