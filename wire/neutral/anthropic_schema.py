"""JSON Schemas as Anthropic takes them: of a tool's input, and of an answer's shape.

platform.claude.com/docs: agents-and-tools/tool-use/define-tools, build-with-claude/structured-outputs ("JSON
Schema limitations").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wire.jsons import dumps

DEEPEST: Final = 64
_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_KEPT: Final = frozenset(("type", "enum", "const", "title", "description", "default", "required", "$ref"))
_WITHIN: Final = frozenset(("anyOf", "oneOf", "allOf"))
_NAMED: Final = frozenset(("properties", "$defs", "definitions"))
Schema = dict[str, Any]


class _Unfit(Exception):
    """The schema says what a closed one cannot."""


def input_schema(schema: Mapping[str, Any] | None) -> tuple[Schema, bool]:
    """A tool's schema, and whether something had to be left out: it must be of an object, and Anthropic
    refuses alternatives at its top. Of those the properties stay, each allowed and none required."""
    if not schema:
        return {"type": "object", "properties": {}}, False
    if not _WITHIN & schema.keys():
        return {**schema, "type": "object"}, False
    loose = {key: value for key, value in schema.items() if key not in _WITHIN}
    properties: Schema = {}
    for key in ("allOf", "anyOf", "oneOf"):
        branches = schema.get(key)
        for branch in branches if isinstance(branches, list) else ():
            more = branch.get("properties") if isinstance(branch, dict) else None
            properties.update(more if isinstance(more, dict) else {})
    given = loose.get("properties")
    properties.update(given if isinstance(given, dict) else {})
    return {**loose, "type": "object", "properties": properties}, True


def closed_schema(schema: Mapping[str, Any]) -> Schema | None:
    """A schema within the limits of structured outputs: objects have no further properties, and bounds that
    it cannot hold stand in the description, for the model to read. None where the schema means what a closed
    one cannot say: free keys, recursion."""
    try:
        _check_references(schema)
        return _closed(schema, DEEPEST)
    except _Unfit:
        return None


def _closed(schema: Any, deepest: int) -> Schema:
    if not isinstance(schema, Mapping) or not deepest:
        raise _Unfit
    out: Schema = {}
    unheld: Schema = {}
    for key, value in schema.items():
        if key in _KEPT or (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
            out[key] = value
        elif key in _WITHIN and isinstance(value, list):
            out["allOf" if key == "allOf" else "anyOf"] = [_closed(each, deepest - 1) for each in value]
        elif key in _NAMED and isinstance(value, dict):
            out[key] = {name: _closed(each, deepest - 1) for name, each in value.items()}
        elif key == "items":
            out[key] = _closed(value, deepest - 1)
        elif key == "additionalProperties":
            if value is not False:
                raise _Unfit
        elif not key.startswith("$"):
            unheld[key] = value
    if "properties" in out or out.get("type") == "object":
        out["additionalProperties"] = False
    if unheld:
        said = out.get("description")
        lines = [said] if isinstance(said, str) else []
        out["description"] = "\n".join([*lines, dumps(unheld).decode()])
    return out


def _check_references(schema: Mapping[str, Any]) -> None:
    """Raises _Unfit where a reference leads out of the schema's definitions, or back to itself."""
    defined = {
        f"#/{kind}/{name}": each
        for kind in ("$defs", "definitions")
        if isinstance(schema.get(kind), dict)
        for name, each in schema[kind].items()
    }
    leads = {name: set(_references(each, DEEPEST)) for name, each in defined.items()}
    wanted = set(_references(schema, DEEPEST))
    if not wanted <= defined.keys():
        raise _Unfit
    while leads:  # take away what leads nowhere, until nothing is left but circles
        ends = [name for name, to in leads.items() if not to & leads.keys()]
        if not ends:
            raise _Unfit
        for name in ends:
            del leads[name]


def _references(schema: Any, deepest: int) -> Iterator[str]:
    if not deepest:
        raise _Unfit
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value, deepest - 1)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value, deepest - 1)
