"""What all formats share: faults in their own envelope, credentials, errors that are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wire import FORMATS
from wire.types import FAULT_CODES, Fault

OPENAI = {
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
ANTHROPIC = {
    "invalid_request": (400, "invalid_request_error"),
    "invalid_api_key": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "model_not_found": (404, "not_found_error"),
    "not_found": (404, "not_found_error"),
    "method_not_allowed": (405, "invalid_request_error"),
    "request_timeout": (408, "timeout_error"),
    "too_large": (413, "request_too_large"),
    "unprocessable": (422, "invalid_request_error"),
    "rate_limited": (429, "rate_limit_error"),
    "insufficient_quota": (402, "billing_error"),
    "internal": (500, "api_error"),
    "upstream_error": (502, "api_error"),
    "overloaded": (529, "overloaded_error"),
    "unavailable": (503, "api_error"),
    "timeout": (504, "timeout_error"),
    "interrupted": (503, "api_error"),
}
GEMINI = {
    "invalid_request": (400, "INVALID_ARGUMENT"),
    "invalid_api_key": (401, "UNAUTHENTICATED"),
    "forbidden": (403, "PERMISSION_DENIED"),
    "model_not_found": (404, "NOT_FOUND"),
    "not_found": (404, "NOT_FOUND"),
    "method_not_allowed": (405, "UNIMPLEMENTED"),
    "request_timeout": (408, "DEADLINE_EXCEEDED"),
    "too_large": (413, "INVALID_ARGUMENT"),
    "unprocessable": (422, "INVALID_ARGUMENT"),
    "rate_limited": (429, "RESOURCE_EXHAUSTED"),
    "insufficient_quota": (429, "RESOURCE_EXHAUSTED"),
    "internal": (500, "INTERNAL"),
    "upstream_error": (502, "UNAVAILABLE"),
    "overloaded": (503, "UNAVAILABLE"),
    "unavailable": (503, "UNAVAILABLE"),
    "timeout": (504, "DEADLINE_EXCEEDED"),
    "interrupted": (503, "UNAVAILABLE"),
}


def told(name: str, fault: Fault) -> tuple[int, Any]:
    status, body = FORMATS[name].fault(fault, "req-1")
    return status, json.loads(body)


@pytest.mark.parametrize("code", FAULT_CODES)
@pytest.mark.parametrize("name", ["openai_chat", "openai_responses"])
def test_openai_tells_a_fault_in_its_envelope(name: str, code: str) -> None:
    status, kind, public = OPENAI[code]
    error = {"message": "No.", "type": kind, "param": "model", "code": public}
    assert told(name, Fault(code, "No.", param="model")) == (status, {"error": error})


def test_openai_tells_an_unknown_field_as_null() -> None:
    assert told("openai_chat", Fault("timeout", "No."))[1]["error"]["param"] is None


@pytest.mark.parametrize("code", FAULT_CODES)
def test_anthropic_tells_a_fault_in_its_envelope(code: str) -> None:
    status, kind = ANTHROPIC[code]
    body = {"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "req-1"}
    assert told("anthropic", Fault(code, "No.")) == (status, body)


@pytest.mark.parametrize("code", FAULT_CODES)
def test_gemini_tells_a_fault_in_its_envelope(code: str) -> None:
    status, kind = GEMINI[code]
    body = {"error": {"code": status, "message": "No.", "status": kind}}
    assert told("gemini", Fault(code, "No.")) == (status, body)


@pytest.mark.parametrize("name", FORMATS)
def test_a_fault_may_bring_its_own_status(name: str) -> None:
    status, body = told(name, Fault("invalid_request", "No.", status=422))
    assert status == 422
    assert name != "gemini" or body["error"]["code"] == 422


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", ["plain", 'q"uo\\te', "ü🎉", "\x00\n", "\ud800"])
def test_whatever_the_text_it_is_told(name: str, text: str) -> None:
    assert told(name, Fault("timeout", text))[1]["error"]["message"] == text
    event = FORMATS[name].fault_event(Fault("timeout", text), "req-1")
    assert event.count(b"\n\n") == 1
    assert json.loads(event.partition(b"data: ")[2])


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_knows_its_name(name: str) -> None:
    assert FORMATS[name].name == name


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses"])
def test_openai_knows_one_way_to_carry_a_secret(name: str) -> None:
    assert FORMATS[name].credentials("s") == {"authorization": "Bearer s"}
    assert FORMATS[name].credentials("s", "bearer") == {"authorization": "Bearer s"}


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_body_of_any_shape_is_read(name: str) -> None:
    assert FORMATS[name].read_error(502, b"<html>").status == 502
    assert FORMATS[name].read_error(503, b"").text == ""
