"""What a request asks for, read from each of the four formats into one value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson


class BadRequestError(ValueError):
    """The body is not what the vendor takes; `param` names the field, `code` is OpenAI's word for why."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """`words` counts the words of every text in the request: the input tokens unless the model name gives
    them. `forced`: tool choice demands a call (`forced_name`: of that tool). `rounds`: how many times tools
    were called and answered after the last user text. `think`: the request itself asks for visible
    thinking; `hushed`: what does not ask for it gets none."""

    model: str
    body: dict[str, Any]
    stream: bool = False
    include_usage: bool = False
    prompt: str = ""
    words: int = 0
    tools: tuple[Tool, ...] = ()
    forced: bool = False
    forced_name: str = ""
    rounds: int = 0
    json: bool = False
    schema: dict[str, Any] | None = None
    think: bool = False
    hushed: bool = False
    count: int = 1
    max_tokens: int | None = None

    @property
    def answered(self) -> bool:
        """Whether a tool's result came after the last user text."""
        return self.rounds > 0


def load(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises BadRequestError."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"We could not parse the JSON body of your request: {error}") from None
    if not isinstance(value, dict):
        raise BadRequestError("The body must be a JSON object.")
    return value


def needed(body: dict[str, Any], name: str, kind: type | tuple[type, ...]) -> Any:
    """A field that must be there. Raises BadRequestError naming it."""
    if name not in body:
        raise BadRequestError(f"Missing required parameter: '{name}'.", name)
    if not isinstance(body[name], kind):
        raise BadRequestError(f"Invalid type for '{name}'.", name)
    return body[name]


def texts(value: object) -> Iterator[str]:
    """Every text of a message's content, parts and tool results included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for name in ("text", "content", "output", "parts", "input_text"):
            if name in value:
                yield from texts(value[name])


def words(*values: object) -> int:
    """How many words all texts in these values have."""
    return sum(len(text.split()) for value in values for text in texts(value))


MOST_CHOICES = 16


def _count(value: object, name: str) -> int:
    """How many choices are asked for. Raises BadRequestError."""
    count = _number(value) or 1
    if count > MOST_CHOICES:
        raise BadRequestError(f"'{name}' must not be above {MOST_CHOICES}.", name)
    return count


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _history(turns: Sequence[tuple[str, object, bool]]) -> tuple[str, int]:
    """The last user text, and how many rounds of tool results came after it. A turn is (role, content, is
    tool result); results in a row are of one round."""
    prompt, rounds, before = "", 0, False
    for role, content, is_result in turns:
        text = " ".join(texts(content))
        if is_result:
            rounds += not before
        elif role == "user" and text:
            prompt, rounds = text, 0
        before = is_result
    return prompt, rounds


def chat(body: dict[str, Any]) -> Ask:
    messages = needed(body, "messages", list)
    turns = [(m.get("role", ""), m.get("content"), m.get("role") == "tool") for m in _dicts(messages)]
    prompt, rounds = _history(turns)
    choice = body.get("tool_choice")
    shape = _dict(body.get("response_format"))
    return Ask(
        model=needed(body, "model", str),
        body=body,
        stream=body.get("stream") is True,
        include_usage=_dict(body.get("stream_options")).get("include_usage") is True,
        prompt=prompt,
        words=words(*(content for _, content, _ in turns)),
        tools=_functions(
            [_dict(tool.get("function")) for tool in _dicts(body.get("tools"))], "parameters", choice
        ),
        forced=choice == "required" or isinstance(choice, dict),
        forced_name=_dict(_dict(choice).get("function")).get("name", ""),
        rounds=rounds,
        json=shape.get("type") in ("json_object", "json_schema"),
        schema=_dict(shape.get("json_schema")).get("schema"),
        count=_count(body.get("n"), "n"),
        max_tokens=_number(body.get("max_completion_tokens")) or _number(body.get("max_tokens")),
    )


def responses(body: dict[str, Any]) -> Ask:
    items = needed(body, "input", (str, list))
    items = [{"role": "user", "content": items}] if isinstance(items, str) else _dicts(items)
    turns = [
        (
            item.get("role", ""),
            item.get("output") or item.get("content"),
            str(item.get("type", "")).endswith("_call_output"),
        )
        for item in items
    ]
    prompt, rounds = _history(turns)
    choice = body.get("tool_choice")
    shape = _dict(_dict(body.get("text")).get("format"))
    tools = [tool for tool in _dicts(body.get("tools")) if tool.get("type") == "function"]
    return Ask(
        model=needed(body, "model", str),
        body=body,
        stream=body.get("stream") is True,
        prompt=prompt,
        words=words(body.get("instructions"), *(content for _, content, _ in turns)),
        tools=_functions(tools, "parameters", choice),
        forced=choice == "required" or isinstance(choice, dict),
        forced_name=_dict(choice).get("name", ""),
        rounds=rounds,
        json=shape.get("type") in ("json_object", "json_schema"),
        schema=shape.get("schema"),
        think=bool(_dict(body.get("reasoning")).get("summary")),
        max_tokens=_number(body.get("max_output_tokens")),
    )


def anthropic(body: dict[str, Any], *, counting: bool = False) -> Ask:
    messages = _dicts(needed(body, "messages", list))
    if not counting:
        needed(body, "max_tokens", int)
    turns = []
    for message in messages:
        content = message.get("content")
        is_result = any(part.get("type") == "tool_result" for part in _dicts(content))
        turns.append((message.get("role", ""), content, is_result))
    prompt, rounds = _history(turns)
    choice = _dict(body.get("tool_choice"))
    tools = [tool for tool in _dicts(body.get("tools")) if "input_schema" in tool]
    think = _dict(body.get("thinking")).get("type") in ("enabled", "adaptive")
    shape = _dict(body.get("output_format")) or _dict(_dict(body.get("output_config")).get("format"))
    return Ask(
        model=needed(body, "model", str),
        body=body,
        stream=body.get("stream") is True,
        prompt=prompt,
        words=words(body.get("system"), *(content for _, content, _ in turns)),
        tools=_functions(tools, "input_schema", choice.get("type")),
        forced=choice.get("type") in ("any", "tool"),
        forced_name=choice.get("name", ""),
        rounds=rounds,
        json=shape.get("type") == "json_schema",
        schema=shape.get("schema"),
        think=think,
        hushed=not think,
        max_tokens=_number(body.get("max_tokens")),
    )


_CAPITAL = re.compile("[A-Z]")


def either(body: dict[str, Any], name: str) -> Any:
    """A field under its name or the same in snake case: Gemini takes both, and its client mixes them."""
    return body.get(name, body.get(_CAPITAL.sub(lambda found: "_" + found[0].lower(), name)))


def gemini(model: str, body: dict[str, Any], *, stream: bool) -> Ask:
    turns = []
    for content in _dicts(needed(body, "contents", list)):
        parts = _dicts(content.get("parts"))
        is_result = any(either(part, "functionResponse") is not None for part in parts)
        turns.append((content.get("role", "user"), parts, is_result))
    prompt, rounds = _history(turns)
    config = _dict(either(body, "generationConfig"))
    calling = _dict(either(_dict(either(body, "toolConfig")), "functionCallingConfig"))
    mode = str(calling.get("mode", ""))
    names = either(calling, "allowedFunctionNames") or [""]
    functions = [
        {**function, "parameters": function.get("parameters") or either(function, "parametersJsonSchema")}
        for tool in _dicts(body.get("tools"))
        for function in _dicts(either(tool, "functionDeclarations"))
    ]
    return Ask(
        model=model,
        body=body,
        stream=stream,
        prompt=prompt,
        words=words(_dict(either(body, "systemInstruction")), *(parts for _, parts, _ in turns)),
        tools=_functions(functions, "parameters", mode.lower()),
        forced=mode == "ANY",
        forced_name=names[0],
        rounds=rounds,
        json=either(config, "responseMimeType") == "application/json",
        schema=either(config, "responseJsonSchema") or either(config, "responseSchema"),
        think=either(_dict(either(config, "thinkingConfig")), "includeThoughts") is True,
        count=_count(either(config, "candidateCount"), "candidateCount"),
        max_tokens=_number(either(config, "maxOutputTokens")),
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _functions(functions: list[dict[str, Any]], schema: str, choice: object) -> tuple[Tool, ...]:
    if choice == "none":
        return ()
    return tuple(
        Tool(str(each.get("name", "")), _dict(each.get(schema))) for each in functions if each.get("name")
    )
