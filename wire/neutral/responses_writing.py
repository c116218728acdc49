"""Requests of OpenAI Responses, written from the middle for one target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from wire.jsons import dumps
from wire.neutral.chat_models import USUAL, abilities, nearest
from wire.neutral.chat_turns import OPENAI
from wire.neutral.efforts import BUDGETS, level_of
from wire.neutral.names import fitted, renamed
from wire.neutral.openai_schema import strict, taken
from wire.neutral.parts import Text, ToolCall, Turn
from wire.neutral.requests import BuiltIn, Effort, Request, Target, Tool, Written, strangers, told
from wire.neutral.responses_items import PROMPT
from wire.neutral.responses_tools import FOUND, LATER, ORIGIN, own, write_choice, write_tools
from wire.neutral.responses_turns import TurnWriter, attached, paired

SEALED: Final = "reasoning.encrypted_content"
LEAST_TOKENS: Final = 16
"""OpenAI refuses a smaller `max_output_tokens`."""

TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"))
_THEIR_TIERS: Final = {"standard": "default", "standard_only": "default"}
LONGEST_USER: Final = 64
_SHOWN_UNASKED: Final = frozenset(("anthropic",))
"""Formats whose clients are shown the thoughts that they turn on, unless they say otherwise."""
_SHARED: Final = frozenset(
    (
        *("metadata", "store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
        *("safety_identifier", "moderation"),
    )
)
"""Fields that Chat has under the same names, meaning the same."""


def echo(request: Request, model: str) -> dict[str, Any]:
    """What a response object repeats of its request, in OpenAI's order, from `instructions` on."""
    writer, mine = _Writer(request, Target(model)), own(request.extras)
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
    writer = _Writer(request, target)
    body = {"model": target.model, **writer.fields()}
    return Written(dumps(body), told(writer.dropped), writer.names)


class _Writer:
    """Writes one request. `ours`: it came in this format, and is written as it was; what came in another is
    made to fit."""

    def __init__(self, request: Request, target: Target) -> None:
        self.request = request
        self.ours = request.origin == ORIGIN
        self._target = target
        self._able = abilities(target.model)
        if not self._able.levels and "reasoning_effort" in target.quirks:
            self._able = msgspec.structs.replace(self._able, levels=USUAL)
        self._foreign = request.origin not in OPENAI
        self.dropped: list[str] = []
        self.names: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        if not self.ours:
            self.names = renamed(_names(request))
            self._renamed = {name: fit for fit, name in self.names.items()}
        self._top = [tool for tool in request.tools if not _stands_elsewhere(tool)]

    def fields(self) -> dict[str, Any]:
        """Everything but the model."""
        request = self.request
        items, instructions = self._items()
        body: dict[str, Any] = {}
        if instructions is not None:
            body["instructions"] = instructions
        if items and items[-1].get("type") == PROMPT:
            body[PROMPT] = items.pop()[PROMPT]
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
        """Whether sealed reasoning may come: models that do not reason refuse to be asked for it."""
        asked = "reasoning" in body or any(item["type"] == "reasoning" for item in body["input"])
        return self._able.reasoning or asked

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
        elif request.tool_choice is not None and request.tool_choice.mode in ("required", "named"):
            self._drop("tool_choice")
        if request.parallel is None:
            return
        if self.ours or (tools and self._able.parallel):
            body["parallel_tool_calls"] = request.parallel

    def _fitted(self, tool: Tool | BuiltIn) -> Tool | BuiltIn:
        if isinstance(tool, BuiltIn):
            return tool
        if not self.ours:
            tool, dropped = taken(tool)
            self.dropped += dropped
        return msgspec.structs.replace(tool, name=self._name(tool.name))

    def _name(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _thinking(self, body: dict[str, Any]) -> None:
        effort, told = self.request.effort, {}
        if effort is not None:
            told = _as_said(effort) if self.ours else self._effort(effort)
        told |= own(self.request.extras).get("reasoning", {})
        if "generate_summary" in told:
            told.pop("summary", None)
        if told:
            body["reasoning"] = told

    def _effort(self, effort: Effort) -> dict[str, Any]:
        """How this model is told to think, as near as it can be (conversion.md, 46)."""
        levels = self._able.levels
        level = effort.level if effort.level in BUDGETS else "medium" if effort.level else ""
        if effort.enabled is False:
            level = "none"
        elif not level and effort.budget is not None:
            level = level_of(effort.budget)
        if not levels:
            if effort.enabled:
                self._drop("effort")
            return {}
        told = {"effort": nearest(level, levels)} if level else {}
        if level == "none":
            if told["effort"] != level:
                self._drop("effort")
            return told
        return told | self._summary(effort)

    def _summary(self, effort: Effort) -> dict[str, Any]:
        """Thoughts come to those who ask for a summary of them."""
        shown = effort.shown
        if shown is None:
            shown = effort.enabled is True and self.request.origin in _SHOWN_UNASKED
        if shown and "no_reasoning_summary" in self._target.quirks:
            self._drop("effort")
            return {}
        return {"summary": "auto"} if shown else {}

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
                elif self._foreign and strict(shape.schema):
                    told["format"]["strict"] = True  # elsewhere every shape is held to
        verbosity = self.request.knobs.get("verbosity")
        if verbosity is not None and (self.ours or self._able.verbosity):
            told["verbosity"] = verbosity
        elif verbosity is not None:
            self._drop("verbosity")
        told |= own(self.request.extras).get("text", {})
        if told:
            body["text"] = told

    def _knobs(self, body: dict[str, Any]) -> None:
        for knob, value in self.request.knobs.items():
            if knob == "verbosity":
                continue
            if self.ours:
                body[knob] = value
            elif knob in ("temperature", "top_p"):
                # 1 is what it is anyway, and models that reason refuse to be told (56).
                if value != 1 and self._able.reasoning:
                    self._drop(knob)
                elif value != 1:
                    body[knob] = value
            elif knob == "user":
                body[knob] = fitted(value) if len(value) > LONGEST_USER else value
            elif knob == "service_tier" and (tier := _THEIR_TIERS.get(value, value)) in TIERS:
                body[knob] = tier
            else:
                self._drop(knob)

    def _items(self) -> tuple[list[dict[str, Any]], str | None]:
        turns = self.request.turns
        items: list[dict[str, Any]] = []
        alone = len(turns) == 1 and not self.ours  # OpenAI refuses an empty `input`
        instructions = _instructions(turns[0], ours=self.ours) if turns and not alone else None
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


def _as_said(effort: Effort) -> dict[str, Any]:
    level = "none" if effort.enabled is False else effort.level
    return ({"effort": level} if level else {}) | ({"summary": "auto"} if effort.shown else {})


def _names(request: Request) -> Iterator[str]:
    """Every tool that the request speaks of."""
    yield from (tool.name for tool in request.tools if isinstance(tool, Tool))
    for turn in request.turns:
        yield from (part.name for part in turn.parts if isinstance(part, ToolCall))


def _stands_elsewhere(tool: Tool | BuiltIn) -> bool:
    """Whether another place than `tools` says of it."""
    return isinstance(tool, Tool) and bool(own(tool.extras).keys() & {LATER, FOUND})


def _instructions(turn: Turn, *, ours: bool) -> str | None:
    """The text of a first turn that goes into `instructions`."""
    if turn.role != "system" or len(turn.parts) != 1 or not isinstance(turn.parts[0], Text):
        return None
    return turn.parts[0].text if not ours or "instructions" in own(turn.extras) else None
