"""Requests that clients of OpenAI Responses may send, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

words = st.text(st.characters(codec="utf-8"), max_size=12)
some_words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.from_regex(r"\A[a-z][a-z_]{0,9}[a-z]\Z")
ids = st.from_regex(r"\A[a-z0-9]{4,12}\Z")
schemas = st.sampled_from(
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "null"}}},
    ]
)


def some(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with all of these fields, and any of those."""
    return st.fixed_dictionaries(required, optional=optional)


def typed(kind: str, required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a type."""
    return some({"type": st.just(kind), **required}, optional)


input_texts = typed("input_text", {"text": words})
pictures = st.one_of(
    typed(
        "input_image",
        {"image_url": st.sampled_from(["https://a.example/b.png", "data:image/png;base64,aGk="])},
        detail=st.sampled_from(["auto", "low", "high"]),
    ),
    typed("input_image", {"file_id": ids}),
)
files = st.one_of(
    typed("input_file", {"file_data": st.just("data:application/pdf;base64,aGk="), "filename": some_words}),
    typed("input_file", {"file_url": st.just("https://a.example/b.pdf")}),
    typed("input_file", {"file_id": ids}),
)
sounds = typed("input_audio", {"input_audio": st.just({"data": "aGk=", "format": "wav"})})
contents = st.lists(st.one_of(input_texts, pictures, files), min_size=1, max_size=3)
output_texts = typed("output_text", {"text": words}, annotations=st.just([]))
refusals = typed("refusal", {"refusal": words})
messages = st.one_of(
    some({"role": st.sampled_from(["user", "system", "developer"]), "content": words}, {}),
    typed(
        "message",
        {"role": st.sampled_from(["user", "system", "developer"]), "content": contents},
        id=st.builds("msg_{}".format, ids),
    ),
    typed(
        "message",
        {
            "role": st.just("assistant"),
            "content": st.builds(
                lambda first, more: [first, *more],
                output_texts,
                st.lists(st.one_of(output_texts, refusals), max_size=1),
            ),
        },
        id=st.builds("msg_{}".format, ids),
        status=st.just("completed"),
        phase=st.sampled_from(["commentary", "final_answer"]),
    ),
)
outputs = st.one_of(words, st.lists(st.one_of(input_texts, pictures), min_size=2, max_size=2))
calls = st.one_of(
    typed(
        "function_call",
        {"call_id": ids, "name": names, "arguments": st.sampled_from(["{}", '{"a":1}'])},
        id=st.builds("fc_{}".format, ids),
        namespace=names,
        status=st.just("completed"),
    ),
    typed("custom_tool_call", {"call_id": ids, "name": names, "input": some_words}),
    typed("function_call_output", {"call_id": ids, "output": outputs}, status=st.just("completed")),
    typed("custom_tool_call_output", {"call_id": ids, "output": outputs}),
    typed(
        "local_shell_call",
        {
            "call_id": ids,
            "status": st.just("completed"),
            "action": st.just({"type": "exec", "command": ["ls"]}),
        },
    ),
    typed(
        "tool_search_call",
        {"call_id": ids, "execution": st.just("client"), "arguments": st.just({"query": "x"})},
    ),
    typed("local_shell_call_output", {"call_id": ids, "output": words}),
)
texts = st.lists(words, min_size=1, max_size=2)
thoughts = typed(
    "reasoning",
    {
        "id": st.builds("rs_{}".format, ids),
        "summary": st.lists(typed("summary_text", {"text": some_words}), max_size=2),
        "encrypted_content": some_words,
    },
)
others = st.sampled_from(
    [
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}},
        {"type": "computer_call_output", "call_id": "x", "output": {"type": "computer_screenshot"}},
        {"type": "item_reference", "id": "msg_9"},
        {"type": "mcp_approval_response", "approval_request_id": "a", "approve": True},
        {"type": "compaction", "encrypted_content": "gAAA"},
    ]
)
items = st.one_of(messages, calls, thoughts, others)

functions = typed(
    "function",
    {"name": names, "parameters": schemas},
    description=some_words,
    strict=st.booleans(),
    defer_loading=st.booleans(),
)
customs = typed(
    "custom",
    {"name": names},
    description=some_words,
    format=st.just({"type": "grammar", "syntax": "lark", "definition": "start: x"}),
)
builtins = st.sampled_from(
    [
        {"type": "web_search", "external_web_access": False},
        {"type": "local_shell"},
        {"type": "mcp", "server_label": "x", "server_url": "https://a.example"},
        {"type": "tool_search", "execution": "client", "parameters": {"type": "object"}},
        {"type": "tool_search"},
    ]
)
namespaces = typed(
    "namespace",
    {
        "name": names,
        "description": words,
        "tools": st.lists(st.one_of(functions, customs), min_size=1, max_size=2),
    },
)
tools = st.lists(
    st.one_of(functions, customs, builtins, namespaces),
    max_size=4,
    unique_by=lambda tool: (tool["type"], tool.get("name")),
)
choices = st.sampled_from(
    [
        "auto",
        "none",
        "required",
        {"type": "function", "name": "f"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]},
        {"type": "web_search_preview"},
    ]
)
requests = some(
    {"model": st.just("m"), "input": st.one_of(words, st.lists(items, max_size=6))},
    {
        "instructions": words,
        "tools": tools,
        "tool_choice": choices,
        "parallel_tool_calls": st.booleans(),
        "max_output_tokens": st.integers(1, 99_999),
        "reasoning": some(
            {"effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"])},
            {"summary": st.sampled_from(["auto", "concise", "detailed"])},
        ),
        "text": st.one_of(
            st.just({"verbosity": "low"}),
            st.just({"format": {"type": "json_object"}}),
            st.just(
                {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}}
            ),
        ),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_logprobs": st.integers(0, 20),
        "user": some_words,
        "service_tier": st.sampled_from(["auto", "flex"]),
        "store": st.booleans(),
        "stream": st.booleans(),
        "include": st.just(["reasoning.encrypted_content"]),
        "metadata": st.dictionaries(names, words, max_size=2),
        "prompt_cache_key": some_words,
        "truncation": st.just("auto"),
        "previous_response_id": st.builds("resp_{}".format, ids),
        "prompt": st.just({"id": "pmpt_1"}),
        "something_new": st.just({"a": [1]}),
    },
)
ITEM_TYPES = (
    *("message", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output"),
    *("reasoning", "local_shell_call", "tool_search_call", "local_shell_call_output", "tool_search_output"),
    *("additional_tools", "item_reference", "web_search_call"),
)
"""Items that the reader knows, and two that it holds as they are."""
