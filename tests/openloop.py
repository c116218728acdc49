"""A crowd that asks at its own pace, whatever it is answered: an open loop, as a program of its own.

`python -m tests.openloop PORT KEY RAMP OVER AFTER` asks one by one for four spells, each of a second unless
`RAMP` is less than four; then ever more a second, for `RAMP` seconds or until somebody is turned away; then,
for `OVER` seconds, three times the highest rate whose 99th percentile was below five times that of one by
one; then half of it for `AFTER`. Prints what it saw as JSON.

Times begin when a request was due, not when it was sent: what the crowd itself is late counts for all alike,
and is told. Bare sockets, since whatever the crowd costs is taken from the server beside it.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

FIRST, TIMES, MORE, OFFERED = 50.0, 5.0, 1.2, 3
PROBES = 20.0
"""Probes a second."""
PATIENCE = 30.0
"""Seconds after the last request in which answers may come."""
MOST = 256
"""Answers that are read at a time before new requests are sent."""


@dataclass
class Seen:
    """What came back of the requests that were due in one span; times in milliseconds."""

    sent: int = 0
    ok: list[float] = field(default_factory=list)
    shed: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    """How long the server took to refuse what is no request: its loop, and nothing else."""
    own: list[float] = field(default_factory=list)
    """How late requests were sent."""
    failed: Counter[str] = field(default_factory=Counter)
    """Other answers, and none, by what they were."""


class Link:
    """A connection, kept for one request after another."""

    __slots__ = ("begun", "data", "due", "seen", "sock", "status", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.begun = False
        """Whether it is connected."""
        self.waiting, self.due, self.seen = b"", 0.0, Seen()
        self.status, self.data = b"", b""


class Crowd:
    """All connections."""

    def __init__(self, port: int, key: str) -> None:
        body = json.dumps(
            {
                "model": "bench",
                "stream": True,
                "messages": [{"role": "user", "content": "chunks=100 every=0 " + "y" * 1000}],
            }
        )
        self._place = ("127.0.0.1", port)
        self._request = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()
        self._poll = select.epoll()
        self._links: dict[int, Link] = {}
        self._idle: list[Link] = []
        self.under_way = self.most = 0
        """Requests under way, and the most at once."""

    def offer(self, rate: float, seconds: float) -> list[Seen]:
        """So many requests a second, for so long; returns when all are answered, what was seen by second."""
        seen = [Seen() for _ in range(max(1, int(seconds)))]
        began = time.perf_counter()
        asked = probed = 0
        while (spent := time.perf_counter() - began) < seconds:
            while asked < spent * rate:
                each = seen[min(len(seen) - 1, int(asked / rate))]
                self._ask(self._request, began + asked / rate, each)
                asked += 1
            while probed < spent * PROBES:
                each = seen[min(len(seen) - 1, int(probed / PROBES))]
                self._ask(b"no request\r\n\r\n", began + probed / PROBES, each, probe=True)
                probed += 1
            due = min(asked / rate, probed / PROBES, seconds)
            self._take(max(0.0, began + due - time.perf_counter()))
        self._wait()
        return seen

    def alone(self, seconds: float) -> Seen:
        """One request after another."""
        seen, began = Seen(), time.perf_counter()
        while time.perf_counter() - began < seconds:
            self._ask(self._request, time.perf_counter(), seen)
            self._wait()
        return seen

    def _wait(self) -> None:
        until = time.perf_counter() + PATIENCE
        while self.under_way and time.perf_counter() < until:
            self._take(0.1)

    def _ask(self, request: bytes, due: float, seen: Seen, *, probe: bool = False) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if probe or not self._idle:
            try:
                link = self._connect()
            except OSError as error:
                self.under_way -= 1
                seen.failed[str(error)] += 1
                return
        else:
            link = self._idle.pop()
        link.waiting, link.due, link.seen = request, due, seen
        link.status, link.data = b"", b""
        if not probe:
            seen.sent += 1
            seen.own.append((time.perf_counter() - due) * 1000)
        if link.begun:
            self._send(link)

    def _connect(self) -> Link:
        link = Link(socket.socket())
        link.sock.setblocking(False)
        error = link.sock.connect_ex(self._place)
        if error not in {0, errno.EINPROGRESS}:
            link.sock.close()
            raise OSError(error, errno.errorcode[error])
        self._links[link.sock.fileno()] = link
        self._poll.register(link.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        return link

    def _send(self, link: Link) -> None:
        request, link.waiting = link.waiting, b""
        try:
            if link.sock.send(request) != len(request):
                raise OSError(errno.EMSGSIZE, "sent in part")
        except OSError as error:
            self._end(link, str(error))

    def _take(self, seconds: float) -> None:
        """Waits so long for what comes, and reads it."""
        for number, events in self._poll.poll(seconds, MOST):
            link = self._links.get(number)
            if link is None:
                continue
            if not link.begun:
                link.begun = True
                self._poll.modify(number, select.EPOLLIN)
                self._send(link)
            elif events & ~select.EPOLLOUT:
                try:
                    data = link.sock.recv(1 << 17)
                except OSError as error:
                    self._end(link, str(error))
                    continue
                if data:
                    self._hear(link, data)
                else:
                    self._end(link, "cut")

    def _hear(self, link: Link, data: bytes) -> None:
        link.status = link.status or data[9:12]
        spent = (time.perf_counter() - link.due) * 1000
        if link.status == b"200":
            link.data = (link.data + data)[-5:]  # of a stream only its end
            if link.data != b"0\r\n\r\n":
                return
            link.seen.ok.append(spent)
        else:
            link.data += data
            head, found, body = link.data.partition(b"\r\n\r\n")
            at = head.lower().find(b"content-length: ")
            if not found or len(body) < int(head[at + 16 :].split(b"\r\n", 1)[0]):
                return
            if link.status == b"503":
                link.seen.shed.append(spent)
            elif link.status == b"400":
                link.seen.lag.append(spent)
                self._end(link)
                return
            else:
                link.seen.failed[link.status.decode("latin-1")] += 1
        self.under_way -= 1
        link.due = 0.0
        self._idle.append(link)

    def _end(self, link: Link, why: str = "") -> None:
        del self._links[link.sock.fileno()]
        link.sock.close()
        if link.due:
            self.under_way -= 1
            if why:
                link.seen.failed[why] += 1
        else:
            self._idle.remove(link)


def percentile(values: list[float], share: float) -> float:
    """Of no values, 0."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def together(parts: list[Seen]) -> Seen:
    """One of many."""
    whole = Seen()
    for part in parts:
        whole.sent += part.sent
        whole.ok += part.ok
        whole.shed += part.shed
        whole.lag += part.lag
        whole.own += part.own
        whole.failed += part.failed
    return whole


def main(port: int, key: str, ramp: float, over: float, after: float) -> None:
    crowd = Crowd(port, key)
    spell = min(1.0, ramp / 4)
    crowd.alone(spell)  # warms up
    idle = min(percentile(crowd.alone(spell).ok, 0.99) for _ in range(3))  # of neighbours the least
    rate, capacity, peak = FIRST, FIRST, 0.0
    began = time.perf_counter()
    while time.perf_counter() - began < ramp:
        (seen,) = crowd.offer(rate, 1)
        if seen.shed:
            break
        if percentile(seen.ok, 0.99) < TIMES * idle:
            capacity, peak = rate, float(len(seen.ok))
        rate *= MORE
    crowd.most = 0
    seconds = crowd.offer(OFFERED * capacity, over)
    crowded = together(seconds)
    calm = crowd.offer(capacity / 2, after)
    told = {
        "idle_p99": idle,
        "capacity": capacity,
        "peak": peak,
        "goodput": len(crowded.ok) / over,
        "sent": crowded.sent,
        "ok_p99": percentile(crowded.ok, 0.99),
        "shed": len(crowded.shed),
        "shed_p95": percentile(crowded.shed, 0.95),
        "lag_p95": percentile(crowded.lag, 0.95),
        "own_p95": percentile(crowded.own, 0.95),
        "failed": crowded.failed,
        "most_at_once": crowd.most,
        "calm_p99": [percentile(each.ok, 0.99) for each in calm],
        "calm_shed": [len(each.shed) for each in calm],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    port, key, *numbers = sys.argv[1:]
    main(int(port), key, *map(float, numbers))
