"""Anthropic Messages: requests to the middle, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from wire.jsons import dumps
from wire.neutral.anthropic_blocks import (
    NAME,
    cache_of,
    object_at,
    objects_at,
    read_content,
    rest_of,
    text_at,
    wrong,
)
from wire.neutral.anthropic_settings import settings
from wire.neutral.anthropic_turns import LONGEST_NAME, Conversation, marked, own
from wire.neutral.claude import claude
from wire.neutral.names import renamed
from wire.neutral.parts import NONE, Turn
from wire.neutral.requests import (
    BuiltIn,
    CannotHold,
    Effort,
    Request,
    Shape,
    Target,
    Tool,
    ToolChoice,
    Written,
    strangers,
    told,
)
from wire.types import COUNT_TOKENS, BadRequest, Brief

VERSION: Final = {"anthropic-version": "2023-06-01"}
_KNOWN: Final = frozenset(
    (
        "model",
        "messages",
        "system",
        "stream",
        "tools",
        "tool_choice",
        "max_tokens",
        "stop_sequences",
        "thinking",
        "output_config",
        "output_format",
        "temperature",
        "top_p",
        "top_k",
        "service_tier",
        "metadata",
        "cache_control",
    )
)
_MERGED: Final = ("metadata", "thinking", "output_config")
"""Fields of which the middle knows a part, and the bag the rest."""
_TIERS: Final = {"auto": "auto", "standard_only": "default"}
_SPELLED: Final = {
    "stop": "stop_sequences",
    "shape": "output_config.format",
    "effort": "thinking",
    "parallel": "tool_choice.disable_parallel_tool_use",
    "user": "metadata.user_id",
    "previous_id": "previous_response_id",
    "cache": "cache_control",
    "turns": "messages",
}


def spelled(knob: str) -> str:
    """A field of the middle as people know it from this format."""
    return _SPELLED.get(knob, knob)


def path(brief: Brief) -> str:
    """Where a client of this format would have called."""
    return "/v1/messages/count_tokens" if brief.kind == COUNT_TOKENS else "/v1/messages"


def read_request(body: bytes, brief: Brief) -> Request:
    """The request in the middle's words. Raises BadRequest naming the field."""
    try:
        return _read(_parsed(body), brief)
    except RecursionError:
        raise BadRequest("the body is nested too deep") from None


def _read(fields: dict[str, Any], brief: Brief) -> Request:
    bag: dict[str, Any] = dict(rest_of(fields, _KNOWN).get(NAME, {}))
    knobs = _knobs(fields, bag)
    choice, parallel = _tool_choice(fields.get("tool_choice"))
    cache, more = cache_of(fields, "body")
    effort, shape = _effort(fields, bag), _shape(fields)
    return Request(
        origin=NAME,
        model=brief.model,
        turns=(*_system(fields.get("system")), *_turns(fields.get("messages"))),
        stream=brief.stream,
        tools=tuple(
            _tool(tool, f"tools.{number}")
            for number, tool in enumerate(objects_at(fields.get("tools"), "tools"))
        ),
        tool_choice=choice,
        parallel=parallel,
        max_tokens=_whole_number(fields, "max_tokens"),
        stop=_strings(fields.get("stop_sequences"), "stop_sequences"),
        effort=effort,
        shape=shape,
        knobs=knobs,
        cache=cache,
        extras={NAME: {**bag, **more}} if bag or more else NONE,
    )


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            fields = json.loads(body)  # lone surrogates
        except (ValueError, RecursionError):
            raise BadRequest("the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise BadRequest("the body must be a JSON object")
    return fields


def _system(value: Any) -> tuple[Turn, ...]:
    parts = read_content(value, "system", "system") if value is not None else ()
    return (Turn("system", parts),) if parts else ()


def _turns(value: Any) -> list[Turn]:
    turns = []
    for number, message in enumerate(objects_at(value, "messages")):
        where = f"messages.{number}"
        role = message.get("role")
        if role == "developer":
            role = "system"
        if role not in ("user", "assistant", "system"):
            raise wrong(f"{where}.role", "must be user, assistant or system")
        parts = read_content(message.get("content"), f"{where}.content", role)
        turns.append(Turn(role, parts, extras=rest_of(message, ("role", "content"))))
    return turns


def _tool(tool: Mapping[str, Any], where: str) -> Tool | BuiltIn:
    kind = tool.get("type") or "custom"
    if kind != "custom":
        return BuiltIn(NAME, text_at(kind, f"{where}.type"), tool)
    cache, more = cache_of(tool, where)
    name = text_at(tool.get("name"), f"{where}.name")
    if not name:
        raise wrong(f"{where}.name", "is missing")
    strict = tool.get("strict")
    if strict not in (None, True, False):
        raise wrong(f"{where}.strict", "must be true or false")
    known = ("type", "name", "description", "input_schema", "strict", "cache_control")
    bag = {**rest_of(tool, known).get(NAME, {}), **more}
    return Tool(
        name,
        text_at(tool.get("description"), f"{where}.description"),
        object_at(tool.get("input_schema"), f"{where}.input_schema") or None,
        strict,
        cache=cache,
        extras={NAME: bag} if bag else NONE,
    )


def _tool_choice(value: Any) -> tuple[ToolChoice | None, bool | None]:
    """What is to be called, and whether several calls at once may be."""
    choice = object_at(value, "tool_choice")
    if not choice:
        return None, None
    parallel = None if choice.get("disable_parallel_tool_use") is not True else False
    match choice.get("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "tool":
            name = text_at(choice.get("name"), "tool_choice.name")
            return ToolChoice("named", name), parallel
    raise wrong("tool_choice.type", "must be auto, any, tool or none")


def _effort(fields: Mapping[str, Any], bag: dict[str, Any]) -> Effort | None:
    """How much to think. What else `thinking` and `output_config` say goes into the bag."""
    thinking, config = object_at(fields.get("thinking"), "thinking"), _config(fields)
    level = text_at(config.get("effort"), "output_config.effort")
    rest = rest_of(config, ("effort", "format"))
    if rest:
        bag["output_config"] = rest[NAME]
    rest = rest_of(thinking, ("type", "budget_tokens", "display"))
    if rest:
        bag["thinking"] = rest[NAME]
    shown = {"summarized": True, "omitted": False}.get(text_at(thinking.get("display"), "thinking.display"))
    match thinking.get("type"):
        case None if not thinking:
            return Effort(level=level) if level else None
        case "enabled":
            return Effort(True, level, _whole_number(thinking, "budget_tokens", "thinking."), shown)
        case "adaptive":
            return Effort(True, level, -1, shown)
        case "disabled" | "between_tools":
            return Effort(False, level, None, shown)
    raise wrong("thinking.type", "must be enabled, adaptive, between_tools or disabled")


def _config(fields: Mapping[str, Any]) -> dict[str, Any]:
    return object_at(fields.get("output_config"), "output_config")


def _shape(fields: Mapping[str, Any]) -> Shape | None:
    """`output_config.format`, or what it was called before."""
    for where, value in (
        ("output_config.format", _config(fields).get("format")),
        ("output_format", fields.get("output_format")),
    ):
        told_format = object_at(value, where)
        if told_format:
            if told_format.get("type") != "json_schema":
                raise wrong(f"{where}.type", "must be json_schema")
            return Shape("json_schema", object_at(told_format.get("schema"), f"{where}.schema"))
    return None


def _knobs(fields: Mapping[str, Any], bag: dict[str, Any]) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    for name in ("temperature", "top_p", "top_k"):
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong(name, "must be a number")
        knobs[name] = value
    tier = text_at(fields.get("service_tier"), "service_tier")
    if tier:
        knobs["service_tier"] = _TIERS.get(tier, tier)
    metadata = object_at(fields.get("metadata"), "metadata")
    user = text_at(metadata.get("user_id"), "metadata.user_id")
    if user:
        knobs["user"] = user
    rest = rest_of(metadata, ("user_id",))
    if rest:
        bag["metadata"] = rest[NAME]
    return knobs


def _whole_number(fields: Mapping[str, Any], name: str, within: str = "") -> int | None:
    value = fields.get(name)
    if value is not None and type(value) is not int:
        raise wrong(f"{within}{name}", "must be a whole number")
    return value


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong(where, "must be a list of strings")
    return tuple(text_at(item, f"{where}.{number}") for number, item in enumerate(value))


def write_request(request: Request, target: Target) -> Written:
    """The request in this format. Raises CannotHold."""
    if request.previous_id:
        raise CannotHold(
            "the history that 'previous_response_id' names is not at hand here", param="previous_response_id"
        )
    model = claude(target.model)
    talk = Conversation(request, model)
    chosen = settings(request, target, model, talk)
    bag = own(request.extras)
    body: dict[str, Any] = {"model": target.model, "max_tokens": chosen.max_tokens}
    system = [*talk.system, *chosen.system]
    if system:
        body["system"] = system
    body["messages"] = talk.messages
    body.update(chosen.fields)
    if request.stream:
        body["stream"] = True
    marked(body, request.cache)
    body.update((key, value) for key, value in bag.items() if key not in _MERGED)
    for key in _MERGED:
        if bag.get(key):
            body[key] = {**body.get(key, {}), **bag[key]}
    return Written(
        dumps(body),
        told([*talk.dropped, *chosen.dropped, *strangers(request, NAME)]),
        names=renamed((tool.name for tool in request.tools if isinstance(tool, Tool)), longest=LONGEST_NAME),
        shaped_by=chosen.shaped_by,
        headers={**VERSION, **chosen.headers},
    )
