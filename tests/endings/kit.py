"""What the tests of endings share: a request in each format, and the sight of what was left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.relay.harness import House, house
from tests.rude import Rude

MICRO = 1_000_000
"""Pico-dollars that a token costs at one dollar per million."""
WORDS = "hello there"


@dataclass(frozen=True)
class Dialect:
    """How one format asks for a stream, and how its stream goes."""

    name: str
    path: str
    body: dict[str, Any]
    headers: tuple[tuple[str, str], ...]
    end: bytes
    """Stands in the frame that ends a whole answer, and nowhere before."""
    error: bytes
    """Stands in what tells a failure in mid-stream."""


MESSAGES = [{"role": "user", "content": WORDS}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": WORDS}]}]}
CHAT = Dialect(
    "openai_chat", "/v1/chat/completions", {"model": "sim", "messages": MESSAGES, "stream": True}, (),
    b"data: [DONE]", b'data: {"error":',
)  # fmt: skip
RESPONSES = Dialect(
    "openai_responses", "/v1/responses", {"model": "sim", "input": WORDS, "stream": True}, (),
    b'"type":"response.completed"', b"event: response.failed",
)  # fmt: skip
ANTHROPIC = Dialect(
    "anthropic", "/v1/messages", {"model": "sim", "messages": MESSAGES, "max_tokens": 100, "stream": True},
    (("anthropic-version", "2023-06-01"),), b"message_stop", b"event: error",
)  # fmt: skip
GEMINI_EVENTS = Dialect(
    "gemini", "/v1beta/models/sim:streamGenerateContent?alt=sse", GEMINI, (), b'"finishReason"',
    b'data: {"error":',
)  # fmt: skip
GEMINI_ARRAY = Dialect(
    "gemini", "/v1beta/models/sim:streamGenerateContent", GEMINI, (), b'"finishReason"', b'{"error":',
)  # fmt: skip
DIALECTS = {
    "chat": CHAT,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI_EVENTS,
    "array": GEMINI_ARRAY,
}


async def ask(client: Rude, each: House, dialect: Dialect = CHAT, **more: Any) -> None:
    """Sends a request for a stream."""
    await client.ask(
        dialect.path, {**dialect.body, **more}, {"x-api-key": each.secret, **dict(dialect.headers)}
    )


async def gone(seen: Any, within: float) -> None:
    """Waits until the vendor sees its client leave. Raises TimeoutError."""
    async with asyncio.timeout(within):
        await seen.gone.wait()


@asynccontextmanager
async def clean_house(door: str, **options: Any) -> AsyncIterator[House]:
    """A relay as `house` gives it, warm, that must be found at the end as it was before: nothing under way,
    no slot, connection, task, memory or file kept."""
    async with house(door, **options) as each:
        warm = await each.http.get("/v1/models")
        assert warm.status_code == 200
        before = tasks()
        yield each
        await each.idle()
        async with asyncio.timeout(5):
            while left := tasks() - before:
                await asyncio.wait(left, timeout=0.1)
        assert each.engine.body_bytes == 0
        assert uploads() == []


def tasks() -> set[asyncio.Task[Any]]:
    """The tasks that run now, the vendor's for its open connections aside."""
    return {task for task in asyncio.all_tasks() if "Connection._serve" not in repr(task.get_coro())}


def uploads() -> list[str]:
    """The upload files that this process still holds open, named or not."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            continue
        if "/uploads/" in target:
            held.append(target)
    return held


def final_of(each: House) -> dict[str, Any]:
    """The one final line."""
    (final,) = each.journal()
    return final
