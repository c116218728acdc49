"""Faults that are played on purpose (game day), between us and whatever vendor a request goes to. While none
is played, nothing of this is in the way."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence

from providers.drills import Drill, Playing
from providers.types import Target
from relay.context import StreamContext
from relay.errors import UpstreamFailure
from relay.upstream import Opened, Outgoing, Upstream
from wire import FORMATS
from wire.arrays import ArrayFramer
from wire.sse import Framer, frames
from wire.types import Brief, Fault

TOLD = "game day"
"""Stands in the error of every attempt whose fault was played."""
DRIP_BYTES, DRIP_SECONDS = 8, 0.1
_NO_TEXT = b"\xff\xfe"
_VALUE = re.compile(rb'(:\s*")')
_JSON = b"application/json"


class Drills:
    """What is played now, and where. `now` is monotonic seconds when `playing` was read."""

    def __init__(self, playing: Sequence[Playing], now: float) -> None:
        self._playing = [(each, now + each.left) for each in playing]

    def over(self, now: float) -> bool:
        """Whether all of them have ended."""
        return all(until <= now for _, until in self._playing)

    def _of(self, target: Target, ctx: StreamContext, now: float) -> Playing | None:
        api_key_id = ctx.caller.api_key_id if ctx.caller else None
        for each, until in self._playing:
            if until <= now:
                continue
            if each.key_id == target.key_id or (each.key_id is None and each.api_key_id == api_key_id):
                return each
        return None

    async def open(self, upstream: Upstream, target: Target, request: Outgoing, ctx: StreamContext) -> Opened:
        """Sends a request and waits for the headers of its answer, as `Upstream.open` does, unless a fault is
        played for it. Raises UpstreamFailure."""
        drill = self._of(target, ctx, time.monotonic())
        if drill is None:
            ctx.drilled = False
            return await upstream.open(target, request)
        ctx.drilled = drill.api_key_id is not None
        brief = ctx.brief or Brief(model=ctx.model)
        match drill.fault:
            case Drill.Fault.DEAD_PORT:
                raise UpstreamFailure("connect", phase="connect", text=f"{TOLD}: connection refused")
            case Drill.Fault.RATE_LIMIT:
                request.on_sent()
                return _limited(target.format, drill, ctx.request_text)
            case Drill.Fault.STALL if not drill.after:
                request.on_sent()
                await asyncio.sleep(request.first_byte_timeout)
                raise UpstreamFailure("first_byte_timeout", phase="headers", text=f"{TOLD}: no answer")
            case Drill.Fault.IN_BAND if not (drill.after and brief.stream):
                request.on_sent()
                return _overloaded(target.format, brief, ctx.request_text)
        opened = await upstream.open(target, request)
        return opened if opened.status >= 300 else Spoiled(opened, drill, target.format, brief)


class Said(Opened):
    """An answer that no vendor gave."""

    __slots__ = ("_body",)

    def __init__(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        self._connection = self._inflater = None
        self._headers = headers
        self._received = len(body)
        self._body = body
        self.status = status
        self.content_type = headers[b"content-type"].decode("latin-1")

    async def read(self, due: float) -> bytes:
        """All of it, once."""
        body, self._body = self._body, b""
        return body


def _limited(wire: str, drill: Playing, request_id: str) -> Said:
    _, body = FORMATS[wire].fault(Fault("rate_limited", f"Rate limit reached ({TOLD})."), request_id)
    wait = str(drill.reset_seconds).encode()
    return Said(429, {b"content-type": _JSON, b"retry-after": wait}, body)


def _overload() -> Fault:
    return Fault("overloaded", f"Overloaded ({TOLD}).")


def _overloaded(wire: str, brief: Brief, request_id: str) -> Said:
    if not brief.stream:
        return Said(200, {b"content-type": _JSON}, FORMATS[wire].fault(_overload(), request_id)[1])
    kind = _JSON if brief.array else b"text/event-stream"
    body = FORMATS[wire].fault_event(_overload(), request_id, array=brief.array, opened=False)
    return Said(200, {b"content-type": kind}, body)


class Spoiled(Opened):
    """A vendor's answer with the fault in it."""

    __slots__ = ("_bell", "_brief", "_drill", "_framer", "_inner", "_over", "_passed", "_rest", "_wire")

    def __init__(self, inner: Opened, drill: Playing, wire: str, brief: Brief) -> None:
        self._connection = self._inflater = None
        self._headers = inner._headers
        self._received = 0
        self.status, self.content_type = inner.status, inner.content_type
        self._inner = inner
        self._drill = drill
        self._wire = wire
        self._brief = brief
        self._framer: Framer | ArrayFramer = ArrayFramer() if brief.array else Framer()
        self._passed = 0
        """Frames that went by."""
        self._rest = bytearray()
        self._over = False
        """Whether the fault was played."""
        self._bell: asyncio.Future[None] | None = None

    @property
    def bytes_received(self) -> int:
        """Bytes that the vendor sent."""
        return self._inner.bytes_received

    def ring(self) -> None:
        """Ends a wait at once, the vendor's or the fault's."""
        self._inner.ring()
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def close(self) -> None:
        """Lets the vendor's answer go."""
        self._inner.close()

    async def read_all(self, limit: int, due: float) -> bytes:
        """The whole body. Raises as `read`, and UpstreamFailure beyond `limit` bytes."""
        body = bytearray()
        while data := await self.read(due):
            body += data
            if len(body) > limit:
                raise UpstreamFailure("too_large", phase="stream", text=f"the answer is over {limit} bytes")
        return bytes(body)

    async def read(self, due: float) -> bytes:
        """What comes of the answer, up to the fault and with it. Raises UpstreamFailure and TimeoutError."""
        fault = self._drill.fault
        if fault == Drill.Fault.SLOW_DRIP:
            return await self._drop(due)
        while not self._over:
            data = await self._inner.read(due)
            out = self._spoil(self._cut(data) if data else self._left())
            if out or not data:
                return out
        return await self._afterwards(due)

    def _cut(self, data: bytes) -> list[bytes]:
        """The frames that are whole now; of an answer that is none of frames, its two halves."""
        if isinstance(self._framer, ArrayFramer):
            return self._framer.feed(data)
        if not self._brief.stream:
            half = len(data) // 2
            return [data[:half], data[half:]] if not self._passed else [data]
        return [frame.raw for frame in frames(self._framer.feed(data))]

    def _left(self) -> list[bytes]:
        rest = self._framer.finish()
        return rest if isinstance(rest, list) else [rest] if rest else []

    def _spoil(self, pieces: list[bytes]) -> bytes:
        """The pieces as they go on, the fault among them."""
        out = []
        for piece in pieces:
            if self._over or self._passed < self._drill.after:
                out.append(piece)
                self._passed += 1
                continue
            if self._drill.fault == Drill.Fault.BAD_UTF8:
                out.append(_VALUE.sub(rb"\1" + _NO_TEXT, piece, count=1))
                self._over = _NO_TEXT in out[-1]
                self._passed += 1
                continue
            self._over = True
            if self._drill.fault == Drill.Fault.IN_BAND:
                wire, opened = FORMATS[self._wire], bool(self._passed)
                out.append(wire.fault_event(_overload(), "", array=self._brief.array, opened=opened))
            break
        return b"".join(out)

    async def _afterwards(self, due: float) -> bytes:
        """What comes once the fault was played."""
        match self._drill.fault:
            case Drill.Fault.STALL:
                await self._wait(due)
                raise TimeoutError
            case Drill.Fault.CUT:
                raise UpstreamFailure("truncated", phase="stream", text=f"{TOLD}: the connection was cut")
            case Drill.Fault.IN_BAND:
                return b""
            case _:
                data = await self._inner.read(due)
                return b"".join(self._cut(data) if data else self._left())

    async def _drop(self, due: float) -> bytes:
        """A few bytes, a moment later."""
        if not self._rest:
            self._rest += await self._inner.read(due)
            if not self._rest:
                return b""
        soon = time.monotonic() + DRIP_SECONDS
        await self._wait(min(soon, due))
        if due < soon:
            raise TimeoutError
        out = bytes(self._rest[:DRIP_BYTES])
        del self._rest[:DRIP_BYTES]
        return out

    async def _wait(self, until: float) -> None:
        """Until then. Raises TimeoutError where `ring` ends it before."""
        self._bell = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                await self._bell
        except TimeoutError:
            return
        raise TimeoutError
