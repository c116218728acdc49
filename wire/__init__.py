"""The dialects that clients and vendors speak, without any I/O: bytes in, bytes and values out."""

from __future__ import annotations

from wire.anthropic import Anthropic
from wire.format import WireFormat
from wire.gemini import Gemini
from wire.neutral import anthropic_answers, chat_answers, gemini_answers, responses_answers
from wire.neutral.dialect import Dialect
from wire.openai_chat import OpenAIChat
from wire.openai_responses import OpenAIResponses

FORMATS: dict[str, WireFormat] = {
    "openai_chat": OpenAIChat(),
    "openai_responses": OpenAIResponses(),
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}

DIALECTS: dict[str, Dialect] = {
    "openai_chat": chat_answers.OpenAIChat(),
    "openai_responses": responses_answers.Responses(),
    "anthropic": anthropic_answers.Anthropic(),
    "gemini": gemini_answers.Gemini(),
}
"""The same, for traffic that goes from one format to another."""
