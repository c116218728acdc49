"""Each rule of `strict`: the right request passes; what breaks it is refused in the vendor's words."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

import simulator
from simulator import ask as asks, frames
from simulator.options import parse
from simulator.rules import RULES, TABLES
from simulator.rules.table import BrokenRuleError
from simulator.server import Simulator

Body = dict[str, Any]
SCHEMA: Body = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
NAME = "sim.strict.think.tools-2.steps-2"


def opening(form: str, model: str = NAME) -> Body:
    """A question with a tool, that asks for thoughts."""
    tool: Body = {"name": "weather", "description": "tells the weather"}
    match form:
        case "openai_chat":
            tools = [{"type": "function", "function": {**tool, "parameters": SCHEMA}}]
            return {"model": model, "messages": [{"role": "user", "content": "hello"}], "tools": tools}
        case "openai_responses":
            return {
                "model": model,
                "input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
                "tools": [{"type": "function", **tool, "parameters": SCHEMA}],
                "reasoning": {"summary": "auto"},
                "include": ["reasoning.encrypted_content"],
                "store": False,
            }
        case "anthropic":
            return {
                "model": model,
                "max_tokens": 4000,
                "messages": [{"role": "user", "content": "hello"}],
                "tools": [{**tool, "input_schema": SCHEMA}],
                "thinking": {"type": "enabled", "budget_tokens": 2000},
            }
        case _:
            return {
                "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
                "tools": [{"functionDeclarations": [{**tool, "parameters": SCHEMA}]}],
                "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
            }


def answered(form: str, body: Body, model: str = NAME) -> Body:
    """The same conversation with the vendor's answer, and the results of the calls in it."""
    readers: dict[str, Callable[[Body], asks.Ask]] = {
        "openai_chat": asks.chat,
        "openai_responses": asks.responses,
        "anthropic": asks.anthropic,
        "gemini": lambda each: asks.gemini(model, each, stream=False),
    }
    told = orjson.loads(frames.whole(form, readers[form](body), parse(model)))
    body = copy.deepcopy(body)
    match form:
        case "openai_chat":
            message = told["choices"][0]["message"]
            body["messages"].append(message)
            for call in message["tool_calls"]:
                body["messages"].append({"role": "tool", "tool_call_id": call["id"], "content": "sunny"})
        case "openai_responses":
            body["input"] += told["output"]
            for item in told["output"]:
                if item["type"] == "function_call":
                    result = {"type": "function_call_output", "call_id": item["call_id"], "output": "sunny"}
                    body["input"].append(result)
        case "anthropic":
            content = told["content"]
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "sunny"}
                for block in content
                if block["type"] == "tool_use"
            ]
            body["messages"] += [
                {"role": "assistant", "content": content},
                {"role": "user", "content": results},
            ]
        case _:
            content = told["candidates"][0]["content"]
            parts = [
                {
                    "functionResponse": {
                        "id": part["functionCall"]["id"],
                        "name": part["functionCall"]["name"],
                        "response": {"output": "sunny"},
                    }
                }
                for part in content["parts"]
                if "functionCall" in part
            ]
            body["contents"] += [content, {"role": "user", "parts": parts}]
    return body


def looped(form: str) -> Body:
    """A conversation with two rounds of two calls each: chat's items 1 and 4, Responses' 1 to 4 and 7 to 10,
    Anthropic's and Gemini's 1 and 3 are the vendor's."""
    return answered(form, answered(form, opening(form)))


@pytest.mark.parametrize("form", TABLES)
def test_a_conversation_as_the_vendor_made_it_passes(form: str) -> None:
    TABLES[form].check(opening(form))
    TABLES[form].check(looped(form))


def put(*path: Any) -> Callable[[Body], object]:
    """Sets the value at the end of a path."""

    def change(body: Body) -> None:
        at: Any = body
        for key in path[:-2]:
            at = at[key]
        at[path[-2]] = path[-1]

    return change


def drop(*path: Any) -> Callable[[Body], object]:
    """Deletes what a path leads to."""

    def change(body: Body) -> None:
        at: Any = body
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]

    return change


def swap(one: int, other: int, *path: Any) -> Callable[[Body], object]:
    """Makes two items of the list at a path change places."""

    def change(body: Body) -> None:
        at: Any = body
        for key in path:
            at = at[key]
        at[one], at[other] = at[other], at[one]

    return change


def many(*changes: Callable[[Body], object]) -> Callable[[Body], None]:
    """One change after the other."""

    def change(body: Body) -> None:
        for each in changes:
            each(body)

    return change


M, C, N, P = "messages", "content", "input", "parts"
F = ("tools", 0, "functionDeclarations", 0)
LONG = "a" * 129
BREAKS: list[tuple[str, Callable[[Body], object], str]] = [
    ("anthropic.fields", put("seed", 7), "seed: Extra inputs are not permitted"),
    ("anthropic.roles", put(M, 0, "role", "tool"), "messages.0.role: Input should be"),
    ("anthropic.text", put(M, 0, C, " "), "must contain non-whitespace text"),
    ("anthropic.calls.id", put(M, 1, C, 2, "id", "call.1"), "messages.1.content.2.tool_use.id: String"),
    ("anthropic.calls.answered", drop(M, 2, C, 0), "`tool_use` ids were found without `tool_result`"),
    ("anthropic.calls.answered", put(M, 2, C, 0, "tool_use_id", "toolu_x"), "`tool_use` ids were found"),
    (
        "anthropic.results.called",
        lambda body: body[M][0].update(
            content=[{"type": "tool_result", "tool_use_id": "toolu_x", "content": "no"}]
        ),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_x",
    ),
    (
        "anthropic.results.first",
        lambda body: body[M][2][C].insert(0, {"type": "text", "text": "here"}),
        "`tool_result` blocks must come first",
    ),
    ("anthropic.tools", put("tools", 0, "name", LONG), "tools.0.custom.name: String should match"),
    ("anthropic.tools", drop("tools"), "must define tools"),
    (
        "anthropic.cache",
        lambda body: [block.update(cache_control={}) for each in (1, 3) for block in body[M][each][C]],
        "A maximum of 4 blocks with cache_control may be provided. Found 8.",
    ),
    (
        "anthropic.thinking.signature",
        put(M, 1, C, 0, "signature", "AAAA"),
        "Invalid `signature` in `thinking`",
    ),
    ("anthropic.thinking.signature", put(M, 1, C, 0, "thinking", "other"), "messages.1.content.0: Invalid"),
    ("anthropic.thinking.signature", drop(M, 1, C, 0, "signature"), "thinking.signature: Field required"),
    ("anthropic.thinking.prefix", put(M, 0, C, "hello you"), "bound to a different conversation"),
    ("anthropic.thinking.prefix", swap(0, 1, M, 1, C), "bound to a different conversation"),
    ("anthropic.thinking.prefix", drop(M, 1, C, 0), "messages.3.content.0: Invalid `signature`"),
    (
        "anthropic.thinking.kept",
        many(drop(M, 3, C, 0), drop(M, 1, C, 0)),
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`",
    ),
    ("anthropic.thinking.budget", put("thinking", "budget_tokens", 4000), "`max_tokens` must be greater"),
    ("anthropic.thinking.sampling", put("temperature", 0.5), "`temperature` may only be set to 1"),
    ("anthropic.thinking.tool_choice", put("tool_choice", {"type": "any"}), "Thinking may not be enabled"),
    ("anthropic.prefill", lambda body: body[M].append({"role": "assistant", C: "So"}), "prefill"),
    ("anthropic.stop_sequences", put("stop_sequences", ["\n"]), "stop_sequences.0: each stop sequence"),
    ("openai_chat.fields", put("cache_control", {}), "Unknown parameter: 'cache_control'."),
    ("openai_chat.roles", put(M, 0, "role", "model"), "Invalid value: 'model'. Supported values are"),
    ("openai_chat.content", put(M, 0, C, None), "expected a string, got null"),
    ("openai_chat.content", put(M, 2, C, [{"type": "image_url"}]), "Invalid content type 'image_url'"),
    ("openai_chat.results.called", put(M, 2, "tool_call_id", "call_x"), "must be a response to a preceeding"),
    ("openai_chat.calls.answered", drop(M, 2), "did not have response messages: call_1"),
    ("openai_chat.calls", put(M, 1, "tool_calls", 0, "function", "arguments", {}), "expected a string."),
    ("openai_chat.tools", put("tools", []), "Invalid 'tools': empty array"),
    ("openai_chat.tools", put("tools", 0, "function", "name", "a" * 65), "maximum length 64, but got"),
    ("openai_chat.schemas", put("response_format", {"type": "json_object"}), "must contain the word 'json'"),
    (
        "openai_chat.schemas",
        put("tools", 0, "function", "strict", True),
        "'additionalProperties' is required",
    ),
    (
        "openai_chat.reasoning",
        many(put("model", f"o3{NAME[3:]}"), put("max_tokens", 9)),
        "Use 'max_completion_tokens' instead.",
    ),
    ("openai_chat.stop", put("stop", [*"abcde"]), "maximum length 4, but got an array with length 5"),
    ("openai_chat.temperature", put("temperature", 3), "Expected a value <= 2"),
    ("openai_responses.fields", put("max_output_tokens", 5), "Expected a value >= 16, but got 5 instead."),
    ("openai_responses.roles", put(N, 0, "role", "tool"), "Invalid value: 'tool'. Supported values are"),
    (
        "openai_responses.content",
        put(N, 2, C, 0, "type", "input_text"),
        "Supported values are: 'output_text'",
    ),
    ("openai_responses.ids", put(N, 3, "id", "call_1"), "Expected an ID that begins with 'fc'."),
    (
        "openai_responses.ids",
        put(N, 3, "id", "fc_" + LONG),
        "maximum length 64, but got a string with length",
    ),
    ("openai_responses.calls", put(N, 3, "call_id", ""), "Invalid 'input[3].call_id': empty string."),
    (
        "openai_responses.results.called",
        put(N, 5, "call_id", "call_x"),
        "No tool call found for function call",
    ),
    ("openai_responses.calls.answered", drop(N, 5), "No tool output found for function call call_1"),
    (
        "openai_responses.reasoning.encrypted",
        put(N, 1, "encrypted_content", "AAAA"),
        "could not be verified. Reason: Encrypted content could not be decrypted or parsed.",
    ),
    ("openai_responses.reasoning.encrypted", put(N, 1, "id", "rs_other"), "item_id did not match the target"),
    ("openai_responses.reasoning.encrypted", drop(N, 1, "encrypted_content"), "Items are not persisted when"),
    (
        "openai_responses.reasoning.followed",
        lambda body: body[N].append(body[N].pop(1)),
        "of type 'reasoning' was provided without its required following item.",
    ),
    (
        "openai_responses.reasoning.kept",
        drop(N, 1),
        "was provided without its required 'reasoning' item: 'rs_1",
    ),
    ("openai_responses.tools", put("tools", 0, "name", "a.b"), "string does not match pattern"),
    ("openai_responses.schemas", put("tools", 0, "strict", True), "'additionalProperties' is required"),
    (
        "openai_responses.reasoning",
        many(put("model", f"gpt-5{NAME[3:]}"), put("temperature", 0.5)),
        "Unsupported parameter: 'temperature' is not supported with this model.",
    ),
    ("gemini.fields", put("generationConfig", "foo", 1), "Unknown name \"foo\" at 'generation_config'"),
    ("gemini.roles", put("contents", 1, "role", "assistant"), "Please use a valid role: user, model."),
    ("gemini.parts", put("contents", 0, P, [{}]), "required oneof field 'data' must have one"),
    (
        "gemini.calls.order",
        lambda body: body["contents"].insert(1, {"role": "model", P: [{"text": "so"}]}),
        "function call turn comes immediately after a user turn or after a function response turn.",
    ),
    (
        "gemini.results.order",
        lambda body: body["contents"].insert(2, {"role": "user", P: [{"text": "wait"}]}),
        "function response turn comes immediately after a function call turn.",
    ),
    ("gemini.results.count", drop("contents", 2, P, 0), "is equal to the number of function call parts"),
    (
        "gemini.results.id",
        put("contents", 2, P, 0, "functionResponse", "id", "other"),
        "Function response id 'other' of contents[2] matches no function call.",
    ),
    (
        "gemini.signatures.kept",
        drop("contents", 1, P, 2, "thoughtSignature"),
        "Function call is missing a thought_signature in functionCall parts.",
    ),
    ("gemini.signatures.kept", swap(2, 3, "contents", 1, P), "is missing a thought_signature"),
    (
        "gemini.signatures.unaltered",
        put("contents", 1, P, 2, "thoughtSignature", "AAAA"),
        "Corrupted thought",
    ),
    (
        "gemini.signatures.unaltered",
        put("contents", 1, P, 2, "functionCall", "args", {"city": "Rome"}),
        "Corrupted thought signature.",
    ),
    ("gemini.tools", put(*F, "name", "1st"), "Invalid function name. Must start with a letter"),
    (
        "gemini.schemas",
        put(*F, "parameters", {**SCHEMA, "additionalProperties": False}),
        "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters'",
    ),
    (
        "gemini.thinking",
        put("generationConfig", "thinkingConfig", {"thinkingBudget": 1, "thinkingLevel": "low"}),
        "only set only one of thinking budget and thinking level",
    ),
    ("gemini.stop", put("generationConfig", "stopSequences", [*"abcdef"]), "no more than 5"),
]


@pytest.mark.parametrize(
    ("name", "change", "words"), BREAKS, ids=[f"{number} {each[0]}" for number, each in enumerate(BREAKS)]
)
def test_what_breaks_a_rule_is_refused(name: str, change: Callable[[Body], object], words: str) -> None:
    form = name.partition(".")[0]
    body = looped(form)
    change(body)
    with pytest.raises(BrokenRuleError) as refused:
        TABLES[form].check(body)
    assert words in str(refused.value)
    assert refused.value.rule.name == name


SYSTEM = {"role": "system", "content": "Be brief."}
BETA = ["claude-code-20250219", "mid-conversation-system-2026-04-07"]


@pytest.mark.parametrize(
    ("model", "betas", "taken"),
    [
        ("claude-opus-4-8", [], True),
        ("claude-haiku-4-5", [], False),
        ("claude-haiku-4-5", BETA, False),
        ("sim", [], False),
        ("sim", BETA, True),
    ],
)
def test_a_system_message_amid_the_others_is_for_models_that_know_it(
    model: str, betas: list[str], taken: bool
) -> None:
    body = opening("anthropic", model) | {"betas": betas}
    body["messages"].append(SYSTEM)
    if taken:
        TABLES["anthropic"].check(body)
    else:
        with pytest.raises(BrokenRuleError, match="role: Input should be 'user' or 'assistant'"):
            TABLES["anthropic"].check(body)


@pytest.mark.parametrize("beta", ["", ",".join(BETA)])
async def test_a_beta_is_taken_from_its_header(vendor: Simulator, beta: str) -> None:
    body = opening("anthropic")
    body["messages"].append(SYSTEM)
    headers = {"x-api-key": "sk-a", "anthropic-version": "2023-06-01", "anthropic-beta": beta}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as http:
        answer = await http.post(f"{vendor.url}/v1/messages", json=body)
    assert answer.status_code == (200 if beta else 400)


def test_what_codex_tells_of_itself_is_taken() -> None:
    TABLES["openai_responses"].check(opening("openai_responses") | {"client_metadata": {"x-codex": "1"}})


def test_gemini_signs_the_call_that_it_wants_signed_without_thoughts_too() -> None:
    plain = "sim.strict.tools-2.steps-2"
    body = answered("gemini", opening("gemini", plain), plain)
    TABLES["gemini"].check(body)
    signatures = [part.get("thoughtSignature") for part in body["contents"][1][P] if "functionCall" in part]
    assert [bool(signature) for signature in signatures] == [True, False]


def test_a_call_has_the_arguments_that_its_schema_requires() -> None:
    body = opening("anthropic")
    body["tools"][0]["input_schema"] = {
        **SCHEMA, "properties": {**SCHEMA["properties"], "days": {"type": "integer"}},
    }  # fmt: skip
    (call, _) = [block for block in answered("anthropic", body)[M][1][C] if block["type"] == "tool_use"]
    assert call["input"] == {"city": "Paris 1.1"}


def test_thoughts_that_no_longer_fit_are_left_out_for_who_asks_for_it() -> None:
    body = looped("anthropic")
    body["messages"][0]["content"] = "hello you"
    body["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    TABLES["anthropic"].check(body)


def test_every_rule_is_broken_once() -> None:
    assert {name for name, _, _ in BREAKS} == {rule.name for rule in RULES}


def test_the_readme_quotes_every_rule_with_its_address() -> None:
    readme = (Path(simulator.__file__).parent / "README.md").read_text()
    for rule in RULES:
        assert f"| `{rule.name}` | {rule.says} | {rule.source} |" in readme, rule.name


@pytest.mark.parametrize(
    ("form", "path", "change", "error"),
    [
        (
            "anthropic",
            "/v1/messages",
            put("seed", 7),
            {"type": "invalid_request_error", "message": "seed: Extra inputs are not permitted"},
        ),
        (
            "openai_chat",
            "/v1/chat/completions",
            put("foo", 7),
            {
                "message": "Unknown parameter: 'foo'.",
                "type": "invalid_request_error",
                "param": "foo",
                "code": "unknown_parameter",
            },
        ),
        (
            "gemini",
            f"/v1beta/models/{NAME}:generateContent",
            put("contents", 1, P, 2, "thoughtSignature", "AAAA"),
            {"code": 400, "message": "Corrupted thought signature.", "status": "INVALID_ARGUMENT"},
        ),
    ],
)
async def test_the_refusal_is_the_vendors_own(
    vendor: Simulator, form: str, path: str, change: Callable[[Body], object], error: Body
) -> None:
    body = looped(form)
    change(body)
    headers = {"x-api-key": "sk-a", "authorization": "Bearer sk-a", "x-goog-api-key": "sk-a"}
    async with httpx.AsyncClient(trust_env=False, headers={**headers, "anthropic-version": "1"}) as http:
        answer = await http.post(vendor.url + path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
