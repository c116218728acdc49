"""uvicorn's HTTP protocol with the one thing that ASGI lacks: a way to leave a client that does not read."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay.call import CUT


class Protocol(HttpToolsProtocol):
    """Offers the application the extension `aether.cut`."""

    def on_message_begin(self) -> None:
        """Begins the scope of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {CUT: self.transport.abort}  # type: ignore[dict-item]  # not ASGI's own
