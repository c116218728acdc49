"""A relay in this very process: real sockets, both doors, the simulator as its vendors."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from asgiref.sync import sync_to_async
from django.core.asgi import get_asgi_application
from django.db import connection

from aether.connections import Connections, Limits
from aether.server import protocol
from consumers.models import ApiKey, Consumer
from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay.breaker import Rules
from relay.door import BodyLimit, RelayDoor
from relay.engine import Engine
from relay.knobs import Knobs
from simulator.server import Simulator
from tests.journals import lines

BASES = {"openai_chat": "/v1", "openai_responses": "/v1", "anthropic": "", "gemini": ""}
PRICE = {"price_input": "1", "price_output": "2"}


@cache
def django_application() -> Any:
    """Django's side of the server. Making it takes 60 ms: it looks at every static file."""
    return get_asgi_application()


@dataclass
class House:
    """The relay under test, as its callers and its operator see it."""

    engine: Engine
    vendor: Simulator
    url: str
    secret: str
    data_dir: Path
    http: httpx.AsyncClient = field(repr=False)

    def journal(self, kind: str = "final") -> list[dict[str, Any]]:
        """The lines of a kind that the relay wrote, oldest first."""
        return lines(self.data_dir / "journals", kind)

    def record(self) -> dict[str, Any]:
        """The one record that was written."""
        (final,) = self.journal()
        record: dict[str, Any] = final["record"]
        return record

    def attempts(self) -> list[dict[str, Any]]:
        """The attempts of the one record."""
        (final,) = self.journal()
        attempts: list[dict[str, Any]] = final["attempts"]
        return attempts

    async def settled(self, count: int = 1, within: float = 5) -> list[dict[str, Any]]:
        """The final lines, once there are `count`."""
        async with asyncio.timeout(within):
            while len(found := self.journal()) < count:
                await asyncio.sleep(0.01)
        return found

    def afresh(self) -> None:
        """As if nothing had been asked yet: nothing is held against anybody, no session keeps to a key."""
        self.engine.affinity.clear()
        health = self.engine.health
        held = {("key", each) for each in health.keys} | {("endpoint", each) for each in health.endpoints}
        for table, number in held | {pair[:2] for pair in health.parked}:
            health.recover(table, number)
        self.engine.in_flight.learned.clear()
        self.engine.retries.groups.clear()

    async def idle(self, within: float = 5) -> None:
        """Waits until nothing is under way any more; then asserts that nothing was kept."""
        async with asyncio.timeout(within):
            while self.engine.open or self.engine.in_flight.slots or self.engine.upstream.connections[0]:
                await asyncio.sleep(0.01)
        assert self.engine.body_bytes == 0


def configure(
    vendor_url: str,
    *,
    formats: Sequence[str] = tuple(BASES),
    keys: Sequence[str] = ("sk-vendor-first-key-1",),
    models: Sequence[str] = ("sim",),
    price: dict[str, str] | None = None,
    conversion: str = "off",
) -> str:
    """Fills the tables; returns the API key's secret."""
    provider = Provider.objects.create(name="vendor")
    for each in formats:
        Endpoint.objects.create(
            provider=provider, format=each, base_url=vendor_url + BASES[each], allow_private=True
        )
    for index, secret in enumerate(keys):
        key = Key(provider=provider, name=f"key-{index + 1}", priority=index)
        key.set_secret(secret)
        key.save()
    for name in models:
        model = Model(name=name, conversion=conversion, **(PRICE if price is None else price))
        model.full_clean()
        model.save()
        Deployment.objects.create(model=model, provider=provider, upstream_name=name)
    consumer = Consumer.objects.create(name="alice")
    return ApiKey.issue(consumer=consumer, name="laptop")[1]


@asynccontextmanager
async def served(application: Any, limits: Limits | None = None) -> AsyncIterator[str]:
    """`application` behind a real server with the flags of `manage.py serve`; yields its address."""
    everyone, listener = Connections(limits or Limits()), socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            application, http=protocol(everyone), ws="none", lifespan="off", interface="asgi3",
            log_config=None, access_log=False, server_header=False, proxy_headers=False,
        )
    )  # fmt: skip
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    await server.on_tick(0)  # sets the date; serve(), which repeats it, would take 0.2 s to notice the end
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for each in server.servers:
            each.close()
        state = server.server_state
        for connection in list(state.connections):
            connection.shutdown()
        if state.tasks:
            _, late = await asyncio.wait(state.tasks, timeout=2)
            for task in late:
                task.cancel()
        await asyncio.sleep(0)


def _leave_the_database() -> None:
    """PostgreSQL drops no database that a thread is still connected to. SQLite's is soon wanted again."""
    if connection.vendor == "postgresql":
        connection.close()


@asynccontextmanager
async def house(
    door: str,
    *,
    knobs: dict[str, Any] | None = None,
    prepare: Callable[[str], object] | None = None,
    limits: Limits | None = None,
    rules: Rules | None = None,
    **options: Any,
) -> AsyncIterator[House]:
    """A relay behind `door` (asgi or django), one simulator behind it, one API key for it. `prepare` gets the
    simulator's address once the ordinary rows stand, before the engine reads them. `limits` are the server's,
    for clients' connections; `rules` those of breakers and cooldowns, for a clock that runs faster."""
    async with Simulator() as vendor:
        secret = await sync_to_async(configure)(vendor.url, **options)
        if prepare is not None:
            await sync_to_async(prepare)(vendor.url)
        base = Knobs.from_settings()
        values = {name: getattr(base, name) for name in Knobs.__slots__} | (knobs or {})
        application = RelayDoor() if door == "asgi" else BodyLimit(django_application())
        async with (
            Engine(Knobs(**values), rules) as engine,
            served(application, limits) as url,
            httpx.AsyncClient(
                base_url=url, trust_env=False, verify=False, timeout=30, headers={"x-api-key": secret}
            ) as http,
        ):
            try:
                yield House(engine, vendor, url, secret, base.data_dir, http)
            finally:
                await sync_to_async(_leave_the_database)()
