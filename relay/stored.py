"""Stored Responses: whose an id is, and which key can reach it."""

from __future__ import annotations

import asyncio

from django.utils import timezone

from consumers.auth import Caller
from providers.types import Target
from relay.engine import Engine, StoredRef
from relay.errors import Exhausted, Refused
from usage.models import StoredResponse
from wire.types import Fault

PATIENCE = 1.0
"""Seconds for the recorder to bring an id to the database that another process gave out a moment ago."""
PAUSE = 0.1


async def find(engine: Engine, response_id: str, caller: Caller) -> StoredRef:
    """Where `response_id` is stored. Raises Refused, 404, for one that is unknown or another consumer's,
    looked for equally long, so that nobody learns which it was."""
    ref = engine.responses.get(response_id)
    if ref is not None and ref.consumer_id == caller.consumer_id:
        return ref
    for _ in range(round(PATIENCE / PAUSE)):
        ref = await engine.in_thread(_load, response_id, caller.consumer_id)
        if ref is not None:
            engine.remember_response(response_id, ref)
            return ref
        await asyncio.sleep(PAUSE)
    raise unknown(response_id)


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
