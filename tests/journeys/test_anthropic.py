"""Anthropic's own client, async and blocking, unchanged but for base_url and its credential."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest

from relay.errors import SOON
from simulator.anthropic import SIGNATURE
from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from simulator.extras import PNG
from tests.journeys.kit import Home, at_home, bill, billed, cost
from tests.relay.asks import Ask
from tests.relay.harness import House

pytestmark = pytest.mark.django_db(transaction=True)

HELLO: Any = {"max_tokens": 2000, "messages": [{"role": "user", "content": "hello there"}]}
TOOL: Any = {
    "name": "weather",
    "description": "tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}}},
}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
CACHES = "sim.in-1000.out-50.cached-800.w5m-100.w1h-40.searches-2"
PRICES = {
    "price_input": "3",
    "price_output": "15",
    "price_cache_read": "0.30",
    "price_cache_write_5m": "3.75",
    "price_cache_write_1h": "6",
}


@dataclass(frozen=True)
class Speaker:
    """The official client, blocking (in a thread) or async, behind one face."""

    client: anthropic.Anthropic | anthropic.AsyncAnthropic

    async def call(self, method: Callable[[Any], Any]) -> Any:
        """What a method of the client gives back."""
        if isinstance(self.client, anthropic.Anthropic):
            return await asyncio.to_thread(method, self.client)
        return await method(self.client)

    async def whole(self, **asked: Any) -> Any:
        """A message that comes whole."""
        return await self.call(lambda client: client.messages.create(**{**HELLO, **asked}))

    async def streamed(self, *, beta: bool = False, **asked: Any) -> tuple[list[Any], Any]:
        """The events of a streamed message, and what the client's own accumulator made of them."""
        client, asked = self.client, {**HELLO, **asked}
        if isinstance(client, anthropic.Anthropic):
            return await asyncio.to_thread(_read, client.beta.messages if beta else client.messages, asked)
        messages: Any = client.beta.messages if beta else client.messages
        async with messages.stream(**asked) as stream:
            return [event async for event in stream], await stream.get_final_message()

    async def both(self, **asked: Any) -> AsyncIterator[Any]:
        """The same message, whole and streamed."""
        yield await self.whole(**asked)
        yield (await self.streamed(**asked))[1]


def _read(messages: Any, asked: dict[str, Any]) -> tuple[list[Any], Any]:
    with messages.stream(**asked) as stream:
        return list(stream), stream.get_final_message()


@pytest.fixture(params=["async", "blocking"])
def manner(request: pytest.FixtureRequest) -> str:
    """Which of the two clients speaks."""
    return str(request.param)


@asynccontextmanager
async def speaking(home: Home, manner: str, **options: Any) -> AsyncIterator[Speaker]:
    """A client of this relay. It checks each answer against its own types, and tries nothing twice."""
    given: dict[str, Any] = {
        "base_url": home.url,
        "max_retries": 0,
        "_strict_response_validation": True,
        **(options or {"api_key": home.secret}),
    }
    if manner == "async":
        async with anthropic.AsyncAnthropic(**given) as client:
            yield Speaker(client)
    else:
        with anthropic.Anthropic(**given) as blocking:
            yield Speaker(blocking)


@asynccontextmanager
async def conversation(
    door: str, manner: str, models: Iterable[str], **options: Any
) -> AsyncIterator[tuple[Home, Speaker]]:
    """A relay and a client of it."""
    async with at_home(door, models=tuple(models), **options) as home, speaking(home, manner) as speaker:
        yield home, speaker


def told(usage: Any) -> tuple[int, int, int, int, int]:
    """The client's counters as a record has them: input with cache reads and writes, output, reads, writes,
    writes for an hour."""
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    long = usage.cache_creation.ephemeral_1h_input_tokens if usage.cache_creation else 0
    return usage.input_tokens + read + written, usage.output_tokens, read, written, long


def kept(record: dict[str, Any]) -> tuple[int, ...]:
    """The same counters as they were recorded."""
    names = ("input", "output", "cached", "cache_creation", "cache_creation_1h")
    return tuple(record.get(f"{name}_tokens", 0) for name in names)


def sent(house: House) -> Any:
    """The body that the vendor got last."""
    return json.loads(house.vendor.requests[-1].body)


async def check(home: Home, message: Any, **columns: Any) -> dict[str, Any]:
    """The record of the call that `message` answered, which must say what the client was told."""
    record = await billed(home)
    assert kept(record) == told(message.usage)
    expected: dict[str, Any] = {
        "kind": "generate",
        "outcome": "ok",
        "status_code": 200,
        "client_format": "anthropic",
        "upstream_format": "anthropic",
        "usage_source": "reported",
        "finish_reason": message.stop_reason,
        **columns,
    }
    assert {name: record[name] for name in expected} == expected
    return record


async def test_a_message_costs_what_its_tokens_do_whole_and_streamed(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        async for message in speaker.both(model="sim"):
            assert message.content[0].text == TEXT
            await check(home, message, list_cost=cost(2, 40), own_cost=cost(2, 40), attempt_count=1)


async def test_the_events_of_a_stream_come_one_by_one_in_the_vendors_order(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim.chunks-3"]) as (home, speaker):
        events, message = await speaker.streamed(model="sim.chunks-3")
        await check(home, message, is_stream=True)
    raw = [event.type for event in events if event.type not in ("text", "ping")]
    assert raw == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_cache_reads_and_both_kinds_of_writes_are_billed_apart(door: str, manner: str) -> None:
    async with conversation(door, manner, [CACHES], price=PRICES) as (home, speaker):
        async for message in speaker.both(model=CACHES):
            assert message.usage.input_tokens == 60
            assert told(message.usage) == (1000, 50, 800, 140, 40)
            # 60 x $3 + 800 x $0.30 + 100 x $3.75 + 40 x $6 + 50 x $15 = $1785 for a million of such calls.
            record = await check(home, message, list_cost=1_785_000_000, own_cost=1_785_000_000)
            # Read from the cache: 800 x ($3 - $0.30).
            assert record["saved_cost"] == 2_160_000_000
            assert record["tool_uses"] == {"web_search": 2}
            assert not record["estimated"]


async def test_cache_marks_reach_the_vendor_as_the_client_set_them(door: str, manner: str) -> None:
    marked: Any = [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}},
    ]
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        message = await speaker.whole(model="sim", system=marked)
        await check(home, message)
        assert sent(home.house)["system"] == marked


async def test_a_tool_is_called_and_its_result_answered(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim.tools-2"]) as (home, speaker):
        async for first in speaker.both(model="sim.tools-2", tools=[TOOL]):
            await check(home, first, finish_reason="tool_use")
            calls = [block for block in first.content if block.type == "tool_use"]
            assert [call.input for call in calls] == [{"city": "Oslo"}] * 2
            results = [
                {"type": "tool_result", "tool_use_id": call.id, "content": "sunny", "is_error": False}
                for call in calls
            ]
            history = [
                *HELLO["messages"],
                {"role": "assistant", "content": first.content},
                {"role": "user", "content": results},
            ]
            async for second in speaker.both(model="sim.tools-2", tools=[TOOL], messages=history):
                assert second.content[0].text == AFTER_TOOL
                assert sent(home.house)["messages"][-1]["content"] == results
                await check(home, second, finish_reason="end_turn")


async def test_thoughts_keep_their_signature_byte_for_byte_there_and_back(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim", "sim.think.redacted"]) as (home, speaker):
        async for message in speaker.both(model="sim", thinking=THINKING):
            assert sent(home.house)["thinking"] == THINKING
            await check(home, message, list_cost=cost(2, 40 + len(THOUGHTS.split())))
            thought, said = message.content
            assert (thought.type, thought.thinking, said.text) == ("thinking", THOUGHTS, TEXT)
            assert thought.signature == SIGNATURE
            history = [
                *HELLO["messages"],
                {"role": "assistant", "content": message.content},
                {"role": "user", "content": "and now"},
            ]
            await check(home, await speaker.whole(model="sim", messages=history))
            back = sent(home.house)["messages"][1]["content"][0]
            assert (back["thinking"], back["signature"]) == (THOUGHTS, SIGNATURE)
        async for message in speaker.both(model="sim.think.redacted"):
            await check(home, message)
            assert message.content[0].type == "redacted_thinking"
            assert message.content[0].data == SIGNATURE


async def test_an_image_reaches_the_vendor_byte_for_byte(door: str, manner: str) -> None:
    data = base64.b64encode(bytes(range(256)) * 400).decode()
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        for each in (PNG, data):
            source = {"type": "base64", "media_type": "image/png", "data": each}
            content = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
            async for message in speaker.both(model="sim", messages=[{"role": "user", "content": content}]):
                assert sent(home.house)["messages"][0]["content"] == content
                await check(home, message, list_cost=cost(3, 40))


async def test_the_beta_client_brings_its_header_and_its_query_to_the_vendor(door: str, manner: str) -> None:
    betas = ["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"]
    # Earlier clients sent this query by themselves.
    asked = {**HELLO, "model": "sim", "betas": betas, "extra_query": {"beta": "true"}}
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        whole = await speaker.call(lambda client: client.beta.messages.create(**asked))
        await check(home, whole, is_stream=False)
        _, streamed = await speaker.streamed(beta=True, **asked)
        await check(home, streamed, is_stream=True)
        for message, seen in zip((whole, streamed), home.house.vendor.requests, strict=True):
            assert message.content[0].text == TEXT
            assert (seen.path, seen.query) == ("/v1/messages", "beta=true")
            assert seen.header("anthropic-beta") == ",".join(betas)


async def test_counting_tokens_is_recorded_and_costs_nothing(door: str, manner: str) -> None:
    asked = {"model": "sim", "system": "be very brief", "messages": HELLO["messages"]}
    async with conversation(door, manner, ["sim"]) as (home, speaker):
        counters: list[Callable[[Any], Any]] = [
            lambda client: client.messages.count_tokens(**asked),
            lambda client: client.beta.messages.count_tokens(**asked),
        ]
        for count in counters:
            assert (await speaker.call(count)).input_tokens == 5
            line = await bill(home)
            record = line["record"]
            assert (record["kind"], record["outcome"], kept(record)) == ("count_tokens", "ok", (0,) * 5)
            assert (record["list_cost"], record["own_cost"], line["price"]) == (0, 0, None)


async def test_models_are_told_in_the_vendors_shape_and_leave_no_record(door: str, manner: str) -> None:
    async with conversation(door, manner, ["sim", "sim.think"]) as (_, speaker):
        listed = await speaker.call(lambda client: client.models.list())
        assert [each.id for each in listed.data] == ["sim", "sim.think"]
        assert not listed.has_next_page()
        one = await speaker.call(lambda client: client.models.retrieve("sim.think"))
        assert (one.id, one.type, one.display_name) == ("sim.think", "model", "sim.think")
        with pytest.raises(anthropic.NotFoundError, match="There is no model 'nope'"):
            await speaker.call(lambda client: client.models.retrieve("nope"))


async def test_a_bearer_token_is_a_credential_too_and_never_reaches_the_vendor(
    door: str, manner: str
) -> None:
    async with at_home(door, models=("sim",)) as home:
        async with speaking(home, manner, auth_token=home.secret) as speaker:
            async for message in speaker.both(model="sim"):
                await check(home, message)
                seen = home.house.vendor.requests[-1]
                assert (seen.header("x-api-key"), seen.header("authorization")) == (
                    "sk-vendor-first-key-1",
                    None,
                )
            assert [each.id for each in (await speaker.call(lambda client: client.models.list())).data] == [
                "sim"
            ]
        for wrong in ({"api_key": "sk-ant-nobody"}, {"auth_token": home.secret[:-1] + "~"}):
            async with speaking(home, manner, **wrong) as stranger:
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    await stranger.whole(model="sim")
                assert (caught.value.status_code, caught.value.type) == (401, "authentication_error")
                with pytest.raises(anthropic.AuthenticationError):
                    await stranger.streamed(model="sim")


REFUSALS: tuple[tuple[str, type[anthropic.APIStatusError], int, str, str], ...] = (
    ("nope", anthropic.NotFoundError, 404, "not_found_error", "rejected"),
    ("sim.fault-400", anthropic.BadRequestError, 400, "invalid_request_error", "rejected"),
    ("sim.fault-413", anthropic.ContentTooLargeError, 413, "request_too_large", "rejected"),
    ("sim.fault-429.retry-7", anthropic.RateLimitError, 429, "rate_limit_error", "upstream_error"),
    ("sim.fault-401", anthropic.InternalServerError, 502, "api_error", "upstream_error"),
    ("sim.fault-504", anthropic.GatewayTimeoutError, 504, "timeout_error", "upstream_error"),
    ("sim.fault-529", anthropic.OverloadedError, 529, "overloaded_error", "upstream_error"),
)


async def test_each_refusal_is_raised_as_the_clients_own_error(door: str, manner: str) -> None:
    models = [model for model, *_ in REFUSALS[1:]]
    async with conversation(door, manner, models) as (home, speaker):
        for model, error, status, kind, outcome in REFUSALS:
            for ask in (speaker.whole, speaker.streamed):
                home.house.afresh()
                with pytest.raises(error) as caught:
                    await ask(model=model)
                record = await billed(home)
                raised = caught.value
                assert (type(raised), raised.status_code, raised.type) == (error, status, kind)
                assert raised.request_id == record["request_id"]
                assert (record["outcome"], record["status_code"], kept(record)) == (
                    outcome,
                    status,
                    (0,) * 5,
                )
                assert record["list_cost"] == 0
                wait = raised.response.headers.get("retry-after", "none")
                assert (
                    (1 <= int(wait) <= SOON) if status == 529 else wait == ("7" if status == 429 else "none")
                )


async def test_an_error_in_mid_answer_is_raised_and_what_was_said_is_billed(door: str, manner: str) -> None:
    models = {
        "sim.in-10.delay-20.fault-error-overloaded.after-6": "overloaded_error",
        "sim.in-10.delay-20.fault-error-rate.after-6": "rate_limit_error",
    }
    async with conversation(door, manner, models) as (home, speaker):
        for model, kind in models.items():
            with pytest.raises(anthropic.APIStatusError) as caught:
                await speaker.streamed(model=model)
            assert caught.value.type == kind
            record = await billed(home)
            assert (record["outcome"], record["status_code"], record["input_tokens"]) == ("partial", 200, 10)
            assert record["output_tokens"] > 0
            assert record["list_cost"] == cost(10, record["output_tokens"])


async def test_keep_alives_are_nothing_to_the_client(door: str, manner: str) -> None:
    models = ["sim.first-400.chunks-5", "sim.pause-400.after-4.chunks-5"]
    async with conversation(door, manner, models, knobs={"keep_alive": 0.05}) as (home, speaker):
        for model in models:
            raw = await Ask("anthropic", stream=True).send(home.house, model)
            await billed(home)
            assert raw.text.count("event: ping\n") >= 3, "the vendor's own ping and two of ours"
            events, message = await speaker.streamed(model=model)
            await check(home, message, is_stream=True)
            assert sum(event.type == "content_block_delta" for event in events) == 5
            assert message.content[0].text == "Hello from the simulator. No"


async def test_an_error_after_keep_alives_is_raised_all_the_same(door: str, manner: str) -> None:
    model = "sim.wait-250.fault-400"
    async with conversation(door, manner, [model], knobs={"keep_alive": 0.05}) as (home, speaker):
        with pytest.raises(anthropic.APIStatusError) as caught:
            await speaker.streamed(model=model)
        assert caught.value.type == "invalid_request_error"
        record = await billed(home)
        assert (record["outcome"], record["list_cost"], kept(record)) == ("rejected", 0, (0,) * 5)
