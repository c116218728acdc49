"""A pool of slots: who holds them, who waits, whose turn it is (resilience.md, security.md 58). Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

KEPT = 10
"""One slot of so many is kept for consumers that hold few."""


class Waiter(Protocol):
    """Someone who waits, for a consumer."""

    @property
    def consumer(self) -> int: ...


W = TypeVar("W", bound=Waiter)


class Pool(Generic[W]):
    """At most `limit` slots, shared between consumers, and those who wait for one, as many at most.

    A consumer holds at most half while others wait. Those who hold least go first; of one consumer the
    oldest, but the newest where more than half of the queue is taken, since the oldest will have given up by
    then. `elsewhere` are slots that other processes hold, as far as is known."""

    __slots__ = ("_held_by", "_waiting", "elsewhere", "held", "limit", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.elsewhere = 0
        self.waiting = 0
        self._held_by: dict[int, int] = {}
        self._waiting: dict[int, deque[W]] = {}

    def has_room(self, consumer: int) -> bool:
        """Whether a consumer may take a slot now."""
        free = self.limit - self.held - self.elsewhere
        if free <= 0:
            return False
        own = self._held_by.get(consumer, 0)
        kept = self.limit // KEPT
        if free <= kept and own >= kept:
            return False
        return own < (self.limit + 1) // 2 or not self.is_wanted(consumer)

    def is_wanted(self, consumer: int) -> bool:
        """Whether other consumers wait."""
        return len(self._waiting) > (consumer in self._waiting)

    def take(self, consumer: int) -> None:
        """Counts a slot of a consumer, room or not."""
        self.held += 1
        self._held_by[consumer] = self._held_by.get(consumer, 0) + 1

    def give_back(self, consumer: int) -> None:
        """Counts one less. Raises KeyError where the consumer holds none."""
        self.held -= 1
        self._held_by[consumer] -= 1
        if not self._held_by[consumer]:
            del self._held_by[consumer]

    # The queue
    # --------------------------------------------------------------------------------------------------

    def join(self, waiter: W) -> W | None:
        """Lets someone wait. Gives who must leave for it: nobody, the oldest of the consumer with the most
        in a full queue, or `waiter` itself, where that would be no fairer."""
        leaver = None
        if self.waiting >= self.limit:
            own = len(self._waiting.get(waiter.consumer, ()))
            crowd = max(self._waiting.values(), key=len)
            if len(crowd) <= own + 1:
                return waiter
            leaver = crowd[0]
            self.leave(leaver)
        self._waiting.setdefault(waiter.consumer, deque()).append(waiter)
        self.waiting += 1
        return leaver

    def leave(self, waiter: W) -> None:
        """Someone waits no longer; one who does not is ignored. Among equals its consumer goes last now."""
        queue = self._waiting.get(waiter.consumer)
        if queue is None or waiter not in queue:
            return
        queue.remove(waiter)
        self.waiting -= 1
        del self._waiting[waiter.consumer]
        if queue:
            self._waiting[waiter.consumer] = queue

    def in_turn(self) -> Iterator[W]:
        """Those who wait, in the order in which slots should go to them. A snapshot."""
        newest_first = self.waiting * 2 > self.limit
        waiting = {consumer: tuple(queue) for consumer, queue in self._waiting.items()}
        for consumer in sorted(waiting, key=lambda each: self._held_by.get(each, 0)):
            queue = waiting[consumer]
            yield from reversed(queue) if newest_first else queue
