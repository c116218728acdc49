"""The story of a request, top to bottom: desk, reading room, plan, attempts, answer, ledger."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import DatabaseError

from consumers import auth
from relay import headers as header_rules, lists, stored
from relay.answer import PIECE, Answer, Pieces, Stream
from relay.attempts import Job, StreamWinner, WholeWinner, Winner, first_frames, run, whole
from relay.call import Call, printable
from relay.context import StreamContext
from relay.conversion import Converter
from relay.desk import client_format, secret_of
from relay.engine import Engine
from relay.errors import SOON, Exhausted, Interrupted, Refused, RelayError, Unreadable, some_of
from relay.estimate import estimated_count
from relay.failover import UNSUPPORTED, judge
from relay.payload import JsonBody, Payload, Upload
from relay.planning import route_of
from relay.refusals import internal, render, telling_id, too_large
from relay.routes import MODELS, Match, allowed_methods, match
from relay.scheduler import Plan
from usage import ids
from usage.refusal import Rule
from wire import FORMATS
from wire.types import COUNT_TOKENS, STORED, TRANSCRIBE, BadRequest, Brief, Fault

log = logging.getLogger("aether.relay")


async def relay(engine: Engine, call: Call) -> Answer:
    """Answers one request. Whatever happens, a request with a valid API key settles exactly once. Raises
    CancelledError when the client left, and Unreadable when its body never came; both are settled, or owed no
    record, by then."""
    found = match(call.method, call.path)
    ctx = StreamContext(model="", api_format=client_format(call, found))
    ctx.started_at, ctx.began = int(time.time() * 1000), time.monotonic()
    ctx.request_text = ids.request_id(ctx.started_at, os.urandom(9))
    ctx.address, ctx.cut = call.address, call.cut
    ctx.client_request_id = printable(call.header(b"x-request-id"), 120)
    ctx.user_agent = printable(call.header(b"user-agent"), 300)
    try:
        return await _served(engine, call, ctx, found)
    except RelayError as error:
        return refuse(engine, ctx, error)
    except Unreadable:
        engine.forget(ctx)
        raise
    except asyncio.CancelledError:
        if ctx.interruption in ("shutdown", "revoked", "late") and not ctx.settled:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            if ctx.interruption == "late":
                engine.forget(ctx)
                raise Unreadable(timed_out=True) from None
            return refuse(engine, ctx, Interrupted(ctx.interruption))
        engine.settle(ctx, "client_gone", code="client_gone")
        raise
    except Exception:
        log.exception("request %s failed inside the relay", ctx.request_text)
        return refuse(engine, ctx, internal())


async def _served(engine: Engine, call: Call, ctx: StreamContext, found: Match | None) -> Answer:
    if found is None:
        raise _no_such_path(call)
    route = found.route
    ctx.kind = route.kind if route.kind != MODELS else ""
    ctx.caller = caller = await _authenticated(engine, call, ctx.api_format)
    if caller.recording != "none":
        ctx.client_request_headers, ctx.text_cap = _texts(call), engine.knobs.record_cap_bytes
    if route.kind == MODELS:
        return lists.answer(
            engine.catalog, caller, found, api_format=ctx.api_format, request_id=ctx.request_text
        )
    if limit := engine.allowance.of(caller):
        ctx.lease = await engine.allowance.take(caller, limit)
    if route.kind == STORED:
        return await _stored(engine, call, ctx, caller, found)
    if engine.draining:
        raise Refused(
            Fault("unavailable", "The server is going down; send the request again."),
            retry_after=some_of(SOON), rule=Rule.DRAINING, measured=len(engine.open),
        )  # fmt: skip
    engine.enter(ctx)
    try:
        payload, brief = await _read(engine, call, ctx, found)
    except BadRequest as error:
        code = "too_large" if error.status == 413 else "invalid_request"
        raise Refused(Fault(code, error.text, param=error.param, status=error.status)) from error
    ctx.brief, ctx.model = brief, brief.model
    payload, brief = await stored.continued(engine, ctx, caller, payload, brief)
    try:
        way = await route_of(engine, ctx, caller, brief)
    except Refused:
        if brief.kind == COUNT_TOKENS and _only_converted(engine, ctx):
            return _estimated(engine, ctx)
        raise
    knobs = engine.knobs
    total = knobs.stream_total_timeout if brief.stream else knobs.whole_total_timeout
    job = Job(
        engine, ctx, call, route, brief, payload, way.plan,
        order=way.order, session=way.session, deadline=ctx.began + total,
    )  # fmt: skip
    job.converter = _converter(job)
    try:
        if brief.stream:
            return await _streamed(job)
        return _whole(job, await run(job, whole))
    except (Exhausted, Refused) as error:
        if isinstance(error, Exhausted) and brief.kind == COUNT_TOKENS and _nobody_counts(ctx):
            return _estimated(engine, ctx)
        ctx.explanation = job.explained()
        raise


def _converter(job: Job) -> Converter | None:
    """What writes the request for targets of other formats; None where the plan has none."""
    engine, ctx, payload = job.engine, job.ctx, job.payload
    if not isinstance(payload, JsonBody) or all(each.format == ctx.api_format for each in job.order):
        return None
    entry = engine.catalog.model(ctx.model)
    exact = entry is not None and entry.conversion == "exact"
    return Converter(engine, ctx, job.brief, job.call, payload.data, exact=exact)


# Desk
# ------------------------------------------------------------------------------------------------------------


async def _authenticated(engine: Engine, call: Call, api_format: str) -> auth.Caller:
    try:
        secret = secret_of(call, api_format)
        caller = engine.callers.get(secret, time.time())
        if caller is auth.MISS:
            caller = await engine.find_caller(secret)
        if caller is None:
            raise auth.refused()
        if caller.networks is not None and not caller.permits(call.address):
            raise auth.foreign_network()
    except auth.AuthError as error:
        if error.guess and engine.throttle.note(call.address, time.monotonic()):
            log.warning("%s sent too many bad API keys and is held back; a proxy of yours?", call.address)
        bad = engine.throttle.count(call.address, time.monotonic()) if error.guess else 0
        raise Refused(error.fault, rule=_rule_of(error), measured=bad) from error
    except DatabaseError as error:
        text = "API keys cannot be looked up right now; try again in a moment."
        fault = Fault("unavailable", text)
        raise Refused(fault, retry_after=some_of(SOON), rule=Rule.DATABASE) from error
    return caller


def _rule_of(error: auth.AuthError) -> Rule:
    if error.guess:
        return Rule.BAD_API_KEY
    return {400: Rule.TWO_API_KEYS, 403: Rule.NETWORK}.get(error.status, Rule.NO_API_KEY)


def _no_such_path(call: Call) -> Refused:
    methods = allowed_methods(call.path)
    unknown_verb = call.method == "POST" and ":" in call.path.rpartition("/")[2]
    if methods and not unknown_verb:
        text = f"{call.method} is not allowed for {printable(call.path, 200)}; use {' or '.join(methods)}."
        refused = Refused(Fault("method_not_allowed", text), rule=Rule.METHOD)
        refused.allow = methods
        return refused
    return Refused(
        Fault(
            "not_found",
            f"There is no {call.method} {printable(call.path, 200)} here. Files, Batches, Realtime and "
            "WebSocket are not part of this version.",
        ),
        rule=Rule.NO_PATH,
    )


# Reading room
# ----------------------------------------------------------------------------------------------------


async def _read(engine: Engine, call: Call, ctx: StreamContext, found: Match) -> tuple[Payload, Brief]:
    """Body and brief of a request. Raises BadRequest, Refused and Unreadable."""
    route, content_type = found.route, call.header(b"content-type")
    if route.kind == TRANSCRIBE and content_type.lower().startswith("multipart/form-data"):
        upload = ctx.payload = Upload(engine.knobs.data_dir / "uploads", content_type)
        await _drain(call, ctx, engine.knobs.max_upload_bytes, lambda piece, _: upload.feed(piece))
        return upload, upload.finish().brief(route.kind)
    body = ctx.payload = JsonBody(await _body(engine, call, ctx))
    if ctx.caller is not None and ctx.caller.recording == "full":
        ctx.request_body = body.data
    brief = FORMATS[route.format].peek(
        body.data,
        kind=route.kind,
        path=route.path,
        model=found.name,
        query=call.query,
        headers=_texts(call) if route.format == "anthropic" else None,
    )
    return body, brief


async def _body(engine: Engine, call: Call, ctx: StreamContext) -> bytes:
    """A body in memory, which counts against the memory for bodies while it comes in."""
    whole = b""
    pieces = bytearray()  # one block that grows: a list would leave its memory in pieces

    def take(piece: bytes, more: bool) -> None:
        nonlocal whole
        engine.hold_body(ctx, len(piece))
        if more or pieces:
            pieces.extend(piece)
        else:
            whole = piece

    await _drain(call, ctx, engine.knobs.max_body_bytes, take)
    return whole or bytes(pieces)


async def _drain(call: Call, ctx: StreamContext, limit: int, take: Callable[[bytes, bool], object]) -> None:
    """Hands the body to `take` piece by piece, counted while it comes in, with whether more follow."""
    if call.length > limit:
        raise too_large(limit)
    ctx.reading_since = began = time.monotonic()
    try:
        more = True
        while more:
            piece, more = await call.read()
            ctx.request_bytes += len(piece)
            if ctx.request_bytes > limit:
                raise too_large(limit)
            take(piece, more)
    finally:
        ctx.reading_since, ctx.reading = None, time.monotonic() - began


def _texts(call: Call) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in call.headers}


# Answers
# ---------------------------------------------------------------------------------------------------------


async def _streamed(job: Job) -> Answer:
    """The stream as soon as it has something to say; after 15 silent seconds, the silent commit."""
    ctx = job.ctx
    task = asyncio.create_task(run(job, first_frames))
    try:
        done = await _done_within(task, job.engine.knobs.keep_alive)
    except asyncio.CancelledError:
        await _dropped(task)
        raise
    source: StreamWinner | asyncio.Task[StreamWinner] = task
    content_type = "application/json" if job.brief.array else "text/event-stream; charset=utf-8"
    if done:
        source = task.result()
        content_type = source.content_type
        if isinstance(job.payload, JsonBody):  # a form may still be on its way
            job.engine.release_body(ctx)
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        *header_rules.own(ctx.request_text, stream=True),
        *_conversion(ctx, source),
    ]
    _keep_headers(ctx, headers)
    return Answer(200, headers, stream=Stream(job, source))


def _conversion(ctx: StreamContext, winner: object) -> list[tuple[bytes, bytes]]:
    """The header that says what became of the request on its way to another format."""
    conversion = winner.log.conversion if isinstance(winner, Winner) else None
    if conversion is None:
        return []
    ctx.conversion = conversion.told
    return [(b"x-aether-conversion", ctx.conversion.encode("ascii", "replace"))]


async def _done_within(task: asyncio.Task[StreamWinner], seconds: float) -> bool:
    """Whether a task is done in time; it goes on either way. As asyncio.wait, which costs three times as much
    for a single one."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()

    def tell(*_: object) -> None:
        if not told.done():
            told.set_result(None)

    timer = loop.call_later(seconds, tell)
    task.add_done_callback(tell)
    try:
        await told
    finally:
        timer.cancel()
    return task.done()


async def _dropped(task: asyncio.Task[StreamWinner]) -> None:
    """Ends the attempts of a client that left, and lets go of an answer that came in that very moment."""
    task.cancel()
    with suppress(asyncio.CancelledError, RelayError):
        (await task).let_go()


def _whole(job: Job, winner: WholeWinner) -> Answer:
    """A whole answer: settled, then handed out byte for byte."""
    ctx, reading = job.ctx, winner.reading
    winner.let_go()
    ctx.committed = ctx.has_completion = True
    ctx.finish_reason, ctx.response_id = reading.finish_reason, reading.response_id
    ctx.chunk_count = ctx.data_count = 1
    headers = [
        (b"content-type", winner.content_type.encode("latin-1")),
        (b"content-length", str(len(winner.body)).encode()),
        *header_rules.own(ctx.request_text),
        *_conversion(ctx, winner),
    ]
    ctx.sent_status = winner.opened.status
    _keep_headers(ctx, headers)
    job.engine.settle(ctx, "ok", answer=winner.body)
    if len(winner.body) > PIECE:
        return Answer(winner.opened.status, headers, stream=Pieces(job.engine, ctx, winner.body))
    return Answer(winner.opened.status, headers, body=winner.body)


def _nobody_counts(ctx: StreamContext) -> bool:
    return bool(ctx.attempts) and all(
        each.reason and judge(each.reason).meaning == UNSUPPORTED for each in ctx.attempts
    )


def _only_converted(engine: Engine, ctx: StreamContext) -> bool:
    """Whether a model that this caller may call is served, but by endpoints of other formats alone."""
    entry = engine.catalog.model(ctx.model) if ctx.model_id is not None else None
    return (
        entry is not None
        and entry.conversion != "off"
        and all(each.skipped for each in engine.catalog.candidates(entry.name, ctx.api_format))
        and any(not each.skipped for each in engine.catalog.others(entry.name, ctx.api_format))
    )


def _estimated(engine: Engine, ctx: StreamContext) -> Answer:
    """An estimate of a request's tokens, where no endpoint counts them."""
    body = estimated_count(ctx.api_format, ctx.request_bytes, engine.ledger.ratios.get(ctx.model))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-aether-estimated", b"1"),
        *header_rules.own(ctx.request_text),
    ]
    ctx.sent_status, ctx.status_code, ctx.error_message = 200, 200, None
    engine.settle(ctx, "ok", answer=body)
    return Answer(200, headers, body=body)


async def _stored(
    engine: Engine, call: Call, ctx: StreamContext, caller: auth.Caller, found: Match
) -> Answer:
    """GET, DELETE and friends on a stored response: forwarded to the key that holds it."""
    engine.enter(ctx)
    if found.route.method == "POST":  # to its end, or the door does not see the client leave
        await _drain(call, ctx, engine.knobs.max_body_bytes, lambda *_: None)
    ref = await stored.find(engine, found.name, caller)
    target = stored.target(engine, ref)
    ctx.model_id, ctx.model, ctx.revision = ref.model_id, target.model_name, engine.catalog.revision
    ctx.brief = Brief(model=target.model_name, kind=STORED, stream="stream=true" in call.query)
    job = Job(
        engine, ctx, call, found.route, ctx.brief, JsonBody(b""), Plan((target,)),
        order=(target,), session=None, deadline=ctx.began + engine.knobs.whole_total_timeout,
    )  # fmt: skip
    try:
        answer = await _streamed(job) if ctx.brief.stream else _whole(job, await run(job, whole))
    except Exhausted as error:
        if error.fault.code != "model_not_found":
            raise
        raise stored.unknown(found.name) from error
    if found.route.method == "DELETE" and answer.status == 200:
        engine.responses.pop(found.name, None)
    return answer


def refuse(engine: Engine, ctx: StreamContext, error: RelayError) -> Answer:
    """The answer for an error before the first byte; settles the request if it has a caller."""
    if ctx.caller is None or not ctx.kind:  # there will be no record: the id alone, and the log, can tell
        if error.rule is not None:
            ctx.request_text = telling_id(error)
        answer = render(error, ctx.api_format, ctx.request_text)
        log.info("request %s was refused with %d: %s", ctx.request_text, answer.status, error.fault.text)
        return answer
    answer = render(error, ctx.api_format, ctx.request_text)
    ctx.sent_status = answer.status
    _keep_headers(ctx, answer.headers)
    told: dict[str, Any] = {"retry_after": error.retry_after} if error.retry_after is not None else {}
    if error.rule is not None:
        told["refused"] = {"rule": error.rule.name.lower(), "measured": error.measured}
    if told:
        ctx.explanation = {**(ctx.explanation or {}), **told}
    engine.settle(ctx, error.outcome, code=error.code, text=error.fault.text, answer=answer.body)
    return answer


def _keep_headers(ctx: StreamContext, headers: list[tuple[bytes, bytes]]) -> None:
    """Those of our answer, where the API key asks for a recording."""
    if ctx.caller is not None and ctx.caller.recording != "none":
        ctx.response_headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
