"""Conversations with tools, held by the vendors' own clients: each keeps the history as its format has it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import anthropic
import openai
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.responses import Response

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = ("weather", "news")
BUDGET, LIMIT = 2048, 8192


@dataclass(frozen=True)
class Called:
    """A call of a tool as the client got it."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """An answer as the client's own types have it. `usage`: input with cache reads and writes, output with
    reasoning, cache reads, reasoning (None where the format does not tell it). `opening`: what Anthropic's
    message_start said of the input."""

    text: str
    thoughts: str
    calls: tuple[Called, ...]
    usage: tuple[int, int, int, int | None]
    turn: Any = field(repr=False)
    opening: int | None = None


class Talker(Protocol):
    """One conversation. `lossy` ones give back what people see of an answer, and no more."""

    async def ask(self, *, stream: bool) -> Heard:
        """The next answer; it becomes part of the history."""

    def say(self, text: str) -> None:
        """The user's next words."""

    def report(self, results: Sequence[tuple[Called, str]]) -> None:
        """What came of calls."""


class Chat:
    """OpenAI's client, by Chat Completions."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, *, lossy: bool = False) -> None:
        self._client, self._model, self._lossy = client, model, lossy
        self.history: list[Any] = [{"role": "system", "content": "be brief"}]

    async def ask(self, *, stream: bool) -> Heard:
        asked: dict[str, Any] = {
            "model": self._model,
            "messages": self.history,
            "tools": [
                {"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
                for name in TOOLS
            ],
            "reasoning_effort": "medium",
        }
        if stream:
            state: Any = ChatCompletionStreamState()
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
            async for chunk in await self._client.chat.completions.create(**asked):
                state.handle_chunk(chunk)
            told = state.get_final_completion()
        else:
            told = await self._client.chat.completions.create(**asked)
        message = told.choices[0].message
        calls = message.tool_calls or ()
        turn = message.model_dump(exclude_none=True, exclude={"parsed"})
        for call in turn.get("tool_calls", ()):
            call["function"].pop("parsed_arguments", None)
            call.pop("index", None)
        if self._lossy:
            turn = {key: turn[key] for key in ("role", "content", "tool_calls") if key in turn}
            for call in turn.get("tool_calls", ()):
                call.pop("extra_content", None)
        self.history.append(turn)
        details = told.usage.completion_tokens_details
        cached = told.usage.prompt_tokens_details
        return Heard(
            message.content or "",
            getattr(message, "reasoning_content", None) or "",
            tuple(Called(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls),
            (
                told.usage.prompt_tokens,
                told.usage.completion_tokens,
                (cached and cached.cached_tokens) or 0,
                (details and details.reasoning_tokens) or 0,
            ),
            turn,
        )

    def say(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def report(self, results: Sequence[tuple[Called, str]]) -> None:
        self.history += [
            {"role": "tool", "tool_call_id": call.id, "content": result} for call, result in results
        ]


class Responses:
    """OpenAI's client, by Responses, without anything stored."""

    def __init__(self, client: openai.AsyncOpenAI, model: str, *, lossy: bool = False) -> None:
        self._client, self._model, self._lossy = client, model, lossy
        self.history: list[Any] = []

    async def ask(self, *, stream: bool) -> Heard:
        asked: dict[str, Any] = {
            "model": self._model,
            "instructions": "be brief",
            "input": self.history,
            "tools": [
                {"type": "function", "name": name, "description": name, "parameters": SCHEMA, "strict": False}
                for name in TOOLS
            ],
            "reasoning": {"effort": "medium", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "store": False,
        }
        told: Response
        if stream:
            async with self._client.responses.stream(**asked) as events:
                async for _ in events:
                    pass
                told = await events.get_final_response()
        else:
            told = await self._client.responses.create(**asked)
        turn: list[Any] = [item.model_dump(exclude_none=True) for item in told.output]
        for item in turn:
            item.pop("parsed_arguments", None)
            for part in item.get("content", ()):
                part.pop("parsed", None)
        if self._lossy:
            turn = [
                {key: value for key, value in item.items() if key not in ("id", "status")}
                for item in turn
                if item["type"] != "reasoning"
            ]
        self.history += turn
        calls = [item for item in told.output if item.type == "function_call"]
        thoughts = [item for item in told.output if item.type == "reasoning"]
        assert told.usage is not None
        return Heard(
            told.output_text,
            "".join(part.text for item in thoughts for part in item.summary),
            tuple(Called(call.call_id, call.name, json.loads(call.arguments)) for call in calls),
            (
                told.usage.input_tokens,
                told.usage.output_tokens,
                told.usage.input_tokens_details.cached_tokens,
                told.usage.output_tokens_details.reasoning_tokens,
            ),
            turn,
        )

    def say(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def report(self, results: Sequence[tuple[Called, str]]) -> None:
        self.history += [
            {"type": "function_call_output", "call_id": call.id, "output": result} for call, result in results
        ]


class Anthropic:
    """Anthropic's client."""

    def __init__(self, client: anthropic.AsyncAnthropic, model: str, *, lossy: bool = False) -> None:
        self._client, self._model, self._lossy = client, model, lossy
        self.history: list[Any] = []

    async def ask(self, *, stream: bool) -> Heard:
        asked: dict[str, Any] = {
            "model": self._model,
            "max_tokens": LIMIT,
            "system": "be brief",
            "messages": self.history,
            "tools": [{"name": name, "description": name, "input_schema": SCHEMA} for name in TOOLS],
            "thinking": {"type": "enabled", "budget_tokens": BUDGET, "display": "summarized"},
        }
        opening = None
        if stream:
            async with self._client.messages.stream(**asked) as events:
                async for event in events:
                    if event.type == "message_start":
                        opening = event.message.usage.input_tokens
                told: anthropic.types.Message = await events.get_final_message()
        else:
            told = await self._client.messages.create(**asked)
        turn = [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in told.content]
        if self._lossy:
            turn = [block for block in turn if "thinking" not in block["type"]]
        self.history.append({"role": "assistant", "content": turn})
        usage = told.usage
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        return Heard(
            "".join(block.text for block in told.content if block.type == "text"),
            "".join(block.thinking for block in told.content if block.type == "thinking"),
            tuple(
                Called(block.id, block.name, dict(block.input))
                for block in told.content
                if block.type == "tool_use"
            ),
            (usage.input_tokens + read + written, usage.output_tokens, read, None),
            turn,
            opening,
        )

    def say(self, text: str) -> None:
        self.history.append({"role": "user", "content": text})

    def report(self, results: Sequence[tuple[Called, str]]) -> None:
        content = [
            {"type": "tool_result", "tool_use_id": call.id, "content": result} for call, result in results
        ]
        self.history.append({"role": "user", "content": content})


class Gemini:
    """Google's client."""

    def __init__(self, client: genai.client.AsyncClient, model: str, *, lossy: bool = False) -> None:
        self._client, self._model, self._lossy = client, model, lossy
        self.history: list[types.Content] = []

    async def ask(self, *, stream: bool) -> Heard:
        schema = {key: value for key, value in SCHEMA.items() if key != "additionalProperties"}
        declared = [
            types.FunctionDeclaration(name=name, description=name, parameters_json_schema=schema)
            for name in TOOLS
        ]
        asked: dict[str, Any] = {
            "model": self._model,
            "contents": self.history,
            "config": types.GenerateContentConfig(
                system_instruction="be brief",
                max_output_tokens=LIMIT,
                tools=[types.Tool(function_declarations=declared)],
                thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=BUDGET),
                automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            ),
        }
        parts: list[types.Part] = []
        usage: types.GenerateContentResponseUsageMetadata | None = None
        if stream:
            async for chunk in await self._client.models.generate_content_stream(**asked):
                parts += _parts(chunk)
                usage = chunk.usage_metadata or usage
        else:
            told = await self._client.models.generate_content(**asked)
            parts, usage = _parts(told), told.usage_metadata
        calls = [part.function_call for part in parts if part.function_call is not None]
        kept = [part for part in parts if part.text != "" or part.thought_signature]
        if self._lossy:
            kept = [
                part.model_copy(update={"thought_signature": None})
                for part in kept
                if not part.thought and part.text != ""
            ]
        turn = types.Content(role="model", parts=kept)
        self.history.append(turn)
        assert usage is not None
        return Heard(
            "".join(part.text or "" for part in parts if not part.thought),
            "".join(part.text or "" for part in parts if part.thought),
            tuple(Called(call.id or "", call.name or "", dict(call.args or {})) for call in calls),
            (
                (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
                (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
                usage.cached_content_token_count or 0,
                usage.thoughts_token_count or 0,
            ),
            turn,
        )

    def say(self, text: str) -> None:
        self.history.append(types.Content(role="user", parts=[types.Part(text=text)]))

    def report(self, results: Sequence[tuple[Called, str]]) -> None:
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id or None, name=call.name, response={"output": result}
                )
            )
            for call, result in results
        ]
        self.history.append(types.Content(role="user", parts=parts))


def _parts(answer: types.GenerateContentResponse) -> list[types.Part]:
    candidates = answer.candidates or []
    content = candidates[0].content if candidates else None
    return list(content.parts or []) if content else []


@asynccontextmanager
async def talking(
    form: str, url: str, secret: str, model: str, *, lossy: bool = False
) -> AsyncIterator[Talker]:
    """A conversation in a format, by its vendor's own client, that checks each answer against its types."""
    strictly: dict[str, Any] = {"api_key": secret, "max_retries": 0, "_strict_response_validation": True}
    if form == "anthropic":
        async with anthropic.AsyncAnthropic(base_url=url, **strictly) as client:
            yield Anthropic(client, model, lossy=lossy)
    elif form == "gemini":
        google = genai.Client(api_key=secret, http_options=types.HttpOptions(base_url=url))
        try:
            async with google.aio as aio:
                yield Gemini(aio, model, lossy=lossy)
        finally:
            google.close()
    else:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", **strictly) as openai_client:
            kind = Chat if form == "openai_chat" else Responses
            yield kind(openai_client, model, lossy=lossy)
