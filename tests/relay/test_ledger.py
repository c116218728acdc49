"""What stands in the journal while a request runs, and after it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consumers.models import ApiKey
from relay import engine
from tests.endings.kit import DIALECTS, Dialect, ask, clean_house, gone
from tests.rude import rude

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("name", ["anthropic", "gemini", "chat"])
async def test_a_checkpoint_holds_what_was_reported_and_counted_so_far(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKPOINT", 0.1)
    monkeypatch.setattr(engine, "PATROL", 0.05)
    dialect: Dialect = DIALECTS[name]
    async with clean_house("asgi") as each:
        each.vendor.script("chunks-20.size-40.delay-2.in-100.cached-30.out-50.fault-stall.after-10")
        async with rude(each.url) as client:
            await ask(client, each, dialect)
            await client.head()
            async with asyncio.timeout(5):
                while not each.journal("checkpoint") or each.journal("checkpoint")[-1]["text_bytes"] < 200:
                    await asyncio.sleep(0.02)
            client.leave()
            await gone(each.vendor.requests[-1], 1)
        last = each.journal("checkpoint")[-1]
        assert (last["number"], last["committed"]) == (1, True)
        reported = {} if name == "chat" else {"input_tokens": 100, "cache_read_tokens": 30}
        assert {key: last["usage"][key] for key in reported} == reported
        assert last["usage"].get("output_tokens", 0) < 50


async def test_the_journal_tells_a_request_in_order(door: str) -> None:
    async with clean_house(door, keys=("sk-vendor-first-key-1", "sk-vendor-second-key-2")) as each:
        each.vendor.script(["fault-500", "chunks-3"])
        async with rude(each.url) as client:
            await ask(client, each)
            await client.rest()
        kinds = ("start", "attempt", "attempt_end", "final")
        lines: dict[str, list[dict[str, Any]]] = {kind: each.journal(kind) for kind in kinds}
        assert [len(lines[kind]) for kind in kinds] == [1, 1, 1, 1]
        assert [lines["start"][0]["attempt"]["number"], lines["attempt"][0]["number"]] == [1, 2]
        request_id = lines["start"][0]["request_id"]
        assert {line["request_id"] for kind in kinds[:3] for line in lines[kind]} == {request_id}
        assert lines["final"][0]["record"]["request_id"] == request_id
        assert [attempt["number"] for attempt in lines["final"][0]["attempts"]] == [1, 2]
        assert lines["attempt_end"][0]["reason"] == "server_error"


async def test_a_failure_to_keep_bodies_does_not_cost_the_record(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise TypeError("this cannot be kept")

    monkeypatch.setattr(engine, "recorded", fail)

    def prepare(_url: str) -> None:
        ApiKey.objects.update(recording="full")

    async with clean_house(door, prepare=prepare) as each:
        async with rude(each.url) as client:
            await ask(client, each)
            assert (await client.rest()).whole
        record = each.record()
        assert (record["outcome"], record["body_lost"]) == ("ok", True)
