"""Anthropic's requests read and written: numbers are those of conversion.md's cases."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.counts import count
from tests.wire.neutral.anthropic_asks import (
    OPUS,
    assistant,
    chat,
    read,
    result,
    say,
    system,
    use,
    user,
    write,
)
from tests.wire.neutral.anthropic_kit import DIALECT
from tests.wire.neutral.hostile import odd
from tests.wire.neutral.strategies_anthropic import Fields, plain, requests
from wire.jsons import dumps
from wire.neutral.parts import (
    Signature,
    Text,
    ToolCall,
    ToolResult,
)
from wire.neutral.requests import (
    CannotHold,
    Target,
    Tool,
)
from wire.neutral.seals import MARK, sealed
from wire.types import COUNT_TOKENS, BadRequest, Brief


def test_a_request_with_tools_makes_the_round_trip() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    fields = {
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Weather in Oslo?"},
            {"role": "assistant", "content": [call]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain."}],
            },
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}],
    }
    request = read(fields)
    assert request.turns == (
        system("Be brief."),
        user("Weather in Oslo?"),
        assistant(ToolCall("toolu_1", "weather", '{"city":"Oslo"}')),
        user(ToolResult("toolu_1", (Text("Rain."),))),
    )
    assert request.tools == (Tool("weather", schema={"type": "object", "properties": {"city": {}}}),)
    body, written = write(request)
    assert body == {
        "model": "claude-opus-4-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": fields["messages"],
        "tools": fields["tools"],
    }
    assert written.dropped == ()


@settings(max_examples=count(100, 20_000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_all_that_the_format_can_say_comes_back(fields: Fields) -> None:
    body, written = write(read(fields), Target(fields["model"], 64_000))
    assert plain(body) == plain(fields)
    assert written.dropped == ()
    assert written.shaped_by == ""
    assert written.names == {}


# Other


def test_previous_answers_that_are_not_at_hand_rule_the_target_out() -> None:
    with pytest.raises(CannotHold) as refused:
        write(chat(user("go"), previous_id="resp_1"))
    assert refused.value.param == "previous_response_id"


def test_streams_are_asked_for_and_the_upstreams_own_name_of_the_model() -> None:
    body, _ = write(chat(user("go"), stream=True))
    assert (body["stream"], body["model"]) == (True, "claude-opus-4-5")
    assert "stream" not in write(chat(user("go")))[0]


def test_paths_and_words_for_people() -> None:
    assert DIALECT.path(Brief("m")) == "/v1/messages"
    assert DIALECT.path(Brief("m", kind=COUNT_TOKENS)) == "/v1/messages/count_tokens"
    assert DIALECT.spelled("stop") == "stop_sequences"
    assert DIALECT.spelled("temperature") == "temperature"


def of(block: Any) -> dict[str, Any]:
    """A request whose user says this one block."""
    return {"messages": [{"role": "user", "content": [block]}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": "x"}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"role": "tool"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"messages": [{"role": "assistant", "content": [result("a")]}]}, "messages.0.content.0"),
        (of({}), "messages.0.content.0.type"),
        (of(use("a")), "messages.0.content.0"),
        (of({"type": "image"}), "messages.0.content.0.source"),
        (of({"type": "image", "source": {"type": "url", "url": 1}}), "messages.0.content.0.source.url"),
        (of(result("a", [{"type": "text", "text": 1}])), "messages.0.content.0.content.0.text"),
        (of(result("a", is_error=2)), "messages.0.content.0.is_error"),
        ({"system": 1}, "system"),
        ({"tools": [{}]}, "tools.0.name"),
        ({"tools": [{"name": "f", "strict": "x"}]}, "tools.0.strict"),
        ({"tool_choice": {"type": "x"}}, "tool_choice.type"),
        ({"thinking": {"type": "x"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "x"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "x"}}}, "output_config.format.type"),
        ({"max_tokens": "x"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": [1]}, "stop_sequences.0"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"cache_control": 1}, "body.cache_control"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_read_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(fields)
    assert caught.value.param == param
    assert param in caught.value.text


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"null", b"[" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000]
)
def test_a_body_that_is_no_object_is_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        DIALECT.read_request(body, Brief("m"))


def test_lone_surrogates_make_the_round_trip() -> None:
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"\\ud83d"}]}'
    request = DIALECT.read_request(body, Brief("m"))
    assert b"\\ud83d" in DIALECT.write_request(request, OPUS).body


def odd_request(rng: random.Random) -> dict[str, Any]:
    """A request as nobody sends it."""
    source = {"type": odd(rng, "base64", "url", "text", "file", "content"), "data": odd(rng, "QUJD")}
    source.update(media_type=odd(rng, "image/png"), url=odd(rng, "https://a"), content=odd(rng, [say("x")]))
    blocks = [
        {
            "type": odd(rng, *BLOCKS),
            "text": odd(rng, "x"),
            "thinking": odd(rng, "x"),
            "signature": odd(rng, "QUJD", sealed(Signature("gemini", "x"), "next"), MARK.decode() + "A"),
            "data": odd(rng, "QUJD"),
            "id": odd(rng, "a", "b"),
            "tool_use_id": odd(rng, "a", "b"),
            "name": odd(rng, "f"),
            "input": odd(rng, {}),
            "source": odd(rng, source),
            "content": odd(rng, "x", [say("x")], [{"type": "image", "source": source}]),
            "cache_control": odd(rng, {"type": "ephemeral"}, None),
            "is_error": odd(rng, True, None),
        }
        for _ in range(rng.randrange(4))
    ]
    turns = [
        {
            "role": odd(rng, "user", "assistant", "system"),
            "content": odd(rng, rng.sample(blocks, len(blocks))),
        }
        for _ in range(rng.randrange(4))
    ]
    tool = {
        "name": odd(rng, "f"),
        "input_schema": odd(rng, {"type": "object"}),
        "type": odd(rng, None, "custom"),
    }
    fields = {
        "model": "m",
        "messages": odd(rng, turns),
        "system": odd(rng, "x", [say("x")]),
        "tools": odd(rng, [tool]),
        "tool_choice": odd(rng, {"type": "any"}, {"type": "tool", "name": odd(rng, "f")}),
        "thinking": odd(rng, {"type": "enabled", "budget_tokens": odd(rng, 2048)}, {"type": "adaptive"}),
        "output_config": odd(rng, {"effort": odd(rng, "low"), "format": odd(rng, None)}),
        "max_tokens": odd(rng, 5000),
        "temperature": odd(rng, 1),
        "top_p": odd(rng, 0.5),
        "stop_sequences": odd(rng, ["x"]),
        "metadata": odd(rng, {"user_id": odd(rng, "x")}),
        "service_tier": odd(rng, "auto"),
        "cache_control": odd(rng, None),
    }
    return {key: value for key, value in fields.items() if rng.random() < 0.7 or key == "messages"}


BLOCKS = (
    "text",
    "image",
    "document",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "tool_result",
    "search_result",
)


@pytest.mark.parametrize("block", range(4))
def test_whatever_a_client_sends_is_read_or_a_bad_request(block: int) -> None:
    read_well = 0
    for seed in range(count(400, 25_000)):
        rng = random.Random(block * 1_000_000 + seed)
        body = dumps(odd_request(rng))
        try:
            request = DIALECT.read_request(body, Brief("m"))
            model = rng.choice(("claude-opus-4-5", "claude-opus-4-8", "claude-fable-5-1", "glm-5"))
            written = DIALECT.write_request(request, Target(model))
        except BadRequest:
            continue
        read_well += 1
        json.loads(written.body)
    assert read_well


@pytest.mark.parametrize("name", [["x"], {"a": 1}, 7, None])
def test_a_built_in_tool_may_have_anything_for_a_name(name: object) -> None:
    tools = [{"type": "computer_20251124", "name": name}, {"name": "f", "input_schema": {"type": "object"}}]
    asked = read({"tools": tools, "tool_choice": {"type": "tool", "name": "f"}})
    body, _ = write(asked)
    assert [tool.get("name") for tool in body["tools"]] == [name, "f"]
