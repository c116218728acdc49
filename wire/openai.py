"""What OpenAI's formats have in common: error envelope, credentials, addresses, shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from wire.body import holds, word_in
from wire.jsons import dumps
from wire.types import Brief, Fault
from wire.urls import join
from wire.usage import Count

KEEP_ALIVE = b": keep-alive\n\n"

# code of ours -> status, OpenAI's type, OpenAI's code
_FAULTS: Mapping[str, tuple[int, str, str | None]] = {
    "invalid_request": (400, "invalid_request_error", None),
    "invalid_api_key": (401, "invalid_request_error", "invalid_api_key"),
    "forbidden": (403, "permission_error", "forbidden"),
    "model_not_found": (404, "invalid_request_error", "model_not_found"),
    "not_found": (404, "invalid_request_error", "not_found"),
    "method_not_allowed": (405, "invalid_request_error", "method_not_allowed"),
    "request_timeout": (408, "timeout", "request_timeout"),
    "too_large": (413, "invalid_request_error", "request_too_large"),
    "unprocessable": (422, "invalid_request_error", None),
    "rate_limited": (429, "rate_limit_exceeded", "rate_limit_exceeded"),
    "insufficient_quota": (429, "insufficient_quota", "insufficient_quota"),
    "internal": (500, "server_error", "server_error"),
    "upstream_error": (502, "upstream_error", "upstream_error"),
    "overloaded": (503, "overloaded", "overloaded"),
    "unavailable": (503, "service_unavailable", "unavailable"),
    "timeout": (504, "timeout", "timeout"),
    "interrupted": (503, "interrupted", "interrupted"),
}


class InputDetails(msgspec.Struct):
    """Of a usage's input tokens."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class OutputDetails(msgspec.Struct):
    """Of a usage's output tokens."""

    reasoning_tokens: Count | None = None


def error_object(fault: Fault) -> tuple[int, dict[str, Any]]:
    """Status and the object under `error`."""
    status, kind, code = _FAULTS[fault.code]
    error = {"message": fault.text, "type": kind, "param": fault.param or None, "code": code}
    return fault.status or status, error


def fault(fault: Fault) -> tuple[int, bytes]:
    """An error before the first byte."""
    status, error = error_object(fault)
    return status, dumps({"error": error})


def upstream_url(base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
    """The model stands in the body, so the path is the client's own."""
    return join(base_url, path, query)


def credentials(secret: str, style: str = "") -> dict[str, str]:
    """OpenAI knows one way."""
    return {"authorization": f"Bearer {secret}"}


def asks_for_thinking(effort: str | None, reasoning: msgspec.Raw, thinking: msgspec.Raw) -> bool:
    """Whether a request turns reasoning on, in one of the ways that vendors have."""
    if effort and effort != "none":
        return True
    if reasoning and holds(reasoning):
        return word_in(reasoning, "effort") != "none"
    return bool(thinking) and holds(thinking) and word_in(thinking, "type") != "disabled"
