"""Requests of generateContent as its clients may send them, in the form in which the middle gives them
back; and odd ones."""

from __future__ import annotations

import random
from base64 import b64encode
from typing import Any

from hypothesis import strategies as st

from tests.wire.neutral.hostile import hostile, odd

WORDS = st.text(max_size=12)
SAID = st.text(min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,19}", fullmatch=True)
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(SAID, JSON, max_size=2)
BASE64 = st.binary(min_size=1, max_size=8).map(lambda data: b64encode(data).decode())
MIMES = st.sampled_from(["image/png", "audio/wav", "video/mp4", "application/pdf", "text/plain"])
URIS = st.sampled_from(
    [
        "https://youtu.be/abc",
        "https://generativelanguage.googleapis.com/v1beta/files/abc",
        "gs://bucket/a.pdf",
        "https://x.example/a.png",
    ]
)
SCHEMAS = st.sampled_from(
    [{"type": "object", "properties": {"city": {"type": "string"}}}, {"type": "object", "minProperties": 1}]
)


def fields(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


META = fields({"note": WORDS})
TEXT = fields({"text": WORDS}, thoughtSignature=BASE64, partMetadata=META)
THOUGHT = fields({"text": WORDS, "thought": st.just(True)}, thoughtSignature=BASE64)
BLOB = fields({"mimeType": MIMES, "data": BASE64}, displayName=SAID, odd=JSON)
INLINE = fields({"inlineData": BLOB}, mediaResolution=META)
HELD = fields({"fileData": fields({"fileUri": URIS}, mimeType=MIMES, odd=JSON)}, videoMetadata=META)
CODE = fields({"executableCode": fields({"language": st.just("PYTHON"), "code": SAID})})
USER_PART = st.one_of(TEXT, INLINE, HELD)
RESPONSE = fields({"output": WORDS}) | fields({"error": WORDS}) | fields({"result": WORDS}) | OBJECTS


@st.composite
def round_of_tools(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What the model says, with calls or without, and what came of them."""
    calls = [
        {
            "functionCall": draw(fields({"name": NAMES, "args": OBJECTS}, willContinue=st.just(False))),
            **draw(fields({}, thoughtSignature=BASE64)),
        }
        for _ in range(draw(st.integers(0, 3)))
    ]
    named = draw(st.booleans())
    results = []
    for number, call in enumerate(calls):
        result = draw(fields({"response": RESPONSE}, parts=st.lists(INLINE, min_size=1, max_size=2)))
        result["name"] = call["functionCall"]["name"]
        if named:
            call["functionCall"]["id"] = result["id"] = f"c{number}"
        results.append({"functionResponse": result})
    said = draw(st.lists(st.one_of(TEXT, THOUGHT, CODE), max_size=3))
    user = [*results, *draw(st.lists(USER_PART, max_size=2))]
    return [
        {"role": "model", "parts": [*said, *calls] or [{"text": "ok"}]},
        {"role": "user", "parts": user or [{"text": "on"}]},
    ]


CONFIG = fields(
    {},
    temperature=st.sampled_from([0, 0.5, 2]),
    topP=st.just(0.9),
    topK=st.just(40),
    candidateCount=st.integers(1, 8),
    seed=st.integers(0, 9),
    presencePenalty=st.just(0.5),
    responseLogprobs=st.booleans(),
    logprobs=st.integers(0, 5),
    maxOutputTokens=st.integers(1, 9000),
    stopSequences=st.lists(SAID, min_size=1, max_size=2),
    responseModalities=st.just(["TEXT", "IMAGE"]),
    speechConfig=META,
    thinkingConfig=fields({"includeThoughts": st.booleans()}, thinkingBudget=st.integers(-1, 900), odd=JSON)
    | fields({"thinkingLevel": st.sampled_from(["low", "high"])}),
)
SHAPED = fields({"responseMimeType": st.just("application/json")}, responseJsonSchema=SCHEMAS) | fields(
    {"responseMimeType": st.just("text/x.enum"), "responseSchema": st.just({"type": "STRING"})}
)
CALLING = st.one_of(
    fields({"mode": st.sampled_from(["AUTO", "NONE"])}, streamFunctionCallArguments=st.just(True)),
    fields(
        {"mode": st.sampled_from(["ANY", "VALIDATED"])},
        allowedFunctionNames=st.lists(NAMES, min_size=1, max_size=2),
    ),
)
DECLARATION = fields(
    {"name": NAMES},
    description=SAID,
    parametersJsonSchema=SCHEMAS,
    behavior=st.just("BLOCKING"),
    response=st.just({"type": "STRING"}),
) | fields(
    {"name": NAMES, "parameters": st.just({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}})}
)
BUILT_IN: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"googleSearch": {}}, {"codeExecution": {}}, {"urlContext": {}}]
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request."""
    contents: list[dict[str, Any]] = [
        {"role": "user", "parts": draw(st.lists(USER_PART, min_size=1, max_size=3))}
    ]
    for _ in range(draw(st.integers(0, 2))):
        contents += draw(round_of_tools())
    request: dict[str, Any] = {"contents": contents}
    config = draw(CONFIG) | (draw(SHAPED) if draw(st.booleans()) else {})
    if config:
        request["generationConfig"] = config
    tools: list[dict[str, Any]] = draw(st.lists(BUILT_IN, max_size=1))
    if declared := draw(st.lists(DECLARATION, max_size=2)):
        tools = [{"functionDeclarations": declared}, *tools]
    if tools:
        request["tools"] = tools
    tool_config = draw(fields({}, functionCallingConfig=CALLING, retrievalConfig=META))
    if tool_config:
        request["toolConfig"] = tool_config
    more: dict[str, Any] = draw(
        fields(
            {},
            systemInstruction=fields({"parts": st.lists(fields({"text": SAID}), min_size=1, max_size=2)}),
            safetySettings=st.just([{"category": "X", "threshold": "Y"}]),
            cachedContent=SAID,
            labels=META,
            serviceTier=st.just("flex"),
            odd=JSON,
        )
    )
    return request | more


REQUESTS = requests()


def odd_part(rng: random.Random) -> Any:
    """A part that may be anything."""
    usual: list[Any] = [
        {"text": odd(rng, "a", "")},
        {
            "text": "t",
            "thought": odd(rng, True),
            "thoughtSignature": odd(rng, "c2ln", "YWV0aGVyLXNlYWw6AA=="),
        },
        {"functionCall": {"name": odd(rng, "f"), "args": odd(rng, {"a": 1}), "id": odd(rng, "c1", None)}},
        {
            "functionResponse": {
                "name": odd(rng, "f"),
                "response": odd(rng, {"output": "x"}, {"$ref": "y"}),
                "id": odd(rng, "c1", None),
                "parts": odd(rng, [], [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]),
            }
        },
        {"inline_data": {"mime_type": odd(rng, "image/png", "x/y"), "data": odd(rng, "AA==", "-_")}},
        {"fileData": {"fileUri": odd(rng, "gs://a/b", "https://youtu.be/x")}},
        {"executableCode": odd(rng, {"code": "x"})},
        hostile(rng),
    ]
    return rng.choice(usual)


def odd_request(rng: random.Random) -> Any:
    """A request that may be anything."""
    if rng.random() < 0.05:
        return hostile(rng)
    schema = {"type": odd(rng, "OBJECT", ["object", "null"]), "properties": odd(rng, {"a": hostile(rng)})}
    request: dict[str, Any] = {
        "contents": odd(
            rng,
            *[
                [
                    {
                        "role": odd(rng, "user", "model"),
                        "parts": [odd_part(rng) for _ in range(rng.randrange(3))],
                    }
                    for _ in range(rng.randrange(4))
                ]
            ],
        )
    }
    more: dict[str, Any] = {
        "systemInstruction": odd(rng, {"parts": [{"text": "s"}]}, "s"),
        "tools": odd(
            rng,
            [{"functionDeclarations": [{"name": odd(rng, "f"), "parameters": odd(rng, schema)}]}],
            [{"functionDeclarations": [{"name": odd(rng, "f"), "parametersJsonSchema": odd(rng, schema)}]}],
            [{"googleSearch": odd(rng, {})}],
        ),
        "toolConfig": odd(rng, {"functionCallingConfig": odd(rng, {"mode": odd(rng, "ANY", "AUTO")})}),
        "generationConfig": odd(
            rng,
            {
                "thinkingConfig": odd(
                    rng, {"thinkingBudget": odd(rng, 5, -1, 0), "thinkingLevel": odd(rng, "low")}
                )
            },
            {"responseMimeType": odd(rng, "application/json"), "responseSchema": odd(rng, schema)},
            {"stopSequences": odd(rng, ["x"]), "seed": odd(rng, 1), "topK": odd(rng, 1)},
        ),
    }
    return request | {key: value for key, value in more.items() if rng.random() < 0.4}
