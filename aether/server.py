"""uvicorn's HTTP protocol with what ASGI lacks: the client's connection itself (`relay.call.Line`)."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from relay.call import LINE, Headers


class Protocol(HttpToolsProtocol):
    """Offers the application the extension `aether.line`."""

    left: Callable[[], None] | None = None

    def on_headers_complete(self) -> None:
        """Begins a request."""
        line = _Line(self)
        # Not ASGI's own: its type knows no such values.
        self.scope["extensions"] = {LINE: line}  # type: ignore[dict-item]
        super().on_headers_complete()
        line.cycle = self.cycle

    def connection_lost(self, exc: Exception | None) -> None:
        """Tells who wants to know."""
        super().connection_lost(exc)
        if self.left is not None:
            left, self.left = self.left, None
            left()


class _Line:
    """One request's view of its connection. What one turn of the loop brings of a streamed answer goes out in
    one write: each costs as much as a quarter of all else."""

    __slots__ = ("_held", "_protocol", "cycle")

    cycle: RequestResponseCycle

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._held: list[bytes] = []

    def cut(self) -> None:
        self._protocol.transport.abort()

    def watch(self, left: Callable[[], None] | None) -> None:
        self._protocol.left = left
        if left is not None:
            self._protocol.flow.resume_reading()  # or the end of the connection is not seen

    def reply(self, status: int, headers: Headers, body: bytes | None) -> bool:
        """As the cycle's own `send` would, less its messages and its look at each byte of each header: these
        are ours."""
        cycle = self.cycle
        waits = cycle.flow.write_paused or cycle.disconnected or cycle.response_started
        if waits or cycle.scope["method"] == "HEAD":
            return False
        head = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        if head.count(b"\n") != len(headers):
            raise ValueError("a header's value holds a line break")
        if not cycle.keep_alive:
            head += b"connection: close\r\n"
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        start = STATUS_LINE[status] + _lines(cycle.default_headers)
        if body is None:
            cycle.chunked_encoding = True
            self._hold(start, head, b"transfer-encoding: chunked\r\n\r\n")
        else:
            cycle.transport.write(b"%b%b\r\n%b" % (start, head, body))
            self._complete()
        return True

    def pour(self, piece: bytes) -> bool:
        cycle = self.cycle
        if cycle.flow.write_paused or cycle.disconnected or not cycle.chunked_encoding:
            self._flush()
            return False
        self._hold(b"%x\r\n" % len(piece), piece, b"\r\n")
        return True

    def end(self) -> bool:
        cycle = self.cycle
        if cycle.flow.write_paused or cycle.disconnected or not cycle.chunked_encoding:
            self._flush()
            return False
        self._held.append(b"0\r\n\r\n")
        self._flush()
        self._complete()
        return True

    def _hold(self, *parts: bytes) -> None:
        if not self._held:
            self._protocol.loop.call_soon(self._flush)
        self._held += parts

    def _flush(self) -> None:
        if self._held:
            data = b"".join(self._held)
            self._held.clear()
            if not self.cycle.disconnected:  # since it was poured
                self.cycle.transport.write(data)

    def _complete(self) -> None:
        cycle = self.cycle
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


_known: tuple[Headers, bytes] = ((), b"")


def _lines(headers: Headers) -> bytes:
    """Header lines of uvicorn's own, a list that it makes anew each second."""
    global _known  # noqa: PLW0603 - one server in a process
    known, lines = _known
    if known is not headers:
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        _known = (headers, lines)
    return lines
