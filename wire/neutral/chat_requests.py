"""Chat Completions requests, read into the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wire.jsons import as_object, as_text, loads
from wire.neutral.chat_messages import LEGACY, bag, list_at, object_at, read_messages, text_at, wrong
from wire.neutral.chat_models import read_effort
from wire.neutral.chat_reasoning import NAME
from wire.neutral.parts import NONE, Extras
from wire.neutral.requests import BuiltIn, Request, Shape, Tool, ToolChoice
from wire.types import BadFrame, BadRequest, Brief

_SPELLED: Final = {
    "turns": "messages",
    "parallel": "parallel_tool_calls",
    "effort": "reasoning_effort",
    "shape": "response_format",
    "previous_id": "previous_response_id",
}
_NUMBERS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_COUNTS: Final = ("top_k", "n", "seed", "top_logprobs")
_WORDS: Final = ("user", "service_tier", "verbosity")
_KNOWN: Final = frozenset(
    {
        *("model", "messages", "stream", "tools", "functions", "tool_choice", "function_call"),
        *("parallel_tool_calls", "max_tokens", "max_completion_tokens", "stop", "reasoning_effort"),
        *("reasoning", "thinking", "response_format", "logit_bias", "logprobs"),
        *_NUMBERS,
        *_COUNTS,
        *_WORDS,
    }
)


def spelled(knob: str) -> str:
    """A field of the middle as this format calls it."""
    return _SPELLED.get(knob, knob)


def read_request(body: bytes, brief: Brief) -> Request:
    """Raises BadRequest naming the field."""
    try:
        return _read(object_at(loads(body), "body"), brief)
    except BadFrame as error:
        raise BadRequest("The body is not valid JSON") from error


def _read(fields: dict[str, Any], brief: Brief) -> Request:
    legacy = fields.get("functions") is not None
    rest = {key: value for key, value in fields.items() if key not in _KNOWN and value is not None}
    if as_object(rest.get("stream_options")).keys() <= {"include_usage"}:
        rest.pop("stream_options", None)
    shape, rest = _read_shape(fields.get("response_format"), rest)
    word, reasoning, thinking = (
        _word(fields, "reasoning_effort"),
        as_object(fields.get("reasoning")),
        as_object(fields.get("thinking")),
    )
    return Request(
        origin=NAME,
        model=brief.model,
        turns=read_messages(fields.get("messages")),
        stream=brief.stream,
        tools=_read_functions(fields["functions"]) if legacy else _read_tools(fields.get("tools")),
        tool_choice=_read_choice(fields, legacy=legacy),
        # The old way has no room for a second call.
        parallel=False if legacy else _flag(fields, "parallel_tool_calls"),
        max_tokens=_read_limit(fields),
        stop=_read_stop(fields.get("stop")),
        effort=read_effort(word, reasoning, thinking),
        shape=shape,
        knobs=_read_knobs(fields),
        extras={NAME: rest} if rest else NONE,
    )


def _word(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return "" if value is None else text_at(value, name)


def _flag(fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(name, "true or false")
    return value


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or abs(value) >= 2**63:
        raise wrong(name, "an integer")
    return value


def _read_limit(fields: Mapping[str, Any]) -> int | None:
    limits = [_count(fields, name) for name in ("max_completion_tokens", "max_tokens")]
    told_limits = [limit for limit in limits if limit is not None]
    return min(told_limits) if told_limits else None


def _read_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    if isinstance(stop, str):
        return (stop,)
    return tuple(text_at(each, f"stop.{number}") for number, each in enumerate(list_at(stop, "stop")))


def _read_knobs(fields: Mapping[str, Any]) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    for name in _NUMBERS:
        value = fields.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise wrong(name, "a number")
        knobs[name] = value
    knobs.update({name: _count(fields, name) for name in _COUNTS})
    knobs.update({name: _word(fields, name) or None for name in _WORDS})
    knobs["logprobs"] = _flag(fields, "logprobs")
    bias = fields.get("logit_bias")
    knobs["logit_bias"] = None if bias is None else object_at(bias, "logit_bias")
    return {name: value for name, value in knobs.items() if value is not None}


def _read_shape(value: Any, rest: dict[str, Any]) -> tuple[Shape | None, dict[str, Any]]:
    """The shape, and the bag with a kind of shape in it that nobody else knows."""
    if value is None:
        return None, rest
    kind = object_at(value, "response_format").get("type")
    if kind == "text":
        return None, rest
    if kind == "json_object":
        return Shape("json_object"), rest
    if kind != "json_schema":
        return None, {**rest, "response_format": value}
    where = "response_format.json_schema"
    said = object_at(value.get("json_schema"), where)
    schema, strict = said.get("schema"), said.get("strict")
    return (
        Shape(
            "json_schema",
            None if schema is None else object_at(schema, f"{where}.schema"),
            as_text(said.get("name")),
            as_text(said.get("description")),
            strict if isinstance(strict, bool) else None,
        ),
        rest,
    )


def _read_tools(value: Any) -> tuple[Tool | BuiltIn, ...]:
    return tuple(
        _read_tool(object_at(tool, f"tools.{number}"), f"tools.{number}")
        for number, tool in enumerate(list_at(value or [], "tools"))
    )


def _read_functions(value: Any) -> tuple[Tool, ...]:
    return tuple(
        _function(object_at(each, f"functions.{number}"), f"functions.{number}", {NAME: {LEGACY: True}})
        for number, each in enumerate(list_at(value, "functions"))
    )


def _read_tool(tool: dict[str, Any], where: str) -> Tool | BuiltIn:
    kind = tool.get("type", "function")
    if kind == "custom":
        return _custom(object_at(tool.get("custom"), f"{where}.custom"), f"{where}.custom", tool)
    if kind != "function":
        return BuiltIn(NAME, text_at(kind, f"{where}.type"), tool)
    function = object_at(tool.get("function"), f"{where}.function")
    read = _function(function, f"{where}.function", bag(tool, "type", "function", "cache_control"))
    mark = tool.get("cache_control")
    cache = (as_text(mark.get("ttl")) or "5m") if isinstance(mark, dict) else ""
    return msgspec.structs.replace(read, cache=cache) if cache else read


def _function(function: dict[str, Any], where: str, extras: Extras) -> Tool:
    schema, strict = function.get("parameters"), function.get("strict")
    inner = bag(function, "name", "description", "parameters", "strict").get(NAME)
    return Tool(
        text_at(function.get("name"), f"{where}.name"),
        as_text(function.get("description")),
        None if schema is None else object_at(schema, f"{where}.parameters"),
        strict if isinstance(strict, bool) else None,
        extras={NAME: {**extras.get(NAME, {}), "function": inner}} if inner else extras,
    )


def _custom(custom: dict[str, Any], where: str, tool: dict[str, Any]) -> Tool:
    form = as_object(custom.get("format"))
    grammar = None
    if form.get("type") == "grammar":
        # As Responses has it, where its two fields stand beside the type.
        said = object_at(form.get("grammar"), f"{where}.format.grammar")
        grammar = {"type": "grammar", **said}
    return Tool(
        text_at(custom.get("name"), f"{where}.name"),
        as_text(custom.get("description")),
        custom=True,
        grammar=grammar,
        extras=bag(tool, "type", "custom"),
    )


def _read_choice(fields: Mapping[str, Any], *, legacy: bool) -> ToolChoice | None:
    where = "function_call" if legacy else "tool_choice"
    value = fields.get(where)
    if value is None:
        return None
    if isinstance(value, str):
        if value not in ("auto", "none", "required"):
            raise wrong(where, "auto, none, required or an object")
        return ToolChoice(value)  # type: ignore[arg-type]
    choice = object_at(value, where)
    if legacy:
        return ToolChoice("named", text_at(choice.get("name"), f"{where}.name"))
    if choice.get("type") == "allowed_tools":
        return _read_allowed(object_at(choice.get("allowed_tools"), f"{where}.allowed_tools"))
    kind = "custom" if choice.get("type") == "custom" else "function"
    named = object_at(choice.get(kind), f"{where}.{kind}")
    return ToolChoice("named", text_at(named.get("name"), f"{where}.{kind}.name"))


def _read_allowed(allowed: dict[str, Any]) -> ToolChoice:
    where = "tool_choice.allowed_tools.tools"
    tools = list_at(allowed.get("tools"), where)
    names = []
    for number, tool in enumerate(tools):
        kept = object_at(tool, f"{where}.{number}")
        kind = as_object(kept.get("custom") or kept.get("function"))
        names.append(text_at(kind.get("name"), f"{where}.{number}.function.name"))
    return ToolChoice("required" if allowed.get("mode") == "required" else "auto", names=tuple(names))
