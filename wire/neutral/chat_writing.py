"""Chat Completions requests, written from the middle for one target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wire.jsons import as_object, dumps
from wire.neutral.chat_messages import LEGACY
from wire.neutral.chat_models import UNSUPPORTED, Abilities, abilities, effort_fields
from wire.neutral.chat_reasoning import NAME
from wire.neutral.chat_turns import OPENAI, Messages
from wire.neutral.names import fitted, renamed
from wire.neutral.openai_schema import strict, taken
from wire.neutral.parts import ToolCall
from wire.neutral.requests import (
    BuiltIn,
    CannotHold,
    Request,
    Target,
    Tool,
    ToolChoice,
    Written,
    strangers,
    told,
)

MOST_STOPS: Final = 4
_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast"})


def write_request(request: Request, target: Target) -> Written:
    """Raises CannotHold where content has no place."""
    if request.previous_id:
        raise CannotHold("Chat Completions cannot go on from a stored response", param="previous_response_id")
    writer = _Writer(request, target)
    return writer.written()


class _Writer:
    """One request on its way to one target."""

    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._target = target
        self._own = request.origin == NAME
        self._openai = request.origin in OPENAI
        self._quirks = target.quirks
        self._able = abilities(target.model)
        self._dropped: list[str] = []
        self._body: dict[str, Any] = {}
        self._messages = Messages(request, target)

    def written(self) -> Written:
        request, body = self._request, self._body
        body["model"] = self._target.model
        body["messages"] = self._messages.written()
        self._limit()
        self._tools()
        self._thinking()
        self._shape()
        self._stop()
        self._knobs()
        if request.stream:
            body["stream"] = True
            if "no_include_usage" not in self._quirks:
                body["stream_options"] = {"include_usage": True}
        if self._own:
            self._bag()
        else:
            self._dropped += strangers(request, NAME)
        return Written(dumps(body), told(self._dropped), renamed(self._names()))

    def _names(self) -> list[str]:
        calls = [
            part.name for turn in self._request.turns for part in turn.parts if isinstance(part, ToolCall)
        ]
        return [*(tool.name for tool in self._request.tools if isinstance(tool, Tool)), *calls]

    def _bag(self) -> None:
        options = {**self._body.pop("stream_options", {})}
        rest = dict(self._request.extras.get(NAME, {}))
        options = {**as_object(rest.pop("stream_options", None)), **options}
        self._body.update(rest)
        if options:
            self._body["stream_options"] = options

    def _limit(self) -> None:
        """OpenAI's reasoning models take the new name alone (conversion.md, 54)."""
        limit = self._request.max_tokens
        if limit is None:
            return
        if limit > self._target.max_output_tokens and not self._own:
            limit = self._target.max_output_tokens
            self._dropped.append("max_tokens")
        new = self._able.reasoning or "max_completion_tokens" in self._quirks
        old = not new or "max_tokens" in self._quirks
        self._body["max_tokens" if old else "max_completion_tokens"] = limit

    def _tools(self) -> None:
        choice = self._request.tool_choice
        narrow = (
            frozenset(choice.names)
            if choice is not None and "no_allowed_tools" in self._quirks
            else frozenset()
        )
        tools = []
        for tool in self._request.tools:
            if isinstance(tool, BuiltIn):
                if tool.origin == NAME:
                    tools.append(dict(tool.value))
                else:
                    # What is left can still answer: other tools, or plain text (conversion.md, 40).
                    self._dropped.append(f"tools.{tool.kind}")
            elif not narrow or tool.name in narrow:
                tools.append(self._tool(tool))
        if tools:
            self._body["tools"] = tools
            self._choose(choice, narrowed=bool(narrow))
        elif self._request.tools and choice is not None and choice.mode in ("required", "named"):
            self._dropped.append("tool_choice")

    def _choose(self, choice: ToolChoice | None, *, narrowed: bool) -> None:
        parallel = self._request.parallel
        if parallel is not None:
            if self._own or (self._able.parallel and "no_parallel_tool_calls" not in self._quirks):
                self._body["parallel_tool_calls"] = parallel
            elif not parallel:
                self._dropped.append("parallel")
        if choice is None:
            return
        known = {tool.name: tool for tool in self._request.tools if isinstance(tool, Tool)}
        if choice.mode == "named":
            if choice.name not in known:
                self._dropped.append("tool_choice")
            else:
                self._body["tool_choice"] = self._named(known[choice.name])
        elif choice.names and not narrowed:
            allowed = [self._named(known[name]) for name in choice.names if name in known]
            self._body["tool_choice"] = {
                "type": "allowed_tools",
                "allowed_tools": {"mode": choice.mode, "tools": allowed},
            }
        else:
            self._body["tool_choice"] = choice.mode

    def _named(self, tool: Tool) -> dict[str, Any]:
        kind = "custom" if tool.custom and self._own else "function"
        return {"type": kind, kind: {"name": fitted(tool.name)}}

    def _tool(self, tool: Tool) -> dict[str, Any]:
        if not self._own:
            tool, dropped = taken(tool)
            self._dropped += dropped
        description = {"description": tool.description} if tool.description else {}
        mine = dict(tool.extras.get(NAME, {})) if self._own else {}
        mine.pop(LEGACY, None)
        if tool.custom and self._own:
            form = _format(tool.grammar)
            return {"type": "custom", "custom": {"name": fitted(tool.name), **description, **form}, **mine}
        function: dict[str, Any] = {"name": fitted(tool.name), **description}
        if tool.custom:
            function.update(_as_function(tool))
        elif tool.schema is not None:
            function["parameters"] = tool.schema
        if tool.strict is not None:
            function["strict"] = tool.strict
        function.update(mine.pop("function", {}))
        written = {"type": "function", "function": function, **mine}
        if tool.cache and (self._own or "cache_control" in self._quirks):
            ttl = {} if tool.cache == "5m" else {"ttl": tool.cache}
            written["cache_control"] = {"type": "ephemeral", **ttl}
        return written

    def _thinking(self) -> None:
        tools = any(isinstance(tool, Tool) for tool in self._request.tools)
        fields, dropped = effort_fields(self._request.effort, self._target, tools=tools, own=self._own)
        self._body.update(fields)
        self._dropped += dropped

    def _shape(self) -> None:
        shape = self._request.shape
        if shape is None:
            return
        if shape.kind == "json_object" or shape.schema is None:
            self._body["response_format"] = {"type": "json_object"}
            return
        if "no_json_schema" in self._quirks:
            # DeepSeek knows JSON mode alone, and wants the word JSON in the prompt
            # (api-docs.deepseek.com/guides/json_mode).
            self._body["response_format"] = {"type": "json_object"}
            schema = dumps(shape.schema).decode()
            said = f"Answer with a JSON object that fits this JSON Schema, and nothing else:\n{schema}"
            self._body["messages"] = self._messages.with_instruction(self._body["messages"], said)
            return
        schema_fields: dict[str, Any] = {"name": fitted(shape.name or "answer")}
        if shape.description:
            schema_fields["description"] = shape.description
        schema_fields["schema"] = shape.schema
        if shape.strict is not None:
            schema_fields["strict"] = shape.strict
        elif not self._openai and strict(shape.schema):
            schema_fields["strict"] = True  # elsewhere every shape is held to
        self._body["response_format"] = {"type": "json_schema", "json_schema": schema_fields}

    def _stop(self) -> None:
        stop = self._request.stop
        if not stop:
            return
        if self._own:
            self._body["stop"] = list(stop)
        elif self._able.reasoning:
            self._dropped.append("stop")
        else:
            self._body["stop"] = list(stop[:MOST_STOPS])
            if len(stop) > MOST_STOPS:
                self._dropped.append("stop")

    def _knobs(self) -> None:
        for name, value in self._request.knobs.items():
            if self._own:
                self._body[name] = value
            elif self._able.reasoning and name in UNSUPPORTED:
                if value != UNSUPPORTED[name]:
                    self._dropped.append(name)
            else:
                kept = _KNOBS.get(name, _same)(value, self._able, self._quirks)
                if kept is None:
                    self._dropped.append(name)
                elif kept != "":
                    self._body[name] = kept


Quirks = frozenset[str]


def _same(value: Any, _able: Abilities, _quirks: Quirks) -> Any:
    return value


def _user(value: Any, _able: Abilities, _quirks: Quirks) -> Any:
    """OpenAI takes 64 characters, and Claude Code's ids are longer."""
    return fitted(value) if len(value) > 64 else value


def _tier(value: Any, _able: Abilities, _quirks: Quirks) -> Any:
    """Empty for the default, which needs no word."""
    if value in ("auto", "standard"):
        return ""
    if value == "standard_only":
        return "default"
    return value if value in _TIERS else None


_KNOBS: Final[Mapping[str, Callable[[Any, Abilities, Quirks], Any]]] = {
    "top_k": lambda value, _able, quirks: value if "top_k" in quirks else None,
    "verbosity": lambda value, able, _quirks: value if able.verbosity else None,
    "user": _user,
    "service_tier": _tier,
    # No other format's answer has a place for what comes of them.
    "logprobs": lambda value, _able, _quirks: None if value else "",
    "top_logprobs": lambda value, _able, _quirks: None if value else "",
}
"""Knobs that not every target of this format takes: what to send, None to drop it, "" where nothing needs be
said."""


def _format(grammar: Mapping[str, Any] | None) -> dict[str, Any]:
    if grammar is None:
        return {}
    rest = {key: value for key, value in grammar.items() if key != "type"}
    return {"format": {"type": "grammar", "grammar": rest}}


def _as_function(tool: Tool) -> dict[str, Any]:
    """A tool that takes free text, for targets that know functions alone."""
    description = tool.description
    if tool.grammar is not None:
        syntax, definition = tool.grammar.get("syntax", ""), tool.grammar.get("definition", "")
        description += f"\n\nThe input must follow this grammar ({syntax}):\n{definition}"
    schema = {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
        "additionalProperties": False,
    }
    return {**({"description": description.strip()} if description else {}), "parameters": schema}
