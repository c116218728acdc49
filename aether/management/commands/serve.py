"""`manage.py serve`: the one way the server is started."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import gc
import logging
import math
import os
import random
import resource
import signal
import socket
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils.translation import gettext as _

from aether.boot import ensure_database, ensure_migrated, ensure_secrets
from aether.connections import Connections, Limits
from aether.server import Acceptor, protocol
from aether.supervision import Recorder, RecorderFailed, recorder_command
from relay import engine as engines

log = logging.getLogger("aether")

OPEN_FILES = 65_536
"""Sockets and files that we ask the system to allow: two for each stream."""
M_MMAP_THRESHOLD, LARGE_BLOCK = -3, 1 << 20
"""glibc's own number for it, and the bytes from which a block of memory is the system's again once freed."""
TICK = 0.1
RECYCLE_TICKS = 10
"""Between two looks at whether the process is to be recycled; uvicorn makes ten a second."""
LAST_WORDS_SECONDS = 5.0
"""Before the drain's end, in which requests that still run are told so, in their own format."""


class Command(BaseCommand):
    help = "Serves the relay and the admin, and keeps the recorder running beside them."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
        parser.add_argument(
            "--port", type=port_number, default=8000, help="port to listen on, 0 for any (default: 8000)"
        )
        parser.add_argument(
            "--workers", type=int, default=1, help="number of server processes (only 1 so far)"
        )

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        if workers != 1:
            raise CommandError(
                _(
                    "Only one server process is possible so far: many need shared limits."
                    " Start with --workers 1."
                )
            )
        os.umask(0o077)
        ensure_database()
        ensure_migrated()
        ensure_secrets()
        connections.close_all()
        signal.signal(signal.SIGTERM, _leave)
        signal.signal(signal.SIGINT, _leave)
        raise_open_files()
        give_large_blocks_back()
        recorder = Recorder(recorder_command(str(settings.BASE_DIR / "manage.py")))
        with hold_lock(), bind(host, port) as listener:
            try:
                recorder.start()
                self.run_server(listener)
            except RecorderFailed:
                raise CommandError(_("The recorder did not start: see its message above.")) from None
            finally:
                recorder.close()

    def run_server(self, listener: socket.socket) -> None:
        """Serves until SIGTERM, Ctrl-C or its recycling, then lets running requests finish."""
        # Half of the files: each request may need one more, to its upstream.
        connections = Connections(Limits.from_settings(connections=open_files() // 2))
        server = Server(
            uvicorn.Config(
                "aether.asgi:application",
                loop="uvloop",
                http=protocol(connections),
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=math.ceil(settings.RELAY_DRAIN_SECONDS),
            ),
            command=self,
            connections=connections,
        )
        # uvicorn sets its own while it serves, puts these back, and raises the signal it got once more.
        signal.signal(signal.SIGTERM, server.handle_exit)
        signal.signal(signal.SIGINT, server.handle_exit)
        server.run(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn's server, telling where it listens once it does, and letting running requests finish when it
    stops."""

    def __init__(self, config: uvicorn.Config, command: BaseCommand, connections: Connections) -> None:
        super().__init__(config)
        self.command = command
        self.connections = connections
        # Not all servers of a deployment at once.
        self.recycle_after = settings.RELAY_RECYCLE_REQUESTS * random.uniform(1, 1.1)
        self._hurried = False
        self.acceptors: list[Acceptor] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.acceptors = [Acceptor(listener, self._protocol) for listener in sockets or ()]
        gc.collect()
        gc.freeze()  # what is there now stays: to look through it takes a tenth of a second each time
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self.command.stdout.write(
                _("Listening on %(address)s") % {"address": f"http://{shown}:{port}"}, ending="\n"
            )
            self.command.stdout.flush()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Who presses Ctrl-C, or asks twice, waits for us: no load balancer has to be told first.
        self._hurried = self._hurried or self.should_exit or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        engine = engines.current()
        if engine is None:
            return await super().on_tick(counter)
        self.connections.keep_alive = not (engine.leaving or engine.shedding.closing)
        if counter % RECYCLE_TICKS == 0 and not engine.leaving and (why := self._worn_out(engine)):
            log.warning("%s: the server ends in good order, to be started again", why)
            return True
        return await super().on_tick(counter)

    def _worn_out(self, engine: engines.Engine) -> str:
        """Why the process is to be recycled; "" where it is not."""
        if self.recycle_after and self.server_state.total_requests >= self.recycle_after:
            return f"{self.server_state.total_requests} requests were served"
        most = settings.RELAY_RECYCLE_MEMORY_BYTES
        if most and (held := engine.memory.resident()) > most:
            return f"{held} bytes of memory are held"
        return ""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if engine := engines.current():
            engine.leaving = True
            await self._be_seen_leaving()
            engine.draining = True
            grace = max(0.0, settings.RELAY_DRAIN_SECONDS - LAST_WORDS_SECONDS)
            asyncio.get_running_loop().call_later(grace, engine.interrupt, "shutdown")
        for acceptor in self.acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    async def _be_seen_leaving(self) -> None:
        """Serves on, while `/readyz` tells load balancers to send no more."""
        end = time.monotonic() + settings.RELAY_SHUTDOWN_DELAY
        counter = 0
        while not self._hurried and time.monotonic() < end:
            await self.on_tick(counter)
            counter += 1
            await asyncio.sleep(TICK)


@contextmanager
def hold_lock() -> Iterator[None]:
    """Holds the data directory's serve.lock. Raises CommandError while another server has it."""
    descriptor = os.open(settings.AETHER_DATA_DIR / "serve.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CommandError(
                _("Another server runs on %(path)s: stop it, or give this one an AETHER_DATA_DIR of its own.")
                % {"path": settings.AETHER_DATA_DIR}
            ) from None
        yield
    finally:
        os.close(descriptor)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet: a port in use is told before anything is started.
    Raises CommandError."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise CommandError(
            _("Cannot listen on %(host)s port %(port)d (%(reason)s): choose another with --host and --port.")
            % {"host": host, "port": port, "reason": getattr(error, "strerror", None) or error}
        ) from None
    return listener


def port_number(text: str) -> int:
    """A port from the command line. Raises ArgumentTypeError: the system would take 70000 for 4464."""
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise ArgumentTypeError(_("%(text)s is no port: choose one from 0 to 65535") % {"text": text})
    return int(text)


def give_large_blocks_back() -> None:
    """Has glibc take large blocks from the system and give them back for good. Of itself it takes the next
    one from its heap as soon as one was freed, where bodies leave holes that cost a body's size once more."""
    with suppress(OSError, AttributeError):  # another C library has no such setting
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def raise_open_files() -> None:
    """Raises the limit of open files as far as the system allows, and is useful."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_files() -> int:
    """How many files this process may have open."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def _leave(signum: int, frame: FrameType | None) -> None:
    sys.exit(0)
