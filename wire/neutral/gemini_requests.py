"""Gemini's generateContent requests, read into the middle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wire.jsons import loads
from wire.neutral.fields import flag_if, number_if, object_at, text_if, wrong
from wire.neutral.gemini_contents import read_contents, read_system
from wire.neutral.gemini_fields import (
    NAME,
    bag,
    count_at,
    listed,
    named,
    rest_of,
)
from wire.neutral.gemini_schema import from_openapi
from wire.neutral.requests import BuiltIn, Effort, Request, Shape, Tool, ToolChoice
from wire.types import BadFrame, BadRequest, Brief

CONFIG: Final = "generationConfig"
DECLARED: Final = "functionDeclarations"
CALLING: Final = "functionCallingConfig"
PREFIXES: Final = (f"toolConfig.{CALLING}.", "toolConfig.", f"{CONFIG}.")
"""How keys of the bag begin that stand within another field."""
JSON: Final = "application/json"
NUMBERS: Final = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
COUNTS: Final = {"candidateCount": "n", "seed": "seed", "logprobs": "top_logprobs"}
FLAGS: Final = {"responseLogprobs": "logprobs"}
SCHEMAS: Final = ("responseJsonSchema", "responseSchema")
_SHAPE: Final = ("responseMimeType", "_responseJsonSchema", *SCHEMAS)
_KNOWN: Final = ("contents", "systemInstruction", "tools", "toolConfig", CONFIG, "serviceTier", "model")
_SPELLED: Final = {
    "turns": "contents",
    "max_tokens": f"{CONFIG}.maxOutputTokens",
    "stop": f"{CONFIG}.stopSequences",
    "effort": f"{CONFIG}.thinkingConfig",
    "shape": f"{CONFIG}.responseSchema",
    "tool_choice": f"toolConfig.{CALLING}",
    "service_tier": "serviceTier",
    **{knob: f"{CONFIG}.{key}" for key, knob in {**NUMBERS, **COUNTS, **FLAGS}.items()},
}
_MODES: Final = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none"}


def spelled(knob: str) -> str:
    """A field of the middle as this format calls it."""
    return _SPELLED.get(knob, knob)


def path(brief: Brief) -> str:
    """Where a client of this format would have called, and how it would have asked for events."""
    action = "streamGenerateContent?alt=sse" if brief.stream else "generateContent"
    return f"/v1beta/models/{brief.model}:{action}"


def read_request(body: bytes, brief: Brief) -> Request:
    """Raises BadRequest naming the field."""
    try:
        return _read(named(object_at(loads(body), "body"), "body"), brief)
    except BadFrame as error:
        raise BadRequest("The body is not valid JSON") from error
    except RecursionError:
        raise BadRequest("The body is nested too deep") from None


def _read(fields: dict[str, Any], brief: Brief) -> Request:
    config = named(fields.get(CONFIG), CONFIG)
    tool_config = named(fields.get("toolConfig"), "toolConfig")
    choice, calling = _read_choice(tool_config.get(CALLING))
    knobs = _read_knobs(config)
    if tier := text_if(fields.get("serviceTier"), "serviceTier"):
        knobs["service_tier"] = tier
    shape, shaped = _read_shape(config)
    effort, thinking = _read_effort(config.get("thinkingConfig"))
    known = {"maxOutputTokens", "stopSequences", "thinkingConfig", *_SHAPE, *NUMBERS, *COUNTS, *FLAGS}
    rest = rest_of(fields, _KNOWN)
    rest |= {f"{CONFIG}.{key}": value for key, value in rest_of(config, known).items()}
    rest |= {f"{CONFIG}.{key}": value for key, value in {**shaped, **thinking}.items()}
    rest |= {f"toolConfig.{key}": value for key, value in rest_of(tool_config, (CALLING,)).items()}
    rest |= {f"toolConfig.{CALLING}.{key}": value for key, value in calling.items()}
    return Request(
        origin=NAME,
        model=brief.model,
        turns=(*read_system(fields.get("systemInstruction")), *read_contents(fields.get("contents"))),
        stream=brief.stream,
        tools=_read_tools(fields.get("tools")),
        tool_choice=choice,
        max_tokens=count_at(config.get("maxOutputTokens"), f"{CONFIG}.maxOutputTokens"),
        stop=_read_stop(config.get("stopSequences")),
        effort=effort,
        shape=shape,
        knobs=knobs,
        extras=bag(rest),
    )


def _read_knobs(config: Mapping[str, Any]) -> dict[str, Any]:
    knobs: dict[str, Any] = {}
    for key, knob in NUMBERS.items():
        knobs[knob] = number_if(config.get(key), f"{CONFIG}.{key}")
    for key, knob in COUNTS.items():
        knobs[knob] = count_at(config.get(key), f"{CONFIG}.{key}")
    for key, knob in FLAGS.items():
        knobs[knob] = flag_if(config.get(key), f"{CONFIG}.{key}")
    return {knob: value for knob, value in knobs.items() if value is not None}


def _read_stop(value: Any) -> tuple[str, ...]:
    where = f"{CONFIG}.stopSequences"
    if isinstance(value, str):
        return (value,)
    return tuple(text_if(each, f"{where}.{number}") for number, each in enumerate(listed(value, where)))


def _read_shape(config: Mapping[str, Any]) -> tuple[Shape | None, dict[str, Any]]:
    """The answer's shape, and what no other format knows of it."""
    where = f"{CONFIG}.responseMimeType"
    mime = text_if(config.get("responseMimeType"), where)
    told = {key: config[key] for key in _SHAPE if key in config}
    if mime != JSON:
        return None, {} if mime in ("", "text/plain") and told.keys() <= {"responseMimeType"} else told
    json_schema = config.get("responseJsonSchema", config.get("_responseJsonSchema"))
    if json_schema is not None:
        return Shape("json_schema", object_at(json_schema, f"{CONFIG}.responseJsonSchema")), {}
    if "responseSchema" in config:
        schema = object_at(config["responseSchema"], f"{CONFIG}.responseSchema")
        return Shape("json_schema", from_openapi(schema)), {}
    return Shape("json_object"), {}


def _read_effort(value: Any) -> tuple[Effort | None, dict[str, Any]]:
    where = f"{CONFIG}.thinkingConfig"
    config = named(value, where)
    if not config:
        return None, {}
    level = text_if(config.get("thinkingLevel"), f"{where}.thinkingLevel").lower()
    level = "" if level == "thinking_level_unspecified" else level
    budget = count_at(config.get("thinkingBudget"), f"{where}.thinkingBudget")
    shown = flag_if(config.get("includeThoughts"), f"{where}.includeThoughts")
    enabled = None if budget is None and not level else budget != 0
    rest = rest_of(config, ("thinkingLevel", "thinkingBudget", "includeThoughts"))
    return Effort(enabled, level, budget, shown), {"thinkingConfig": rest} if rest else {}


def _read_tools(value: Any) -> tuple[Tool | BuiltIn, ...]:
    tools: list[Tool | BuiltIn] = []
    for number, each in enumerate(listed(value, "tools")):
        where = f"tools.{number}"
        for kind, told in named(object_at(each, where), where).items():
            if kind == DECLARED:
                for place, one in enumerate(listed(told, f"{where}.{kind}")):
                    tools.append(_read_tool(one, f"{where}.{kind}.{place}"))
            else:
                tools.append(BuiltIn(NAME, kind, {kind: told}))
    return tuple(tools)


def _read_tool(value: Any, where: str) -> Tool:
    fields = named(object_at(value, where), where)
    name = text_if(fields.get("name"), f"{where}.name")
    if not name:
        raise wrong(f"{where}.name", "is missing")
    schema: dict[str, Any] | None = None
    rest = rest_of(fields, ("name", "description", "parametersJsonSchema"))
    if "parametersJsonSchema" in fields:
        schema = object_at(fields["parametersJsonSchema"], f"{where}.parametersJsonSchema")
    elif "parameters" in fields:
        schema = from_openapi(object_at(fields["parameters"], f"{where}.parameters"))
    description = text_if(fields.get("description"), f"{where}.description")
    return Tool(name, description, schema, extras=bag(rest))


def _read_choice(value: Any) -> tuple[ToolChoice | None, dict[str, Any]]:
    """The choice, and what no other format knows of it."""
    where = f"toolConfig.{CALLING}"
    fields = named(value, where)
    if not fields:
        return None, {}
    word = text_if(fields.get("mode"), f"{where}.mode").upper()
    names = tuple(
        text_if(each, f"{where}.allowedFunctionNames.{number}")
        for number, each in enumerate(
            listed(fields.get("allowedFunctionNames"), f"{where}.allowedFunctionNames")
        )
    )
    rest = rest_of(fields, ("mode", "allowedFunctionNames"))
    if word == "VALIDATED":
        rest["mode"] = word
    mode = _MODES.get(word, "auto")
    if mode == "required" and len(names) == 1:
        return ToolChoice("named", names[0]), rest
    return ToolChoice(mode, names=names), rest  # type: ignore[arg-type]
