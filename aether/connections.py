"""A server's open connections: how many there may be, and how long each may take (security.md, 26 to 28)."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from django.conf import settings

log = logging.getLogger("aether.server")

SWEEP = 1.0
"""Seconds between two looks at all connections. One timer for all: what is well costs no timer of its own."""
TELL = 10.0
"""Seconds between two lines in the log about connections that were turned away."""
LINGER = 2.0
"""Seconds that a client has to read why it was turned away, before its connection is closed."""
STALL_MARGIN = 10.0
"""Seconds beyond the relay's own limit for a client that does not read: it ends its requests itself, and
says why in their records."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes and counts; 0 as a count of connections means any. A body has `body_grace` seconds and
    one more for each `body_rate` bytes that came, `body_seconds` at most."""

    head_seconds: float = 10.0
    idle_seconds: float = 75.0
    body_grace: float = 10.0
    body_rate: int = 1024
    body_seconds: float = 60.0
    stall_seconds: float = 70.0
    headers: int = 100
    head_bytes: int = 64 * 1024
    per_address: int = 4096
    connections: int = 0

    @classmethod
    def from_settings(cls, *, connections: int = 0) -> Limits:
        """The values in force. Behind proxies of ours every connection has a proxy's address: then there is
        no bound for one address."""
        return cls(
            head_seconds=settings.RELAY_HEADER_TIMEOUT,
            idle_seconds=settings.RELAY_IDLE_CONNECTION,
            body_rate=settings.RELAY_BODY_RATE,
            body_seconds=settings.RELAY_CLIENT_BODY_TIMEOUT,
            stall_seconds=settings.RELAY_CLIENT_STALL_TIMEOUT + STALL_MARGIN,
            headers=settings.RELAY_MAX_HEADERS,
            head_bytes=settings.RELAY_MAX_HEADER_BYTES,
            per_address=0 if settings.RELAY_TRUSTED_PROXIES else settings.RELAY_ADDRESS_CONNECTIONS,
            connections=connections,
        )


class Connection(Protocol):
    """What is swept."""

    def expire(self, now: float) -> None:
        """Ends what took too long; `now` is the loop's time."""


class Connections:
    """All connections of one server, and what was turned away. `keep_alive` false has each close after its
    answer."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.keep_alive = True
        self.refused: Counter[str] = Counter()
        """How many were turned away since the start, by reason."""
        self._open: set[Connection] = set()
        self._of: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._skipped = False
        self._told: Counter[str] = Counter()
        self._tell_at = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, connection: Connection, address: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Counts a connection in; False, and it is to be closed, where there are too many, or too many of
        this address."""
        limits, held = self.limits, self._of.get(address, 0)
        if limits.connections and len(self._open) >= limits.connections:
            self.refused["too many connections"] += 1
            return False
        if limits.per_address and held >= limits.per_address:
            self.refused["too many connections of one address"] += 1
            return False
        self._of[address] = held + 1
        self._open.add(connection)
        if self._timer is None:
            self._arm(loop)
        return True

    def leave(self, connection: Connection, address: str) -> None:
        """Counts one out that `enter` let in."""
        self._open.discard(connection)
        left = self._of[address] - 1
        if left:
            self._of[address] = left
        else:
            del self._of[address]

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + SWEEP
        self._timer = loop.call_at(self._due, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        # After a pause of ours what clients sent meanwhile is still unread: they are not to blame for it.
        self._skipped = now - self._due > SWEEP and not self._skipped
        if not self._skipped:
            for each in tuple(self._open):
                each.expire(now)
        self._tell(now)
        self._timer = None
        if self._open:
            self._arm(loop)

    def _tell(self, now: float) -> None:
        if now < self._tell_at or self._told == self.refused:
            return
        since = self.refused - self._told
        log.warning("turned away: %s", ", ".join(f"{count} {reason}" for reason, count in since.items()))
        self._told, self._tell_at = self.refused.copy(), now + TELL
