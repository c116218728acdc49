"""The health monitor: takes in how attempts end and what the tables and other processes say of keys and
endpoints, and tells the journal and the other processes what changed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from providers.machine import KeyState
from providers.types import Stored, Target
from relay.channel import Channel
from relay.failover import OVERLOADED, THROTTLED, judge
from relay.folding import Folding
from relay.health import PAIR_SECONDS, Health, Turn, pair_of
from relay.hints import Held, Unserved
from relay.learned import Learned
from relay.ledger import Ledger
from relay.slots import InFlight


class Monitor:
    """Keeps `health` for one process. `channel` reaches the other processes, if there is one."""

    def __init__(self, health: Health, in_flight: InFlight, ledger: Ledger, channel: Channel | None) -> None:
        self._health = health
        self._in_flight = in_flight
        self._ledger = ledger
        self._channel = channel
        self._folding = Folding()
        health.changed = self.turned

    def failed(self, target: Target, reason: str, retry_after: float | None, kind: str) -> None:
        """An attempt at a request of a kind failed, for a reason of `failover.VERDICTS`."""
        now = time.monotonic()
        endpoint = self._health.endpoints.get(target.endpoint_id)
        broken = endpoint is not None and endpoint.state != "closed"
        self.turned(self._health.failed(target, reason, retry_after, now, kind=kind))
        if self._channel is not None and (pair := pair_of(target, reason, kind)) is not None:
            self._channel.tell([Unserved(self._channel.worker, *pair, PAIR_SECONDS)])
        meaning = judge(reason).meaning
        # An outage does not tell how many requests at a time are too many.
        if meaning == THROTTLED or (meaning == OVERLOADED and not broken):
            self._in_flight.throttled(target, reason, now)

    def succeeded(self, target: Target) -> None:
        """An attempt has an answer."""
        if not self._health.well:
            self.turned(self._health.succeeded(target, time.monotonic()))

    def turned(self, turns: Sequence[Turn]) -> None:
        """Tells the journal and the other processes what changed."""
        if not turns:
            return
        now = time.monotonic()
        self._ledger.turned([self._folding.fold(each, now) for each in turns])
        if self._channel is not None:
            worker = self._channel.worker
            self._channel.tell(
                Held(
                    worker, each.table, each.id, each.part.state,
                    max(0.0, each.part.cooling_until - now), each.part.cooling_for,
                )
                for each in turns
            )  # fmt: skip

    def know(self, rows: Iterable[Stored]) -> None:
        """Obeys what the tables say, an operator's word among it."""
        wall, now = time.time(), time.monotonic()
        for row in rows:
            recovered = self._health.know(row, wall, now)
            if recovered and row.table == "key":
                self._in_flight.unlearn(row.id, now)

    async def forget(self) -> None:
        """Lets go of what has passed."""
        if not self._health.well:
            self.turned(self._health.forget(time.monotonic()))


def learned_limits() -> dict[int, Learned]:
    """What keys taught before this process was started. Blocking; raises django.db.Error."""
    rows = KeyState.objects.exclude(learned_limit=None).values_list("pk", "learned_limit", "detail")
    now = time.monotonic()
    return {pk: Learned.restored(limit, detail, now) for pk, limit, detail in rows if limit is not None}
