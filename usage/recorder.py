"""The recorder: tails every journal of a data directory and brings its lines to the database, each once.

One process per data directory holds `recorder.lock`. Positions in the journals move in the transaction of the
rows themselves, so that a crash at any point repeats or skips nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import orjson
from django.db import DatabaseError, InterfaceError

from usage.failures import is_transient
from usage.framing import Line
from usage.ledger import FINAL, UNREADABLE, Ledger, Work
from usage.segments import workers
from usage.states import Apply
from usage.tails import Tail
from usage.takeover import Orphan, final_of

log = logging.getLogger(__name__)
T = TypeVar("T")

BATCH_ROWS = 512
PAUSE_SECONDS = 0.25
"""Between two looks into the journals where the last found less than a batch. A transaction takes over a
millisecond whatever it holds: four a second, not twenty."""
DISCOVER_SECONDS = 0.25
FORGET_IDS_SECONDS = 60
FIRST_RETRY, LONGEST_RETRY = 0.05, 5.0
DRAIN_PATIENCE = 10.0
"""How long, once told to end, the recorder waits for a database that does not answer; the journal keeps the
rest."""


class AlreadyRunning(Exception):
    """Another recorder holds this data directory."""


class Stopped(Exception):
    """Told to end while the database does not answer."""


class Recorder:
    """Applies the journals under `root` to the database `using`. `clock` gives Unix seconds, `monotonic`
    seconds."""

    def __init__(
        self,
        root: Path,
        *,
        appliers: Mapping[str, Apply],
        keep_seconds: float,
        stop: threading.Event | None = None,
        using: str = "default",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        batch_rows: int = BATCH_ROWS,
    ) -> None:
        self.root = root
        self.ledger = Ledger(using, appliers)
        self.applied = 0
        """Records brought to the database by this process."""
        self.stop = stop or threading.Event()
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._batch_rows = batch_rows
        self._tails: dict[str, Tail] = {}
        self._positions: dict[str, int] | None = None
        self._rewind_wanted = False
        self._discover_at = 0.0
        self._forget_ids_at = 0.0
        self._turn = 0

    def run(self, ready: Callable[[], None]) -> None:
        """Works until `stop` is set, then to the end of all journals. `ready` is called once everything found
        at the start is applied."""
        try:
            self.drain()
            ready()
            while not self.stop.is_set():
                if self.step() < self._batch_rows:
                    self.stop.wait(PAUSE_SECONDS)
            self.drain()
        except Stopped:
            log.error("the database does not answer; what is missing there stays in the journal")
        finally:
            self.close()

    def drain(self) -> None:
        """Applies everything that the journals hold now, those of the living and of the dead."""
        self._discover_at = 0.0
        while self.step():
            self._discover_at = 0.0

    def step(self) -> int:
        """Applies one batch; returns how many lines and unfinished requests it held, 0 with nothing left to
        do."""
        if self._rewind_wanted:
            self.rewind()
        now = self._monotonic()
        if now >= self._discover_at:
            self._discover_at = now + DISCOVER_SECONDS
            self._discover()
            self._sweep(now)
        if now >= self._forget_ids_at:
            self._forget_ids_at = now + FORGET_IDS_SECONDS
            self.ledger.forget_ids()
        batch, positions = self._gather()
        if batch:
            self._persist(batch, positions)
        for tail in self._tails.values():
            tail.tell()
        return len(batch) + self._take_over()

    def rewind(self) -> None:
        """Reads every segment that is still there again, from its start. After a failover to a database
        server that lacks the newest rows these are inserted again; the others are there already."""
        log.warning("reading the journals again from their start")
        self._rewind_wanted = False
        self.close()
        self._positions = {}
        self._discover_at = 0.0

    def close(self) -> None:
        """Closes all files."""
        for tail in self._tails.values():
            tail.close()
        self._tails.clear()

    # Reading

    def _discover(self) -> None:
        """Notices new and dead workers."""
        if self._positions is None:
            self._positions = self._patiently(self.ledger.positions)
        for directory in workers(self.root):
            if directory.name not in self._tails:
                self._tails[directory.name] = Tail(directory, self._positions)
        for tail in self._tails.values():
            tail.look()

    def _gather(self) -> tuple[list[Work], dict[str, int]]:
        """The next lines to apply, at most a batch of them, from all workers in turn; and the positions
        after."""
        batch: list[Work] = []
        positions: dict[str, int] = {}
        tails = list(self._tails.values())
        self._turn += 1
        for place in range(len(tails)):
            tail = tails[(self._turn + place) % len(tails)]
            batch += tail.take(self._batch_rows - len(batch), positions)
            if len(batch) >= self._batch_rows:
                break
        return batch, positions

    def _take_over(self) -> int:
        """Settles what dead workers left unfinished; returns how much that was, counting each worker too."""
        settled = 0
        for tail in self._tails.values():
            if not tail.orphaned:
                continue
            ended_at = tail.last_written_ms()
            works = [_interrupted(orphan, ended_at) for orphan in tail.orphans()]
            for start in range(0, len(works), self._batch_rows):
                self._persist(works[start : start + self._batch_rows], {})
            self._persist([], tail.done_marker)
            tail.settle()
            if works:
                log.warning("took over %d unfinished requests of %s", len(works), tail.directory.name)
            settled += 1 + len(works)
        return settled

    # Writing

    def _persist(self, batch: Sequence[Work], positions: Mapping[str, int]) -> None:
        """Applies a batch, halving it around rows that the database refuses."""
        now = round(self._clock() * 1000)
        try:
            self.applied += self._patiently(lambda: self.ledger.apply(batch, positions, now)).records
        except (DatabaseError, InterfaceError, ValueError, TypeError, OverflowError) as error:
            if len(batch) <= 1:
                if not batch:
                    raise
                reason = f"{type(error).__name__}: {error}"
                self._patiently(lambda: self.ledger.bury(batch[0], reason, positions, now))
                return
            half = len(batch) // 2
            self._persist(batch[:half], _positions_after(batch[:half]) if positions else {})
            self._persist(batch[half:], positions)

    def _patiently(self, work: Callable[[], T]) -> T:
        """Does `work`, again and again while the database cannot. Raises Stopped if told to end meanwhile,
        and whatever else `work` raises."""
        pause, give_up_at = FIRST_RETRY, None
        while True:
            try:
                return work()
            except (DatabaseError, InterfaceError) as error:
                if not is_transient(error):
                    raise
                log.warning("the database cannot: %s; trying again", " ".join(str(error).split())[:300])
            self._check_connection()
            if self.stop.is_set():
                give_up_at = give_up_at or self._monotonic() + DRAIN_PATIENCE
                if self._monotonic() >= give_up_at:
                    raise Stopped
                time.sleep(pause)
            else:
                self.stop.wait(pause)
            pause = min(pause * 2, LONGEST_RETRY)

    def _check_connection(self) -> None:
        """Gives a lost connection up: the next may be to a server that lacks our last rows."""
        connection = self.ledger.connection
        if connection.vendor == "postgresql" and not connection.is_usable():
            connection.close()
            self._rewind_wanted = True

    # Deletion

    def _sweep(self, now: float) -> None:
        """Deletes journals that the database has had for long enough."""
        for name, tail in list(self._tails.items()):
            forgotten = tail.sweep(now, self._keep_seconds)
            if forgotten:
                self._patiently(lambda segments=forgotten: self.ledger.forget_positions(segments))  # type: ignore[misc]
            if tail.gone:
                tail.close()
                del self._tails[name]


@contextmanager
def recorder_lock(
    path: Path, *, seconds: float, wait: Callable[[float], object] = time.sleep
) -> Iterator[None]:
    """Holds the lock file of the one recorder, waiting at most `seconds` for another to end. Raises
    AlreadyRunning."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(max(1, round(seconds * 10))):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                wait(0.1)
        else:
            raise AlreadyRunning
        yield
    finally:
        os.close(descriptor)


def _interrupted(orphan: Orphan, ended_at: int) -> Work:
    """The final line that a dead worker did not write; where its lines make no sense, one that will be
    refused."""
    try:
        body = orjson.dumps(final_of(orphan, ended_at))
    except UNREADABLE:
        body = orphan.line.body
    return Work(orphan.segment, Line(FINAL, body, orphan.line.start, orphan.line.end))


def _positions_after(batch: Sequence[Work]) -> dict[str, int]:
    return {work.segment: work.line.end for work in batch}
