"""Google's own client, async and blocking, unchanged but for base_url and api_key."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google import genai
from google.genai import errors, types

from relay.errors import SOON
from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from simulator.extras import vector
from simulator.gemini import SIGNATURE
from tests.journeys.kit import Home, at_home, bill, billed, cost
from tests.relay.asks import HELLO, Ask, text
from tests.relay.harness import House

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # google-genai subclasses aiohttp's session, which aiohttp discourages.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning"),
]

TOOL = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(
            name="weather",
            parameters=types.Schema(
                type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}
            ),
        )
    ]
)
MANUAL = types.AutomaticFunctionCallingConfig(disable=True)
NUMBERS = "sim.in-1000.out-50.cached-800.reason-20.tooluse-30"
WHOLE, STREAMED = Ask("gemini"), Ask("gemini", stream=True)
ARRAY = Ask("gemini", stream=True, array=True)


@dataclass(frozen=True)
class Speaker:
    """The official client, blocking (in a thread) or async, behind one face."""

    client: genai.Client
    blocking: bool

    async def call(self, method: Callable[[Any], Any]) -> Any:
        """What a method of the client's `models` gives back."""
        if self.blocking:
            return await asyncio.to_thread(method, self.client.models)
        return await method(self.client.aio.models)

    async def whole(self, **asked: Any) -> Any:
        """An answer that comes whole."""
        return await self.call(lambda models: models.generate_content(**{"contents": HELLO, **asked}))

    async def streamed(self, **asked: Any) -> list[Any]:
        """The chunks of a streamed answer."""
        asked = {"contents": HELLO, **asked}
        if self.blocking:
            return await asyncio.to_thread(lambda: list(self.client.models.generate_content_stream(**asked)))
        return [chunk async for chunk in await self.client.aio.models.generate_content_stream(**asked)]

    async def both(self, **asked: Any) -> AsyncIterator[list[Any]]:
        """The chunks of the same answer, whole and streamed."""
        yield [await self.whole(**asked)]
        yield await self.streamed(**asked)


@pytest.fixture(params=["async", "blocking"])
def manner(request: pytest.FixtureRequest) -> str:
    """Which of the two clients speaks."""
    return str(request.param)


@asynccontextmanager
async def speaking(
    home: Home, manner: str, *, version: str | None = None, secret: str = ""
) -> AsyncIterator[Speaker]:
    """A client of this relay; it tries nothing twice."""
    options = types.HttpOptions(
        base_url=home.url, api_version=version, retry_options=types.HttpRetryOptions(attempts=1)
    )
    client = genai.Client(api_key=secret or home.secret, http_options=options)
    try:
        async with client.aio:
            yield Speaker(client, manner == "blocking")
    finally:
        client.close()


@asynccontextmanager
async def conversation(
    door: str, manner: str, models: Iterable[str], **options: Any
) -> AsyncIterator[tuple[Home, Speaker]]:
    """A relay and a client of it."""
    async with at_home(door, models=tuple(models), **options) as home, speaking(home, manner) as speaker:
        yield home, speaker


def told(usage: Any) -> tuple[int, int, int, int]:
    """The client's counters as a record has them: input with tool use, output with thoughts, cache reads,
    reasoning."""
    thoughts = usage.thoughts_token_count or 0
    return (
        usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0),
        (usage.candidates_token_count or 0) + thoughts,
        usage.cached_content_token_count or 0,
        thoughts,
    )


def kept(record: dict[str, Any]) -> tuple[int, ...]:
    """The same counters as they were recorded."""
    return tuple(record.get(f"{name}_tokens", 0) for name in ("input", "output", "cached", "reasoning"))


def parts(chunks: list[Any]) -> list[Any]:
    """The parts of an answer, however many chunks it came in."""
    return [part for chunk in chunks for part in chunk.parts or []]


def said(chunks: list[Any]) -> str:
    """The text of an answer without its thoughts."""
    return "".join(part.text or "" for part in parts(chunks) if not part.thought)


def sent(house: House) -> Any:
    """The body that the vendor got last."""
    return json.loads(house.vendor.requests[-1].body)


async def check(home: Home, chunks: list[Any], **columns: Any) -> dict[str, Any]:
    """The record of the call that `chunks` answered, which must say what the client was told."""
    record = await billed(home)
    assert kept(record) == told(chunks[-1].usage_metadata)
    expected: dict[str, Any] = {
        "kind": "generate",
        "outcome": "ok",
        "status_code": 200,
        "client_format": "gemini",
        "upstream_format": "gemini",
        "usage_source": "reported",
        "finish_reason": "STOP",
        **columns,
    }
    assert {name: record[name] for name in expected} == expected
    return record


async def test_an_answer_costs_what_its_tokens_do_whole_and_streamed(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim", "sim.chunks-3"]) as (home, speaker):
        async for chunks in speaker.both(model="sim"):
            assert said(chunks) == TEXT
            await check(home, chunks, list_cost=cost(2, 40), own_cost=cost(2, 40), attempt_count=1)
        chunks = await speaker.streamed(model="sim.chunks-3")
        assert [chunk.text for chunk in chunks] == ["Hello", " from", " the"]
        await check(home, chunks, is_stream=True, list_cost=cost(2, 3))


async def test_cache_reads_thoughts_and_tool_use_are_counted_and_billed(door: str, manner: str) -> None:
    prices = {
        "price_input": "3",
        "price_output": "15",
        "price_cache_read": "0.30",
        "price_reasoning": "20",
    }
    async with conversation(door, manner, [NUMBERS], price=prices) as (home, speaker):
        async for chunks in speaker.both(model=NUMBERS):
            assert told(chunks[-1].usage_metadata) == (1000, 50, 800, 20)
            # 200 x $3 + 800 x $0.30 + 30 x $15 + 20 x $20 = $1690 for a million of such calls.
            record = await check(home, chunks, list_cost=1_690_000_000, own_cost=1_690_000_000)
            # Read from the cache: 800 x ($3 - $0.30).
            assert record["saved_cost"] == 2_160_000_000


async def test_tools_are_called_and_their_results_answered(door: str, manner: str) -> None:
    model, config = (
        "sim.tools-2",
        types.GenerateContentConfig(tools=[TOOL], automatic_function_calling=MANUAL),
    )
    async with conversation(door, manner, [model]) as (home, speaker):
        async for first in speaker.both(model=model, config=config):
            await check(home, first, list_cost=cost(2, 24))
            called = [part for part in parts(first) if part.function_call]
            assert [part.function_call.args for part in called] == [{"city": "Paris"}] * 2
            results = [
                types.Part.from_function_response(name="weather", response={"result": "sunny"})
                for _ in called
            ]
            history = [
                types.Content(role="user", parts=[types.Part(text=HELLO)]),
                types.Content(role="model", parts=called),
                types.Content(role="user", parts=results),
            ]
            async for second in speaker.both(model=model, config=config, contents=history):
                assert said(second) == AFTER_TOOL
                answered = [each["functionResponse"] for each in sent(home.house)["contents"][-1]["parts"]]
                assert answered == [{"name": "weather", "response": {"result": "sunny"}}] * 2
                await check(home, second)


async def test_the_clients_own_tool_loop_runs_through_the_relay(door: str, manner: str) -> None:
    asked: list[str] = []

    def weather(city: str) -> str:
        """Tells the weather."""
        asked.append(city)
        return "sunny"

    config = types.GenerateContentConfig(tools=[weather])
    async with conversation(door, manner, ["sim.tool"]) as (home, speaker):
        async for chunks in speaker.both(model="sim.tool", config=config):
            assert said(chunks).endswith(AFTER_TOOL)
            finals = await home.house.settled(home.billed + 2)
            home.billed += 2
            assert [each["record"]["outcome"] for each in finals[-2:]] == ["ok", "ok"]
            assert finals[-2]["record"]["list_cost"] == cost(2, 12)
            assert kept(finals[-1]["record"]) == told(chunks[-1].usage_metadata)
    assert asked == ["Paris"] * 2


async def test_thoughts_keep_their_signature_byte_for_byte_there_and_back(door: str, manner: str) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
    config = types.GenerateContentConfig(thinking_config=thinking)
    async with conversation(door, manner, ["sim", "sim.tool.think"]) as (home, speaker):
        async for chunks in speaker.both(model="sim", config=config):
            wanted = sent(home.house)["generationConfig"]["thinkingConfig"]
            assert {name.lower().replace("_", ""): value for name, value in wanted.items()} == {
                "includethoughts": True,
                "thinkingbudget": 1024,
            }
            assert "".join(part.text for part in parts(chunks) if part.thought) == THOUGHTS
            assert said(chunks) == TEXT
            assert parts(chunks)[-1].thought_signature == base64.b64decode(SIGNATURE)
            words = len(THOUGHTS.split())
            await check(home, chunks, reasoning_tokens=words, list_cost=cost(2, 40 + words))
        config = types.GenerateContentConfig(tools=[TOOL], automatic_function_calling=MANUAL)
        async for first in speaker.both(model="sim.tool.think", config=config):
            await check(home, first)
            result = types.Part.from_function_response(name="weather", response={"result": "sunny"})
            history = [
                types.Content(role="user", parts=[types.Part(text=HELLO)]),
                types.Content(role="model", parts=parts(first)),
                types.Content(role="user", parts=[result]),
            ]
            second = await speaker.whole(model="sim.tool.think", config=config, contents=history)
            assert said([second]) == AFTER_TOOL
            signed = [each.get("thoughtSignature") for each in sent(home.house)["contents"][1]["parts"]]
            assert signed[-1] == SIGNATURE
            await check(home, [second])


async def test_an_image_reaches_the_vendor_byte_for_byte(door: str, manner: str) -> None:
    data = bytes(range(256)) * 400
    contents = [types.Part.from_bytes(data=data, mime_type="image/png"), "what is this"]
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        async for chunks in speaker.both(model="sim", contents=contents):
            inline = sent(home.house)["contents"][0]["parts"][0]["inlineData"]
            assert inline["mime_type"] == "image/png"  # the client's own spelling, untouched
            assert base64.urlsafe_b64decode(inline["data"]) == data
            await check(home, chunks, list_cost=cost(3, 40))


async def test_counting_tokens_is_recorded_and_costs_nothing(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        counted = await speaker.call(
            lambda models: models.count_tokens(model="sim", contents="one two three")
        )
        assert counted.total_tokens == 3
        line = await bill(home)
        record = line["record"]
        assert (record["kind"], record["outcome"], kept(record)) == ("count_tokens", "ok", (0,) * 4)
        assert (record["list_cost"], record["own_cost"], line["price"]) == (0, 0, None)


async def test_texts_are_embedded_and_billed_by_their_input(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        texts = ["one two", "three"]
        made = await speaker.call(lambda models: models.embed_content(model="sim", contents=texts))
        assert [each.values for each in made.embeddings] == [vector(each, 8) for each in texts]
        record = await billed(home)
        assert (record["kind"], record["outcome"]) == ("embed", "ok")
        assert kept(record) == (3, 0, 0, 0)
        assert record["list_cost"] == cost(3, 0)


async def test_models_are_told_in_the_vendors_shape_and_leave_no_record(door: str, manner: str) -> None:
    async with at_home(door, models=("sim", "sim.think")) as home:
        for version in ("v1", "v1beta"):
            async with speaking(home, manner, version=version) as speaker:
                assert await _names(speaker) == ["models/sim", "models/sim.think"]
                one = await speaker.call(lambda models: models.get(model="sim.think"))
                assert (one.name, one.input_token_limit) == ("models/sim.think", 200_000)
                with pytest.raises(errors.ClientError, match="There is no model 'nope'") as caught:
                    await speaker.call(lambda models: models.get(model="nope"))
                assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


async def _names(speaker: Speaker) -> list[str]:
    if speaker.blocking:
        return await asyncio.to_thread(lambda: [each.name or "" for each in speaker.client.models.list()])
    return [each.name or "" async for each in await speaker.client.aio.models.list()]


async def test_both_versions_of_the_api_are_served_and_kept_upstream(door: str, manner: str) -> None:
    async with at_home(door, models=("sim",)) as home:
        for version in ("v1", "v1beta"):
            async with speaking(home, manner, version=version) as speaker:
                for name in ("sim", "models/sim"):
                    async for chunks in speaker.both(model=name):
                        assert said(chunks) == TEXT
                        await check(home, chunks, model_name="sim")
                        seen = home.house.vendor.requests[-1]
                        assert seen.path.partition(":")[0] == f"/{version}/models/sim"
                        assert seen.secret == "sk-vendor-first-key-1"


async def test_the_api_key_may_stand_in_the_query_and_goes_no_further(door: str) -> None:
    async with (
        at_home(door, models=("sim",)) as home,
        httpx.AsyncClient(base_url=home.url, trust_env=False) as bare,
    ):
        for ask in (WHOLE, STREAMED, ARRAY):
            path = ask.path()
            path += f"{'&' if '?' in path else '?'}key={home.secret}"
            answer = await bare.post(path, json=ask.body())
            assert (answer.status_code, text(ask, answer.text)) == (200, TEXT)
            record = await billed(home)
            assert (record["outcome"], record["list_cost"]) == ("ok", cost(2, 40))
            seen = home.house.vendor.requests[-1]
            assert home.secret not in f"{seen.path}{seen.query}{seen.headers}"
            assert seen.header("x-goog-api-key") == "sk-vendor-first-key-1"
        listed = await bare.get(f"/v1beta/models?key={home.secret}")
        assert [each["name"] for each in listed.json()["models"]] == ["models/sim"]
        for query in ("", "?key=", "?key=AIza-nobody", f"?key={home.secret[:-1]}~"):
            refused = await bare.post(WHOLE.path() + query, json=WHOLE.body())
            assert (refused.status_code, refused.json()["error"]["status"]) == (401, "UNAUTHENTICATED")


async def test_a_stream_without_sse_is_one_json_array(door: str) -> None:
    async with at_home(
        door, models=(NUMBERS, "sim.pause-400.after-2.chunks-4"), knobs={"keep_alive": 0.05}
    ) as home:
        answer = await ARRAY.send(home.house, NUMBERS, headers={"x-goog-api-key": home.secret})
        assert answer.headers["content-type"].startswith("application/json")
        last = types.GenerateContentResponse.model_validate(answer.json()[-1])
        assert text(ARRAY, answer.text) == TEXT
        await check(home, [last], is_stream=True)
        paused = await ARRAY.send(home.house, "sim.pause-400.after-2.chunks-4")
        assert "\n\n" in paused.text, "keep-alives between two elements"
        assert [len(each["candidates"]) for each in paused.json()] == [1] * 4
        assert (await billed(home))["outcome"] == "ok"


REFUSALS: tuple[tuple[str, type[errors.APIError], int, str, str], ...] = (
    ("nope", errors.ClientError, 404, "NOT_FOUND", "rejected"),
    ("sim.fault-400", errors.ClientError, 400, "INVALID_ARGUMENT", "rejected"),
    ("sim.fault-429.retry-7", errors.ClientError, 429, "RESOURCE_EXHAUSTED", "upstream_error"),
    ("sim.fault-401", errors.ServerError, 502, "UNAVAILABLE", "upstream_error"),
    ("sim.fault-529", errors.ServerError, 503, "UNAVAILABLE", "upstream_error"),
    ("sim.fault-504", errors.ServerError, 504, "DEADLINE_EXCEEDED", "upstream_error"),
)


async def test_each_refusal_is_raised_as_the_clients_own_error(door: str, manner: str) -> None:
    models = [model for model, *_ in REFUSALS[1:]]
    async with conversation(door, manner, models) as (home, speaker):
        for model, error, status, name, outcome in REFUSALS:
            for ask in (speaker.whole, speaker.streamed):
                home.house.afresh()
                with pytest.raises(error) as caught:
                    await ask(model=model)
                raised = caught.value
                assert (type(raised), raised.code, raised.status) == (error, status, name)
                record = await billed(home)
                assert (record["outcome"], record["status_code"]) == (outcome, status)
                assert (record["list_cost"], kept(record)) == (0, (0,) * 4)
                headers: Any = raised.response.headers
                wait = headers.get("retry-after")
                assert (1 <= int(wait) <= SOON) if status == 503 else wait == ("7" if status == 429 else None)
        async with speaking(home, manner, secret="AIza-nobody") as stranger:
            for ask in (stranger.whole, stranger.streamed):
                with pytest.raises(errors.ClientError) as caught:
                    await ask(model="sim")
                assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


async def test_an_error_in_mid_answer_is_raised_and_what_was_said_is_billed(door: str, manner: str) -> None:
    models: dict[str, tuple[type[errors.APIError], str]] = {
        "sim.in-10.delay-20.fault-error-overloaded.after-3": (errors.ServerError, "UNAVAILABLE"),
        "sim.in-10.delay-20.fault-error-rate.after-3": (errors.ClientError, "RESOURCE_EXHAUSTED"),
        "sim.in-10.delay-20.fault-cut.after-3": (errors.ServerError, "UNAVAILABLE"),
    }
    async with conversation(door, manner, models) as (home, speaker):
        for model, (error, name) in models.items():
            home.house.afresh()
            with pytest.raises(error) as caught:
                await speaker.streamed(model=model)
            assert caught.value.status == name
            record = await billed(home)
            assert (record["outcome"], record["status_code"], record["input_tokens"]) == ("partial", 200, 10)
            assert record["output_tokens"] >= 3
            assert record["list_cost"] == cost(10, record["output_tokens"])


async def test_keep_alives_are_nothing_to_the_client(door: str, manner: str) -> None:
    models = ["sim.first-400.chunks-5", "sim.pause-400.after-2.chunks-5"]
    async with conversation(door, manner, models, knobs={"keep_alive": 0.05}) as (home, speaker):
        for model in models:
            raw = await STREAMED.send(home.house, model)
            await billed(home)
            assert raw.text.startswith("\n\n") or "\n\n\n\n" in raw.text, "line ends for keep-alives"
            chunks = await speaker.streamed(model=model)
            assert [chunk.text for chunk in chunks] == ["Hello", " from", " the", " simulator.", " No"]
            await check(home, chunks, is_stream=True)


async def test_an_error_after_keep_alives_is_raised_all_the_same(door: str, manner: str) -> None:
    model = "sim.wait-250.fault-400"
    async with conversation(door, manner, [model], knobs={"keep_alive": 0.05}) as (home, speaker):
        with pytest.raises(errors.ClientError) as caught:
            await speaker.streamed(model=model)
        assert caught.value.status == "INVALID_ARGUMENT"
        record = await billed(home)
        assert (record["outcome"], record["list_cost"], kept(record)) == ("rejected", 0, (0,) * 4)
