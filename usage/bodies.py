"""Headers and bodies of requests whose API key asks for them: a file each, on their way from worker to
recorder.

They never enter the journal. The worker's queue is bounded and sheds; the recorder compresses what arrives
into `Body` rows.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import zlib
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from django.db import connections, transaction

from usage.columns import Table
from usage.ledger import UNREADABLE
from usage.models import Body
from usage.months import Months

log = logging.getLogger(__name__)

SUFFIX, UNFINISHED, UNUSABLE = ".body", ".part", ".bad"
BATCH_FILES, BATCH_BYTES = 16, 4_000_000
"""What one transaction of the recorder takes at most."""
BODIES = ("request_body", "upstream_request_body", "response_body")


class Recorded(msgspec.Struct, omit_defaults=True):
    """What is kept of one request; columns of `Body`. Bodies are as they were on the wire, not compressed;
    `expires_at` is Unix milliseconds. Headers must have lost their secrets already."""

    request_id: str
    expires_at: int
    client_request_headers: dict[str, str] | None = None
    upstream_request_headers: dict[str, str] | None = None
    upstream_response_headers: dict[str, str] | None = None
    client_response_headers: dict[str, str] | None = None
    request_body: bytes | None = None
    upstream_request_body: bytes | None = None
    response_body: bytes | None = None
    truncated: bool = False

    def size(self) -> int:
        """Bytes of its bodies."""
        return sum(len(getattr(self, name) or b"") for name in BODIES)


class BodyQueue:
    """The worker's side: writes files in a thread of its own, holding at most `queue_bytes` of bodies in
    memory."""

    def __init__(self, root: Path, *, queue_bytes: int) -> None:
        self._root = root
        self._most = queue_bytes
        self._held = 0
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Recorded, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, recorded: Recorded) -> bool:
        """Queues one request's bodies without waiting. False, with nothing queued, if the queue is full: the
        record is to be flagged `body_lost`."""
        size = recorded.size()
        with self._lock:
            if self._held + size > self._most:
                return False
            self._held += size
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="bodies", daemon=True)
                self._thread.start()
        self._queue.put((recorded, size))
        return True

    def close(self) -> None:
        """Writes what is queued and ends the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _write_all(self) -> None:
        while (entry := self._queue.get()) is not None:
            recorded, size = entry
            try:
                write_file(self._root, recorded)
            except OSError:
                log.exception("the bodies of %s were not kept", recorded.request_id)
            with self._lock:
                self._held -= size


def write_file(root: Path, recorded: Recorded) -> Path:
    """Writes one request's file, whole or not at all, readable by us alone. Raises OSError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = root / f"{UUID(recorded.request_id)}{SUFFIX}"
    unfinished = path.with_suffix(UNFINISHED)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(msgspec.msgpack.encode(recorded))
        unfinished.rename(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    return path


def unpack(stored: bytes | memoryview | None) -> bytes | None:
    """A body as it was on the wire, from its column."""
    return None if stored is None else zlib.decompress(stored)


class BodyStore:
    """The recorder's side: files to rows. `cap_bytes` is the most that is kept of one body."""

    def __init__(self, root: Path, *, cap_bytes: int, using: str = "default") -> None:
        self._root = root
        self._cap = cap_bytes
        self._using = using
        self._connection = connections[using]
        self._table = Table(Body, self._connection)
        self._months = Months(self._connection, (Body,))

    def store(self, now: int) -> bool:
        """Brings a few files to the database and deletes them; tells whether there are more. `now` is Unix
        milliseconds. Raises DatabaseError with the files left alone."""
        waiting = sorted(self._root.glob(f"*{SUFFIX}")) if self._root.is_dir() else []
        rows, ids, done, size = [], [], [], 0
        for path in waiting[:BATCH_FILES]:
            if size > BATCH_BYTES:
                break
            size += path.stat().st_size
            try:
                recorded = msgspec.msgpack.decode(path.read_bytes(), type=Recorded)
                rows.append(self._table.row(self._columns(recorded)))
            except (msgspec.DecodeError, *UNREADABLE) as error:
                log.error("%s is not a request's bodies (%s) and is set aside", path.name, error)
                path.rename(path.with_suffix(UNUSABLE))
                continue
            ids.append(UUID(recorded.request_id))
            done.append(path)
        if rows:
            self._months.ensure(ids, now)
            with transaction.atomic(using=self._using), self._connection.cursor() as cursor:
                self._table.insert(cursor, rows)
        for path in done:
            path.unlink()
        return len(waiting) > len(done)

    def _columns(self, recorded: Recorded) -> dict[str, Any]:
        columns = msgspec.structs.asdict(recorded)
        for name in BODIES:
            body = columns[name]
            if body is not None:
                columns["truncated"] = columns["truncated"] or len(body) > self._cap
                columns[name] = zlib.compress(body[: self._cap])
        return columns
