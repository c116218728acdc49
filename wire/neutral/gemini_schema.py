"""Schemas: Google's subset of OpenAPI 3.0 from and to JSON Schema (conversion.md, 36 and 57).

ai.google.dev/api/caching#Schema lists the subset, ai.google.dev/api/generate-content (under
`responseJsonSchema`) what newer models take of JSON Schema itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wire.jsons import as_text, dumps

DEEPEST: Final = 48
MOST: Final = 5_000
"""Schemas within one that is written out; beyond that, a reference leads to any object."""
REPEATED: Final = 2
"""How often a definition may stand within itself."""
_LISTS: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_NAMED: Final = frozenset(("properties", "$defs", "patternProperties"))
_SINGLE: Final = frozenset(("items", "additionalProperties", "not"))
_NUMBERS: Final = frozenset(
    ("minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "minimum", "maximum")
)
_FORMATS: Final = {
    "STRING": frozenset(("enum", "date-time")),
    "NUMBER": frozenset(("float", "double")),
    "INTEGER": frozenset(("int32", "int64")),
}
_TYPES: Final = frozenset(("string", "number", "integer", "boolean", "array", "object"))
Schema = dict[str, Any]


def from_openapi(schema: Any, depth: int = 0) -> Any:
    """A schema of Google's as JSON Schema says the same."""
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    out: Schema = {}
    for key, value in ((_SPELLED.get(str(name), str(name)), each) for name, each in schema.items()):
        if value is None or key in ("nullable", "propertyOrdering"):
            continue
        if key == "type":
            if as_text(value) and value != "TYPE_UNSPECIFIED":
                out[key] = value.lower()
        elif key in _NAMED and isinstance(value, dict):
            out[key] = {one: from_openapi(each, depth + 1) for one, each in value.items()}
        elif key in _LISTS and isinstance(value, list):
            out[key] = [from_openapi(each, depth + 1) for each in value]
        elif key in _SINGLE and isinstance(value, dict):
            out[key] = from_openapi(value, depth + 1)
        elif key in _NUMBERS and isinstance(value, str) and value.removeprefix("-").isdecimal():
            out[key] = int(value[:20])
        elif key == "example":
            out["examples"] = [value]
        elif key != "format" or value != "enum":
            out[key] = value
    if schema.get("nullable") is True:
        _allow_null(out)
    return out


_SPELLED: Final = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "min_length": "minLength",
    "max_length": "maxLength",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
    "defs": "$defs",
    "ref": "$ref",
}


def _allow_null(schema: Schema) -> None:
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list):
        schema["enum"] = [*schema["enum"], None]


def for_json_schema(schema: Any, depth: int = 0) -> Any:
    """JSON Schema as newer models take it: they know no `const` and no `definitions`, and nothing beside a
    `$ref`; what else they do not know they pass over."""
    if not isinstance(schema, dict):
        return schema
    if depth > DEEPEST:
        return {}
    if isinstance(schema.get("$ref"), str):
        schema = {key: value for key, value in schema.items() if key.startswith("$") or key == "definitions"}
    out: Schema = {}
    for name, value in schema.items():
        key = "$defs" if name == "definitions" else name
        if key in _NAMED and isinstance(value, dict):
            out[key] = {
                **out.get(key, {}),
                **{one: for_json_schema(each, depth + 1) for one, each in value.items()},
            }
        elif key in _LISTS and isinstance(value, list):
            out[key] = [for_json_schema(each, depth + 1) for each in value]
        elif key in _SINGLE:
            out[key] = for_json_schema(value, depth + 1)
        elif key == "$ref" and isinstance(value, str):
            out[key] = value.replace("#/definitions/", "#/$defs/")
        elif key == "const":
            out["enum"] = [value]
        elif key != "$schema":
            out[key] = value
    return out


def to_openapi(schema: Mapping[str, Any]) -> Schema:
    """JSON Schema in Google's subset: references written out, `const` and unions of types said in its own
    way, what it has no word for left out."""
    return _Writer(schema).written(schema, 0, ())


class _Writer:
    """One schema that is written out."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = MOST

    def written(self, schema: Any, depth: int, within: tuple[str, ...]) -> Schema:
        """A schema; `within` are the definitions that it stands in."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > DEEPEST:
            return {"type": "STRING"}
        name = schema.get("$ref")
        if isinstance(name, str):
            found = self._found(name)
            if found is None or within.count(name) >= REPEATED or self._left < 0:
                return {"type": "OBJECT", **_said(schema)}
            return {**self.written(found, depth + 1, (*within, name)), **_said(schema)}
        schema = _joined(schema)
        branches = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(branches, list) and branches:
            return self._union(schema, branches, depth, within)
        types = schema.get("type")
        if isinstance(types, list):
            branches = [{**schema, "type": each} for each in types if each != "null"]
            if len(branches) == 1:
                return {**self._plain(branches[0], depth, within), **_nullable("null" in types)}
            return self._union({"type": types, **_said(schema)}, branches, depth, within)
        return self._plain(schema, depth, within)

    def _found(self, name: str) -> Any:
        """What a reference within the schema leads to."""
        found: Any = self._root
        if not name.startswith("#"):
            return None
        for step in name[1:].split("/")[1:]:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        return found

    def _union(
        self, schema: Mapping[str, Any], branches: list[Any], depth: int, within: tuple[str, ...]
    ) -> Schema:
        types = schema.get("type")
        null = isinstance(types, list) and "null" in types
        kept = []
        for each in branches:
            if isinstance(each, dict) and each.get("type") == "null":
                null = True
            elif self._left > 0:
                kept.append(self.written(each, depth + 1, within))
        if len(kept) == 1:
            return {**kept[0], **_said(schema), **_nullable(null or bool(kept[0].get("nullable")))}
        if not kept:
            return {"type": "STRING", **_said(schema), **_nullable(null)}
        return {"anyOf": kept, **_said(schema), **_nullable(null)}

    def _plain(self, schema: Mapping[str, Any], depth: int, within: tuple[str, ...]) -> Schema:
        kind = _kind(schema)
        out: Schema = {"type": kind, **_said(schema)}
        values = schema.get("enum") if isinstance(schema.get("enum"), list) else None
        if "const" in schema:
            values = [schema["const"]]
        if values:
            _choose(out, values)
        if (form := schema.get("format")) in _FORMATS.get(kind, ()):
            out["format"] = form
        if isinstance(schema.get("pattern"), str) and kind == "STRING":
            out["pattern"] = schema["pattern"]
        for key in _NUMBERS:
            if type(schema.get(key)) in (int, float):
                out[key] = schema[key]
        for key, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if type(schema.get(key)) in (int, float):
                step = {"INTEGER": 1}.get(kind, 0)
                out[bound] = schema[key] + (step if bound == "minimum" else -step)
        if kind == "OBJECT":
            self._object(out, schema, depth, within)
        elif kind == "ARRAY":
            items = schema.get("items", schema.get("prefixItems"))
            if isinstance(items, list):
                items = {"anyOf": items} if items else None
            out["items"] = self.written(items, depth + 1, within)
        return out

    def _object(self, out: Schema, schema: Mapping[str, Any], depth: int, within: tuple[str, ...]) -> None:
        properties = schema.get("properties")
        if not isinstance(properties, dict) or not properties:
            return
        out["properties"] = {
            name: self.written(each, depth + 1, within) for name, each in properties.items() if self._left > 0
        }
        required = schema.get("required")
        if isinstance(required, list):
            known = [name for name in required if isinstance(name, str) and name in out["properties"]]
            if known:
                out["required"] = known


def _said(schema: Mapping[str, Any]) -> Schema:
    """What is said of a schema for people, and for the model."""
    return {key: schema[key] for key in ("title", "description") if isinstance(schema.get(key), str)}


def _nullable(null: bool) -> Schema:
    return {"nullable": True} if null else {}


def _joined(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema with those of its `allOf` in it."""
    members = schema.get("allOf")
    if not isinstance(members, list):
        return schema
    out: Schema = {}
    properties: Schema = {}
    required: list[Any] = []
    for each in (*members, {key: value for key, value in schema.items() if key != "allOf"}):
        if isinstance(each, dict):
            out.update(each)
            if isinstance(each.get("properties"), dict):
                properties.update(each["properties"])
            if isinstance(each.get("required"), list):
                required += each["required"]
    if properties:
        out["properties"] = properties
    if required:
        out["required"] = list(dict.fromkeys(name for name in required if isinstance(name, str)))
    return out


def _kind(schema: Mapping[str, Any]) -> str:
    told = schema.get("type")
    if isinstance(told, str) and told.lower() in _TYPES:
        return told.upper()
    if "properties" in schema or "additionalProperties" in schema:
        return "OBJECT"
    if "items" in schema or "prefixItems" in schema:
        return "ARRAY"
    values = schema.get("enum")
    sample = schema.get("const", values[0] if isinstance(values, list) and values else None)
    if isinstance(sample, bool):
        return "BOOLEAN"
    return "INTEGER" if isinstance(sample, int) else "NUMBER" if isinstance(sample, float) else "STRING"


def _choose(out: Schema, values: list[Any]) -> None:
    """The only values that are allowed: an `enum` holds strings, and none that is empty."""
    if None in values:
        out["nullable"] = True
    strings = [value for value in values if isinstance(value, str) and value]
    if out["type"] == "STRING":
        if strings:
            out["enum"] = strings
    else:
        said = f"One of: {dumps([value for value in values if value is not None]).decode()}"
        out["description"] = f"{out['description']}\n{said}" if "description" in out else said
