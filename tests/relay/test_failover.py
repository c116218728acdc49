"""A target that fails before the first meaningful frame is followed by the next: the client sees one clean
answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from providers.models import Endpoint
from simulator.compose import TEXT
from tests.relay.asks import ASKS, WHOLE, Ask, ends, error, openers, text
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
KEYS = (ONE, TWO)


async def one_clean_answer(each: House, ask: Ask, label: str) -> str:
    """Asks; returns the request's id."""
    answer = await ask.send(each)
    assert answer.status_code == 200, f"{label}: {answer.text}"
    assert text(ask, answer.text) == TEXT, label
    assert openers(ask, answer.text) == 1, label
    assert ends(ask, answer.text), label
    return answer.headers["x-request-id"]


def second_after(final: dict[str, Any], reason: str, label: str) -> None:
    """Checks the record of a request that the second key answered."""
    record, attempts = final["record"], final["attempts"]
    assert [row["reason"] for row in attempts] == [reason, ""], label
    assert [row["verdict"] for row in attempts] == ["next", "ok"], label
    assert [row["key_name"] for row in attempts] == ["key-1", "key-2"], label
    assert (record["outcome"], record["status_code"], record["attempt_count"]) == ("ok", 200, 2), label
    assert (record["key_name"], record["input_tokens"], record["output_tokens"]) == ("key-2", 2, 40), label
    assert attempts[0]["output_tokens"] == 0, label
    assert attempts[0]["error_text"], label


async def test_an_endpoint_has_timeouts_of_its_own(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.filter(format="openai_chat").update(first_byte_timeout=1)
        Endpoint.objects.filter(format="anthropic").update(first_event_timeout=1)

    async with house(door, keys=KEYS, prepare=prepare) as each:
        each.vendor.script(["fault-stall-head"], secret=ONE)
        await one_clean_answer(each, Ask("openai_chat"), "whole")
        second_after(each.journal()[-1], "first_byte_timeout", "whole")
        each.vendor.script(["fault-stall-first"], secret=ONE)
        await one_clean_answer(each, Ask("anthropic", stream=True), "streamed")
        second_after(each.journal()[-1], "first_event_timeout", "streamed")
        await each.idle()


async def test_the_vendors_own_error_object_is_passed_on_scrubbed(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        for ask in ASKS:
            each.vendor.script(["fault-400-context"], secret=ONE)
            answer = await ask.send(each)
            told = answer.json()["error"]
            assert "128000" in told["message"] or "200000" in told["message"]
            if ask.format == "openai_chat":
                assert told["code"] == "context_length_exceeded"
            each.vendor.script(["fault-400.leak"], secret=ONE)
            leaked = await ask.send(each)
            assert leaked.status_code == 400
            for canary in (ONE, "10.0.0.7", "12.34", "127.0.0.1"):
                assert canary not in leaked.text, (str(ask), canary)
            assert "malformed" in leaked.text
        journal = str(each.journal()) + str(each.journal("attempt_end"))
        for canary in (ONE, "10.0.0.7", "12.34"):
            assert canary not in journal


async def test_a_sole_key_is_tried_once_more_after_a_server_error_and_only_then(door: str) -> None:
    async with house(door) as each:
        for number, (plays, reasons, status) in enumerate(
            (
                (["fault-500", "ok"], ["server_error", ""], 200),
                (["fault-close-head", "ok"], ["reset", ""], 200),
                (["fault-500", "fault-503", "ok"], ["server_error", "overloaded"], 503),
                (["fault-401", "ok"], ["key_refused"], 502),
                (["fault-429", "ok"], ["throttled"], 429),
                (["fault-404", "ok"], ["unsupported"], 404),
            ),
            1,
        ):
            each.afresh()
            each.vendor.script(plays)
            answer = await WHOLE[0].send(each)
            assert answer.status_code == status, plays
            final = (await each.settled(number))[-1]
            assert [row["reason"] for row in final["attempts"]] == reasons, plays


async def test_what_the_vendor_says_of_an_unsupported_request_reaches_the_caller(door: str) -> None:
    said = {
        "error": {
            "message": "model: this-model does not support images",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    }
    async with house(door, keys=KEYS) as each:
        each.vendor.script(
            body=[json.dumps(said).encode()],
            status=400,
            headers={"content-type": "application/json"},
            then="keep",
        )
        answer = await WHOLE[0].send(each)
        assert answer.status_code == 400
        assert each.vendor.total == 2
        assert "does not support images" in error(WHOLE[0], answer.text)["message"]


async def test_a_client_that_left_gets_no_second_attempt(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        each.vendor.script(["wait-300.fault-500"], secret=ONE)
        leaving = asyncio.create_task(WHOLE[0].send(each))
        await each.vendor.wait_for(1)
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        (final,) = await each.settled()
        assert final["record"]["outcome"] == "client_gone"
        assert len(final["attempts"]) == 1
        await each.idle()
        assert each.vendor.total == 1
