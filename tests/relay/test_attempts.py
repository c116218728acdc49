"""How often a request is tried, and what is noted of each try; and the silent commit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types

from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay import attempts
from simulator.compose import TEXT
from tests.relay.asks import STREAMED, WHOLE, Ask, ends, events, openers, text
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

CHAT = WHOLE[0]
ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"


def secrets(count: int) -> tuple[str, ...]:
    return tuple(f"sk-vendor-key-number-{number}" for number in range(1, count + 1))


def more_providers(*names: str, keys: int = 1) -> Callable[[str], None]:
    """Adds providers behind the first one, each with an endpoint of its own."""

    def prepare(url: str) -> None:
        for place, name in enumerate(names):
            provider = Provider.objects.create(name=name, priority=200 + place)
            Endpoint.objects.create(
                provider=provider, format="openai_chat", base_url=f"{url}/v1", allow_private=True
            )
            for number in range(keys):
                key = Key(provider=provider, name=f"{name}-{number + 1}", priority=number)
                key.set_secret(f"sk-{name}-key-number-{number + 1}")
                key.save()
            Deployment.objects.create(
                model=Model.objects.get(name="sim"), provider=provider, upstream_name="sim"
            )

    return prepare


async def tried(each: House, *, count: int) -> list[tuple[str, str]]:
    """Provider and reason of each attempt of the newest request."""
    final = (await each.settled(count))[-1]
    return [(row["provider_name"], row["reason"]) for row in final["attempts"]]


# Caps


async def test_two_answers_of_one_endpoint_are_enough(door: str) -> None:
    async with house(door, keys=secrets(4), prepare=more_providers("second", keys=2)) as each:
        each.vendor.script(["fault-500"])
        assert (await CHAT.send(each)).status_code == 502
        expected = [("vendor", "server_error")] * 2 + [("second", "server_error")]
        assert await tried(each, count=1) == expected


async def test_three_answers_are_enough_wherever_they_come_from(door: str) -> None:
    async with house(door, prepare=more_providers("second", "third", "fourth")) as each:
        each.vendor.script(["fault-503"])
        assert (await CHAT.send(each)).status_code == 503
        assert [name for name, _ in await tried(each, count=1)] == ["vendor", "second", "third"]


async def test_refused_keys_do_not_count_but_for_the_eighth(door: str) -> None:
    async with house(door, keys=secrets(10)) as each:
        for secret in secrets(7):
            each.vendor.script(["fault-401"], secret=secret)
        answer = await CHAT.send(each)
        assert (answer.status_code, text(CHAT, answer.text)) == (200, TEXT)
        assert len(await tried(each, count=1)) == 8
        each.afresh()
        each.vendor.script(["fault-429"])
        for secret in secrets(10):
            each.vendor.script(secret=secret)
        assert (await CHAT.send(each)).status_code == 429
        assert await tried(each, count=2) == [("vendor", "throttled")] * 8


async def test_what_may_have_been_worked_on_is_followed_once(door: str) -> None:
    async with house(door, keys=secrets(2), prepare=more_providers("second", "third")) as each:
        each.vendor.script(["fault-close-head"])
        assert (await CHAT.send(each)).status_code == 502
        assert await tried(each, count=1) == [("vendor", "reset")] * 2


async def test_the_caps_are_settings(door: str) -> None:
    knobs = {"max_attempts": 5, "max_attempts_per_endpoint": 4, "max_tries": 6}
    async with house(door, keys=secrets(8), knobs=knobs, prepare=more_providers("second", keys=3)) as each:
        each.vendor.script(["fault-500"])
        await CHAT.send(each)
        expected = [("vendor", "server_error")] * 4 + [("second", "server_error")]
        assert await tried(each, count=1) == expected
        each.afresh()
        each.vendor.script(["fault-402"])
        await CHAT.send(each)
        assert len(await tried(each, count=2)) == 6


async def test_no_attempt_begins_in_the_last_two_seconds_of_the_deadline(door: str) -> None:
    async with house(door, keys=secrets(3), knobs={"whole_total_timeout": 1.5}) as each:
        each.vendor.script(["fault-500"])
        assert (await CHAT.send(each)).status_code == 502
        assert len(await tried(each, count=1)) == 1


async def test_the_deadline_ends_a_whole_answer(door: str) -> None:
    async with house(door, keys=secrets(3), knobs={"whole_total_timeout": 0.3}) as each:
        each.vendor.script(["fault-length-stall"])
        answer = await CHAT.send(each)
        assert answer.status_code == 504
        assert await tried(each, count=1) == [("vendor", "total_timeout")]
        await each.idle()


async def test_an_endpoint_has_a_total_time_of_its_own(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.filter(format="openai_chat").update(total_timeout=0.3)
        Endpoint.objects.filter(format="anthropic").update(total_timeout=5)

    knobs = {"whole_total_timeout": 0.3, "stream_total_timeout": 0.3}
    async with house(door, prepare=prepare, knobs=knobs) as each:
        each.vendor.script(["fault-length-stall"])
        assert (await CHAT.send(each)).status_code == 504
        each.vendor.script(["fault-stall-first"])
        assert (await Ask("openai_chat", stream=True).send(each)).status_code == 504
        each.vendor.script(["delay-20"])
        answer = await Ask("openai_chat", stream=True).send(each)
        assert events(answer.text)[-1][1]["error"]["code"] == "timeout"
        reasons = [final["attempts"][0]["reason"] for final in await each.settled(3)]
        assert reasons == ["total_timeout"] * 3
        assert each.journal()[-1]["record"]["outcome"] == "partial"
        long = Ask("anthropic", stream=True)
        answer = await long.send(each)
        assert text(long, answer.text) == TEXT
        await each.idle()


async def test_an_error_whose_words_never_come_is_judged_by_its_status(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "ERROR_PATIENCE", 0.1)
    async with house(door, keys=(ONE, TWO)) as each:
        for ask in (CHAT, *STREAMED):
            each.afresh()
            head = b"HTTP/1.1 500 Oops\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
            each.vendor.script(raw=[head], secret=ONE, then="stall")
            answer = await ask.send(each)
            assert text(ask, answer.text) == TEXT, str(ask)
            assert each.journal()[-1]["attempts"][0]["reason"] == "server_error"
        await each.idle()


# What is noted


async def test_each_attempt_carries_what_happened_and_what_it_cost(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-500"], secret=ONE)
        each.vendor.script(["in-1000.out-50.cached-800"], secret=TWO)
        answer = await CHAT.send(each)
        (final,) = await each.settled()
        first, second = final["attempts"]
        assert (first["number"], second["number"]) == (1, 2)
        assert (first["status_code"], second["status_code"]) == (500, 200)
        assert (first["verdict"], first["phase"]) == ("next", "headers")
        assert (second["verdict"], second["phase"]) == ("ok", "done")
        assert first["error_text"] == "The server had an error while processing your request."
        assert first["upstream_request_id"].startswith("req_")
        assert first["upstream_request_id"] != second["upstream_request_id"]
        assert first["bytes_sent"] == second["bytes_sent"] == len(CHAT_BODY)
        assert second["bytes_received"] == len(answer.content)
        assert first["list_cost"] == first["own_cost"] == 0
        # 200 plain at $1, 800 cached at $0.10, 50 out at $2 the million, in pico-dollars
        cost = 200 * 10**6 + 800 * 10**5 + 50 * 2 * 10**6
        assert second["list_cost"] == second["own_cost"] == final["record"]["list_cost"] == cost
        assert final["record"]["cached_tokens"] == 800
        (start,), (again,) = each.journal("start"), each.journal("attempt")
        assert (start["attempt"]["number"], again["number"]) == (1, 2)
        (ended,) = each.journal("attempt_end")
        assert (ended["number"], ended["reason"]) == (1, "server_error")
        assert start["request_id"] == again["request_id"] == final["record"]["request_id"]


CHAT_BODY = json.dumps(
    {"model": "sim", "messages": [{"role": "user", "content": "hello there"}]}, separators=(",", ":")
)


async def test_a_mapped_model_is_named_by_its_own_name_in_each_attempt(door: str) -> None:
    def prepare(_url: str) -> None:
        Deployment.objects.update(upstream_name="sim.out-7")

    async with house(door, prepare=prepare) as each:
        await CHAT.send(each)
        (final,) = await each.settled()
        assert final["record"]["model_name"] == "sim"
        assert final["record"]["upstream_model"] == final["attempts"][0]["upstream_model"] == "sim.out-7"
        assert final["record"]["output_tokens"] == 7


async def test_slots_and_connections_are_given_back(door: str) -> None:
    async with house(door, keys=secrets(3)) as each:
        each.vendor.script(["wait-200.fault-500", "wait-200.ok"])
        running = asyncio.create_task(CHAT.send(each))
        await each.vendor.wait_for(1)
        assert each.engine.in_flight.slots
        await running
        await each.idle()
        assert each.engine.upstream.connections == (0, 1)


# Silent commit

SOON = {"keep_alive": 0.05}
BEATS = {
    "openai_chat": b": keep-alive\n\n",
    "openai_responses": b": keep-alive\n\n",
    "anthropic": b'event: ping\ndata: {"type": "ping"}\n\n',
    "gemini": b"\n",
}


async def kept(each: House, ask: Ask, beats: int) -> str:
    """What comes of a vendor that stays silent until the client was kept alive so often."""
    seen, body = 0, b""
    async with each.http.stream("POST", ask.path(), json=ask.body(), headers=ask.headers) as answer:
        assert answer.status_code == 200
        async for piece in answer.aiter_bytes():
            body += piece
            if not piece.replace(BEATS[ask.format], b""):
                seen += piece.count(BEATS[ask.format])
                if seen >= beats:
                    each.vendor.hurry()
    assert seen >= beats
    return body.decode()


async def test_a_silent_vendor_does_not_keep_the_client_waiting_for_a_status(door: str) -> None:
    async with house(door, keys=(ONE, TWO), knobs=SOON) as each:
        for number, ask in enumerate(STREAMED, 1):
            each.afresh()
            each.vendor.script(["wait-20000.fault-529"], secret=ONE)
            body = await kept(each, ask, 2)
            beat = BEATS[ask.format].decode()
            assert body.startswith(beat * 2), str(ask)
            told = body.lstrip("\n") if ask.format == "gemini" else body.replace(beat, "")
            assert text(ask, told) == TEXT, str(ask)
            assert openers(ask, told) == 1
            assert ends(ask, told)
            final = (await each.settled(number))[-1]
            assert [row["reason"] for row in final["attempts"]] == ["overloaded", ""]
            assert (final["record"]["outcome"], final["record"]["status_code"]) == ("ok", 200)
            assert final["record"]["output_tokens"] == 40
        await each.idle()


async def test_after_a_silent_commit_a_failure_is_told_in_band(door: str) -> None:
    async with house(door, keys=(ONE, TWO), knobs=SOON) as each:
        each.vendor.script(["wait-20000.fault-529"])
        for number, ask in enumerate(STREAMED, 1):
            each.afresh()
            body = await kept(each, ask, 1)
            match ask.format:
                case "openai_chat":
                    ((_, told),) = events(body)
                    assert told["error"]["code"] == "overloaded"
                    assert "[DONE]" not in body
                case "openai_responses":
                    ((name, told),) = events(body)
                    assert (name, told["type"]) == ("response.failed", "response.failed")
                    assert told["response"]["status"] == "failed"
                case "anthropic":
                    name, told = events(body)[-1]
                    assert (name, told["error"]["type"]) == ("error", "overloaded_error")
                    assert "message_stop" not in body
                case _ if ask.array:
                    (told,) = json.loads(body)
                    assert told["error"]["status"] == "UNAVAILABLE"
                case _:
                    ((_, told),) = events(body)
                    assert told["error"]["status"] == "UNAVAILABLE"
            final = (await each.settled(number))[-1]
            assert (final["record"]["outcome"], final["record"]["status_code"]) == ("upstream_error", 200)
            assert final["record"]["list_cost"] == 0
            assert len(final["attempts"]) == 2
        await each.idle()


async def test_a_stream_that_falls_silent_is_kept_alive_between_whole_frames(door: str) -> None:
    async with house(door, knobs=SOON) as each:
        each.vendor.script(["pause-20000.after-20"])
        for ask in STREAMED:
            body = await kept(each, ask, 2)
            if ask.format != "gemini":
                for piece in body.split(BEATS[ask.format].decode()):
                    assert piece.endswith("\n\n") or not piece
            assert text(ask, body) == TEXT, str(ask)
            assert ends(ask, body)
        await each.idle()


PINGS = {"anthropic": b'event: ping\ndata: {"type":"ping"}\n\n', "gemini": b"\n"}


async def test_pings_alone_keep_a_stream_for_a_while_only() -> None:
    async with house("asgi", knobs={"ping_timeout": 0.8, "idle_timeout": 5.0}) as each:
        for ask in STREAMED[:-1]:  # an array has no pings
            each.vendor.script()
            begun = (await ask.send(each)).content.split(b"\n\n")
            beginning = b"\n\n".join([*begun[: len(begun) // 2], b""])
            ping = PINGS.get(ask.format, b": ping\n\n")
            each.vendor.script(body=[beginning, *[ping] * 40], pause=0.05, then="stall")
            answer = await ask.send(each)
            assert 3 < answer.content.count(ping) - beginning.count(ping) < 20, str(ask)
            assert "The upstream fell silent in mid-answer." in answer.text
            record = each.journal()[-1]["record"]
            assert (record["outcome"], record["error_code"]) == ("partial", "upstream_timeout"), str(ask)
        each.vendor.script(["chunks-40.delay-40.fault-pings"])  # twice as long, with words among them
        answers = await asyncio.gather(*(ask.send(each) for ask in STREAMED[:-1]))
        for ask, answer in zip(STREAMED, answers, strict=False):
            assert ends(ask, answer.text), str(ask)
        await each.idle()


async def test_a_stream_that_breaks_is_explained_and_its_session_let_go(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        each.vendor.script(["fault-503"], secret=ONE)
        stream = STREAMED[0]
        assert (await stream.send(each)).status_code == 200
        assert len(each.engine.affinity) == 1
        each.engine.health.recover(
            "key", each.engine.catalog.candidates("sim", "openai_chat")[0].target.key_id
        )
        each.vendor.script(["chunks-8.fault-truncated.after-6"], secret=TWO)
        assert (await stream.send(each)).status_code == 200
        record = each.journal()[-1]["record"]
        assert record["outcome"] == "partial"
        assert [row["key"] for row in record["explanation"]["targets"]] == ["key-2", "key-1"]
        assert len(each.engine.affinity) == 0
        await each.idle()


async def test_the_caller_of_a_silent_commit_may_still_be_told_of_its_own_fault(door: str) -> None:
    async with house(door, knobs=SOON) as each:
        each.vendor.script(["wait-20000.fault-400-context"])
        ((_, told),) = events(await kept(each, Ask("openai_chat", stream=True), 1))
        assert "128000 tokens" in told["error"]["message"]
        (final,) = await each.settled()
        assert (final["record"]["outcome"], final["record"]["status_code"]) == ("rejected", 200)


async def test_the_official_clients_ignore_what_keeps_a_stream_alive(door: str) -> None:
    async with house(door, keys=(ONE, TWO), knobs=SOON) as each:
        each.vendor.script(["wait-250.fault-529", "ok", "wait-250.fault-529", "ok"], secret=ONE)
        each.vendor.script(["pause-250.after-5"], secret=TWO)
        clients = (through_openai, through_responses, through_anthropic, through_gemini)
        for number, client in enumerate(clients, 1):
            each.afresh()
            each.vendor.script(["wait-250.fault-529"], secret=ONE)
            assert await client(each) == TEXT
            final = (await each.settled(number))[-1]
            assert final["record"]["outcome"] == "ok"
            assert len(final["attempts"]) == 2
        await each.idle()


async def test_the_official_clients_raise_on_a_failure_told_in_band(door: str) -> None:
    async with house(door, keys=(ONE, TWO), knobs=SOON) as each:
        each.vendor.script(["wait-150.fault-500"])
        with pytest.raises(openai.APIError):
            await through_openai(each)
        with pytest.raises(RuntimeError):
            await through_responses(each)
        with pytest.raises(anthropic.APIStatusError):
            await through_anthropic(each)
        with pytest.raises(genai.errors.APIError):
            await through_gemini(each)
        await each.settled(4)
        assert {final["record"]["outcome"] for final in each.journal()} == {"upstream_error"}
        await each.idle()


async def through_openai(each: House) -> str:
    async with openai.AsyncOpenAI(api_key=each.secret, base_url=f"{each.url}/v1", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="sim", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def through_responses(each: House) -> str:
    async with (
        openai.AsyncOpenAI(api_key=each.secret, base_url=f"{each.url}/v1", max_retries=0) as client,
        client.responses.stream(model="sim", input="hello") as stream,
    ):
        return (await stream.get_final_response()).output_text


async def through_anthropic(each: House) -> str:
    async with (
        anthropic.AsyncAnthropic(api_key=each.secret, base_url=each.url, max_retries=0) as client,
        client.messages.stream(
            model="sim", max_tokens=100, messages=[{"role": "user", "content": "hello"}]
        ) as stream,
    ):
        return await stream.get_final_text()


async def through_gemini(each: House) -> str:
    async with httpx.AsyncClient(trust_env=False) as http:
        options = types.HttpOptions(base_url=each.url, httpx_async_client=http)
        client = genai.Client(api_key=each.secret, http_options=options)
        pieces: list[Any] = [
            chunk.text
            async for chunk in await client.aio.models.generate_content_stream(model="sim", contents="hello")
        ]
        return "".join(piece or "" for piece in pieces)


# Counting tokens

WORDS = "one two three"
COUNTING = (
    (
        "/v1/messages/count_tokens",
        {"model": "sim", "messages": [{"role": "user", "content": WORDS}]},
        "input_tokens",
    ),
    (
        "/v1beta/models/sim:countTokens",
        {"contents": [{"role": "user", "parts": [{"text": WORDS}]}]},
        "totalTokens",
    ),
)


@pytest.mark.parametrize(("path", "body", "field"), COUNTING, ids=["anthropic", "gemini"])
async def test_a_count_of_tokens_is_the_vendors_or_an_estimate_that_says_so(
    door: str, path: str, body: dict[str, Any], field: str
) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    async with house(door, keys=(ONE, TWO)) as each:
        counted = await each.http.post(path, json=body, headers=headers)
        assert (counted.status_code, counted.json()[field]) == (200, 3)
        assert "x-aether-estimated" not in counted.headers
        for play in ("fault-404", "fault-404-path"):
            each.vendor.script([play])
            guessed = await each.http.post(path, json=body, headers=headers)
            assert (guessed.status_code, guessed.headers["x-aether-estimated"]) == (200, "1"), play
            assert 1 < guessed.json()[field] < 100
        each.vendor.script(["fault-500"])
        assert (await each.http.post(path, json=body, headers=headers)).status_code == 502
        for final, outcome in zip(await each.settled(4), ("ok", "ok", "ok", "upstream_error"), strict=True):
            record = final["record"]
            assert (record["kind"], record["outcome"]) == ("count_tokens", outcome)
            assert record["list_cost"] == record["own_cost"] == 0
            assert record["input_tokens"] == record["output_tokens"] == 0
        await each.idle()
