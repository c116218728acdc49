"""What goes wrong, as OpenAI's own client raises it."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from simulator.compose import TEXT
from tests.journeys.kit import MODELS, Home, at_home, billed
from tests.journeys.openai_kit import HELLO, Sdk, both

pytestmark = pytest.mark.django_db(transaction=True)
CHAT = "chat.completions.create"
FAULTS: dict[str, tuple[type[openai.APIStatusError], int, str, str]] = {
    "sim.fault-400": (openai.BadRequestError, 400, "rejected", ""),
    "sim.fault-400-context": (openai.BadRequestError, 400, "rejected", "context_length_exceeded"),
    "sim.fault-413": (openai.APIStatusError, 413, "rejected", ""),
    "sim.fault-422": (openai.UnprocessableEntityError, 422, "rejected", ""),
    "sim.fault-429.retry-7": (openai.RateLimitError, 429, "upstream_error", ""),
    "sim.fault-401": (openai.InternalServerError, 502, "upstream_error", ""),
    "sim.fault-402": (openai.InternalServerError, 502, "upstream_error", ""),
    "sim.fault-404": (openai.NotFoundError, 404, "upstream_error", "model_not_found"),
    "sim.fault-500": (openai.InternalServerError, 502, "upstream_error", ""),
    "sim.fault-503": (openai.InternalServerError, 503, "upstream_error", ""),
    "sim.fault-504": (openai.InternalServerError, 504, "upstream_error", ""),
    "sim.fault-529": (openai.InternalServerError, 503, "upstream_error", ""),
    "sim.fault-error-overloaded": (openai.InternalServerError, 503, "upstream_error", ""),
}
"""A vendor's fault, and the client's exception, the status, the record's outcome and the error's code where
it matters."""
WAYS: dict[str, dict[str, Any]] = {
    "chat.completions.create": {"messages": HELLO},
    "responses.create": {"input": "hello there"},
}


async def test_faults_before_the_first_byte_are_typed_exceptions_with_our_request_id(door: str) -> None:
    async with at_home(door, models=FAULTS) as home, both(home) as sdks:
        for number, (model, (kind, status, outcome, code)) in enumerate(FAULTS.items()):
            for place, (way, asked) in enumerate(WAYS.items()):
                sdk = sdks[(number + place) % 2]
                for stream in (False, True):
                    home.house.afresh()
                    with pytest.raises(kind) as caught:
                        await (sdk.hear if stream else sdk.ask)(way, model=model, **asked)
                    record = await billed(home)
                    assert caught.value.status_code == status, model
                    assert caught.value.request_id == record["request_id"]
                    assert caught.value.message
                    assert code in ("", caught.value.code)
                    assert (record["outcome"], record["status_code"]) == (outcome, status), model
                    assert (record["input_tokens"], record["output_tokens"], record["list_cost"]) == (0, 0, 0)
                    if "retry-7" in model:
                        assert caught.value.response.headers["retry-after"] == "7"


async def test_a_vendors_own_words_about_a_request_arrive(door: str) -> None:
    async with at_home(door, models=["sim.fault-400-parameter"]) as home, both(home) as sdks:
        for sdk in sdks:
            with pytest.raises(openai.BadRequestError) as caught:
                await sdk.ask(CHAT, model="sim.fault-400-parameter", messages=HELLO)
            assert caught.value.code == "unsupported_parameter"
            assert "temperature" in caught.value.message
            assert (await billed(home))["error_code"] == "invalid_request"


async def test_our_own_refusals_are_typed_exceptions(home: Home, sdks: list[Sdk]) -> None:
    for sdk in sdks:
        for way, asked in WAYS.items():
            with pytest.raises(openai.NotFoundError, match="Did you mean sim") as unknown:
                await sdk.ask(way, model="simm", **asked)
            assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
            record = await billed(home)
            assert unknown.value.request_id == record["request_id"]
            assert (record["outcome"], record["error_code"]) == ("rejected", "model_not_found")
            with pytest.raises(openai.BadRequestError) as broken:
                await sdk.ask(way, model=7, **asked)
            assert broken.value.param == "model"
            assert (await billed(home))["outcome"] == "rejected"
            with pytest.raises(openai.AuthenticationError) as stranger:
                await sdk.named("sk-nobodys").ask(way, model="sim", **asked)
            assert stranger.value.code == "invalid_api_key"
            assert stranger.value.request_id
        with pytest.raises(openai.NotFoundError):
            await sdk.ask("post", "/batches", body={}, cast_to=object)
    assert len(home.house.vendor.requests) == 0


async def test_an_error_in_mid_stream_is_raised_after_what_came(door: str) -> None:
    model = "sim.fault-error-server.after-3.pause-50"
    async with at_home(door, models=[model]) as home, both(home) as sdks:
        for sdk in sdks:
            heard: list[openai.types.chat.ChatCompletionChunk] = []
            with pytest.raises(openai.APIError) as caught:
                await sdk.hear_into(heard, CHAT, model=model, messages=HELLO)
            assert not isinstance(caught.value, openai.APIStatusError)
            assert caught.value.message
            text = "".join(chunk.choices[0].delta.content or "" for chunk in heard)
            assert text
            assert TEXT.startswith(text)
            record = await billed(home)
            assert (record["outcome"], record["status_code"]) == ("partial", 200)
            assert record["estimated"]
            assert record["output_tokens"] > 0


async def test_a_stream_of_responses_that_breaks_ends_with_a_failed_response(door: str) -> None:
    model = "sim.fault-error-server.after-5.pause-50"
    async with at_home(door, models=[model]) as home, both(home) as sdks:
        for sdk in sdks:
            events = await sdk.hear("responses.create", model=model, input="hello there")
            assert [event.type for event in events].count("response.failed") == 1
            assert events[-1].type == "response.failed"
            assert events[-1].response.error.message
            assert [event.sequence_number for event in events] == list(range(len(events)))
            record = await billed(home)
            assert (record["outcome"], record["status_code"]) == ("partial", 200)


async def test_a_second_try_is_the_clients_own_business_and_its_own_record(door: str) -> None:
    async with at_home(door, models=MODELS) as home, both(home, retries=1) as sdks:
        for sdk in sdks:
            home.house.vendor.script(["fault-503.retry-1", "ok"])
            answer = await sdk.ask(CHAT, model="sim", messages=HELLO)
            assert answer.choices[0].message.content == TEXT
            failed, done = (line["record"] for line in (await home.house.settled(home.billed + 2))[-2:])
            home.billed += 2
            assert (failed["outcome"], failed["attempt_count"]) == ("upstream_error", 1)
            assert (done["outcome"], done["attempt_count"]) == ("ok", 1)
            assert json.loads(home.house.vendor.requests[-1].body)["model"] == "sim"
