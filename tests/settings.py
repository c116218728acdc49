"""The settings under test: the project's own, with a made-up environment, so that nothing of the developer's
machine reaches a test. AETHER_TEST_DATABASE_URL names a PostgreSQL to run on; without it, SQLite."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp(prefix="aether-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)

ENVIRONMENT = {
    "AETHER_ENV_FILE": os.devnull,
    "AETHER_DATA_DIR": str(HOME / "data"),
    "AETHER_ENCRYPTION_KEYS": "test:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "AETHER_KEY_PEPPER": "a pepper for tests, forty bytes of it...",
    "AETHER_SIMULATOR": "on",
    "ALLOWED_HOSTS": "testserver,localhost,127.0.0.1",
    # What a slow machine, or a test's own clumsiness, would trip: tests of these set them anew.
    "RELAY_BAD_KEYS": "0",
    "RELAY_BLOCKED_SECONDS": "60",
    "RELAY_MAX_LAG": "60",
    "RELAY_SHUTDOWN_DELAY": "0",
    "SECRET_KEY": "a secret key for tests, fifty bytes of it, no more.",
    "DJANGO_SETTINGS_MODULE": "aether.settings",
}
"""What a process started by a test gets too, its own AETHER_DATA_DIR and DATABASE_URL apart."""

for name in [name for name in os.environ if name.startswith(("AETHER_", "RELAY_"))]:
    if name not in {"AETHER_PROOF", "AETHER_TEST_DATABASE_URL"}:
        del os.environ[name]
for name in ("DATABASE_URL", "REDIS_URL", "DEBUG", "SECRET_KEY_FALLBACKS"):
    os.environ.pop(name, None)
os.environ |= {name: value for name, value in ENVIRONMENT.items() if name != "DJANGO_SETTINGS_MODULE"}
if os.environ.get("AETHER_TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = os.environ["AETHER_TEST_DATABASE_URL"]

from aether.settings import *  # noqa: E402, F403 - the environment comes first
from aether.settings import DATABASES, INSTALLED_APPS  # noqa: E402

INSTALLED_APPS = [*INSTALLED_APPS, "tests"]  # for its `flush`
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: threads and processes share it, and a writer waits its turn.
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] += "; PRAGMA synchronous=OFF"
