"""uvicorn's HTTP protocol with what ASGI lacks: a way to leave a client that does not read, and a word when
one leaves us."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relay.call import CUT, LEFT


class Protocol(HttpToolsProtocol):
    """Offers the application the extensions `aether.cut` and `aether.left`."""

    _left: Callable[[], None] | None = None

    def on_message_begin(self) -> None:
        """Begins the scope of a request."""
        super().on_message_begin()
        # Not ASGI's own: its type knows no functions.
        self.scope["extensions"] = {CUT: self.transport.abort, LEFT: self._watch}  # type: ignore[dict-item]

    def _watch(self, left: Callable[[], None] | None) -> None:
        self._left = left
        self.flow.resume_reading()  # or the end of the connection is not seen

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells who wants to know."""
        super().connection_lost(exc)
        if self._left is not None:
            left, self._left = self._left, None
            left()
