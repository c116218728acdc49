"""Requests of Chat Completions as its clients may send them, in the form in which the middle gives them
back."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import orjson
from hypothesis import strategies as st

from wire.neutral.events import Choice, Finish, Over, Reply, Start
from wire.neutral.parts import Media, Refusal, Signature, Text, Thinking, ToolCall

WORDS = st.text(max_size=12)
SAID = st.text(min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(SAID, JSON, max_size=2)
BASE64 = st.binary(min_size=1, max_size=8).map(lambda data: b64encode(data).decode())


def fields(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> Any:
    return st.fixed_dictionaries(required, optional=optional)


MARK = fields({"type": st.just("ephemeral")}, ttl=st.just("1h"))
BREAKPOINT = st.just({"mode": "explicit", "ttl": "30m"})


def part(kind: str, **required: st.SearchStrategy[Any]) -> Any:
    return fields({"type": st.just(kind), **required}, cache_control=MARK, prompt_cache_breakpoint=BREAKPOINT)


TEXT = part("text", text=WORDS)
URL = st.just("https://example.com/a.png")
DATA = BASE64.map("data:image/png;base64,{}".format)
PICTURE = part("image_url", image_url=fields({"url": URL | DATA}, detail=st.sampled_from(["low", "high"])))
SOUND = part(
    "input_audio", input_audio=fields({"data": BASE64, "format": st.sampled_from(["wav", "mp3", "flac"])})
)
FILE = part(
    "file",
    file=fields({"file_data": BASE64.map("data:application/pdf;base64,{}".format)}, filename=SAID)
    | fields({"file_id": SAID}, filename=SAID),
)
FILM = part("video_url", video_url=fields({"url": URL}))
ODD = part("hologram", depth=st.integers(0, 3))


def content(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A string, or a list that is not as good as one."""
    many = st.lists(st.one_of(*kinds), min_size=1, max_size=3)
    return WORDS | many.filter(lambda parts: len(parts) > 1 or parts[0].keys() != {"type", "text"})


def spoken(role: str, *kinds: st.SearchStrategy[Any]) -> Any:
    return fields({"role": st.just(role), "content": content(*kinds)}, name=NAMES, odd=JSON)


SYSTEM = spoken("system", TEXT) | spoken("developer", TEXT)
USER = spoken("user", TEXT, PICTURE, SOUND, FILE, FILM, ODD)
GOOGLE = SAID.map(lambda value: {"google": {"thought_signature": value}})
FUNCTION_CALL = fields(
    {
        "type": st.just("function"),
        "function": fields({"name": NAMES, "arguments": OBJECTS.map(str) | st.just("{}")}),
    },
    extra_content=GOOGLE,
    odd=JSON,
)
CUSTOM_CALL = fields({"type": st.just("custom"), "custom": fields({"name": NAMES, "input": WORDS})})
DETAIL = st.one_of(
    fields(
        {"type": st.just("reasoning.text"), "text": SAID},
        signature=SAID,
        format=st.just("anthropic-claude-v1"),
        index=st.integers(0, 3),
    ),
    fields({"type": st.just("reasoning.summary"), "summary": SAID}, id=SAID),
    fields({"type": st.just("reasoning.encrypted"), "data": SAID}, id=SAID),
)


@st.composite
def round_of_tools(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's message, with calls or without, and what came of them."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(content(TEXT))}
    calls = draw(st.lists(FUNCTION_CALL | CUSTOM_CALL, max_size=3))
    for number, call in enumerate(calls):
        call["id"] = f"call_{number}_{draw(st.integers(0, 99))}"
    details = draw(st.lists(DETAIL, max_size=2))
    reasoning = "".join(detail.get("text", detail.get("summary", "")) for detail in details) + draw(WORDS)
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    if details:
        message["reasoning_details"] = details
    if reasoning:
        message["reasoning_content"] = reasoning
    message |= draw(fields({}, refusal=SAID, name=NAMES, audio=fields({"id": SAID}), odd=JSON))
    if message["content"] == "" and message.keys() & {"refusal", "audio"}:
        message["content"] = None
    if message["content"]:
        message |= draw(fields({}, extra_content=GOOGLE))
    results = [
        {
            "role": "tool",
            "tool_call_id": call["id"],
            "content": draw(content(TEXT, PICTURE)),
            **draw(fields({}, name=NAMES, odd=JSON)),
        }
        for call in calls
    ]
    return [message, *results]


MESSAGES = st.builds(
    lambda first, rounds, last: [*first, *(each for one in rounds for each in one), *last],
    st.lists(SYSTEM, max_size=2),
    st.lists(round_of_tools() | st.lists(USER | SYSTEM, min_size=1, max_size=2), max_size=3),
    st.lists(USER, min_size=1, max_size=1),
)
FUNCTION = fields({"name": NAMES}, description=SAID, parameters=OBJECTS, strict=st.booleans(), odd=JSON)
TOOL = st.one_of(
    fields({"type": st.just("function"), "function": FUNCTION}, cache_control=MARK, odd=JSON),
    fields(
        {
            "type": st.just("custom"),
            "custom": fields(
                {"name": NAMES},
                description=SAID,
                format=st.just(
                    {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
                ),
            ),
        }
    ),
    fields({"type": st.just("web_search"), "web_search": OBJECTS}),
)


@st.composite
def tools(draw: st.DrawFn) -> dict[str, Any]:
    """Tools, and a choice among them."""
    given = draw(st.lists(TOOL, max_size=3, unique_by=_name))
    found: dict[str, Any] = {"tools": given} if given else {}
    named = [
        {"type": tool["type"], tool["type"]: {"name": _name(tool)}}
        for tool in given
        if "web_search" not in tool
    ]
    choices: list[Any] = ["auto", "none", "required", *named]
    if named:
        choices.append({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": named}})
    if given:
        found |= draw(fields({}, tool_choice=st.sampled_from(choices), parallel_tool_calls=st.booleans()))
    return found


def _name(tool: dict[str, Any]) -> str:
    return str((tool.get("function") or tool.get("custom") or {}).get("name", tool["type"]))


SCHEMA = fields({"name": NAMES, "schema": OBJECTS}, strict=st.booleans(), description=SAID)
SETTINGS = fields(
    {},
    max_tokens=st.integers(1, 200_000),
    stop=st.lists(SAID, min_size=1, max_size=5),
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    top_k=st.integers(1, 50),
    n=st.integers(1, 3),
    seed=st.integers(-9, 9),
    presence_penalty=st.floats(-2, 2),
    frequency_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.sampled_from(["1", "2"]), st.integers(-100, 100)),
    logprobs=st.booleans(),
    top_logprobs=st.integers(0, 20),
    user=SAID,
    service_tier=st.sampled_from(["auto", "flex"]),
    verbosity=st.sampled_from(["low", "high"]),
    response_format=st.just({"type": "json_object"})
    | st.just({"type": "grammar", "grammar": "x"})
    | fields(
        {
            "type": st.just("json_schema"),
            "json_schema": fields({"name": NAMES, "schema": OBJECTS}, strict=st.booleans()),
        }
    ),
    metadata=st.just({"a": "b"}),
    store=st.booleans(),
    modalities=st.just(["text"]),
    odd=JSON,
)
EFFORT: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.sampled_from(["none", "low", "max"]).map(lambda level: {"reasoning_effort": level}),
    st.just({"reasoning": {"max_tokens": 2000, "enabled": True, "exclude": True}}),
)


def requests() -> st.SearchStrategy[dict[str, Any]]:
    """Whole requests but for the model."""
    return st.builds(
        lambda messages, settings, chosen, effort: {"messages": messages, **settings, **chosen, **effort},
        MESSAGES,
        SETTINGS,
        tools(),
        EFFORT,
    )


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[Any]) -> Any:
    """Something with a value in it that is not what it should be."""
    value = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        value = _spoilt(draw, value)
    return value


def _spoilt(draw: st.DrawFn, value: Any) -> Any:
    inside = [*value] if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
    if not inside or draw(st.integers(0, 4)) == 0:
        return draw(JSON | st.none() | st.lists(JSON, max_size=2))
    key = draw(st.sampled_from(inside))
    copy = value.copy()
    copy[key] = _spoilt(draw, value[key])
    return copy


# Answers.

SIGNED = st.none() | st.builds(Signature, st.sampled_from(["anthropic", "openai_responses"]), SAID)
GEMINIS = st.none() | st.builds(Signature, st.just("gemini"), SAID)
SPOKEN = st.one_of(
    st.builds(Text, SAID),
    st.builds(Thinking, SAID, SIGNED),
    st.builds(lambda value: Thinking("", Signature("anthropic", value)), SAID),
    st.builds(Refusal, SAID),
    st.builds(
        ToolCall,
        st.just("c"),
        NAMES,
        OBJECTS.map(lambda value: orjson.dumps(value).decode()),
        signature=GEMINIS,
    ),
    st.just(Media("image", "image/png", "AAAA")),
)


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """Whole answers of one or two choices."""
    choices = []
    for number in range(draw(st.integers(1, 2))):
        parts = [
            msgspec.structs.replace(part, id=f"call_{number}_{at}") if isinstance(part, ToolCall) else part
            for at, part in enumerate(draw(st.lists(SPOKEN, max_size=4)))
        ]
        called = any(isinstance(part, ToolCall) for part in parts)
        choices.append(Choice(tuple(parts), Finish("tool_calls" if called else "stop", choice=number)))
    return Reply(Start("up1", "up"), tuple(choices), Over())


# What vendors might send.

ODD_TEXT = st.none() | st.text(max_size=8) | st.sampled_from(["<think>", "</think>", "{}", '{"a":1}'])
GOOGLES = st.just({"google": {"thought_signature": "s", "thought": True}})
ODD_CALL = fields(
    {},
    index=st.integers(-1, 2) | JSON,
    id=st.sampled_from(["", "a", "b", None]),
    type=st.sampled_from(["function", "custom", None]),
    function=fields({}, name=ODD_TEXT, arguments=ODD_TEXT | JSON) | JSON,
    custom=fields({}, name=ODD_TEXT, input=ODD_TEXT) | JSON,
    extra_content=JSON | GOOGLES,
)
ODD_DETAIL = fields(
    {},
    type=st.sampled_from(["reasoning.text", "reasoning.encrypted"]) | JSON,
    index=st.integers(0, 1) | JSON,
    text=ODD_TEXT,
    signature=ODD_TEXT | JSON,
    data=ODD_TEXT,
)
ODD_DELTA = fields(
    {},
    role=JSON,
    content=ODD_TEXT | JSON,
    refusal=ODD_TEXT,
    reasoning=ODD_TEXT,
    reasoning_content=ODD_TEXT | JSON,
    reasoning_details=st.lists(ODD_DETAIL | JSON, max_size=2) | JSON,
    tool_calls=st.lists(ODD_CALL | JSON, max_size=2) | JSON,
    function_call=fields({}, name=ODD_TEXT, arguments=ODD_TEXT),
    audio=st.just({"id": "a", "data": "AA", "transcript": "t", "expires_at": 1}),
    images=JSON,
    extra_content=JSON | GOOGLES,
)
ODD_CHOICE = fields(
    {},
    index=st.just(0) | WORDS,
    delta=ODD_DELTA | JSON,
    message=ODD_DELTA | JSON,
    finish_reason=st.sampled_from(["stop", "tool_calls", "", None]) | JSON,
    stop_reason=JSON,
)
CHUNKS = st.lists(
    fields({"choices": st.lists(ODD_CHOICE, max_size=1) | JSON}, id=st.text(max_size=3), usage=JSON),
    max_size=4,
)
