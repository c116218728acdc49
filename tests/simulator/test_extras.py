from __future__ import annotations

from collections.abc import AsyncIterator

import openai
import pytest

from simulator.audio import HEARD, sound
from simulator.compose import TEXT
from simulator.extras import PNG
from simulator.server import Simulator
from tests.simulator.raw import Heard, ask, exchange, request

WAV = ("voice.wav", b"RIFF" + bytes(range(256)) * 10 + b"\r\n--not the end\r\n")


@pytest.fixture
async def lenient(vendor: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    """A client that takes what its own types do not know: packed vectors, null finish reasons."""
    async with openai.AsyncOpenAI(api_key="sk-a", base_url=vendor.url + "/v1", max_retries=0) as client:
        yield client


async def test_embeddings_in_both_encodings(
    openai_client: openai.AsyncOpenAI, lenient: openai.AsyncOpenAI
) -> None:
    packed = await lenient.embeddings.create(model="sim", input=["one two", "three"], dimensions=4)
    plain = await openai_client.embeddings.create(
        model="sim", input=["one two", "three"], dimensions=4, encoding_format="float"
    )
    assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
    assert [len(each.embedding) for each in plain.data] == [4, 4]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == 3
    tokens = await lenient.embeddings.create(model="sim.in-70", input=[[1, 2, 3], [4]])
    assert (len(tokens.data), tokens.usage.prompt_tokens) == (2, 70)


async def test_reranking(vendor: Simulator) -> None:
    body = {"model": "sim", "query": "long", "documents": ["a", "a longer one", "b"], "top_n": 2}
    heard = await exchange(vendor, request("/v1/rerank", body))
    assert [each["index"] for each in heard.json["results"]] == [1, 0]
    assert heard.json["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


async def test_completions_whole_and_streamed(
    openai_client: openai.AsyncOpenAI, lenient: openai.AsyncOpenAI
) -> None:
    whole = await openai_client.completions.create(model="sim", prompt="say hello")
    assert whole.choices[0].text == TEXT
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2, 40)
    async with await lenient.completions.create(
        model="sim", prompt="say hello", stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
    assert last.usage == whole.usage


async def test_moderation(openai_client: openai.AsyncOpenAI) -> None:
    one = await openai_client.moderations.create(input="kind words")
    many = await openai_client.moderations.create(input=["kind", "words"], model="sim")
    assert (len(one.results), len(many.results)) == (1, 2)
    assert not one.results[0].flagged


async def test_images(openai_client: openai.AsyncOpenAI) -> None:
    made = await openai_client.images.generate(model="sim", prompt="a small house", n=2)
    assert [image.b64_json for image in made.data or []] == [PNG, PNG]
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (3, 200)
    linked = await openai_client.images.generate(model="sim", prompt="a house", response_format="url")
    assert (linked.data or [])[0].url
    with pytest.raises(openai.BadRequestError, match="'n'"):
        await openai_client.images.generate(model="sim", prompt="a", n=11)


async def test_speech_is_bytes(openai_client: openai.AsyncOpenAI) -> None:
    made = await openai_client.audio.speech.create(model="sim.bytes-50000", voice="alloy", input="hi")
    assert made.content == sound(50_000)
    assert made.response.headers["content-type"] == "audio/mpeg"
    wav = await openai_client.audio.speech.create(
        model="sim", voice="alloy", input="hi", response_format="wav"
    )
    assert wav.response.headers["content-type"] == "audio/wav"


async def test_speech_can_be_streamed_as_events(vendor: Simulator) -> None:
    body = {"model": "sim", "voice": "alloy", "input": "hi there", "stream_format": "sse"}
    heard = await exchange(vendor, request("/v1/audio/speech", body))
    assert heard.data[-1]["usage"] == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}


async def test_a_recording_is_transcribed(openai_client: openai.AsyncOpenAI) -> None:
    made = await openai_client.audio.transcriptions.create(model="sim", file=WAV)
    assert made.text == HEARD
    assert made.usage is not None
    assert made.usage.type == "tokens"
    assert (made.usage.input_tokens, made.usage.output_tokens) == (len(WAV[1]) // 10, 9)
    text = await openai_client.audio.transcriptions.create(model="sim", file=WAV, response_format="text")
    assert text == HEARD + "\n"
    vtt = await openai_client.audio.transcriptions.create(model="sim", file=WAV, response_format="vtt")
    assert vtt.startswith("WEBVTT")
    verbose = await openai_client.audio.transcriptions.create(
        model="sim", file=WAV, response_format="verbose_json"
    )
    assert verbose.duration == 3


async def test_a_transcription_is_streamed(openai_client: openai.AsyncOpenAI) -> None:
    async with await openai_client.audio.transcriptions.create(model="sim", file=WAV, stream=True) as stream:
        events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == HEARD
    assert events[-1].type == "transcript.text.done"
    assert events[-1].usage is not None
    assert events[-1].usage.output_tokens == 9


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/embeddings", {"model": "sim"}, "input"),
        ("/v1/rerank", {"model": "sim", "query": "a"}, "documents"),
        ("/v1/completions", {"model": "sim"}, "prompt"),
        ("/v1/moderations", {}, "input"),
        ("/v1/images/generations", {"model": "sim"}, "prompt"),
        ("/v1/audio/speech", {"model": "sim", "input": "a"}, "voice"),
    ],
)
async def test_a_missing_field_is_named(
    vendor: Simulator, path: str, body: dict[str, str], param: str
) -> None:
    heard = await exchange(vendor, request(path, body))
    assert (heard.status, heard.json["error"]["param"]) == (400, param)


async def test_a_form_must_be_whole(vendor: Simulator) -> None:
    heard = await exchange(vendor, request("/v1/audio/transcriptions", b"{}"))
    assert heard.status == 400
    assert "form" in heard.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"model": "sim.fault-429", "input": "a"}),
        ("/v1/messages/count_tokens", {"model": "sim.fault-429", "messages": []}),
        ("/v1beta/models/sim.fault-429:countTokens", {"contents": []}),
        ("/v1beta/models/sim.fault-429:embedContent", {"content": {"parts": [{"text": "a"}]}}),
        ("/v1/audio/speech", {"model": "sim.fault-429", "input": "a", "voice": "b"}),
    ],
)
async def test_faults_are_for_these_paths_too(vendor: Simulator, path: str, body: dict[str, object]) -> None:
    assert (await exchange(vendor, request(path, body))).status == 429


async def test_usage_of_these_paths_can_be_missing_or_hostile(vendor: Simulator) -> None:
    async def told(variant: str) -> Heard:
        return await exchange(
            vendor, request("/v1/embeddings", {"model": f"sim.usage-{variant}", "input": "a"})
        )

    assert "usage" not in (await told("missing")).json
    assert (await told("null")).json["usage"] is None
    assert b'"usage":{"prompt_tokens":1e400,"total_tokens":1e400}' in (await told("infinite")).body


async def test_an_unknown_path_is_told_in_the_language_of_its_neighbours(vendor: Simulator) -> None:
    for path in ("/v1/none", "/v1/messages/none", "/v1beta/none"):
        heard = await exchange(vendor, request(path, {}))
        assert heard.status == 404
        assert heard.json["error"]["message"].startswith("Unknown request URL")
    assert (await exchange(vendor, request("/v1/chat/completions", method="GET"))).status == 404


async def test_models_are_listed_by_default_as_openai_does(openai_client: openai.AsyncOpenAI) -> None:
    assert "sim" in [model.id async for model in openai_client.models.list()]
    assert (await openai_client.models.retrieve("anything")).id == "anything"


async def test_a_shared_answer_is_made_anew_for_another_question(vendor: Simulator) -> None:
    first = await ask(vendor, "sim.echo", stream=False)
    other = await ask(
        vendor, "sim.echo", stream=False, messages=[{"role": "user", "content": "something else"}]
    )
    assert first.json["choices"][0]["message"]["content"] == "hello there"
    assert other.json["choices"][0]["message"]["content"] == "something else"
