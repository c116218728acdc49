"""The simulator in a thread with a loop of its own, for callers that block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

from simulator.core import Seen
from simulator.server import Simulator


class Threaded(Simulator):
    """A simulator whose loop runs elsewhere. `script`, `reset` and `requests` may be used from any thread."""

    loop: asyncio.AbstractEventLoop

    def wait(self, count: int, within: float = 10) -> Seen:
        """As `wait_for`, blocking the caller's thread. Raises TimeoutError."""
        return asyncio.run_coroutine_threadsafe(self.wait_for(count, within), self.loop).result(within + 5)

    def wait_gone(self, seen: Seen, within: float = 10) -> None:
        """Block until the client of this request has left before its end. Raises TimeoutError."""

        async def gone() -> None:
            async with asyncio.timeout(within):
                await seen.gone.wait()

        asyncio.run_coroutine_threadsafe(gone(), self.loop).result(within + 5)


@contextlib.contextmanager
def running(*, pace: int = 0, host: str = "127.0.0.1", port: int = 0) -> Iterator[Threaded]:
    """A simulator that listens while the block runs. Raises OSError where the port is taken."""
    simulator = Threaded(pace=pace)
    simulator.loop = asyncio.new_event_loop()
    thread = threading.Thread(target=simulator.loop.run_forever, name="simulator", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(simulator.start(host, port), simulator.loop).result()
        yield simulator
        asyncio.run_coroutine_threadsafe(simulator.stop(), simulator.loop).result()
    finally:
        simulator.loop.call_soon_threadsafe(simulator.loop.stop)
        thread.join()
        simulator.loop.close()
