"""Gemini's generateContent requests, written from the middle for one target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wire.jsons import dumps
from wire.neutral.gemini_fields import NAME, own
from wire.neutral.gemini_models import model_of, thinking_config
from wire.neutral.gemini_requests import CALLING, CONFIG, COUNTS, DECLARED, FLAGS, JSON, NUMBERS, PREFIXES
from wire.neutral.gemini_schema import for_json_schema, to_openapi
from wire.neutral.gemini_turns import FIRST, Conversation
from wire.neutral.names import fitted, renamed
from wire.neutral.parts import ToolCall
from wire.neutral.requests import (
    BuiltIn,
    CannotHold,
    Request,
    Shape,
    Target,
    Tool,
    ToolChoice,
    Written,
    strangers,
    told,
)

MOST_STOPS: Final = 5
MOST_CHOICES: Final = 8
_MODES: Final = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_TIERS: Final = frozenset(("standard", "flex", "priority"))
_WRITTEN: Final = {knob: key for key, knob in {**NUMBERS, **COUNTS, **FLAGS}.items()}
Out = dict[str, Any]


def write_request(request: Request, target: Target) -> Written:
    """Raises CannotHold where content has no place, BadRequest where there is nothing to answer."""
    if request.previous_id:
        raise CannotHold("Gemini cannot go on from a stored response", param="previous_response_id")
    return _Writer(request, target).written()


class _Writer:
    """One request on its way to one target."""

    def __init__(self, request: Request, target: Target) -> None:
        self._request = request
        self._target = target
        self._own = request.origin == NAME
        self._model = model_of(target.model)
        self._dropped: list[str] = []
        self._body: Out = {}
        self._config: Out = {}

    def written(self) -> Written:
        request, body = self._request, self._body
        talk = Conversation(request, self._model)
        self._dropped += talk.dropped
        if talk.system is not None:
            body["systemInstruction"] = talk.system
        body["contents"] = talk.contents
        self._tools()
        self._limit()
        self._stop()
        self._knobs()
        self._thinking()
        if request.shape is not None:
            self._shape(request.shape)
        if self._own:
            self._bag()
        else:
            self._dropped += strangers(request, NAME)
        if self._config:
            body[CONFIG] = self._config
        return Written(dumps(body), told(self._dropped), self._renamed())

    def _renamed(self) -> dict[str, str]:
        if self._own:
            return {}
        calls = [
            part.name for turn in self._request.turns for part in turn.parts if isinstance(part, ToolCall)
        ]
        tools = [tool.name for tool in self._request.tools if isinstance(tool, Tool)]
        return renamed([*tools, *calls], first=FIRST)

    def _name(self, name: str) -> str:
        return name if self._own else fitted(name, first=FIRST)

    def _tools(self) -> None:
        choice = self._request.tool_choice
        allowed = frozenset(choice.names) if choice is not None and choice.mode == "auto" else frozenset()
        declared: list[Out] = []
        tools: list[Out] = []
        for tool in self._request.tools:
            if isinstance(tool, BuiltIn):
                if tool.origin == NAME:
                    tools.append(dict(tool.value))
                else:
                    # What is left can still answer: other tools, or plain text (conversion.md, 40).
                    self._dropped.append(f"tools.{tool.kind}")
            elif self._own or not allowed or tool.name in allowed:
                # `allowedFunctionNames` stands with ANY alone: of tools that only may be called, others are
                # not told at all.
                declared.append(self._tool(tool))
        if declared:
            tools.insert(0, {DECLARED: declared})
        if tools:
            self._body["tools"] = tools
        if self._request.parallel is False:
            self._dropped.append("parallel")
        if choice is not None:
            self._choose(choice)

    def _choose(self, choice: ToolChoice) -> None:
        known = {tool.name for tool in self._request.tools if isinstance(tool, Tool)}
        names = (choice.name,) if choice.mode == "named" else choice.names
        if not self._own:
            forced = choice.mode in ("required", "named")
            if (forced and not known) or (choice.mode == "named" and choice.name not in known):
                self._dropped.append("tool_choice")
                return
            if not known:
                return
            names = tuple(name for name in names if name in known) if forced else ()
        calling: Out = {"mode": _MODES[choice.mode]}
        if names:
            calling["allowedFunctionNames"] = [self._name(name) for name in names]
        self._body["toolConfig"] = {CALLING: calling}

    def _tool(self, tool: Tool) -> Out:
        description, schema = tool.description, tool.schema
        if tool.custom:
            description, schema = _as_function(tool)
        declared: Out = {"name": self._name(tool.name)}
        if description:
            declared["description"] = description
        more = own(tool.extras) if self._own else {}
        if schema is not None and "parameters" not in more:
            if self._own:
                declared["parametersJsonSchema"] = schema
            elif self._model.json_schema:
                declared["parametersJsonSchema"] = for_json_schema(_of_object(schema))
            else:
                parameters = to_openapi(_of_object(schema))
                if "properties" in parameters:  # an object without any is refused
                    declared["parameters"] = parameters
        if tool.strict:
            self._dropped.append("strict")
        return {**declared, **more}

    def _limit(self) -> None:
        limit = self._request.max_tokens
        if limit is None:
            return
        if limit > self._target.max_output_tokens and not self._own:
            limit = self._target.max_output_tokens
            self._dropped.append("max_tokens")
        self._config["maxOutputTokens"] = limit

    def _stop(self) -> None:
        stop = self._request.stop
        if not self._own and len(stop) > MOST_STOPS:
            stop = stop[:MOST_STOPS]
            self._dropped.append("stop")
        if stop:
            self._config["stopSequences"] = list(stop)

    def _knobs(self) -> None:
        for name, value in self._request.knobs.items():
            if name == "service_tier":
                self._tier(value)
            elif name not in _WRITTEN:
                self._dropped.append(name)
            elif self._own or self._fits(name, value):
                self._config[_WRITTEN[name]] = value
            elif value:
                self._dropped.append(name)

    def _fits(self, name: str, value: Any) -> bool:
        check = _CHECKS.get(name)
        if name in ("presence_penalty", "frequency_penalty"):
            return bool(value) and self._model.penalties
        return check is None or check(value)

    def _tier(self, value: Any) -> None:
        if self._own or value in _TIERS:
            self._body["serviceTier"] = value
        elif value not in ("auto", "default", "standard_only"):
            self._dropped.append("service_tier")

    def _thinking(self) -> None:
        effort = self._request.effort
        if effort is None:
            return
        limit = self._config.get("maxOutputTokens")
        config, honoured = thinking_config(effort, self._model, limit, exact=self._own)
        if config:
            self._config["thinkingConfig"] = config
        if not honoured:
            self._dropped.append("effort")

    def _shape(self, shape: Shape) -> None:
        tools = any(DECLARED in tool for tool in self._body.get("tools", ()))
        if tools and not (self._own or self._model.shapes_with_tools):
            self._instruct(shape)
            return
        self._config["responseMimeType"] = JSON
        if shape.schema is None:
            return
        if self._own:
            self._config["responseJsonSchema"] = shape.schema
        elif self._model.json_schema:
            self._config["responseJsonSchema"] = for_json_schema(shape.schema)
        else:
            self._config["responseSchema"] = to_openapi(shape.schema)

    def _instruct(self, shape: Shape) -> None:
        """Asks for the shape in words: beside functions these models refuse any other way ("Function calling
        with a response mime type: 'application/json' is unsupported")."""
        said = "Answer with a JSON object and nothing else."
        if shape.schema is not None:
            schema = dumps(shape.schema).decode()
            said = f"Answer with JSON that fits this JSON Schema, and nothing else:\n{schema}"
        self._body.setdefault("systemInstruction", {"parts": []})["parts"].append({"text": said})
        self._dropped.append("shape")

    def _bag(self) -> None:
        """What the client's own format alone knows; a key with dots stands within."""
        for key, value in self._request.extras.get(NAME, {}).items():
            prefix = next((each for each in PREFIXES if key.startswith(each)), "")
            within = self._config if prefix == PREFIXES[-1] else self._body
            for step in prefix.split(".")[:-1] if within is self._body else ():
                within = within.setdefault(step, {})
            last = key.removeprefix(prefix)
            if isinstance(within.get(last), dict) and isinstance(value, dict):
                within[last].update(value)
            else:
                within[last] = value


_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "n": lambda value: type(value) is int and 1 <= value <= MOST_CHOICES,
    "seed": lambda value: type(value) is int and -(2**31) <= value < 2**31,
    # Their probabilities come in a shape of Google's own, which no other format has a place for.
    "logprobs": lambda value: False,
    "top_logprobs": lambda value: False,
}
"""Which values of knobs go to a model of Google's."""


def _of_object(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema of a call's arguments, which are an object."""
    return schema if "$ref" in schema else {**schema, "type": "object"}


def _as_function(tool: Tool) -> tuple[str, Mapping[str, Any]]:
    """A tool that takes free text, for a format that knows functions alone."""
    description = tool.description
    if tool.grammar is not None:
        syntax, definition = tool.grammar.get("syntax", ""), tool.grammar.get("definition", "")
        description += f"\n\nThe input must follow this grammar ({syntax}):\n{definition}"
    schema = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
    return description.strip(), schema
