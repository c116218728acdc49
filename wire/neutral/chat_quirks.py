"""How endpoints that speak Chat Completions deviate from OpenAI's, by the names that operators give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

QUIRKS: Final[Mapping[str, str]] = {
    "no_include_usage": "refuses stream_options",
    "max_tokens": "takes max_tokens, whatever its models are called",
    "max_completion_tokens": "takes max_completion_tokens, whatever its models are called",
    "top_k": "takes top_k (vLLM, OpenRouter)",
    "string_content": "takes text as a string alone, not as a list of parts",
    "system_first": "takes a system message at the beginning alone (chat templates of Qwen, Mistral)",
    "short_call_ids": "takes ids of tool calls of nine letters and digits alone (Mistral)",
    "no_parallel_tool_calls": "refuses parallel_tool_calls",
    "no_allowed_tools": "does not know tool_choice allowed_tools: the other tools are left out instead",
    "no_json_schema": "knows JSON mode alone; the schema goes into the prompt (DeepSeek)",
    "video_url": "takes films (Qwen, vLLM, OpenRouter)",
    "cache_control": "takes Anthropic's marks (OpenRouter)",
    "no_reasoning_effort": "refuses reasoning_effort",
    "reasoning_object": "takes `reasoning` in place of reasoning_effort (OpenRouter)",
    "thinking_object": "takes `thinking` in place of reasoning_effort (DeepSeek, Moonshot, Zhipu)",
    "reasoning_content": "wants its reasoning_content back with tool calls (DeepSeek, Moonshot, Zhipu)",
    "reasoning_details": "wants its reasoning_details back (OpenRouter)",
    "google_signatures": "wants extra_content.google.thought_signature back, whatever its models are called",
    "think_tags": "writes thinking into the text, between <think> and </think>",
    "think_opened": "writes thinking into the text, without the first <think>",
}
