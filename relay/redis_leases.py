"""Slots of fixed limits, counted in Redis for all processes that share it (resilience.md, "Redis lost").

One connection carries everything, in order: what is given back, then who asks, as many at a time as have come
together. Where Redis does not answer within 50 ms, all who ask are let in by this process's own count, of a
share of each limit; no request waits for it again before it was found to answer."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from relay.channel import ended
from relay.leases import Denied, Lease
from relay.waiting import KEPT

log = logging.getLogger("aether.relay")

TIMEOUT = 0.05
"""Seconds for a command, and for all that is sent together."""
PAUSE = 1.0
"""Seconds before Redis is tried again after it failed."""
BEAT = 5.0
"""Seconds between two renewals of all that this process holds."""
LIFE_MS = 15_000
"""Milliseconds after which a lease that is not renewed is free: those of a process that died."""
MOST_GONE = 10_000
"""Leases to give back once Redis answers again; it lets go of others by itself."""

TAKE = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local count = #KEYS / 2
for i = 1, count do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  redis.call('ZREMRANGEBYSCORE', KEYS[count + i], '-inf', now)
  local held, own = redis.call('ZCARD', KEYS[i]), redis.call('ZCARD', KEYS[count + i])
  local limit = tonumber(ARGV[2 + i])
  local kept = math.floor(limit / {KEPT})
  if held >= limit or (ARGV[2] ~= 'all' and limit - held <= kept and own >= kept)
    or (ARGV[2] == 'wanted' and own >= math.ceil(limit / 2)) then
    return {{i, held}}
  end
end
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], now + {LIFE_MS}, ARGV[1])
  redis.call('PEXPIRE', KEYS[i], 2 * {LIFE_MS})
end
return {{0, 0}}
"""
"""KEYS: each limit's slots, then those of the consumer at each. ARGV: the lease, `wanted` where others wait
or `all` where there are no others, each limit. Gives which of them is full (from 1; 0: none) and how many are
held there. The rules are those of `waiting.Pool`."""

RENEW = f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 1, #KEYS do
  redis.call('ZADD', KEYS[i], now + {LIFE_MS}, ARGV[i])
  redis.call('PEXPIRE', KEYS[i], 2 * {LIFE_MS})
end
return redis.call('ZCARD', KEYS[1])
"""
"""KEYS: the processes, then sets of slots. ARGV: this process, then a lease for each. Gives how many
processes there are."""


class _Asked(NamedTuple):
    lease: Lease
    wanted: bool
    answer: asyncio.Future[Denied | None]


class RedisLeases:
    """One process's leases. `prefix` is that of all our names in Redis, `worker` this process's name."""

    def __init__(self, url: str, prefix: str, worker: str) -> None:
        self._url = url
        self._prefix = prefix
        self._worker = worker
        self._held: dict[int, Lease] = {}
        self._gone: deque[Lease] = deque(maxlen=MOST_GONE)
        self._asking: list[_Asked] = []
        self._asked: list[_Asked] = []
        """Those whose question is on its way."""
        self._some = asyncio.Event()
        self._told = False
        self.answers = asyncio.Event()
        """Set while Redis is there."""
        self.processes = 1
        """As of when it last answered."""

    def share(self, concurrency: int) -> int:
        """All of a limit while Redis counts; else what falls to one of the processes there were."""
        return concurrency if self.answers.is_set() else max(1, concurrency // self.processes)

    async def take(self, lease: Lease, *, wanted: bool) -> Denied | None:
        """Leases a slot of each limit at once; None where it was given."""
        if not self.answers.is_set():
            self._held[lease.id] = lease
            return None
        asked = _Asked(lease, wanted, asyncio.get_running_loop().create_future())
        self._asking.append(asked)
        self._some.set()
        return await asked.answer

    def give_back(self, lease: Lease) -> None:
        """Gives a lease back, soon."""
        if self._held.pop(lease.id, None) is not None:
            self._gone.append(lease)
            self._some.set()

    async def run(self) -> None:
        """Asks, gives back and renews until it is cancelled."""
        while True:
            client = Redis.from_url(
                self._url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
            )
            try:
                await self._renew(client)
                ended()
                log.log(logging.INFO if self._told else logging.DEBUG, "Redis counts slots")
                self._told = False
                self.answers.set()
                await self._serve(client)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._told:
                    log.warning(
                        "Redis does not answer (%s); each process keeps to its share of the limits",
                        type(error).__name__,
                    )
                self._told = True
            except asyncio.CancelledError:
                if self._gone and self.answers.is_set():
                    with suppress(RedisError, OSError, TimeoutError):  # or they are reaped
                        await self._send(client)
                raise
            finally:
                self.answers.clear()
                self._let_in()
                await client.aclose()
            ended()
            await asyncio.sleep(PAUSE)

    async def _serve(self, client: Redis) -> None:
        clock = asyncio.get_running_loop().time
        due = clock() + BEAT
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._some.wait()
            self._some.clear()
            if self._gone or self._asking:
                await self._send(client)
                ended()
            if clock() >= due:
                await self._renew(client)
                ended()
                due = clock() + BEAT

    async def _send(self, client: Redis) -> None:
        """Gives back what is to be given back, and asks for those who ask."""
        gone = list(self._gone)
        self._gone.clear()
        self._asked, self._asking = self._asking, []
        pipeline = client.pipeline(transaction=False)
        for name, members in self._by_name(gone).items():
            pipeline.zrem(name, *members)
        given_back = len(pipeline)
        for lease, wanted, _ in self._asked:
            limits = [str(limit.concurrency) for limit in lease.limits]
            names = self._names(lease)
            part = "all" if not lease.fair else "wanted" if wanted else "kept"
            pipeline.eval(TAKE, len(names), *names, self._member(lease), part, *limits)
        try:
            async with asyncio.timeout(TIMEOUT):
                replies = await pipeline.execute()
        except BaseException:
            self._gone.extendleft(gone)
            raise
        for asked, (full, held) in zip(self._asked, replies[given_back:], strict=True):
            self._answer(asked, Denied(asked.lease.limits[full - 1], held) if full else None)
        self._asked = []

    async def _renew(self, client: Redis) -> None:
        """Says that this process is alive, and what it holds, be it that Redis has lost it."""
        names, members = [f"{self._prefix}processes"], [self._worker]
        for name, held in self._by_name(self._held.values()).items():
            names += [name] * len(held)
            members += held
        async with asyncio.timeout(TIMEOUT):
            self.processes = max(1, int(await client.eval(RENEW, len(names), *names, *members)))

    def _answer(self, asked: _Asked, denied: Denied | None) -> None:
        if denied is None:
            self._held[asked.lease.id] = asked.lease
        if not asked.answer.done():
            asked.answer.set_result(denied)
        elif denied is None:  # it was given, but the client has left
            self.give_back(asked.lease)

    def _let_in(self) -> None:
        """Answers all who ask while Redis does not: their process's own count has let them through."""
        for asked in (*self._asked, *self._asking):
            self._answer(asked, None)
        self._asked, self._asking = [], []

    def _names(self, lease: Lease) -> list[str]:
        names = [f"{self._prefix}slots:{limit.place}:{limit.id}" for limit in lease.limits]
        return names + [f"{name}:{lease.consumer}" for name in names]

    def _member(self, lease: Lease) -> str:
        return f"{self._worker}:{lease.id}"

    def _by_name(self, leases: Iterable[Lease]) -> dict[str, list[str]]:
        """The members of each set in Redis."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for lease in leases:
            for name in self._names(lease):
                found[name].append(self._member(lease))
        return found
