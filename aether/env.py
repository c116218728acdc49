"""Reads the environment, and fails loudly: a bad value stops the boot, naming the variable and the remedy."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

ENV = environ.Env()
ON, OFF = ("on", "true", "yes", "1"), ("off", "false", "no", "0")
DATABASES = ("sqlite", "postgres", "postgresql")


def text(name: str, default: str = "") -> str:
    """The variable's text without surrounding blanks; an empty variable counts as absent."""
    return str(ENV.str(name, default="")).strip() or default


def texts(name: str, default: Collection[str] = ()) -> list[str]:
    """A comma separated list."""
    return [part.strip() for part in text(name).split(",") if part.strip()] or list(default)


def switch(name: str, default: bool) -> bool:
    """`on` or `off` (true, yes, 1, false, no, 0 too)."""
    given = text(name, "on" if default else "off")
    if given.lower() not in ON + OFF:
        raise ImproperlyConfigured(f"{name} is “{given}”: set it to on or off.")
    return given.lower() in ON


def choice(name: str, options: Collection[str]) -> str:
    """One of `options`, the first being the default."""
    given = text(name, next(iter(options)))
    if given not in options:
        raise ImproperlyConfigured(f"{name} is “{given}”: set it to {' or '.join(options)}.")
    return given


def whole(name: str, default: int, *, least: int = 0) -> int:
    """A whole number, `least` or more."""
    given = text(name, str(default))
    try:
        value = int(given)
    except ValueError:
        value = least - 1
    if value < least:
        raise ImproperlyConfigured(f"{name} is “{given}”: set it to a whole number, {least} or more.")
    return value


def seconds(name: str, default: float, *, none: bool = False) -> float:
    """A time in seconds, more than 0, or 0 where `none` allows it; fractions are allowed."""
    given = text(name, str(default))
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not math.isfinite(value) or value < 0 or (value == 0 and not none):
        wanted = "0 or more" if none else "above 0"
        raise ImproperlyConfigured(f"{name} is “{given}”: set it to a number of seconds {wanted}.")
    return value


def percent(name: str, default: int) -> int:
    """A whole number of percent, from 1 to 100."""
    value = whole(name, default, least=1)
    if value > 100:
        raise ImproperlyConfigured(f"{name} is “{value}”: set it to a number of percent, 1 to 100.")
    return value


def url(name: str, schemes: Collection[str]) -> str:
    """An address with one of `schemes` and a host, without its last slash; empty where it is not set."""
    given = text(name)
    if not given:
        return ""
    try:
        parts = urlsplit(given)
        valid = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        wanted = " or ".join(f"{scheme}://host" for scheme in schemes)
        raise ImproperlyConfigured(f"{name} is no address: set it to {wanted}.")
    return given.rstrip("/")


def database(name: str, default: Path) -> dict[str, Any]:
    """Django's settings of the database named by an address: SQLite at `default` unless set, or
    PostgreSQL."""
    given = text(name, f"sqlite:///{default}")
    scheme = given.partition(":")[0]
    if scheme not in DATABASES or "://" not in given:
        raise ImproperlyConfigured(
            f"{name} names no database we know: set it to sqlite:///path or"
            " postgresql://user:password@host:port/name."
        )
    config: dict[str, Any] = ENV.db_url_config(given)
    options = config.setdefault("OPTIONS", {})
    if scheme == "sqlite":
        if config["NAME"] == ":memory:":
            raise ImproperlyConfigured(
                f"{name} must name a file: several processes read it (sqlite:///path)."
            )
        # A reader never waits for the writer; a writer takes its lock at once, or it could not wait for it.
        options |= {"transaction_mode": "IMMEDIATE", "timeout": 10, "init_command": "PRAGMA journal_mode=WAL"}
    else:
        # CONN_HEALTH_CHECKS is what makes the pool look at a connection before it lends it.
        config |= {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}
        options.setdefault("connect_timeout", 5)
        options["pool"] = {"min_size": 1, "max_size": 10, "timeout": 10}
    return config
