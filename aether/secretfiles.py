"""The server's own secrets: from the environment, else from files in the data directory, else made anew.

Imported by the settings, so it knows no model; whether new secrets may be made is for `aether.boot` to
say."""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from aether.env import text

SECRET_KEY = "SECRET_KEY"  # noqa: S105 - the variable's name
ENCRYPTION_KEYS = "AETHER_ENCRYPTION_KEYS"
KEY_PEPPER = "AETHER_KEY_PEPPER"
NAMES = (SECRET_KEY, ENCRYPTION_KEYS, KEY_PEPPER)
LEAST_LENGTH = 32
KEY_BYTES = 32
KEY_ID = re.compile(r"[A-Za-z0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class SecretFiles:
    """The folder of secret files, one per variable, named like it in small letters."""

    folder: Path

    def path(self, name: str) -> Path:
        """Where the secret `name` is kept."""
        return self.folder / name.lower()

    def find(self, name: str) -> str:
        """The secret from the environment, else from its file, else "". Raises ImproperlyConfigured where it
        is too short or its file cannot be read."""
        secret = text(name)
        try:
            secret = secret or self.path(name).read_text("ascii").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = type(error).__name__
            raise ImproperlyConfigured(
                f"{self.path(name)} cannot be read ({reason}): restore it, or set {name}."
            ) from None
        if len(secret) < LEAST_LENGTH:
            raise ImproperlyConfigured(
                f"{name} is too short: set it to {LEAST_LENGTH} random characters or more."
            )
        return secret

    def create(self, name: str) -> str:
        """Makes a secret and keeps it, mode 0600, on the disk before it returns. If another process was
        first, its secret holds."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path(name).with_suffix(f".{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, generate(name).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, self.path(name))
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self.find(name)


def generate(name: str) -> str:
    """A fresh value for the variable `name`."""
    if name == ENCRYPTION_KEYS:
        return f"k{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"
    return secrets.token_urlsafe(48)


def parse_pepper(value: str) -> bytes:
    """The pepper as the bytes that digests are keyed with."""
    return value.encode()


def parse_ring(value: str) -> dict[str, bytes]:
    """The key ring `id:base64key,id:base64key` as key by id, in the order given. Raises
    ImproperlyConfigured."""
    ring: dict[str, bytes] = {}
    for part in filter(None, (part.strip() for part in value.split(","))):
        key_id, _, encoded = part.partition(":")
        try:
            key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if not KEY_ID.fullmatch(key_id) or len(key) != KEY_BYTES or key_id in ring:
            raise ImproperlyConfigured(
                f"{ENCRYPTION_KEYS} is malformed: set it to id:key, several by commas, newest first; an id is"
                f" up to 16 letters and digits, each of its own, a key {KEY_BYTES} random bytes in base64."
            )
        ring[key_id] = key
    return ring
