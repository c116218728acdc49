"""A vendor of this format behind clients of the others: what it wants back with its calls comes back through
every client's own history."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.wire.neutral.chat_kit import asked, decoded, deltas, written
from wire import DIALECTS
from wire.neutral.events import Reply
from wire.neutral.requests import Effort, Request, Tool
from wire.types import Brief

BRIEF = Brief("public-model")
EXTRA = {"google": {"thought_signature": "SIG"}}
BLOCK = {"type": "reasoning.text", "signature": "S", "format": "anthropic-claude-v1", "index": 0}
CALLS: list[dict[str, Any]] = [
    {"index": number, "id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    for number in (0, 1)
]
VENDORS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "reasoning_content": (
        deltas({"reasoning_content": "Hm."}, {"content": "Look:"}, {"tool_calls": CALLS}),
        {"content": "Look:", "reasoning_content": "Hm."},
    ),
    "reasoning_details": (
        deltas(
            {"reasoning": "Hm.", "reasoning_details": [{**BLOCK, "text": "Hm."}]},
            {"content": "Look:"},
            {"tool_calls": CALLS},
        ),
        {"content": "Look:", "reasoning_details": [{**BLOCK, "text": "Hm."}]},
    ),
    "google_signatures": (
        deltas({"tool_calls": [{**CALLS[0], "extra_content": EXTRA}, CALLS[1]]}),
        {"content": None},
    ),
}


def through_anthropic(reply: Reply, quirk: str) -> Request:
    """The next request of a client of Anthropic's format that was told this answer."""
    question = asked(origin="anthropic", effort=Effort(True, "high"), tools=(Tool("f"),), quirks=(quirk,))
    content = orjson.loads(DIALECTS["anthropic"].write_reply(reply, question))["content"]
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}
        for block in content
        if block["type"] == "tool_use"
    ]
    body = {
        "model": "public-model",
        "max_tokens": 9000,
        "thinking": {"type": "enabled", "budget_tokens": 5000},
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": content},
            {"role": "user", "content": results},
        ],
    }
    return DIALECTS["anthropic"].read_request(orjson.dumps(body), BRIEF)


def through_responses(reply: Reply, quirk: str) -> Request:
    """The next request of a client of Responses that was told this answer, and has nothing stored."""
    wanted = {"openai_responses": {"include": ["reasoning.encrypted_content"], "store": False}}
    question = asked(origin="openai_responses", extras=wanted, tools=(Tool("f"),), quirks=(quirk,))
    output = orjson.loads(DIALECTS["openai_responses"].write_reply(reply, question))["output"]
    results = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
        for item in output
        if item["type"] == "function_call"
    ]
    body = {
        "model": "public-model",
        "store": False,
        "input": [{"role": "user", "content": "Hi"}, *output, *results],
    }
    return DIALECTS["openai_responses"].read_request(orjson.dumps(body), BRIEF)


@pytest.mark.parametrize("quirk", VENDORS)
@pytest.mark.parametrize("client", [through_anthropic, through_responses])
def test_case_43_and_47_what_a_vendor_wants_back_comes_back(client: Any, quirk: str) -> None:
    stream, expected = VENDORS[quirk]
    request = client(decoded([stream], asked(quirks=(quirk,))), quirk)
    calls = [{key: call[key] for key in ("id", "type", "function")} for call in CALLS]
    if quirk == "google_signatures":
        calls[0]["extra_content"] = EXTRA
    assert written(request, "m", quirk)[0]["messages"][1:] == [
        {"role": "assistant", **expected, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c0", "content": "ok"},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ]
