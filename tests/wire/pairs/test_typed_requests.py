"""Every request of the corpus is one that the vendor's own client library types: no field is missing or of
another kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from google.genai import types
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.wire.pairs.kit import PAIRS, written
from tests.wire.pairs.requests import REQUESTS

CHAT = TypeAdapter(CompletionCreateParamsStreaming)
RESPONSES = TypeAdapter(ResponseCreateParamsStreaming)
CLAUDE = TypeAdapter(MessageCreateParamsStreaming)
GEMINI: dict[str, type[BaseModel]] = {
    "systemInstruction": types.Content,
    "toolConfig": types.ToolConfig,
    "generationConfig": types.GenerationConfig,
}


def responses(body: dict[str, Any]) -> None:
    for item in body["input"]:
        if item.get("role") == "assistant" and isinstance(item["content"], list):
            # The type is of what the model said before; OpenAI takes such a message without its id as well.
            item |= {"id": "msg_1", "status": "completed"}
            item["content"] = [{"annotations": [], **part} for part in item["content"]]
    RESPONSES.validate_python(body)


def gemini(body: dict[str, Any]) -> None:
    for content in body.pop("contents"):
        types.Content.model_validate(content)
    for tool in body.pop("tools", ()):
        types.Tool.model_validate(tool)
    for name, value in body.items():
        GEMINI[name].model_validate(value)


TYPED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "openai_chat": CHAT.validate_python,
    "openai_responses": responses,
    "anthropic": CLAUDE.validate_python,
    "gemini": gemini,
}


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_vendors_library_knows_all_that_is_sent(one: str, other: str) -> None:
    for case, by in REQUESTS.items():
        told = written(one, other, by[one]) if one in by else {}
        if "body" in told:
            try:
                TYPED[other](told["body"])
            except ValidationError as error:
                raise AssertionError(case) from error
        else:
            assert told.get("param") or one not in by
