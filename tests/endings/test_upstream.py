"""How a stream ends when upstream decides: it completes, fails before or after the first frame, falls silent,
goes on for too long."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.counts import count
from tests.endings.kit import DIALECTS, MICRO, Dialect, ask, blocked, clean_house, events, text_of
from tests.relay.harness import House
from tests.rude import Heard, rude

pytestmark = pytest.mark.django_db(transaction=True)

SIZES = "chunks-8.size-40.in-100.out-50"
SHORT = {
    "first_byte_timeout": 0.2,
    "first_event_timeout": 0.2,
    "idle_timeout": 0.2,
    "stream_total_timeout": 1.5,
}
KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")


@dataclass(frozen=True)
class Ending:
    """What upstream plays, and what must come of it: outcome, status and error code of the record, the
    attempts' reasons. `waits` names the patience that is to run out, which is short; no other is, lest a busy
    machine seem to be an upstream that is silent."""

    play: str
    outcome: str
    status: int
    code: str
    reasons: tuple[str, ...] = ("",)
    truncated: bool = False
    waits: str = ""

    @property
    def knobs(self) -> dict[str, float]:
        """What the relay is to have for it."""
        return {self.waits: SHORT[self.waits]} if self.waits else {}


def _failed(play: str, status: int, code: str, reason: str, waits: str = "") -> Ending:
    return Ending(play, "upstream_error", status, code, (reason,) * len(KEYS), waits=waits)


def _partial(play: str, code: str, reason: str, *, truncated: bool = False, waits: str = "") -> Ending:
    return Ending(f"{SIZES}.{play}", "partial", 200, code, (reason,), truncated, waits)


BEFORE = {
    "an error as the first event": _failed("fault-error-server", 502, "upstream_error", "server_error"),
    "a status": _failed("fault-500", 502, "upstream_error", "server_error"),
    "an empty answer": _failed("fault-empty", 502, "upstream_error", "empty"),
    "silence instead of a head": _failed(
        "fault-stall-head", 504, "timeout", "first_byte_timeout", waits="first_byte_timeout"
    ),
    "silence after the head": _failed(
        "fault-stall-first", 504, "timeout", "first_event_timeout", waits="first_event_timeout"
    ),
}
AFTER = {
    "an error event": _partial("fault-error-server.after-6.delay-5", "upstream_error", "server_error"),
    "a clean end too early": _partial("fault-truncated.after-6", "truncated", "truncated", truncated=True),
    "half a line": _partial("fault-half-line.after-6", "truncated", "truncated", truncated=True),
    "a close": _partial("fault-cut.after-6.delay-5", "truncated", "truncated"),
    "a reset": _partial("fault-reset.after-6.delay-5", "truncated", "truncated"),
    "silence": _partial(
        "fault-stall.after-6", "upstream_timeout", "first_event_timeout", waits="idle_timeout"
    ),
    "no end in time": _partial(
        "chunks-100.delay-25", "upstream_timeout", "total_timeout", waits="stream_total_timeout"
    ),
}


async def heard(each: House, dialect: Dialect, play: str) -> Heard:
    """All that a patient client hears of one stream."""
    each.vendor.script(play)
    async with rude(each.url) as client:
        await ask(client, each, dialect)
        return await client.rest()


async def heard_in_all(
    each: House, play: str, times: int = 1
) -> list[tuple[str, Dialect, Heard, dict[str, Any]]]:
    """One stream in each dialect, at the same time, `times` times: what its client heard, and its final
    line. What one time leaves behind does not count in the next."""
    return [heard for _ in range(times) for heard in await _heard_in_all(each, play)]


async def _heard_in_all(each: House, play: str) -> list[tuple[str, Dialect, Heard, dict[str, Any]]]:
    each.afresh()
    before = len(each.journal())
    answers = await asyncio.gather(*(heard(each, dialect, play) for dialect in DIALECTS.values()))
    await each.idle()
    finals = each.journal()[before:]
    assert len(finals) == len(DIALECTS)
    by_id = {final["record"]["request_id"]: final for final in finals}
    assert len(by_id) == len(DIALECTS)
    return [
        (f"{name}: {play}", dialect, answer, by_id[answer.headers["x-request-id"]])
        for (name, dialect), answer in zip(DIALECTS.items(), answers, strict=True)
    ]


async def test_a_complete_stream_is_ok_and_billed_as_reported(door: str) -> None:
    async with clean_house(door) as each:
        for name, dialect, answer, final in await heard_in_all(each, SIZES, count(1, 50)):
            assert answer.whole, name
            assert dialect.end in answer.body, name
            assert dialect.error not in answer.body, name
            record = final["record"]
            assert (record["outcome"], record["status_code"], record["error_code"]) == ("ok", 200, ""), name
            assert (record["input_tokens"], record["output_tokens"]) == (100, 50), name
            assert record["list_cost"] == record["own_cost"] == (100 + 2 * 50) * MICRO, name
            assert [attempt["verdict"] for attempt in final["attempts"]] == ["ok"], name


@pytest.mark.parametrize("how", BEFORE)
async def test_a_failure_before_the_first_frame_is_an_error_and_costs_nothing(door: str, how: str) -> None:
    ending = BEFORE[how]
    async with clean_house(door, knobs=ending.knobs, keys=KEYS) as each:
        for name, _, answer, final in await heard_in_all(each, ending.play, count(1, 20)):
            record = final["record"]
            assert (answer.status, answer.whole) == (ending.status, True), name
            assert orjson.loads(answer.body)["error"], name
            assert (record["outcome"], record["status_code"], record["error_code"]) == (
                ending.outcome, ending.status, ending.code,
            ), name  # fmt: skip
            assert tuple(attempt["reason"] for attempt in final["attempts"]) == ending.reasons, name
            assert record["list_cost"] == record["input_tokens"] == record["output_tokens"] == 0, name


@pytest.mark.parametrize("how", AFTER)
async def test_a_failure_after_the_first_frame_is_told_in_the_stream_and_what_came_is_billed(
    door: str, how: str
) -> None:
    ending = AFTER[how]
    async with clean_house(door, knobs=ending.knobs) as each:
        for name, dialect, answer, final in await heard_in_all(each, ending.play, count(1, 20)):
            record = final["record"]
            assert (answer.status, answer.whole) == (200, True), name
            assert dialect.error in answer.body, name
            assert dialect.end not in answer.body, name
            told = events(dialect, answer.body)
            assert told[-1].get("error") or told[-1]["response"]["error"], name
            assert (record["outcome"], record["status_code"], record["error_code"]) == (
                ending.outcome, ending.status, ending.code,
            ), name  # fmt: skip
            assert tuple(attempt["reason"] for attempt in final["attempts"]) == ending.reasons, name
            assert record["truncated"] is ending.truncated, name
            size = len(text_of(dialect, answer.body).encode())
            assert size >= 40, name
            assert record["estimated"], name
            assert record["output_tokens"] == math.ceil(size / 4), name
            asked = next(
                seen for seen in each.vendor.requests if seen.path.startswith(dialect.path.partition("?")[0])
            )
            reported = dialect.name in ("anthropic", "gemini")
            estimate = pytest.approx(len(asked.body) / 4, abs=20)
            assert record["input_tokens"] == (100 if reported else estimate), name
            cost = (record["input_tokens"] + 2 * record["output_tokens"]) * MICRO
            assert record["list_cost"] == record["own_cost"] == cost, name


async def test_a_stream_of_responses_that_fails_goes_on_counting_its_events(door: str) -> None:
    async with clean_house(door) as each:
        answer = await heard(each, DIALECTS["responses"], f"{SIZES}.fault-truncated.after-6")
        numbers = [event["sequence_number"] for event in events(DIALECTS["responses"], answer.body)]
        assert numbers == list(range(len(numbers)))


async def test_the_silent_commit_is_followed_by_an_answer(door: str) -> None:
    async with clean_house(door, knobs={"keep_alive": 0.05}) as each:
        for name, dialect, answer, final in await heard_in_all(each, f"first-150.{SIZES}"):
            assert (answer.status, answer.whole) == (200, True), name
            assert dialect.end in answer.body, name
            assert len(text_of(dialect, answer.body)) == 8 * 40, name
            assert (final["record"]["outcome"], final["record"]["status_code"]) == ("ok", 200), name


async def test_the_silent_commit_is_followed_by_an_error_event(door: str) -> None:
    async with clean_house(door, knobs={"first_event_timeout": 0.2, "keep_alive": 0.05}) as each:
        for name, dialect, answer, final in await heard_in_all(each, "fault-stall-first"):
            assert (answer.status, answer.whole) == (200, True), name
            assert dialect.error in answer.body, name
            record = final["record"]
            assert (record["outcome"], record["status_code"]) == ("upstream_error", 200), name
            assert record["list_cost"] == 0, name


async def test_what_came_before_a_close_is_delivered_however_slowly_the_client_reads(door: str) -> None:
    async with clean_house(door) as each:
        each.vendor.script("chunks-400.size-20000.in-100.out-50.fault-cut.after-395")
        async with rude(each.url, stubborn=True) as client:
            await ask(client, each)
            await client.head()
            await blocked(each)
            answer = await client.rest()
        assert answer.whole
        assert DIALECTS["chat"].error in answer.body
        assert len(text_of(DIALECTS["chat"], answer.body)) == 394 * 20000
