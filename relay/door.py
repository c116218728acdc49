"""The bare door: an ASGI application for the relay's paths. It decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import aclosing
from typing import Any, cast

from relay import desk, engine as engines
from relay.answer import Answer, Pieces, Stream
from relay.call import Call, Headers, Line, client_address, line_of, take_line
from relay.engine import Engine
from relay.errors import Unreadable
from relay.pipeline import relay
from relay.refusals import closed, late, oversized
from relay.routes import is_relay_path, takes_uploads

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
        line = take_line(scope)
        client = _Client(receive, line)
        call = _call(scope, engine, client.read, line)
        if line is None and engine.guarded and (refusal := desk.turned_away(engine, call)) is not None:
            await _send(send, desk.answer(call, refusal))
            return
        if scope["method"] in _BODILESS:
            client.watch()
        answer: Answer | None = None
        try:
            answer = await relay(engine, call)
            await _send(send, answer, line)
        except Unreadable as error:
            if error.timed_out:
                await _send(send, late(call.method, call.path))
        except asyncio.CancelledError:
            if not client.left:
                raise  # the server wants us to end, not the client's leaving
            cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
        finally:
            client.forget()
            if answer is not None and answer.stream is not None:
                answer.stream.abandon()


def turned_away(scope: Scope) -> Answer | None:
    """The refusal of a request that is not to be read; None for all others. For a server to ask before it
    begins a request, whose scope offers a line then; the doors ask where it does not."""
    engine = engines.current()
    if engine is None or not engine.guarded or not is_relay_path(scope["path"]):
        return None
    call = _call(scope, engine, _nothing, None)
    refusal = desk.turned_away(engine, call)
    return refusal and desk.answer(call, refusal)


def turned_away_at_once(
    method: str, path: str, query: str, headers: Headers, peer: str
) -> tuple[int, bytes] | None:
    """The same, of a request with no scope yet: the status, and what follows the server's own header
    lines."""
    engine = engines.current()
    if engine is None or not engine.guarded or not is_relay_path(path):
        return None
    address = client_address(peer, headers, engine.knobs.trusted_proxies)
    call = Call(method=method, path=path, query=query, headers=headers, address=address, read=_nothing)
    refusal = desk.turned_away(engine, call)
    return refusal and desk.lines(call, refusal)


def answering(answer: Answer) -> Application:
    """An application that answers so."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await _send(send, answer)

    return application


def _call(
    scope: Scope, engine: Engine, read: Callable[[], Awaitable[tuple[bytes, bool]]], line: Line | None
) -> Call:
    headers = scope["headers"]
    return Call(
        method=scope["method"],
        path=_raw_path(scope),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        address=client_address((scope.get("client") or ("",))[0], headers, engine.knobs.trusted_proxies),
        read=read,
        cut=None if line is None else line.cut,
    )


async def _nothing() -> tuple[bytes, bool]:
    return b"", False


class BodyLimit:
    """Stands before Django's door: turns away as the other door does; counts a body while it comes in, before
    Django spools it, and waits for it no longer than the other door does."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = engines.current()
        if engine is None or not engine.ready:
            await _send(send, closed(scope["method"], _raw_path(scope)))
            return
        if line_of(scope) is None and (refused := turned_away(scope)) is not None:
            await _send(send, refused)
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


async def _send(send: Send, answer: Answer, line: Line | None = None) -> None:
    """By `line`, where there is one, as far as it does not have to wait."""
    stream = answer.stream
    if isinstance(stream, Pieces):  # of known length
        line = None
    if line is not None and not line.reply(answer.status, answer.headers, None if stream else answer.body):
        line = None
    if line is None:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    elif stream is None:
        return
    if stream is not None:
        await _pour(send, stream, line)
    if line is None or not line.end():
        await send({"type": "http.response.body", "body": answer.body})


async def _pour(send: Send, stream: Stream | Pieces, line: Line | None) -> None:
    ctx = stream.ctx
    async with aclosing(stream.chunks()) as chunks:
        async for chunk in chunks:
            if line is not None and line.pour(chunk):
                continue
            ctx.blocked_since = time.monotonic()
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            ctx.blocked_since = None


class _Client:
    """Who sends the request: gives its body, and cancels the request's task when it leaves. Its leaving is
    watched for from when its whole body is here: until then whoever reads the body is told."""

    __slots__ = ("_line", "_listener", "_receive", "_task", "left")

    def __init__(self, receive: Receive, line: Line | None) -> None:
        self._receive = receive
        self._line = line
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._listener: asyncio.Task[None] | None = None
        self.left = False

    async def read(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether more follow. Raises Unreadable if the client leaves before
        its end."""
        if self._line is not None and (body := self._line.body_here()) is not None:
            self._line.watch(self._leave)
            return body, False
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Unreadable(timed_out=False)
        more: bool = message.get("more_body", False)
        if not more:
            self.watch()
        return message.get("body", b""), more

    def watch(self) -> None:
        """Watches for its leaving. A server that does not tell must be listened to in a task of its own."""
        if self._line is not None:
            self._line.watch(self._leave)
        elif self._listener is None:
            self._listener = asyncio.create_task(self._listen())

    def forget(self) -> None:
        """Watches no longer."""
        if self._line is not None:
            self._line.watch(None)
        elif self._listener is not None:
            self._listener.cancel()

    def _leave(self) -> None:
        self.left = True
        self._task.cancel()

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()


def _length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    return str((raw if raw is not None else scope["path"].encode()).decode("latin-1"))
