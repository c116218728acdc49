"""Django's door: the same pipeline behind an ordinary async view."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from relay import engine as engines
from relay.answer import Answer, Pieces, Stream
from relay.call import Call, client_address, take_line
from relay.errors import Unreadable
from relay.pipeline import relay as answer_of
from relay.refusals import closed, late

CHUNK = 64 * 1024


@csrf_exempt
async def relay(request: HttpRequest, *_: str | None) -> HttpResponseBase:
    """Relays one request. Serves wherever an engine is open: under `manage.py serve`, or in a test."""
    engine = engines.current()
    path = _raw_path(request)
    if engine is None or not engine.ready or not isinstance(request, ASGIRequest):
        why = "The relay runs under `manage.py serve`; start it with that."
        return _response(closed(request.method or "GET", path, why=why))
    line, headers = take_line(request.scope), request.scope["headers"]
    call = Call(
        method=request.method or "GET",
        path=path,
        query=request.META.get("QUERY_STRING", ""),
        headers=headers,
        address=client_address(request.META.get("REMOTE_ADDR", ""), headers, engine.knobs.trusted_proxies),
        read=_reader(request),
        cut=None if line is None else line.cut,
    )
    try:
        answer = await answer_of(engine, call)
    except Unreadable:
        return _response(late(call.method, call.path))
    return _response(answer)


async def healthz(request: HttpRequest) -> HttpResponse:
    """Live: the process answers."""
    return HttpResponse(b"ok\n", content_type="text/plain")


async def readyz(request: HttpRequest) -> HttpResponse:
    """Ready: an engine is open and takes requests; `degraded` where the database or the disk fails it
    meanwhile, where it turns requests away, or its event loop was blocked of late. Says nothing of why."""
    engine = engines.current()
    if engine is None or not engine.ready or engine.leaving or engine.draining:
        return HttpResponse(b"not ready\n", status=503, content_type="text/plain")
    strained = engine.shedding.pressed or engine.watchdog.recently(time.monotonic())
    degraded = engine.degraded or engine.ledger.journal.trouble or strained
    return HttpResponse(b"ready, degraded\n" if degraded else b"ready\n", content_type="text/plain")


def _response(answer: Answer) -> HttpResponseBase:
    response: HttpResponseBase
    if answer.stream is None:
        response = HttpResponse(answer.body, status=answer.status)
    else:
        response = RelayedStream(answer.stream, answer.status)
    del response.headers["content-type"]
    for name, value in answer.headers:
        if name != b"content-length":
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response


class RelayedStream(StreamingHttpResponse):
    """A streamed answer whose one generator settles in whatever ending.

    Django closes a bare async generator only by the garbage collector if the client leaves while the handler
    is blocked in `send`; and where it is cancelled before the first chunk, it only calls `close`, in a worker
    thread, or not even that.
    """

    def __init__(self, stream: Stream | Pieces, status: int) -> None:
        super().__init__((), status=status)
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self.is_async = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        ctx = self._stream.ctx
        try:
            async with aclosing(self._stream.chunks()) as chunks:
                async for chunk in chunks:
                    ctx.blocked_since = time.monotonic()
                    yield chunk
                    ctx.blocked_since = None
        finally:
            self._stream.abandon()

    def close(self) -> None:
        super().close()
        self._let_go()

    def __del__(self) -> None:
        # Cancelled within the middleware that this response passes on its way out, Django drops it unclosed.
        self._let_go()

    def _let_go(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stream.abandon)


def _reader(request: ASGIRequest) -> Callable[[], Awaitable[tuple[bytes, bool]]]:
    async def read() -> tuple[bytes, bool]:
        # Django has the whole body by now, in memory or in a spooled file: reading it does not wait.
        chunk = request.read(CHUNK)
        return chunk, len(chunk) == CHUNK

    return read


def _raw_path(request: HttpRequest) -> str:
    scope: dict[str, Any] = getattr(request, "scope", {})
    raw = scope.get("raw_path")
    return raw.decode("latin-1") if raw is not None else request.path
