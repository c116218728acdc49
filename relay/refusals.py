"""Errors before the first byte, in the client's own format."""

from __future__ import annotations

import time
from collections.abc import Mapping

from relay import headers as header_rules
from relay.answer import Answer
from relay.errors import SOON, Exhausted, Refused, RelayError, some_of
from relay.routes import format_of, is_relay_path
from usage.refusal import Rule, refusal_id
from wire import FORMATS
from wire.types import Fault


def render(error: RelayError, api_format: str, request_id: str) -> Answer:
    """The answer that tells `error`."""
    status, body = FORMATS[api_format].fault(error.fault, request_id)
    body = error.body or body
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *header_rules.own(request_id),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.allow:
        headers.append((b"allow", ", ".join(error.allow).encode()))
    if error.fault.code == "insufficient_quota":
        headers.append((b"x-should-retry", b"false"))
    return Answer(status, headers, body=body)


def unrecorded(error: RelayError, api_format: str) -> Answer:
    """The answer that tells `error`, of which nothing is kept: its id says what a record would."""
    return render(error, api_format, telling_id(error))


def telling_id(error: RelayError) -> str:
    """An id that tells the rule of `error`, by what it went and how long the client is to wait. Raises
    ValueError where it has no rule."""
    if error.rule is None:
        raise ValueError("no rule refused this")
    milliseconds, wait = int(time.time() * 1000), error.retry_after or 0
    return refusal_id(milliseconds, error.rule, error.measured, wait)


def closed(method: str, path: str, *, why: str = "The relay is starting or stopping.") -> Answer:
    """503, while no engine is open."""
    error = Refused(Fault("unavailable", why), retry_after=some_of(SOON), rule=Rule.CLOSED)
    return unrecorded(error, format_of(method, path))


def late(method: str, path: str) -> Answer:
    """408, for a body that did not arrive in time."""
    fault = Fault("request_timeout", "The request body took too long.")
    answer = unrecorded(Refused(fault, rule=Rule.BODY_LATE), format_of(method, path))
    answer.headers.append((b"connection", b"close"))
    return answer


_UNFIT = {400: "invalid_request", 408: "request_timeout", 431: "too_large"}
WHYS: Mapping[str, Rule] = {
    "not well-formed": Rule.MALFORMED,
    "more framing than body": Rule.FRAMING,
    "another protocol": Rule.PROTOCOL,
    "no host, or two": Rule.HOST,
    "a transfer coding but chunked": Rule.CODING,
    "a body that would be upgraded": Rule.UPGRADE,
    "a fragment": Rule.FRAGMENT,
    "head too large": Rule.HEAD_SIZE,
    "head too slow": Rule.HEAD_SLOW,
    "body too slow": Rule.BODY_SLOW,
}
"""What `aether.server` finds wrong with a request."""


def unfit(status: int, method: str, path: str, why: str) -> Answer:
    """400, 408 or 431, for what is no request that HTTP/1.1 lets us serve, for a reason of `WHYS`; `path` as
    far as it came."""
    text = f"The request was not served: {why}."
    error = Refused(Fault(_UNFIT[status], text, status=status), rule=WHYS[why])
    if is_relay_path(path):
        return unrecorded(error, format_of(method, path))
    body = text.encode()
    kind = (b"content-type", b"text/plain; charset=utf-8")
    headers = [kind, (b"content-length", str(len(body)).encode()), *header_rules.own(telling_id(error))]
    return Answer(status, headers, body=body)


def oversized(method: str, path: str, limit: int) -> Answer:
    """413, for a body that passes the limit while it comes in."""
    return unrecorded(too_large(limit), format_of(method, path))


def too_large(limit: int) -> Refused:
    """The refusal of a body of more than `limit` bytes."""
    return Refused(Fault("too_large", f"The request body is over {limit:,} bytes."), rule=Rule.BODY_SIZE)


def internal() -> RelayError:
    """500, for a fault of ours: it says nothing but where to look."""
    return Exhausted(
        Fault("internal", "The relay failed inside; the operator finds the reason by the request id.")
    )
