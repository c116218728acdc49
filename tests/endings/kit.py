"""What the tests of endings share: a request in each format, and the sight of what was left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

from tests.relay.harness import House, house
from tests.rude import Rude

MICRO = 1_000_000
"""Pico-dollars that a token costs at one dollar per million."""
WORDS = "hello there"


BOUNDARY = "a-boundary-of-ours"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


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


async def ask(
    client: Rude,
    each: House,
    dialect: Dialect = CHAT,
    *,
    label: str = "",
    only: int | None = None,
    **more: Any,
) -> None:
    """Sends a request for a stream, or what `more` makes of it. `label` is the client's own request id."""
    headers = {"x-api-key": each.secret, **dict(dialect.headers)}
    if label:
        headers["x-request-id"] = label
    await client.ask(dialect.path, {**dialect.body, **more}, headers, only=only)


def form(size: int, model: str = "sim") -> bytes:
    """A transcription request with a file of `size` bytes."""
    return (
        (
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="model"\r\n\r\n{model}\r\n'
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n'
            "content-type: audio/mpeg\r\n\r\n"
        ).encode()
        + bytes(size)
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def events(dialect: Dialect, body: bytes) -> list[dict[str, Any]]:
    """The parsed events of a stream."""
    if dialect is GEMINI_ARRAY:
        parsed: list[dict[str, Any]] = orjson.loads(body if body.rstrip().endswith(b"]") else body + b"]")
        return parsed
    data = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [orjson.loads(each) for each in data if each != b"[DONE]"]


def text_of(dialect: Dialect, body: bytes) -> str:
    """The text that a stream delivered, read with nothing of ours."""
    parts: list[str] = []
    for event in events(dialect, body):
        if dialect.name == "openai_chat":
            parts += [choice["delta"].get("content") or "" for choice in event.get("choices", ())]
        elif dialect.name == "openai_responses" and event["type"] == "response.output_text.delta":
            parts.append(event["delta"])
        elif dialect.name == "anthropic" and event["type"] == "content_block_delta":
            parts.append(event["delta"].get("text", ""))
        elif dialect.name == "gemini":
            parts += [
                part.get("text", "")
                for candidate in event.get("candidates", ())
                for part in candidate["content"].get("parts", ())
            ]
    return "".join(parts)


async def gone(seen: Any, within: float) -> float:
    """Waits until the vendor sees its client leave; returns the seconds. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        await seen.gone.wait()
    return time.monotonic() - began


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


async def final_of(each: House, number: int = 1) -> dict[str, Any]:
    """The final line of the request that is the house's `number`-th, once it is there, and no other after
    it."""
    finals = await each.settled(number)
    assert len(finals) == number
    return finals[-1]


async def blocked(each: House) -> None:
    """Waits until the one open request waits for its client to take what it was sent."""
    async with asyncio.timeout(10):
        since = None
        while since is None or time.monotonic() - since < 0.1:
            await asyncio.sleep(0.01)
            since = next((ctx.blocked_since for ctx in each.engine.open), None)


def connected(port: int) -> bool:
    """Whether the relay still holds its end of the connection with a client's port."""
    held = psutil.Process().net_connections("tcp4")
    return any(each.raddr[1:] == (port,) and each.status == "ESTABLISHED" for each in held)
