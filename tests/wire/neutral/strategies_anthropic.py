"""Requests as Anthropic's clients send them, everything that the format can say."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

Fields = dict[str, Any]
OLD, NEW, CLONE = "claude-sonnet-4-5", "claude-opus-4-8", "glm-5"
MODELS = (OLD, NEW, CLONE)
WORDS = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
TEXTS = WORDS.filter(lambda text: bool(text.strip()))
NAMES = st.sampled_from(["weather", "read_file", "mcp__server__tool-1", "a" * 100])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=2)
DATA = st.binary(min_size=1, max_size=6).map(lambda data: base64.b64encode(data).decode())
SIGNATURES = st.sampled_from(["EqQBCkYIARgCKkD", "EosnCkYICxIMMb3LzNrMu"])
MARKS = st.sampled_from(
    [
        {"type": "ephemeral"},
        {"type": "ephemeral", "ttl": "5m"},
        {"type": "ephemeral", "ttl": "1h"},
        {"type": "ephemeral", "scope": "global"},
    ]
)
SHARED_SOURCES = st.one_of(
    st.builds(lambda data: {"type": "base64", "media_type": "image/png", "data": data}, DATA),
    st.just({"type": "url", "url": "https://example.com/a.png"}),
)
SOURCES = SHARED_SOURCES | st.just({"type": "file", "file_id": "file_011CNha8iCJcU1wXNR6q4V8w"})
SHARED_PAPERS = st.one_of(
    st.builds(lambda data: {"type": "base64", "media_type": "application/pdf", "data": data}, DATA),
    st.just({"type": "url", "url": "https://example.com/a.pdf"}),
    st.builds(lambda text: {"type": "text", "media_type": "text/plain", "data": text}, WORDS),
)
PAPERS = st.one_of(
    SHARED_PAPERS,
    st.builds(lambda text: {"type": "content", "content": [{"type": "text", "text": text}]}, WORDS),
    st.builds(lambda source: {"type": "content", "content": [{"type": "image", "source": source}]}, SOURCES),
)


def sometimes(draw: st.DrawFn, block: Fields, **more: st.SearchStrategy[Any]) -> Fields:
    """The block, each further key in every third of cases."""
    for key, values in more.items():
        if draw(st.integers(0, 2)) == 0:
            block[key] = draw(values)
    return block


@st.composite
def texts(draw: st.DrawFn) -> Fields:
    """A text block."""
    return sometimes(draw, {"type": "text", "text": draw(TEXTS)}, cache_control=MARKS, later=VALUES)


@st.composite
def files(draw: st.DrawFn, shared: bool) -> Fields:
    """A picture, a document or a search's result."""
    match draw(st.sampled_from(["image", "document", "search_result"])):
        case "image":
            source = draw(SHARED_SOURCES if shared else SOURCES)
            return sometimes(draw, {"type": "image", "source": source}, cache_control=MARKS)
        case "document":
            block: Fields = {"type": "document", "source": draw(SHARED_PAPERS if shared else PAPERS)}
            return sometimes(
                draw,
                block,
                cache_control=MARKS,
                title=WORDS,
                context=WORDS,
                citations=st.just({"enabled": True}),
            )
    content = [{"type": "text", "text": draw(TEXTS)}]
    found = {"type": "search_result", "title": "T", "source": "https://a.b", "content": content}
    return sometimes(draw, found, cache_control=MARKS)


@st.composite
def results(draw: st.DrawFn, ident: str, shared: bool) -> Fields:
    """What came of a call."""
    reference = st.just({"type": "tool_reference", "tool_name": "weather"})
    content = draw(st.lists(texts() | files(shared) | reference, max_size=2) | TEXTS | st.just(""))
    block = {"type": "tool_result", "tool_use_id": ident, "content": content}
    return sometimes(draw, block, cache_control=MARKS, is_error=st.just(True))


THOUGHTS = st.one_of(
    st.builds(
        lambda text, seal: {"type": "thinking", "thinking": text, "signature": seal}, WORDS, SIGNATURES
    ),
    st.builds(lambda seal: {"type": "thinking", "thinking": "", "signature": seal}, SIGNATURES),
    st.builds(lambda seal: {"type": "redacted_thinking", "data": seal}, SIGNATURES),
)
_SEARCHED: list[Fields] = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
]
SEARCHES = st.sampled_from(_SEARCHED)


@st.composite
def conversations(draw: st.DrawFn, *, systems: bool, thoughtful: bool, shared: bool) -> list[Fields]:
    """Messages that a model of Anthropic's takes; where `thoughtful`, every turn begins with a thought."""
    messages: list[Fields] = []
    waiting: list[str] = []
    calls = 0
    for _ in range(draw(st.integers(1, 3))):
        blocks = [draw(results(ident, shared)) for ident in waiting]
        words = draw(st.lists(texts() | files(shared), min_size=0 if blocks else 1, max_size=2))
        content: Any = [*blocks, *words]
        if not blocks and draw(st.booleans()):
            content = draw(TEXTS)
        messages.append({"role": "user", "content": content})
        if systems and draw(st.integers(0, 3)) == 0:
            note = draw(st.one_of(TEXTS, st.lists(texts(), min_size=1, max_size=2)))
            messages.append({"role": "system", "content": note})
        said: list[Fields] = draw(st.lists(THOUGHTS, min_size=1 if thoughtful else 0, max_size=2))
        said += draw(st.lists(texts() if shared else texts() | SEARCHES, min_size=1, max_size=2))
        waiting = [f"toolu_{calls + number}" for number in range(draw(st.integers(0, 2)))]
        calls += len(waiting)
        for ident in waiting:
            call = {"type": "tool_use", "id": ident, "name": draw(NAMES), "input": draw(OBJECTS)}
            said.append(sometimes(draw, call, cache_control=MARKS, caller=st.just({"type": "direct"})))
        messages.append({"role": "assistant", "content": said})
    blocks = [draw(results(ident, shared)) for ident in waiting]
    messages.append({"role": "user", "content": [*blocks, draw(texts())]})
    return messages


@st.composite
def tools(draw: st.DrawFn) -> list[Fields]:
    """Tools of the client's, and of the vendor's."""
    told: list[Fields] = []
    for name in draw(st.lists(NAMES, min_size=1, max_size=3, unique=True)):
        tool: Fields = {"name": name, "input_schema": {"type": "object", "properties": draw(OBJECTS)}}
        told.append(
            sometimes(
                draw,
                tool,
                description=TEXTS,
                cache_control=MARKS,
                strict=st.booleans(),
                type=st.just("custom"),
                defer_loading=st.just(True),
                input_examples=st.just([{"x": 1}]),
            )
        )
    if draw(st.booleans()):
        told.append({"type": "web_search_20250305", "name": "web_search", "max_uses": 3})
    return told


@st.composite
def requests(draw: st.DrawFn, *, shared: bool = False) -> Fields:
    """A whole request; its model is one that takes what it says. `shared`: without content that only
    Anthropic understands."""
    model = draw(st.sampled_from(MODELS))
    thinking = draw(st.sampled_from(THINKING[model]))
    fields: Fields = {"model": model, "max_tokens": draw(st.integers(4096, 32_000))}
    budget = (thinking or {}).get("type") == "enabled"
    fields["messages"] = draw(conversations(systems=model == NEW, thoughtful=budget, shared=shared))
    if thinking:
        fields["thinking"] = thinking
    if draw(st.booleans()):
        fields["tools"] = draw(tools())
        name = fields["tools"][0]["name"]
        kinds: tuple[Fields, ...] = ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": name})
        choice = dict(draw(st.sampled_from(kinds)))
        fields["tool_choice"] = sometimes(draw, choice, disable_parallel_tool_use=st.booleans())
        if draw(st.integers(0, 3)) == 0:
            fields["tool_choice"] = {"type": "none"}
    if model != NEW and not thinking:
        sometimes(draw, fields, temperature=st.sampled_from([0, 0.5, 1]), top_k=st.integers(1, 40))
        if "temperature" not in fields:
            sometimes(draw, fields, top_p=st.sampled_from([0.1, 0.99]))
    if model == NEW:
        shape = {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}
        config = sometimes(
            draw,
            {},
            effort=st.sampled_from(["low", "medium", "high", "xhigh", "max"]),
            format=st.just(shape),
            task_budget=st.just({"type": "tokens", "total": 20_000}),
        )
        if config:
            fields["output_config"] = config
    return sometimes(
        draw,
        fields,
        system=TEXTS | st.lists(texts(), min_size=1, max_size=2),
        stop_sequences=st.lists(TEXTS, min_size=1, max_size=2),
        stream=st.booleans(),
        metadata=st.sampled_from([{"user_id": "u-1"}, {"user_id": "u-1", "team": "a"}]),
        service_tier=st.sampled_from(["auto", "standard_only"]),
        cache_control=MARKS,
        container=st.just("container_1"),
        context_management=st.just({"edits": []}),
    )


THINKING: dict[str, list[Fields | None]] = {
    OLD: [None, {"type": "enabled", "budget_tokens": 2048}, {"type": "disabled"}],
    NEW: [
        None,
        {"type": "adaptive"},
        {"type": "adaptive", "display": "summarized"},
        {"type": "adaptive", "display": "omitted"},
    ],
    CLONE: [
        None,
        {"type": "enabled", "budget_tokens": 1024, "display": "summarized", "later": 1},
        {"type": "disabled"},
    ],
}


def plain(fields: Fields) -> Fields:
    """A request with one spelling for what this format lets be spelled in several ways."""
    out = {key: _marked(value) for key, value in fields.items() if not (key == "stream" and value is False)}
    if "system" in out:
        out["system"] = _blocks(out["system"])
    messages: list[Fields] = []
    for message in out["messages"]:
        content = _blocks(message["content"])
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] = messages[-1]["content"] + content
        else:
            messages.append({**message, "content": content})
    out["messages"] = messages
    out["tools"] = [
        {key: value for key, value in tool.items() if (key, value) != ("type", "custom")}
        for tool in out.get("tools", [])
    ]
    choice = dict(out.get("tool_choice", {}))
    if choice.get("disable_parallel_tool_use") is False:
        del choice["disable_parallel_tool_use"]
    out["tool_choice"] = choice
    return out


def _blocks(content: Any) -> list[Fields]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [
        {**block, "content": _blocks(block.get("content", ""))} if block["type"] == "tool_result" else block
        for block in content
    ]


def _marked(value: Any) -> Any:
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        if value == {"type": "ephemeral", "ttl": "5m"}:
            return {"type": "ephemeral"}
        return {key: _marked(item) for key, item in value.items()}
    return value
