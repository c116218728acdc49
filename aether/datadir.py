"""The data directory and what must be private in it."""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def private_directory(path: Path) -> Path:
    """Makes `path` if needed and sees that nobody else may read it. Raises ImproperlyConfigured where an
    existing directory with content is open to others: it may not be ours to close."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777
        if mode & 0o077 and not any(path.iterdir()):
            path.chmod(0o700)
        elif mode & 0o077:
            raise ImproperlyConfigured(
                f"AETHER_DATA_DIR is {path}, which others on this machine may read: chmod 700 {path}, or name"
                " another."
            )
    except OSError as error:
        raise ImproperlyConfigured(
            f"AETHER_DATA_DIR is {path}, which cannot be used ({error.strerror}): name one that we may"
            " write to."
        ) from None
    return path


def private_file(path: Path) -> None:
    """Makes an empty file of mode 0600 where there is none; SQLite gives its own files beside it the same
    mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ImproperlyConfigured(
            f"The database file {path} cannot be opened ({error.strerror}): see DATABASE_URL and"
            " AETHER_DATA_DIR."
        ) from None
