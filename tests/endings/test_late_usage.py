"""Usage that comes when the answer is over: within a moment it belongs to the record, later it amends it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from tests.endings.kit import CHAT, DIALECTS, MICRO, ask, clean_house, events
from tests.endings.scripted import exchange, holds
from tests.relay.harness import House
from tests.rude import Heard, rude
from usage.models import Attempt, AttemptRollup, PriceSnapshot, Record, Rollup
from usage.recorder import Recorder

pytestmark = pytest.mark.django_db(transaction=True)

CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"sim",'
    b'"choices":[{"index":0,"delta":%b,"finish_reason":%b}]}\n\n'
)
TEXT = CHUNK % (b'{"role":"assistant","content":"' + b"word " * 16 + b'"}', b"null")
FINISH = CHUNK % (b"{}", b'"stop"')
DONE = b"data: [DONE]\n\n"
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"sim","choices":[],'
    b'"usage":{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150}}\n\n'
)


def recorded(each: House, *, times: int = 1) -> Record:
    """The one record, once the recorder has read the journals, `times` times from their start."""
    for _ in range(times):
        recorder = Recorder(each.data_dir / "journals", appliers={}, keep_seconds=600)
        recorder.rewind()
        recorder.drain()
        recorder.close()
    return Record.objects.get()


async def answer_of(each: House, name: str) -> tuple[Heard, dict[str, Any]]:
    async with rude(each.url) as client:
        await ask(client, each, DIALECTS[name])
        answer = await client.rest()
    await each.idle()
    (final,) = each.journal()
    return answer, final["record"]


@pytest.mark.parametrize("name", ["gemini", "array"])
async def test_geminis_last_frame_waits_for_usage_that_follows(door: str, name: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("chunks-3.size-40.in-100.out-50.usage-late.pause-100.after-3")
        answer, record = await answer_of(each, name)
        assert answer.whole
        assert events(DIALECTS[name], answer.body)[-1]["usageMetadata"]["candidatesTokenCount"] == 50
        assert (record["input_tokens"], record["output_tokens"], record["estimated"]) == (100, 50, False)
        assert each.journal("amend") == []


@pytest.mark.parametrize("name", ["gemini", "array"])
async def test_usage_that_comes_later_amends_the_record_once(door: str, name: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("chunks-3.size-40.in-100.out-50.usage-late.pause-500.after-3")
        answer, record = await answer_of(each, name)
        assert answer.whole
        assert DIALECTS[name].end in answer.body
        assert record["estimated"]
        (amend,) = each.journal("amend")
        assert (amend["request_id"], amend["amendment"]) == (record["request_id"], 1)
        assert (amend["record"]["input_tokens"], amend["record"]["output_tokens"]) == (100, 50)
        assert amend["record"]["list_cost"] == 200 * MICRO
        row = await sync_to_async(recorded)(each, times=2)
        await _check_sums(row)


async def _check_sums(row: Record) -> None:
    assert (row.outcome, row.amendments, row.estimated) == ("ok", 1, False)
    assert (row.input_tokens, row.output_tokens) == (100, 50)
    assert row.list_cost == row.own_cost == Decimal("0.0002")
    assert (await PriceSnapshot.objects.aget()).pk == row.price_id
    attempt = await Attempt.objects.aget()
    assert (attempt.output_tokens, attempt.own_cost) == (50, Decimal("0.0002"))
    for rollup in (await Rollup.objects.aget(), await AttemptRollup.objects.aget()):
        assert (rollup.requests, rollup.input_tokens, rollup.output_tokens) == (1, 100, 50)
        assert rollup.own_cost == Decimal("0.0002")


async def test_usage_after_the_end_of_a_chat_amends_the_record(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(body=[TEXT, FINISH, DONE, USAGE], pause=0.05)
        answer, record = await answer_of(each, "chat")
        assert answer.whole
        assert CHAT.end in answer.body
        assert b'"usage"' not in answer.body
        assert record["estimated"]
        assert record["output_tokens"] == 20
        await _check_sums(await sync_to_async(recorded)(each, times=2))


async def test_usage_right_behind_the_end_belongs_to_the_record(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(body=[TEXT + FINISH + DONE + USAGE])
        _, record = await answer_of(each, "chat")
        assert (record["input_tokens"], record["output_tokens"], record["estimated"]) == (100, 50, False)
        assert each.journal("amend") == []


async def test_usage_that_came_is_billed_though_its_client_left_without_taking_it(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(body=[TEXT, FINISH, DONE, USAGE], pause=0.05)
        wanting = replace(CHAT, body={**CHAT.body, "stream_options": {"include_usage": True}})
        async with exchange(each, door, wanting, blocks=holds(b'"usage":{')) as ours:
            await ours.waiting.wait()
            ours.leave()
            await ours.over()
        await each.idle()
        assert len(each.journal()) == 1
        assert len(each.journal("amend")) == 1
        await _check_sums(await sync_to_async(recorded)(each))


async def test_an_upstream_that_stays_after_the_end_is_left_in_time(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script(body=[TEXT, FINISH, USAGE, DONE], then="stall")
        answer, record = await answer_of(each, "chat")
        assert answer.whole
        assert (record["outcome"], record["output_tokens"]) == ("ok", 50)
        assert record["total_ms"] < 900
