"""Tools of OpenAI Responses, both ways: functions, free-text tools, namespaces of either, and the tools that
OpenAI names but the client runs itself.

The middle knows a tool of a namespace by both names in one (`joined`), as other vendors have no namespaces.
Codex puts the tools of its MCP servers into them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wire.jsons import as_object, as_text, dumps, loads
from wire.neutral.fields import list_at, object_at, text_at
from wire.neutral.parts import NONE, Extras
from wire.neutral.requests import BuiltIn, Tool, ToolChoice
from wire.types import BadFrame

ORIGIN: Final = "openai_responses"

NAMESPACE: Final = "@namespace"
"""In a tool's bag: the namespace that it stands in, without its tools."""
LATER: Final = "@later"
"""In a tool's bag: the input item that brought it (`additional_tools`), and before which turn it stands."""
FOUND: Final = "@found"
"""In a tool's bag: a search brought it; the search's result says it again."""

_PLAIN = "functions"
"""The namespace that OpenAI's models know functions by which have none."""
_KNOWN = frozenset(("type", "name", "description", "parameters", "strict", "format"))
_SHELL: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "command": {"type": "array", "items": {"type": "string"}, "description": "Program and arguments."},
        "working_directory": {"type": "string", "description": "Where to run it."},
        "timeout_ms": {"type": "integer", "description": "After how many milliseconds to give up."},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["command"],
}
LOCAL: Final[Mapping[str, str]] = {"local_shell_call": "local_shell", "tool_search_call": "tool_search"}
"""Items by which the model calls tools that OpenAI defines and the client runs, and their tools' names."""
_BEGIN: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_LONGEST_BEGIN: Final = 64
_HIGH: Final = "[dD][89abAB][0-9a-fA-F]{2}"
_LOW: Final = "[dD][c-fC-F][0-9a-fA-F]{2}"
_ODD: Final = re.compile(r'(\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})|\\')
"""An escape, or a backslash that begins none."""
_WHOLE: Final = re.compile(
    rf'(?:[^"\\]|\\[^u]|\\u(?:{_HIGH}(?:\\u{_LOW}|(?=[^\\]|\\[^u]|\\u(?!{_LOW})[0-9a-fA-F]{{4}}))'
    rf"|(?!{_HIGH})[0-9a-fA-F]{{4}}|(?=[0-9a-fA-F]{{0,3}}[^0-9a-fA-F])))*+",
    re.DOTALL,
)
"""The beginning of a JSON string's content in which no escape, and no pair of them, is cut."""


def own(extras: Extras) -> Mapping[str, Any]:
    """What stands in a bag for this format."""
    return extras.get(ORIGIN, {})


def bag(values: Mapping[str, Any]) -> Extras:
    """A bag of this format's own."""
    return {ORIGIN: values} if values else NONE


def rest(value: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """What nobody reads of an object; null is as good as absent."""
    return {key: each for key, each in value.items() if key not in known and each is not None}


def joined(namespace: str, name: str) -> str:
    """A tool's name for those who know no namespaces."""
    if namespace in ("", _PLAIN):
        return name
    return f"{namespace}{name}" if namespace.endswith("_") else f"{namespace}__{name}"


def bare_name(namespace: str, name: str) -> str:
    """The name within the namespace: the reverse of `joined`."""
    return name.removeprefix(joined(namespace, ""))


def read_tools(value: Any, where: str = "tools") -> list[Tool | BuiltIn]:
    """The tools of a request. Raises BadRequest."""
    if value is None:
        return []
    tools: list[Tool | BuiltIn] = []
    for number, each in enumerate(list_at(value, where)):
        place = f"{where}.{number}"
        tool = object_at(each, place)
        kind = text_at(tool.get("type"), f"{place}.type")
        if kind == "namespace" and tool.get("tools"):
            tools += _read_namespace(tool, place)
        else:
            tools.append(_read_tool(tool, kind, place))
    return tools


def _read_tool(tool: Mapping[str, Any], kind: str, where: str) -> Tool | BuiltIn:
    if kind == "function":
        return _read_function(tool, where, {})
    if kind == "custom":
        return _read_custom(tool, where, {})
    if kind == "local_shell":
        return Tool(kind, "Runs a command and returns its output.", _SHELL, extras=bag({"type": kind}))
    if kind == "tool_search" and tool.get("execution") == "client":
        schema = tool.get("parameters")
        return Tool(
            kind,
            as_text(tool.get("description")),
            object_at(schema, f"{where}.parameters") if schema is not None else None,
            extras=bag({"type": kind, **rest(tool, _KNOWN)}),
        )
    return BuiltIn(ORIGIN, kind, tool)


def _read_namespace(namespace: Mapping[str, Any], where: str) -> list[Tool | BuiltIn]:
    name = text_at(namespace.get("name"), f"{where}.name")
    about = {key: value for key, value in namespace.items() if key != "tools"}
    tools: list[Tool | BuiltIn] = []
    for number, each in enumerate(list_at(namespace["tools"], f"{where}.tools")):
        place = f"{where}.tools.{number}"
        tool = object_at(each, place)
        read = _read_custom if tool.get("type") == "custom" else _read_function
        tools.append(read(tool, place, {NAMESPACE: about}, name))
    return tools


def _read_function(tool: Mapping[str, Any], where: str, about: dict[str, Any], namespace: str = "") -> Tool:
    schema, strict = tool.get("parameters"), tool.get("strict")
    return Tool(
        joined(namespace, text_at(tool.get("name"), f"{where}.name")),
        as_text(tool.get("description")),
        object_at(schema, f"{where}.parameters") if schema is not None else None,
        strict=strict if isinstance(strict, bool) else None,
        extras=bag({**rest(tool, _KNOWN), **about}),
    )


def _read_custom(tool: Mapping[str, Any], where: str, about: dict[str, Any], namespace: str = "") -> Tool:
    grammar = as_object(tool.get("format"))
    return Tool(
        joined(namespace, text_at(tool.get("name"), f"{where}.name")),
        as_text(tool.get("description")),
        custom=True,
        grammar=grammar if grammar.get("type") == "grammar" else None,
        extras=bag({**rest(tool, _KNOWN), **about}),
    )


def write_tools(tools: Iterable[Tool | BuiltIn], *, ours: bool) -> list[dict[str, Any]]:
    """The tools of a request; `ours`: it came in this format, and goes out as it was. Built-in tools of
    other formats are left out."""
    told: list[dict[str, Any]] = []
    last: Any = None
    for tool in tools:
        if isinstance(tool, BuiltIn):
            if tool.origin == ORIGIN:
                told.append(dict(tool.value))
            last = None
            continue
        about = own(tool.extras).get(NAMESPACE)
        if about is None:
            told.append(write_tool(tool, ours=ours))
        elif about == last:
            told[-1]["tools"].append(write_tool(tool, ours=ours))
        else:
            told.append({**about, "tools": [write_tool(tool, ours=ours)]})
        last = about
    return told


def write_tool(tool: Tool, *, ours: bool) -> dict[str, Any]:
    """One tool. Where nothing is said of it, Responses takes a function as strict, which its schema must be
    made for: those of other formats are told not to be."""
    mine = own(tool.extras)
    if "type" in mine:
        return _write_local(tool, mine)
    told: dict[str, Any] = {"type": "custom" if tool.custom else "function"}
    told["name"] = bare_name(mine.get(NAMESPACE, {}).get("name", ""), tool.name)
    if tool.description:
        told["description"] = tool.description
    if tool.grammar is not None:
        told["format"] = tool.grammar
    if not tool.custom:
        if tool.strict is not None or not ours:
            told["strict"] = bool(tool.strict)
        empty = None if ours else {"type": "object", "properties": {}}
        told["parameters"] = tool.schema if tool.schema is not None else empty
    return told | {key: value for key, value in mine.items() if not key.startswith("@")}


def _write_local(tool: Tool, mine: Mapping[str, Any]) -> dict[str, Any]:
    if mine["type"] == "local_shell":
        return {"type": "local_shell"}
    told = {key: value for key, value in mine.items() if not key.startswith("@")}
    if tool.description:
        told["description"] = tool.description
    if tool.schema is not None:
        told["parameters"] = tool.schema
    return told


def read_choice(value: Any) -> ToolChoice | None:
    """What may or must be called; None where another format could not say it."""
    if isinstance(value, str):
        return ToolChoice(value) if value in ("auto", "none", "required") else None  # type: ignore[arg-type]
    choice = as_object(value)
    if choice.get("type") == "allowed_tools" and choice.get("mode") in ("auto", "required"):
        names = [_chosen(each) for each in as_list(choice.get("tools"))]
        if names and all(names) and not choice.keys() - {"type", "mode", "tools"}:
            return ToolChoice(choice["mode"], names=tuple(names))
        return None
    name = _chosen(choice)
    return ToolChoice("named", name) if name else None


def _chosen(value: Any) -> str:
    choice = as_object(value)
    if choice.get("type") not in ("function", "custom") or choice.keys() - {"type", "name", "namespace"}:
        return ""
    name, namespace = as_text(choice.get("name")), as_text(choice.get("namespace"))
    return joined(namespace, name) if name else ""


def write_choice(choice: ToolChoice, tools: Iterable[Tool | BuiltIn]) -> str | dict[str, Any]:
    """What may or must be called."""
    known = {tool.name: tool for tool in tools if isinstance(tool, Tool)}
    if choice.mode == "named":
        return _choice_of(choice.name, known.get(choice.name))
    if choice.names:
        allowed = [_choice_of(name, known.get(name)) for name in choice.names]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": allowed}
    return choice.mode


def _choice_of(name: str, tool: Tool | None) -> dict[str, Any]:
    namespace = as_text(own(tool.extras).get(NAMESPACE, {}).get("name")) if tool is not None else ""
    kind = "custom" if tool is not None and tool.custom else "function"
    told = {"type": kind, "name": bare_name(namespace, name)}
    return told | {"namespace": namespace} if namespace else told


def as_list(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def local_arguments(item: Mapping[str, Any]) -> str:
    """The arguments of a call of a tool that the client runs, as those of a function."""
    if item["type"] == "local_shell_call":
        return dumps(rest(as_object(item.get("action")), ("type",))).decode()
    return dumps(item.get("arguments") or {}).decode()


def local_call(kind: str, arguments: str) -> dict[str, Any] | None:
    """What the call of such a tool says besides its ids; None where the arguments are none for it."""
    told = parsed(arguments)
    if kind == "tool_search":
        return {"type": "tool_search_call", "execution": "client", "arguments": told}
    command = told.get("command")
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        return None
    return {"type": "local_shell_call", "action": {"type": "exec", "env": {}, **told}}


def free_text(arguments: str) -> str:
    """The text for a free-text tool out of a function's arguments, as it goes to other formats: `input`.
    Arguments that are not of that form are the text (conversion.md, 28)."""
    text = parsed(arguments).get("input")
    return text if isinstance(text, str) else arguments


class FreeText:
    """Reads that text out of the arguments while they come."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = self._over = False
        self._arguments: list[str] = []
        self._told: list[str] = []

    def feed(self, piece: str) -> str:
        """What more of the text these arguments tell."""
        self._arguments.append(piece)
        if self._over:
            return ""
        self._held += piece
        if not self._inside:
            begun = _BEGIN.match(self._held)
            if begun is None:
                self._over = len(self._held) > _LONGEST_BEGIN
                return ""
            self._inside, self._held = True, self._held[begun.end() :]
        left = _WHOLE.sub("", self._held, count=1)
        raw, self._held = self._held[: len(self._held) - len(left)], left
        self._over = left.startswith('"')
        # Models forget to escape line ends and backslashes.
        raw = _ODD.sub(lambda found: found[1] or r"\\", raw)
        text = str(json.loads(f'"{raw}"', strict=False))
        self._told.append(text)
        return text

    def finish(self) -> tuple[str, str]:
        """The whole text, and what of it was not told yet."""
        if self._inside:
            return "".join(self._told), ""
        text = free_text("".join(self._arguments))
        return text, text


def parsed(arguments: str) -> dict[str, Any]:
    """A call's arguments; empty where they are no object."""
    try:
        return as_object(loads(arguments.encode("utf-8", "surrogatepass")))
    except BadFrame:
        return {}


def found_tools(tools: Iterable[Tool | BuiltIn]) -> str:
    """What a search for tools brought, for a model of another vendor to read."""
    told = [{"name": tool.name, "description": tool.description} for tool in tools if isinstance(tool, Tool)]
    return dumps({"tools": told}).decode()
