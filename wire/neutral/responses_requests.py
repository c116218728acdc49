"""Requests of OpenAI Responses, read (platform.openai.com/docs/api-reference/responses/create)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wire.jsons import as_text, loads
from wire.neutral.fields import flag_if, object_at, text_at, wrong
from wire.neutral.requests import (
    Effort,
    Request,
    Shape,
)
from wire.neutral.responses_items import read_input
from wire.neutral.responses_tools import (
    ORIGIN,
    bag,
    read_choice,
    read_tools,
    rest,
)
from wire.types import BadFrame, BadRequest, Brief

_NUMBERS: Final = {"temperature": (int, float), "top_p": (int, float), "top_logprobs": (int,)}
_WORDS: Final = ("user", "service_tier")
_READ: Final = frozenset(
    (
        *("model", "stream", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("max_output_tokens", "reasoning", "text", "previous_response_id", "prompt", *_NUMBERS, *_WORDS),
    )
)
_DEFAULTS: Final[Mapping[str, Any]] = {"truncation": "disabled", "background": False}
"""Fields that say nothing where they say this."""
_SPELLED: Final = {
    "max_tokens": "max_output_tokens",
    "parallel": "parallel_tool_calls",
    "effort": "reasoning",
    "shape": "text.format",
    "verbosity": "text.verbosity",
    "previous_id": "previous_response_id",
}


def spelled(knob: str) -> str:
    """A field of the middle as this format calls it."""
    return _SPELLED.get(knob, knob)


def read_request(body: bytes, brief: Brief) -> Request:
    """Raises BadRequest naming the field."""
    try:
        fields = loads(body)
    except BadFrame:
        raise BadRequest("the body is not valid JSON") from None
    if not isinstance(fields, dict):
        raise BadRequest("the body must be a JSON object")
    extras = {
        key: value
        for key, value in fields.items()
        if key not in _READ and value is not None and _DEFAULTS.get(key) != value
    }
    turns, later = read_input(fields.get("input"), fields.get("instructions"), fields.get("prompt"))
    choice = fields.get("tool_choice")
    tool_choice = read_choice(choice)
    if choice is not None and tool_choice is None:
        extras["tool_choice"] = choice
    effort = _read_effort(fields.get("reasoning"), extras)
    shape, verbosity = _read_text(fields.get("text"), extras)
    return Request(
        ORIGIN,
        brief.model,
        turns,
        stream=brief.stream,
        tools=(*read_tools(fields.get("tools")), *later),
        tool_choice=tool_choice,
        parallel=flag_if(fields.get("parallel_tool_calls"), "parallel_tool_calls"),
        max_tokens=_a_number(fields, "max_output_tokens", (int,)),
        effort=effort,
        shape=shape,
        knobs=_read_knobs(fields, verbosity),
        previous_id=as_text(fields.get("previous_response_id")),
        extras=bag(extras),
    )


def _a_number(fields: Mapping[str, Any], key: str, types: tuple[type, ...]) -> Any:
    value = fields.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
        raise wrong(key, "must be a number")
    return value


def _read_knobs(fields: Mapping[str, Any], verbosity: str) -> dict[str, Any]:
    knobs = {key: _a_number(fields, key, types) for key, types in _NUMBERS.items()}
    for key in _WORDS:
        if fields.get(key) is not None:
            knobs[key] = text_at(fields[key], key)
    knobs["verbosity"] = verbosity or None
    return {key: value for key, value in knobs.items() if value is not None}


def _read_effort(value: Any, extras: dict[str, Any]) -> Effort | None:
    """What `reasoning` asks. Words that the middle has no place for stay in the bag."""
    if value is None:
        return None
    value = object_at(value, "reasoning")
    level, summary = as_text(value.get("effort")), value.get("summary") or value.get("generate_summary")
    left = rest(value, ("effort", "summary"))
    if summary and value.get("summary") not in (None, "auto"):
        left["summary"] = value["summary"]
    if left:
        extras["reasoning"] = left
    if not level and not summary:
        return None
    return Effort(
        enabled=level != "none" if level else None,
        level="" if level == "none" else level,
        shown=True if summary else None,
    )


def _read_text(value: Any, extras: dict[str, Any]) -> tuple[Shape | None, str]:
    """What `text` asks: the answer's shape and its verbosity."""
    if value is None:
        return None, ""
    value = object_at(value, "text")
    shape, left = None, rest(value, ("format", "verbosity"))
    asked = {} if value.get("format") is None else object_at(value["format"], "text.format")
    kind = asked.get("type")
    if kind == "json_object":
        shape = Shape("json_object")
    elif kind == "json_schema" and isinstance(asked.get("schema"), dict):
        strict = asked.get("strict")
        shape = Shape(
            "json_schema",
            asked["schema"],
            as_text(asked.get("name")),
            as_text(asked.get("description")),
            strict if isinstance(strict, bool) else None,
        )
    elif asked and kind != "text":
        left["format"] = asked
    if left:
        extras["text"] = left
    return shape, as_text(value.get("verbosity"))
