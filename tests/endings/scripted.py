"""An ASGI server that is nothing but a script: what the application receives, and at which message its `send`
waits, is told to the letter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import orjson

from relay.door import BodyLimit, RelayDoor
from tests.endings.kit import CHAT, Dialect
from tests.relay.harness import House, django_application

Message = MutableMapping[str, Any]


class Exchange:
    """One request. `blocks` tells at which message `send` waits for good, `breaks` at which it raises."""

    def __init__(
        self,
        body: bytes,
        *,
        blocks: Callable[[Message], bool] = lambda message: False,
        breaks: Callable[[Message], bool] = lambda message: False,
    ) -> None:
        self._messages = [{"type": "http.request", "body": body, "more_body": False}]
        self._blocks, self._breaks = blocks, breaks
        self._gone = asyncio.Event()
        self.sent: list[Message] = []
        self.waiting = asyncio.Event()
        """Set once `send` waits."""
        self.task: asyncio.Task[None]

    async def receive(self) -> Message:
        if self._messages:
            return self._messages.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._breaks(message):
            raise OSError("the connection is gone")
        if self._blocks(message):
            self.waiting.set()
            await asyncio.Event().wait()
        self.sent.append(message)

    def leave(self) -> None:
        """The client closes its connection."""
        self._gone.set()

    async def over(self) -> BaseException | None:
        """Waits until the application has returned; what it raised, if so."""
        async with asyncio.timeout(5):
            await asyncio.wait({self.task})
        return None if self.task.cancelled() else self.task.exception()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


@asynccontextmanager
async def exchange(
    each: House, door: str, dialect: Dialect = CHAT, *, stream: bool = True, **script: Any
) -> AsyncIterator[Exchange]:
    """A request of `dialect` on its way through a door."""
    application: Any = RelayDoor() if door == "asgi" else BodyLimit(django_application())
    parts = urlsplit(dialect.path)
    wanted = (
        {**dialect.body}
        if stream
        else {name: dialect.body[name] for name in dialect.body if name != "stream"}
    )
    headers = {"host": "localhost", "content-type": "application/json", "x-api-key": each.secret}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (name.encode(), value.encode()) for name, value in (headers | dict(dialect.headers)).items()
        ],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 80),
    }
    ours = Exchange(orjson.dumps(wanted), **script)
    ours.task = asyncio.create_task(application(scope, ours.receive, ours.send))
    try:
        yield ours
    finally:
        ours.leave()
        ours.task.cancel()
        with suppress(BaseException):
            await ours.task


def is_head(message: Message) -> bool:
    """Whether this message carries the status line and the headers."""
    return bool(message["type"] == "http.response.start")


def holds(mark: bytes) -> Callable[[Message], bool]:
    """Whether a message carries `mark` in its body."""
    return lambda message: mark in message.get("body", b"")
