"""What is kept of conversations, by consumer and id: keepsakes (`wire.neutral.keepsakes`) by call, histories
(`relay.histories`) by answer; in this process, and, where there is a Redis, for the others too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from relay.channel import PAUSE, TIMEOUT, ended

log = logging.getLogger("aether.relay")

KEPT = 64 * 1024 * 1024
"""Bytes that a process keeps; beyond it the oldest go."""
LIFE = 24 * 3600
"""Seconds that Redis keeps one."""
MOST_ASKED, LONGEST = 256, 200
"""Calls of one history that are looked for, the last ones; characters of an id."""
MOST_WAITING = 500
"""Keepsakes that wait to be sent to Redis; beyond it the oldest are lost there."""

_ENCODE = msgspec.msgpack.Encoder().encode
Name = tuple[int, str]
"""Consumer and call, or answer: nobody finds another's."""
Kept = TypeVar("Kept", bound=msgspec.Struct)


class Keeping(Generic[Kept]):
    """What is kept of calls, or of answers: values of one type, for `life` seconds in Redis under names that
    begin with `kind`. `url` "": for this process alone."""

    def __init__(
        self, url: str, prefix: str, type_: type[Kept], *, kind: str, size: int = KEPT, life: int = LIFE
    ) -> None:
        self._decode = msgspec.msgpack.Decoder(type_).decode
        self._size = size
        self._life = life
        self._kept: OrderedDict[Name, bytes] = OrderedDict()
        self._held = 0
        self._prefix = f"{prefix}{kind}:"
        self._waiting: deque[tuple[Name, bytes]] = deque(maxlen=MOST_WAITING)
        self._some = asyncio.Event()
        self._again_at = 0.0
        self._client: Redis | None = None
        if url:
            self._client = Redis.from_url(
                url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
            )

    def put(self, consumer_id: int, kept: Mapping[str, Kept]) -> None:
        """Keeps these, by id. Never waits."""
        for call_id, keepsake in kept.items():
            name, data = (consumer_id, call_id), _ENCODE(keepsake)
            self._hold(name, data)
            if self._client is not None:
                self._waiting.append((name, data))
                self._some.set()

    async def find(self, consumer_id: int, call_ids: Iterable[str]) -> dict[str, Kept]:
        """What is kept for these calls. Waits for Redis a twentieth of a second at most, and not at all while
        it is known to be away."""
        found: dict[str, Kept] = {}
        missing: list[str] = []
        for call_id in list(call_ids)[-MOST_ASKED:]:
            if len(call_id) > LONGEST:
                continue
            if (data := self._kept.get((consumer_id, call_id))) is not None:
                self._kept.move_to_end((consumer_id, call_id))
                found[call_id] = self._decode(data)
            else:
                missing.append(call_id)
        if missing and self._client is not None and time.monotonic() >= self._again_at:
            for call_id, data in await self._fetch(self._client, consumer_id, missing):
                try:
                    found[call_id] = self._decode(data)
                except msgspec.MsgspecError:
                    log.warning("what Redis kept cannot be read; another version may have written it")
                else:
                    self._hold((consumer_id, call_id), data)
        return found

    async def run(self) -> None:
        """Brings to Redis what is put, until it is cancelled."""
        if self._client is None:
            return
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                await self._send(self._client)
                ended()
        finally:
            await self._client.aclose()

    async def _send(self, client: Redis) -> None:
        while self._waiting:
            async with client.pipeline(transaction=False) as batch:
                for _ in range(len(self._waiting)):
                    name, data = self._waiting.popleft()
                    batch.set(self._key(name), data, ex=self._life)
                try:
                    await batch.execute()
                except (RedisError, OSError, TimeoutError) as error:
                    self._away(error)
                    await asyncio.sleep(PAUSE)

    async def _fetch(self, client: Redis, consumer_id: int, call_ids: list[str]) -> list[tuple[str, bytes]]:
        try:
            async with asyncio.timeout(TIMEOUT):
                values = await client.mget([self._key((consumer_id, each)) for each in call_ids])
        except (RedisError, OSError, TimeoutError) as error:
            self._away(error)
            return []
        return [(each, data) for each, data in zip(call_ids, values, strict=True) if isinstance(data, bytes)]

    def _away(self, error: Exception) -> None:
        if time.monotonic() >= self._again_at:
            log.warning(
                "Redis keeps nothing of conversations (%s); each process has its own", type(error).__name__
            )
        self._again_at = time.monotonic() + PAUSE

    def _hold(self, name: Name, data: bytes) -> None:
        self._held += len(data) - len(self._kept.get(name, b""))
        self._kept[name] = data
        self._kept.move_to_end(name)
        while self._held > self._size:
            _, gone = self._kept.popitem(last=False)
            self._held -= len(gone)

    def _key(self, name: Name) -> str:
        return f"{self._prefix}{name[0]}:{name[1]}"
