"""What a vendor's error means, whatever shape it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wire.jsons import as_object, as_text, loads
from wire.types import BadFrame, InbandError

MAX_TEXT = 2048

MEANING: Mapping[str, int] = {
    # OpenAI and those who speak like it
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    "rate_limit_reached": 429,
    "requests": 429,
    "tokens": 429,
    "too_many_requests": 429,
    "billing_hard_limit_reached": 429,
    "billing_not_active": 429,
    "quota_exceeded": 429,
    "insufficient_balance": 402,
    "insufficient_credits": 402,
    "payment_required": 402,
    "invalid_request_error": 400,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "bad_request": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "string_above_max_length": 400,
    "invalid_value": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "unsupported_parameter": 400,
    "unsupported_value": 400,
    "invalid_api_key": 401,
    "unauthorized": 401,
    "account_deactivated": 401,
    "forbidden": 403,
    "permission_denied": 403,
    "unsupported_country_region_territory": 403,
    "model_not_found": 404,
    "not_found": 404,
    "notfounderror": 404,
    "server_overloaded": 503,
    "service_unavailable": 503,
    "service_unavailable_error": 503,
    "engine_overloaded": 503,
    "engine_overloaded_error": 503,
    "overloaded": 503,
    "bad_gateway": 502,
    "upstream_error": 502,
    "timeout": 504,
    "gateway_timeout": 504,
    # Anthropic
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
    # Gemini, by google.rpc.Code
    "invalid_argument": 400,
    "failed_precondition": 400,
    "out_of_range": 400,
    "unauthenticated": 401,
    "resource_exhausted": 429,
    "cancelled": 499,
    "unavailable": 503,
    "deadline_exceeded": 504,
    # Says only that something went wrong
    "api_error": 500,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "internal": 500,
}

_BROAD = frozenset(("invalid_request_error", "invalid_request", "bad_request"))


def read_inband(event: Mapping[str, Any]) -> InbandError:
    """The error in an event or whole answer of a 200, with the status it would have had."""
    return _read(event, 0)


def read_error_body(status: int, body: bytes) -> InbandError:
    """The error in the body of an answer with an error status; never raises. `status` stays where it is
    one."""
    try:
        value = loads(body)
    except BadFrame:
        value = None
    if isinstance(value, list) and value:
        value = value[0]
    known = status if 400 <= status <= 599 else 0
    if isinstance(value, dict):
        return _read(value, known)
    text = body[: 4 * MAX_TEXT].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        text = "an HTML page instead of an answer"
    return InbandError(known or 500, "", text[:MAX_TEXT])


def _read(event: Mapping[str, Any], known: int) -> InbandError:
    error = event.get("error")
    inner = error if isinstance(error, dict) else {}
    # Responses: response.failed holds the error one level deeper.
    if not error:
        inner = as_object(as_object(event.get("response")).get("error")) or inner
    outer = {} if inner else event
    names = [
        as_text(source.get(key))
        for source in (inner, outer)
        for key in ("code", "type", "status")
        if as_text(source.get(key)) not in ("", "error")
    ]
    numbers = [
        number
        for source in (inner, event)
        for key in ("code", "status", "status_code", "http_code")
        if (number := _number(source.get(key)))
    ]
    text = (
        as_text(inner.get("message"))
        or as_text(error)
        or as_text(event.get("message"))
        or as_text(event.get("msg"))
        or _detail(inner.get("detail") or event.get("detail") or event.get("errors"))
    )
    kind = as_text(inner.get("type")) or as_text(inner.get("status")) or next(iter(names), "")
    code = as_text(inner.get("code")) or as_text(outer.get("code"))
    return InbandError(known or _meaning(names, numbers), kind[:200], text[:MAX_TEXT], code[:200])


def _meaning(names: list[str], numbers: list[int]) -> int:
    known = [(name.lower(), MEANING[name.lower()]) for name in names if name.lower() in MEANING]
    # A precise word beats a number, a number beats a broad word.
    for name, status in known:
        if status != 500 and name not in _BROAD:
            return status
    if numbers:
        return numbers[0]
    return known[0][1] if known else 500


def _number(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else 0


def _detail(value: Any) -> str:
    """FastAPI's `detail` and its like: a string, or a list of objects with a message."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        return as_text(value.get("message")) or as_text(value.get("msg"))
    return as_text(value)
