"""The plan that is told is the plan that requests get (relay/explaining.py)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from consumers.models import ApiKey
from providers.machine import KeyState
from providers.models import Deployment, Key, Model
from relay.explaining import Explained, explained, unopened
from tests.pages import world
from tests.relay.asks import Ask
from tests.relay.harness import House, house
from tests.relay.test_routing import second_provider
from usage import words

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = Ask("openai_chat")
ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"


async def told(each: House, model: str = "sim", **more: Any) -> Explained:
    caller = await each.engine.find_caller(each.secret)
    assert caller is not None
    asked = {"wire_format": "openai_chat", "needs": frozenset(), "live": True, **more}
    return await explained(each.engine, caller, model=model, **asked)


def order(found: Explained) -> list[str]:
    return [row["key"] for row in found.targets]


async def attempts(each: House, count: int = 1) -> list[str]:
    return [row["key_name"] for row in (await each.settled(count))[-1]["attempts"]]


@pytest.mark.parametrize("mode", ["provider_first", "key_first", "weighted", "cheapest"])
async def test_requests_try_the_targets_in_the_order_that_is_told(mode: str) -> None:
    prepare = second_provider(priority=0, weight=5, cost_multiplier="0.5")
    async with house("asgi", keys=(ONE, TWO), prepare=prepare, knobs={"routing_mode": mode}) as each:
        found = await told(each)
        assert sorted(order(found)) == ["key-1", "key-2", "other"]
        assert (found.mode, found.status) == (mode, 0)
        for secret in (ONE, TWO, "sk-vendor-other-key-9"):
            each.vendor.script(["fault-429"], secret=secret)
        assert (await CHAT.send(each)).status_code == 429
        assert await attempts(each) == order(found)


async def test_what_health_leaves_out_is_told_with_the_time_that_is_left() -> None:
    async with house("asgi", keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-429.retry-60"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        found = await told(each)
        assert order(found) == ["key-2"]
        (left_out,) = found.skipped
        assert left_out["key"] == "key-1"
        assert left_out["reason"] in ("key: cooling, 60 s left", "key: cooling, 59 s left")
        assert "until" in words.skipped(left_out["reason"], timezone.now())


async def test_a_caller_s_session_is_told_first() -> None:
    def prepare(_url: str) -> None:
        Key.objects.filter(name="key-2").update(affinity_seconds=300)

    async with house("asgi", keys=(ONE, TWO), prepare=prepare) as each:
        each.vendor.script(["fault-500"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        found = await told(each)
        assert order(found) == ["key-2", "key-1"]
        assert found.targets[0]["notes"] == ["affinity"]


async def test_a_key_at_its_limit_is_told_with_the_count() -> None:
    def prepare(_url: str) -> None:
        Key.objects.update(concurrency_limit=1)

    async with house("asgi", keys=(ONE,), prepare=prepare) as each:
        assert (await told(each)).targets[0]["notes"] == []
        target = each.engine.catalog.candidates("sim", "openai_chat")[0].target
        slot = await each.engine.in_flight.take(target, 99, time.monotonic())
        assert slot is not None
        (row,) = (await told(each)).targets
        assert row["notes"] == ["key: at concurrency limit, 1 of 1"]
        assert "1 of 1 requests at a time" in words.note(row["notes"][0], timezone.now())
        slot.release()


async def test_to_ask_changes_nothing() -> None:
    async with house("asgi", keys=(ONE,)) as each:
        target = each.engine.catalog.candidates("sim", "openai_chat")[0].target
        for _ in range(5):
            each.engine.health.failed(target, "server_error", None, time.monotonic(), kind="generate")
        plans, pins = dict(each.engine.plans), len(each.engine.affinity)
        for _ in range(3):
            found = await told(each)
            assert order(found) == ["key-1"]
        assert (each.engine.plans, len(each.engine.affinity)) == (plans, pins)
        assert each.engine.health._trickled == {}
        assert each.journal() == []


async def test_another_process_tells_what_the_tables_hold() -> None:
    async with house("asgi", keys=(ONE, TWO)) as each:
        key = await Key.objects.aget(name="key-1")
        later = timezone.now() + timedelta(seconds=100)
        await KeyState.objects.acreate(
            key=key, breaker="open", openings=1, opened_until=later, updated_at=timezone.now()
        )
        engine = await sync_to_async(unopened)()
        caller = await each.engine.find_caller(each.secret)
        assert caller is not None
        found = await explained(
            engine, caller, model="sim", wire_format="gemini", needs=frozenset(), live=False
        )
        assert order(found) == ["key-2"]
        assert found.skipped[0]["reason"].startswith("key: breaker open, ")


async def test_skipped_candidates_and_needs_are_told_as_requests_are_refused() -> None:
    def prepare(_url: str) -> None:
        Deployment.objects.update(capabilities=["tools"])

    async with house("asgi", keys=(ONE, TWO), prepare=prepare) as each:
        found = await told(each, needs=frozenset({"vision"}))
        assert (found.status, order(found)) == (400, [])
        assert found.error == "No upstream of sim offers what this request needs: vision."
        assert [row["reason"] for row in found.skipped] == ["capability missing: vision"] * 2


@pytest.mark.parametrize(
    ("columns", "model", "status", "rule"),
    [
        ({}, "gone", 404, ""),
        ({"allowed_models": [0]}, "sim", 404, "models of the API key"),
        ({"allowed_formats": ["gemini"]}, "sim", 403, "formats of the API key"),
    ],
)
async def test_the_rule_that_keeps_a_model_away_is_told_and_stored(
    columns: dict[str, Any], model: str, status: int, rule: str
) -> None:
    def prepare(_url: str) -> None:
        ApiKey.objects.update(**columns)

    async with house("asgi", prepare=prepare) as each:
        found = await told(each, model)
        assert (found.status, found.rule) == (status, rule)
        answer = await CHAT.send(each, model)
        assert (answer.status_code, answer.json()["error"]["message"]) == (status, found.error)
        stored = (await each.settled())[0]["record"]["explanation"]
        assert stored == ({"rule": rule} if rule else None)
        assert not rule or rule in words.RULES


async def test_a_failed_request_keeps_who_was_left_out_by_health_too() -> None:
    async with house("asgi", keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-429.retry-60"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        each.vendor.script(["fault-500", "fault-500"], secret=TWO)
        assert (await CHAT.send(each)).status_code == 502
        stored = (await each.settled(2))[-1]["record"]["explanation"]
        assert [row["key"] for row in stored["targets"]] == ["key-2"]
        assert [row["key"] for row in stored["skipped"]] == ["key-1"]


async def test_an_alias_is_explained_as_its_model() -> None:
    def prepare(_url: str) -> None:
        Model.objects.update(aliases=["alias"])

    async with house("asgi", prepare=prepare) as each:
        assert (await told(each, "alias")).model == "sim"


@pytest.mark.parametrize("ending", ["unknown", "of nobody"])
async def test_a_refusal_without_a_record_is_in_the_log_by_its_id(
    door: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("relay.pipeline.log.info", lambda text, *values: said.append(text % values))
    async with house(door) as each:
        headers = {"x-api-key": "sk-aether-nobody-0123456789"} if ending == "of nobody" else {}
        path = "/v1/chat/completions" if headers else "/v1/nothing"
        answer = await each.http.post(path, headers=headers, json={})
        assert answer.status_code in (401, 404)
        assert f"request {answer.headers['x-request-id']} was refused with" in said[0]
        assert "nobody-0123456789" not in said[0]


async def test_the_page_of_a_running_server_tells_what_the_server_itself_knows() -> None:
    def signed_in() -> str:
        client = Client()
        client.force_login(world.superuser())
        return client.cookies[settings.SESSION_COOKIE_NAME].OutputString(attrs=[])

    async with house("django", keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-429.retry-60"], secret=ONE)
        assert (await CHAT.send(each)).status_code == 200
        cookie = await sync_to_async(signed_in)()
        api_key = await ApiKey.objects.aget()
        asked = {"model": "sim", "format": "openai_chat", "api_key": str(api_key.pk)}
        page = await each.http.get(reverse("explain_route"), params=asked, headers={"cookie": cookie})
        assert page.status_code == 200
        assert "By what this server knows at this moment." in page.text
        assert "The key cools after being throttled, until" in page.text
