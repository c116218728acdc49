"""Opens the engine before the server listens, and drains it when the server stops."""

from __future__ import annotations

import logging

from relay.door import Receive, Scope, Send
from relay.engine import Engine
from relay.knobs import Knobs

log = logging.getLogger("aether")


class Lifespan:
    """The server's start and stop, as ASGI tells them."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        engine = Engine(Knobs.from_settings())
        try:
            await engine.__aenter__()
        except Exception:
            log.exception("the engine could not be opened")
            await send(
                {"type": "lifespan.startup.failed", "message": "the engine could not be opened; see the log"}
            )
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await engine.__aexit__()
        await send({"type": "lifespan.shutdown.complete"})
