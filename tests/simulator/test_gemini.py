from __future__ import annotations

import json
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from simulator.compose import AFTER_TOOL, TEXT, THOUGHTS
from simulator.server import Simulator
from tests.simulator.raw import body_for, exchange, request

# google-genai subclasses aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

Client = genai.client.AsyncClient
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


def numbers(usage: types.GenerateContentResponseUsageMetadata | None) -> tuple[int | None, ...]:
    assert usage is not None
    return (
        usage.prompt_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.cached_content_token_count,
        usage.tool_use_prompt_token_count,
        usage.total_token_count,
    )


NAME, EXPECTED = "sim.in-1000.out-50.cached-800.reason-20.tooluse-30", (970, 30, 20, 800, 30, 1050)


async def test_a_whole_answer_tells_every_counter(gemini_client: Client) -> None:
    answer = await gemini_client.models.generate_content(model=NAME, contents="hello there")
    assert answer.text == TEXT
    assert numbers(answer.usage_metadata) == EXPECTED


async def test_a_streamed_answer_tells_usage_on_every_chunk(gemini_client: Client) -> None:
    stream = await gemini_client.models.generate_content_stream(model=NAME, contents="hello there")
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == TEXT
    assert all(chunk.usage_metadata for chunk in chunks)
    assert numbers(chunks[-1].usage_metadata) == EXPECTED
    reasons = [candidate.finish_reason for chunk in chunks for candidate in chunk.candidates or []]
    assert reasons == [None] * 39 + [types.FinishReason.STOP]


async def test_thoughts_come_as_parts_with_a_signature(gemini_client: Client) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True))
    whole = await gemini_client.models.generate_content(model="sim", contents="hi", config=config)
    assert whole.candidates is not None
    assert whole.candidates[0].content is not None
    thought, said = whole.candidates[0].content.parts or []
    assert (thought.text, thought.thought, said.text) == (THOUGHTS, True, TEXT)
    assert said.thought_signature
    stream = await gemini_client.models.generate_content_stream(model="sim", contents="hi", config=config)
    parts = [part async for chunk in stream for part in chunk.parts or []]
    assert "".join(part.text or "" for part in parts if part.thought) == THOUGHTS
    assert parts[-1].thought_signature


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_are_called_and_the_result_is_answered(gemini_client: Client, streamed: bool) -> None:
    config = types.GenerateContentConfig(tools=[TOOL], automatic_function_calling=MANUAL)

    async def parts_of(contents: Any) -> list[types.Part]:
        model = "sim.tools-2.think"
        if streamed:
            stream = await gemini_client.models.generate_content_stream(
                model=model, contents=contents, config=config
            )
            return [part async for chunk in stream for part in chunk.parts or []]
        answer = await gemini_client.models.generate_content(model=model, contents=contents, config=config)
        return answer.parts or []

    history: list[Any] = [types.Content(role="user", parts=[types.Part(text="hi")])]
    parts = await parts_of(history)
    calls = [part.function_call for part in parts if part.function_call]
    assert [call.args for call in calls] == [{"city": "Paris"}] * 2
    results = [types.Part.from_function_response(name="weather", response={"result": "sunny"}) for _ in calls]
    history += [types.Content(role="model", parts=parts), types.Content(role="user", parts=results)]
    again = await parts_of(history)
    assert "".join(part.text or "" for part in again if not part.thought) == AFTER_TOOL


async def test_a_schema_is_answered(gemini_client: Client) -> None:
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_schema={
            "type": "OBJECT",
            "properties": {"city": {"type": "STRING"}, "n": {"type": "INTEGER"}},
        },
    )
    answer = await gemini_client.models.generate_content(model="sim", contents="hi", config=config)
    assert json.loads(answer.text or "") == {"city": "Paris", "n": 7}


async def test_images_and_several_candidates_are_taken(gemini_client: Client) -> None:
    answer = await gemini_client.models.generate_content(
        model="sim",
        contents=[types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png"), "what is this"],
        config=types.GenerateContentConfig(candidate_count=2),
    )
    assert len(answer.candidates or []) == 2
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.prompt_token_count == 3


async def test_a_blocked_prompt_has_no_candidates(gemini_client: Client) -> None:
    answer = await gemini_client.models.generate_content(model="sim.finish-block", contents="hi")
    assert answer.candidates is None
    assert answer.prompt_feedback is not None
    assert answer.prompt_feedback.block_reason == types.BlockedReason.SAFETY


async def test_tokens_are_counted_and_texts_embedded(gemini_client: Client) -> None:
    counted = await gemini_client.models.count_tokens(model="sim", contents="one two three")
    assert counted.total_tokens == 3
    made = await gemini_client.models.embed_content(model="sim", contents=["one", "two"])
    assert [len(each.values or []) for each in made.embeddings or []] == [8, 8]
    one, two = made.embeddings or []
    assert one.values != two.values


async def test_models_are_listed_in_this_vendors_shape(gemini_client: Client) -> None:
    names = [model.name async for model in await gemini_client.models.list()]
    assert "models/sim" in names
    assert (await gemini_client.models.get(model="sim.think")).name == "models/sim.think"


async def test_without_sse_a_stream_is_one_json_array(vendor: Simulator) -> None:
    heard = await exchange(
        vendor, request("/v1beta/models/sim.chunks-3:streamGenerateContent", body_for("gemini", ""))
    )
    assert heard.headers["content-type"] == "application/json"
    chunks = heard.json
    assert len(chunks) == 3
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_an_error_inside_an_array_is_its_last_element(vendor: Simulator) -> None:
    path = "/v1beta/models/sim.fault-error-rate.after-2:streamGenerateContent"
    heard = await exchange(vendor, request(path, body_for("gemini", "")))
    assert len(heard.json) == 3
    assert heard.json[-1]["error"]["status"] == "RESOURCE_EXHAUSTED"


async def test_the_path_without_beta_and_the_key_in_the_query_work_too(vendor: Simulator) -> None:
    told = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
    sent = (
        b"POST /v1/models/sim:generateContent?key=sk-q HTTP/1.1\r\nHost: simulator\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(told), told)
    )
    heard = await exchange(vendor, sent)
    assert heard.status == 200
    assert vendor.requests[-1].secret == "sk-q"


async def test_an_error_is_told_as_the_vendor_does(gemini_client: Client) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await gemini_client.models.generate_content(model="sim.fault-429", contents="hi")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    stream = await gemini_client.models.generate_content_stream(
        model="sim.fault-error-overloaded.after-2", contents="hi"
    )
    with pytest.raises(errors.ServerError):
        _ = [chunk async for chunk in stream]
