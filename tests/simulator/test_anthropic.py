from __future__ import annotations

from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam

from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS

HELLO: list[MessageParam] = [{"role": "user", "content": "hello there"}]
TOOL: Any = {
    "name": "weather",
    "description": "tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}}},
}
NUMBERS = "sim.in-1000.out-50.cached-800.w5m-100.w1h-40.searches-2"


def told(usage: Any) -> tuple[int, int, int, int, int]:
    created = usage.cache_creation
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_input_tokens,
        created.ephemeral_5m_input_tokens,
        created.ephemeral_1h_input_tokens,
    )


async def test_a_whole_message_tells_every_counter(anthropic_client: anthropic.AsyncAnthropic) -> None:
    message = await anthropic_client.messages.create(model=NUMBERS, max_tokens=100, messages=HELLO)
    assert told(message.usage) == (60, 50, 800, 100, 40)
    assert message.usage.cache_creation_input_tokens == 140
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == 2
    assert message.content[0].type == "text"
    assert message.content[0].text == TEXT
    assert message.stop_reason == "end_turn"


async def test_a_streamed_message_tells_input_first_and_output_last(
    anthropic_client: anthropic.AsyncAnthropic,
) -> None:
    async with anthropic_client.messages.stream(model=NUMBERS, max_tokens=100, messages=HELLO) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_message()
    start = next(event for event in events if event.type == "message_start")
    assert told(start.message.usage) == (60, 1, 800, 100, 40)
    assert told(final.usage) == (60, 50, 800, 100, 40)
    assert final.content[0].type == "text"
    assert final.content[0].text == TEXT


async def test_thinking_comes_in_its_block_with_a_signature(
    anthropic_client: anthropic.AsyncAnthropic,
) -> None:
    async with anthropic_client.messages.stream(
        model="sim", max_tokens=2000, messages=HELLO, thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        kinds = [event.delta.type async for event in stream if event.type == "content_block_delta"]
        final = await stream.get_final_message()
    assert set(kinds) == {"thinking_delta", "signature_delta", "text_delta"}
    whole = await anthropic_client.messages.create(model="sim.think", max_tokens=100, messages=HELLO)
    for message in (final, whole):
        assert message.content[0].type == "thinking"
        assert message.content[0].thinking == THOUGHTS
        assert message.content[0].signature
        assert message.usage.output_tokens == 40 + len(THOUGHTS.split())


async def test_thinking_may_come_redacted(anthropic_client: anthropic.AsyncAnthropic) -> None:
    async with anthropic_client.messages.stream(
        model="sim.think.redacted", max_tokens=100, messages=HELLO
    ) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["redacted_thinking", "text"]


async def test_tools_are_called_in_parallel_and_the_result_is_answered(
    anthropic_client: anthropic.AsyncAnthropic,
) -> None:
    async with anthropic_client.messages.stream(
        model="sim.tools-2", max_tokens=100, messages=HELLO, tools=[TOOL]
    ) as stream:
        first = await stream.get_final_message()
    whole = await anthropic_client.messages.create(
        model="sim", max_tokens=100, messages=HELLO, tools=[TOOL], tool_choice={"type": "any"}
    )
    assert [block.type for block in whole.content] == ["tool_use"]
    assert [block.input for block in first.content if block.type == "tool_use"] == [{"city": "Oslo"}] * 2
    assert first.stop_reason == "tool_use"
    results: Any = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "sunny"}
        for block in first.content
        if block.type == "tool_use"
    ]
    history: Any = [
        *HELLO,
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": results},
    ]
    second = await anthropic_client.messages.create(
        model="sim.tools-2", max_tokens=100, messages=history, tools=[TOOL]
    )
    assert second.content[0].type == "text"
    assert second.content[0].text == AFTER_TOOL


async def test_images_are_taken(anthropic_client: anthropic.AsyncAnthropic) -> None:
    image: Any = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    message = await anthropic_client.messages.create(
        model="sim",
        max_tokens=100,
        messages=[{"role": "user", "content": [image, {"type": "text", "text": "what is this"}]}],
    )
    assert message.usage.input_tokens == 3


@pytest.mark.parametrize(
    ("how", "reason"), [("length", "max_tokens"), ("filter", "refusal"), ("stop", "end_turn")]
)
async def test_the_name_chooses_how_a_message_ends(
    anthropic_client: anthropic.AsyncAnthropic, how: str, reason: str
) -> None:
    message = await anthropic_client.messages.create(model=f"sim.finish-{how}", max_tokens=9, messages=HELLO)
    assert message.stop_reason == reason


@pytest.mark.parametrize(("model", "expected"), [("sim", 5), ("sim.in-77", 77)])
async def test_tokens_are_counted(
    anthropic_client: anthropic.AsyncAnthropic, model: str, expected: int
) -> None:
    counted = await anthropic_client.messages.count_tokens(
        model=model, system="be very brief", messages=HELLO
    )
    assert counted.input_tokens == expected


async def test_models_are_listed_in_this_vendors_shape(anthropic_client: anthropic.AsyncAnthropic) -> None:
    listed = await anthropic_client.models.list()
    assert "sim" in [model.id for model in listed.data]
    assert (await anthropic_client.models.retrieve("sim.think")).id == "sim.think"


async def test_the_version_header_is_needed(anthropic_client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="anthropic-version: header is required"):
        await anthropic_client.messages.create(
            model="sim",
            max_tokens=9,
            messages=HELLO,
            extra_headers={"anthropic-version": anthropic.omit},
        )


async def test_max_tokens_is_needed(anthropic_client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        await anthropic_client.post("/v1/messages", cast_to=object, body={"model": "sim", "messages": []})


async def test_an_error_inside_a_stream_is_raised(anthropic_client: anthropic.AsyncAnthropic) -> None:
    async with anthropic_client.messages.stream(
        model="sim.fault-error-overloaded.after-4", max_tokens=9, messages=HELLO
    ) as stream:
        with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
            await stream.get_final_message()
