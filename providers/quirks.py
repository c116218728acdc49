"""Named small deviations of vendors that almost speak a format, with what tells an operator to tick one.

What each does stands where requests are written and answers are read: `wire/neutral/chat_*.py`,
`wire/neutral/responses_writing.py`, `relay/payload.py`. docs/quirks.md tells which vendor needs which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

QUIRKS: Final[Mapping[str, StrPromise]] = {
    "no_include_usage": _("Refuses stream_options: streams are not asked for their usage."),
    "azure_deployments": _(
        "Azure's older addresses, /openai/deployments/…?api-version=…, with the key in api-key. Not for its "
        "/openai/v1."
    ),
    "max_tokens": _("Knows the limit of the answer as max_tokens alone, not as max_completion_tokens."),
    "max_completion_tokens": _("Knows the limit of the answer as max_completion_tokens alone."),
    "short_call_ids": _("Refuses ids of tool calls that are not nine letters and digits (Mistral)."),
    "reasoning_content": _(
        "Wants the model's thoughts back in reasoning_content, and refuses tool calls without it (DeepSeek, "
        "Moonshot)."
    ),
    "reasoning_details": _("Wants the model's thoughts back in reasoning_details (OpenRouter)."),
    "reasoning_object": _("Is told to think by reasoning: {effort, max_tokens} (OpenRouter)."),
    "thinking_object": _("Is told to think by thinking: {type} (DeepSeek, Zhipu, Moonshot)."),
    "reasoning_effort": _(
        "Takes reasoning_effort for models that are not known by their names (Ollama, vLLM)."
    ),
    "no_reasoning_effort": _("Refuses reasoning_effort: nothing tells it how much to think."),
    "no_reasoning_summary": _(
        "Refuses to tell a summary of its reasoning (OpenAI, where the organization is not verified)."
    ),
    "think_tags": _("Its models write their thoughts into the text, between <think> tags (Ollama, vLLM)."),
    "think_opened": _("The same, but the first <think> is missing: the prompt held it."),
    "google_signatures": _("Its models are Gemini under other names, and want their signatures back."),
    "cache_control": _("Takes marks for its prompt cache, as Anthropic's (OpenRouter with Claude)."),
    "no_json_schema": _("Refuses response_format: json_schema; is asked for a JSON object instead."),
    "no_allowed_tools": _("Refuses a tool choice among some tools: the others are left out instead."),
    "no_parallel_tool_calls": _("Refuses parallel_tool_calls."),
    "system_first": _("Refuses system messages behind the first turn: they go as the user's."),
    "string_content": _("Refuses lists of text as content: they are joined."),
    "top_k": _("Takes top_k (OpenRouter, vLLM)."),
    "video_url": _("Takes films by video_url (Zhipu, vLLM)."),
}
"""By the name that stands in an endpoint's row and in the configuration file."""
