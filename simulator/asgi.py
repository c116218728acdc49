"""The simulator inside another server, for the demo: the same answers; rudeness only as far as ASGI goes.

What ASGI cannot do: resets and cut messages end as a closed connection (the server logs that the application
returned early), nothing goes out before the head, no trailers, no false Content-Length.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from simulator import routes
from simulator.core import Vendor
from simulator.play import Act, Play

MAX_BODY = 64 * 2**20
PREFIX = "/simulator"
STALL_SECONDS = 600.0
PACE = 25
"""Milliseconds between two words of the demo."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """An ASGI application for one vendor; it may be mounted under a root path or under `/simulator`."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix(PREFIX) or "/"
        query = scope.get("query_string", b"").decode("latin-1")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        target = quote(path, safe="/:@.") + ("?" + query if query else "")
        seen = self.vendor.begin(scope["method"], target, headers)
        body = await _read(receive)
        if body is None:
            seen.end(left=True)
            return
        play = routes.answer(self.vendor, seen, body)
        playing = asyncio.ensure_future(_play(play, send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            seen.end(left=not playing.done())
        finally:
            for task in (playing, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _read(receive: Receive) -> bytes | None:
    """The whole body, cut at MAX_BODY; None where the client left first."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        if size < MAX_BODY:
            pieces.append(piece)
            size += len(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _play(play: Play, send: Send) -> None:
    """Do what can be done; returning before the end makes the server close the connection."""
    for step in play.before:
        if isinstance(step, float):
            await asyncio.sleep(step)
        elif isinstance(step, Act):
            await _rude(step)
            return
    if play.raw:
        return
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in play.headers]
    if play.length is not None:
        headers.append((b"content-length", str(play.length).encode()))
    await send({"type": "http.response.start", "status": play.status, "headers": headers})
    left = play.length
    for step in play.steps:
        if isinstance(step, bytes):
            piece = step if left is None else step[:left]
            left = None if left is None else left - len(piece)
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        elif isinstance(step, float):
            await asyncio.sleep(step)
        else:
            await _rude(step)
            return
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _rude(act: Act) -> None:
    if act is Act.STALL:
        await asyncio.sleep(STALL_SECONDS)


application = Application(Vendor(pace=PACE, control=False))
"""For the demo: it takes no scripts and remembers no requests."""
