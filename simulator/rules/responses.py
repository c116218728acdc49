"""OpenAI's rules for a request to Responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simulator.rules.chat import DOCS, REASONS, SHAPES, named, too_long, unsupported
from simulator.rules.table import Body, Broken, Table, loosely, objects, words
from simulator.signing import digest, packed, unpacked

RULES: Final = Table("openai_responses")
rule = RULES.rule

_REFERENCE = "https://developers.openai.com/api/reference/resources/responses/methods/create"
_CALLING = f"{DOCS}/guides/function-calling"
_REASONING = f"{DOCS}/guides/reasoning"
_LONGEST = 64
_PREFIXES = {
    "reasoning": "rs",
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
}
_OUTPUTS = {"function_call_output": "function_call", "custom_tool_call_output": "custom_tool_call"}
_ROLES = ("assistant", "system", "developer", "user")
_SAID = ("output_text", "refusal")
_FIELDS = words(
    "model input instructions stream stream_options tools tool_choice parallel_tool_calls max_output_tokens "
    "temperature top_p top_logprobs reasoning text store include metadata previous_response_id conversation "
    "truncation service_tier user safety_identifier prompt_cache_key prompt_cache_retention background "
    "prompt max_tool_calls context_management moderation client_metadata"
)
"""Those of the reference; and `client_metadata`, which Codex always sends (github.com/openai/codex,
codex-rs/codex-api/src/common.rs, `ResponsesApiRequest`)."""


def items(body: Body) -> list[tuple[str, str, Body]]:
    """Path, type and value of each item of the input."""
    return [
        (f"input[{number}]", str(item.get("type") or "message"), item)
        for number, item in enumerate(objects(body.get("input")))
    ]


def encrypted(tag: str) -> str:
    """The encrypted content of the reasoning item that an answer with this tag began with."""
    return packed(f"{tag}{digest('openai_responses', tag)}")


def reasoned(tag: str) -> bool:
    """Whether the answer with this tag (or with a call's id that begins with it) began with reasoning."""
    return tag.startswith("1")


@rule("fields", "The parameters that the reference lists.", _REFERENCE)
def _fields(body: Body) -> Iterator[Broken]:
    for name in body.keys() - _FIELDS:
        yield Broken(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    limit = body.get("max_output_tokens")
    if limit is not None and limit < 16:
        yield Broken(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got "
            f"{limit} instead.",
            "max_output_tokens",
            "integer_below_min_value",
        )


@rule(
    "roles", "`role`: The role of the message input. One of user, assistant, system or developer.", _REFERENCE
)
def _roles(body: Body) -> Iterator[Broken]:
    for where, kind, item in items(body):
        if kind == "message" and item.get("role") not in _ROLES:
            supported = ", ".join(f"'{role}'" for role in _ROLES)
            text = f"Invalid value: '{item.get('role')}'. Supported values are: {supported}."
            yield Broken(text, f"{where}.role", "invalid_value")


@rule(
    "content",
    "An assistant's message holds `output_text` and `refusal`, every other message `input_text`, "
    "`input_image`, `input_file` and `input_audio`.",
    _REFERENCE,
)
def _content(body: Body) -> Iterator[Broken]:
    for where, kind, item in items(body):
        said = kind == "message" and item.get("role") == "assistant"
        for number, part in enumerate(objects(item.get("content")) if kind == "message" else ()):
            if (part.get("type") in _SAID) is not said:
                supported = (
                    "'output_text' and 'refusal'" if said else "'input_text', 'input_image' and 'input_file'"
                )
                text = f"Invalid value: '{part.get('type')}'. Supported values are: {supported}."
                yield Broken(text, f"{where}.content[{number}]", "invalid_value")


@rule("ids", "`id`: The unique ID of the item; each kind has a prefix of its own.", _REFERENCE)
def _ids(body: Body) -> Iterator[Broken]:
    seen: set[str] = set()
    for where, kind, item in items(body):
        name = item.get("id")
        if name is None:
            continue
        prefix = _PREFIXES.get(kind, "")
        if not str(name).startswith(prefix):
            text = f"Invalid '{where}.id': '{name}'. Expected an ID that begins with '{prefix}'."
            yield Broken(text, f"{where}.id", "invalid_value")
        yield from too_long(f"{where}.id", str(name), _LONGEST)
        if name in seen:
            text = (
                f"Duplicate item found with id {name}. Remove duplicate items from your input and try again."
            )
            yield Broken(text, "input")
        seen.add(str(name))


@rule(
    "calls",
    "`call_id`: The unique ID of the function tool call generated by the model. `arguments`: A JSON string "
    "of the arguments to pass to the function.",
    _REFERENCE,
)
def _calls(body: Body) -> Iterator[Broken]:
    for where, kind, item in items(body):
        if not kind.endswith(("function_call", "function_call_output", "custom_tool_call")):
            continue
        call = item.get("call_id")
        if call is None:
            text = f"Missing required parameter: '{where}.call_id'."
            yield Broken(text, f"{where}.call_id", "missing_required_parameter")
        elif not call:
            text = f"Invalid '{where}.call_id': empty string. Expected a string with minimum length 1."
            yield Broken(text, f"{where}.call_id", "empty_string")
        yield from too_long(f"{where}.call_id", str(call), _LONGEST)
        if kind == "function_call":
            yield from named(f"{where}.name", str(item.get("name", "")))
            if not isinstance(item.get("arguments"), str):
                text = f"Invalid type for '{where}.arguments': expected a string."
                yield Broken(text, f"{where}.arguments", "invalid_type")


@rule(
    "results.called",
    "`call_id`: The unique ID of the function tool call generated by the model.",
    f"{_REFERENCE}#function_call_output",
)
def _called(body: Body) -> Iterator[Broken]:
    if body.get("previous_response_id") or body.get("conversation"):
        return
    calls: set[tuple[str, object]] = set()
    for _, kind, item in items(body):
        calls.add((kind, item.get("call_id")))
        if kind in _OUTPUTS and (_OUTPUTS[kind], item.get("call_id")) not in calls:
            text = f"No tool call found for function call output with call_id {item.get('call_id')}."
            yield Broken(text, "input")


@rule(
    "calls.answered",
    "Provide the function call outputs along with the function calls of the previous response.",
    _CALLING,
)
def _answered(body: Body) -> Iterator[Broken]:
    told = items(body)
    for number, (_, kind, item) in enumerate(told):
        if kind in ("function_call", "custom_tool_call"):
            behind = [(each, value.get("call_id")) for _, each, value in told[number + 1 :]]
            if (f"{kind}_output", item.get("call_id")) not in behind:
                text = f"No tool output found for function call {item.get('call_id')}."
                yield Broken(text, "input")


@rule(
    "reasoning.encrypted",
    "`encrypted_content`: pass it back as it came, in stateless mode; its item's id is part of it.",
    f"{_REASONING}#encrypted-reasoning-items",
)
def _encrypted(body: Body) -> Iterator[Broken]:
    for where, kind, item in items(body):
        if kind != "reasoning":
            continue
        name, secret = item.get("id"), item.get("encrypted_content")
        if "summary" not in item:
            text = f"Missing required parameter: '{where}.summary'."
            yield Broken(text, f"{where}.summary", "missing_required_parameter")
        if secret is None:
            if body.get("store") is False:
                yield Broken(
                    f"Item with id '{name}' not found. Items are not persisted when `store` is set to false. "
                    "Try again with `store` set to true, or remove this item from your input.",
                    "input",
                )
            continue
        tag = unpacked(secret)[:32]
        why = ""
        if secret != encrypted(tag):
            why = "Encrypted content could not be decrypted or parsed."
        elif name is not None and name != f"rs_{tag}":
            why = "Encrypted content item_id did not match the target item id."
        if why:
            text = f"The encrypted content for item {name} could not be verified. Reason: {why}"
            yield Broken(text, None, "invalid_encrypted_content")


@rule(
    "reasoning.followed",
    "Pass back all reasoning items, function call items, and function call output items, since the last user "
    "message: a reasoning item stands before the item that came of it.",
    _REASONING,
)
def _followed(body: Body) -> Iterator[Broken]:
    told = items(body)
    for number, (_, kind, item) in enumerate(told):
        following = told[number + 1] if number + 1 < len(told) else ("", "", {})
        made = following[1] in ("function_call", "custom_tool_call", "reasoning") or (
            following[1] == "message" and following[2].get("role") == "assistant"
        )
        if kind == "reasoning" and not made:
            text = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following"
            yield Broken(f"{text} item.", "input")


@rule(
    "reasoning.kept",
    "Note that for reasoning models like GPT-5 or o4-mini, any reasoning items returned in model responses "
    "with tool calls must also be passed back with tool call outputs.",
    _CALLING,
)
def _kept(body: Body) -> Iterator[Broken]:
    if body.get("previous_response_id") or body.get("conversation"):
        return
    told = items(body)
    users = [
        at for at, (_, kind, item) in enumerate(told) if kind == "message" and item.get("role") == "user"
    ]
    seen: set[str] = set()
    for number, (_, kind, item) in enumerate(told):
        if kind == "reasoning":
            seen.add(unpacked(item.get("encrypted_content"))[:32] or str(item.get("id")).removeprefix("rs_"))
        tag = str(item.get("call_id", "")).removeprefix("call_")[:32]
        current = number > (users[-1] if users else -1)
        if kind == "function_call" and current and reasoned(tag) and tag not in seen:
            name = item.get("id") or f"fc_{item.get('call_id')}"
            yield Broken(
                f"Item '{name}' of type 'function_call' was provided without its required 'reasoning' item: "
                f"'rs_{tag}'.",
                "input",
            )


@rule(
    "tools",
    "`name`: The name of the function to call, of letters, digits, underscores and dashes, with a maximum "
    "length of 64.",
    _REFERENCE,
)
def _tools(body: Body) -> Iterator[Broken]:
    for number, tool in enumerate(objects(body.get("tools"))):
        if tool.get("type") not in ("function", "custom"):
            continue
        yield from named(f"tools[{number}].name", str(tool.get("name", "")))
        schema = tool.get("parameters")
        if schema is not None and schema.get("type") != "object":
            yield Broken(
                f"Invalid schema for function '{tool.get('name')}': schema must be a JSON Schema of 'type: "
                f'"object"\', got \'type: "{schema.get("type")}"\'.',
                f"tools[{number}].parameters",
                "invalid_function_parameters",
            )
    choice = body.get("tool_choice")
    if choice in ("required",) and not body.get("tools"):
        yield Broken("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")


@rule(
    "schemas",
    "All fields must be `required`. `additionalProperties: false` must always be set in objects. When using "
    "JSON mode, you must always instruct the model to produce JSON via some message in the conversation.",
    SHAPES,
)
def _schemas(body: Body) -> Iterator[Broken]:
    for number, tool in enumerate(objects(body.get("tools"))):
        strict = tool.get("type") == "function" and tool.get("strict", True) is not False
        why = loosely(tool.get("parameters")) if strict and tool.get("parameters") else ""
        if why and tool.get("strict"):  # unsaid, the vendor makes the schema strict where it can
            text = f"Invalid schema for function '{tool.get('name')}': {why}"
            yield Broken(text, f"tools[{number}].parameters", "invalid_function_parameters")
    shape = (body.get("text") or {}).get("format") or {}
    why = loosely(shape.get("schema")) if shape.get("strict") else ""
    if why:
        text = f"Invalid schema for response_format '{shape.get('name')}': {why}"
        yield Broken(text, "text.format.schema", "invalid_json_schema")
    if shape.get("type") == "json_object" and "json" not in str(body.get("input")).lower():
        yield Broken(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            "input",
        )


@rule("reasoning", "Temperature, top_p and logprobs are not supported by models that reason.", _REASONING)
def _reasoning(body: Body) -> Iterator[Broken]:
    if REASONS.search(str(body.get("model", ""))):
        for name in ("temperature", "top_p"):
            value = body.get(name)
            yield from unsupported(name, None if value == 1 else value, None)
