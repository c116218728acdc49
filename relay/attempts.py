"""The attempts of one request: each target in turn, until one answers or none is left."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import msgspec
import orjson

from providers.scrub import CAP, scrub, secrets_of
from providers.types import Target
from relay import headers as header_rules
from relay.affinity import Session
from relay.call import Call
from relay.context import AttemptLog, StreamContext
from relay.conversion import Conversion, Converter, Unfit, has_seals, unsealed
from relay.engine import Engine
from relay.errors import SOON, Exhausted, Refused, RelayError, UpstreamFailure, some_of
from relay.failover import CALLER, Failed, final_fault, judge, meant, wait_told
from relay.payload import Payload, Sendable
from relay.retries import Group
from relay.routes import Route
from relay.scheduler import Plan, Skipped, explain
from relay.slots import Slot
from relay.turns import Turns
from relay.upstream import Opened, Outgoing
from usage import ids
from wire import FORMATS, azure
from wire.format import StreamWatch, WholeReading, WireFormat
from wire.types import (
    COUNT_TOKENS,
    GENERATE,
    IMAGE,
    SPEECH,
    STORED,
    TRANSCRIBE,
    BadFrame,
    BadRequest,
    Brief,
    Fault,
    FrameTooLarge,
    InbandError,
    Usage,
)

ERROR_BYTES = 256 * 1024
ERROR_PATIENCE = 5.0
"""Seconds for the words of an error whose status is known already."""
RAW = ("audio/", "image/", "text/", "application/octet-stream")
"""Content types of sound, pictures and plain transcripts, which are content as they are."""
CODES = {
    401: "invalid_api_key", 403: "forbidden", 404: "not_found", 413: "too_large", 422: "unprocessable",
    429: "rate_limited", 504: "timeout",
}  # fmt: skip
"""How a status of upstream's that is passed on is called in the client's format."""


class Winner(msgspec.Struct, eq=False):
    """The attempt that answers, and what must be given back when it is over."""

    log: AttemptLog
    opened: Opened
    slot: Slot
    content_type: str

    def let_go(self) -> None:
        """Gives back the connection and the slot. Safe to call twice."""
        self.opened.close()
        self.slot.release()


class StreamWinner(Winner, eq=False):
    """A stream with its first meaningful frame: `head` is what may go out, `end` what ends it, if it has
    come."""

    watch: StreamWatch
    head: bytes
    end: bytes


class WholeWinner(Winner, eq=False):
    """A whole answer, read."""

    body: bytes
    reading: WholeReading


W = TypeVar("W", bound=Winner)
Take = Callable[["Job", AttemptLog, Opened, Slot, float], Awaitable[W]]
"""Reads an opened answer until it is known to be one; TimeoutError where it is not by the time given last."""


class Job(msgspec.Struct, eq=False):
    """All that the attempts of a request need."""

    engine: Engine
    ctx: StreamContext
    call: Call
    route: Route
    brief: Brief
    payload: Payload
    plan: Plan
    order: tuple[Target, ...]
    """The plan's targets as they are tried."""
    session: Session | None
    """Whose requests keep to one target; None where this request has no choice."""
    deadline: float
    """Monotonic seconds."""
    converter: Converter | None = None
    """Writes the request for targets of another format; None where the plan has none."""
    skipped: list[Skipped] = msgspec.field(default_factory=list)
    """Targets that had their turn and were not tried, or not at once."""

    @property
    def group(self) -> Group:
        """Whose retry budget this request's retries come from."""
        return self.order[0].model_id, self.order[0].format

    def explained(self) -> object:
        """The plan with all who were left out, as a record keeps it."""
        return explain(Plan(self.order, (*self.plan.skipped, *self.skipped)))

    def deadline_at(self, target: Target) -> float:
        """When an answer of this target must be over: the endpoint's own total time, if it has one, goes
        before the relay's."""
        return self.ctx.began + target.total_timeout if target.total_timeout else self.deadline


async def run(job: Job, take: Take[W]) -> W:
    """Tries one target after the other; `take` is `first_frames` or `whole`. Raises RelayError when none
    answers."""
    engine, turns = job.engine, Turns(job)
    failures: list[Failed] = []
    unsupported: RelayError | None = None
    unfit: Unfit | None = None
    while (turn := await turns.next(failures)) is not None:
        target, slot, retry = turn.target, turn.slot, turn.retry
        answered = False
        try:
            conversion = await _converted(job, target)
            log = begin(job, target)
            log.conversion = conversion
            winner = await _attempt(job, target, log, slot, take)
            if job.session is not None:
                engine.affinity.keep(job.session, target, job.plan, log.began)
            if isinstance(winner, WholeWinner):
                engine.monitor.succeeded(target)
            elif (
                not engine.health.well
            ):  # it may still break; but where it was a probe the next need not wait
                engine.health.leave(target, slot)
            if retry is None and engine.retries.groups:
                engine.retries.succeeded(job.group)
            answered = True
            return winner
        except Unfit as error:
            unfit = error
            job.skipped.append(Skipped(target, error.reason))
        except UpstreamFailure as failure:
            if job.session is not None:
                engine.affinity.drop(job.session, target)
            failures.append(_failed(job, target, log, failure))
            reason = failures[-1].reason
            if judge(reason).meaning == CALLER:
                raise in_their_words(target, job.ctx.api_format, failure, reason) from failure
            if reason == "unsupported_request":
                unsupported = in_their_words(target, job.ctx.api_format, failure, reason)
        finally:
            if not answered:  # not before health knows: it lets in whoever waits for this target
                slot.release()
            if retry is not None:
                engine.retries.end(retry, answered=answered)
    if not failures and unfit is not None:
        raise Refused(Fault("invalid_request", unfit.text, unfit.param)) from unfit
    if not failures:
        raise turns.refused()
    fault, wait = final_fault(failures)
    if unsupported is not None and fault.code == unsupported.fault.code:
        raise unsupported
    back = engine.health.returns_in(job.plan.targets, time.monotonic())
    raise Exhausted(fault, retry_after=wait_told(fault, wait, back, some_of(SOON)))


async def _converted(job: Job, target: Target) -> Conversion | None:
    """How the request is brought to this target; None where it passes as it is. Raises Unfit and Refused."""
    if job.converter is None or target.format == job.ctx.api_format:
        return None
    try:
        return await job.converter.to(target)
    except BadRequest as error:
        raise Refused(Fault("invalid_request", error.text, error.param, error.status)) from error


def begin(job: Job, target: Target) -> AttemptLog:
    """Notes the start of an attempt in the context and the journal."""
    ctx = job.ctx
    if ctx.attempts:
        ctx.reset_for_retry()
    log = AttemptLog(len(ctx.attempts) + 1, target, int(time.time() * 1000), time.monotonic())
    ctx.attempts.append(log)
    ctx.update_provider_info(
        target.provider_name, target.provider_id, target.endpoint_id, target.key_id, target.format
    )
    ctx.mapped_model = target.upstream_name if target.upstream_name != ctx.model else None
    ctx.attempt_id = ids.attempt_text(ctx.request_text, log.number)
    if ctx.dispatched is None:
        ctx.dispatched = log.began
    job.engine.ledger.attempt(ctx, log)
    return log


async def _attempt(job: Job, target: Target, log: AttemptLog, slot: Slot, take: Take[W]) -> W:
    engine, ctx, brief = job.engine, job.ctx, job.brief
    wire = FORMATS[target.format]
    # Gemini's colon may come escaped; version and verb are the route's.
    path = job.route.path if job.route.format == "gemini" else job.call.path
    query, more = job.call.query, header_rules.NO_MORE
    body: Sendable | None = None
    if (conversion := log.conversion) is not None:
        path, _, query = conversion.upstream.path(brief).partition("?")
        more = conversion.written.headers
        body = Sendable(conversion.written.body, len(conversion.written.body))
    elif job.route.method == "POST":
        body = job.payload.outgoing(target, brief)
        if isinstance(body.data, bytes) and has_seals(body.data, brief):
            data = await unsealed(body.data, target, brief)
            body = Sendable(data, len(data))
    if body is not None:
        log.bytes_sent = body.size
    if azure.QUIRK in target.quirks:
        url = azure.deployment_url(target.base_url, model=target.upstream_name, path=path, query=query)
    else:
        url = wire.upstream_url(target.base_url, brief, model=target.upstream_name, path=path, query=query)
    head = header_rules.to_upstream(job.call.headers, target, more)
    if ctx.caller is not None and ctx.caller.recording != "none":
        ctx.provider_request_headers = header_rules.as_dict(head)
        ctx.provider_request_body = body.data if body is not None and isinstance(body.data, bytes) else None
    log.phase = "send"
    deadline = job.deadline_at(target)
    remaining = max(0.1, deadline - time.monotonic())
    knobs = engine.knobs
    default = knobs.first_byte_timeout if brief.stream else knobs.whole_first_byte_timeout
    outgoing = Outgoing(
        job.route.method,
        url,
        head,
        body,
        connect_timeout=min(target.connect_timeout or knobs.connect_timeout, remaining),
        first_byte_timeout=min(target.first_byte_timeout or default, remaining),
        on_sent=log.sent,
    )
    if engine.drills is None:
        opened = await engine.upstream.open(target, outgoing)
    else:
        opened = await engine.drills.open(engine.upstream, target, outgoing, ctx)
    log.phase, log.status_code, log.upstream_request_id = "headers", opened.status, opened.request_id
    log.first_byte_ms = ctx.first_byte_ms = _since(log.began)
    if ctx.provider_request_headers:
        ctx.upstream_response_headers = opened.headers
    try:
        if opened.status >= 300:
            await _refuse_status(wire.name, opened)
        now = time.monotonic()
        patience = now + (target.first_event_timeout or knobs.first_event_timeout)
        deadline = max(deadline, now + 0.1)
        waits_for_event = brief.stream and patience < deadline
        return await take(job, log, opened, slot, patience if waits_for_event else deadline)
    except TimeoutError as error:
        opened.close()
        reason = "first_event_timeout" if waits_for_event else "total_timeout"
        raise UpstreamFailure(reason, phase=log.phase, text="no answer in time") from error
    except BaseException:
        opened.close()
        raise
    finally:
        log.bytes_received = opened.bytes_received


async def _refuse_status(wire: str, opened: Opened) -> None:
    """Reads an error answer and raises what it means."""
    if opened.status < 400:
        raise UpstreamFailure("redirect", phase="headers", status=opened.status, text="a redirect")
    try:
        body = await opened.read_all(ERROR_BYTES, time.monotonic() + ERROR_PATIENCE)
    except (UpstreamFailure, TimeoutError):
        body = b""  # the status alone still tells
    error = FORMATS[wire].read_error(opened.status, body)
    raise UpstreamFailure(
        phase="headers", status=opened.status, error=error, retry_after=opened.retry_after, body=body,
        content_type=opened.content_type,
    )  # fmt: skip


def _kind(content_type: str) -> str:
    """A content type less its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _is_html(kind: str, body: bytes) -> bool:
    return kind == "text/html" or body.lstrip()[:1] == b"<"


def _inband(error: InbandError, opened: Opened) -> UpstreamFailure:
    return UpstreamFailure(
        phase="first_event", status=error.status, error=error, retry_after=opened.retry_after
    )


async def first_frames(job: Job, log: AttemptLog, opened: Opened, slot: Slot, due: float) -> StreamWinner:
    """Holds the openers of a stream until its first meaningful frame."""
    wire = FORMATS[log.target.format]
    kind = _kind(opened.content_type)
    if kind == "text/html":
        raise UpstreamFailure("html", phase="headers", status=opened.status, text="an HTML page")
    if kind == "application/json" and not job.brief.array:
        await _refuse_json(job, wire, opened, due)
    log.phase = "first_event"
    most, conversion = job.engine.knobs.max_event_bytes, log.conversion
    watch: StreamWatch = (
        wire.watch(job.brief, max_event=most) if conversion is None else conversion.watch(job.brief, most)
    )
    held: list[bytes] = []
    try:
        while True:
            data = await opened.read(due)
            passed = watch.feed(data) if data else watch.finish()
            if watch.error is not None:
                raise _inband(watch.error, opened)
            held.append(passed.out)
            if watch.meaningful:
                break
            if not data:
                if not watch.frames and _is_html("", b"".join(held)):
                    raise UpstreamFailure(
                        "html", phase="first_event", status=opened.status, text="an HTML page"
                    )
                reason = "truncated" if watch.frames and not watch.ended else "empty"
                raise UpstreamFailure(
                    reason, phase="first_event", status=opened.status, text="no content came"
                )
    except FrameTooLarge as error:
        raise UpstreamFailure("too_large", phase="first_event", text=str(error)) from error
    except BadFrame as error:
        raise UpstreamFailure("bad_frame", phase="first_event", text=str(error)) from error
    log.phase, log.watch = "stream", watch
    log.delivered = True
    log.first_token_ms = job.ctx.first_token_ms = _since(log.began)
    job.engine.paces.learn(log.target, log.first_token_ms)
    job.engine.in_flight.first_token(log.target, log.first_token_ms)
    content_type = _stream_type(opened.content_type if conversion is None else "", job.brief)
    return StreamWinner(log, opened, slot, content_type, watch, b"".join(held), passed.end)


async def _refuse_json(job: Job, wire: WireFormat, opened: Opened, due: float) -> None:
    """Raises what a whole JSON body in place of a stream means: an error, as some vendors tell them, or a
    vendor that does not stream."""
    body = await opened.read_all(job.engine.knobs.max_answer_bytes, due)
    with suppress(BadFrame):
        reading = wire.read_whole(body, job.brief)
        if reading.error is not None:
            raise _inband(reading.error, opened)
    raise UpstreamFailure(
        "wrong_type", phase="headers", status=opened.status, text="JSON instead of a stream"
    )


def _stream_type(told: str, brief: Brief) -> str:
    """What the client is told that it gets, where upstream told `told`, or, by "", another format."""
    return header_rules.content_type(
        told, "application/json" if brief.array else "text/event-stream; charset=utf-8"
    )


async def whole(job: Job, log: AttemptLog, opened: Opened, slot: Slot, due: float) -> WholeWinner:
    """Reads a whole answer and looks whether it is one."""
    body = await opened.read_all(job.engine.knobs.max_answer_bytes, due)
    content_type, kind = opened.content_type, job.brief.kind
    if not body and kind != STORED:
        raise UpstreamFailure("empty", phase="headers", status=opened.status, text="an empty answer")
    if not (body.startswith(b"{") and content_type.startswith("application/json")):
        _refuse_type(content_type, body, opened.status)
    if kind in (IMAGE, SPEECH, TRANSCRIBE) and content_type.lower().startswith(RAW):
        reading = WholeReading(usage=Usage())
    else:
        try:
            reading = FORMATS[log.target.format].read_whole(body, job.brief)
        except BadFrame as error:
            raise UpstreamFailure(
                "bad_frame", phase="headers", status=opened.status, text=str(error)
            ) from error
        if reading.error is not None:
            raise _inband(reading.error, opened)
        if not reading.has_content and kind in (GENERATE, COUNT_TOKENS):
            raise UpstreamFailure("empty", phase="headers", status=opened.status, text="an empty answer")
    if log.conversion is not None:
        try:
            body, content_type = log.conversion.whole(body, reading.usage), "application/json"
        except BadFrame as error:
            raise UpstreamFailure(
                "bad_frame", phase="headers", status=opened.status, text=str(error)
            ) from error
    log.phase, log.delivered, log.ended = "done", True, True
    log.first_token_ms = job.ctx.first_token_ms = _since(log.began)
    log.usage, log.reading = reading.usage, reading
    return WholeWinner(
        log, opened, slot, header_rules.content_type(content_type, "application/json"), body, reading
    )


def _refuse_type(content_type: str, body: bytes, status: int) -> None:
    """Raises what it means where a page or a stream came for a whole answer."""
    kind = _kind(content_type)
    if _is_html(kind, body):
        raise UpstreamFailure("html", phase="headers", status=status, text="an HTML page")
    if kind == "text/event-stream":
        raise UpstreamFailure("wrong_type", phase="headers", status=status, text="a stream instead of JSON")


def _failed(job: Job, target: Target, log: AttemptLog, failure: UpstreamFailure) -> Failed:
    """Notes why an attempt failed, in the log and the journal."""
    reason = judged(job.engine, log, failure)
    verdict = judge(reason)
    log.verdict, log.phase = verdict.name, failure.phase
    log.status_code = failure.status or log.status_code
    log.total_ms = _since(log.began)
    log.maybe_billed = verdict.once and failure.phase != "connect"
    status = verdict.status or failure.status or 502
    job.ctx.mark_failed(status, log.error_text)
    job.engine.ledger.attempt_end(job.ctx, log)
    if not job.ctx.drilled:
        job.engine.monitor.failed(target, reason, failure.retry_after, job.brief.kind)
    return Failed(reason, target.endpoint_id, failure.status, failure.retry_after)


def judged(engine: Engine, log: AttemptLog, failure: UpstreamFailure) -> str:
    """What a failure means, by the operator's rules first; noted in the log with who told, and with
    upstream's words."""
    target, error = log.target, failure.error
    found = meant(failure, engine.catalog.rules, provider_id=target.provider_id, wire_format=target.format)
    log.reason, log.decided_by = found.reason, found.line
    if found.rule is not None:
        log.rule_id, log.decided_by = found.rule.id, found.rule.name
    hidden = secrets_of(target)
    log.error_text = scrub(failure.text, *hidden, base_url=target.base_url)
    if error is not None:
        names = " / ".join(dict.fromkeys(filter(None, (error.type, error.code))))
        log.error_type = scrub(names, *hidden, base_url=target.base_url)[:200]
    return found.reason


def in_their_words(target: Target, api_format: str, failure: UpstreamFailure, reason: str) -> RelayError:
    """What is wrong with a request, as upstream told it, without its secrets."""
    status = failure.status if reason == "policy" or failure.status in (400, 413, 415, 422) else 400
    code = CODES.get(status, "upstream_error" if status >= 500 else "invalid_request")
    hidden, base = secrets_of(target), target.base_url
    text = scrub(failure.text, *hidden, base_url=base) or "The upstream refused the request."
    kind = Refused if judge(reason).stop else Exhausted
    told = kind(Fault(code, text, status=status))
    if failure.body and len(failure.body) <= CAP and target.format == api_format:
        vendor = scrub(failure.body.decode("utf-8", "replace"), *hidden, base_url=base)
        told.body = vendor.encode() if _is_error_object(vendor) else b""
    return told


def _is_error_object(text: str) -> bool:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and "error" in value


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
