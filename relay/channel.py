"""Redis as the way by which processes tell each other hints. No request ever waits for it: without Redis each
process goes by what it sees itself."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from relay.hints import Told

log = logging.getLogger("aether.relay")

MOST_WAITING = 2_000
"""Hints that wait to be sent; beyond that the oldest are lost."""
TIMEOUT = 0.05
"""Seconds for a command (resilience.md, "Redis lost")."""
PAUSE = 1.0
"""Seconds before Redis is tried again after it failed."""
LISTEN = 1.0


_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(list[Told]).decode


def ended() -> None:
    """Raises CancelledError where this task was told to end. redis-py sends through asyncio.wait_for, which
    in Python 3.11 swallows a cancellation that comes just as it is done."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Channel:
    """One process's end of the channel: `tell` puts a hint on its way, `take` gets those of the others."""

    def __init__(self, url: str, name: str, worker: str, take: Callable[[Told], None]) -> None:
        self.worker = worker
        self._url = url
        self._name = name
        self._take = take
        self._waiting: deque[Told] = deque(maxlen=MOST_WAITING)
        self._some = asyncio.Event()
        self.listening = asyncio.Event()
        self._down = False

    def tell(self, hints: Iterable[Told]) -> None:
        """Puts hints on their way. Never waits, never raises."""
        self._waiting.extend(hints)
        self._some.set()

    async def run(self) -> None:
        """Sends and listens until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stubbornly(self._send))
            tasks.create_task(self._stubbornly(self._listen))

    async def _stubbornly(self, work: Callable[[Redis], Awaitable[None]]) -> None:
        while True:
            client = Redis.from_url(
                self._url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
            )
            try:
                await work(client)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._down:
                    log.warning(
                        "Redis does not answer (%s); each process goes by itself", type(error).__name__
                    )
                self._down = True
            finally:
                await client.aclose()
            ended()
            await asyncio.sleep(PAUSE)

    async def _send(self, client: Redis) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            batch = list(self._waiting)
            self._waiting.clear()
            await client.publish(self._name, _ENCODE(batch))
            ended()
            self._well()

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub() as channel:
            try:
                await channel.subscribe(self._name)
                ended()
                self.listening.set()
                while True:
                    message = await channel.get_message(ignore_subscribe_messages=True, timeout=LISTEN)
                    self._well()
                    if message is not None:
                        self._hear(message["data"])
            finally:
                self.listening.clear()

    def _hear(self, data: bytes) -> None:
        try:
            hints = _DECODE(data)
        except msgspec.MsgspecError:
            log.warning("a hint in Redis cannot be read; another version may have written it")
            return
        for hint in hints:
            if hint.worker != self.worker:
                self._take(hint)

    def _well(self) -> None:
        if self._down:
            log.info("Redis answers again")
            self._down = False
