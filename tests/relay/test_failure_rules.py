"""An operator's rule changes what an upstream's error means, for requests over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from providers.failurerules import FailureRule
from providers.models import Key, Provider
from simulator.compose import TEXT
from tests.relay.asks import ASKS, Ask, error, text
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
KEYS = (ONE, TWO)
CHAT = Ask("openai_chat")
LOCKED = {"error": {"message": f"Your Account is\nlocked ({ONE}).", "type": "invalid_request_error",
                    "param": None, "code": "account_locked"}}  # fmt: skip


def rule(**columns: Any) -> Callable[[str], None]:
    """Writes a rule, beside the ordinary rows; callers stay on no key."""
    filled = {
        "name": "locked accounts",
        "status": "400",
        "text": "account is locked",
        "verdict": "key_refused",
    }

    def prepare(_url: str) -> None:
        FailureRule.objects.create(**{**filled, **columns})
        Key.objects.update(affinity_seconds=0)

    return prepare


def refuse(each: House, secret: str = ONE, *, status: int = 400, body: Any = LOCKED) -> None:
    """Lets the vendor refuse the next request with this key."""
    raw = [json.dumps(body).encode()]
    each.vendor.script(secret=secret, body=raw, status=status, headers={"content-type": "application/json"})


async def decided(each: House, count: int = 1) -> list[tuple[Any, ...]]:
    """Reason, rule and who decided, of the attempts of the newest request."""
    final = (await each.settled(count))[-1]
    return [(row["reason"], row["rule_id"], row["decided_by"]) for row in final["attempts"]]


async def test_without_a_rule_a_locked_account_counts_as_the_caller_s_own_mistake(door: str) -> None:
    async with house(door, keys=KEYS) as each:
        refuse(each)
        answer = await CHAT.send(each)
        assert answer.status_code == 400
        assert await decided(each) == [("caller", None, "4xx")]
        assert each.attempts()[0]["error_type"] == "invalid_request_error / account_locked"


async def test_a_rule_turns_it_into_a_refused_key_and_the_next_key_answers(door: str) -> None:
    async with house(door, keys=KEYS, prepare=rule()) as each:
        row = await FailureRule.objects.aget()
        for number, ask in enumerate(ASKS, 1):
            each.engine.health.keys.clear()
            refuse(each)
            answer = await ask.send(each)
            assert answer.status_code == 200, answer.text
            assert text(ask, answer.text) == TEXT
            assert await decided(each, number) == [
                ("key_refused", row.pk, "locked accounts"),
                ("", None, ""),
            ]
            (held,) = each.engine.health.keys.values()
            assert held.cooling_until > 0
        assert ONE not in str(each.journal())


async def test_a_rule_is_asked_of_an_error_inside_a_200_too(door: str) -> None:
    async with house(door, keys=KEYS, prepare=rule(status="", verdict="throttled")) as each:
        for ask in (CHAT, Ask("anthropic", stream=True)):
            each.engine.health.keys.clear()
            body = LOCKED if ask is CHAT else {"type": "error", **LOCKED}
            raw = json.dumps(body).encode()
            if ask.stream:
                raw = b"event: error\ndata: %b\n\n" % raw
            kind = "text/event-stream" if ask.stream else "application/json"
            each.vendor.script(secret=ONE, body=[raw], headers={"content-type": kind})
            answer = await ask.send(each)
            assert answer.status_code == 200, answer.text
            assert text(ask, answer.text) == TEXT
        assert [final["attempts"][0]["decided_by"] for final in await each.settled(2)] == [
            "locked accounts", "locked accounts",
        ]  # fmt: skip


async def test_the_first_rule_that_holds_decides_and_one_that_is_off_is_not_asked(door: str) -> None:
    def prepare(url: str) -> None:
        rule(name="third", order=30, verdict="out_of_money")(url)
        rule(name="second", order=20, verdict="not_permitted")(url)
        rule(name="first", order=10, verdict="caller", is_active=False)(url)

    async with house(door, keys=KEYS, prepare=prepare) as each:
        refuse(each)
        assert (await CHAT.send(each)).status_code == 200
        assert (await decided(each))[0][::2] == ("not_permitted", "second")


@pytest.mark.parametrize(
    "condition",
    [
        {"format": "anthropic"},
        {"status": "402, 5xx"},
        {"error_type": "locked"},
        {"text": "account was locked"},
    ],
)
async def test_a_rule_that_does_not_hold_leaves_the_built_in_lines_to_decide(
    door: str, condition: dict[str, Any]
) -> None:
    async with house(door, keys=KEYS, prepare=rule(**condition)) as each:
        refuse(each)
        assert (await CHAT.send(each)).status_code == 400
        assert await decided(each) == [("caller", None, "4xx")]


async def test_a_rule_speaks_of_one_provider_alone(door: str) -> None:
    def prepare(url: str) -> None:
        rule(provider=Provider.objects.create(name="another"))(url)

    async with house(door, keys=KEYS, prepare=prepare) as each:
        refuse(each)
        assert (await CHAT.send(each)).status_code == 400


@pytest.mark.parametrize("status", [403, 451, 500])
async def test_a_policy_refusal_is_passed_on_verbatim_and_no_other_key_is_asked(
    door: str, status: int
) -> None:
    said = {"error": {"message": f"Refused by policy 7 ({ONE}).", "type": "policy", "code": "p7", "x": [1]}}
    prepare = rule(status="", text="", error_type="P7", verdict="policy")
    async with house(door, keys=KEYS, prepare=prepare) as each:
        refuse(each, status=status, body=said)
        answer = await CHAT.send(each)
        assert answer.status_code == status
        assert answer.json()["error"] == said["error"] | {"message": "Refused by policy 7 ([removed])."}
        final = (await each.settled())[0]
        record = final["record"]
        assert (record["outcome"], record["status_code"], record["attempt_count"]) == ("rejected", status, 1)
        assert final["attempts"][0]["verdict"] == "pass_on"
        assert each.engine.health.well


async def test_what_is_passed_on_and_is_no_error_object_has_our_envelope_and_upstream_s_status(
    door: str,
) -> None:
    prepare = rule(status="418", text="", verdict="policy")
    async with house(door, keys=KEYS, prepare=prepare) as each:
        for ask in ASKS:
            each.vendor.script(
                secret=ONE, body=[b"<b>no</b>"], status=418, headers={"content-type": "text/html"}
            )
            answer = await ask.send(each)
            assert answer.status_code == 418
            assert "<b>" not in answer.text
            assert error(ask, answer.text)["message"]


async def test_a_relay_that_runs_obeys_a_rule_as_soon_as_it_has_read_it() -> None:
    async with house("asgi", keys=KEYS) as each:
        refuse(each)
        assert (await CHAT.send(each)).status_code == 400
        await sync_to_async(rule())("")
        async with asyncio.timeout(20):
            while not each.engine.catalog.rules:
                await asyncio.sleep(0.02)
        refuse(each)
        assert (await CHAT.send(each)).status_code == 200
