"""OpenAI's two clients behind one face, so that each journey is made by both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any

import openai

from tests.journeys.kit import Home

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello there"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "Paris", "days": 7}
"""What the simulator makes of SCHEMA."""


class Sdk:
    """One of the clients. Methods are named by their path: `chat.completions.create`."""

    def __init__(self, client: openai.AsyncOpenAI | openai.OpenAI) -> None:
        self.client = client

    def __repr__(self) -> str:
        return type(self.client).__name__

    @property
    def blocking(self) -> bool:
        return isinstance(self.client, openai.OpenAI)

    def named(self, secret: str) -> Sdk:
        """The same client with another API key."""
        return Sdk(self.client.with_options(api_key=secret))

    async def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What the method gives."""
        call = attrgetter(method)(self.client)
        if self.blocking:
            return await asyncio.to_thread(call, *arguments, **named)
        return await call(*arguments, **named)

    async def hear(self, method: str, **named: Any) -> list[Any]:
        """All that a stream gives, in order."""
        heard: list[Any] = []
        await self.hear_into(heard, method, **named)
        return heard

    async def hear_into(self, heard: list[Any], method: str, **named: Any) -> None:
        """As `hear`, into a list that outlives an error."""
        call = attrgetter(method)(self.client)
        if self.blocking:

            def listen() -> None:
                with call(stream=True, **named) as stream:
                    heard.extend(stream)

            await asyncio.to_thread(listen)
            return
        async with await call(stream=True, **named) as stream:
            async for each in stream:
                heard += [each]

    async def follow(self, method: str, final: str, **named: Any) -> Any:
        """What one of the client's stream helpers puts together in the end."""
        call = attrgetter(method)(self.client)
        if self.blocking:

            def listen() -> Any:
                with call(**named) as stream:
                    for _ in stream:
                        pass
                    return getattr(stream, final)()

            return await asyncio.to_thread(listen)
        async with call(**named) as stream:
            async for _ in stream:
                pass
            return await getattr(stream, final)()


@asynccontextmanager
async def both(home: Home, *, retries: int = 0) -> AsyncIterator[list[Sdk]]:
    """Both clients as their manual sets them up, but for base URL and API key; and for their retries."""
    where: dict[str, Any] = {"api_key": home.secret, "base_url": home.openai_url}
    with openai.OpenAI(**where, max_retries=retries) as blocking:
        async with openai.AsyncOpenAI(**where, max_retries=retries) as asynchronous:
            yield [Sdk(asynchronous), Sdk(blocking)]
