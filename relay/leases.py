"""Limits that several processes share: each leases its slots from a store that counts them all
(resilience.md, "Adaptive concurrency" and "Redis lost")."""

from __future__ import annotations

import itertools
from typing import NamedTuple, Protocol

from providers.types import Limit


class Lease(NamedTuple):
    """A slot as the store knows it: `id` is unique in this process. `fair`: its limits are shared between
    consumers, each of which is to get its part."""

    id: int
    consumer: int
    limits: tuple[Limit, ...]
    fair: bool = True


numbers = itertools.count(1)
"""Ids for the leases of this process."""


class Denied(NamedTuple):
    """A lease was refused: so many slots of that limit are held, in all processes together."""

    limit: Limit
    held: int


class Leases(Protocol):
    """Slots of fixed limits, over all processes. Whoever lets go of a lease calls `give_back`; those of a
    process that died are reaped by the store."""

    def share(self, concurrency: int) -> int:
        """How many slots of such a limit this process may hold by its own count."""

    async def take(self, lease: Lease, *, wanted: bool) -> Denied | None:
        """Leases a slot of each limit at once; None where it was given. `wanted`: other consumers wait here.
        Never raises because of a store that is away, and waits for one 50 ms at most."""

    def give_back(self, lease: Lease) -> None:
        """Gives a lease back, soon. Never waits, never raises."""

    async def run(self) -> None:
        """Keeps the leases until it is cancelled."""


class Alone:
    """One process by itself: its own count is all there is."""

    def share(self, concurrency: int) -> int:
        return concurrency

    async def take(self, lease: Lease, *, wanted: bool) -> Denied | None:
        return None

    def give_back(self, lease: Lease) -> None:
        pass

    async def run(self) -> None:
        pass
