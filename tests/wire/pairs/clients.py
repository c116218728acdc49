"""What the official client libraries make of an answer in each format: strictly parsed, and added up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from anthropic.types import Message
from openai.types.responses import Response

from tests.wire.neutral import anthropic_kit, chat_kit, gemini_kit, responses_kit

Read = Callable[[bytes], Any]


def chat_message(whole: dict[str, Any]) -> Any:
    """Of a completion, less what its stream is called."""
    return {**whole, "object": "chat.completion"}


def claude_message(body: bytes) -> Any:
    """Of a message as the library's strict model reads it."""
    return Message.model_validate_json(body).model_dump(exclude_none=True)


def response(body: bytes) -> Any:
    """Of a response as the library's strict model reads it."""
    Response.model_validate_json(body, strict=True)
    return orjson.loads(body)


def generated(body: bytes) -> Any:
    """Of an answer of Gemini's as Google's types read it."""
    answer = orjson.loads(body)
    gemini_kit.assert_typed(answer)
    return answer


ADDED_UP: dict[str, Read] = {
    "openai_chat": lambda stream: chat_message(chat_kit.accumulated(stream)),
    "openai_responses": responses_kit.accumulated,
    "anthropic": anthropic_kit.accumulated,
    "gemini": lambda stream: gemini_kit.joined(gemini_kit.pieces_of(stream)),
}
"""A whole stream, as the format's library accumulates it."""
WHOLE: dict[str, Read] = {
    "openai_chat": lambda body: chat_message(chat_kit.whole(body)),
    "openai_responses": response,
    "anthropic": claude_message,
    "gemini": generated,
}
"""A whole answer, as the format's library reads it."""
