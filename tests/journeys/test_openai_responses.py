"""OpenAI's own client, blocking and not, with nothing changed but base_url and api_key: the Responses API."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from consumers.models import ApiKey, Consumer
from relay import stored
from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from tests.journeys.kit import CACHE_READ, COUNTED, INPUT, OUTPUT, Home, at_home, bill, billed, cost
from tests.journeys.openai_kit import ARGUMENTS, SCHEMA, Sdk, both

CREATE = "responses.create"
ASK = {"model": "sim", "input": "hello there"}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
FIRST, SECOND = KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2")
CODEX: dict[str, Any] = {
    "instructions": "You are Codex.",
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0198-conversation",
    "extra_headers": {
        "originator": "codex_cli_rs",
        "session_id": "0198-session",
        "conversation_id": "0198-conversation",
        "OpenAI-Beta": "responses=experimental",
    },
}
"""What the coding agent of that name says with each request."""


def tokens(record: dict[str, Any]) -> tuple[int, int]:
    return record["input_tokens"], record["output_tokens"]


def told(usage: Any) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


def sent(home: Home) -> dict[str, Any]:
    """The body that reached the vendor last."""
    body: dict[str, Any] = json.loads(home.house.vendor.requests[-1].body)
    return body


async def test_a_whole_response_is_billed_by_what_it_reported(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        answer = await sdk.ask(CREATE, model=COUNTED, input="hello there", reasoning={"effort": "low"})
        assert answer.output_text == TEXT
        record = await billed(home)
        assert tokens(record) == told(answer.usage) == (1000, 50)
        assert record["cached_tokens"] == answer.usage.input_tokens_details.cached_tokens == 800
        assert record["reasoning_tokens"] == answer.usage.output_tokens_details.reasoning_tokens == 20
        assert record["list_cost"] == 200 * INPUT + 800 * CACHE_READ + 50 * OUTPUT == 380_000_000
        assert (record["client_format"], record["upstream_format"]) == ("openai_responses",) * 2
        assert (record["outcome"], record["finish_reason"]) == ("ok", "completed")
        assert answer._request_id == record["request_id"]


async def test_a_streamed_response_is_numbered_and_ends_complete(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        events = await sdk.hear(CREATE, **ASK)
        assert [event.sequence_number for event in events] == list(range(len(events)))
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == TEXT
        assert events[-1].type == "response.completed"
        record = await billed(home)
        assert tokens(record) == told(events[-1].response.usage) == (2, 40)
        assert record["list_cost"] == cost(2, 40) == 82_000_000
        assert (record["outcome"], record["is_stream"]) == ("ok", True)


async def test_reasoning_and_tools_come_streamed_and_whole(home: Home, sdks: list[Sdk]) -> None:
    asked = {"model": "sim.think.tool", "input": "hello there", "tools": [TOOL]}
    for sdk in sdks:
        streamed = await sdk.follow("responses.stream", "get_final_response", **asked)
        first = await billed(home)
        whole = await sdk.ask(CREATE, **asked)
        second = await billed(home)
        for answer, record in ((streamed, first), (whole, second)):
            assert [item.type for item in answer.output] == ["reasoning", "function_call"]
            assert json.loads(answer.output[1].arguments) == ARGUMENTS
            assert tokens(record) == told(answer.usage)
            assert record["reasoning_tokens"] == len(THOUGHTS.split())
            assert record["output_tokens"] == 12 + len(THOUGHTS.split())
            assert record["list_cost"] == cost(*tokens(record))


async def test_a_response_follows_a_json_schema(home: Home, sdks: list[Sdk]) -> None:
    shape = {"format": {"type": "json_schema", "name": "trip", "schema": SCHEMA, "strict": True}}
    for sdk in sdks:
        answer = await sdk.ask(CREATE, **ASK, text=shape)
        assert json.loads(answer.output_text) == ARGUMENTS
        assert tokens(await billed(home)) == told(answer.usage)


async def test_a_picture_travels_as_it_is(home: Home, sdks: list[Sdk]) -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}
    asked = [{"role": "user", "content": [{"type": "input_text", "text": "what is this"}, picture]}]
    for sdk in sdks:
        answer = await sdk.ask(CREATE, model="sim", input=asked)
        assert sent(home)["input"] == asked
        assert tokens(await billed(home)) == told(answer.usage)


async def test_a_response_cut_by_its_limit_is_incomplete(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        events = await sdk.hear(CREATE, model="sim.finish-length", input="hello there")
        assert events[-1].type == "response.incomplete"
        assert events[-1].response.incomplete_details.reason == "max_output_tokens"
        record = await billed(home)
        assert record["outcome"] == "ok"
        assert tokens(record) == told(events[-1].response.usage)


async def test_codex_thinks_calls_its_tool_and_goes_on_with_its_encrypted_thoughts(
    home: Home, sdks: list[Sdk]
) -> None:
    for sdk in sdks:
        start = [{"role": "user", "content": [{"type": "input_text", "text": "what is the weather"}]}]
        events = await sdk.hear(CREATE, model="sim.think.tool", input=start, **CODEX)
        first = events[-1].response
        assert first.store is False
        thought, call = first.output
        assert thought.encrypted_content
        arguments = [each.delta for each in events if each.type == "response.function_call_arguments.delta"]
        assert json.loads("".join(arguments)) == ARGUMENTS
        line = await bill(home)
        assert tokens(line["record"]) == told(first.usage)
        assert line["stored"] is None
        vendor = home.house.vendor.requests[-1]
        for name, value in CODEX["extra_headers"].items():
            assert vendor.header(name.lower()) == value
        items = [item.model_dump(exclude_none=True) for item in (thought, call)]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        events = await sdk.hear(CREATE, model="sim", input=[*start, *items, result], **CODEX)
        assert sent(home)["input"][1]["encrypted_content"] == thought.encrypted_content
        assert (sent(home)["store"], sent(home)["include"]) == (False, CODEX["include"])
        second = events[-1].response
        assert second.output_text == AFTER_TOOL
        assert tokens(await billed(home)) == told(second.usage)
        with pytest.raises(openai.NotFoundError):
            await sdk.ask("responses.retrieve", second.id)
        assert (await billed(home))["outcome"] == "rejected"


async def test_what_continues_a_response_goes_to_the_key_that_holds_it(
    door: str, transactional_db: None
) -> None:
    async with at_home(door, keys=KEYS) as home, both(home) as sdks:
        vendor = home.house.vendor
        for sdk in sdks:
            home.house.afresh()
            vendor.script(["fault-401"], secret=FIRST)
            whole = await sdk.ask(CREATE, model="sim.tool", input="hello there", tools=[TOOL])
            record = await billed(home)
            assert (record["key_name"], record["attempt_count"]) == ("key-2", 2)
            streamed = (await sdk.hear(CREATE, **ASK))[-1].response
            assert (await billed(home))["key_name"] == "key-2"
            vendor.script(["ok"], secret=FIRST)
            home.house.afresh()
            await sdk.ask(CREATE, **ASK)
            assert (await billed(home))["key_name"] == "key-1"

            result = {"type": "function_call_output", "call_id": whole.output[0].call_id, "output": "sunny"}
            second = await sdk.ask(
                CREATE, model="sim.tool", previous_response_id=whole.id, input=[result], tools=[TOOL]
            )
            assert (second.output_text, second.previous_response_id) == (AFTER_TOOL, whole.id)
            record = await billed(home)
            assert (record["key_name"], record["attempt_count"], record["outcome"]) == ("key-2", 1, "ok")
            assert tokens(record) == told(second.usage)
            events = await sdk.hear(CREATE, **ASK, previous_response_id=streamed.id)
            assert events[-1].response.output_text == TEXT
            assert (await billed(home))["key_name"] == "key-2"
            assert vendor.requests[-1].secret == SECOND

            # No other key can go on with it: where this one fails, nothing else is asked.
            vendor.script(["fault-401", "ok"], secret=SECOND)
            with pytest.raises(openai.InternalServerError):
                await sdk.ask(CREATE, **ASK, previous_response_id=whole.id)
            record = await billed(home)
            assert (record["key_name"], record["attempt_count"]) == ("key-2", 1)
            vendor.script(["ok"], secret=SECOND)


async def test_a_stored_response_is_fetched_listed_and_deleted_for_free(
    door: str, transactional_db: None
) -> None:
    async with at_home(door, keys=KEYS) as home, both(home) as sdks:
        for sdk in sdks:
            home.house.vendor.script(["fault-401"], secret=FIRST)
            made = await sdk.ask(CREATE, **ASK)
            await billed(home)
            home.house.vendor.script(["ok"], secret=FIRST)
            fetched = await sdk.ask("responses.retrieve", made.id)
            assert fetched.output_text == made.output_text
            await free(home, "ok")
            listed = await sdk.ask("responses.input_items.list", made.id)
            assert listed.data[0].content[0].text == "hello there"
            await free(home, "ok")
            with pytest.raises(openai.BadRequestError, match="background"):
                await sdk.ask("responses.cancel", made.id)
            await free(home, "rejected")
            assert await sdk.ask("responses.delete", made.id) is None
            await free(home, "ok")
            with pytest.raises(openai.NotFoundError) as gone:
                await sdk.ask("responses.retrieve", made.id)
            assert gone.value.request_id == (await billed(home))["request_id"]
            assert {each.secret for each in list(home.house.vendor.requests)[-4:]} == {SECOND}


async def free(home: Home, outcome: str) -> None:
    record = await billed(home)
    assert (record["kind"], record["outcome"]) == ("stored", outcome)
    assert (tokens(record), record["list_cost"], record["own_cost"]) == ((0, 0), 0, 0)


async def test_nobody_else_sees_a_stored_response(
    door: str, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "PATIENCE", 0.1)
    secrets: dict[str, str] = {}

    def more_keys(_: str) -> None:
        bob = Consumer.objects.create(name="bob")
        secrets["bob"] = ApiKey.issue(consumer=bob, name="phone")[1]
        alice = Consumer.objects.get(name="alice")
        secrets["alice"] = ApiKey.issue(consumer=alice, name="phone")[1]

    async with at_home(door, prepare=more_keys) as home, both(home) as sdks:
        for sdk in sdks:
            made = await sdk.ask(CREATE, **ASK)
            await billed(home)
            asked = len(home.house.vendor.requests)
            stranger = sdk.named(secrets["bob"])
            for method, more in (
                ("responses.retrieve", {"response_id": made.id}),
                ("responses.input_items.list", {"response_id": made.id}),
                ("responses.cancel", {"response_id": made.id}),
                ("responses.delete", {"response_id": made.id}),
                (CREATE, {**ASK, "previous_response_id": made.id}),
            ):
                with pytest.raises(openai.NotFoundError) as hidden:
                    await stranger.ask(method, **more)
                with pytest.raises(openai.NotFoundError) as absent:
                    await stranger.ask(method, **{**more, **_renamed(more, made.id)})
                assert hidden.value.message.replace(made.id, "") == absent.value.message.replace(
                    made.id[:-4] + "beef", ""
                )
                for line in (await home.house.settled(home.billed + 2))[-2:]:
                    record = line["record"]
                    assert (record["consumer_name"], record["outcome"]) == ("bob", "rejected")
                home.billed += 2
            assert len(home.house.vendor.requests) == asked
            own = sdk.named(secrets["alice"])
            assert (await own.ask("responses.retrieve", made.id)).id == made.id
            assert (await billed(home))["api_key_name"] == "phone"


def _renamed(more: dict[str, Any], made: str) -> dict[str, str]:
    return {name: made[:-4] + "beef" for name, value in more.items() if value == made}
