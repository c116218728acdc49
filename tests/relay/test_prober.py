"""relay/prober.py: the relay finds out by itself who answers again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from aether.recording import appliers
from providers import states
from providers.events import StateEvent
from providers.machine import KeyState
from providers.models import Endpoint, Key
from relay import prober
from relay.breaker import Part, Rules
from simulator.core import Seen
from tests.relay.asks import Ask
from tests.relay.harness import House, house
from usage.models import HealthBucket
from usage.recorder import Recorder
from usage.vitals import COARSE

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = Ask("openai_chat")
ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
FORMATS = ("openai_chat", "openai_responses", "anthropic", "gemini")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "TICK", 0.02)


async def until(true: Callable[[], object], within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.01)


def probes(each: House, secret: str = "") -> list[Seen]:
    """The lists of models that the vendor was asked for."""
    return [seen for seen in each.vendor.requests if seen.method == "GET" and secret in ("", seen.secret)]


def results(each: House, table: str = "key") -> list[str]:
    """What was told of probes, oldest first."""
    states = [line for line in each.journal("state") if line["table"] == table]
    return [line["columns"]["probe_result"] for line in states if "probe_result" in line["columns"]]


def told_of(each: House, number: int) -> bool:
    """Whether more probes than these have ended."""
    return len(results(each)) > number


def watched(_url: str) -> None:
    Endpoint.objects.update(probe_seconds=0.1)


def number_of(each: House, name: str = "key-1") -> int:
    return next(place.key_id for place in each.engine.catalog.places if place.key_name == name)


def part_of(each: House, name: str = "key-1") -> Any:
    return each.engine.health.keys.get(number_of(each, name))


def turns(each: House) -> list[str]:
    """The changes of state of keys, by their reason."""
    states = [line["columns"] for line in each.journal("state") if line["table"] == "key"]
    return [columns["reason"] for columns in states if "breaker" in columns]


@pytest.mark.parametrize("wire_format", FORMATS)
async def test_a_place_that_an_operator_asks_about_is_asked_for_its_models(wire_format: str) -> None:
    async with house("asgi", formats=[wire_format]) as each:
        each.engine.prober.ask("key", number_of(each))
        await until(lambda: results(each))
        (seen,) = probes(each)
        assert seen.path == ("/v1beta/models" if wire_format == "gemini" else "/v1/models")
        assert (seen.secret, seen.header("user-agent")) == (ONE, "aether")
        assert results(each)[0].startswith("answers (")
        assert results(each) == results(each, "endpoint")
        assert each.engine.health.well


async def test_a_probe_leaves_no_record_and_bills_nobody() -> None:
    async with house("asgi", prepare=watched) as each:
        await until(lambda: len(results(each)) > 2)
        assert each.journal("start") == each.journal() == []


async def test_nothing_is_probed_that_nobody_wants_probed() -> None:
    async with house("asgi") as each:
        assert (await CHAT.send(each, "sim")).status_code == 200
        await asyncio.sleep(10 * prober.TICK)
        assert probes(each) == []


async def test_a_refused_key_is_out_until_a_probe_finds_it_accepted() -> None:
    async with house("asgi", keys=(ONE, TWO), knobs={"refused_probe_seconds": 1.5}) as each:
        each.vendor.script(["fault-401", "fault-401", "fault-401", ""], secret=ONE)
        assert (await CHAT.send(each, "sim")).status_code == 200
        for _ in range(5):
            assert (await CHAT.send(each, "sim")).status_code == 200
            each.engine.affinity._pins.clear()
        tried = [attempt["key_name"] for final in await each.settled(6) for attempt in final["attempts"]]
        assert tried.count("key-1") == 1
        await until(lambda: part_of(each) is None)
        assert len(probes(each, ONE)) == 3  # two that were refused, and one that was not
        assert [each.split(" (")[0] for each in results(each)][-1] == "answers"
        assert results(each)[0].startswith("key refused: ")
        assert ONE not in "".join(results(each))
        assert turns(each) == ["key_refused", "answers again"]
        assert (await CHAT.send(each, "sim")).status_code == 200
        assert (await each.settled(7))[-1]["attempts"][0]["key_name"] == "key-1"


async def test_a_refused_key_whose_probe_has_to_wait_is_tried_by_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prober, "AT_ONCE", 0)
    async with house("asgi", keys=(ONE, TWO), knobs={"refused_probe_seconds": 0.3}) as each:
        each.vendor.script(["fault-401", ""], secret=ONE)
        assert (await CHAT.send(each, "sim")).status_code == 200
        since = part_of(each).cooling_until
        await until(lambda: time.monotonic() > since + 0.5)
        assert part_of(each).barred(time.monotonic()) == "key refused"
        assert probes(each) == []


async def test_what_became_of_a_refused_key_stands_in_the_tables() -> None:
    def record() -> None:
        recorder = Recorder(each.data_dir / "journals", appliers=appliers(), keep_seconds=600)
        recorder.drain()
        recorder.close()

    async with house("asgi", keys=(ONE, TWO), knobs={"refused_probe_seconds": 1.2}) as each:
        each.vendor.script(["fault-401", "fault-401", ""], secret=ONE)
        assert (await CHAT.send(each, "sim")).status_code == 200
        await until(lambda: part_of(each) is None)
        number = number_of(each)
        await until(lambda: results(each)[-1].startswith("answers"))
        await sync_to_async(record)()
    events = [event async for event in StateEvent.objects.filter(key=number).order_by("id")]
    assert [(event.condition, event.reason) for event in events] == [
        ("refused", "key_refused"), ("ready", "answers again"),
    ]  # fmt: skip
    state = await KeyState.objects.aget(key=number)
    assert states.standing(state, timezone.now()).condition == "ready"
    assert state.disabled_at is None
    assert state.probe_result.startswith("answers")
    assert state.last_error.startswith("key_refused: ")
    spans = HealthBucket.objects.filter(seconds=COARSE).values_list("attempts", "succeeded", "auth")
    assert sorted([span async for span in spans]) == [(1, 0, 1), (1, 1, 0)]


async def test_a_vendor_without_a_list_leaves_it_to_a_request_whether_a_key_is_accepted() -> None:
    async with house("asgi", keys=(ONE, TWO), knobs={"refused_probe_seconds": 0.5}) as each:
        each.vendor.script(["fault-401", "fault-404-path"], secret=ONE)
        assert (await CHAT.send(each, "sim")).status_code == 200
        await until(lambda: part_of(each) is None)
        assert results(each)[0].startswith("unsupported")


async def test_a_refused_key_at_a_vendor_that_is_down_stays_out() -> None:
    async with house("asgi", keys=(ONE, TWO), knobs={"refused_probe_seconds": 0.5}) as each:
        each.vendor.script(["fault-401", "fault-503", "fault-503", "fault-401"], secret=ONE)
        assert (await CHAT.send(each, "sim")).status_code == 200
        await until(lambda: len(probes(each, ONE)) >= 3)
        assert part_of(each).barred(0) == "key refused"
        assert turns(each) == ["key_refused"]


async def test_an_open_breaker_is_ended_by_a_probe_and_no_request_has_to_find_out() -> None:
    async with house("asgi", keys=(ONE, TWO), prepare=watched) as each:
        number = number_of(each)
        each.vendor.script(["fault-502"] * 3 + [""], secret=ONE)
        each.engine.health.keys[number] = part = Part(Rules())
        part.reopen(time.monotonic() + 1_000, 1)
        await until(lambda: part_of(each) is None or part_of(each).state != "open")
        await until(lambda: turns(each)[-1:] == ["answers again"])
        assert each.journal("start") == []
        assert len(probes(each, ONE)) >= 6
        first, second, *_ = turns(each)
        assert first == "breaker half open: a probe"
        assert second.startswith("breaker open: ")


async def test_one_probe_at_a_time_is_under_way_at_a_place() -> None:
    async with house("asgi", prepare=watched) as each:
        each.vendor.script(["fault-stall-head"])
        await until(lambda: probes(each))
        await asyncio.sleep(20 * prober.TICK)
        # One endpoint of each format, one key: the key is probed at one of them.
        assert len(probes(each)) == 1


async def test_a_probe_that_is_refused_takes_the_key_out() -> None:
    async with house("asgi", keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-401"], secret=ONE)
        each.engine.prober.ask("key", number_of(each))
        await until(lambda: turns(each) == ["key_refused"])
        assert (await CHAT.send(each, "sim")).status_code == 200
        assert (await each.settled())[0]["attempts"][0]["key_name"] == "key-2"


@pytest.mark.parametrize("play", ["fault-html", "fault-empty", "fault-reset-head", "fault-502"])
async def test_what_is_no_list_counts_as_a_failure(play: str) -> None:
    async with house("asgi", formats=["openai_chat"]) as each:
        each.vendor.script([play])
        for number in range(5):
            each.engine.prober.ask("endpoint", each.engine.catalog.places[0].endpoint_id)
            await until(partial(told_of, each, number))
        (part,) = each.engine.health.endpoints.values()
        assert part.state == "open"


async def test_what_an_operator_asks_in_the_admin_is_done_once() -> None:
    async with house("asgi", formats=["openai_chat"]) as each:
        key = await sync_to_async(Key.objects.get)()
        await sync_to_async(states.ask_probe)([key], by="ann")
        await each.engine._follow()
        await until(lambda: len(results(each)) == 1)
        await sync_to_async(states.recover)([key], by="ann")
        await each.engine._follow()
        await asyncio.sleep(5 * prober.TICK)
        assert len(probes(each)) == 1
        await sync_to_async(KeyState.objects.update)(probe_asked_at=timezone.now() - timedelta(hours=1))
        await sync_to_async(states.recover)([key], by="ann")
        await each.engine._follow()
        await asyncio.sleep(5 * prober.TICK)
        assert len(probes(each)) == 1


async def test_a_key_without_a_model_cannot_be_probed() -> None:
    async with house("asgi", models=()) as each:
        each.engine.prober.ask("key", 77)
        await until(lambda: results(each))
        assert results(each) == [prober.NOWHERE]


async def test_a_silent_vendor_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prober, "PATIENCE", 0.5)
    async with house("asgi", formats=["openai_chat"]) as each:
        each.vendor.script(["fault-stall-head"])
        each.engine.prober.ask("key", number_of(each))
        await until(lambda: results(each))
        assert results(each)[0].startswith("first byte timeout")
        await until(lambda: each.engine.upstream.connections[0] == 0)
