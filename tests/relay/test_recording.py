"""What is kept of a request whose API key asks for it, from the door to its row."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey
from providers.models import Endpoint
from relay.recording import HIDDEN
from tests.relay.asks import HELLO, STREAMED, WHOLE, Ask, values
from tests.relay.harness import House, house
from usage.bodies import BodyStore, unpack
from usage.models import Body

pytestmark = pytest.mark.django_db(transaction=True)
BODIES = ("request_body", "upstream_request_body", "response_body")
CHAT, CHAT_STREAM = WHOLE[0], STREAMED[0]
CAP = 1 << 20


@asynccontextmanager
async def recording(door: str, what: str, **options: Any) -> AsyncIterator[House]:
    """A relay whose one API key asks for `none`, `headers` or `full`."""

    def prepare(_: str) -> None:
        ApiKey.objects.update(recording=what)

    async with house(door, prepare=prepare, **options) as each:
        yield each


async def stored(each: House, cap_bytes: int = CAP) -> list[Body]:
    """The rows that the recorder makes of what the worker left, oldest first; asserts that no file stays."""
    await each.idle()
    await sync_to_async(each.engine.ledger.bodies.close)()
    root = each.data_dir / "bodies"

    def store() -> list[Body]:
        waiting = BodyStore(root, cap_bytes=cap_bytes)
        while waiting.store(int(time.time() * 1000)):
            pass
        assert left_in(root) == []
        return list(Body.objects.order_by("request_id"))

    return await sync_to_async(store)()


def left_in(root: Path) -> list[Path]:
    return sorted(root.iterdir()) if root.is_dir() else []


def headers(row: Body, which: str) -> dict[str, str]:
    """The kept headers of one of the four messages."""
    kept: dict[str, str] = getattr(row, f"{which}_headers")
    return kept


def bodies(row: Body) -> dict[str, Any]:
    """The kept bodies, parsed; None where there is none."""
    kept = {name: unpack(getattr(row, name)) for name in BODIES}
    return {name: None if body is None else orjson.loads(body) for name, body in kept.items()}


async def test_nothing_is_kept_where_nothing_is_asked_for(door: str) -> None:
    async with recording(door, "none") as each:
        for ask in (CHAT, CHAT_STREAM):
            await ask.send(each)
        assert await stored(each) == []
        assert not (each.data_dir / "bodies").exists()
        assert [final["record"].get("body_lost", False) for final in each.journal()] == [False, False]


@pytest.mark.parametrize("ask", [CHAT, CHAT_STREAM], ids=str)
async def test_headers_are_kept_without_secrets_and_without_bodies(door: str, ask: Ask) -> None:
    async with recording(door, "headers") as each:
        secrets = {"authorization": f"Bearer {each.secret}", "cookie": "sessionid=abc", "x-trace": "kept"}
        answer = await ask.send(each, headers=secrets)
        (row,) = await stored(each)
        assert str(row.request_id) == each.record()["request_id"]
        asked = headers(row, "client_request")
        assert (asked["authorization"], asked["x-api-key"], asked["cookie"]) == (HIDDEN,) * 3
        assert asked["x-trace"] == "kept"
        assert headers(row, "upstream_request")["authorization"] == HIDDEN
        assert headers(row, "upstream_response")["content-type"].startswith(
            "text/event-stream" if ask.stream else "application/json"
        )
        assert headers(row, "client_response")["x-request-id"] == answer.headers["x-request-id"]
        assert [getattr(row, name) for name in BODIES] == [None] * 3
        assert not row.truncated
        everything = str([getattr(row, field.attname) for field in Body._meta.concrete_fields])
        assert each.secret not in everything
        assert "sk-vendor-first-key-1" not in everything


@pytest.mark.parametrize("ask", WHOLE, ids=str)
async def test_a_whole_exchange_is_kept_as_it_was_on_the_wire(door: str, ask: Ask) -> None:
    async with recording(door, "full") as each:
        answer = await ask.send(each)
        (row,) = await stored(each)
        assert unpack(row.request_body) == answer.request.content
        assert unpack(row.upstream_request_body) == each.vendor.requests[0].body
        assert unpack(row.response_body) == answer.content
        assert not row.truncated
        assert row.expires_at.timestamp() - time.time() == pytest.approx(7 * 24 * 3600, abs=60)


@pytest.mark.parametrize("ask", STREAMED, ids=str)
async def test_a_stream_is_kept_as_its_events(door: str, ask: Ask) -> None:
    async with recording(door, "full") as each:
        answer = await ask.send(each)
        (row,) = await stored(each)
        kept = bodies(row)
        assert HELLO in str(kept["request_body"])
        assert kept["upstream_request_body"] == orjson.loads(each.vendor.requests[0].body)
        chunks, told = kept["response_body"]["chunks"], kept["response_body"]["metadata"]
        assert chunks == values(ask, answer.text)
        assert told["stream"]
        assert told["has_completion"]
        assert told["total_chunks"] == len(chunks)
        assert told["data_count"] >= len(chunks) - 1
        assert told["response_time_ms"] >= 0
        assert not row.truncated


async def test_refusals_and_broken_streams_are_kept_too(door: str) -> None:
    async with recording(door, "full") as each:
        refused = await CHAT.send(each, model="no-such-model")
        each.vendor.script(["fault-cut.after-3"])
        broken = await CHAT_STREAM.send(each)
        await each.idle()
        each.vendor.script(["fault-400"])
        passed_on = await CHAT.send(each)
        none_there, cut, told = await stored(each)
        assert unpack(none_there.response_body) == refused.content
        assert none_there.upstream_request_body is None
        assert none_there.upstream_request_headers == {}
        kept = bodies(cut)["response_body"]
        assert '"error"' in broken.text
        assert len(kept["chunks"]) == 3
        assert kept["chunks"] == values(CHAT_STREAM, broken.text)[:3]
        assert kept["metadata"]["has_completion"] is False
        assert unpack(told.response_body) == passed_on.content
        assert headers(told, "upstream_response")["content-type"] == "application/json"


async def test_only_the_attempt_that_answered_is_kept(door: str) -> None:
    async with recording(door, "full", keys=("sk-vendor-first-key-1", "sk-vendor-second-key-2")) as each:
        each.vendor.script(["fault-401"], secret="sk-vendor-first-key-1")
        answer = await CHAT_STREAM.send(each)
        (row,) = await stored(each)
        assert bodies(row)["response_body"]["chunks"] == values(CHAT_STREAM, answer.text)
        assert not row.truncated


@pytest.mark.parametrize("ask", [CHAT, CHAT_STREAM], ids=str)
async def test_bodies_are_cut_at_the_cap_and_say_so(door: str, ask: Ask) -> None:
    async with recording(door, "full", knobs={"record_cap_bytes": 500}) as each:
        prompt = [{"role": "user", "content": "a word " * 100}]
        answer = await ask.send(each, messages=prompt)
        (row,) = await stored(each)
        assert row.truncated
        assert unpack(row.request_body) == answer.request.content[:500]
        assert unpack(row.upstream_request_body) == each.vendor.requests[0].body[:500]
        assert len(unpack(row.response_body) or b"") <= 500
        assert each.record()["outcome"] == "ok"
        assert not each.record().get("truncated", False)


async def test_a_short_request_with_a_long_stream_keeps_its_first_events(door: str) -> None:
    async with recording(door, "full", knobs={"record_cap_bytes": 2000}) as each:
        answer = await CHAT_STREAM.send(each)
        assert len(answer.content) > 3000
        (row,) = await stored(each)
        assert row.truncated
        assert unpack(row.request_body) == answer.request.content


async def test_bodies_that_find_the_queue_full_are_lost_and_the_record_says_so(door: str) -> None:
    async with recording(door, "full", knobs={"body_queue_bytes": 100}) as each:
        for ask in (CHAT, CHAT_STREAM):
            assert (await ask.send(each)).status_code == 200
        assert await stored(each) == []
        records = [final["record"] for final in each.journal()]
        assert [(each["outcome"], each["body_lost"]) for each in records] == [("ok", True)] * 2


async def test_headers_that_carry_secrets_under_names_of_their_own_are_not_kept(door: str) -> None:
    """A gateway's own credential that the endpoint adds, and a vendor that repeats ours in a header."""

    def gateway() -> None:
        headers = {"cf-aig-authorization": "Bearer gateway", "x-portkey-api-key": "p", "x-team": "blue"}
        Endpoint.objects.filter(format="openai_chat").update(headers=headers)

    async with recording(door, "headers", keys=("Plain~Secret.1/2",)) as each:
        await sync_to_async(gateway)()
        await each.engine._follow()
        told = {
            "content-type": "application/json", "x-echo": "you sent Plain~Secret.1/2",
            "x-ratelimit-remaining-tokens": "7", "x-access-token": "t",
        }  # fmt: skip
        body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
        each.vendor.script(body=[body], headers=told)
        answer = await CHAT.send(each, headers={"idempotency-key": "once", "x-auth-token": "mine"})
        assert answer.content == body
        (row,) = await stored(each)
        sent, heard = headers(row, "upstream_request"), headers(row, "upstream_response")
        assert (sent["cf-aig-authorization"], sent["x-portkey-api-key"]) == (HIDDEN, HIDDEN)
        assert (sent["x-team"], sent["idempotency-key"]) == ("blue", "once")
        assert (heard["x-echo"], heard["x-access-token"]) == (f"you sent {HIDDEN}", HIDDEN)
        assert heard["x-ratelimit-remaining-tokens"] == "7"
        assert headers(row, "client_request")["x-auth-token"] == HIDDEN
