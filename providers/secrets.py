"""Upstream secrets at rest: AES-256-GCM under a ring of keys, bound to the row that holds them.

A token is `v1.<key id>.<base64url of nonce and ciphertext>`. The newest key of the ring seals, any key of it
opens, so that a key may go once `reseal` has been run over all rows.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from os import urandom
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

VERSION = "v1"
NONCE_BYTES = 12
SHOWN = 4
"""Characters of a secret that its hint shows at most."""


class Unsealable(Exception):
    """No key of the ring opens this token for this row. The message names the remedy, without the secret."""


def seal(secret: str, row: UUID) -> str:
    """The token that holds `secret` for the row `row` and no other."""
    key_id, key = next(iter(_ring().items()))
    nonce = urandom(NONCE_BYTES)
    sealed = AESGCM(key).encrypt(nonce, secret.encode(), _bound_to(key_id, row))
    return f"{VERSION}.{key_id}.{urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(token: str, row: UUID) -> str:
    """The secret in `token`. Raises Unsealable if the ring lacks its key, or it was changed, or it belongs to
    another row."""
    key_id, sealed = _take_apart(token)
    key = _ring().get(key_id)
    if key is None:
        raise Unsealable(f"the encryption key “{key_id}” is missing from AETHER_ENCRYPTION_KEYS: put it back")
    try:
        return (
            AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound_to(key_id, row)).decode()
        )
    except (InvalidTag, ValueError):
        raise Unsealable("the encrypted secret does not belong to this row or key: enter it again") from None


def reseal(token: str, row: UUID) -> str:
    """The same secret under the newest key of the ring; `token` if that sealed it. Raises Unsealable."""
    if _take_apart(token)[0] == next(iter(_ring())):
        return token
    return seal(unseal(token, row), row)


def digest(secret: str) -> str:
    """HMAC-SHA-256 of an upstream secret under the server's pepper, as 64 hexadecimal digits: equal secrets
    are known by it. Never equal to the digest of an API key."""
    return hmac.digest(settings.AETHER_KEY_PEPPER, b"upstream\0" + secret.encode(), "sha256").hex()


def hint(secret: str) -> str:
    """The last four characters, or a quarter of a short secret."""
    shown = min(SHOWN, len(secret) // 4)
    return secret[-shown:] if shown else ""


def _ring() -> dict[str, bytes]:
    """Key id to 32 bytes, newest first."""
    ring: dict[str, bytes] = dict(settings.AETHER_ENCRYPTION_KEYS)
    if not ring:
        raise Unsealable("AETHER_ENCRYPTION_KEYS is empty: set it")
    return ring


def _take_apart(token: str) -> tuple[str, bytes]:
    version, _, rest = token.partition(".")
    key_id, _, body = rest.rpartition(".")
    try:
        sealed = urlsafe_b64decode(body.encode())
    except (BadBase64, ValueError):
        sealed = b""
    if version != VERSION or len(sealed) <= NONCE_BYTES:
        raise Unsealable("the encrypted secret is damaged: enter it again")
    return key_id, sealed


def _bound_to(key_id: str, row: UUID) -> bytes:
    return b"aether upstream secret\0" + key_id.encode() + b"\0" + row.bytes
