"""What each vendor says when it refuses: status, headers and body, before an answer or inside a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from simulator.compose import ID
from simulator.play import Event


@dataclass(frozen=True, slots=True)
class Kind:
    """One refusal. `openai` is (type, code), `anthropic` a type, `gemini` a status name. `texts` overrides
    the message where a vendor's own words matter."""

    status: int
    text: str
    openai: tuple[str, str | None]
    anthropic: str
    gemini: str
    texts: dict[str, str] | None = None


_INVALID = ("invalid_request_error", None)
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_CREDIT = (
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits."
)
_SPEND = (
    "You have reached your specified API usage limits. You will regain access on 2027-01-01 at 00:00 UTC."
)

KINDS: dict[str, Kind] = {
    "400": Kind(400, "The request is malformed.", _INVALID, "invalid_request_error", "INVALID_ARGUMENT"),
    "400-context": Kind(
        400,
        "This model's maximum context length is 128000 tokens. "
        "However, your messages resulted in 200000 tokens.",
        ("invalid_request_error", "context_length_exceeded"),
        "invalid_request_error",
        "INVALID_ARGUMENT",
        {
            "anthropic": "prompt is too long: 200000 tokens > 128000 maximum",
            "gemini": "The input token count (200000) exceeds the maximum number of tokens (128000).",
        },
    ),
    "400-policy": Kind(
        400,
        "Your request was rejected as a result of our safety system.",
        ("invalid_request_error", "content_policy_violation"),
        "invalid_request_error",
        "INVALID_ARGUMENT",
        {"anthropic": "Output blocked by content filtering policy"},
    ),
    "400-parameter": Kind(
        400,
        "Unsupported parameter: 'temperature' is not supported with this model.",
        ("invalid_request_error", "unsupported_parameter"),
        "invalid_request_error",
        "INVALID_ARGUMENT",
    ),
    "400-billing": Kind(
        400,
        "Billing hard limit has been reached",
        ("invalid_request_error", "billing_hard_limit_reached"),
        "invalid_request_error",
        "FAILED_PRECONDITION",
        {"anthropic": _CREDIT, "gemini": "Billing is not enabled. Please enable billing on your project."},
    ),
    "400-key": Kind(
        400,
        "Invalid API key provided.",
        ("invalid_request_error", "invalid_api_key"),
        "authentication_error",
        "INVALID_ARGUMENT",
        {"gemini": "API key not valid. Please pass a valid API key.", "anthropic": "invalid x-api-key"},
    ),
    "401": Kind(
        401,
        "Incorrect API key provided.",
        ("invalid_request_error", "invalid_api_key"),
        "authentication_error",
        "UNAUTHENTICATED",
        {"anthropic": "invalid x-api-key", "gemini": "API key not valid. Please pass a valid API key."},
    ),
    "402": Kind(
        402,
        "Insufficient balance.",
        ("insufficient_quota", "insufficient_quota"),
        "billing_error",
        "FAILED_PRECONDITION",
        {"anthropic": _CREDIT},
    ),
    "403": Kind(
        403,
        "Your API key does not have permission to use the specified resource.",
        ("permission_error", "insufficient_permissions"),
        "permission_error",
        "PERMISSION_DENIED",
    ),
    "403-model": Kind(
        403,
        "Project `proj_1` does not have access to model `{model}`",
        ("invalid_request_error", "model_not_found"),
        "permission_error",
        "PERMISSION_DENIED",
    ),
    "404": Kind(
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        ("invalid_request_error", "model_not_found"),
        "not_found_error",
        "NOT_FOUND",
        {
            "anthropic": "model: {model}",
            "gemini": "models/{model} is not found for API version v1beta, "
            "or is not supported for generateContent.",
        },
    ),
    "408": Kind(408, "Request timeout.", ("timeout", None), "timeout_error", "DEADLINE_EXCEEDED"),
    "409": Kind(409, "The request conflicts.", _INVALID, "invalid_request_error", "ABORTED"),
    "413": Kind(413, "The request is too large.", _INVALID, "request_too_large", "INVALID_ARGUMENT"),
    "422": Kind(
        422, "The request cannot be processed.", _INVALID, "invalid_request_error", "INVALID_ARGUMENT"
    ),
    "429": Kind(
        429,
        "Rate limit reached for requests per minute. Please try again later.",
        ("requests", "rate_limit_exceeded"),
        "rate_limit_error",
        "RESOURCE_EXHAUSTED",
        {
            "anthropic": "This request would exceed your organization's rate limit of 50 requests.",
            "gemini": "Resource has been exhausted (e.g. check the rate limit).",
        },
    ),
    "429-quota": Kind(
        429,
        _QUOTA,
        ("insufficient_quota", "insufficient_quota"),
        "rate_limit_error",
        "RESOURCE_EXHAUSTED",
        {"anthropic": _SPEND},
    ),
    "500": Kind(
        500,
        "The server had an error while processing your request.",
        ("server_error", None),
        "api_error",
        "INTERNAL",
        {"anthropic": "Internal server error"},
    ),
    "502": Kind(502, "Bad gateway.", ("server_error", None), "api_error", "UNAVAILABLE"),
    "503": Kind(
        503,
        "The engine is currently overloaded, please try again later.",
        ("service_unavailable_error", None),
        "api_error",
        "UNAVAILABLE",
        {"gemini": "The model is overloaded. Please try again later."},
    ),
    "504": Kind(504, "Gateway timeout.", ("server_error", None), "timeout_error", "DEADLINE_EXCEEDED"),
    "529": Kind(
        529,
        "Overloaded",
        ("overloaded_error", "overloaded"),
        "overloaded_error",
        "UNAVAILABLE",
        {"gemini": "The model is overloaded. Please try again later."},
    ),
}
IN_STREAM = {
    "error-overloaded": "529",
    "error-rate": "429",
    "error-auth": "401",
    "error-billing": "429-quota",
    "error-server": "500",
    "error-invalid": "400",
}
"""Faults inside a 200 and the refusal that each tells."""


def body(
    kind: Kind,
    dialect: str,
    *,
    model: str = "",
    text: str = "",
    param: str | None = None,
    code: str | None = None,
) -> dict[str, Any]:
    """The vendor's error object; `text` overrides the message, `code` OpenAI's."""
    said = text or ((kind.texts or {}).get(dialect) or kind.text).replace("{model}", model)
    if dialect == "anthropic":
        error = {"type": kind.anthropic, "message": said}
        return {"type": "error", "error": error, "request_id": "req_" + ID}
    if dialect == "gemini":
        status = 503 if kind.status == 529 else kind.status
        return {"error": {"code": status, "message": said, "status": kind.gemini}}
    type_, usual = kind.openai
    return {"error": {"message": said, "type": type_, "param": param, "code": code or usual}}


def events(
    kind: Kind, dialect: str, *, sequence: int, nested: bool, failed: dict[str, Any] | None
) -> list[Event]:
    """The error as a stream tells it. `failed`: the Responses object to fail, once the stream has begun;
    before that Responses sends a bare `error` event, in the wild with the error nested."""
    told = body(kind, dialect)
    if dialect == "anthropic":
        return [("error", orjson.dumps(told))]
    if dialect != "openai_responses":
        return [("", orjson.dumps(told))]
    if failed is not None:
        last = {"type": "response.failed", "sequence_number": sequence, "response": failed}
        return [("response.failed", orjson.dumps(last))]
    error = told["error"]
    shape = {"error": error} if nested else {name: error[name] for name in ("code", "message", "param")}
    return [("error", orjson.dumps({"type": "error", "sequence_number": sequence, **shape}))]
