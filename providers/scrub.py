"""Takes secrets and whereabouts out of what an upstream said, before a client or an operator reads it."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from providers.rules import REMOVED
from providers.types import Target

CAP = 2048
SPARED = 5
"""First characters of a secret, such as a common prefix, that may end a text."""

CREDENTIAL = re.compile(
    r"authoriz|authentic|(^|[-_])auth($|[-_])|cookie|secret|passw|credential|token$|(?<!idempotency-)key$",
    re.I,
)
"""Names of headers whose values are told to nobody: those that vendors and gateways carry credentials in."""

_SECRETS = re.compile(
    r"\b(?:sk|pk|rk|ak|xai|gsk|key|AIza)[-_][A-Za-z0-9_\-*.…]{6,}|\bAIza[A-Za-z0-9_\-]{20,}|"
    r"\bBearer\s+[A-Za-z0-9._~+/=\-]{8,}|\b[A-Za-z0-9_\-]{40,}\b",
    re.I,
)
_PLACES = re.compile(
    r"https?:(?:\\?/){2}(?:\\/|[^\s\"'<>\\)])+|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\[[0-9a-f:.]{2,45}\](?::\d+)?|"
    r"\b(?:[a-z0-9-]+\.)+(?:internal|local|lan|svc|corp|intra)\b(?::\d+)?|\b(?:org|proj|acct|user|team)[-_][A-Za-z0-9]{6,}",
    re.I,
)
_MONEY = re.compile(
    r"(balance|credits?|remaining|quota)\b([^.\n]{0,40}?)(-?[$€£¥]?\s?-?\d[\d,]*(?:\.\d+)?)", re.I
)


def secrets_of(target: Target) -> tuple[str, ...]:
    """What a target was sent to let us in: its key, and extra headers that carry a credential."""
    return target.secret, *(value for name, value in target.headers if CREDENTIAL.search(name))


def scrub(text: str, *secrets: str, base_url: str = "") -> str:
    """`text` without keys, addresses, account names and balances, NUL and lone surrogates replaced, at most 2
    KB."""
    for secret in secrets:
        if secret:
            text = _without_its_start(_spelled(secret).sub(REMOVED, text), secret)
    text = _SECRETS.sub(REMOVED, text)
    if base_url and (host := urlsplit(base_url).hostname):
        text = re.sub(re.escape(host) + r"(:\d+)?", REMOVED, text, flags=re.I)
    text = _PLACES.sub(REMOVED, text)
    text = _MONEY.sub(rf"\1\2{REMOVED}", text)
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text[:CAP]


@lru_cache(1024)
def _spelled(secret: str) -> re.Pattern[str]:
    """A secret as it may stand in a text: plain, or with characters escaped as JSON or an address do."""
    plain = ((re.escape(char), f"{ord(char):02x}") for char in secret)
    return re.compile("".join(rf"(?:\\?{char}|(?i:\\u00{code}|%{code}))" for char, code in plain))


def _without_its_start(text: str, secret: str) -> str:
    """`text` without what is left of a secret at its end, where whoever read it cut it off."""
    for size in range(len(secret) - 1, SPARED, -1):
        if text.endswith(secret[:size]):
            return text[:-size] + REMOVED
    return text
