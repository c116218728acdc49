"""Errors before the first byte, in the client's own format."""

from __future__ import annotations

import os
import time

from relay import headers as header_rules
from relay.answer import Answer
from relay.errors import Exhausted, Refused, RelayError
from relay.routes import format_of, is_relay_path
from usage import ids
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


def closed(method: str, path: str, *, why: str = "The relay is starting or stopping.") -> Answer:
    """503, while no engine is open."""
    return render(Refused(Fault("unavailable", why), retry_after=1), format_of(method, path), fresh_id())


def late(method: str, path: str) -> Answer:
    """408, for a body that did not arrive in time."""
    answer = render(
        Refused(Fault("request_timeout", "The request body took too long.")),
        format_of(method, path),
        fresh_id(),
    )
    answer.headers.append((b"connection", b"close"))
    return answer


_UNFIT = {400: "invalid_request", 408: "request_timeout", 431: "too_large"}


def unfit(status: int, path: str, why: str) -> Answer:
    """400, 408 or 431, for what is no request that HTTP/1.1 lets us serve; `path` as far as it came."""
    text = f"The request was not served: {why}."
    if is_relay_path(path):
        fault = Fault(_UNFIT[status], text, status=status)
        return render(Refused(fault), format_of("POST", path), fresh_id())
    body = text.encode()
    kind = (b"content-type", b"text/plain; charset=utf-8")
    return Answer(status, [kind, (b"content-length", str(len(body)).encode())], body=body)


def oversized(method: str, path: str, limit: int) -> Answer:
    """413, for a body that passes the limit while it comes in."""
    return render(too_large(limit), format_of(method, path), fresh_id())


def fresh_id() -> str:
    """An id for an answer that the pipeline never saw."""
    return ids.request_id(int(time.time() * 1000), os.urandom(9))


def too_large(limit: int) -> Refused:
    """The refusal of a body of more than `limit` bytes."""
    return Refused(Fault("too_large", f"The request body is over {limit:,} bytes."))


def internal() -> RelayError:
    """500, for a fault of ours: it says nothing but where to look."""
    return Exhausted(
        Fault("internal", "The relay failed inside; the operator finds the reason by the request id.")
    )
