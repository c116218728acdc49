"""Requests of OpenAI Responses, both ways (platform.openai.com/docs/api-reference/responses/create)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wire.jsons import as_text, dumps, loads
from wire.neutral.efforts import BUDGETS, level_of
from wire.neutral.names import fitted, renamed
from wire.neutral.parts import Text, Turn
from wire.neutral.requests import (
    BuiltIn,
    Effort,
    Request,
    Shape,
    Target,
    Tool,
    Written,
    strangers,
    told,
)
from wire.neutral.responses_items import read_input
from wire.neutral.responses_tools import (
    FOUND,
    LATER,
    ORIGIN,
    bag,
    own,
    read_choice,
    read_tools,
    refuse,
    rest,
    write_choice,
    write_tools,
)
from wire.neutral.responses_turns import TurnWriter, attached, paired
from wire.types import BadFrame, BadRequest, Brief

SEALED: Final = "reasoning.encrypted_content"
LEAST_TOKENS: Final = 16
"""OpenAI refuses a smaller `max_output_tokens`."""

_NUMBERS: Final = {"temperature": (int, float), "top_p": (int, float), "top_logprobs": (int,)}
_WORDS: Final = ("user", "service_tier")
_READ: Final = frozenset(
    (
        *("model", "stream", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls"),
        *("max_output_tokens", "reasoning", "text", "previous_response_id", *_NUMBERS, *_WORDS),
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
_KNOBS: Final = frozenset(("temperature", "top_p", "user", "service_tier", "verbosity"))
"""Those that Responses has too, whoever asks."""
TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"))
_SHARED: Final = frozenset(
    (
        *("metadata", "store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("safety_identifier", "moderation"),
    )
)
"""Fields that Chat has under the same names, meaning the same."""


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
    turns, later = read_input(fields.get("input"), fields.get("instructions"))
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
        parallel=_a_flag(fields, "parallel_tool_calls"),
        max_tokens=_a_number(fields, "max_output_tokens", (int,)),
        effort=effort,
        shape=shape,
        knobs=_read_knobs(fields, verbosity),
        previous_id=as_text(fields.get("previous_response_id")),
        extras=bag(extras),
    )


def _a_flag(fields: Mapping[str, Any], key: str) -> bool | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, bool):
        raise refuse(key, "must be true or false")
    return value


def _a_number(fields: Mapping[str, Any], key: str, types: tuple[type, ...]) -> Any:
    value = fields.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
        raise refuse(key, "must be a number")
    return value


def _read_knobs(fields: Mapping[str, Any], verbosity: str) -> dict[str, Any]:
    knobs = {key: _a_number(fields, key, types) for key, types in _NUMBERS.items()}
    for key in _WORDS:
        if fields.get(key) is not None and not isinstance(fields[key], str):
            raise refuse(key, "must be a string")
        knobs[key] = fields.get(key)
    knobs["verbosity"] = verbosity or None
    return {key: value for key, value in knobs.items() if value is not None}


def _read_effort(value: Any, extras: dict[str, Any]) -> Effort | None:
    """What `reasoning` asks. Words that the middle has no place for stay in the bag."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise refuse("reasoning", "must be an object")
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
    if not isinstance(value, dict):
        raise refuse("text", "must be an object")
    shape, left = None, rest(value, ("format", "verbosity"))
    asked = value.get("format", {})
    if asked is not None and not isinstance(asked, dict):
        raise refuse("text.format", "must be an object")
    asked = asked or {}
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


def echo(request: Request, model: str) -> dict[str, Any]:
    """What a response object repeats of its request, in OpenAI's order, from `instructions` on."""
    writer, mine = _Writer(request), own(request.extras)
    asked: dict[str, Any] = {}
    writer.settings(asked)
    knobs = request.knobs
    instructions = _instructions(request.turns[0], ours=writer.ours) if request.turns else None
    return {
        "instructions": instructions,
        "max_output_tokens": request.max_tokens,
        "max_tool_calls": mine.get("max_tool_calls"),
        "model": model,
        "output": [],
        "parallel_tool_calls": request.parallel is not False,
        "previous_response_id": request.previous_id or None,
        "prompt_cache_key": mine.get("prompt_cache_key"),
        "reasoning": {"effort": None, "summary": None, **asked.get("reasoning", {})},
        "safety_identifier": mine.get("safety_identifier"),
        "service_tier": knobs.get("service_tier", "auto"),
        "store": False,
        "temperature": knobs.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, **asked.get("text", {})},
        "tool_choice": asked.get("tool_choice") or mine.get("tool_choice") or "auto",
        "tools": asked.get("tools", []),
        "top_logprobs": knobs.get("top_logprobs", 0),
        "top_p": knobs.get("top_p", 1.0),
        "truncation": mine.get("truncation", "disabled"),
        "usage": None,
        "user": knobs.get("user"),
        "metadata": mine.get("metadata", {}),
    }


def write_request(request: Request, target: Target) -> Written:
    """Raises CannotHold."""
    writer = _Writer(request)
    body = {"model": target.model, **writer.fields()}
    return Written(dumps(body), told(writer.dropped), writer.names)


class _Writer:
    """Writes one request. `ours`: it came in this format, and is written as it was; what came in another is
    made to fit."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.ours = request.origin == ORIGIN
        self.dropped: list[str] = []
        self.names: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        if not self.ours:
            self.names = renamed(tool.name for tool in request.tools if isinstance(tool, Tool))
            self._renamed = {name: fit for fit, name in self.names.items()}
        self._top = [tool for tool in request.tools if not _stands_elsewhere(tool)]

    def fields(self) -> dict[str, Any]:
        """Everything but the model."""
        request = self.request
        items, instructions = self._items()
        body: dict[str, Any] = {}
        if instructions is not None:
            body["instructions"] = instructions
        body["input"] = items
        if request.previous_id:
            body["previous_response_id"] = request.previous_id
        self.settings(body)
        if request.max_tokens is not None:
            body["max_output_tokens"] = self._limit(request.max_tokens)
        self._knobs(body)
        if request.stop:
            self._drop("stop")
        if any(turn.name for turn in request.turns):
            self._drop("name")
        if request.stream:
            body["stream"] = True
        if self.ours:
            return body | {
                key: value for key, value in own(request.extras).items() if key not in ("reasoning", "text")
            }
        self._of_others(body)
        return body

    def settings(self, body: dict[str, Any]) -> None:
        """Tools, thinking and the text's shape."""
        self._tools(body)
        self._thinking(body)
        self._text(body)

    def _drop(self, knob: str) -> None:
        self.dropped.append(knob)

    def _limit(self, tokens: int) -> int:
        if not self.ours and tokens < LEAST_TOKENS:
            self._drop("max_tokens")
            return LEAST_TOKENS
        return tokens

    def _of_others(self, body: dict[str, Any]) -> None:
        """What came in another format: nothing is stored unless asked, and reasoning comes sealed."""
        theirs = self.request.extras.get(self.request.origin, {})
        shared = _SHARED if self.request.origin == "openai_chat" else frozenset()
        body["store"] = False
        body |= {key: value for key, value in theirs.items() if key in shared}
        if self._thinks(body):
            body["include"] = [SEALED]
        self.dropped += [key for key in strangers(self.request, ORIGIN) if key not in shared]

    def _thinks(self, body: Mapping[str, Any]) -> bool:
        # Models that do not reason refuse to be asked for sealed reasoning.
        return "reasoning" in body or any(item.get("type") == "reasoning" for item in body["input"])

    def _tools(self, body: dict[str, Any]) -> None:
        request = self.request
        tools = write_tools(map(self._fitted, self._top), ours=self.ours)
        if tools:
            body["tools"] = tools
        for tool in request.tools:
            if isinstance(tool, BuiltIn) and tool.origin != ORIGIN:
                self._drop(f"tools.{tool.kind}")
        if request.tool_choice is not None and (tools or self.ours):
            choice = request.tool_choice
            choice = msgspec.structs.replace(
                choice, name=self._name(choice.name), names=tuple(map(self._name, choice.names))
            )
            body["tool_choice"] = write_choice(choice, map(self._fitted, request.tools))
        if request.parallel is not None and (tools or self.ours):
            body["parallel_tool_calls"] = request.parallel

    def _fitted(self, tool: Tool | BuiltIn) -> Tool | BuiltIn:
        if isinstance(tool, BuiltIn) or tool.name not in self._renamed:
            return tool
        return msgspec.structs.replace(tool, name=self._renamed[tool.name])

    def _name(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _thinking(self, body: dict[str, Any]) -> None:
        effort, told = self.request.effort, {}
        if effort is not None:
            if effort.enabled is False:
                # Not every model knows the word; without one each does what its vendor finds fit.
                if self.ours:
                    told["effort"] = "none"
                else:
                    self._drop("effort")
            elif effort.level:
                told["effort"] = effort.level if self.ours or effort.level in BUDGETS else "medium"
            elif effort.budget is not None:
                told["effort"] = level_of(effort.budget)
            if effort.shown and (self.ours or effort.enabled is not False):
                told["summary"] = "auto"
        told |= own(self.request.extras).get("reasoning", {})
        if "generate_summary" in told:
            told.pop("summary", None)
        if told:
            body["reasoning"] = told

    def _text(self, body: dict[str, Any]) -> None:
        told: dict[str, Any] = {}
        shape = self.request.shape
        if shape is not None:
            told["format"] = {"type": shape.kind}
            if shape.kind == "json_schema":
                told["format"] |= {"name": fitted(shape.name or "answer"), "schema": shape.schema}
                if self.ours:
                    told["format"]["name"] = shape.name
                if shape.description:
                    told["format"]["description"] = shape.description
                if shape.strict is not None:
                    told["format"]["strict"] = shape.strict
        if "verbosity" in self.request.knobs:
            told["verbosity"] = self.request.knobs["verbosity"]
        told |= own(self.request.extras).get("text", {})
        if told:
            body["text"] = told

    def _knobs(self, body: dict[str, Any]) -> None:
        for knob, value in self.request.knobs.items():
            if knob == "verbosity":
                continue
            if self.ours:
                body[knob] = value
            elif knob not in _KNOBS or (knob == "service_tier" and value not in TIERS):
                self._drop(knob)
            elif knob in ("temperature", "top_p"):
                if value == 1:
                    continue  # what it is anyway; models that reason refuse to be told
                if "reasoning" in body:
                    self._drop(knob)
                else:
                    body[knob] = value
            else:
                body[knob] = value

    def _items(self) -> tuple[list[dict[str, Any]], str | None]:
        turns = self.request.turns
        items: list[dict[str, Any]] = []
        instructions = _instructions(turns[0], ours=self.ours) if turns else None
        writer = TurnWriter(ours=self.ours, names=self._renamed)
        for number, turn in enumerate(turns):
            items += self._later(number)
            if number or instructions is None:
                items += writer.items(turn, number)
        items += self._later(len(turns))
        return (items if self.ours else paired(attached(items))), instructions

    def _later(self, number: int) -> Iterator[dict[str, Any]]:
        """The items that bring tools in before this turn."""
        tools = [
            (own(tool.extras)[LATER], tool)
            for tool in self.request.tools
            if isinstance(tool, Tool) and own(tool.extras).get(LATER, {}).get("turn") == number
        ]
        abouts: list[Any] = []
        for about, _ in tools:
            if about not in abouts:
                abouts.append(about)
        for about in abouts:
            these = [tool for where, tool in tools if where == about]
            yield {**about["item"], "tools": write_tools(these, ours=True)}


def _stands_elsewhere(tool: Tool | BuiltIn) -> bool:
    """Whether another place than `tools` says of it."""
    return isinstance(tool, Tool) and bool(own(tool.extras).keys() & {LATER, FOUND})


def _instructions(turn: Turn, *, ours: bool) -> str | None:
    """The text of a first turn that goes into `instructions`."""
    if turn.role != "system" or len(turn.parts) != 1 or not isinstance(turn.parts[0], Text):
        return None
    return turn.parts[0].text if not ours or "instructions" in own(turn.extras) else None
