"""Which target's turn it is: the retry rules, and the slots (resilience.md, "Retries" and "Adaptive
concurrency")."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from providers.types import Target
from relay.errors import Refused, some_of
from relay.failover import Failed, judge, may_go_on
from relay.retries import Retry, pause
from relay.scheduler import Skipped
from relay.slots import AT_LIMIT, Slot
from wire.types import Fault

if TYPE_CHECKING:
    from relay.attempts import Job

LAST_MOMENT = 2.0
"""Seconds before the deadline in which no further attempt begins."""


class Turn(msgspec.Struct, eq=False):
    """A target that may be tried now, with its slot; `retry` where another was tried before."""

    target: Target
    slot: Slot
    retry: Retry | None


class Turns:
    """The targets of a job, one at a time. Those at a limit are passed over, and waited for only where no
    other is left."""

    __slots__ = ("_again", "_coming", "_consumer", "_full", "_job")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._coming = deque(job.order)
        self._full: list[Target] = []
        self._again: Target | None = None
        """The sole target, in its second turn."""
        caller = job.ctx.caller
        self._consumer = caller.consumer_id if caller is not None else 0

    async def next(self, failures: Sequence[Failed]) -> Turn | None:
        """Whose turn it is after these failures; None where nobody is left."""
        if len(failures) == 1 and not self._coming and not self._full:
            await self._once_more(failures)
        while self._coming:
            target = self._coming.popleft()
            if failures and (reason := self._against(target, failures)):
                self._skip(target, reason)
                continue
            if failures and (reason := self._ill(target, time.monotonic())):
                self._skip(target, reason)
                continue
            slot = await self._job.engine.in_flight.take(target, self._consumer, time.monotonic())
            if slot is None:
                limit = self._job.engine.in_flight.limit_of(target, self._consumer)
                self._skip(target, limit or AT_LIMIT)
                self._full.append(target)
            elif (turn := self._turn(slot, failures)) is not None:
                return turn
        return await self._when_free(failures) if self._full else None

    def refused(self) -> Refused:
        """What the caller is told where nobody was tried, since all are at their limits."""
        job = self._job
        text = f"Every upstream for {job.ctx.model} is at its limit of requests at a time."
        wait = some_of(2 * job.engine.knobs.queue_timeout)
        return Refused(Fault("rate_limited", text), retry_after=wait)

    async def _once_more(self, failures: Sequence[Failed]) -> None:
        """A sole target has a second turn, after a moment, where its failure was no answer of its own."""
        (target,) = self._job.order[:1]
        if len(self._job.order) > 1 or not judge(failures[0].reason).again:
            return
        self._again = target
        reason = self._against(target, failures) or self._ill(target, time.monotonic())
        if reason:  # a vendor that named a pause is not asked before it is over
            self._skip(target, reason)
        else:
            await asyncio.sleep(pause(0, random.random()))
            self._coming.append(target)

    async def _when_free(self, failures: Sequence[Failed]) -> Turn | None:
        """Waits for a slot at one of those that are at a limit."""
        job, began = self._job, time.monotonic()
        patience = min(job.engine.knobs.queue_timeout, job.deadline - LAST_MOMENT - began)
        while self._full and patience > 0:
            slot = await job.engine.in_flight.wait(tuple(self._full), self._consumer, patience)
            now = time.monotonic()
            job.ctx.waiting += now - began
            patience, began = patience - (now - began), now
            if slot is None:
                break
            self._full.remove(slot.target)
            if reason := self._against(slot.target, failures) or self._ill(slot.target, now):
                slot.release()
                self._skip(slot.target, reason)
            elif (turn := self._turn(slot, failures)) is not None:
                return turn
        return None

    def _turn(self, slot: Slot, failures: Sequence[Failed]) -> Turn | None:
        if not failures:
            return Turn(slot.target, slot, None)
        engine, target = self._job.engine, slot.target
        retry = engine.retries.begin(
            self._job.group, judge(failures[-1].reason), doubtful=target.key_id in engine.health.keys
        )
        if retry is None:
            slot.release()
            self._skip(target, "retry budget spent")
            return None
        return Turn(target, slot, retry)

    def _against(self, target: Target, failures: Sequence[Failed]) -> str:
        """Why the retry rules do not allow a target; "" where they do."""
        job = self._job
        if not failures:
            return ""
        if job.ctx.settled or job.ctx.interruption:
            return "the request is over"
        if job.ctx.caller is not None and not job.ctx.caller.failover:
            return "its API key wants no other"
        if time.monotonic() > job.deadline_at(target) - LAST_MOMENT:
            return "too little time left"
        if target is not self._again and any(
            each.target.key_id == target.key_id for each in job.ctx.attempts
        ):
            return "its key was tried already"
        if not may_go_on(failures, target.endpoint_id, job.engine.knobs.caps):
            return "attempts used up"
        return ""

    def _ill(self, target: Target, now: float) -> str:
        """What has come up against a target since the plan was made."""
        job, health = self._job, self._job.engine.health
        if health.well or not (reason := health.barred(target, now)):
            return ""
        return "" if target in health.order(job.plan.targets, job.brief.kind, now)[0] else reason

    def _skip(self, target: Target, reason: str) -> None:
        self._job.skipped.append(Skipped(target, reason))
