from __future__ import annotations

import logging
import re
import sys

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from aether.redaction import GONE, LineFormatter, ReporterFilter, redact

CANARY = "canary7Zq3xW9bT2"

LINES = [
    f"Authorization: Bearer {CANARY}",
    f"authorization: {CANARY}",
    f"{{'Authorization': 'Bearer {CANARY}'}}",
    f"(b'x-api-key', b'{CANARY}')",
    f"x-api-key: {CANARY}",
    f"x-goog-api-key={CANARY}",
    f'{{"api_key": "{CANARY}"}}',
    f"api-key: {CANARY}, next",
    f"GET /v1beta/models/m:generateContent?alt=sse&key={CANARY} HTTP/1.1",
    f"https://host/path?key={CANARY}&alt=sse",
    f"postgresql://me:{CANARY}@db:5432/aether",
    f"sk-{CANARY}",
    f"sk-ant-api03-{CANARY}-{CANARY}",
    f"sk-aether-{CANARY}",
    f"AIza{CANARY}{CANARY}",
    f"gsk_{CANARY}{CANARY}",
    f"gAAAAA{CANARY}{CANARY}==",
    f"v1.k1a2b3.{CANARY}{CANARY}==",
    f"Cookie: {CANARY}",
    f"password={CANARY}",
    f"'secret': '{CANARY}'",
]


@pytest.mark.parametrize("line", LINES)
def test_a_secret_goes(line: str) -> None:
    assert CANARY not in redact(line)
    assert GONE in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "the key k1 of acme cools down for 30 s",
        "12 tokens in, 40 tokens out",
        "POST /v1/chat/completions 200",
        "model acme-fast-1 at http://127.0.0.1:9000/v1",
        "019abc12-3def-7000-8000-000000000000",
        "a basic answer",
    ],
)
def test_the_rest_stays(line: str) -> None:
    assert redact(line) == line


def test_what_comes_after_a_secret_stays() -> None:
    assert redact("key=1 x-api-key: abcdefgh, model: fast") == f"key=1 x-api-key: {GONE}, model: fast"


def failing() -> None:
    local = f"sk-{CANARY}"
    raise ValueError(f"upstream said {local}")


def line_of(message: str, *arguments: object, exc_info: bool = False) -> str:
    info = sys.exc_info() if exc_info else None
    record = logging.LogRecord("relay.upstream", logging.WARNING, __file__, 1, message, arguments, info)
    return LineFormatter().format(record)


def test_a_log_line_is_one_line_with_time_level_logger_and_message() -> None:
    stamp, _, rest = line_of("first\nsecond “%s”", "x").partition(" ")
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", stamp)
    assert rest == r'level=warning logger=relay.upstream message="first\nsecond “x”"'


def test_a_log_line_holds_no_secret_from_its_arguments_nor_its_traceback() -> None:
    try:
        failing()
    except ValueError:
        line = line_of("sent %s", {"authorization": f"Bearer {CANARY}"}, exc_info=True)
    assert "\n" not in line
    assert "failing" in line
    assert CANARY not in line.replace('local = f\\"sk-{CANARY}', "")


@pytest.fixture
def request_with_secrets(rf: RequestFactory) -> HttpRequest:
    return rf.post(
        "/admin/",
        {"secret": CANARY, "name": CANARY},
        headers={"authorization": f"Bearer {CANARY}", "x-api-key": CANARY, "cookie": f"sessionid={CANARY}"},
    )


@pytest.mark.parametrize("debug", [True, False])
def test_an_error_report_holds_neither_locals_nor_posted_values_nor_credentials(
    request_with_secrets: HttpRequest, settings: object, debug: bool
) -> None:
    settings.DEBUG = debug  # type: ignore[attr-defined]
    try:
        local = CANARY + "local"
        raise ValueError("failed" if local else "")
    except ValueError:
        report = ExceptionReporter(request_with_secrets, *sys.exc_info()).get_traceback_html()
    assert CANARY not in report.replace('CANARY + "local"', "")


def test_an_error_report_hides_the_servers_secrets(settings: object) -> None:
    shown = ReporterFilter().get_safe_settings()
    for name in (
        "SECRET_KEY",
        "AETHER_KEY_PEPPER",
        "AETHER_ENCRYPTION_KEYS",
        "DATABASES",
        "AETHER_ADMIN_PASSWORD",
    ):
        assert set(str(shown[name])) <= set("*"), name
