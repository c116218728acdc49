"""The relay asks by itself whether a place answers: for the list of models, which no vendor bills and every
format has. A request of one token would show more, but needs a model, parameters that this model takes, and
money. A probe has no caller and leaves no record, so that nobody is billed for it; its own cost is nothing.

Each process probes for itself, as each decides for itself who is well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from providers.catalog import Catalog
from providers.scrub import scrub, secrets_of
from providers.types import Target
from relay import headers as header_rules
from relay.errors import UpstreamFailure
from relay.failover import meant
from relay.health import Health, Turn
from relay.probes import EARLY, Place, Probe, Probes
from relay.upstream import Outgoing, Upstream
from wire import FORMATS, azure
from wire.urls import MODELS_PATH, join

log = logging.getLogger("aether.relay")

TICK = 0.5
PATIENCE = 10.0
"""Seconds for an answer."""
ERROR_BYTES = 256 * 1024
LATE = 60.0
"""Seconds after which nobody waits any more for the probe that was asked for."""
AT_ONCE = 8
"""Probes under way at a time."""
HEADERS = (
    (b"user-agent", b"aether"),
    (b"accept", b"application/json"),
    (b"anthropic-version", b"2023-06-01"),
)
NOWHERE = "not probed: no live model is deployed there"
OCCUPIED = "not probed: a request is finding out already"


class Prober:
    """Sends the probes of one process. `catalog` gives the one in force; `turned` hears what changed in the
    health of keys and endpoints, `told` how each probe ended."""

    def __init__(
        self,
        *,
        catalog: Callable[[], Catalog],
        health: Health,
        upstream: Upstream,
        turned: Callable[[Sequence[Turn]], None],
        told: Callable[[Iterable[Place], str], None],
        chance: Callable[[], float],
    ) -> None:
        self._catalog = catalog
        self._health = health
        self._upstream = upstream
        self._turned = turned
        self._told = told
        self._probes = Probes(chance)
        self._obeyed: dict[Place, float] = {}
        self._busy: set[Place] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, table: str, number: int) -> None:
        """Has a key or endpoint probed as soon as possible."""
        self._probes.ask((table, number))

    def obey(self, table: str, number: int, asked_at: float, wall: float) -> None:
        """As `ask`, for what an operator asked for at an instant, once; both are Unix seconds. What was asked
        for long ago, as by a row that is read again for another reason, is over."""
        self._obeyed = {place: at for place, at in self._obeyed.items() if wall - at < LATE}
        if wall - asked_at < LATE and asked_at > self._obeyed.get((table, number), 0):
            self._obeyed[table, number] = asked_at
            self.ask(table, number)

    async def run(self) -> None:
        """Probes what is due until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(TICK)
                try:
                    for probe in self._probes.due(self._catalog().places, self._health, time.monotonic()):
                        self._begin(probe)
                except Exception:
                    log.exception("the probes cannot be planned")
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, probe: Probe) -> None:
        target = probe.target
        if target is None:
            self._told([probe.place], NOWHERE)
            return
        places = {("key", target.key_id), ("endpoint", target.endpoint_id)}
        if places & self._busy or len(self._tasks) >= AT_ONCE:
            self._probes.put_off(probe)
            self._health.keep_refused(target, time.monotonic(), 2 * EARLY)
            return
        self._busy |= places
        task = asyncio.create_task(self._probe(target))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(done, places))

    def _ended(self, task: asyncio.Task[None], places: set[Place]) -> None:
        self._tasks.discard(task)
        self._busy -= places
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a probe failed inside the relay", exc_info=error)

    async def _probe(self, target: Target) -> None:
        places = (("key", target.key_id), ("endpoint", target.endpoint_id))
        mark, began = object(), time.monotonic()
        if not self._health.probing(target, mark, began, PATIENCE):
            self._told(places, OCCUPIED)
            return
        reason, retry_after, words = "", None, "answers"
        try:
            try:
                await self._ask(target)
            except UpstreamFailure as failure:
                reason = meant(
                    failure, self._catalog().rules, provider_id=target.provider_id, wire_format=target.format
                ).reason
                retry_after = failure.retry_after
                said = scrub(failure.text, *secrets_of(target), base_url=target.base_url)
                words = f"{reason.replace('_', ' ')}: {said}".rstrip(": ")
            now = time.monotonic()
            self._turned(self._health.probed(target, reason, retry_after, now))
        finally:
            self._health.leave(target, mark)
        self._told(places, f"{words} ({round((now - began) * 1000)} ms)")

    async def _ask(self, target: Target) -> None:
        """Asks for the list of models. Raises UpstreamFailure where it does not come."""
        outgoing = Outgoing(
            "GET",
            azure.models_url(target.base_url)
            if azure.QUIRK in target.quirks
            else join(target.base_url, MODELS_PATH[target.format]),
            header_rules.to_upstream(HEADERS, target),
            None,
            connect_timeout=PATIENCE,
            first_byte_timeout=PATIENCE,
            on_sent=lambda: None,
        )
        due = time.monotonic() + PATIENCE
        opened = await self._upstream.open(target, outgoing)
        try:
            if 300 <= opened.status < 400:
                raise UpstreamFailure("redirect", phase="headers", status=opened.status, text="a redirect")
            if opened.status >= 400:
                body = b""  # the status alone still tells
                with suppress(UpstreamFailure, TimeoutError):
                    body = await opened.read_all(ERROR_BYTES, due)
                raise UpstreamFailure(
                    phase="headers", status=opened.status, retry_after=opened.retry_after,
                    error=FORMATS[target.format].read_error(opened.status, body),
                )  # fmt: skip
            # A list may be long: its beginning tells enough.
            beginning = await opened.read(due)
            if not beginning:
                raise UpstreamFailure("empty", phase="headers", text="an empty answer")
            if opened.content_type.lower().startswith("text/html") or beginning.lstrip()[:1] == b"<":
                raise UpstreamFailure("html", phase="headers", text="an HTML page")
        except TimeoutError as error:
            raise UpstreamFailure("first_byte_timeout", phase="headers", text="no answer in time") from error
        finally:
            opened.close()
