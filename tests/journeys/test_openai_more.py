"""OpenAI's own client, blocking and not, with nothing changed but base_url and api_key: all that is not
chat."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from simulator.audio import HEARD, sound
from simulator.compose import TEXT
from simulator.extras import PNG
from tests.journeys.kit import DOLLAR, INPUT, MODELS, OUTPUT, Home, at_home, billed, cost
from tests.journeys.openai_kit import Sdk, both

WAV = ("voice.wav", b"RIFF" + bytes(range(256)) * 10 + b"\r\n--not the end\r\n")
HEARD_TOKENS = len(WAV[1]) // 10, 9
FEE = DOLLAR // 100
FLAT = {"price_input": "1", "price_output": "2", "price_request": "0.01"}
"""With a cent for each request, the only price where no tokens are told."""


def tokens(record: dict[str, Any]) -> tuple[int, int]:
    return record["input_tokens"], record["output_tokens"]


def kind(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["kind"], record["outcome"], record["usage_source"]


async def test_embeddings_are_billed_by_their_tokens(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        packed = await sdk.ask("embeddings.create", model="sim", input=["one two", "three"], dimensions=4)
        record = await billed(home)
        assert tokens(record) == (packed.usage.prompt_tokens, 0) == (3, 0)
        assert record["list_cost"] == cost(3, 0) == 3_000_000
        assert kind(record) == ("embed", "ok", "reported")
        plain = await sdk.ask(
            "embeddings.create",
            model="sim", input=["one two", "three"], dimensions=4, encoding_format="float",
        )  # fmt: skip
        assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
        assert [len(each.embedding) for each in plain.data] == [4, 4]
        assert tokens(await billed(home)) == (3, 0)


async def test_legacy_completions_whole_and_streamed(home: Home, sdks: list[Sdk]) -> None:
    asked = {"model": "sim", "prompt": "say hello"}
    for sdk in sdks:
        whole = await sdk.ask("completions.create", **asked)
        assert whole.choices[0].text == TEXT
        record = await billed(home)
        assert tokens(record) == (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (2, 40)
        assert (record["list_cost"], kind(record)) == (cost(2, 40), ("complete", "ok", "reported"))
        *chunks, last = await sdk.hear("completions.create", **asked, stream_options={"include_usage": True})
        assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
        assert (last.choices, last.usage) == ([], whole.usage)
        assert tokens(await billed(home)) == (2, 40)


async def test_a_streamed_completion_tells_no_usage_to_who_did_not_ask(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        chunks = await sdk.hear("completions.create", model="sim", prompt="say hello")
        assert "".join(chunk.choices[0].text for chunk in chunks) == TEXT
        assert all(chunk.choices and not (chunk.model_extra or {}).get("usage") for chunk in chunks)
        record = await billed(home)
        assert (record["outcome"], record["is_stream"]) == ("ok", True)
        assert (tokens(record), record["usage_source"]) == ((2, 40), "reported")


async def test_what_tells_no_tokens_costs_the_price_of_a_request(door: str, transactional_db: None) -> None:
    models = [*MODELS, "sim.bytes-50000"]
    async with at_home(door, price=FLAT, models=models) as home, both(home) as sdks:
        for sdk in sdks:
            judged = await sdk.ask("moderations.create", model="sim", input="kind words")
            assert not judged.results[0].flagged
            record = await billed(home)
            assert (record["list_cost"], kind(record)) == (FEE, ("moderate", "ok", "estimated"))
            judged = await sdk.ask("moderations.create", model="sim", input=["kind", "words"])
            assert len(judged.results) == 2
            assert (await billed(home))["list_cost"] == 2 * FEE
            spoken = await sdk.ask(
                "audio.speech.create", model="sim.bytes-50000", voice="alloy", input="hi there"
            )
            assert spoken.content == sound(50_000)
            assert spoken.response.headers["content-type"] == "audio/mpeg"
            record = await billed(home)
            assert (record["list_cost"], kind(record)) == (FEE, ("speech", "ok", "estimated"))
            assert spoken.response.headers["x-request-id"] == record["request_id"]


async def test_moderation_without_a_model_asks_for_the_vendors_usual_one(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        with pytest.raises(openai.NotFoundError, match="omni-moderation-latest"):
            await sdk.ask("moderations.create", input="kind words")
        assert (await billed(home))["outcome"] == "rejected"


async def test_speech_is_streamed_to_who_wants_it_so(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        made = await sdk.ask(
            "audio.speech.create", model="sim", voice="alloy", input="hi there", stream_format="sse"
        )
        assert b"speech.audio.done" in made.content
        record = await billed(home)
        assert (tokens(record), record["list_cost"]) == ((2, 3), cost(2, 3))
        assert (record["outcome"], record["is_stream"]) == ("ok", True)


async def test_pictures_are_billed_by_their_tokens(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        made = await sdk.ask("images.generate", model="sim", prompt="a small house", n=2)
        assert [image.b64_json for image in made.data] == [PNG, PNG]
        record = await billed(home)
        assert tokens(record) == (made.usage.input_tokens, made.usage.output_tokens) == (3, 200)
        assert record["list_cost"] == 3 * INPUT + 200 * OUTPUT == 403_000_000
        assert kind(record) == ("image", "ok", "reported")


async def test_a_recording_is_uploaded_and_transcribed(home: Home, sdks: list[Sdk]) -> None:
    method = "audio.transcriptions.create"
    for sdk in sdks:
        made = await sdk.ask(method, model="sim", file=WAV)
        assert made.text == HEARD
        record = await billed(home)
        assert tokens(record) == (made.usage.input_tokens, made.usage.output_tokens) == HEARD_TOKENS
        assert (record["list_cost"], kind(record)) == (
            cost(*HEARD_TOKENS),
            ("transcribe", "ok", "reported"),
        )
        assert WAV[1] in home.house.vendor.requests[-1].body
        assert await sdk.ask(method, model="sim", file=WAV, response_format="text") == HEARD + "\n"
        assert (await billed(home))["outcome"] == "ok"
        assert (await sdk.ask(method, model="sim", file=WAV, response_format="vtt")).startswith("WEBVTT")
        assert (await billed(home))["outcome"] == "ok"
        events = await sdk.hear(method, model="sim", file=WAV)
        deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
        assert "".join(deltas) == HEARD
        assert events[-1].usage.output_tokens == 9
        record = await billed(home)
        assert (tokens(record), record["is_stream"]) == (HEARD_TOKENS, True)
    assert not list((home.house.data_dir / "uploads").glob("*"))


async def test_models_are_listed_and_found_without_a_record(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        listed = await sdk.ask("models.list")
        assert {model.id for model in listed.data} == set(MODELS)
        assert all(model.object == "model" and model.created for model in listed.data)
        found = await sdk.ask("models.retrieve", "sim.tools-2")
        assert (found.id, found.owned_by) == ("sim.tools-2", "aether")
        with pytest.raises(openai.NotFoundError) as caught:
            await sdk.ask("models.retrieve", "nothing-of-the-kind")
        assert caught.value.code == "model_not_found"
        assert caught.value.request_id
        with pytest.raises(openai.AuthenticationError):
            await sdk.named("sk-nobodys").ask("models.list")
    assert home.house.journal() == []
    assert len(home.house.vendor.requests) == 0
