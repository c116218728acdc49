"""Vendors that almost speak Chat Completions: their streams as others recorded them (the first line of each
transcript names where), and what an endpoint's quirks change in a request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from providers.quirks import QUIRKS
from tests.wire.cuts import follow, transcript
from tests.wire.neutral.chat_kit import CHAT, asked, decoded
from wire import azure
from wire.neutral.events import Choice
from wire.neutral.names import short_id
from wire.neutral.parts import Part, Text, Thinking, ToolCall, ToolResult, Turn
from wire.neutral.requests import Request, Target
from wire.quirks import EDITED, edited
from wire.types import Brief


@dataclass(frozen=True)
class Says:
    """What an answer must say, read with these quirks of its endpoint."""

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    reason: str = "stop"
    tokens: tuple[int, int] = (0, 0)
    quirks: frozenset[str] = frozenset()
    fields: dict[str, Any] = field(default_factory=dict)


WEATHER = ("get_weather", "Oslo"), ("get_weather", "Lima")
STREAMS = {
    "deepseek": Says("Hello", "Okay, the user", tokens=(11, 9)),
    "azure_filter": Says("Copenhagen"),
    "ollama_tools": Says(calls=WEATHER, reason="tool_calls"),
    "ollama_blank_finish": Says("if you"),
    "think_tags": Says("Here it is.", "They want it fast.\n", quirks=frozenset({"think_tags"})),
    "think_opened": Says("Here it is.", "They want it fast.", quirks=frozenset({"think_opened"})),
    "groq": Says("Hello!", reason="length", tokens=(10, 3)),
    "vllm": Says("1 2 3 ", "Okay,", reason="stop_sequence", fields={"stop": ("4",)}),
    "mistral_tools": Says(calls=WEATHER, reason="tool_calls", tokens=(88, 24)),
    "openrouter": Says("Yes.", "So I need"),
    "moonshot": Says("你好。", tokens=(19, 13)),
    "zhipu": Says("I", "Hm", reason="refusal", tokens=(8, 4)),
}


def said(choice: Choice) -> Says:
    """What a choice says, less its tokens."""
    parts = choice.parts
    return Says(
        "".join(part.text for part in parts if isinstance(part, Text)),
        "".join(part.text for part in parts if isinstance(part, Thinking)),
        tuple(
            (each.name, json.loads(each.arguments)["city"]) for each in parts if isinstance(each, ToolCall)
        ),
        choice.finish.reason,
    )


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_as_its_vendor_sends_it_is_understood(name: str) -> None:
    told = STREAMS[name]
    stream = transcript(f"quirks/{name}.sse")
    (choice,) = decoded([stream], asked(quirks=told.quirks, **told.fields)).choices
    heard = said(choice)
    assert (heard.text, heard.thought, heard.calls, heard.reason) == (
        told.text, told.thought, told.calls, told.reason,
    )  # fmt: skip
    byte_by_byte = [stream[at : at + 1] for at in range(len(stream))]
    assert decoded(byte_by_byte, asked(quirks=told.quirks, **told.fields)).choices == (choice,)


@pytest.mark.parametrize("name", STREAMS)
def test_the_ledger_finds_the_usage_wherever_the_vendor_puts_it(name: str) -> None:
    followed = follow("openai_chat", Brief("m", stream=True))([transcript(f"quirks/{name}.sse")])
    usage = followed.usage
    assert followed.ended
    assert (usage.input_tokens, usage.output_tokens) == STREAMS[name].tokens


def test_each_call_of_ollama_keeps_its_own_id_and_arguments() -> None:
    (choice,) = decoded([transcript("quirks/ollama_tools.sse")]).choices
    assert [part.id for part in choice.parts if isinstance(part, ToolCall)] == [
        "call_kqnd4rcn", "call_8zsy11qa",
    ]  # fmt: skip


# Requests
# ---------------------------------------------------------------------------------------------------------


def history(*parts: Part, call_id: str = "toolu_01A09q90qw90lq917835lq9") -> tuple[Turn, ...]:
    """A question, a call with these parts before it, and its result."""
    call = ToolCall(call_id, "get_weather", '{"city":"Oslo"}')
    return (
        Turn("user", (Text("Weather?"),)),
        Turn("assistant", (*parts, call)),
        Turn("user", (ToolResult(call_id, (Text("rain"),)),)),
    )


def written(*quirks: str, turns: tuple[Turn, ...] | None = None, **fields: Any) -> dict[str, Any]:
    request = Request("anthropic", "m", history() if turns is None else turns, **fields)
    body = CHAT.write_request(request, Target("up", quirks=frozenset(quirks))).body
    told: dict[str, Any] = json.loads(body)
    return told


def test_deepseek_gets_its_thoughts_back_in_a_tool_loop_and_others_do_not() -> None:
    turns = history(Thinking("It rains there."))
    assert written("reasoning_content", turns=turns)["messages"][1]["reasoning_content"] == "It rains there."
    assert "reasoning_content" not in written(turns=turns)["messages"][1]
    # Of a turn that another vendor thought, it wants the field all the same.
    assert written("reasoning_content")["messages"][1]["reasoning_content"].isspace()


def test_mistral_gets_ids_of_nine_letters_and_digits_that_still_pair() -> None:
    messages = written("short_call_ids")["messages"]
    made = messages[1]["tool_calls"][0]["id"]
    assert len(made) == 9
    assert made.isalnum()
    assert messages[2]["tool_call_id"] == made
    assert written("short_call_ids", turns=history(call_id="D681PevKs"))["messages"][2]["tool_call_id"] == (
        "D681PevKs"
    )


def test_short_ids_differ_where_the_ids_do() -> None:
    ids = [f"call_{number}" for number in range(2000)]
    assert len({short_id(each) for each in ids}) == len(ids)


BODY = (
    b'{ "model" : "m", "messages":[{"role":"user","content":"call_1 \\u00e9"},'
    b'{"role":"assistant","tool_calls":[{"id" : "call_1", "type":"function","function":{"name":"f",'
    b'"arguments":"{\\"id\\":\\"call_1\\"}"}}]},  {"role":"tool", "tool_call_id":"call_1","content":"x"}],'
    b'"max_completion_tokens" : 5 }'
)


def test_in_its_own_format_nothing_but_the_ids_changes() -> None:
    short = short_id("call_1").encode()
    expected = BODY.replace(b'"id" : "call_1"', b'"id" : "%b"' % short)
    expected = expected.replace(b'"tool_call_id":"call_1"', b'"tool_call_id":"%b"' % short)
    assert edited(BODY, frozenset({"short_call_ids"})) == expected
    assert edited(expected, frozenset({"short_call_ids"})) == expected


def test_in_its_own_format_the_limit_gets_its_older_name_unless_both_stand_there() -> None:
    quirks = frozenset({"max_tokens"})
    assert edited(BODY, quirks) == BODY.replace(b'"max_completion_tokens"', b'"max_tokens"')
    both = b'{"max_completion_tokens":5,"max_tokens":6,"model":"m"}'
    assert edited(both, quirks) == both
    named = b'{"messages":[{"role":"user","content":"max_completion_tokens"}]}'
    assert edited(named, quirks) == named


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":"tool_calls"}',
        b'{"messages":[1,{"tool_calls":[1,{"id":2},{"id":null}],"tool_call_id":null}]}',
        b'{"messages":[{"tool_calls":"x","tool_call_id":""}]}',
        b"{}",
    ],
)
def test_what_is_no_request_passes_for_the_vendor_to_refuse(body: bytes) -> None:
    assert edited(body, EDITED) == body


# Azure
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["https://acme.openai.azure.com", "https://acme.openai.azure.com/openai/"])
def test_azure_has_the_model_in_its_path_and_the_version_in_the_query(base: str) -> None:
    url = azure.deployment_url(base, model="gpt-4o", path="/v1/chat/completions")
    root = "https://acme.openai.azure.com/openai"
    assert url == f"{root}/deployments/gpt-4o/chat/completions?api-version={azure.VERSION}"
    assert azure.models_url(base) == f"{root}/models?api-version={azure.VERSION}"


def test_a_version_that_the_client_names_counts_and_its_credential_stays_here() -> None:
    url = azure.deployment_url(
        "https://a.example", model="a/b", path="/v1/embeddings", query="api-version=2025-04-01-preview&key=s"
    )
    assert url == ("https://a.example/openai/deployments/a%2Fb/embeddings?api-version=2025-04-01-preview")


def test_azures_key_goes_in_its_own_header_and_a_token_as_bearer() -> None:
    assert azure.credentials("s") == {"api-key": "s"}
    assert azure.credentials("s", "bearer") == {"authorization": "Bearer s"}


def test_every_quirk_that_code_asks_for_can_be_ticked_and_none_is_without_effect() -> None:
    root = Path(__file__).resolve().parents[2]
    sources = [*root.glob("wire/**/*.py"), *root.glob("relay/*.py"), root / "providers/probe.py"]
    code = "\n".join(path.read_text() for path in sources)
    known = set(
        re.findall(r'"([a-z_]+)" (?:not )?in (?:self\._target\.|self\._|target\.|endpoint\.)?quirks', code)
    )
    known |= set(re.findall(r'\.takes\("([a-z_]+)"\)', code)) | {azure.QUIRK}
    assert known == set(QUIRKS)
