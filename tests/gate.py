"""A gate before a server: what goes through it can be held up or cut off, as by a network or a machine that
fails, while the server itself lives on and serves others."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.servers import free_port

Pair = tuple[socket.socket, socket.socket]


class Gate:
    """Forwards TCP connections to the server named by `before`. Use as a context manager; open at first."""

    def __init__(self) -> None:
        self.port = free_port()
        self._target = ("", 0)
        self._listener: socket.socket | None = None
        self._pairs: list[Pair] = []
        self._flowing = threading.Event()
        self._flowing.set()

    def before(self, url: str) -> str:
        """Stands before the server at `url`; returns the address to reach it by."""
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        account = f"{parts.username}@" if parts.username else ""
        return parts._replace(netloc=f"{account}127.0.0.1:{self.port}").geturl()

    def behind(self, url: str) -> str:
        """The server's own address, given the one that `before` gave; an empty one stays empty."""
        return url.replace(f"127.0.0.1:{self.port}", "{}:{}".format(*self._target))

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flowing.set()
        self.shut()

    def open(self) -> None:
        """Lets everything through again."""
        self._flowing.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, args=[self._listener], name="gate", daemon=True).start()

    def shut(self) -> None:
        """Cuts every connection, and refuses new ones."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for pair in self._pairs:
            _cut(pair)
        self._pairs.clear()

    def mute(self) -> None:
        """Takes connections and bytes, and passes nothing on until it is open again."""
        self._flowing.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            pair = (client, socket.create_connection(self._target))
            self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pour, args=[source, sink, pair], daemon=True).start()

    def _pour(self, source: socket.socket, sink: socket.socket, pair: Pair) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                self._flowing.wait()
                sink.sendall(data)
        _cut(pair)


def _cut(pair: Pair) -> None:
    for each in pair:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
