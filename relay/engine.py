"""What lives as long as the process: the catalog, the callers, the pooled client, the journal, and who is
under way."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from changes import feed
from consumers import auth
from consumers.throttle import Throttle
from providers import catalog, states
from providers.catalog import Catalog
from providers.drills import Drill, played
from relay import histories
from relay.affinity import Affinity, Place, Session
from relay.allowance import Allowance
from relay.breaker import Rules
from relay.channel import Channel
from relay.context import StreamContext
from relay.drains import Drains
from relay.drills import Drills
from relay.errors import SOON, Refused, some_of
from relay.health import Health
from relay.hints import Pinned, Told
from relay.histories import History
from relay.keeping import Keeping
from relay.knobs import Knobs
from relay.leases import Alone, Leases
from relay.ledger import Ledger
from relay.memory import Memory
from relay.monitor import Monitor, learned_limits
from relay.pace import Paces
from relay.prober import Prober
from relay.recording import recorded
from relay.redis_leases import RedisLeases
from relay.retries import Retries
from relay.scheduler import Plan
from relay.shedding import Shedding
from relay.slots import InFlight
from relay.upstream import Upstream
from relay.watchdog import Watchdog
from usage.refusal import Rule
from wire.neutral.keepsakes import Keepsake
from wire.types import GENERATE, Fault

log = logging.getLogger("aether.relay")
Result = TypeVar("Result")

POLL = 1.0
PATROL = 0.25
CHECKPOINT = 1.0
SYNC = 0.1
USED = 10.0
FORGET = 1.0
REAP = 10.0
HASTE = 0.5
"""Seconds that an interrupted request's client has to take what it was sent, so that it can be told."""
FAREWELL = 5.0
"""Seconds that interrupted requests have to tell their clients."""
PLANS = 10_000
PlanKey = tuple[int, frozenset[int] | None, str, str, frozenset[str], bool]
"""API key, the providers it may reach, model, format, needs, whether conversion is possible."""
RESPONSES = 50_000


@dataclass(frozen=True, slots=True)
class StoredRef:
    """Where a stored response lives, and whose it is."""

    consumer_id: int
    endpoint_id: int
    key_id: int
    model_id: int | None
    upstream_model: str


class Engine:
    """One per process. `async with Engine(knobs)` opens and closes it; the doors find it through
    `current()`."""

    def __init__(self, knobs: Knobs, rules: Rules | None = None) -> None:
        self.knobs = knobs
        self.catalog = Catalog()
        self.callers = auth.Callers(knobs.caller_cache)
        self.upstream = Upstream()
        self.drills: Drills | None = None
        rules = rules or Rules(refused=knobs.refused_probe_seconds)
        self.health = Health(rules, keys_at=self._keys_at, chance=random.random)
        self.ledger = Ledger(knobs, worker=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
        leases: Leases = Alone()
        if knobs.redis_url:
            leases = RedisLeases(knobs.redis_url, knobs.redis_prefix, self.ledger.worker)
        self.allowance = Allowance(leases, knobs.key_in_flight)
        self.in_flight = InFlight(self.health, leases=leases, told=self.ledger.learned)
        self.retries = Retries(knobs.retry_rules, self.in_flight.under_way)
        self.open: set[StreamContext] = set()
        self.sending: set[StreamContext] = set()
        """Those whose stream is on its way to the client, settled or not."""
        self.drains = Drains(knobs.drain_upstream_most)
        self.plans: dict[PlanKey, Plan] = {}
        self.channel: Channel | None = None
        if knobs.redis_url:
            self.channel = Channel(
                knobs.redis_url, f"{knobs.redis_prefix}hints", self.ledger.worker, self._hear
            )
        self.monitor = Monitor(self.health, self.in_flight, self.ledger, self.channel)
        self.prober = Prober(
            catalog=lambda: self.catalog, health=self.health, upstream=self.upstream,
            turned=self.monitor.turned, told=self.ledger.probed, chance=random.random,
        )  # fmt: skip
        self.affinity = Affinity(knobs.caller_cache, self._tell_pin if self.channel is not None else None)
        self.paces = Paces()
        self.responses: OrderedDict[str, StoredRef] = OrderedDict()
        self.body_bytes = 0
        self.throttle = Throttle(knobs.bad_keys)
        self.shedding = Shedding(
            max_lag=knobs.max_lag,
            max_in_flight=knobs.max_in_flight,
            memory_close=knobs.memory_close / 100,
            memory_refuse=knobs.memory_refuse / 100,
            max_backlog=knobs.max_backlog_bytes,
        )
        self.watchdog = Watchdog(knobs.blocked_seconds, self._heard)
        self.memory = Memory()
        self.ended = 0
        """Requests that were answered, or left, since the start."""
        self.leaving = False
        """Whether the server is about to stop: nobody should send anything new, and what comes is served."""
        self.draining = False
        """Whether it has stopped: running requests finish, and no other begins."""
        self.ready = False
        self.degraded = False
        self._none_open = asyncio.Event()
        self.keeping = Keeping(knobs.redis_url, knobs.redis_prefix, Keepsake, kind="keepsake")
        life = max(1, int(knobs.keep_responses))
        self.histories = Keeping(knobs.redis_url, knobs.redis_prefix, History, kind="history", life=life)
        self._none_open.set()
        self._position = 0
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="relay-database")
        self._connections: set[BaseDatabaseWrapper] = set()
        """Those of the threads."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Engine:
        self._position = await self.in_thread(feed.latest)
        self.catalog = await self.in_thread(catalog.build)
        await self._know(None)
        self.in_flight.learned.update(await self.in_thread(learned_limits))
        await self._read_drills()
        await self.upstream.__aenter__()
        self.ledger.open()
        self._tasks = [
            asyncio.create_task(self._every(POLL, self._follow)),
            asyncio.create_task(self._every(PATROL, self._patrol)),
            asyncio.create_task(self._every(SYNC, self._sync)),
            asyncio.create_task(self._every(USED, self._tell_used)),
            asyncio.create_task(self._every(FORGET, self.monitor.forget)),
            asyncio.create_task(self._every(REAP, self._reap)),
            asyncio.create_task(self.in_flight.run()),
            asyncio.create_task(self.prober.run()),
            asyncio.create_task(self._every(POLL, self._look_after)),
        ]
        self._tasks.append(asyncio.create_task(self.keeping.run()))
        self._tasks.append(asyncio.create_task(self.histories.run()))
        if self.channel is not None:
            self._tasks.append(asyncio.create_task(self.channel.run()))
        self.watchdog.start()
        self.ready = True
        _install(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.ready = False
        self.watchdog.stop()
        self.interrupt("shutdown")
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._none_open.wait()
        await self.drains.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.upstream.__aexit__()
        await self.ledger.close()
        self._threads.shutdown(wait=True)
        await asyncio.to_thread(self._disconnect)
        _remove(self)

    async def in_thread(self, function: Callable[..., Result], *args: Any) -> Result:
        """Runs a function that asks the database, off the loop, in a thread with a connection of its own."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._connected, function, *args
        )

    def _disconnect(self) -> None:
        for connection in self._connections:
            connection.inc_thread_sharing()  # its own thread is gone
            connection.close()

    def _connected(self, function: Callable[..., Result], *args: Any) -> Result:
        connection = connections["default"]
        self._connections.add(connection)
        keep = False
        try:
            result = function(*args)
            keep = connection.vendor == "sqlite"  # opening it takes milliseconds; others come from a pool
            return result
        finally:
            if not keep:
                connection.close()

    # Requests
    # --------------------------------------------------------------------------------------------------

    def _keys_at(self, endpoint_id: int) -> int:
        return self.catalog.keys_at(endpoint_id)  # of the catalog as it is then

    async def find_caller(self, secret: str) -> auth.Caller | None:
        """Who calls with `secret`, which memory does not know; None for nobody. Raises DatabaseError where
        the database does not answer."""
        return await self.callers.find(secret, time.time(), self._load_caller)

    async def _load_caller(self, digest: str) -> auth.Caller | None:
        return await self.in_thread(auth.load, digest)

    def enter(self, ctx: StreamContext) -> None:
        """Counts a request among those that are open, until `settle` or `forget`."""
        ctx.task = asyncio.current_task()
        self.open.add(ctx)
        self._none_open.clear()

    def forget(self, ctx: StreamContext) -> None:
        """Lets a request go that owes no record."""
        self._leave(ctx)

    def _leave(self, ctx: StreamContext) -> None:
        ctx.settled = True
        self.ended += 1
        self.open.discard(ctx)
        if not self.open:
            self._none_open.set()
        self.release_body(ctx)
        if ctx.lease is not None:
            self.allowance.give_back(ctx.lease)
            ctx.lease = None

    def hold_body(self, ctx: StreamContext, size: int) -> None:
        """Counts bytes of a buffered body. Raises Refused when all of them together would pass the bound."""
        if self.body_bytes + size > self.knobs.body_memory:
            text = "The relay holds too many request bodies right now; try again in a moment."
            raise Refused(
                Fault("overloaded", text), retry_after=some_of(SOON), rule=Rule.BODY_MEMORY,
                measured=self.body_bytes // 1_000_000,
            )  # fmt: skip
        self.body_bytes += size
        ctx.body_held += size

    def release_body(self, ctx: StreamContext) -> None:
        """Lets a request's body go, and gives back what `hold_body` counted."""
        if ctx.payload is not None:
            ctx.payload.close()
            ctx.payload = None
        self.body_bytes -= ctx.body_held
        ctx.body_held = 0

    def settle(
        self, ctx: StreamContext, outcome: str, *, code: str = "", text: str = "", answer: bytes = b""
    ) -> None:
        """Ends a request: prices it and writes its record to the journal. A second call does nothing."""
        if ctx.settled:
            return
        self._leave(ctx)
        if ctx.caller is None or not ctx.kind:
            return  # nobody to bill, or a list of models: no record is owed
        ctx.outcome, ctx.error_code = outcome, "" if outcome == "ok" else code
        if outcome == "client_gone":
            ctx.mark_failed(499, text or "the client left")
        elif outcome != "ok":
            failed = (status for status in (ctx.status_code, ctx.sent_status) if status >= 400)
            ctx.mark_failed(next(failed, 503), text)
        now = time.monotonic()
        if ctx.caller.recording != "none":
            try:
                row = recorded(ctx, answer, milliseconds=round((now - ctx.began) * 1000))
                ctx.body_lost = not self.ledger.bodies.put(row)
            except Exception:  # what cannot be kept must not cost the record
                log.exception("the bodies of %s were not kept", ctx.request_text)
                ctx.body_lost = True
        self._keep(ctx, outcome)
        self.ledger.final(ctx, now)
        if outcome == "ok" and (ref := _stored_ref(ctx)) is not None:
            # One without an endpoint came by conversion, under an id of ours.
            held = ctx.response_id if ref.endpoint_id else histories.response_id(ctx.request_text)
            self.remember_response(held, ref)
        level = logging.DEBUG if outcome == "ok" else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, ctx.get_log_summary(ctx.request_text[-12:], round((now - ctx.began) * 1000)))

    def _keep(self, ctx: StreamContext, outcome: str) -> None:
        """Keeps what the client may lose of an answer that came from another format."""
        conversion = ctx.attempts[-1].conversion if ctx.attempts else None
        if conversion is not None and conversion.keeper is not None and ctx.caller is not None:
            self.keeping.put(ctx.caller.consumer_id, conversion.keeper.kept)
        if conversion is not None and ctx.history and ctx.caller is not None and outcome == "ok":
            conversion.over()
            histories.keep(
                self.histories, ctx.caller.consumer_id, ctx.request_text,
                history=ctx.history, answer=conversion.answer, seconds=self.knobs.keep_responses,
            )  # fmt: skip

    def remember_plan(self, known: PlanKey, chosen: Plan) -> None:
        """Keeps a plan until the catalog changes; at the bound all are forgotten."""
        if len(self.plans) >= PLANS:
            self.plans.clear()
        self.plans[known] = chosen

    def remember_response(self, response_id: str, ref: StoredRef) -> None:
        """Keeps where a response is stored; the least recently used goes beyond the bound."""
        self.responses[response_id] = ref
        self.responses.move_to_end(response_id)
        if len(self.responses) > RESPONSES:
            self.responses.popitem(last=False)

    def interrupt(self, reason: str, streams: Iterable[StreamContext] | None = None) -> None:
        """Ends open requests in order: each tells its client and settles as interrupted."""
        loop = asyncio.get_running_loop()
        for ctx in list(self.open if streams is None else streams):
            if ctx.settled or ctx.interruption:
                continue
            ctx.interruption = reason
            if ctx.blocked_since is not None:
                loop.call_later(HASTE, self._hasten, ctx, ctx.blocked_since)
            elif ctx.ring is not None:
                ctx.ring()  # where nobody waits, the stream is about to look by itself
            elif ctx.task is not None:
                ctx.task.cancel()

    def _hasten(self, ctx: StreamContext, blocked_since: float) -> None:
        """Leaves an interrupted client that has taken nothing since."""
        if ctx.blocked_since == blocked_since and ctx in self.sending:
            _cut_off(ctx)

    # Hints
    # --------------------------------------------------------------------------------------------------

    def _tell_pin(self, session: Session, place: Place, seconds: float) -> None:
        if self.channel is not None:
            api_key_id, model, api_format, needs = session
            pinned = Pinned(
                self.channel.worker, api_key_id, model, api_format, tuple(sorted(needs)), *place, seconds
            )
            self.channel.tell([pinned])

    def _hear(self, hint: Told) -> None:
        """Takes in what another process told."""
        now = time.monotonic()
        if isinstance(hint, Pinned):
            self.affinity.heard(hint, now)
        else:
            self.health.heard(hint, now)

    # Jobs
    # ------------------------------------------------------------------------------------------------------

    async def _every(self, seconds: float, job: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await job()
            except DatabaseError:
                if not self.degraded:
                    log.warning("the database does not answer; requests go on with what is known")
                self.degraded = True
            except Exception:
                log.exception("a job of the engine failed")

    async def _follow(self) -> None:
        """Reads all that changed since the last look, however much it is, and obeys it."""
        position, stale = self._position, False
        turned: set[str] = set()
        while seen := await self.in_thread(feed.since, position):
            self.callers.forget(seen)
            await self._review(seen)
            stale = stale or any(each.kind in catalog.KINDS for each in seen)
            turned |= {each.object_id for each in seen if each.kind == states.HEALTH}
            if any(each.kind == Drill.change_kind() for each in seen):
                await self._read_drills()
            position = seen[-1].id
            if len(seen) < feed.BATCH:
                break
        self.degraded = False
        if stale:
            self.catalog = await self.in_thread(catalog.build)
            self.plans.clear()
            self.affinity.clear()  # what an operator prefers now goes before where a session was
        if turned:
            await self._know(turned)
            self.in_flight.forget()
        self._position = position
        self.callers.confirm(time.time())
        if self.drills is not None and self.drills.over(time.monotonic()):
            self.drills = None

    async def _read_drills(self) -> None:
        playing = await self.in_thread(played, timezone.now())
        self.drills = Drills(playing, time.monotonic()) if playing else None

    async def _know(self, objects: Collection[str] | None) -> None:
        """Reads what the tables say of the health of these objects (None: all), and obeys it."""
        rows = await self.in_thread(states.load, objects)
        self.monitor.know(rows)
        for row in rows:
            if objects is not None and row.probe_asked_at is not None:
                self.prober.obey(row.table, row.id, row.probe_asked_at / 1000, time.time())

    async def _review(self, seen: Sequence[feed.Seen]) -> None:
        """Ends the open requests of API keys that no longer work."""
        for ctx in list(self.open):
            caller = ctx.caller
            if caller is None or caller.finish_streams or not auth.concerns(seen, caller):
                continue
            if not await self.callers.still_valid(caller, time.time(), self._load_caller):
                self.interrupt("revoked", [ctx])

    async def _patrol(self) -> None:
        """Writes checkpoints, and ends requests whose client stopped sending, or taking what we send."""
        now = time.monotonic()
        for ctx in list(self.sending):
            if ctx.blocked_since is not None and now - ctx.blocked_since > self.knobs.client_stall_timeout:
                ctx.interruption = ctx.interruption or "stalled"
                _cut_off(ctx)
        for ctx in list(self.open):
            if ctx.reading_since is not None and now - ctx.reading_since > self.knobs.client_body_timeout:
                self.interrupt("late", [ctx])
            if now - ctx.checkpointed >= CHECKPOINT and (seen := ctx.frames_seen) != ctx.checkpoint_mark:
                ctx.checkpointed, ctx.checkpoint_mark = now, seen
                self.ledger.checkpoint(ctx)

    @property
    def guarded(self) -> bool:
        """Whether some requests are turned away at the door (`desk.turned_away`)."""
        return self.shedding.pressed or len(self.open) >= self.shedding.crowd or bool(self.throttle.bad)

    def _heard(self, late: float, now: float) -> None:
        self.shedding.beat(late, now, self.ended)

    async def _look_after(self) -> None:
        """Weighs memory and journal, and tells how many were turned away."""
        self.shedding.look(self.memory.share(), self.ledger.journal.backlog_bytes)
        self.throttle.forget(time.monotonic())
        if told := self.shedding.news(time.monotonic()):
            log.warning("turned away: %s", told)

    async def _tell_used(self) -> None:
        self.ledger.tell_used()

    async def _reap(self) -> None:
        longest = max(self.knobs.stream_total_timeout, self.knobs.whole_total_timeout)
        self.in_flight.reap(longest, time.monotonic())

    async def _sync(self) -> None:
        await self.ledger.sync()


def _cut_off(ctx: StreamContext) -> None:
    """Leaves a client that does not read. A connection that is merely closed would wait for it to take the
    rest."""
    if ctx.cut is not None:
        ctx.cut()
    elif ctx.task is not None:
        ctx.task.cancel()


def _stored_ref(ctx: StreamContext) -> StoredRef | None:
    if not ctx.response_id or ctx.caller is None or ctx.brief is None or not ctx.attempts:
        return None
    if ctx.api_format != "openai_responses" or ctx.brief.kind != GENERATE or ctx.brief.store is False:
        return None
    target = ctx.attempts[-1].target
    if target.format != ctx.api_format:  # an id of ours, that nobody there knows
        return StoredRef(ctx.caller.consumer_id, 0, 0, target.model_id, target.upstream_name)
    return StoredRef(
        ctx.caller.consumer_id, target.endpoint_id, target.key_id, target.model_id, target.upstream_name
    )


_open: list[Engine] = []


def _install(engine: Engine) -> None:
    _open.append(engine)


def _remove(engine: Engine) -> None:
    _open.remove(engine)


def current() -> Engine | None:
    """The engine that is open in this process, if any."""
    return _open[-1] if _open else None
