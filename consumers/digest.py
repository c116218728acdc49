"""The keyed digest by which an API key is stored and looked up."""

from __future__ import annotations

import hmac
import re

from django.conf import settings

SECRET = re.compile(r"[A-Za-z0-9_-]{20,200}")
"""What an API key may look like; nothing else reaches a lookup."""


def digest(secret: str) -> str:
    """HMAC-SHA-256 of an API key under the server's pepper, as 64 hexadecimal digits."""
    return hmac.digest(settings.AETHER_KEY_PEPPER, secret.encode(), "sha256").hex()
