"""The bare door: an ASGI application for the relay's paths. It decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any, cast

from relay import engine as engines
from relay.answer import Answer, Pieces, Stream
from relay.call import CUT, LEFT, Call, client_address, extension
from relay.errors import Unreadable
from relay.pipeline import relay
from relay.refusals import closed, late, oversized
from relay.routes import takes_uploads

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]


_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


class RelayDoor:
    """Serves `/v1` and `/v1beta` beside Django, without its handler, middleware or thread hops."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = engines.current()
        if engine is None or not engine.ready:
            await _send(send, closed(scope["method"], _raw_path(scope)))
            return
        departure = _Departure(scope, receive)
        if scope["method"] in _BODILESS:
            departure.watch()
        call = Call(
            method=scope["method"],
            path=_raw_path(scope),
            query=scope["query_string"].decode("latin-1"),
            headers=list(scope["headers"]),
            address=client_address(
                (scope.get("client") or ("",))[0], scope["headers"], engine.knobs.trusted_proxies
            ),
            length=_length(scope),
            chunks=_chunks(receive, departure.watch),
            cut=extension(scope, CUT),
        )
        answer: Answer | None = None
        try:
            answer = await relay(engine, call)
            await _send(send, answer)
        except Unreadable as error:
            if error.timed_out:
                await _send(send, late(call.method, call.path))
        except asyncio.CancelledError:
            if not departure.seen:
                raise  # the server wants us to end, not the client's leaving
            cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
        finally:
            departure.close()
            if answer is not None and answer.stream is not None:
                answer.stream.abandon()


class BodyLimit:
    """Stands before Django's door: counts a body while it comes in, before Django spools it, and waits for it
    no longer than the other door does."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = engines.current()
        if engine is None or not engine.ready:
            await _send(send, closed(scope["method"], _raw_path(scope)))
            return
        path, knobs = _raw_path(scope), engine.knobs
        limit = knobs.max_upload_bytes if takes_uploads(scope["method"], path) else knobs.max_body_bytes
        if _length(scope) > limit:
            await _send(send, oversized(scope["method"], path, limit))
            return
        deadline = asyncio.get_running_loop().time() + engine.knobs.client_body_timeout
        size, whole = 0, False
        refusal: Answer | None = None

        async def counted() -> MutableMapping[str, Any]:
            nonlocal size, whole, refusal
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                refusal = late(scope["method"], path)
                return {"type": "http.disconnect"}  # to Django, which lets go of what it has
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > limit:
                refusal = oversized(scope["method"], path, limit)
                return {"type": "http.disconnect"}
            return message

        await self._application(scope, counted, send)
        if refusal is not None:
            await _send(send, refusal)


async def _send(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    if answer.stream is not None:
        await _pour(send, answer.stream)
    await send({"type": "http.response.body", "body": answer.body})


async def _pour(send: Send, stream: Stream | Pieces) -> None:
    ctx = stream.ctx
    async with aclosing(stream.chunks()) as chunks:
        async for chunk in chunks:
            ctx.blocked_since = time.monotonic()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            ctx.blocked_since = None


class _Departure:
    """Cancels the request's task when the client leaves. Watched for from when its whole body is here: until
    then whoever reads the body is told."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._tell: Callable[[Callable[[], None] | None], None] | None = extension(scope, LEFT)
        self._listener: asyncio.Task[None] | None = None
        self.seen = False

    def watch(self) -> None:
        """Begins to. A server without the extension must be listened to in a task of its own."""
        if self._tell is not None:
            self._tell(self._leave)
        elif self._listener is None:
            self._listener = asyncio.create_task(self._listen())

    def close(self) -> None:
        """Nobody is to be told any more."""
        if self._tell is not None:
            self._tell(None)
        elif self._listener is not None:
            self._listener.cancel()

    def _leave(self) -> None:
        self.seen = True
        self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()


async def _chunks(receive: Receive, whole: Callable[[], None]) -> AsyncGenerator[bytes, None]:
    """A request's body, piece by piece; `whole` is called once all of it is here. Raises Unreadable if the
    client leaves before its end."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unreadable(timed_out=False)
        more = message.get("more_body", False)
        if not more:
            whole()
        if chunk := message.get("body", b""):
            yield chunk


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return str((raw if raw is not None else scope["path"].encode()).decode("latin-1"))
