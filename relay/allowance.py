"""How many requests an API key may have under way at a time (security.md, 58)."""

from __future__ import annotations

from consumers.auth import Caller
from providers.types import Limit
from relay.errors import SOON, Refused, some_of
from relay.leases import Lease, Leases, numbers
from usage.refusal import Rule
from wire.types import Fault


class Allowance:
    """Counts the requests of API keys that have a limit; `default` is that of those without one of their own,
    0 for none. `leases` are shared with other processes."""

    def __init__(self, leases: Leases, default: int) -> None:
        self._leases = leases
        self._default = default
        self._held: dict[int, int] = {}

    def of(self, caller: Caller) -> int:
        """How many requests an API key may have under way; 0 for any number."""
        return caller.concurrency_limit or self._default

    async def take(self, caller: Caller, limit: int) -> Lease:
        """Counts one more, to be given back at its end. Raises Refused where that would be too many."""
        number = caller.api_key_id
        held = self._held.get(number, 0)
        if held >= self._leases.share(limit):
            raise _refused(held)
        self._held[number] = held + 1
        limits = (Limit("api_key", number, limit),)
        lease = Lease(next(numbers), caller.consumer_id, limits, fair=False)
        try:
            denied = await self._leases.take(lease, wanted=False)
        except BaseException:
            self.give_back(lease)
            raise
        if denied is not None:
            self.give_back(lease)
            raise _refused(denied.held)
        return lease

    def give_back(self, lease: Lease) -> None:
        """Counts one less."""
        number = lease.limits[0].id
        self._held[number] -= 1
        if not self._held[number]:
            del self._held[number]
        self._leases.give_back(lease)


def _refused(held: int) -> Refused:
    text = f"This API key has {held} requests under way, as many as it may have: wait until one has ended."
    return Refused(
        Fault("rate_limited", text), retry_after=some_of(SOON), rule=Rule.KEY_IN_FLIGHT, measured=held
    )
