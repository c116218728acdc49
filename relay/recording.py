"""What is kept of a request whose API key asks for it: headers without their secrets, bodies up to a cap."""

from __future__ import annotations

from typing import Any

import orjson

from providers.scrub import CREDENTIAL
from relay.context import StreamContext
from usage.bodies import Recorded

KEPT_FOR_MS = 7 * 24 * 3600 * 1000
HIDDEN = "[removed]"


def recorded(ctx: StreamContext, answer: bytes, *, milliseconds: int) -> Recorded:
    """The stored form of a request that is over, whose API key asks for it. `answer` is the whole body that
    went to the client, `milliseconds` how long a stream took."""
    ours = ctx.attempts[-1].target.secret if ctx.attempts else ""
    row = Recorded(
        request_id=ctx.request_text,
        expires_at=ctx.started_at + KEPT_FOR_MS,
        client_request_headers=_safe(ctx.client_request_headers, ours),
        upstream_request_headers=_safe(ctx.provider_request_headers, ours),
        upstream_response_headers=_safe(ctx.upstream_response_headers, ours),
        client_response_headers=_safe(ctx.response_headers, ours),
    )
    if ctx.caller is not None and ctx.caller.recording == "full":
        row.request_body = _cut(ctx, ctx.request_body)
        row.upstream_request_body = _cut(ctx, ctx.provider_request_body)
        if ctx.brief is not None and ctx.brief.stream and ctx.committed:
            answer = orjson.dumps(ctx.build_response_body(milliseconds), default=str)
        row.response_body = _cut(ctx, answer)
        row.truncated = ctx.truncated_body
    return row


def _cut(ctx: StreamContext, body: Any) -> bytes | None:
    if not isinstance(body, bytes):
        return None
    if len(body) > ctx.text_cap:
        ctx.truncated_body = True
    return body[: ctx.text_cap]


def _safe(headers: dict[str, str] | None, ours: str) -> dict[str, str]:
    """Headers without credentials, and without our own secret wherever it was repeated."""
    return {
        name: HIDDEN if CREDENTIAL.search(name) else value.replace(ours, HIDDEN) if ours else value
        for name, value in (headers or {}).items()
    }
