"""Game day: a fault that is played on purpose meets every request of its key or API key, whatever the vendor
is, and nobody else's; and what the report says of it."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from io import StringIO
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.utils import timezone

from consumers.models import ApiKey, Consumer
from providers.drills import Drill
from providers.models import Key
from relay import drills
from tests.endings.test_canary import applied
from tests.faults.stage import SECRETS, Stage, assert_clean, cooling, impatient, stage
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, text
from tests.relay.harness import House

pytestmark = pytest.mark.django_db(transaction=True)
FAULT = Drill.Fault


def play(fault: str, **fields: Any) -> Drill:
    """A drill that runs, on the first vendor's key where no API key is named."""
    now = timezone.now()
    if "api_key" not in fields:
        fields["key"] = Key.objects.get(provider__name="vendor")
    return Drill.objects.create(fault=fault, starts_at=now, ends_at=now + timedelta(minutes=1), **fields)


async def played(on: Stage, fault: str, **fields: Any) -> Drill:
    """The same, and the relay has read of it."""
    drill = await sync_to_async(play)(fault, **fields)
    await on.house.engine._read_drills()
    return drill


async def asked(on: Stage, ask: Ask, vendors: str = "ok") -> tuple[httpx.Response, dict[str, Any]]:
    """An answer, as if it were the first, and its final line; `vendors` is what all of them play."""
    on.forgive()
    on.house.vendor.script(vendors)
    answer = await ask.send(on.house)
    return answer, on.final(answer.headers["x-request-id"])


INSTEAD = {
    # fault -> the first attempt's reason
    FAULT.DEAD_PORT: "connect",
    FAULT.RATE_LIMIT: "throttled",
    FAULT.STALL: "first_byte_timeout",
    FAULT.IN_BAND: "overloaded",
}


@pytest.mark.parametrize("fault", INSTEAD)
async def test_a_fault_in_place_of_an_answer_is_followed_by_the_next_key(door: str, fault: str) -> None:
    async with stage(door, prepare=impatient if fault == FAULT.STALL else None) as on:
        await played(on, fault)
        for ask in ASKS:
            answer, final = await asked(on, ask)
            assert_clean(ask, answer)
            first, second = final["attempts"]
            assert (first["reason"], second["reason"]) == (INSTEAD[FAULT(fault)], ""), str(ask)
            assert "game day" in first["error_text"], str(ask)
            assert {seen.secret for seen in on.house.vendor.requests} == {SECRETS[1]}, str(ask)
        assert on.held(ASKS[0])[0] == cooling(30) or fault != FAULT.RATE_LIMIT


async def test_a_cut_before_the_first_frame_is_followed_by_the_next_key(door: str) -> None:
    async with stage(door) as on:
        await played(on, FAULT.CUT)
        for ask in ASKS:
            answer, final = await asked(on, ask)
            assert_clean(ask, answer)
            assert [each["reason"] for each in final["attempts"]] == ["truncated", ""], str(ask)
            assert [seen.secret for seen in on.house.vendor.requests] == list(SECRETS[:2])


@pytest.mark.parametrize(
    ("fault", "code"),
    [(FAULT.CUT, "truncated"), (FAULT.STALL, "upstream_timeout"), (FAULT.IN_BAND, "upstream_overloaded")],
)
async def test_a_fault_behind_some_frames_breaks_the_stream(door: str, fault: str, code: str) -> None:
    async with stage(door, knobs={"idle_timeout": 0.2}) as on:
        await played(on, fault, after=8)
        for ask in STREAMED:
            answer, final = await asked(on, ask, "chunks-10.delay-2")
            record = final["record"]
            assert (answer.status_code, record["outcome"]) == (200, "partial"), str(ask)
            assert record["error_code"] in (code, "upstream_error"), str(ask)
            assert '"error"' in answer.text
            assert record["output_tokens"] > 0


async def test_bytes_that_are_no_text_go_through_a_stream_and_spoil_a_whole_answer(door: str) -> None:
    async with stage(door) as on:
        await played(on, FAULT.BAD_UTF8, after=8)
        for ask in STREAMED:
            answer, final = await asked(on, ask)
            assert b"\xff\xfe" in answer.content, str(ask)
            assert (final["record"]["outcome"], final["record"]["suspect"]) == ("ok", True), str(ask)
        await sync_to_async(Drill.objects.update)(after=0)
        await on.house.engine._read_drills()
        for ask in WHOLE:
            answer, final = await asked(on, ask)
            assert_clean(ask, answer)
            assert [each["reason"] for each in final["attempts"]] == ["bad_frame", ""], str(ask)


async def test_a_slow_drip_is_the_whole_answer_a_few_bytes_at_a_time(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drills, "DRIP_SECONDS", 0.0001)
    async with stage(door) as on:
        on.house.vendor.script("chunks-3")
        await played(on, FAULT.SLOW_DRIP)
        for ask in (STREAMED[0], STREAMED[3], WHOLE[2]):
            answer = await ask.send(on.house)
            assert answer.status_code == 200
            assert text(ask, answer.text).startswith("Hello from the")
        monkeypatch.setattr(drills, "DRIP_SECONDS", 30.0)
        with pytest.raises(httpx.ReadTimeout):  # a client that leaves does not wait for the next drop
            await on.house.http.post(STREAMED[0].path(), json=STREAMED[0].body(), timeout=0.2)
        await on.house.idle()
        assert (await on.house.settled(4))[-1]["record"]["outcome"] == "client_gone"


async def test_a_fault_for_an_api_key_is_its_own_and_no_key_is_blamed(door: str) -> None:
    secrets: list[str] = []

    def prepare(_url: str) -> None:
        secrets.append(ApiKey.issue(consumer=Consumer.objects.get(), name="phone")[1])

    async with stage(door, prepare=prepare) as on:
        await played(on, FAULT.DEAD_PORT, api_key=await ApiKey.objects.aget(name="laptop"))
        refused = await WHOLE[0].send(on.house)
        assert refused.status_code == 502
        final = on.final(refused.headers["x-request-id"])
        assert [each["reason"] for each in final["attempts"]] == ["connect"] * 3
        assert on.house.engine.health.well
        answer = await WHOLE[0].send(on.house, headers={"x-api-key": secrets[0]})
        assert_clean(WHOLE[0], answer)


async def obeyed(each: House, *, running: bool) -> float:
    """Waits until the relay plays something, or nothing. Returns the seconds."""
    began = time.monotonic()
    async with asyncio.timeout(5):
        while (each.engine.drills is not None) is not running:
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def told(*words: str) -> str:
    """What the command says."""
    out = StringIO()
    await sync_to_async(call_command)("game_day", *words, stdout=out)
    return out.getvalue()


async def test_a_drill_is_started_stopped_and_told_from_a_terminal(door: str) -> None:
    async with stage(door) as on:
        each = on.house
        assert each.engine.drills is None
        said = await told("start", "dead_port", "--key", "vendor/key-1", "--minutes", "1")
        assert said.startswith("Drill ")
        number = said.split()[1].rstrip(":")
        assert await obeyed(each, running=True) < 2
        for _ in range(3):
            assert_clean(WHOLE[0], await WHOLE[0].send(each))
            each.engine.affinity.clear()
        assert "running" in await told("list")
        await told("stop", number)
        assert await obeyed(each, running=False) < 2
        on.forgive()
        assert_clean(WHOLE[0], await WHOLE[0].send(each))
        await sync_to_async(applied)(each.data_dir)
        showed = json.loads(await told("report", number, "--json"))
        assert showed["saw"] == [{"outcome": "ok", "status": 200, "requests": 3}]
        assert (showed["requests"], showed["failures"], showed["failovers"]) == (3, 3, 3)
        assert showed["ejected"] is None
        assert 0 <= showed["returned"] < 5
        assert "failovers that were answered: 3" in await told("report", number)
        for words, refusal in (
            (("stop", "99"), "There is no drill 99: game_day list shows the newest."),
            (("report",), "Give the number of a drill: game_day list shows the newest."),
            (("stop",), "Give the number of a drill"),
            (("start",), "Name a fault: dead_port, stall"),
            (
                ("start", "earthquake", "--key", "vendor/key-1"),
                "“earthquake” is no fault: choose from dead_port",
            ),
            (("start", "cut"), "^Choose a key or an API key, one of them.$"),
            (("start", "cut", "--key", "nobody/x"), "There is no one key nobody/x: give PROVIDER/NAME."),
            (("start", "cut", "--api-key", "no-such"), "No API key begins with “no-such”"),
            (("start", "cut", "--key", "vendor/key-1", "--minutes", "2000"), "a day"),
            (("start", "cut", "--key", "vendor/key-1", "--minutes", "inf"), "a day"),
            (("start", "cut", "--key", "vendor/key-1", "--minutes", "nan"), "a day"),
            (("start", "cut", "--key", "vendor/key-1", "--minutes", "-1"), "ends after it starts"),
        ):
            with pytest.raises(CommandError, match=refusal):
                await told(*words)
