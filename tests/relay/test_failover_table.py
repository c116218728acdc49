"""What a refusal means: about eighty real ones, and the rules that follow from them."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from providers.scrub import scrub
from relay.failover import (
    CALLER,
    VERDICTS,
    Caps,
    Failed,
    final_fault,
    judge,
    may_go_on,
    meaning_of,
    wait_told,
)
from tests.relay.vendor_errors import CASES, Case
from wire import FORMATS
from wire.types import Brief, Fault

CAPS = Caps(answered=3, per_endpoint=2, tries=8)


def raw(body: Any) -> bytes:
    return body if isinstance(body, bytes) else orjson.dumps(body)


def failed(*reasons: str, endpoint: int = 1) -> list[Failed]:
    return [Failed(reason, endpoint) for reason in reasons]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_vendors_refusal_is_judged_by_its_meaning(case: Case) -> None:
    error = FORMATS[case.format].read_error(case.status, raw(case.body))
    reason = meaning_of(error).reason
    assert reason == case.reason
    verdict = judge(reason)
    assert verdict.stop is (case.reason == "caller")
    if verdict.meaning == CALLER:
        assert case.client == (case.status if case.status in (400, 413, 422) else 400)
        return
    fault, _ = final_fault([Failed(reason, 1)])
    status, body = FORMATS[case.format].fault(fault, "request")
    assert status == case.client
    assert b"error" in body


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_no_words_of_a_vendor_reach_the_client_when_all_fail(case: Case) -> None:
    fault, _ = final_fault([Failed(case.reason, 1)]) if case.reason != "caller" else (None, None)
    assert fault is None or not re.search(r"https?://|key|balance|quota|org-|credit", fault.text)


def test_every_case_names_where_it_was_seen() -> None:
    assert [case.name for case in CASES if not case.source.startswith("https://")] == []
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "caller"), (401, "key_refused"), (402, "out_of_money"), (403, "key_refused"),
        (404, "unsupported"), (405, "unsupported"), (408, "timeout_status"), (409, "caller"),
        (413, "caller"), (415, "caller"), (422, "caller"), (424, "server_error"), (425, "overloaded"),
        (429, "throttled"), (498, "overloaded"), (499, "server_error"), (500, "server_error"),
        (501, "unsupported"), (502, "server_error"), (503, "unavailable"), (504, "timeout_status"),
        (520, "server_error"), (522, "timeout_status"), (524, "timeout_status"), (529, "overloaded"),
    ],
)  # fmt: skip
def test_a_status_without_words_has_a_meaning(status: int, reason: str) -> None:
    assert meaning_of(FORMATS["openai_chat"].read_error(status, b"")).reason == reason


@pytest.mark.parametrize(
    ("wire", "event", "reason"),
    [
        ("openai_chat", {"error": {"message": "x", "type": "server_error"}}, "server_error"),
        ("openai_chat", {"error": {"message": "x", "type": "requests", "code": "rate_limit_exceeded"}},
         "throttled"),
        ("openai_chat", {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}},
         "out_of_money"),
        ("openai_chat", {"error": {"message": "Provider returned error", "code": 502}}, "server_error"),
        ("openai_responses", {"type": "error", "code": "invalid_api_key", "message": "x"}, "key_refused"),
        ("openai_responses", {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded",
         "message": "Rate limit reached for gpt-5 on tokens per min (TPM)"}}}, "throttled"),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
         "overloaded"),
        ("anthropic", {"type": "error", "error": {"type": "authentication_error", "message": "x"}},
         "key_refused"),
        ("anthropic", {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}},
         "caller"),
        ("gemini", {"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}},
         "overloaded"),
        ("gemini", {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}, "throttled"),
    ],
)  # fmt: skip
def test_an_error_inside_a_200_counts_as_the_status_that_it_means(
    wire: str, event: dict[str, Any], reason: str
) -> None:
    watch = FORMATS[wire].watch(Brief(model="fast", stream=True))
    watch.feed(b"data: %b\n\n" % orjson.dumps(event))
    assert watch.error is not None
    assert meaning_of(watch.error).reason == reason


# How often a request may be tried


def test_every_reason_has_a_verdict_and_every_stop_needs_no_next() -> None:
    for name, verdict in VERDICTS.items():
        assert verdict.name in ("next", "stop", "pass_on"), name
        assert verdict.stop == (verdict.name != "next"), name
        assert not (verdict.stop and (verdict.again or verdict.once)), name


@pytest.mark.parametrize("reason", [name for name, verdict in VERDICTS.items() if verdict.stop])
def test_what_stops_is_not_followed_by_another_target(reason: str) -> None:
    assert not may_go_on(failed(reason), 2, CAPS)


@pytest.mark.parametrize(
    ("reasons", "endpoints", "at", "may"),
    [
        ((), (), 1, True),
        # three that answered, wherever
        (("server_error", "unavailable"), (1, 2), 3, True),
        (("server_error", "unavailable", "overloaded"), (1, 2, 3), 4, False),
        # two of them on one endpoint
        (("server_error",), (1,), 1, True),
        (("server_error", "server_error"), (1, 1), 1, False),
        (("server_error", "server_error"), (1, 1), 2, True),
        # refused keys, empty accounts, throttles and connect failures do not count, but for the last bound
        (("key_refused",) * 7, (1,) * 7, 1, True),
        (("key_refused",) * 8, (1,) * 8, 1, False),
        (("throttled", "out_of_money", "connect", "dns", "connect_timeout", "tls"), (1,) * 6, 1, True),
        (("throttled",) * 5 + ("server_error",) * 2, (1,) * 7, 1, False),
        (("throttled",) * 5 + ("server_error",) * 2, (1,) * 7, 2, True),
        # what the vendor may have worked on already: one failure is followed, a second is not
        (("reset",), (1,), 2, True),
        (("reset", "first_byte_timeout"), (1, 2), 3, False),
        (("empty", "empty"), (1, 2), 3, False),
        (("reset", "server_error"), (1, 2), 3, True),
    ],
)  # fmt: skip
def test_the_caps(reasons: tuple[str, ...], endpoints: tuple[int, ...], at: int, may: bool) -> None:
    failures = [Failed(reason, endpoint) for reason, endpoint in zip(reasons, endpoints, strict=True)]
    assert may_go_on(failures, at, CAPS) is may


# What the client is told when all fail


@pytest.mark.parametrize(
    ("reasons", "code"),
    [
        (("throttled", "key_refused"), "rate_limited"),
        (("server_error", "throttled"), "rate_limited"),
        (("server_error", "overloaded"), "overloaded"),
        (("connect", "first_byte_timeout"), "timeout"),
        (("connect", "key_refused"), "upstream_error"),
        (("unavailable",), "unavailable"),
        (("unsupported", "out_of_money"), "model_not_found"),
        (("unsupported_request",), "invalid_request"),
        (("key_refused", "not_permitted"), "upstream_error"),
        (("redirect",), "upstream_error"),
        (("blocked_address",), "upstream_error"),
        (("total_timeout",), "timeout"),
    ],
)
def test_of_several_reasons_the_one_worth_waiting_for_is_told(reasons: tuple[str, ...], code: str) -> None:
    assert final_fault(failed(*reasons))[0].code == code


@pytest.mark.parametrize(
    ("failures", "wait"),
    [
        ([Failed("throttled", 1, 429, 30.0), Failed("throttled", 2, 429, 7.0)], 7.0),
        ([Failed("throttled", 1, 429, 30.0), Failed("throttled", 2, 429)], 30.0),
        ([Failed("throttled", 1, 429)], None),
        ([Failed("key_refused", 1, 401, 5.0)], None),
        ([Failed("unavailable", 1, 503, 12.0)], 12.0),
        ([Failed("overloaded", 1, 529, 3.0), Failed("throttled", 1, 429, 9.0)], 3.0),
    ],
)
def test_the_least_retry_after_is_told_where_waiting_helps(
    failures: list[Failed], wait: float | None
) -> None:
    assert final_fault(failures)[1] == wait


@pytest.mark.parametrize(
    ("code", "given", "back", "told"),
    [
        ("rate_limited", 6.2, 30.0, 7),  # as the vendor says
        ("rate_limited", None, 29.1, 30),  # our cooldown, to the second
        ("rate_limited", None, 0.0, 1),
        ("overloaded", 0.0, 30.0, 1),
        ("overloaded", None, 0.0, 3),  # nobody is kept out: soon, but not all at once
        ("unavailable", None, 0.0, 3),
        ("unavailable", None, 30.2, 34),  # not before the first breaker lets one in
        ("unavailable", None, None, None),
        ("upstream_error", None, 30.0, None),
        ("upstream_error", 12.0, 30.0, 12),
        ("timeout", None, 30.0, None),
    ],
)
def test_the_wait_that_a_client_is_told(
    code: str, given: float | None, back: float | None, told: int | None
) -> None:
    assert wait_told(Fault(code, "words"), given, back, 3) == told


STATUSES = {
    # reason -> openai, anthropic, gemini
    "throttled": (429, 429, 429),
    "overloaded": (503, 529, 503),
    "unavailable": (503, 503, 503),
    "server_error": (502, 502, 502),
    "timeout_status": (504, 504, 504),
    "first_byte_timeout": (504, 504, 504),
    "key_refused": (502, 502, 502),
    "out_of_money": (502, 502, 502),
    "unsupported": (404, 404, 404),
    "unsupported_request": (400, 400, 400),
}


@pytest.mark.parametrize("reason", STATUSES)
def test_each_format_has_its_own_status(reason: str) -> None:
    fault, _ = final_fault(failed(reason))
    told = {name: wire.fault(fault, "id")[0] for name, wire in FORMATS.items()}
    openai, anthropic, gemini = STATUSES[reason]
    assert told == {
        "openai_chat": openai,
        "openai_responses": openai,
        "anthropic": anthropic,
        "gemini": gemini,
    }


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_kept_of_a_refusal_holds_no_key_place_or_sum(case: Case) -> None:
    error = FORMATS[case.format].read_error(case.status, raw(case.body))
    text = scrub(error.text, "sk-own", base_url="https://api.vendor.example/v1")
    assert not re.search(r"https?://|sk-[a-z]|AIza|\bak-|(org|proj)[-_]\w{6}", text)
