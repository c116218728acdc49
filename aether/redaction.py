"""Takes secrets out of what is written for people: the last thing that happens to a log line or an error
page."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import ItemsView
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.views.debug import SafeExceptionReporterFilter

GONE = "[redacted]"
_NAMED = (
    r"(?:proxy-)?authorization|(?:x-)?(?:goog-)?api[-_]?key|set-cookie|cookie|"
    r"password|secret(?:_key)?|csrfmiddlewaretoken|sessionid|access_token|refresh_token"
)
_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Authorization: Bearer abc - a scheme and what follows it
    (re.compile(r"\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}", re.I), rf"\1 {GONE}"),
    # x-api-key: abc, 'x-api-key': 'abc', (b'x-api-key', b'abc'), api_key=abc, "password": "abc"
    (
        re.compile(rf"""(\b(?:{_NAMED})['"]?\s*[:=,]\s*)(b?['"])(?:\\.|(?!['"]).)*(['"])""", re.I),
        rf"\1\2{GONE}\3",
    ),
    (re.compile(rf"""(\b(?:{_NAMED})\s*[:=]\s*)(?!{re.escape(GONE)})[^\s'",;&]+""", re.I), rf"\1{GONE}"),
    # Gemini's ?key=abc
    (re.compile(r"([?&](?:key|token|api-key)=)[^&\s'\"]+", re.I), rf"\1{GONE}"),
    # scheme://user:password@host
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@/]+@", re.I), rf"\1{GONE}@"),
    # keys that tell themselves by their shape: OpenAI, Anthropic, ours, Google, Groq, xAI, Hugging Face,
    # GitHub
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{20,}"), GONE),
    (re.compile(r"\b(?:gsk|hf|ghp|xai)[_-][A-Za-z0-9]{16,}"), GONE),
    # ciphertexts: Fernet's, and our own version.key id.base64
    (re.compile(r"\bgAAAA[A-Za-z0-9_-]{20,}={0,2}|\bv1\.[A-Za-z0-9]{1,16}\.[A-Za-z0-9_-]{30,}={0,2}"), GONE),
)


def redact(text: str) -> str:
    """`text` with every secret that tells itself by its name or its shape replaced."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class LineFormatter(logging.Formatter):
    """One line per record, as `key=value`: time, level, logger, message, and a traceback where there is one.

    Redaction comes last, over the finished line, so that arguments and tracebacks are covered as well."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"time={stamp} level={record.levelname.lower()} logger={record.name}"
        line += f" message={quoted(record.getMessage())}"
        if record.exc_info:
            line += f" traceback={quoted(self.formatException(record.exc_info))}"
        return redact(line)


def quoted(text: str) -> str:
    """`text` in double quotes, line breaks and quotes escaped."""
    return json.dumps(text, ensure_ascii=False)


class ReporterFilter(SafeExceptionReporterFilter):
    """Django's filter for error pages and mails, made stricter: no locals, no posted values, whatever DEBUG
    says."""

    hidden_settings = re.compile(
        "API|AUTH|TOKEN|KEY|SECRET|PASS|PEPPER|SIGNATURE|COOKIE|DATABASE|REDIS|CACHES", re.IGNORECASE
    )

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        if request is None:
            return {}
        return dict.fromkeys(request.POST, self.cleansed_substitute)

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> ItemsView[str, Any]:
        return {}.items()
