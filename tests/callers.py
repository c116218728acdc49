"""Callers of a relay that may die: each remembers what it saw, and asks again."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.rude import Heard, rude

ASK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Manner:
    """A way to ask: where, with what, and how its answer ends."""

    path: str
    asks: dict[str, Any]
    end: bytes


MANNERS = (
    Manner(
        "/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}, b"data: [DONE]"
    ),
    Manner("/v1/messages", {"stream": True, "max_tokens": 10_000}, b"event: message_stop"),
    Manner("/v1/chat/completions", {}, b'"usage"'),
)
STREAMED = MANNERS[:2]


@dataclass
class Seen:
    """What a caller saw of one request. `tokens`, in and out, are those that its answer told; `waited`
    seconds went by before the answer's head came, `seconds` between that and its end."""

    model: str
    heard: Heard
    finished: bool = False
    waited: float = 0.0
    seconds: float = 0.0

    @property
    def request_id(self) -> str:
        """The id that the answer's head told; empty where none came."""
        return self.heard.headers.get("x-request-id", "")

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens in and out, as the answer told them."""
        told = (0, 0)
        for event in objects(self.heard.body):
            usage = event.get("usage") or (event.get("message") or {}).get("usage") or {}
            told = (
                usage.get("prompt_tokens", usage.get("input_tokens", told[0])),
                usage.get("completion_tokens", usage.get("output_tokens", told[1])),
            )
        return told

    @property
    def told_of_its_end(self) -> bool:
        """Whether the last that came is an error in the answer's own format."""
        return self.heard.whole and any("error" in event for event in list(objects(self.heard.body))[-1:])


def objects(body: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a whole answer or of a stream of events."""
    for line in body.decode(errors="replace").splitlines():
        text = line.removeprefix("data:").strip()
        if text.startswith("{"):
            yield json.loads(text)


@dataclass
class Callers:
    """`parallel` callers that ask one thing after another, again and again while nobody listens. On leaving
    they finish what they began, or see it cut."""

    url: str
    secret: str
    models: Sequence[str]
    parallel: int = 20
    manners: Sequence[Manner] = MANNERS
    seen: list[Seen] = field(default_factory=list)
    under_way: int = 0
    """Answers whose head has come and whose end has not."""
    _stopping: bool = False
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._keep_asking()) for _ in range(self.parallel)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        else:
            await asyncio.gather(*self._tasks)

    def stop(self) -> None:
        """Lets nobody ask anew."""
        self._stopping = True

    async def busy(self, count: int, within: float = 30) -> None:
        """Returns once `count` answers are under way."""
        async with asyncio.timeout(within):
            while self.under_way < count:
                await asyncio.sleep(0.01)

    async def _keep_asking(self) -> None:
        while not self._stopping:
            try:
                await self._ask()
            except OSError:
                await asyncio.sleep(ASK_AGAIN_SECONDS)

    async def _ask(self) -> None:
        manner, model = random.choice(self.manners), random.choice(self.models)
        prompt = " ".join(["word"] * random.randint(1, 60))
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **manner.asks}
        async with rude(self.url) as client:
            seen = Seen(model, client.heard)
            self.seen.append(seen)
            asked = time.monotonic()
            await client.ask(manner.path, body, {"x-api-key": self.secret, "anthropic-version": "2023-06-01"})
            try:
                await client.head()
            except EOFError:
                return
            self.under_way += 1
            begun = time.monotonic()
            seen.waited = begun - asked
            try:
                heard = await client.rest()
            finally:
                self.under_way -= 1
                seen.seconds = time.monotonic() - begun
            seen.finished = heard.status == 200 and heard.whole and manner.end in heard.body
