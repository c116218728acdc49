"""The keyed digest by which an API key is stored and looked up."""

from __future__ import annotations

import hmac
import re
from functools import lru_cache

from django.conf import settings

SECRET = re.compile(r"[A-Za-z0-9_-]{20,200}")
"""What an API key may look like; nothing else reaches a lookup."""


def digest(secret: str) -> str:
    """HMAC-SHA-256 of an API key under the server's pepper, as 64 hexadecimal digits."""
    keyed = _keyed(settings.AETHER_KEY_PEPPER).copy()
    keyed.update(secret.encode())
    return keyed.hexdigest()


@lru_cache(maxsize=4)
def _keyed(pepper: bytes) -> hmac.HMAC:
    # Begun once: OpenSSL takes longer to prepare the key than to hash with it.
    return hmac.new(pepper, digestmod="sha256")
