from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from wire.errors import MAX_TEXT, read_error_body, read_inband
from wire.types import InbandError


@pytest.mark.parametrize(
    ("event", "status", "kind"),
    [
        # OpenAI and those who speak like it
        ({"error": {"message": "m", "type": "server_error", "code": None}}, 500, "server_error"),
        ({"error": {"message": "m", "type": "requests", "code": "rate_limit_exceeded"}}, 429, "requests"),
        ({"error": {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"}}, 429, "tokens"),
        (
            {"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}},
            429,
            "insufficient_quota",
        ),
        (
            {"error": {"message": "m", "type": "invalid_request_error", "code": "invalid_api_key"}},
            401,
            "invalid_request_error",
        ),
        (
            {"error": {"message": "m", "type": "invalid_request_error", "code": "model_not_found"}},
            404,
            "invalid_request_error",
        ),
        ({"error": {"message": "m", "type": "invalid_request_error"}}, 400, "invalid_request_error"),
        (
            {"error": {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}},
            400,
            "invalid_request_error",
        ),
        ({"error": {"message": "m", "type": "service_unavailable_error"}}, 503, "service_unavailable_error"),
        ({"error": {"message": "m", "code": 429}}, 429, ""),
        ({"error": {"message": "m", "code": "502"}}, 502, "502"),
        ({"error": {"message": "m", "code": "1302"}}, 500, "1302"),
        (
            {"error": {"message": "m", "type": "invalid_request_error", "code": 503}},
            503,
            "invalid_request_error",
        ),
        ({"error": "m"}, 500, ""),
        ({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}, 400, "BadRequestError"),
        ({"object": "error", "message": "m", "type": "NotFoundError", "code": 404}, 404, "NotFoundError"),
        # Responses
        ({"type": "error", "code": "server_error", "message": "m", "param": None}, 500, "server_error"),
        (
            {"type": "error", "error": {"type": "insufficient_quota", "message": "m"}},
            429,
            "insufficient_quota",
        ),
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "rate_limit_exceeded", "message": "m"}},
            },
            429,
            "rate_limit_exceeded",
        ),
        # Anthropic
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, 529, "overloaded_error"),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, 429, "rate_limit_error"),
        ({"type": "error", "error": {"type": "api_error", "message": "m"}}, 500, "api_error"),
        (
            {"type": "error", "error": {"type": "authentication_error", "message": "m"}},
            401,
            "authentication_error",
        ),
        ({"type": "error", "error": {"type": "permission_error", "message": "m"}}, 403, "permission_error"),
        ({"type": "error", "error": {"type": "not_found_error", "message": "m"}}, 404, "not_found_error"),
        ({"type": "error", "error": {"type": "request_too_large", "message": "m"}}, 413, "request_too_large"),
        ({"type": "error", "error": {"type": "billing_error", "message": "m"}}, 402, "billing_error"),
        ({"type": "error", "error": {"type": "timeout_error", "message": "m"}}, 504, "timeout_error"),
        # Gemini
        ({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}, 429, "RESOURCE_EXHAUSTED"),
        ({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}, 503, "UNAVAILABLE"),
        ({"error": {"message": "m", "status": "DEADLINE_EXCEEDED"}}, 504, "DEADLINE_EXCEEDED"),
        ({"error": {"message": "m", "status": "INVALID_ARGUMENT"}}, 400, "INVALID_ARGUMENT"),
        ({"error": {"message": "m", "status": "UNAUTHENTICATED"}}, 401, "UNAUTHENTICATED"),
        ({"error": {"message": "m", "status": "PERMISSION_DENIED"}}, 403, "PERMISSION_DENIED"),
        ({"error": {"message": "m", "status": "INTERNAL"}}, 500, "INTERNAL"),
        # Others
        ({"detail": "m"}, 500, ""),
        ({"detail": [{"msg": "m", "loc": ["body"]}]}, 500, ""),
        ({"errors": [{"message": "m"}]}, 500, ""),
        ({"message": "m", "status_code": 401}, 401, ""),
        ({"msg": "m", "code": 403}, 403, ""),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_an_error_inside_a_200_has_its_real_status(event: dict[str, Any], status: int, kind: str) -> None:
    assert read_inband(event) == InbandError(status, kind, "m")


def test_the_status_of_an_error_answer_stays() -> None:
    body = b'{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}'
    assert read_error_body(400, body) == InbandError(400, "insufficient_quota", "m")
    assert read_error_body(200, body).status == 429


def test_gemini_wraps_the_error_of_a_stream_in_an_array() -> None:
    body = b'[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]'
    assert read_error_body(400, body) == InbandError(400, "INVALID_ARGUMENT", "m")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"upstream connect error", "upstream connect error"),
        (b"<html><h1>502 Bad Gateway</h1></html>", "an HTML page instead of an answer"),
        (b"  <!DOCTYPE html>", "an HTML page instead of an answer"),
        (b"null", "null"),
        (b"[]", "[]"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"{}", ""),
        (b'{"error":null}', ""),
        (b'{"error":{"message":5,"type":[]}}', ""),
    ],
)
def test_a_body_of_any_other_shape_is_told_as_far_as_it_goes(body: bytes, text: str) -> None:
    assert read_error_body(502, body) == InbandError(502, "", text)


def test_a_long_text_is_capped() -> None:
    assert len(read_error_body(500, b"x" * 100_000).text) == MAX_TEXT
    assert (
        len(read_error_body(500, json.dumps({"error": {"message": "x" * 100_000}}).encode()).text) == MAX_TEXT
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "message", "code", "type", "status", "detail", "errors", "response", "x"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=count(200, 3_000), deadline=None)
@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), st.integers(0, 999))
def test_reading_an_error_never_raises(body: bytes, status: int) -> None:
    error = read_error_body(status, body)
    assert 400 <= error.status <= 599
