from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from simulator.server import Simulator

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello there"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "Paris", "days": 7}
FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
TOOL: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}


async def test_a_whole_chat_answer(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.create(model="sim", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (
        2,
        40,
        42,
    )


async def test_no_two_answers_have_the_same_id(openai_client: openai.AsyncOpenAI) -> None:
    first = await openai_client.chat.completions.create(model="sim", messages=HELLO)
    second = await openai_client.chat.completions.create(model="sim", messages=HELLO)
    assert first.id != second.id


async def test_a_streamed_chat_answer_tells_usage_only_where_asked(openai_client: openai.AsyncOpenAI) -> None:
    async with await openai_client.chat.completions.create(
        model="sim", messages=HELLO, stream=True
    ) as stream:
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == TEXT
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


async def test_with_include_usage_the_last_chunk_tells_it_and_all_others_hold_null(
    openai_client: openai.AsyncOpenAI,
) -> None:
    async with await openai_client.chat.completions.create(
        model="sim.in-1000.out-50.cached-800.reason-20",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        *chunks, last = [chunk async for chunk in stream]
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks)
    assert last.choices == []
    usage = last.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (1000, 50)
    assert usage.prompt_tokens_details.cached_tokens == 800
    assert usage.completion_tokens_details.reasoning_tokens == 20


async def test_chat_thinks_aloud_when_the_name_asks(openai_client: openai.AsyncOpenAI) -> None:
    whole = await openai_client.chat.completions.create(model="sim.think", messages=HELLO)
    assert whole.choices[0].message.model_extra == {"reasoning_content": THOUGHTS}
    async with await openai_client.chat.completions.create(
        model="sim.think", messages=HELLO, stream=True
    ) as stream:
        told = [
            (chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") async for chunk in stream
        ]
    assert "".join(told) == THOUGHTS


@pytest.mark.parametrize("count", [1, 3])
async def test_chat_calls_tools_in_parallel_then_speaks(
    openai_client: openai.AsyncOpenAI, count: int
) -> None:
    first = await openai_client.chat.completions.create(
        model=f"sim.tools-{count}", messages=HELLO, tools=[FUNCTION]
    )
    message = first.choices[0].message
    calls = message.tool_calls or []
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == [
        ARGUMENTS
    ] * count
    assert len({call.id for call in calls}) == count
    results: list[ChatCompletionMessageParam] = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls
    ]
    history: Any = [*HELLO, message.model_dump(exclude_none=True), *results]
    second = await openai_client.chat.completions.create(
        model=f"sim.tools-{count}", messages=history, tools=[FUNCTION]
    )
    assert second.choices[0].message.content == AFTER_TOOL


async def test_chat_streams_tool_calls_in_fragments(openai_client: openai.AsyncOpenAI) -> None:
    async with openai_client.chat.completions.stream(
        model="sim.tools-2", messages=HELLO, tools=[FUNCTION]
    ) as stream:
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [ARGUMENTS, ARGUMENTS]
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("prompt", "choice", "calls"),
    [
        ("what is the weather?", "auto", True),
        ("use a tool", "auto", True),
        ("hello", "auto", False),
        ("hello", "required", True),
        ("hello", {"type": "function", "function": {"name": "weather"}}, True),
        ("use a tool", "none", False),
    ],
)
async def test_the_prompt_or_the_tool_choice_asks_for_a_call(
    openai_client: openai.AsyncOpenAI, prompt: str, choice: Any, calls: bool
) -> None:
    answer = await openai_client.chat.completions.create(
        model="sim", messages=[{"role": "user", "content": prompt}], tools=[FUNCTION], tool_choice=choice
    )
    assert bool(answer.choices[0].message.tool_calls) is calls


async def test_chat_answers_after_a_json_schema(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.create(
        model="sim",
        messages=HELLO,
        response_format={"type": "json_schema", "json_schema": {"name": "trip", "schema": SCHEMA}},
    )
    assert json.loads(answer.choices[0].message.content or "") == ARGUMENTS


async def test_chat_takes_images_and_several_choices(openai_client: openai.AsyncOpenAI) -> None:
    content: Any = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    answer = await openai_client.chat.completions.create(
        model="sim", messages=[{"role": "user", "content": content}], n=2
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    ("how", "reason"), [("length", "length"), ("filter", "content_filter"), ("stop", "stop")]
)
async def test_the_name_chooses_how_a_chat_answer_ends(
    openai_client: openai.AsyncOpenAI, how: str, reason: str
) -> None:
    answer = await openai_client.chat.completions.create(model=f"sim.finish-{how}", messages=HELLO)
    assert answer.choices[0].finish_reason == reason


async def test_the_option_limit_obeys_the_limit_of_output_tokens(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.chat.completions.create(
        model="sim.limit", messages=HELLO, max_completion_tokens=5
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


async def test_a_whole_response_with_reasoning(openai_client: openai.AsyncOpenAI) -> None:
    answer = await openai_client.responses.create(
        model="sim.in-1000.cached-800.out-60.reason-20",
        input="hello there",
        reasoning={"summary": "auto", "effort": "low"},
        include=["reasoning.encrypted_content"],
    )
    assert answer.output_text == TEXT
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].encrypted_content  # type: ignore[union-attr] # it is the reasoning item
    assert answer.status == "completed"
    assert answer.reasoning is not None
    assert answer.reasoning.effort == "low"
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (
        1000,
        60,
        1060,
    )
    assert answer.usage.input_tokens_details.cached_tokens == 800
    assert answer.usage.output_tokens_details.reasoning_tokens == 20


async def test_a_streamed_response_is_numbered_and_ends_as_the_whole_one(
    openai_client: openai.AsyncOpenAI,
) -> None:
    async with openai_client.responses.stream(model="sim.think.tool", input="hi", tools=[TOOL]) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [item.type for item in final.output] == ["reasoning", "function_call"]
    assert final.usage is not None
    assert final.usage.output_tokens == 12 + len(THOUGHTS.split())


async def test_responses_take_a_tool_result_and_speak(openai_client: openai.AsyncOpenAI) -> None:
    first = await openai_client.responses.create(model="sim.tool", input="hi", tools=[TOOL])
    call = first.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments) == ARGUMENTS
    second = await openai_client.responses.create(
        model="sim.tool",
        tools=[TOOL],
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
    )
    assert second.output_text == AFTER_TOOL
    assert second.previous_response_id == first.id


async def test_an_incomplete_response_says_why(openai_client: openai.AsyncOpenAI) -> None:
    async with openai_client.responses.stream(model="sim.finish-length", input="hi") as stream:
        events = [event async for event in stream]
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.incomplete_details is not None
    assert events[-1].response.incomplete_details.reason == "max_output_tokens"


async def test_a_stored_response_is_fetched_listed_and_deleted(openai_client: openai.AsyncOpenAI) -> None:
    made = await openai_client.responses.create(model="sim", input="hello there")
    got = await openai_client.responses.retrieve(made.id)
    assert got.output_text == made.output_text
    listed = await openai_client.responses.input_items.list(made.id)
    assert listed.data[0].content[0].text == "hello there"  # type: ignore[union-attr,index] # it is a message
    with pytest.raises(openai.BadRequestError, match="background"):
        await openai_client.responses.cancel(made.id)
    await openai_client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await openai_client.responses.retrieve(made.id)


async def test_a_script_reaches_stored_responses_too(
    openai_client: openai.AsyncOpenAI, vendor: Simulator
) -> None:
    made = await openai_client.responses.create(model="sim", input="hello there")
    vendor.script(["fault-500", "ok"], secret="sk-a")
    with pytest.raises(openai.InternalServerError):
        await openai_client.responses.retrieve(made.id)
    assert (await openai_client.responses.retrieve(made.id)).id == made.id


async def test_a_response_that_was_streamed_is_stored_too_and_one_that_must_not_be_is_not(
    openai_client: openai.AsyncOpenAI,
) -> None:
    async with openai_client.responses.stream(model="sim", input="hi") as stream:
        kept = await stream.get_final_response()
    assert (await openai_client.responses.retrieve(kept.id)).output_text == TEXT
    lost = await openai_client.responses.create(model="sim", input="hi", store=False)
    with pytest.raises(openai.NotFoundError):
        await openai_client.responses.retrieve(lost.id)


async def test_another_secret_does_not_see_a_stored_response(
    openai_client: openai.AsyncOpenAI, vendor: Simulator
) -> None:
    made = await openai_client.responses.create(model="sim", input="hi")
    other = openai_client.with_options(api_key="sk-b")
    with pytest.raises(openai.NotFoundError):
        await other.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        await other.responses.create(model="sim", input="hi", previous_response_id=made.id)


async def test_a_missing_or_refused_secret_is_told_as_the_vendor_does(
    openai_client: openai.AsyncOpenAI, vendor: Simulator
) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        await openai_client.with_options(api_key="sk-invalid-1").models.list()
    assert caught.value.code == "invalid_api_key"


async def test_a_broken_body_is_told_as_the_vendor_does(openai_client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.post("/chat/completions", cast_to=object, body={"messages": []})
    assert caught.value.param == "model"
