"""Who is being served at this moment, and the limits of how many may be: those that operators set, and those
that keys taught (routing.md, "Concurrency that learns")."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from providers.types import Limit, Target
from relay.health import Health
from relay.learned import Learned
from relay.leases import Alone, Lease, Leases, numbers
from relay.retries import Group
from relay.waiting import Pool

log = logging.getLogger("aether.relay")

LOOK_AGAIN = 0.05
"""Seconds until a slot that another process held is hoped for again."""
LATE = 60.0
"""Seconds beyond the longest request after which a slot that is still held is taken for lost."""
AT_LIMIT = "at concurrency limit"
Place = tuple[str, int]
"""`key`, `endpoint` or `provider`, and its id."""
Told = Callable[[int, Learned | None], None]
"""Hears of a key's id and what it taught; None where that is to be forgotten."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that waits for a slot at one of its targets."""

    targets: Sequence[Target]
    consumer: int
    slot: asyncio.Future[Slot | None]
    pools: list[Pool[Waiter]] = field(default_factory=list)


class InFlight:
    """Concurrency slots: one for each attempt under way. A target without limits costs a look at two empty
    collections. `health` hears of each beginning and end, `told` of what is learned; `leases` are shared with
    other processes."""

    def __init__(self, health: Health, *, leases: Leases | None = None, told: Told | None = None) -> None:
        self.slots: set[Slot] = set()
        self.health = health
        self.pools: dict[Place, Pool[Waiter]] = {}
        self.learned: dict[int, Learned] = {}
        """By key."""
        self._leases: Leases = leases or Alone()
        self._told = told

    def under_way(self, group: Group) -> int:
        """How many attempts of a group are under way. Takes time: they are counted."""
        return sum((slot.target.model_id, slot.target.format) == group for slot in self.slots)

    # Slots
    # --------------------------------------------------------------------------------------------------

    async def take(self, target: Target, consumer: int, now: float) -> Slot | None:
        """A slot at a target; None where it is at a limit. It must be released in every ending. `now` is
        monotonic seconds."""
        slot = self._take((target,), consumer, now)
        if slot is None or slot.lease is None or await self._leased(slot, slot.lease):
            return slot
        return None

    async def wait(self, targets: Sequence[Target], consumer: int, seconds: float) -> Slot | None:
        """A slot at one of these targets, which are at their limits, as soon as there is one; None where the
        queues are full, or the time passes."""
        due = time.monotonic() + seconds
        while (left := due - time.monotonic()) > 0:
            slot = self._take(targets, consumer, time.monotonic())
            if slot is None:
                slot = await self._in_queue(targets, consumer, left)
            if slot is None or slot.lease is None or await self._leased(slot, slot.lease):
                return slot
            await asyncio.sleep(min(LOOK_AGAIN, left))
        return None

    def limit_of(self, target: Target, consumer: int) -> str:
        """Which limit of this process's own count a target is at, for people; "" where it is at none."""
        for (kind, _), pool in self._known(target):
            if not pool.has_room(consumer):
                return f"{kind}: {AT_LIMIT}, {pool.held + pool.elsewhere} of {pool.limit}"
        return ""

    def reap(self, longest: float, now: float) -> None:
        """Takes back slots that are held for longer than any request may last, which is a fault of ours.
        `longest` are seconds."""
        for slot in list(self.slots):
            allowed = max(longest, slot.target.total_timeout or 0.0) + LATE
            if now - slot.began > allowed:
                log.error("a slot of key %s was never given back", slot.target.key_id)
                slot.release()

    def forget(self) -> None:
        """Lets go of pools that nobody uses: rows may be gone, or have lost their limit."""
        self.pools = {place: pool for place, pool in self.pools.items() if pool.held or pool.waiting}

    async def run(self) -> None:
        """Keeps the leases until it is cancelled."""
        await self._leases.run()

    # What keys teach
    # --------------------------------------------------------------------------------------------------

    def throttled(self, target: Target, reason: str, now: float) -> None:
        """A key was throttled, for a reason of `failover.VERDICTS`. One with a limit of its own has nothing
        to learn."""
        if _has_own(target):
            return
        known = self.learned.get(target.key_id)
        if known is None:
            under_way = sum(slot.target.key_id == target.key_id for slot in self.slots)
            known = self.learned[target.key_id] = Learned.first(under_way, reason, now)
        elif not known.throttled(reason, now):
            return
        self._tell(target.key_id, known)

    def first_token(self, target: Target, milliseconds: float) -> None:
        """How long a stream's first token took."""
        if self.learned and (known := self._taught(target)) is not None:
            known.first_token(target.model_id, milliseconds)

    def unlearn(self, key_id: int, now: float) -> None:
        """Forgets what a key taught, as an operator recovered it: nobody waits for that limit any more."""
        if self.learned.pop(key_id, None) is None:
            return
        self._tell(key_id, None)
        own = any(slot.target.key_id == key_id and _has_own(slot.target) for slot in self.slots)
        pool = self.pools.get(("key", key_id)) if own else self.pools.pop(("key", key_id), None)
        for waiter in () if pool is None else pool.in_turn():
            if not waiter.slot.done():
                self._give(waiter, now)

    def _tell(self, key_id: int, known: Learned | None) -> None:
        if self._told is not None:
            self._told(key_id, known)

    # Within
    # --------------------------------------------------------------------------------------------------

    def _take(self, targets: Sequence[Target], consumer: int, now: float) -> Slot | None:
        """A slot at the first of these targets that has room by this process's own count."""
        for target in targets:
            pools: tuple[Pool[Waiter], ...] = ()
            if target.limits or self.learned:
                pools = tuple(pool for _, pool in self._known(target))
                if not all(pool.has_room(consumer) for pool in pools):
                    continue
            slot = Slot(self, target, consumer, pools, now)
            self.slots.add(slot)
            if pools:
                self._count(slot)
            if not self.health.well:
                self.health.enter(target, slot, now)
            return slot
        return None

    def _count(self, slot: Slot) -> None:
        """Counts a slot in its pools."""
        target = slot.target
        for pool in slot.pools:
            pool.take(slot.consumer)
        if target.limits:
            slot.lease = Lease(next(numbers), slot.consumer, target.limits)
        known = self._taught(target)
        if known is not None and known.taken(self.pools["key", target.key_id].held, slot.began):
            self._tell(target.key_id, known)

    def _taught(self, target: Target) -> Learned | None:
        """What a target's key taught, where no operator has set its limit."""
        return None if _has_own(target) else self.learned.get(target.key_id)

    def _known(self, target: Target) -> Iterator[tuple[Place, Pool[Waiter]]]:
        """The pools of a target, with their limits as they are now."""
        for limit in target.limits:
            yield (limit.place, limit.id), self._pool(limit, self._leases.share(limit.concurrency))
        if (known := self._taught(target)) is not None:
            limit = Limit("key", target.key_id, known.limit)
            yield ("key", target.key_id), self._pool(limit, known.limit)

    def _pool(self, limit: Limit, most: int) -> Pool[Waiter]:
        place = (limit.place, limit.id)
        pool = self.pools.get(place)
        if pool is None:
            pool = self.pools[place] = Pool(most)
            for slot in self.slots:  # those that began before there was a limit
                if getattr(slot.target, f"{limit.place}_id") == limit.id:
                    slot.pools += (pool,)
                    pool.take(slot.consumer)
        pool.limit = most
        return pool

    async def _leased(self, slot: Slot, lease: Lease) -> bool:
        """Whether the other processes agree. If not, the slot is given back; and what they hold is
        remembered for a while, or all who wait here would ask in vain."""
        wanted = any(pool.is_wanted(slot.consumer) for pool in slot.pools)
        try:
            denied = await self._leases.take(lease, wanted=wanted)
        except BaseException:
            slot.release()
            raise
        if denied is None:
            return True
        slot.lease = None
        self._release(slot)
        if (pool := self.pools.get((denied.limit.place, denied.limit.id))) is not None:
            if not pool.elsewhere:
                asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look_again, pool)
            pool.elsewhere = max(1, denied.held - pool.held)
        return False

    def _look_again(self, pool: Pool[Waiter]) -> None:
        """Supposes that some of what others held is free by now; whoever is denied corrects it."""
        pool.elsewhere -= max(1, pool.elsewhere // 10)
        if pool.elsewhere:
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look_again, pool)
        self._serve(pool)

    def _release(self, slot: Slot) -> None:
        self.slots.discard(slot)
        if not self.health.well:
            self.health.leave(slot.target, slot)
        for pool in slot.pools:
            pool.give_back(slot.consumer)
        if slot.lease is not None:
            self._leases.give_back(slot.lease)

    # The queue
    # --------------------------------------------------------------------------------------------------

    async def _in_queue(self, targets: Sequence[Target], consumer: int, seconds: float) -> Slot | None:
        waiter = Waiter(targets, consumer, asyncio.get_running_loop().create_future())
        if not self._join(waiter):
            return None
        try:
            await asyncio.wait({waiter.slot}, timeout=seconds)
            return waiter.slot.result() if waiter.slot.done() else None
        except BaseException:
            if waiter.slot.done() and (slot := waiter.slot.result()) is not None:
                slot.release()
            raise
        finally:
            self._leave(waiter)

    def _join(self, waiter: Waiter) -> bool:
        """Lets a request wait in each pool that keeps it from one of its targets. False where all of their
        queues are full."""
        for target in waiter.targets:
            for _, pool in self._known(target):
                if pool.has_room(waiter.consumer) or pool in waiter.pools:
                    continue
                leaver = pool.join(waiter)
                if leaver is not waiter:
                    waiter.pools.append(pool)
                    if leaver is not None:
                        leaver.pools.remove(pool)
                        if not leaver.pools:
                            leaver.slot.set_result(None)
        return bool(waiter.pools)

    def _leave(self, waiter: Waiter) -> None:
        """A request waits no longer, which may let others in."""
        pools, waiter.pools = waiter.pools, []
        for pool in pools:
            pool.leave(waiter)
        for pool in pools:
            self._serve(pool)

    def _serve(self, pool: Pool[Waiter]) -> None:
        """Gives what is free to those who wait, in their turn."""
        now, given = time.monotonic(), True
        while given and pool.waiting and pool.held + pool.elsewhere < pool.limit:
            given = any(self._give(waiter, now) for waiter in pool.in_turn())

    def _give(self, waiter: Waiter, now: float) -> bool:
        slot = self._take(waiter.targets, waiter.consumer, now)
        if slot is None:
            self._join(waiter)  # what keeps it now may be another pool
            return False
        for pool in waiter.pools:
            pool.leave(waiter)
        waiter.pools = []
        waiter.slot.set_result(slot)
        return True


class Slot:
    """A place at a target, held from dispatch to the end of the answer. `began` is monotonic seconds."""

    __slots__ = ("_in_flight", "began", "consumer", "lease", "pools", "target")

    def __init__(
        self, in_flight: InFlight, target: Target, consumer: int, pools: tuple[Pool[Waiter], ...], now: float
    ) -> None:
        self._in_flight = in_flight
        self.target = target
        self.consumer = consumer
        self.pools = pools
        self.began = now
        self.lease: Lease | None = None

    def release(self) -> None:
        """Gives the place back, which may let others in; a second call does nothing."""
        in_flight = self._in_flight
        if self not in in_flight.slots:
            return
        in_flight._release(self)
        for pool in self.pools:
            in_flight._serve(pool)


def _has_own(target: Target) -> bool:
    """Whether an operator has set a limit on the target's key."""
    return any(limit.place == "key" for limit in target.limits)
