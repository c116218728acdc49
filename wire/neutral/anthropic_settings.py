"""What a request to Anthropic holds beside its messages: tools, thinking, shape, sampling, limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wire.jsons import dumps
from wire.neutral.anthropic_blocks import NAME
from wire.neutral.anthropic_schema import closed_schema, input_schema
from wire.neutral.anthropic_turns import LONGEST_NAME, Conversation, marked, own
from wire.neutral.claude import Claude
from wire.neutral.efforts import budget_of, level_of
from wire.neutral.names import fitted
from wire.neutral.requests import BuiltIn, Effort, Request, Shape, Target, Tool

DEFAULT_TOKENS: Final = 32_000
"""`max_tokens`, which this format requires, where the client named none (54): room for a coding agent's
longest answers."""
LEAST_BUDGET: Final = 1024
ROOM: Final = 8192
"""Tokens for the answer beside the thoughts, where the client set no limit for both."""
LONGEST_USER: Final = 256
BINDING: Final = "thinking-binding-controls-2026-08-01"
"""The beta by which a request says what becomes of thoughts that no longer fit what stands before them
(platform.claude.com/docs/en/build-with-claude/preserved-thinking)."""
MOST_STRICT: Final = 20
"""Strict tools in one request."""
_NEUTRAL: Final[Mapping[str, Any]] = {
    "n": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "top_logprobs": 0,
}
"""Settings without a counterpart, by the value that asks for nothing."""
_NO_COUNTERPART: Final = (*_NEUTRAL, "seed", "verbosity")
_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
_LEVELS: Final = {"minimal": "low", "none": "low"}
_CHOICES: Final = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
Out = dict[str, Any]


class Settings(msgspec.Struct, frozen=True):
    """`fields` of the body, a `system` text of our own, what was left out, the tool that stands for an
    answer's shape, and the headers that what is asked for needs."""

    max_tokens: int
    fields: Out
    system: list[Out]
    dropped: list[str]
    shaped_by: str
    headers: Mapping[str, str]


def settings(request: Request, target: Target, model: Claude, talk: Conversation) -> Settings:
    """What goes with the messages to this model."""
    chosen = _Choosing(request, target, model, talk)
    return Settings(
        chosen.max_tokens, chosen.fields, chosen.system, chosen.dropped, chosen.shaped_by, chosen.headers
    )


class _Choosing:
    def __init__(self, request: Request, target: Target, model: Claude, talk: Conversation) -> None:
        self._request, self._target, self._model, self._talk = request, target, model, talk
        self._native = request.origin == NAME
        self.fields: Out = {}
        self.system: list[Out] = []
        self.dropped: list[str] = []
        self.shaped_by = ""
        self.headers: dict[str, str] = {}
        self.max_tokens = self._limit()
        self._config: Out = {}
        tools = self._tools()
        self._shape(tools)
        self._choose(tools)
        self._think()
        self._bind()
        self._sample()
        self._others()
        if self._config:
            self.fields["output_config"] = self._config

    def _limit(self) -> int:
        asked, most = self._request.max_tokens, self._model.most_tokens
        if asked is None:
            limit = min(self._target.max_output_tokens, DEFAULT_TOKENS)
            return min(limit, most) if most else limit
        if most and asked > most and not self._native:
            self.dropped.append("max_tokens")
            return most
        return asked

    def _tools(self) -> list[Out]:
        allowed = self._request.tool_choice.names if self._request.tool_choice is not None else ()
        tools: list[Out] = []
        for tool in self._request.tools:
            if isinstance(tool, BuiltIn):
                if tool.origin == NAME:
                    tools.append(dict(tool.value))
                else:
                    self.dropped.append(f"tools.{tool.kind}")
            elif not allowed or tool.name in allowed:
                tools.append(self._tool(tool, tools))
        if not tools and self._talk.called and not self._native:
            # "Requests which include tool_use or tool_result blocks must define tools"
            tools = [_stub(name) for name in self._talk.called]
            self.fields["tool_choice"] = {"type": "none"}
        return tools

    def _tool(self, tool: Tool, before: list[Out]) -> Out:
        out: Out = {"name": fitted(tool.name, longest=LONGEST_NAME)}
        if tool.description:
            out["description"] = tool.description
        if tool.custom:
            schema, loose = _free_text(tool), False
        elif self._native:
            schema, loose = dict(tool.schema or {"type": "object"}), False
        else:
            schema, loose = input_schema(tool.schema)
        if loose:
            self.dropped.append("tools.parameters")
        out["input_schema"] = schema
        if tool.strict is not None and self._native:
            out["strict"] = tool.strict
        elif tool.strict:
            strict = sum(1 for each in before if each.get("strict"))
            if self._model.shapes and strict < MOST_STRICT and closed_schema(schema) == schema:
                out["strict"] = True
            else:
                self.dropped.append("strict")
        return {**marked(out, tool.cache), **own(tool.extras)}

    def _shape(self, tools: list[Out]) -> None:
        """The answer's shape (57): by the format's own word, where the model knows it and the schema is
        within its limits; else by a tool that has to be called; else the model is told, and the client that
        nothing holds it to it."""
        shape = self._request.shape
        if shape is None:
            return
        schema = dict(shape.schema or {})
        if shape.kind == "json_schema" and (self._native or self._model.shapes):
            closed = schema if self._native else closed_schema(schema)
            if closed is not None:
                self._config["format"] = {"type": "json_schema", "schema": closed}
                return
        if schema.get("type") == "object" and self._model.forces_tools and not self._wants_thought():
            self._shape_tool(shape, schema, tools)
            return
        self.dropped.append("shape")
        told = f" that this JSON Schema describes:\n{dumps(schema).decode()}" if schema else "."
        text = f"Answer with one JSON object and nothing else, neither prose nor a code fence{told}"
        self.system.append({"type": "text", "text": text})

    def _shape_tool(self, shape: Shape, schema: Out, tools: list[Out]) -> None:
        names = {tool.get("name") for tool in tools}
        name = fitted(shape.name or "answer", longest=LONGEST_NAME - 8)
        while name in names:
            name += "_"
        self.shaped_by = name
        text = shape.description or "Gives the answer. Call it once, with the whole answer."
        tools.append({"name": name, "description": text, "input_schema": input_schema(schema)[0]})

    def _choose(self, tools: list[Out]) -> None:
        if not tools:
            return
        self.fields["tools"] = tools
        choice, asked = self.fields.pop("tool_choice", None), self._request.tool_choice
        if choice is None and asked is not None:
            choice = {"type": _CHOICES[asked.mode]}
            if asked.mode == "named":
                choice["name"] = fitted(asked.name, longest=LONGEST_NAME)
        names = [tool.get("name") for tool in tools]  # as the client wrote them: some are no names
        if choice is not None and choice.get("name", names[0]) not in names:
            choice = None  # a built-in tool of another vendor, which is left out and told already
        if self.shaped_by:
            alone = len(tools) == 1 or (choice or {}).get("type") == "none"
            choice = {"type": "tool", "name": self.shaped_by} if alone else {"type": "any"}
        if (
            (choice or {}).get("type") in ("any", "tool")
            and not self._model.forces_tools
            and not self._native
        ):
            choice = {"type": "auto"}
            self.dropped.append("tool_choice")
        if self._request.parallel is False and (choice or {}).get("type") != "none":
            choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        if choice is not None:
            self.fields["tool_choice"] = choice

    @property
    def _forced(self) -> bool:
        return self.fields.get("tool_choice", {}).get("type") in ("any", "tool")

    def _wants_thought(self) -> bool:
        effort = self._request.effort
        if effort is None or effort.enabled is False or not self._model.thinks:
            return False
        if effort.enabled or effort.budget is not None:
            return True
        return not self._native and bool(effort.level or (effort.shown and self._model.adaptive))

    def _think(self) -> None:
        effort, model = self._request.effort or Effort(), self._model
        if self._wants_thought():
            if self._forced and not self._native:
                # To force a tool is refused while thinking is on.
                self.dropped.append("effort")
                self._no_thought(effort)
            elif model.adaptive and not (self._native and model.budgets and (effort.budget or 0) > 0):
                self._thought({"type": "adaptive"}, effort)
                budget = effort.budget or 0
                self._word(effort.level or (level_of(budget) if budget > 0 else ""))
            else:
                self._budget(effort)
        elif effort.enabled is False:
            self._no_thought(effort)
        else:
            if self._request.effort is not None and not model.thinks:
                self.dropped.append("effort")
            if self._forced and model.thinks_unasked and not self._native:
                self._no_thought(effort)
            elif self._native:
                self._word(effort.level)

    def _thought(self, thinking: Out, effort: Effort) -> None:
        if effort.shown is not None and (self._native or self._model.adaptive):
            thinking["display"] = "summarized" if effort.shown else "omitted"
        self.fields["thinking"] = thinking

    def _no_thought(self, effort: Effort) -> None:
        model = self._model
        if model.always_thinks:
            if effort.enabled is False:
                self.dropped.append("effort")
                self._word("low")
        elif model.thinks:
            self.fields["thinking"] = {"type": "between_tools" if model.between_tools else "disabled"}
            if effort.enabled is False:  # the greatest efforts are refused without thinking
                self._word("high" if effort.level in ("xhigh", "max") else effort.level)

    def _word(self, level: str) -> None:
        efforts = self._model.efforts
        level = _LEVELS.get(level, level)
        if self._native and not efforts:
            efforts = (level,)
        if level and efforts:
            near = "high" if level in ("xhigh", "max") else "medium"
            self._config["effort"] = level if level in efforts else near

    def _budget(self, effort: Effort) -> None:
        """Thinking by a budget: at least 1,024 tokens and fewer than `max_tokens` (46)."""
        asked = self._request.max_tokens
        exact = effort.budget is not None and effort.budget > 0
        budget = effort.budget if exact and effort.budget is not None else budget_of(effort.level or "medium")
        if asked is None:
            most = self._model.most_tokens or max(self._target.max_output_tokens, DEFAULT_TOKENS)
            self.max_tokens = min(max(self.max_tokens, budget + ROOM), most)
        if exact:
            most = self.max_tokens - 1
        else:
            room = ROOM if asked is None else self.max_tokens
            most = max(self.max_tokens - room, self.max_tokens // 2, LEAST_BUDGET)
        budget = max(min(budget, most), LEAST_BUDGET)
        self._talk.thoughts_first()
        if budget >= self.max_tokens or self._talk.thoughtless or self._talk.prefilled:
            self.dropped.append("effort")
            self._no_thought(Effort())
            return
        self._thought({"type": "enabled", "budget_tokens": budget}, effort)
        if self._native:
            self._word(effort.level)

    def _bind(self) -> None:
        """What the client or the relay has lost of earlier thoughts must not turn the later ones, which were
        made behind them, into a refusal: Anthropic leaves out those that no longer fit, and answers. Where
        thinking is off it cannot be told to, and none goes back."""
        if self._native or not self._model.binds or not self._talk.thoughtful:
            return
        thinking = self.fields.get("thinking") or {"type": "adaptive"}
        if thinking["type"] != "adaptive":
            self._talk.forget_thoughts()
            return
        self.fields["thinking"] = {**thinking, "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
        self.headers["anthropic-beta"] = BINDING

    def _sample(self) -> None:
        thinking = self.fields.get("thinking", {}).get("type", "")
        thinks = thinking in ("enabled", "adaptive") or (self._model.thinks_unasked and not thinking)
        knobs = self._request.knobs
        heat, part, count = (knobs.get(name) for name in ("temperature", "top_p", "top_k"))
        if heat is not None and heat > 1:
            self.dropped.append("temperature")
            heat = 1
        free = self._model.samples and not thinks
        if heat is not None and (free or (heat == 1 and self._model.samples)):
            self.fields["temperature"] = heat
        elif heat is not None and heat != 1:
            self.dropped.append("temperature")
        both = "temperature" in self.fields and not self._model.samples_both
        if part is not None and self._model.samples and not both and (free or 0.95 <= part <= 1):
            self.fields["top_p"] = part
        elif part is not None and part != 1:
            self.dropped.append("top_p")
        if count is not None:
            if free:
                self.fields["top_k"] = count
            else:
                self.dropped.append("top_k")

    def _others(self) -> None:
        request, knobs = self._request, self._request.knobs
        stops = [stop for stop in request.stop if stop.strip()]
        if len(stops) < len(request.stop):
            self.dropped.append("stop")  # "each stop sequence must contain non-whitespace"
        if stops:
            self.fields["stop_sequences"] = stops
        user = knobs.get("user")
        if isinstance(user, str) and (self._native or len(user) <= LONGEST_USER):
            self.fields["metadata"] = {"user_id": user}
        tier = knobs.get("service_tier")
        if tier in _TIERS or (self._native and tier):
            self.fields["service_tier"] = _TIERS.get(tier, tier)
        elif tier:
            self.dropped.append("service_tier")
        self.dropped += [
            name
            for name in _NO_COUNTERPART
            if knobs.get(name) is not None and (name not in _NEUTRAL or knobs[name] != _NEUTRAL[name])
        ]


def _stub(name: str) -> Out:
    return {"name": name, "input_schema": {"type": "object"}}


def _free_text(tool: Tool) -> Out:
    """A tool of free text as one with a string: its grammar is told to the model."""
    told: Out = {"type": "string"}
    definition = (tool.grammar or {}).get("definition")
    if isinstance(definition, str):
        syntax = (tool.grammar or {}).get("syntax", "")
        told["description"] = f"Free text, within this {syntax} grammar:\n{definition}"
    return {"type": "object", "properties": {"input": told}, "required": ["input"]}
