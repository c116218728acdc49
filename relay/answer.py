"""The stream that goes out, and its endings: complete, failed, interrupted, client gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, cast

import msgspec
import orjson

from relay.attempts import Job, StreamWinner, judged
from relay.context import StreamContext
from relay.engine import Engine
from relay.errors import Exhausted, Interrupted, RelayError, UpstreamFailure
from relay.failover import judge
from wire import FORMATS
from wire.arrays import elements
from wire.format import Passed
from wire.sse import frames
from wire.types import BadFrame, Fault, FrameTooLarge

GEMINI_HOLD = 0.2
"""Seconds that Gemini's last frame is held for usage that may follow."""
TAIL = 1.0
"""Seconds that we listen on after the end: for frames that trail, and to give the connection back."""
PING = 64
"""Most bytes of a ping; what is longer is not looked at."""
PIECE = 256 * 1024
"""Most bytes handed to the server at a time: it takes all it is given, and waits for its client only then."""


class Answer(msgspec.Struct, eq=False):
    """What a door sends: a whole body, or a stream. `headers` are names in lower case and values."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    stream: Stream | Pieces | None = None


class Pieces:
    """A whole answer that is too large for one piece, settled already: so that a client which reads slowly
    can be told from one that does not read."""

    def __init__(self, engine: Engine, ctx: StreamContext, body: bytes) -> None:
        self.ctx = ctx
        self._engine = engine
        self._body = body
        ctx.blocked_since = time.monotonic()
        engine.sending.add(ctx)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes for the client."""
        self.ctx.task, self.ctx.blocked_since = asyncio.current_task(), None
        try:
            for piece in pieces(self._body):
                yield piece
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Lets the body go. A second call does nothing."""
        self._body = b""
        self._engine.sending.discard(self.ctx)


def pieces(data: bytes) -> Iterable[bytes]:
    """Bytes as they may wait for a client at one time."""
    if len(data) <= PIECE:
        return (data,)
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


class Stream:
    """One streamed answer. `source` is the attempt that answers, or, after a silent commit, the task that
    still looks for one. `chunks` is the only way out; a door that is done with it, however, calls
    `abandon`."""

    def __init__(self, job: Job, source: StreamWinner | asyncio.Task[StreamWinner]) -> None:
        self.ctx = job.ctx
        self._job = job
        self._wire = FORMATS[job.ctx.api_format]
        self._task = source if isinstance(source, asyncio.Task) else None
        self._winner = source if isinstance(source, StreamWinner) else None
        self._opened_array = False
        self._bell: asyncio.Future[None] | None = None
        self._drained = False
        # Until the door takes the first chunk it waits for the client, or for its own machinery.
        self.ctx.blocked_since = time.monotonic()
        job.engine.sending.add(self.ctx)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes for the client, frame for frame. Settles the request in whatever ending."""
        ctx, job = self.ctx, self._job
        ctx.task, ctx.blocked_since, ctx.ring = asyncio.current_task(), None, self._ring
        ctx.sent_status = 200
        try:
            if self._task is not None:
                async with aclosing(self._beats(self._task)) as beats:
                    async for beat in beats:
                        yield beat
                self._winner = self._task.result()
            winner, knobs = cast("StreamWinner", self._winner), job.engine.knobs
            opened, watch = winner.opened, winner.watch
            idle = winner.log.target.idle_timeout or knobs.idle_timeout
            over = job.deadline_at(winner.log.target)
            ctx.committed = True
            passed, finished = Passed(winner.head, winner.end), False
            heard = sent = spoke = time.monotonic()
            recording = ctx.caller is not None and ctx.caller.recording == "full"
            while True:
                if recording:
                    self._record(passed)
                if passed.out:
                    self._opened_array = True
                    for piece in pieces(passed.out):
                        yield piece
                    # While the client held us up, upstream's silence was not its own.
                    heard = sent = time.monotonic()
                    if len(passed.out) > PING or not _is_ping(passed.out):
                        spoke = heard
                if watch.error is not None:
                    raise UpstreamFailure(phase="stream", status=watch.error.status, error=watch.error)
                if watch.ended or finished:
                    break
                if ctx.interruption:
                    raise Interrupted(ctx.interruption)
                silent = min(heard + idle, spoke + knobs.ping_timeout)
                try:
                    data = await opened.read(min(silent, over, sent + knobs.keep_alive))
                except TimeoutError:
                    self._judge_silence(silent, over)
                    before = time.monotonic()
                    yield self._wire.keep_alive(array=job.brief.array)
                    sent = time.monotonic()
                    heard += sent - before
                    spoke += sent - before
                    passed = Passed()
                    continue
                if data:
                    heard = time.monotonic()
                    passed = watch.feed(data)
                else:
                    passed, finished = self._at_file_end(winner), True
            end = passed.end
            if winner.log.target.format == "gemini" and not finished:
                end = await self._hold(winner, end)
            winner.log.ended = True
            job.engine.monitor.succeeded(winner.log.target)
            self._settle("ok")
            if end:
                yield end
            async with aclosing(self._tail(winner)) as tail:
                async for trailing in tail:
                    yield trailing
        except RelayError as error:
            if isinstance(error, Exhausted):
                ctx.explanation = job.explained()
            self._settle(error.outcome, code=error.code, fault=error.fault)
            yield self._told(error.fault)
        except UpstreamFailure as failure:
            yield self._broken(failure)
        except (FrameTooLarge, BadFrame) as error:
            yield self._broken(UpstreamFailure("bad_frame", phase="stream", text=str(error)))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Settles what is not settled (the client left, or we were told to stop) and lets the upstream go, at
        once or after a drain. A second call does nothing."""
        ctx, task = self.ctx, self._task
        self._job.engine.sending.discard(ctx)
        if self._drained:
            return
        if task is not None and not task.done():
            task.cancel()
        elif task is not None and self._winner is None and not task.cancelled() and task.exception() is None:
            self._winner = task.result()
        if not ctx.settled:
            if self._begin_drain():
                return
            interrupted = ctx.interruption in ("shutdown", "revoked")
            self._settle(
                "interrupted" if interrupted else "client_gone", code=ctx.interruption or "client_gone"
            )
        self._let_go()

    def _let_go(self) -> None:
        """Lets go of upstream, and of what would hold this and the context together until the garbage
        collector finds them."""
        self.ctx.ring = None
        if self._winner is not None:
            self._winner.let_go()

    def _begin_drain(self) -> bool:
        """Whether the vendor's answer is read on in the background: its client left in the middle of it, and
        the endpoint wants that."""
        ctx, winner = self.ctx, self._winner
        if winner is None or not ctx.committed or ctx.interruption or not winner.log.target.drain:
            return False
        ctx.task = ctx.blocked_since = None
        self._drained = self._job.engine.drains.begin(partial(self._drain, winner), self._drain_over)
        return self._drained

    def _drain_over(self) -> None:
        self._settle("client_gone", code="client_gone")
        self._let_go()

    async def _drain(self, winner: StreamWinner) -> None:
        """Reads an answer to its end, or for as long as drains may last."""
        try:
            await self._read_on(winner)
            if winner.watch.ended:
                winner.log.ended = True
                self._job.engine.monitor.succeeded(winner.log.target)
        except UpstreamFailure as failure:
            self._blame(failure)
        except (FrameTooLarge, BadFrame) as error:
            self._blame(UpstreamFailure("bad_frame", phase="stream", text=str(error)))

    async def _read_on(self, winner: StreamWinner) -> None:
        """Hands to the watch what upstream still says: to its end, until the drain's time is over, or until
        it is interrupted. Raises UpstreamFailure, FrameTooLarge and BadFrame."""
        ctx, job, watch = self.ctx, self._job, winner.watch
        due = min(
            time.monotonic() + job.engine.knobs.drain_upstream_seconds, job.deadline_at(winner.log.target)
        )
        while not ctx.interruption:
            if watch.error is not None:
                raise UpstreamFailure(phase="stream", status=watch.error.status, error=watch.error)
            if watch.ended:
                due = min(due, time.monotonic() + TAIL)
            try:
                data = await winner.opened.read(due)
            except TimeoutError:
                return
            if not data:
                self._at_file_end(winner)
                return
            watch.feed(data)

    async def _beats(self, task: asyncio.Task[StreamWinner]) -> AsyncGenerator[bytes, None]:
        """Keep-alives until the attempts have an answer, or are out of them."""
        keep_alive = self._wire.keep_alive(array=self._job.brief.array)
        self._bell = asyncio.get_running_loop().create_future()
        yield keep_alive
        while not task.done():
            if self.ctx.interruption:
                raise Interrupted(self.ctx.interruption)
            either: set[asyncio.Future[Any]] = {task, self._bell}
            await asyncio.wait(
                either,
                timeout=self._job.engine.knobs.keep_alive,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not task.done() and not self.ctx.interruption:
                yield keep_alive

    def _ring(self) -> None:
        """Ends the wait for upstream, so that an interruption is seen."""
        if self._winner is not None:
            self._winner.opened.ring()
        elif self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    def _judge_silence(self, idle: float, over: float) -> None:
        """What a read that came to nothing means. Raises UpstreamFailure and Interrupted; returns where it is
        only time for a keep-alive."""
        if self.ctx.interruption:
            raise Interrupted(self.ctx.interruption)
        now = time.monotonic()
        if now >= over:
            raise UpstreamFailure("total_timeout", phase="stream", text="the total time is over")
        if now >= idle:
            raise UpstreamFailure("first_event_timeout", phase="stream", text="upstream fell silent")

    def _at_file_end(self, winner: StreamWinner) -> Passed:
        """What was left when upstream closed. Raises UpstreamFailure where that was before the stream's own
        end."""
        passed = winner.watch.finish()
        if not winner.watch.ended and winner.watch.error is None:
            self.ctx.truncated = self.ctx.ended_early = True
            self._learn(winner, passed)
            raise UpstreamFailure("truncated", phase="stream", text="the stream ended without its end marker")
        return passed

    async def _hold(self, winner: StreamWinner, end: bytes) -> bytes:
        """Gemini's end with what follows it within a moment: its usage may come in a later frame."""
        due = time.monotonic() + GEMINI_HOLD
        with suppress(TimeoutError, UpstreamFailure, FrameTooLarge):
            while data := await winner.opened.read(due):
                passed = winner.watch.feed(data)
                self._learn(winner, passed)
                end += passed.out + passed.end
        passed = winner.watch.finish()
        self._learn(winner, passed)
        if (error := winner.watch.error) is not None:  # an end that the client's format cannot tell
            raise UpstreamFailure(phase="stream", status=error.status, error=error)
        return end + passed.out + passed.end

    async def _tail(self, winner: StreamWinner) -> AsyncGenerator[bytes, None]:
        """What upstream still says after the end. Usage that comes this late amends the record."""
        before, due = winner.log.usage, time.monotonic() + TAIL
        try:
            with suppress(TimeoutError, UpstreamFailure, FrameTooLarge):
                while data := await winner.opened.read(due):
                    passed = winner.watch.feed(data)
                    if out := passed.out + passed.end:
                        began = time.monotonic()
                        yield out
                        # While the client took it, upstream's time stood still.
                        due += time.monotonic() - began
        finally:  # also where the client leaves instead of taking it
            winner.log.bytes_received = winner.opened.bytes_received
            if winner.watch.usage() != before:
                self._learn(winner, Passed())
                winner.log.usage = winner.watch.usage()
                self._job.engine.ledger.amend(self.ctx)

    def _learn(self, winner: StreamWinner, passed: Passed) -> None:
        """Brings what the watch knows into the context; with recording on, the events too."""
        ctx, watch = self.ctx, winner.watch
        ctx.chunk_count, ctx.data_count = watch.frames, watch.data_frames
        ctx.has_completion = watch.ended
        if ctx.caller is not None and ctx.caller.recording == "full":
            self._record(passed)

    def _record(self, passed: Passed) -> None:
        cut = elements if self._job.brief.array else frames
        for frame in cut(passed.out + passed.end):
            if not frame.data or frame.data == b"[DONE]":
                continue
            try:
                event = orjson.loads(frame.data)
            except orjson.JSONDecodeError:
                event = frame.data.decode("utf-8", "replace")
            self.ctx.append_chunk(event, len(frame.raw))
            if isinstance(event, dict):
                for text in self._wire.texts(event):
                    self.ctx.append_text(text)

    def _broken(self, failure: UpstreamFailure) -> bytes:
        """Settles a stream that upstream broke after the first meaningful frame; the bytes that tell it."""
        reason = self._blame(failure)
        code = {"rate_limited": "rate_limited", "overloaded": "overloaded", "timeout": "timeout"}.get(
            judge(reason).code, "upstream_error"
        )
        text = self.ctx.attempts[-1].error_text
        self.ctx.mark_failed(504 if code == "timeout" else 502, text)
        fault = Fault(code, _PUBLIC.get(code, "The upstream broke off its answer."))
        self._settle(
            "partial", code="truncated" if reason == "truncated" else f"upstream_{_short(code)}", fault=fault
        )
        return self._told(fault)

    def _blame(self, failure: UpstreamFailure) -> str:
        """Holds a stream that broke against who gave it; for which reason."""
        winner, engine = cast("StreamWinner", self._winner), self._job.engine
        reason = judged(engine, winner.log, failure)
        winner.log.verdict, winner.log.phase = "partial", "stream"
        # One that gave for all that time is slow, or has much to say: no failure.
        if reason != "total_timeout" and not self.ctx.drilled:
            if self._job.session is not None:
                engine.affinity.drop(self._job.session, winner.log.target)
            engine.monitor.failed(winner.log.target, reason, None, self._job.brief.kind)
        self.ctx.explanation = self._job.explained()
        return reason

    def _told(self, fault: Fault) -> bytes:
        winner = self._winner
        return self._wire.fault_event(
            fault,
            self.ctx.request_text,
            array=self._job.brief.array,
            opened=self._opened_array,
            sequence=winner.watch.sequence if winner else 0,
        )

    def _settle(self, outcome: str, *, code: str = "", fault: Fault | None = None) -> None:
        winner = self._winner
        if winner is not None:
            self._learn(winner, Passed())
            winner.log.usage = winner.watch.usage()
            winner.log.bytes_received = winner.opened.bytes_received
            self.ctx.finish_reason, self.ctx.response_id = (
                winner.watch.finish_reason,
                winner.watch.response_id,
            )
        self._job.engine.settle(
            self.ctx, outcome, code=code, text=fault.text if fault else self.ctx.error_message or ""
        )


_PUBLIC = {
    "rate_limited": "The upstream hit a rate limit in mid-answer.",
    "overloaded": "The upstream became overloaded in mid-answer.",
    "timeout": "The upstream fell silent in mid-answer.",
}


def _is_ping(frame: bytes) -> bool:
    """Whether a short frame says no more than that upstream is there."""
    frame = frame.strip()
    return not frame or frame.startswith(b":") or b"ping" in frame


def _short(code: str) -> str:
    return {"upstream_error": "error", "timeout": "timeout", "rate_limited": "rate_limited"}.get(code, code)
