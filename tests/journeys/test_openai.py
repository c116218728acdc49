"""OpenAI's own client, blocking and not, with nothing changed but base_url and api_key: chat."""

from __future__ import annotations

import json
from typing import Any

from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from tests.journeys.kit import CACHE_READ, COUNTED, INPUT, OUTPUT, Home, billed, cost
from tests.journeys.openai_kit import ARGUMENTS, HELLO, SCHEMA, Sdk

CHAT = "chat.completions.create"
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
RESULT = "sunny"


def tokens(record: dict[str, Any]) -> tuple[int, int]:
    return record["input_tokens"], record["output_tokens"]


async def test_a_whole_answer_is_billed_by_what_it_reported(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        answer = await sdk.ask(CHAT, model="sim", messages=HELLO)
        assert answer.choices[0].message.content == TEXT
        assert answer.choices[0].finish_reason == "stop"
        assert answer.model == "sim"
        record = await billed(home)
        assert tokens(record) == (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 40)
        # 2 tokens at $1 and 40 at $2 per million: $0.000082
        assert record["list_cost"] == record["own_cost"] == 82_000_000
        assert (record["kind"], record["is_stream"]) == ("generate", False)
        assert (record["outcome"], record["usage_source"]) == ("ok", "reported")
        assert (record["consumer_name"], record["model_name"]) == ("alice", "sim")
        assert answer._request_id == record["request_id"]


async def test_a_streamed_answer_tells_no_usage_to_who_did_not_ask_and_is_billed_all_the_same(
    home: Home, sdks: list[Sdk]
) -> None:
    for sdk in sdks:
        chunks = await sdk.hear(CHAT, model="sim", messages=HELLO)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        record = await billed(home)
        assert tokens(record) == (2, 40)
        assert record["list_cost"] == cost(2, 40)
        assert (record["outcome"], record["is_stream"], record["finish_reason"]) == ("ok", True, "stop")
        seen = json.loads(home.house.vendor.requests[-1].body)
        assert seen["stream_options"] == {"include_usage": True}


async def test_with_include_usage_the_usage_is_told_once(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        *chunks, last = await sdk.hear(
            CHAT, model=COUNTED, messages=HELLO, stream_options={"include_usage": True}
        )
        assert all(chunk.usage is None for chunk in chunks)
        assert last.choices == []
        record = await billed(home)
        assert tokens(record) == (last.usage.prompt_tokens, last.usage.completion_tokens) == (1000, 50)
        assert record["cached_tokens"] == last.usage.prompt_tokens_details.cached_tokens == 800
        assert record["reasoning_tokens"] == last.usage.completion_tokens_details.reasoning_tokens == 20
        assert record["list_cost"] == 200 * INPUT + 800 * CACHE_READ + 50 * OUTPUT == 380_000_000
        assert record["saved_cost"] == 800 * (INPUT - CACHE_READ)


async def test_a_refusal_of_usage_is_heeded_too(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        chunks = await sdk.hear(CHAT, model="sim", messages=HELLO, stream_options={"include_usage": False})
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        assert tokens(await billed(home)) == (2, 40)


async def test_reasoning_is_shown_and_counted(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        whole = await sdk.ask(CHAT, model="sim.think", messages=HELLO)
        assert whole.choices[0].message.model_extra == {"reasoning_content": THOUGHTS}
        record = await billed(home)
        details = whole.usage.completion_tokens_details
        assert record["reasoning_tokens"] == details.reasoning_tokens == len(THOUGHTS.split())
        assert tokens(record) == (whole.usage.prompt_tokens, whole.usage.completion_tokens)
        chunks = await sdk.hear(CHAT, model="sim.think", messages=HELLO)
        told = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") for chunk in chunks]
        assert "".join(told) == THOUGHTS
        streamed = await billed(home)
        assert tokens(streamed) == tokens(record)
        assert streamed["reasoning_tokens"] == record["reasoning_tokens"]


async def test_a_loop_of_tools_calls_them_in_parallel_and_then_speaks(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        first = await sdk.ask(CHAT, model="sim.tools-2", messages=HELLO, tools=[FUNCTION])
        message = first.choices[0].message
        assert [json.loads(call.function.arguments) for call in message.tool_calls] == [ARGUMENTS] * 2
        assert len({call.id for call in message.tool_calls}) == 2
        record = await billed(home)
        assert tokens(record) == (first.usage.prompt_tokens, first.usage.completion_tokens)
        assert record["output_tokens"] == 24
        assert record["finish_reason"] == "tool_calls"
        history = [*HELLO, message, *_results(message)]
        second = await sdk.ask(CHAT, model="sim.tools-2", messages=history, tools=[FUNCTION])
        assert second.choices[0].message.content == AFTER_TOOL
        record = await billed(home)
        assert tokens(record) == (second.usage.prompt_tokens, second.usage.completion_tokens)
        assert record["list_cost"] == cost(*tokens(record))


async def test_a_loop_of_tools_can_be_streamed(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        final = await sdk.follow(
            "chat.completions.stream", "get_final_completion",
            model="sim.tools-2", messages=HELLO, tools=[FUNCTION],
        )  # fmt: skip
        message = final.choices[0].message
        assert [json.loads(call.function.arguments) for call in message.tool_calls] == [ARGUMENTS] * 2
        assert final.choices[0].finish_reason == "tool_calls"
        record = await billed(home)
        assert (record["output_tokens"], record["outcome"]) == (24, "ok")
        history = [*HELLO, message.model_dump(exclude_none=True, exclude={"parsed"}), *_results(message)]
        chunks = await sdk.hear(CHAT, model="sim.tools-2", messages=history, tools=[FUNCTION])
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == AFTER_TOOL
        assert (await billed(home))["finish_reason"] == "stop"


def _results(message: Any) -> list[dict[str, str]]:
    return [{"role": "tool", "tool_call_id": call.id, "content": RESULT} for call in message.tool_calls]


async def test_a_picture_travels_as_it_is(home: Home, sdks: list[Sdk]) -> None:
    url = "data:image/png;base64," + "iVBORw0KGgo" * 1000
    content = [{"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": url}}]
    for sdk in sdks:
        answer = await sdk.ask(CHAT, model="sim", messages=[{"role": "user", "content": content}], n=2)
        assert [choice.index for choice in answer.choices] == [0, 1]
        record = await billed(home)
        assert tokens(record) == (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 80)
        sent = json.loads(home.house.vendor.requests[-1].body)
        assert sent["messages"][0]["content"] == content


async def test_an_answer_follows_a_json_schema(home: Home, sdks: list[Sdk]) -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True}}
    for sdk in sdks:
        answer = await sdk.ask(CHAT, model="sim", messages=HELLO, response_format=shape)
        assert json.loads(answer.choices[0].message.content) == ARGUMENTS
        record = await billed(home)
        assert tokens(record) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
        final = await sdk.follow(
            "chat.completions.stream", "get_final_completion",
            model="sim", messages=HELLO, response_format=shape,
        )  # fmt: skip
        assert json.loads(final.choices[0].message.content) == ARGUMENTS
        assert tokens(await billed(home)) == tokens(record)


async def test_an_answer_cut_by_its_limit_says_so(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        chunks = await sdk.hear(CHAT, model="sim.finish-length", messages=HELLO)
        assert chunks[-1].choices[0].finish_reason == "length"
        record = await billed(home)
        assert (record["outcome"], record["finish_reason"]) == ("ok", "length")
