"""Google's rules for a request to Gemini's generateContent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from simulator.ask import either
from simulator.rules.table import Body, Broken, Table, objects, schemas, words
from simulator.signing import signature

RULES: Final = Table("gemini")
rule = RULES.rule

DOCS: Final = "https://ai.google.dev"
_REFERENCE = f"{DOCS}/api/generate-content"
_CALLING = f"{DOCS}/gemini-api/docs/function-calling"
_SIGNATURES = f"{DOCS}/gemini-api/docs/thought-signatures"
_CACHING = f"{DOCS}/api/caching"
SKIPPED: Final = ("context_engineering_is_the_way_to_go", "skip_thought_signature_validator")
"""What may stand in place of a signature on a call that no Gemini model made."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_FIELDS = words(
    "contents tools toolConfig safetySettings systemInstruction generationConfig cachedContent model store "
    "serviceTier labels"
)
_CONFIG = words(
    "stopSequences responseMimeType responseSchema responseJsonSchema _responseJsonSchema responseModalities "
    "candidateCount maxOutputTokens temperature topP topK seed presencePenalty frequencyPenalty "
    "responseLogprobs logprobs enableEnhancedCivicAnswers speechConfig thinkingConfig imageConfig "
    "mediaResolution responseFormat"
)
_SCHEMA = words(
    "type format title description nullable enum maxItems minItems properties required minProperties "
    "maxProperties minLength maxLength pattern example anyOf propertyOrdering default items minimum "
    "maximum"
)
_DATA = (
    "text", "inlineData", "functionCall", "functionResponse", "fileData", "executableCode",
    "codeExecutionResult", "toolCall", "toolResponse",
)  # fmt: skip


def contents(body: Body) -> list[tuple[str, str, list[Body]]]:
    """Path, role and parts of each content."""
    return [
        (f"contents[{number}]", content.get("role") or "user", objects(content.get("parts")))
        for number, content in enumerate(objects(body.get("contents")))
    ]


def has(part: Body, name: str) -> bool:
    """Whether a part holds this data."""
    return either(part, name) is not None


def calls(parts: list[Body]) -> list[Body]:
    """The calls among parts."""
    return [either(part, "functionCall") for part in parts if has(part, "functionCall")]


def results(parts: list[Body]) -> list[Body]:
    """The results among parts."""
    return [either(part, "functionResponse") for part in parts if has(part, "functionResponse")]


def signed(part: Body) -> str:
    """The signature of a part, over all that it says."""
    call = either(part, "functionCall")
    said = {"name": call.get("name"), "args": call.get("args") or {}} if call else ""
    return signature("gemini", said)


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name) if not name.startswith("_") else name


def _unknown(value: Body, known: frozenset[str], where: str) -> Iterator[Broken]:
    for name in value:
        if _camel(name) not in known:
            at = f" at '{where}'" if where else ""
            yield Broken(f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')


@rule("fields", "The fields that the reference lists.", f"{_REFERENCE}#method:-models.generatecontent")
def _fields(body: Body) -> Iterator[Broken]:
    yield from _unknown(body, _FIELDS, "")
    yield from _unknown(either(body, "generationConfig") or {}, _CONFIG, "generation_config")
    if not body.get("contents"):
        yield Broken("* GenerateContentRequest.contents: contents is not specified\n")


@rule(
    "roles", "`role`: The producer of the content. Must be either 'user' or 'model'.", f"{_CACHING}#Content"
)
def _roles(body: Body) -> Iterator[Broken]:
    for _, role, _ in contents(body):
        if role not in ("user", "model", "function"):
            yield Broken("Please use a valid role: user, model.")


@rule(
    "parts",
    "Ordered `Parts` that constitute a single message. A `Part` can only contain one of the accepted types "
    "in `Part.data`.",
    f"{_CACHING}#Part",
)
def _parts(body: Body) -> Iterator[Broken]:
    for where, _, parts in contents(body):
        if not parts:
            yield Broken(f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty.\n")
        for number, part in enumerate(parts):
            data = [name for name in _DATA if has(part, name)]
            if len(data) != 1:
                yield Broken(
                    f"* GenerateContentRequest.{where}.parts[{number}].data: required oneof field 'data' "
                    "must have one initialized field\n"
                )


@rule(
    "calls.order",
    "Please ensure that function call turn comes immediately after a user turn or after a function response "
    "turn.",
    _CALLING,
)
def _order(body: Body) -> Iterator[Broken]:
    before = ""
    for _, role, parts in contents(body):
        if calls(parts) and (role != "model" or before not in ("user", "function")):
            yield Broken(
                "Please ensure that function call turn comes immediately after a user turn or after a "
                "function response turn."
            )
        before = role


@rule(
    "results.order",
    "Please ensure that function response turn comes immediately after a function call turn.",
    _CALLING,
)
def _results(body: Body) -> Iterator[Broken]:
    before: list[Body] = []
    for _, role, parts in contents(body):
        if results(parts) and (role == "model" or not calls(before)):
            text = "Please ensure that function response turn comes immediately after a function call turn."
            yield Broken(text)
        before = parts


@rule(
    "results.count",
    "Please ensure that the number of function response parts is equal to the number of function call parts "
    "of the function call turn.",
    _CALLING,
)
def _count(body: Body) -> Iterator[Broken]:
    told = contents(body)
    for number, (_, _, parts) in enumerate(told):
        behind = told[number + 1][2] if number + 1 < len(told) else []
        if calls(parts) and len(calls(parts)) != len(results(behind)):
            yield Broken(
                "Please ensure that the number of function response parts is equal to the number of function "
                "call parts of the function call turn."
            )


@rule(
    "results.id",
    "Gemini 3 now always returns a unique `id` with every `functionCall`. Include this `id` in your "
    "`functionResponse` so the model can accurately map your result back to the original request.",
    _CALLING,
)
def _ids(body: Body) -> Iterator[Broken]:
    before: list[Body] = []
    for where, _, parts in contents(body):
        made, given = calls(before), results(parts)
        ids = [call.get("id") for call in made if call.get("id")]
        for result in given:
            if result.get("id") and ids and result["id"] not in ids:
                yield Broken(f"Function response id '{result['id']}' of {where} matches no function call.")
            if result.get("name") not in [call.get("name") for call in made]:
                yield Broken(
                    f"Function response name '{result.get('name')}' of {where} matches no function call."
                )
            if not isinstance(result.get("response"), dict):
                yield Broken(
                    f"Invalid value at '{where}.parts[0].function_response.response' "
                    "(type.googleapis.com/google.protobuf.Struct)"
                )
        if len({result.get("id") for result in given if result.get("id")}) < sum(
            1 for result in given if result.get("id")
        ):
            yield Broken(f"Function responses of {where} have the same id.")
        before = parts


@rule(
    "signatures.kept",
    "The first functionCall part in each step of the current turn must include its thought_signature. If you "
    "omit a thought_signature for the first functionCall part in any step of the current turn, the request "
    "will fail with a 400 error.",
    _SIGNATURES,
)
def _kept(body: Body) -> Iterator[Broken]:
    told = contents(body)
    for number in range(len(told) - 1, -1, -1):
        _, role, parts = told[number]
        if role == "user" and any(not has(part, "functionResponse") for part in parts) and not results(parts):
            break
        first = next((at for at, part in enumerate(parts) if has(part, "functionCall")), None)
        if first is not None and not either(parts[first], "thoughtSignature"):
            yield Broken(
                "Function call is missing a thought_signature in functionCall parts. This is required for "
                "tools to work correctly, and missing thought_signature may lead to degraded model "
                f"performance. Additional data, function call `default_api:{calls(parts)[0].get('name')}` , "
                f"position {number + 1}. Please refer to {_SIGNATURES} for more details."
            )


@rule(
    "signatures.unaltered",
    "You must return this signature in the exact part where it was received when sending the conversation "
    "history back.",
    _SIGNATURES,
)
def _unaltered(body: Body) -> Iterator[Broken]:
    for _, _, parts in contents(body):
        for part in parts:
            given = either(part, "thoughtSignature")
            if given and given not in SKIPPED and given != signed(part):
                yield Broken("Corrupted thought signature.")


@rule(
    "tools",
    "`name`: The name of the function. Must be a-z, A-Z, 0-9, or contain underscores, colons, dots, and "
    "dashes, with a maximum length of 128.",
    f"{_CACHING}#FunctionDeclaration",
)
def _tools(body: Body) -> Iterator[Broken]:
    seen: set[Any] = set()
    for where, function in _declared(body):
        name = function.get("name")
        if not _NAME.fullmatch(str(name or "")):
            yield Broken(
                f"* GenerateContentRequest.{where}.name: [FIELD_INVALID] Invalid function name. Must start "
                "with a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores (_), dots "
                "(.), colons (:), or dashes (-), with a maximum length of 128.\n"
            )
        if name in seen:
            yield Broken(f"Duplicate function declaration found: {name}")
        seen.add(name)
        if has(function, "parameters") and has(function, "parametersJsonSchema"):
            yield Broken(
                f"* GenerateContentRequest.{where}: parameters and parameters_json_schema are both set\n"
            )
    config = either(body, "toolConfig") or {}
    if not seen and either(either(config, "functionCallingConfig") or {}, "mode") == "ANY":
        yield Broken("Function calling config is set without function_declarations.")


def _declared(body: Body) -> Iterator[tuple[str, Body]]:
    for number, tool in enumerate(objects(body.get("tools"))):
        for at, function in enumerate(objects(either(tool, "functionDeclarations"))):
            yield f"tools[{number}].function_declarations[{at}]", function


@rule(
    "schemas",
    "The `Schema` object allows the definition of input and output data types: a select subset of an OpenAPI "
    "3.0 schema object.",
    f"{_CACHING}#Schema",
)
def _schemas(body: Body) -> Iterator[Broken]:
    config = either(body, "generationConfig") or {}
    roots = [(f"{where}.parameters", function.get("parameters")) for where, function in _declared(body)]
    roots.append(("generation_config.response_schema", either(config, "responseSchema")))
    for where, root in roots:
        for path, schema in schemas(root):
            yield from _unknown(schema, _SCHEMA, where + path)
            kind = schema.get("type")
            if isinstance(kind, list):
                at = f"{where}{path}.type"
                yield Broken(
                    f"Invalid JSON payload received. Unknown name \"type\" at '{at}': Proto field is not "
                    f"repeating, cannot start list."
                )
                continue
            if str(kind).lower() == "object" and schema.get("properties") == {}:
                yield Broken(
                    f"* GenerateContentRequest.{where}{path}.properties: should be non-empty for OBJECT "
                    f"type\n"
                )
            if schema.get("enum") and str(kind).lower() != "string":
                yield Broken(f"* GenerateContentRequest.{where}{path}.enum: only allowed for STRING type\n")
            if str(kind).lower() == "array" and not schema.get("items"):
                yield Broken(f"* GenerateContentRequest.{where}{path}.items: missing field.\n")
            missing = {*(schema.get("required") or ())} - {*(schema.get("properties") or ())}
            if missing:
                yield Broken(f"* GenerateContentRequest.{where}{path}.required[0]: property is not defined\n")


@rule(
    "thinking",
    "Use `thinkingLevel` with Gemini 3 and `thinkingBudget` with older models: you cannot use both in the "
    "same request.",
    f"{DOCS}/gemini-api/docs/thinking",
)
def _thinking(body: Body) -> Iterator[Broken]:
    config = either(either(body, "generationConfig") or {}, "thinkingConfig") or {}
    if either(config, "thinkingBudget") is not None and either(config, "thinkingLevel") is not None:
        yield Broken("You can only set only one of thinking budget and thinking level.")


@rule(
    "stop",
    "`stopSequences[]`: The set of character sequences (up to 5) that will stop output generation.",
    f"{_REFERENCE}#generationconfig",
)
def _stop(body: Body) -> Iterator[Broken]:
    stops = either(either(body, "generationConfig") or {}, "stopSequences") or []
    if len(stops) > 5:
        yield Broken("Number of stop sequences must be no more than 5.")
