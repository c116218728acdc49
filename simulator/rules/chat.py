"""OpenAI's rules for a request to Chat Completions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from simulator.rules.table import Body, Broken, Table, loosely, objects, words

RULES: Final = Table("openai_chat")
rule = RULES.rule

DOCS: Final = "https://developers.openai.com/api/docs"
_REFERENCE = (
    "https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create"
)
_CALLING = f"{DOCS}/guides/function-calling"
_REASONING = f"{DOCS}/guides/reasoning"
SHAPES: Final = f"{DOCS}/guides/structured-outputs"
NAME: Final = re.compile(r"[a-zA-Z0-9_-]+")
REASONS: Final = re.compile(r"(?:^|/)(?:o\d|gpt-5)")
"""Names of models that reason."""
_LONGEST_ID, LONGEST_NAME = 40, 64
_ROLES = ("system", "assistant", "user", "function", "tool", "developer")
_FIELDS = words(
    "model messages stream stream_options tools tool_choice parallel_tool_calls max_tokens temperature top_p "
    "n max_completion_tokens stop seed presence_penalty frequency_penalty logit_bias logprobs top_logprobs "
    "user response_format reasoning_effort verbosity service_tier store metadata modalities audio prediction "
    "safety_identifier prompt_cache_key prompt_cache_retention web_search_options functions "
    "function_call moderation"
)


def too_long(where: str, text: str, most: int) -> Iterator[Broken]:
    """OpenAI's refusal of a string that is too long."""
    if len(text) > most:
        yield Broken(
            f"Invalid '{where}': string too long. Expected a string with maximum length {most}, but got a "
            f"string with length {len(text)} instead.",
            where,
            "string_above_max_length",
        )


def named(where: str, name: str) -> Iterator[Broken]:
    """OpenAI's refusal of a tool's name."""
    if not NAME.fullmatch(name):
        yield Broken(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            where,
            "invalid_value",
        )
    yield from too_long(where, name, LONGEST_NAME)


def unsupported(name: str, value: object, neutral: Any) -> Iterator[Broken]:
    """OpenAI's refusal of a setting by a model that reasons."""
    if value is None or (neutral is not None and value == neutral):
        return
    if neutral is None:
        text = f"Unsupported parameter: '{name}' is not supported with this model."
        yield Broken(text, name, "unsupported_parameter")
    else:
        text = f"Unsupported value: '{name}' does not support {value} with this model. Only the default"
        yield Broken(f"{text} ({neutral}) value is supported.", name, "unsupported_value")


@rule("fields", "The parameters that the reference lists.", _REFERENCE)
def _fields(body: Body) -> Iterator[Broken]:
    for name in body.keys() - _FIELDS:
        yield Broken(f"Unknown parameter: '{name}'.", name, "unknown_parameter")
    if not body.get("messages"):
        text = (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array"
        )
        yield Broken(f"{text} instead.", "messages", "empty_array")


@rule("roles", "`role`: one of developer, system, user, assistant, tool and function.", _REFERENCE)
def _roles(body: Body) -> Iterator[Broken]:
    for number, message in enumerate(objects(body["messages"])):
        if message.get("role") not in _ROLES:
            supported = ", ".join(f"'{role}'" for role in _ROLES)
            where = f"messages[{number}].role"
            text = f"Invalid value: '{message.get('role')}'. Supported values are: {supported}."
            yield Broken(text, where, "invalid_value")


@rule(
    "content",
    "The contents of the assistant message. Required unless `tool_calls` or `function_call` is specified. "
    "For tool messages, only type `text` is supported.",
    _REFERENCE,
)
def _content(body: Body) -> Iterator[Broken]:
    for number, message in enumerate(objects(body["messages"])):
        role, content, where = message.get("role"), message.get("content"), f"messages.[{number}].content"
        if content is None and not (
            role == "assistant" and (message.get("tool_calls") or "refusal" in message)
        ):
            yield Broken("Invalid value for 'content': expected a string, got null.", where)
        kinds = {"text", "refusal"} if role == "assistant" else {"text"}
        for part in objects(content):
            if role in ("system", "developer", "assistant", "tool") and part.get("type") not in kinds:
                yield Broken(f"Invalid content type '{part.get('type')}' in a {role} message.", where)


@rule(
    "results.called",
    "Messages with role 'tool' must be a response to a preceeding message with 'tool_calls'. `tool_call_id`: "
    "Tool call that this message is responding to.",
    _REFERENCE,
)
def _called(body: Body) -> Iterator[Broken]:
    calls: set[Any] = set()
    for number, message in enumerate(objects(body["messages"])):
        if message.get("role") != "tool":
            calls = {call.get("id") for call in objects(message.get("tool_calls"))}
        elif message.get("tool_call_id") not in calls:
            yield Broken(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
                "with 'tool_calls'.",
                f"messages.[{number}].role",
            )


@rule(
    "calls.answered",
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'.",
    _CALLING,
)
def _answered(body: Body) -> Iterator[Broken]:
    told = objects(body["messages"])
    for number, message in enumerate(told):
        missing = {str(call.get("id")): None for call in objects(message.get("tool_calls"))}
        behind = number + 1
        while behind < len(told) and told[behind].get("role") == "tool":
            missing.pop(str(told[behind].get("tool_call_id")), None)
            behind += 1
        if missing:
            yield Broken(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: "
                f"{', '.join(missing)}",
                "messages",
            )


@rule(
    "calls",
    "`id`: The ID of the tool call. `arguments`: The arguments to call the function with, as generated by "
    "the model in JSON format.",
    _REFERENCE,
)
def _calls(body: Body) -> Iterator[Broken]:
    for number, message in enumerate(objects(body["messages"])):
        calls = message.get("tool_calls")
        if calls == []:
            where = f"messages[{number}].tool_calls"
            text = (
                f"Invalid '{where}': empty array. Expected an array with minimum length 1, but got an empty"
            )
            yield Broken(f"{text} array instead.", where, "empty_array")
        ids = [call.get("id") for call in objects(calls)]
        for at, call in enumerate(objects(calls)):
            where = f"messages[{number}].tool_calls[{at}]"
            function = call.get("function") or {}
            if not call.get("id") or ids.count(call["id"]) > 1:
                yield Broken(
                    f"Invalid '{where}.id': expected an ID of its own.", f"{where}.id", "invalid_value"
                )
            yield from too_long(f"{where}.id", str(call.get("id")), _LONGEST_ID)
            if call.get("type", "function") == "function":
                yield from named(f"{where}.function.name", str(function.get("name", "")))
                if not isinstance(function.get("arguments"), str):
                    text = f"Invalid type for '{where}.function.arguments': expected a string."
                    yield Broken(text, f"{where}.function.arguments", "invalid_type")


@rule(
    "tools",
    "The name of the function to be called. Must be a-z, A-Z, 0-9, or contain underscores and dashes, with a "
    "maximum length of 64. `tool_choice` and `parallel_tool_calls` go with tools.",
    _REFERENCE,
)
def _tools(body: Body) -> Iterator[Broken]:
    tools = body.get("tools")
    if tools == []:
        text = "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array"
        yield Broken(f"{text} instead.", "tools", "empty_array")
    for name in ("tool_choice", "parallel_tool_calls"):
        if body.get(name) is not None and not tools:
            text = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
            yield Broken(text, name)
    for number, tool in enumerate(objects(tools)):
        if tool.get("type") != "function":
            continue
        function = tool.get("function") or {}
        yield from named(f"tools[{number}].function.name", str(function.get("name", "")))
        schema = function.get("parameters")
        if schema is not None and schema.get("type") != "object":
            yield Broken(
                f"Invalid schema for function '{function.get('name')}': schema must be a JSON Schema of "
                f"'type: "
                f'"object"\', got \'type: "{schema.get("type")}"\'.',
                f"tools[{number}].function.parameters",
                "invalid_function_parameters",
            )


@rule(
    "schemas",
    "All fields must be `required`. `additionalProperties: false` must always be set in objects. When using "
    "JSON mode, you must always instruct the model to produce JSON via some message in the conversation.",
    SHAPES,
)
def _schemas(body: Body) -> Iterator[Broken]:
    for number, tool in enumerate(objects(body.get("tools"))):
        function = tool.get("function") or {}
        why = loosely(function.get("parameters")) if function.get("strict") else ""
        if why:
            text = f"Invalid schema for function '{function.get('name')}': {why}"
            where = f"tools[{number}].function.parameters"
            yield Broken(text, where, "invalid_function_parameters")
    shape = body.get("response_format") or {}
    schema = shape.get("json_schema") or {}
    why = loosely(schema.get("schema")) if schema.get("strict") else ""
    if why:
        text = f"Invalid schema for response_format '{schema.get('name')}': {why}"
        yield Broken(text, "response_format")
    if shape.get("type") == "json_object" and "json" not in str(body["messages"]).lower():
        yield Broken(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            "messages",
        )


@rule(
    "reasoning",
    "`max_tokens` is now deprecated in favor of `max_completion_tokens`, and is not compatible with o-series "
    "models. Temperature, top_p, penalties, logprobs and logit_bias are not supported by models that reason.",
    _REASONING,
)
def _reasoning(body: Body) -> Iterator[Broken]:
    if not REASONS.search(str(body.get("model", ""))):
        return
    if body.get("max_tokens") is not None:
        yield Broken(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    for name, neutral in (
        ("temperature", 1),
        ("top_p", 1),
        ("presence_penalty", 0),
        ("frequency_penalty", 0),
    ):
        yield from unsupported(name, body.get(name), neutral)
    for name in ("logprobs", "top_logprobs", "logit_bias", "stop"):
        yield from unsupported(name, body.get(name) or None, None)


@rule("stop", "Up to 4 sequences where the API will stop generating further tokens.", _REFERENCE)
def _stop(body: Body) -> Iterator[Broken]:
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        yield Broken(
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
            f"length {len(stop)} instead.",
            "stop",
            "array_above_max_length",
        )


@rule("temperature", "What sampling temperature to use, between 0 and 2.", _REFERENCE)
def _temperature(body: Body) -> Iterator[Broken]:
    if not 0 <= (body.get("temperature") or 0) <= 2:
        text = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2."
        yield Broken(text, "temperature", "decimal_above_max_value")
