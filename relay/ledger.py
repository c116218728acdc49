"""From a request's context to its lines in the journal: what was asked, tried, and what it costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from providers.types import Target
from relay.context import AttemptLog, StreamContext
from relay.health import Turn
from relay.knobs import Knobs
from relay.learned import Learned
from usage.bodies import BodyQueue
from usage.charge import LEFT_UNFINISHED, UNBILLED, Charge, charge
from usage.framing import presentable
from usage.journal import Journal
from usage.lines import NULL, AttemptLine, Begun, Final, RecordLine, Start, encode_line
from usage.ratio import Ratios
from wire.types import GENERATE, Usage

COLUMNS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "cache_creation_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip
"""Columns of a record or an attempt."""
_COUNTS = attrgetter(
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip
"""The counts of `Usage` that fill them."""


class Nowhere(NamedTuple):
    """In the place of the target of a request that was never sent."""

    provider_id: None = None
    provider_name: str = ""
    endpoint_id: None = None
    key_id: None = None
    key_name: str = ""
    model_id: None = None
    upstream_name: str = ""
    format: str = ""


class Nobody(NamedTuple):
    """In the place of a caller."""

    consumer_id: None = None
    consumer_name: str = ""
    api_key_id: None = None
    api_key_name: str = ""


NOWHERE, NOBODY = Nowhere(), Nobody()


class Ledger:
    """The worker's side of the ledger: writes the journal, holds the learned ratios and the queue of
    bodies."""

    def __init__(self, knobs: Knobs, *, worker: str) -> None:
        self._knobs = knobs
        self.worker = worker
        self._journal: Journal | None = None
        self._sync_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="relay-journal")
        self._keys_used: dict[int, int] = {}
        self._endpoints_used: dict[int, int] = {}
        self.ratios = Ratios()
        self.bodies = BodyQueue(knobs.data_dir / "bodies", queue_bytes=knobs.body_queue_bytes)

    @property
    def journal(self) -> Journal:
        """The open journal. Raises RuntimeError before `open` and after `close`."""
        if self._journal is None:
            raise RuntimeError("the journal is not open")
        return self._journal

    def open(self) -> None:
        """Takes this worker's journal directory."""
        self._journal = Journal(
            self._knobs.data_dir / "journals",
            worker=self.worker,
            segment_bytes=self._knobs.segment_bytes,
            sync=self._knobs.journal_sync,
            clock=time.monotonic,
        )

    async def close(self) -> None:
        """Brings everything to the disk and gives the journal's lock back."""
        await asyncio.get_running_loop().run_in_executor(self._sync_thread, self.bodies.close)
        self._sync_thread.shutdown(wait=True)
        self.tell_used()
        self.journal.close()
        self._journal = None

    async def sync(self) -> None:
        """Brings to the disk, off the loop, what was written since the last call; nothing where nothing
        was."""
        if self.journal.dirty:
            await asyncio.get_running_loop().run_in_executor(self._sync_thread, self._sync)

    def _sync(self) -> None:
        if self._journal is not None:
            self._journal.sync()

    # Lines
    # -----------------------------------------------------------------------------------------------------

    def attempt(self, ctx: StreamContext, log: AttemptLog) -> None:
        """Notes that an attempt begins; before the first, that the request did."""
        target, caller, brief = log.target, ctx.caller or NOBODY, ctx.brief
        self._keys_used[target.key_id] = self._endpoints_used[target.endpoint_id] = log.started_at
        begun = Begun(
            request_id=ctx.request_text,
            number=log.number,
            started_at=log.started_at,
            provider_id=target.provider_id,
            provider_name=target.provider_name,
            endpoint_id=target.endpoint_id,
            key_id=target.key_id,
            key_name=target.key_name,
            model_id=target.model_id,
            upstream_model=target.upstream_name,
            upstream_format=target.format,
            cost_multiplier=target.cost_multiplier,
            free=target.free,
            context_window=target.context_window,
            bytes_per_token=self.ratios.get(target.model_name),
            price=target.price.plain_json() if target.price else NULL,
        )
        if log.number > 1:
            self.journal.add(ctx.request_text, encode_line(b"attempt", begun))
            return
        start = Start(
            request_id=ctx.request_text,
            kind=brief.kind if brief else ctx.kind,
            started_at=ctx.started_at,
            consumer_id=caller.consumer_id,
            consumer_name=caller.consumer_name,
            api_key_id=caller.api_key_id,
            api_key_name=caller.api_key_name,
            model_id=ctx.model_id,
            model_name=ctx.model,
            client_format=ctx.api_format,
            is_stream=brief.stream if brief else False,
            address=ctx.address or None,
            client_request_id=ctx.client_request_id,
            request_bytes=ctx.request_bytes,
            user_agent=ctx.user_agent,
            attempt=begun,
        )
        self.journal.start(ctx.request_text, encode_line(b"start", start))

    def attempt_end(self, ctx: StreamContext, log: AttemptLog) -> None:
        """Notes that an attempt failed, and where."""
        lines = [("attempt_end", {"request_id": ctx.request_text, **_learned(log)})]
        if log.verdict != "pass_on":
            at = log.started_at + log.total_ms
            columns = {"last_error": f"{log.reason}: {log.error_text}"[:300], "last_error_at": at}
            lines += [_state("key", log.target.key_id, at, columns)]
            lines += [_state("endpoint", log.target.endpoint_id, at, columns)]
        self.journal.write_many(lines)

    def turned(self, turns: Sequence[Turn]) -> None:
        """Notes what changed in the health of keys and endpoints."""
        if turns:
            wall, now = time.time(), time.monotonic()
            at = int(wall * 1000)
            self.journal.write_many([_turn(each, at, now) for each in turns])

    def learned(self, key_id: int, learned: Learned | None) -> None:
        """Notes a key's learned limit of concurrency; None: it has none any more."""
        at = int(time.time() * 1000)
        columns: dict[str, Any] = {"learned_limit": None, "detail": {}}
        if learned is not None:
            detail = {**learned.detail(), "limit_changed_at": at}
            columns = {"learned_limit": learned.limit, "detail": detail}
        self.journal.write_many([_state("key", key_id, at, columns)])

    def probed(self, places: Iterable[tuple[str, int]], result: str) -> None:
        """Notes how the last probe of these keys and endpoints (`key` or `endpoint`, and the id) ended."""
        at = int(time.time() * 1000)
        columns = {"probed_at": at, "probe_result": result[:300]}
        self.journal.write_many([_state(table, number, at, columns) for table, number in places])

    def tell_used(self) -> None:
        """Notes when each key and endpoint was last used, since the last call."""
        used = [("key", self._keys_used), ("endpoint", self._endpoints_used)]
        self.journal.write_many(
            [
                _state(table, number, at, {"last_used_at": at})
                for table, instants in used
                for number, at in instants.items()
            ]
        )
        self._keys_used, self._endpoints_used = {}, {}

    def checkpoint(self, ctx: StreamContext) -> None:
        """Notes how far a stream has come, for the case that this process dies."""
        log = ctx.attempts[-1]
        self.journal.write(
            "checkpoint",
            {
                "request_id": ctx.request_text,
                "number": log.number,
                "committed": ctx.committed,
                "usage": _plain_usage(log.watch.usage() if log.watch else log.usage),
                "text_bytes": log.text_bytes,
            },
        )

    def final(self, ctx: StreamContext, now: float) -> None:
        """Prices a request that is over and writes its record. `now` is monotonic seconds."""
        attempts, caller, brief = ctx.attempts, ctx.caller or NOBODY, ctx.brief
        target: Target | Nowhere = NOWHERE
        bill, own_pico, price = UNBILLED, 0, NULL
        first_byte_ms = first_token_ms = None
        tries = []
        if attempts:
            last = attempts[-1]
            target = last.target
            _close(ctx, last, now)
            for log in attempts:
                bill = self._charge(ctx, log)
                own_pico += bill.own_pico
                tries.append(_attempt_line(log, bill))
            price = self._settle_usage(ctx, last, bill)
            offset = round((last.began - ctx.began) * 1000)
            if last.first_byte_ms is not None:
                first_byte_ms = offset + last.first_byte_ms
            if last.first_token_ms is not None:
                first_token_ms = offset + last.first_token_ms
        usage, failed = bill.usage, ctx.outcome != "ok"
        overhead = None if ctx.dispatched is None else ctx.dispatched - ctx.began - ctx.reading - ctx.waiting
        record = RecordLine(
            request_id=ctx.request_text,
            started_at=ctx.started_at,
            address=ctx.address or None,
            tool_uses=_json(dict(usage.tool_uses)) if usage.tool_uses else NULL,
            explanation=NULL if ctx.explanation is None else _json(ctx.explanation),
            kind=brief.kind if brief else ctx.kind,
            consumer_id=caller.consumer_id,
            consumer_name=caller.consumer_name,
            api_key_id=caller.api_key_id,
            api_key_name=caller.api_key_name,
            provider_id=target.provider_id,
            provider_name=target.provider_name,
            endpoint_id=target.endpoint_id,
            key_id=target.key_id,
            key_name=target.key_name,
            model_id=target.model_id or ctx.model_id,
            model_name=ctx.model,
            upstream_model=target.upstream_name,
            client_format=ctx.api_format,
            upstream_format=target.format,
            is_stream=brief.stream if brief else False,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cache_read_tokens,
            cache_creation_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
            cache_creation_1h_tokens=usage.cache_write_1h_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            usage_source=bill.usage_source,
            service_tier=usage.service_tier[:20],
            list_cost=bill.list_pico,
            own_cost=own_pico,
            saved_cost=bill.saved_pico,
            outcome=ctx.outcome,
            status_code=ctx.sent_status,
            error_code=ctx.error_code,
            error_text=ctx.error_message or "" if failed else "",
            finish_reason=ctx.finish_reason[:40],
            first_byte_ms=first_byte_ms,
            first_token_ms=first_token_ms,
            total_ms=round((now - ctx.began) * 1000),
            overhead_us=None if overhead is None else round(overhead * 1_000_000),
            attempt_count=len(attempts),
            config_revision=ctx.revision,
            client_request_id=ctx.client_request_id,
            estimated=bill.estimated,
            suspect=bill.suspect,
            truncated=ctx.ended_early,
            unpriced=bill.unpriced,
            body_lost=ctx.body_lost,
            lossy=ctx.conversion.startswith("lossy"),
            conversion=ctx.conversion,
        )
        stored = _stored(ctx) if ctx.response_id and ctx.api_format == "openai_responses" else NULL
        line = Final(record=record, attempts=tries, user_agent=ctx.user_agent, price=price, stored=stored)
        self.journal.finish(ctx.request_text, encode_line(b"final", line))

    def _settle_usage(self, ctx: StreamContext, last: AttemptLog, bill: Charge) -> Raw:
        """Tells the context what is billed, and teaches the model's ratio; returns the price's snapshot, null
        where nothing was priced."""
        usage, target = bill.usage, last.target
        ctx.update_usage(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        )
        if (
            ctx.outcome == "ok"
            and last.usage.output_reported
            and not bill.suspect
            and self.ratios.wants(target.model_name)
        ):
            visible = last.usage.output_tokens - last.usage.reasoning_tokens
            self.ratios.learn(target.model_name, text_bytes=last.text_bytes, tokens=visible)
        if target.price is not None and (bill.list_pico or usage.input_tokens or usage.output_tokens):
            return target.price.snapshot_json(usage)
        return NULL

    def amend(self, ctx: StreamContext) -> None:
        """Writes the usage that came after the end: changed columns, absolute."""
        log = ctx.attempts[-1]
        ctx.amendments += 1
        bill = self._charge(ctx, log)
        others = sum(self._charge(ctx, each).own_pico for each in ctx.attempts[:-1])
        price = log.target.price.snapshot(bill.usage) if log.target.price else None
        self.journal.write(
            "amend",
            {
                "request_id": ctx.request_text,
                "amendment": ctx.amendments,
                "record": {**_billed(bill), "own_cost": others + bill.own_pico},
                "attempt": {"number": log.number, **_attempt_billed(bill)},
                "price": price,
            },
        )

    def _charge(self, ctx: StreamContext, log: AttemptLog) -> Charge:
        target, answers = log.target, log is ctx.attempts[-1]
        return charge(
            target.price,
            log.usage,
            kind=ctx.brief.kind if ctx.brief else GENERATE,
            outcome=ctx.outcome if answers else "upstream_error",
            sent=log.phase not in ("connect", "send"),
            delivered=log.delivered,
            committed=answers and ctx.committed,
            ended=log.ended,
            text_bytes=0 if log.usage.final and log.usage.output_reported else log.text_bytes,
            request_bytes=ctx.request_bytes,
            bytes_per_token=self.ratios.get(target.model_name),
            input_limit=target.context_window,
            count=ctx.brief.count if ctx.brief else 1,
            cost_multiplier=target.cost_multiplier,
            free=target.free,
        )


def _state(table: str, number: int, at: int, columns: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A `state` line: what changed in a row that the machine keeps, and when."""
    return "state", {"table": table, "id": number, "at": at, "columns": columns}


def _turn(turn: Turn, at: int, now: float) -> tuple[str, dict[str, Any]]:
    part = turn.part
    cooling, opened = part.cooling_until > now, part.state != "closed"
    columns = {
        "breaker": part.state,
        "opened_until": at + round((part.opened_until - now) * 1000) if opened else None,
        "openings": part.openings,
        "cooling_until": at + round((part.cooling_until - now) * 1000) if cooling else None,
        "verdict": part.cooling_for if cooling else "",
        "disabled_at": at if cooling and part.cooling_for == "key_refused" else None,
        "reason": turn.reason,
    }
    if turn.again:  # no change of state: without the breaker it is no event, and its beginning stays
        del columns["breaker"], columns["disabled_at"]
    return _state(turn.table, turn.id, at, columns)


def _close(ctx: StreamContext, log: AttemptLog, now: float) -> None:
    """Notes how the last attempt ended where it was cut off with the request."""
    if not log.total_ms:
        log.total_ms = round((now - log.began) * 1000)
    if ctx.outcome in LEFT_UNFINISHED and not log.verdict and not log.ended:
        log.verdict = log.reason = ctx.outcome
        log.maybe_billed = not log.delivered and log.phase not in ("connect", "send")


def _attempt_line(log: AttemptLog, bill: Charge) -> AttemptLine:
    target, usage = log.target, bill.attempt_usage
    return AttemptLine(
        number=log.number,
        started_at=log.started_at,
        provider_id=target.provider_id,
        provider_name=target.provider_name,
        endpoint_id=target.endpoint_id,
        key_id=target.key_id,
        key_name=target.key_name,
        model_id=target.model_id,
        upstream_model=target.upstream_name,
        upstream_format=target.format,
        cost_multiplier=target.cost_multiplier,
        phase=log.phase,
        verdict=log.verdict or "ok",
        reason=log.reason,
        status_code=log.status_code,
        error_type=log.error_type,
        error_text=log.error_text,
        rule_id=log.rule_id,
        decided_by=log.decided_by,
        upstream_request_id=log.upstream_request_id,
        first_byte_ms=log.first_byte_ms,
        first_token_ms=log.first_token_ms,
        total_ms=log.total_ms,
        bytes_sent=log.bytes_sent,
        bytes_received=log.bytes_received,
        maybe_billed=log.maybe_billed,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cache_read_tokens,
        cache_creation_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_creation_1h_tokens=usage.cache_write_1h_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        list_cost=bill.attempt_list_pico,
        own_cost=bill.own_pico,
    )


def _learned(log: AttemptLog) -> dict[str, Any]:
    return {
        "number": log.number,
        "phase": log.phase,
        "verdict": log.verdict or "ok",
        "reason": log.reason,
        "status_code": log.status_code,
        "error_type": log.error_type,
        "error_text": log.error_text,
        "rule_id": log.rule_id,
        "decided_by": log.decided_by,
        "upstream_request_id": log.upstream_request_id,
        "first_byte_ms": log.first_byte_ms,
        "first_token_ms": log.first_token_ms,
        "total_ms": log.total_ms,
        "bytes_sent": log.bytes_sent,
        "bytes_received": log.bytes_received,
        "maybe_billed": log.maybe_billed,
    }


def _tokens(usage: Usage) -> dict[str, int]:
    return dict(zip(COLUMNS, _COUNTS(usage), strict=True))


def _billed(bill: Charge) -> dict[str, Any]:
    return {
        **_tokens(bill.usage),
        "tool_uses": dict(bill.usage.tool_uses) or None,
        "service_tier": bill.usage.service_tier[:20],
        "usage_source": bill.usage_source,
        "list_cost": bill.list_pico,
        "saved_cost": bill.saved_pico,
        "estimated": bill.estimated,
        "suspect": bill.suspect,
        "unpriced": bill.unpriced,
    }


def _attempt_billed(bill: Charge) -> dict[str, Any]:
    return {**_tokens(bill.attempt_usage), "list_cost": bill.attempt_list_pico, "own_cost": bill.own_pico}


def _plain_usage(usage: Usage) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(usage).items() if value}


def _stored(ctx: StreamContext) -> Raw:
    """The Responses object that upstream keeps, if it does: so that its id can be asked for later."""
    brief, caller = ctx.brief, ctx.caller
    if not (brief and caller and ctx.attempts) or brief.kind != GENERATE or brief.store is False:
        return NULL
    target = ctx.attempts[-1].target
    if target.format != ctx.api_format:
        return NULL
    stored = {
        "response_id": ctx.response_id,
        "consumer_id": caller.consumer_id,
        "api_key_id": caller.api_key_id,
        "endpoint_id": target.endpoint_id,
        "key_id": target.key_id,
        "model_id": target.model_id,
        "upstream_model": target.upstream_name,
        "created_at": ctx.started_at,
        "expires_at": ctx.started_at + STORED_FOR_MS,
    }
    return _json(stored)


def _json(value: Any) -> Raw:
    """JSON of whatever callers and vendors said; lone surrogates are replaced."""
    return Raw(msgspec.json.encode(presentable(value)))


STORED_FOR_MS = 30 * 24 * 3600 * 1000
"""OpenAI keeps a stored response for 30 days by default
(platform.openai.com/docs/api-reference/responses)."""
