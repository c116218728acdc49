"""JSON Schemas as OpenAI's functions take them, of clients whose own vendors ask for less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wire.neutral.anthropic_schema import input_schema
from wire.neutral.requests import Tool

_NAMED: Final = frozenset(("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"))
_LISTED: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_WITHIN: Final = frozenset(("items", "additionalProperties", "not", "if", "then", "else", "contains"))
_AT_THE_TOP: Final = frozenset(("enum", "const", "not"))
_STRICT: Final = frozenset(
    {
        *("type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"),
        *("$ref", "$defs", "definitions", "title", "description", "pattern", "format", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
    }
)
"""What strict schemas may hold (developers.openai.com/api/docs/guides/structured-outputs)."""
Schema = dict[str, Any]


def taken(tool: Tool) -> tuple[Tool, tuple[str, ...]]:
    """A function of another format's client as OpenAI takes it, and the names of what was left out."""
    if tool.custom or tool.schema is None:
        return tool, ()
    schema, loose = parameters(tool.schema)
    lax = bool(tool.strict) and not strict(schema)
    told = (*(("tools.parameters",) if loose else ()), *(("strict",) if lax else ()))
    return msgspec.structs.replace(tool, schema=schema, strict=None if lax else tool.strict), told


def parameters(schema: Mapping[str, Any]) -> tuple[Schema, bool]:
    """A function's parameters, and whether something had to be left out. OpenAI refuses a request for one
    tool that names no `properties` ("object schema missing properties"), has a list without `items` ("array
    schema missing items"), or alternatives at its top; Anthropic and tools' servers let most of that
    through."""
    plain = {key: value for key, value in schema.items() if key not in _AT_THE_TOP}
    found, loose = input_schema(plain)
    out: Schema = _listed(found)
    out.setdefault("properties", {})
    return out, loose or len(plain) < len(schema)


def _listed(schema: Any) -> Any:
    """The schema with `items` wherever it is of a list."""
    if not isinstance(schema, Mapping):
        return schema
    out = {key: _inner(key, value) for key, value in schema.items()}
    kind = out.get("type")
    if kind == "array" or (isinstance(kind, list) and "array" in kind):
        out.setdefault("items", {})
    return out


def _inner(key: str, value: Any) -> Any:
    if key in _NAMED and isinstance(value, Mapping):
        return {name: _listed(each) for name, each in value.items()}
    if key in _LISTED and isinstance(value, list):
        return [_listed(each) for each in value]
    return _listed(value) if key in _WITHIN else value


def strict(schema: Mapping[str, Any] | None) -> bool:
    """Whether OpenAI takes a schema as strict: all properties required, no others, none of the words that it
    does not know there. It refuses what is called strict and is not."""
    return schema is not None and schema.get("type") == "object" and "anyOf" not in schema and _fits(schema)


def _fits(schema: Any) -> bool:
    if not isinstance(schema, Mapping) or not schema.keys() <= _STRICT:
        return False
    properties = schema.get("properties")
    if properties is not None or schema.get("type") == "object":
        known = properties if isinstance(properties, Mapping) else {}
        asked = schema.get("required")
        if schema.get("additionalProperties") is not False:
            return False
        if set(asked if isinstance(asked, list) else ()) != set(known):
            return False
    inner = [schema["items"]] if "items" in schema else []
    inner += schema["anyOf"] if isinstance(schema.get("anyOf"), list) else []
    for key in ("properties", "$defs", "definitions"):
        inner += schema[key].values() if isinstance(schema.get(key), Mapping) else []
    return all(map(_fits, inner))
