"""The vendor itself: what it has seen, what it was told to play, and the answer to each request. No
sockets."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote

from simulator.faults import FAULTS
from simulator.options import parse
from simulator.play import Act, Headers, Play, Step

MAX_SECRETS = 10_000
MAX_PLAYS = 10_000
MAX_SEEN = 2_000
MAX_SEEN_BYTES = 256 * 2**20
_EARLY = re.compile(rb"fault-(body-(?:reset|refuse|early))(?![\w-])")
_BEARER = re.compile(r"bearer\s+(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Raw:
    """A scripted answer given in bytes.

    `pieces` are written one by one, `pause` seconds apart. With `head` they are the body of an answer with
    this status and these headers, chunked; without it they are all that is written, status line included.
    `then`: "close" (FIN), "reset", "stall", or "keep" (the message is complete, the connection stays).
    """

    pieces: tuple[bytes, ...]
    pause: float = 0.001
    head: tuple[int, tuple[tuple[str, str], ...]] | None = None
    then: str = "close"

    def play(self) -> Play:
        steps: list[Step] = []
        for index, piece in enumerate(self.pieces):
            if index and self.pause:
                steps.append(self.pause)
            steps.append(piece)
        act = {"close": Act.FIN, "reset": Act.RESET, "stall": Act.STALL}.get(self.then)
        if act is not None and (self.head is None or act is not Act.FIN):
            steps.append(act)
        if self.head is None:
            return Play(raw=True, steps=steps, close=self.then != "keep")
        status, headers = self.head
        return Play(status, list(headers), steps, close=self.then != "keep")


@dataclass(slots=True, eq=False)
class Seen:
    """A request as it came. `headers` keep their order and their case. `left`: the client closed before
    the answer ended, and `gone` is set then; `done` is set when the exchange is over, however it ended."""

    method: str
    path: str
    query: str
    headers: Headers
    secret: str
    time: float
    play: str | Raw = ""
    body: bytes = b""
    left: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def header(self, name: str) -> str | None:
        """The first header of this name, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def end(self, *, left: bool) -> None:
        """The exchange is over."""
        if not self.done.is_set():
            self.left = left
            if left:
                self.gone.set()
            self.done.set()


def _secret(headers: Headers, query: str) -> str:
    told = {name.lower(): value for name, value in headers}
    for name in ("x-api-key", "x-goog-api-key", "api-key"):
        if told.get(name):
            return told[name]
    bearer = _BEARER.fullmatch(told.get("authorization", ""))
    if bearer:
        return bearer[1].strip()
    return (parse_qs(query).get("key") or [""])[0] if query else ""


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)


class Vendor:
    """State of one simulated vendor. `pace`: milliseconds between frames for plain names. `control`:
    whether scripts are taken and requests remembered, which a public demo must not do."""

    def __init__(self, *, pace: int = 0, control: bool = True) -> None:
        self.pace = pace
        self.control = control
        self.requests: deque[Seen] = deque(maxlen=MAX_SEEN)
        self.total = 0
        """Requests seen since the start or the last reset, the forgotten ones too."""
        self._scripts: dict[str, deque[str | Raw]] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._pauses: set[asyncio.Future[None]] = set()
        self._seen_bytes = 0
        self._prefix = secrets.token_hex(4)
        self._numbers = itertools.count(1)
        self.stored: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    def fresh_id(self) -> str:
        """32 hexadecimal digits, never twice."""
        return f"{self._prefix}{next(self._numbers):024x}"

    def script(
        self,
        plays: Sequence[str | Raw] | str = (),
        *,
        secret: str = "",
        raw: Iterable[bytes] | None = None,
        body: Iterable[bytes] | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        pause: float = 0.001,
        then: str = "close",
    ) -> None:
        """Tell what the next requests with this upstream secret get (empty: any secret without a script of
        its own).

        Each play is options (`"fault-429.retry-7"`, added to those of the model name) or Raw bytes; one is
        used up by each request, the last one repeats. `raw` appends a play of bytes, status line and all;
        `body` one of bytes behind a head that the simulator writes. Raises BadOptionError for a play that
        is none, ValueError beyond bounds.
        """
        queue: list[str | Raw] = [plays] if isinstance(plays, str) else list(plays)
        if raw is not None:
            queue.append(Raw(tuple(raw), pause, None, then))
        if body is not None:
            told = {"content-type": "text/event-stream", **(headers or {})}
            queue.append(Raw(tuple(body), pause, (status, tuple(told.items())), then))
        if not queue:
            self._scripts.pop(secret, None)
            return
        if len(queue) > MAX_PLAYS or (secret not in self._scripts and len(self._scripts) >= MAX_SECRETS):
            raise ValueError("too many plays or secrets")
        for each in queue:
            if isinstance(each, str):
                parse("", each)
        self._scripts[secret] = deque(queue)

    def reset(self) -> None:
        """Forget scripts, requests and stored responses."""
        self._scripts.clear()
        self.requests.clear()
        self.stored.clear()
        self.total = self._seen_bytes = 0

    async def wait_for(self, count: int, within: float = 10) -> Seen:
        """Wait until `count` requests have come since the start or the last reset; gives the latest. Raises
        TimeoutError."""
        if self.total < count:
            future = asyncio.get_running_loop().create_future()
            self._waiters.append((count, future))
            async with asyncio.timeout(within):
                await future
        return self.requests[-1]

    async def pause(self, seconds: float) -> None:
        """Lets time pass in an answer, until somebody calls `hurry`."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        clock = loop.call_later(seconds, _end, over)
        self._pauses.add(over)
        try:
            await over
        finally:
            clock.cancel()
            self._pauses.discard(over)

    def hurry(self) -> None:
        """Ends every pause of every answer that is under way: a test that has seen what it waited for need
        not guess how long that takes."""
        for over in self._pauses:
            _end(over)

    def begin(self, method: str, target: str, headers: Headers) -> Seen:
        """A request's head is here: remember it, and take what it is to be played."""
        path, _, query = target.partition("?")
        path = unquote(path)
        secret = _secret(headers, query)
        seen = Seen(method, path, query, headers, secret, time.time())
        if not self.control or path.startswith("/_simulator/"):
            return seen
        seen.play = self._next(secret)
        if len(self.requests) == MAX_SEEN:
            self._seen_bytes -= len(self.requests[0].body)
        self.requests.append(seen)
        self.total += 1
        for waiter in [each for each in self._waiters if each[0] <= self.total]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)
        return seen

    def _next(self, secret: str) -> str | Raw:
        queue = self._scripts.get(secret) or self._scripts.get("")
        if not queue:
            return ""
        return queue.popleft() if len(queue) > 1 else queue[0]

    def early(self, seen: Seen, piece: bytes) -> str:
        """The fault of stage `body` to play now, with only this much of the body read; empty for none."""
        if isinstance(seen.play, Raw):
            return ""
        fault = parse("", seen.play).fault if seen.play else ""
        if fault:
            return fault if FAULTS[fault].stage == "body" else ""
        found = _EARLY.search(seen.path.encode()) or _EARLY.search(piece[:65536])
        return found[1].decode() if found else ""

    def keep_body(self, seen: Seen, body: bytes) -> None:
        """Remember the body; the oldest bodies go when all together are too many."""
        seen.body = body
        if not self.control:
            return
        self._seen_bytes += len(body)
        for old in self.requests:
            if self._seen_bytes <= MAX_SEEN_BYTES:
                break
            self._seen_bytes -= len(old.body)
            old.body = b""
