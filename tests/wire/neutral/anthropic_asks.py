"""Requests of Anthropic's as the tests of their reading and writing ask for them."""

from __future__ import annotations

import json
from typing import Any

from tests.wire.neutral.anthropic_kit import DIALECT
from wire.jsons import dumps
from wire.neutral.parts import (
    Part,
    Text,
    Turn,
)
from wire.neutral.requests import (
    Effort,
    Request,
    Target,
    Written,
)
from wire.types import Brief

OPUS = Target("claude-opus-4-5", 64_000)


def read(fields: dict[str, Any] | None = None, **more: Any) -> Request:
    """What the middle makes of a client's request."""
    hello = [{"role": "user", "content": "Hi"}]
    body = {"model": "claude", "max_tokens": 100, "messages": hello, **(fields or {}), **more}
    return DIALECT.read_request(dumps(body), Brief("claude", stream=body.get("stream") is True))


def write(request: Request, target: Target = OPUS) -> tuple[dict[str, Any], Written]:
    """What goes to a model of Anthropic's."""
    written = DIALECT.write_request(request, target)
    return json.loads(written.body), written


def chat(*turns: Turn, **more: Any) -> Request:
    """A request that came in another format."""
    return Request("openai_chat", "gpt", turns, **more)


def user(*parts: Part | str) -> Turn:
    return Turn("user", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def assistant(*parts: Part | str) -> Turn:
    return Turn("assistant", tuple(Text(part) if isinstance(part, str) else part for part in parts))


def system(text: str) -> Turn:
    return Turn("system", (Text(text),))


def messages(*turns: Turn, target: Target = OPUS, **more: Any) -> list[dict[str, Any]]:
    """What goes upstream of a conversation that came in another format."""
    body, _ = write(chat(*turns, **more), target)
    told: list[dict[str, Any]] = body["messages"]
    return told


def use(ident: str, name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": ident, "name": name, "input": given}


def result(ident: str, content: Any = "ok", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": ident, "content": content, **more}


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


THINK = Effort(enabled=True, budget=2048)
OK = (Text("ok"),)
