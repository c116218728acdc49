"""The wire formats, as tables and forms name them."""

from __future__ import annotations

from django.db import models


class Format(models.TextChoices):
    OPENAI_CHAT = "openai_chat", "OpenAI Chat"
    OPENAI_RESPONSES = "openai_responses", "OpenAI Responses"
    ANTHROPIC = "anthropic", "Anthropic Messages"
    GEMINI = "gemini", "Gemini"
