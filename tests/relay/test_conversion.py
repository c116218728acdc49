"""relay/conversion.py: clients whose model is served in another format than theirs."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.models import Deployment, Endpoint, Key, Model, Provider
from tests.relay import asks
from tests.relay.asks import Ask
from tests.relay.harness import BASES, house
from tests.wire.pairs.requests import (
    CLAUDE_TOOLS,
    anthropic_thought,
    chat,
    chat_call,
    chat_result,
    claude,
    function_call,
    function_response,
    gemini,
    hears,
    item_call,
    item_result,
    model,
    reasoning,
    responses,
    result,
    says,
    use,
    user,
)
from wire import DIALECTS
from wire.neutral.parts import Signature
from wire.neutral.seals import MARK, sealed

pytestmark = pytest.mark.django_db(transaction=True)

PAIRS = [(ours, theirs) for ours in DIALECTS for theirs in DIALECTS if ours != theirs]
pairs = pytest.mark.parametrize(("ours", "theirs"), PAIRS)
ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
CHAT, CLAUDE = Ask("openai_chat"), Ask("anthropic")
SAYS = "Hello from the simulator."


def another(vendor_url: str, form: str) -> None:
    """A second vendor of the same model, in one format, that is asked after the first."""
    provider = Provider.objects.create(name="other", priority=200)
    Endpoint.objects.create(
        provider=provider, format=form, base_url=vendor_url + BASES[form], allow_private=True
    )
    key = Key(provider=provider, name="other")
    key.set_secret("sk-vendor-other-key")
    key.save()
    Deployment.objects.create(model=Model.objects.get(), provider=provider, upstream_name="sim")


@pytest.mark.parametrize("door", ["asgi", "django"])
@pairs
@ways
async def test_a_client_is_answered_by_an_endpoint_of_another_format(
    door: str, ours: str, theirs: str, stream: bool
) -> None:
    ask = Ask(ours, stream=stream)
    async with house(door, formats=[theirs], conversion="lenient") as relay:
        answer = await ask.send(relay)
        (final,) = await relay.settled()
        await relay.idle()
    record = final["record"]
    assert answer.status_code == 200
    assert answer.headers["x-aether-conversion"] == "lossless"
    assert asks.text(ask, answer.text).startswith(SAYS)
    assert asks.ends(ask, answer.text)
    assert asks.openers(ask, answer.text) == 1
    assert (record["client_format"], record["upstream_format"]) == (ours, theirs)
    assert (record["outcome"], record["conversion"], record["lossy"]) == ("ok", "lossless", False)
    assert (record["input_tokens"], record["output_tokens"], record["usage_source"]) == (2, 40, "reported")


async def test_settings_that_the_other_format_lacks_are_dropped_and_told() -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        answer = await CHAT.send(relay, seed=7, logit_bias={"50256": -100}, temperature=0.5)
        (final,) = await relay.settled()
    assert answer.status_code == 200
    assert answer.headers["x-aether-conversion"] == "lossy; dropped=logit_bias,seed"
    assert (final["record"]["conversion"], final["record"]["lossy"]) == (
        "lossy; dropped=logit_bias,seed",
        True,
    )


async def test_a_field_of_any_name_makes_no_header_of_its_own() -> None:
    fields: dict[str, Any] = {"a\r\nx-forged: 1": 1, "ü" * 100: 2}
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        answer = await CHAT.send(relay, **fields)
        (final,) = await relay.settled()
    assert "x-forged" not in answer.headers
    assert answer.headers["x-aether-conversion"] == f"lossy; dropped=a??x-forged: 1,{'?' * 60}"
    assert final["record"]["conversion"].isprintable()


async def test_a_model_that_asks_for_exactness_refuses_instead_and_names_the_field() -> None:
    async with house("asgi", formats=["anthropic"], conversion="exact") as relay:
        refused = await CHAT.send(relay, seed=7)
        kept = await CHAT.send(relay)
        final, _ = await relay.settled(2)
        assert relay.vendor.total == 1
    assert refused.status_code == 400
    assert asks.error(CHAT, refused.text)["param"] == "seed"
    assert final["record"]["outcome"] == "rejected"
    assert "exact: it would lose seed" in str(final["record"]["explanation"])
    assert kept.headers["x-aether-conversion"] == "lossless"


async def test_a_model_without_conversion_is_not_served_in_other_formats() -> None:
    async with house("asgi", formats=["anthropic"], conversion="off") as relay:
        refused = await CHAT.send(relay)
    assert refused.status_code == 404
    assert "served in: anthropic" in asks.error(CHAT, refused.text)["message"]


@pairs
async def test_an_endpoint_of_the_clients_own_format_goes_first_and_bytes_pass_as_they_are(
    ours: str, theirs: str
) -> None:
    async with house("asgi", formats=[ours, theirs], conversion="lenient") as relay:
        answer = await Ask(ours).send(relay)
        (final,) = await relay.settled()
    assert answer.status_code == 200
    assert "x-aether-conversion" not in answer.headers
    assert (final["record"]["upstream_format"], final["record"]["conversion"]) == (ours, "")


CLAUDES, GEMINIS = Signature("anthropic", "sig"), Signature("gemini", "c2ln")
SEALED: dict[str, dict[str, Any]] = {
    "openai_chat": chat(
        "Go.",
        chat_call(
            ("c1", "Oslo"),
            reasoning_content="Hm.",
            reasoning_details=[{"type": "reasoning.text", "text": "Hm.", "signature": sealed(CLAUDES)}],
        ),
        chat_result("c1", "rain"),
    ),
    "openai_responses": responses(
        "Go.", reasoning(sealed(CLAUDES)), item_call("c1", "Oslo"), item_result("c1", "rain")
    ),
    "anthropic": claude(
        "Go.",
        says(anthropic_thought("Hm.", sealed(GEMINIS)), use("c1", "Oslo")),
        hears(result("c1", "rain")),
        tools=CLAUDE_TOOLS,
        thinking={"type": "enabled", "budget_tokens": 2000},
    ),
    "gemini": gemini(
        "Go.",
        model({"text": "Hm.", "thought": True, "thoughtSignature": sealed(CLAUDES)}, function_call("Oslo")),
        user(function_response({"output": "rain"})),
    ),
}
"""Histories in which another vendor thought before a call, as the client got it by conversion."""


@pytest.mark.parametrize("ours", DIALECTS)
async def test_case_44_a_vendor_is_not_shown_what_another_has_signed_in_its_own_format_either(
    ours: str,
) -> None:
    async with house("asgi", formats=[ours], conversion="lenient") as relay:
        answer = await Ask(ours).send(relay, **SEALED[ours])
        seen = relay.vendor.requests[-1].body
    assert answer.status_code == 200
    assert b"Oslo" in seen
    assert b"rain" in seen
    assert MARK not in seen
    assert b"Hm." not in seen
    if ours == "anthropic":
        assert orjson.loads(seen)["thinking"] == {"type": "disabled"}, "it wants a thought of its own there"


async def test_case_44_nor_where_tokens_are_counted() -> None:
    body = {key: value for key, value in SEALED["anthropic"].items() if key != "max_tokens"}
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        answer = await relay.http.post(
            "/v1/messages/count_tokens", json={"model": "sim", **body}, headers=CLAUDE.headers
        )
        seen = orjson.loads(relay.vendor.requests[-1].body)
    assert answer.status_code == 200
    assert seen.keys() == {"model", "messages", "tools", "thinking"}
    assert MARK not in orjson.dumps(seen)


async def test_what_its_own_vendor_would_refuse_goes_there_as_it_is() -> None:
    odd = [{"role": "user", "content": f"what is {sealed(CLAUDES)}?"}, {"role": "nobody", "content": "?"}]
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        await CLAUDE.send(relay, messages=odd)
        assert orjson.loads(relay.vendor.requests[-1].body)["messages"] == odd


@pairs
@ways
async def test_a_vendor_that_fails_is_stood_in_for_by_one_of_another_format(
    ours: str, theirs: str, stream: bool
) -> None:
    ask = Ask(ours, stream=stream)
    async with house(
        "asgi", formats=[ours], conversion="lenient", prepare=lambda url: another(url, theirs)
    ) as relay:
        relay.vendor.script(["fault-503", "ok"])
        answer = await ask.send(relay)
        (final,) = await relay.settled()
    assert answer.status_code == 200
    assert asks.text(ask, answer.text).startswith(SAYS)
    assert [each["upstream_format"] for each in final["attempts"]] == [ours, theirs]
    assert (final["record"]["provider_name"], final["record"]["conversion"]) == ("other", "lossless")


@pairs
@pytest.mark.parametrize("fault", ["fault-error-overloaded", "fault-cut", "fault-bad-json-2"])
async def test_an_answer_that_breaks_off_is_never_told_as_whole(ours: str, theirs: str, fault: str) -> None:
    ask = Ask(ours, stream=True)
    async with house("asgi", formats=[theirs], conversion="lenient") as relay:
        relay.vendor.script([f"{fault}.after-5.delay-5"])
        answer = await ask.send(relay)
        (final,) = await relay.settled()
        await relay.idle()
    assert answer.status_code == 200
    assert not asks.ends(ask, answer.text)
    assert "error" in answer.text or "response.failed" in answer.text
    assert final["record"]["outcome"] == "partial"


async def test_content_that_no_target_can_hold_is_refused_before_anybody_is_asked() -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        refused = await CHAT.send(relay, messages=[{"role": "user", "content": [sound]}])
        (final,) = await relay.settled()
        assert relay.vendor.total == 0
    assert refused.status_code == 400
    assert "audio" in asks.error(CHAT, refused.text)["message"]
    assert "not in its format" in str(final["record"]["explanation"])


@pytest.mark.parametrize(("policy", "status"), [("lenient", 200), ("exact", 400)])
async def test_a_search_in_the_history_is_left_out_where_its_words_stay_unless_exactness_is_asked(
    policy: str, status: int
) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    history = [
        {"role": "user", "content": "News?"},
        search,
        {"role": "assistant", "content": "Rain."},
        {"role": "user", "content": "And?"},
    ]
    ask = Ask("openai_responses")
    async with house("asgi", formats=["anthropic"], conversion=policy) as relay:
        answer = await ask.send(relay, input=history)
        assert relay.vendor.total == (status == 200)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["x-aether-conversion"] == "lossy; dropped=input.web_search_call"
    else:
        assert asks.error(ask, answer.text)["param"] == "input.web_search_call"


async def test_a_history_that_nobody_would_take_is_refused_by_its_message() -> None:
    calls: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": 7}}]},
    ]
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        refused = await CHAT.send(relay, messages=calls)
        assert relay.vendor.total == 0
    assert refused.status_code == 400
    assert asks.error(CHAT, refused.text)["param"].startswith("messages.1")


@pytest.mark.parametrize(
    ("ask", "path", "body", "told"),
    [
        (
            CLAUDE,
            "/v1/messages/count_tokens",
            {"model": "sim", "messages": [{"role": "user", "content": "how many?"}]},
            "input_tokens",
        ),
        (
            Ask("gemini"),
            "/v1beta/models/sim:countTokens",
            {"contents": [{"parts": [{"text": "how many?"}]}]},
            "totalTokens",
        ),
        (
            Ask("gemini"),
            "/v1beta/models/sim:countTokens",
            {"generateContentRequest": {"contents": [{"parts": [{"text": "how many?"}]}]}},
            "totalTokens",
        ),
    ],
)
async def test_tokens_are_estimated_where_only_other_formats_serve_a_model(
    ask: Ask, path: str, body: dict[str, Any], told: str
) -> None:
    async with house("asgi", formats=["openai_chat"], conversion="lenient") as relay:
        answer = await relay.http.post(path, json=body, headers=ask.headers)
        (final,) = await relay.settled()
        assert relay.vendor.total == 0
    assert answer.status_code == 200
    assert answer.json()[told] > 0
    assert answer.headers["x-aether-estimated"] == "1"
    assert (final["record"]["kind"], final["record"]["outcome"]) == ("count_tokens", "ok")


async def test_an_anthropic_client_learns_of_its_input_at_the_start_and_of_the_truth_at_the_end() -> None:
    ask = Ask("anthropic", stream=True)
    async with house("asgi", formats=["openai_chat"], conversion="lenient") as relay:
        told = asks.values(ask, (await ask.send(relay)).text)
        (final,) = await relay.settled()
    assert told[0]["message"]["usage"]["input_tokens"] > 0
    (delta,) = (each for each in told if each["type"] == "message_delta")
    assert delta["usage"]["input_tokens"] == final["record"]["input_tokens"]
    assert delta["usage"]["output_tokens"] == final["record"]["output_tokens"]


async def test_lists_of_models_hold_what_conversion_serves() -> None:
    async with house("asgi", formats=["anthropic"], conversion="lenient") as relay:
        told = await relay.http.get("/v1/models")
    assert [each["id"] for each in told.json()["data"]] == ["sim"]
