"""Every upstream row of the fault matrix, in every format, whole and streamed: the client's answer, the
record, the attempts, and what is held against key and endpoint."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import groupby
from typing import Any, NamedTuple, Protocol, TypeVar

import httpx
import orjson
import pytest

from simulator import errors
from simulator.compose import TEXT
from tests.faults.rows import AFTER, BEFORE, BROKEN, CALLERS, THROUGH, After, Before, Through
from tests.faults.stage import (
    COUNTED,
    NAMES,
    NOTHING,
    SECRETS,
    SIZES,
    Held,
    Stage,
    assert_billed,
    assert_broken,
    assert_clean,
    assert_nothing_billed,
    assert_refused,
    envelope,
    impatient,
    stage,
    status_of,
)
from tests.relay.asks import STREAMED, Ask, ends, text

pytestmark = pytest.mark.django_db(transaction=True)

LEAD = {"openai_chat": 1, "openai_responses": 4, "anthropic": 3, "gemini": 0}
"""Frames of a stream before the first that holds text."""


class Fault(Protocol):
    """What is played, and in which ways it is asked for."""

    @property
    def knobs(self) -> dict[str, Any]: ...
    @property
    def impatient(self) -> bool: ...
    @property
    def asks(self) -> tuple[Ask, ...]: ...


class Seen(NamedTuple):
    """One request: how it was asked, what came back, and what was held against each vendor then."""

    ask: Ask
    answer: httpx.Response
    held: list[Held]


F = TypeVar("F", bound=Fault)


def _needs(fault: Fault) -> tuple[Any, ...]:
    return (fault.impatient, *sorted(fault.knobs.items()))


def stage_of(door: str, faults: Sequence[Fault]) -> AbstractAsyncContextManager[Stage]:
    """The stage that these faults have in common."""
    return stage(door, knobs=faults[0].knobs, prepare=impatient if faults[0].impatient else None)


def by_knobs(table: Mapping[str, Iterable[F]]) -> pytest.MarkDecorator:
    """The rows of a table, each with those of its faults that the same relay can show."""
    return pytest.mark.parametrize(
        "faults",
        [
            pytest.param(list(some), id=f"{row}, {number}" if number else row)
            for row, faults in table.items()
            for number, (_, some) in enumerate(groupby(faults, key=_needs))
        ],
    )


async def played(on: Stage, asks: tuple[Ask, ...], play: str, *, by: int, slow: bool = False) -> list[Seen]:
    """One request in each way while the first `by` vendors play a fault; one after the other, each as if it
    were the first, or all at once where it takes its time."""

    def script() -> None:
        on.forgive()
        for secret in SECRETS[:by]:
            on.house.vendor.script([play], secret=secret)

    if slow:
        script()
        answers = await asyncio.gather(*(ask.send(on.house) for ask in asks))
        return [Seen(ask, answer, on.held(ask)) for ask, answer in zip(asks, answers, strict=True)]
    seen = []
    for ask in asks:
        script()
        seen.append(Seen(ask, await ask.send(on.house), on.held(ask)))
    return seen


def held_by(fault: Before | After, ask: Ask, tried: int) -> list[Held]:
    """What is held against the vendors where the first `tried` were asked. What is asked at once adds up, at
    the one key, and at each format's endpoint."""
    held = fault.held
    if fault.slow and held.key:
        held = Held(len(fault.asks), sum(each.format == ask.format for each in fault.asks))
    return [held] * tried + [NOTHING] * (len(NAMES) - tried)


def finals(on: Stage) -> dict[str, dict[str, Any]]:
    """The final lines by request id; every request has one."""
    found = {final["record"]["request_id"]: final for final in on.house.journal()}
    assert len(found) == len(on.house.journal())
    return found


@by_knobs(BEFORE)
async def test_before_the_first_frame_another_is_asked_and_all_failing_is_told(
    door: str, faults: list[Before]
) -> None:
    async with stage_of(door, faults) as on:
        asked = [
            (fault, by, seen)
            for fault in faults
            for by in ((1, 3) if fault.tries > 1 else (3,))
            for seen in await played(on, fault.asks, fault.play, by=by, slow=fault.slow)
        ]
        lines = finals(on)
        assert len(lines) == len(asked)
        for fault, by, seen in asked:
            final = lines[seen.answer.headers["x-request-id"]]
            try:
                if by == 1:
                    assert_another_answered(fault, seen, final)
                else:
                    assert_all_failed(fault, seen, final)
            except AssertionError as error:
                raise AssertionError(f"{fault.play} by {by}, {seen.ask}: {error}") from error


def assert_another_answered(fault: Before, seen: Seen, final: dict[str, Any]) -> None:
    """The second vendor's answer, as if there were no first; the record knows better."""
    assert_clean(seen.ask, seen.answer)
    assert "retry-after" not in seen.answer.headers
    record, (first, second) = final["record"], final["attempts"]
    assert (record["outcome"], record["status_code"], record["error_code"]) == ("ok", 200, "")
    assert (record["attempt_count"], record["provider_name"]) == (2, "second")
    assert_billed(record, 2, 40)
    reason = fault.meant.get(str(seen.ask), fault.reason)
    assert (first["provider_name"], first["verdict"], first["reason"]) == ("vendor", "next", reason)
    assert first["maybe_billed"] is fault.maybe_billed
    assert first["error_text"]
    assert first["input_tokens"] == first["output_tokens"] == first["own_cost"] == 0
    assert (second["verdict"], second["reason"], second["maybe_billed"]) == ("ok", "", False)
    assert second["own_cost"] == record["own_cost"] == record["list_cost"]
    assert seen.held == held_by(fault, seen.ask, 1)


def assert_all_failed(fault: Before, seen: Seen, final: dict[str, Any]) -> None:
    """One error in the client's own format, and nothing to pay."""
    assert_refused(seen.ask, seen.answer, fault.code, fault.said, fault.wait)
    record, attempts = final["record"], final["attempts"]
    status = status_of(seen.ask, fault.code)
    assert (record["outcome"], record["status_code"], record["error_code"]) == (
        "upstream_error", status, fault.code,
    )  # fmt: skip
    assert record["explanation"]["targets"]
    assert_nothing_billed(final)
    reason = fault.meant.get(str(seen.ask), fault.reason)
    assert [each["reason"] for each in attempts] == [reason] * fault.tries
    assert [each["provider_name"] for each in attempts] == list(NAMES[: fault.tries])
    assert {each["maybe_billed"] for each in attempts} == {fault.maybe_billed}
    assert {each["verdict"] for each in attempts} == {"next" if fault.tries > 1 else "stop"}
    assert seen.held == held_by(fault, seen.ask, fault.tries)


@by_knobs(AFTER)
async def test_after_the_first_frame_the_stream_tells_it_and_what_came_is_billed(
    door: str, faults: list[After]
) -> None:
    async with stage_of(door, faults) as on:
        asked = [
            (fault, seen)
            for fault in faults
            for seen in await played(on, fault.asks, sized(fault.play), by=1, slow=fault.slow)
        ]
        lines = finals(on)
        assert len(lines) == len(asked)
        for fault, seen in asked:
            try:
                assert_partial(fault, seen, lines[seen.answer.headers["x-request-id"]])
            except AssertionError as error:
                raise AssertionError(f"{fault.play}, {seen.ask}: {error}") from error


def sized(play: str) -> str:
    return play if play.startswith("chunks") else f"{SIZES}.{play}"


def assert_partial(fault: After, seen: Seen, final: dict[str, Any]) -> None:
    """What came whole, then the failure; what was delivered is billed, once."""
    ask, answer = seen.ask, seen.answer
    said = assert_broken(ask, answer, fault.code, fault.said)
    record, (attempt,) = final["record"], final["attempts"]
    if fault.frames is not None:
        assert len(said) == 40 * (fault.frames - LEAD[ask.format])
    elif fault.pieces is not None:
        assert len(said) == 40 * fault.pieces
    assert said
    assert (record["outcome"], record["status_code"], record["error_code"]) == (
        "partial",
        200,
        fault.recorded,
    )
    assert (record["truncated"], record["estimated"], record["usage_source"]) == (
        fault.truncated, True, "estimated",
    )  # fmt: skip
    told = ask.format in ("anthropic", "gemini") and "in-100" in sized(fault.play)
    asked = 100 if told else 2 if ask.format in ("anthropic", "gemini") else len(answer.request.content) / 4
    assert_billed(record, math.ceil(asked), math.ceil(len(said) / 4))
    assert (attempt["verdict"], attempt["reason"], attempt["phase"]) == ("partial", fault.reason, "stream")
    assert attempt["own_cost"] == record["own_cost"] == record["list_cost"]
    assert seen.held == held_by(fault, ask, 1)


async def test_an_array_whose_framing_broke_is_not_told_to_be_whole(door: str) -> None:
    """In an element that is no JSON nothing tells where it ends; what came goes out as it is."""
    async with stage(door) as on:
        (seen,) = await played(on, STREAMED[-1:], f"{SIZES}.fault-bad-json.after-6", by=1)
        told = seen.answer.headers["x-request-id"]
        last = envelope(seen.ask, "upstream_error", "The upstream broke off its answer.", told)
        assert BROKEN in seen.answer.content
        element = seen.answer.content.rstrip().removesuffix(b"]").rpartition(b",\n")[2]
        assert orjson.loads(element) == last
        record = on.final(told)["record"]
        assert (record["outcome"], record["error_code"], record["truncated"]) == (
            "partial",
            "truncated",
            True,
        )
        assert_billed(record, 100, 80)
        assert seen.held == [COUNTED, NOTHING, NOTHING]


@pytest.mark.parametrize("row", CALLERS)
async def test_the_callers_own_fault_is_passed_on_at_once(door: str, row: str) -> None:
    async with stage(door) as on:
        asked = [
            (caller, seen)
            for caller in CALLERS[row]
            for seen in await played(on, caller.asks, f"fault-{caller.inside or caller.kind}", by=3)
        ]
        lines = finals(on)
        for caller, seen in asked:
            label = f"{caller.kind}, {seen.ask}"
            told = seen.answer.json()
            vendors = errors.body(errors.KINDS[caller.kind], seen.ask.format, model="sim")
            if caller.inside:
                said, ours = errors.KINDS[caller.kind].text, seen.answer.headers["x-request-id"]
                vendors = envelope(seen.ask, "invalid_request", said, ours)
            assert (seen.answer.status_code, told["error"]) == (caller.status, vendors["error"]), label
            assert told.keys() == vendors.keys(), label
            assert "retry-after" not in seen.answer.headers, label
            final = lines[seen.answer.headers["x-request-id"]]
            record, (attempt,) = final["record"], final["attempts"]
            assert (record["outcome"], record["status_code"]) == ("rejected", caller.status), label
            assert (attempt["verdict"], attempt["reason"]) == ("pass_on", "caller"), label
            assert_nothing_billed(final)
            assert seen.held == [NOTHING] * 3, label


@by_knobs(THROUGH)
async def test_what_is_no_failure_is_a_whole_answer(door: str, faults: list[Through]) -> None:
    async with stage_of(door, faults) as on:
        asked = [
            (through, seen)
            for through in faults
            for seen in await played(on, through.asks, through.play, by=1, slow=through.slow)
        ]
        lines = finals(on)
        for through, seen in asked:
            ask, answer, label = seen.ask, seen.answer, f"{through.play}, {seen.ask}"
            assert answer.status_code == 200, label
            if through.unreadable:
                assert through.unreadable in answer.content, label
            else:
                assert "usage-late" in through.play or ends(ask, answer.text), label
                assert TEXT.startswith(text(ask, answer.text)), label
            record, (attempt,) = (
                lines[answer.headers["x-request-id"]][part] for part in ("record", "attempts")
            )
            assert (record["outcome"], record["status_code"], record["error_code"]) == ("ok", 200, ""), label
            assert (attempt["verdict"], attempt["reason"]) == ("ok", ""), label
            counted = through.tokens is None
            assert (record["estimated"], record["suspect"]) == (counted, through.suspect), label
            tokens = through.tokens or (
                math.ceil(len(answer.request.content) / 4),
                math.ceil(len(TEXT) / 4),
            )
            assert (record["input_tokens"], record["output_tokens"]) == tokens, label
            assert seen.held == [NOTHING] * 3, label
