"""The pages' own allowance: what the relay has no room for does not concern them, and the other way round."""

from __future__ import annotations

from relay.door import Application, Receive, Scope, Send

HEALTH = frozenset({"/healthz", "/readyz"})
"""Always answered."""
_FULL = b"Too many pages are being made right now; try again in a moment.\n"


class Allowance:
    """Serves at most `most` requests at a time, health aside; the others get a 503."""

    def __init__(self, application: Application, most: int) -> None:
        self._application = application
        self._most = most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in HEALTH:
            await self._application(scope, receive, send)
            return
        if self._under_way >= self._most:
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(_FULL)).encode()),
                (b"retry-after", b"2"),
                (b"cache-control", b"no-store"),
            ]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": _FULL})
            return
        self._under_way += 1
        try:
            await self._application(scope, receive, send)
        finally:
            self._under_way -= 1
