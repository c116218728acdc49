"""Stored Responses: whose an id is, and which key can reach it, or what the relay kept of it."""

from __future__ import annotations

import asyncio

import msgspec
from django.utils import timezone

from consumers.auth import Caller
from providers.types import Target
from relay import histories
from relay.context import StreamContext
from relay.engine import Engine, StoredRef
from relay.errors import Exhausted, Refused
from relay.payload import JsonBody, Payload
from usage.models import StoredResponse
from wire.types import GENERATE, Brief, Fault

PATIENCE = 1.0
"""Seconds for the recorder to bring an id to the database that another process gave out a moment ago."""
PAUSE = 0.1


async def find(engine: Engine, response_id: str, caller: Caller) -> StoredRef:
    """Where `response_id` is stored. Raises Refused, 404, for one that is unknown or another consumer's,
    looked for equally long, so that nobody learns which it was."""
    ref = engine.responses.get(response_id)
    if ref is not None and ref.consumer_id == caller.consumer_id and ref.endpoint_id:
        return ref
    for _ in range(round(PATIENCE / PAUSE)):
        ref = await engine.in_thread(_load, response_id, caller.consumer_id)
        if ref is not None:
            engine.remember_response(response_id, ref)
            return ref
        await asyncio.sleep(PAUSE)
    raise unknown(response_id)


async def continued(
    engine: Engine, ctx: StreamContext, caller: Caller, payload: Payload, brief: Brief
) -> tuple[Payload, Brief]:
    """A Responses request with the history that the relay kept of the answer it goes on from, if any: to
    upstream it goes on from none. What is to be kept with its own answer is noted in the context."""
    if ctx.api_format != "openai_responses" or brief.kind != GENERATE or not isinstance(payload, JsonBody):
        return payload, brief
    wanted = engine.knobs.keep_responses > 0
    if brief.previous_id and wanted:
        history = await histories.find(engine.histories, caller.consumer_id, brief.previous_id)
        if history is not None:
            engine.hold_body(ctx, len(history.items))
            payload = ctx.payload = JsonBody(histories.with_history(payload.data, history))
            brief = ctx.brief = msgspec.structs.replace(brief, previous_id="")
    if wanted and brief.store is not False and not brief.previous_id:
        ctx.history = histories.input_of(payload.data)
    return payload, brief


async def holder(engine: Engine, previous_id: str, caller: Caller) -> StoredRef:
    """Where the answer is stored that a request goes on from. Raises Refused: 400 for one of the caller's
    own that came by conversion, which no vendor holds, and 404 as `find`."""
    wanted = engine.knobs.keep_responses > 0
    ref = engine.responses.get(previous_id)
    if ref is not None and ref.consumer_id == caller.consumer_id and not ref.endpoint_id:
        raise histories.gone(previous_id, wanted=wanted)
    try:
        return await find(engine, previous_id, caller)
    except Refused:
        if await engine.in_thread(histories.is_ours, previous_id, caller.consumer_id):
            raise histories.gone(previous_id, wanted=wanted) from None
        raise


def unknown(response_id: str) -> Refused:
    """404, the same for an id that never was, is another consumer's, or is gone upstream."""
    return Refused(Fault("not_found", f"There is no stored response {response_id[:200]!r} for this API key."))


def _load(response_id: str, consumer_id: int) -> StoredRef | None:
    mine = StoredResponse.objects.filter(response_id=response_id, consumer_id=consumer_id)
    row = mine.filter(expires_at__gt=timezone.now()).first()
    if row is None or row.endpoint_id is None or row.key_id is None:
        return None
    return StoredRef(consumer_id, row.endpoint_id, row.key_id, row.model_id, row.upstream_model)


def target(engine: Engine, ref: StoredRef) -> Target:
    """The target that holds a stored response. Raises Exhausted, 502, where its key is out of service."""
    for entry in engine.catalog.models():
        if entry.id != ref.model_id:
            continue
        for candidate in entry.candidates:
            each = candidate.target
            if not candidate.skipped and (each.endpoint_id, each.key_id) == (ref.endpoint_id, ref.key_id):
                return each
    raise Exhausted(Fault("upstream_error", "The key that holds this response is out of service."))
