"""A worker's journal: append-only segments in a directory of its own, one line for each thing that happened.

The worker writes, the recorder reads. A line reaches the kernel with one unbuffered `os.write` before its
caller goes on, so a killed process loses nothing; `sync`, called off the event loop, brings it to the disk.
A directory whose lock file nobody holds belongs to a dead worker.

Disk full: the journal first frees its ballast file, then keeps lines in memory and tries again; `trouble`
tells.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from usage.framing import encode
from usage.lines import COLUMNS

HEAD = "head"
LOCK, BALLAST, PROGRESS = "lock", "ballast", "progress"
SUFFIX = ".journal"
SEGMENT_BYTES = 16 * 1024 * 1024
BALLAST_BYTES = 64 * 1024 * 1024
RING_LINES = 10_000
RETRY_SECONDS = 0.1
VERSION = 2

Trouble = Literal["", "sync", "ballast", "memory", "full"]
"""Nothing; the disk did not take what was written; lines go to the space that the ballast gave up; lines
wait in memory; lines were lost."""

Lines = Iterable[tuple[str, Mapping[str, Any]]]


class Open:
    """The lines of a request that has no final line yet, as they are written again at the head of a
    segment."""

    __slots__ = ("checkpoint", "lines")

    def __init__(self, start: bytes) -> None:
        self.lines = [start]
        self.checkpoint: bytes = b""


class Journal:
    """The journal of one living worker. `root` is the directory of all journals, `worker` a name never used
    before, `clock` a monotonic clock in seconds. With `sync="always"` a write returns when the disk has it.

    Written by one thread; `sync` may be called from another. Raises FileExistsError if the name is taken.
    """

    def __init__(
        self,
        root: Path,
        *,
        worker: str,
        clock: Callable[[], float],
        segment_bytes: int = SEGMENT_BYTES,
        ballast_bytes: int = BALLAST_BYTES,
        ring_lines: int = RING_LINES,
        sync: Literal["grouped", "always"] = "grouped",
    ) -> None:
        self.worker = worker
        self.directory = root / worker
        self.lost = 0
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._ballast_bytes = ballast_bytes
        self._ring_lines = ring_lines
        self._always = sync == "always"
        self._open: dict[str, Open] = {}
        self._ring: deque[bytes] = deque()
        self._trouble: Trouble = ""
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._flush_lock = threading.Lock()
        self._retired: deque[int] = deque()
        self._dirty = False
        self._torn = False
        self._closed = False
        self._number = 0
        self._size = 0
        self._full_at = 0
        self._full_sizes: dict[int, int] = {}
        self._fd = -1
        self._lock_fd = _settle_in(root, self.directory)
        try:
            self._rotate()
        except OSError:
            os.close(self._lock_fd)
            raise
        with self._lock:
            self._relieve()

    # Writing

    def start(self, request_id: str, line: bytes) -> None:
        """Appends the first line of a request, made by `encode_line`; the request is open until `finish`.
        Never raises for a full or broken disk, as all that writes; see `trouble`."""
        self._open[request_id] = Open(line)
        self._append(line)

    def add(self, request_id: str, line: bytes) -> None:
        """Appends a line of an open request that is needed if this process dies."""
        if (request := self._open.get(request_id)) is not None:
            request.lines.append(line)
        self._append(line)

    def finish(self, request_id: str, line: bytes) -> None:
        """Appends the last line of a request."""
        self._open.pop(request_id, None)
        self._append(line)

    def write(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Appends one line, its values by their names."""
        line = encode(kind, payload)
        self._note(kind, payload, line)
        self._append(line)

    def write_many(self, lines: Lines) -> None:
        """Appends several lines in one write: all of them reach the journal, or none."""
        encoded = []
        for kind, payload in lines:
            line = encode(kind, payload)
            self._note(kind, payload, line)
            encoded.append(line)
        if encoded:
            self._append(b"".join(encoded))

    def sync(self) -> None:
        """Brings everything written so far to the disk; lines that wait in memory are tried again. Blocks for
        milliseconds: to be called off the event loop. Never raises; see `trouble`."""
        if self._ring or self._trouble:
            with self._lock:
                self._relieve()
        try:
            self._flush()
        except OSError:
            self._trouble = self._trouble or "sync"

    @property
    def dirty(self) -> bool:
        """Whether `sync` has something to do."""
        return self._dirty or bool(self._ring) or bool(self._trouble)

    @property
    def trouble(self) -> Trouble:
        """What is wrong with the disk; at `full`, lines are being lost and budgeted requests must be
        refused."""
        return self._trouble

    @property
    def backlog_bytes(self) -> int:
        """How much of this journal the recorder has yet to bring to the database; as far as it told. Any
        thread may ask."""
        number, position = _applied(self.directory)
        written = sum(size for each, size in list(self._full_sizes.items()) if each >= number) + self._size
        return max(0, written - position) + sum(map(len, self._ring))

    @property
    def open_requests(self) -> int:
        """Requests that were started and have no final line yet."""
        return len(self._open)

    def close(self) -> None:
        """Syncs and gives the directory up: what has no final line now counts as interrupted. A second call
        does nothing."""
        if self._closed:
            return
        self._closed = True
        self.sync()
        for fd in (*self._retired, self._fd):
            os.close(fd)
        with contextlib.suppress(OSError):
            (self.directory / BALLAST).unlink()
        os.close(self._lock_fd)

    # What is open

    def _note(self, kind: str, payload: Mapping[str, Any], line: bytes) -> None:
        if kind == "final":
            self._open.pop(payload["record"]["request_id"], None)
        elif kind == "start":
            self._open[payload["request_id"]] = Open(line)
        elif kind == "checkpoint":
            request = self._open.get(payload["request_id"])
            if request:
                request.checkpoint = line
        elif kind in ("attempt", "attempt_end"):
            request = self._open.get(payload["request_id"])
            if request:
                request.lines.append(line)

    # The file

    def _append(self, data: bytes) -> None:
        if self._ring:
            with self._lock:
                if self._ring and not self._relieve_if_due():
                    self._keep(data)
                    return
        try:
            self._put(data)
        except OSError as error:
            with self._lock:
                self._stumble(error, data)
        if self._always:
            self.sync()

    def _put(self, data: bytes) -> None:
        """Appends to the segment, or leaves it as it was. Raises OSError."""
        if self._torn or self._size >= self._full_at:
            try:
                self._rotate()
            except OSError:
                if self._torn:
                    raise
        self._dirty = True
        size = len(data)
        try:
            written = os.write(self._fd, data)
            while written < size:
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError:
            try:
                os.ftruncate(self._fd, self._size)
            except OSError:
                self._torn = True
            raise
        self._size += size

    def _rotate(self) -> None:
        """Starts the next segment with the open requests' lines; the one before is not written again."""
        told = {"version": VERSION, "worker": self.worker, "segment": self._number + 1, "columns": COLUMNS}
        head = [encode(HEAD, told)]
        for request in self._open.values():
            head.extend(request.lines)
            if request.checkpoint:
                head.append(request.checkpoint)
        data = b"".join(head)
        path = self.directory / segment_name(self._number + 1)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            written = 0
            while written < len(data):
                written += os.write(fd, memoryview(data)[written:])
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        _sync_directory(self.directory)
        if self._fd >= 0:
            self._retired.append(self._fd)
            for applied in [each for each in self._full_sizes if each < _applied(self.directory)[0]]:
                del self._full_sizes[applied]
            self._full_sizes[self._number] = self._size
        self._fd, self._size, self._number = fd, len(data), self._number + 1
        self._full_at = self._size + self._segment_bytes
        self._torn, self._dirty = False, True

    def _flush(self) -> None:
        with self._flush_lock:
            self._dirty = False
            try:
                while self._retired:
                    os.fdatasync(self._retired[0])
                    os.close(self._retired.popleft())
                os.fdatasync(self._fd)
            except OSError:
                self._dirty = True
                raise

    # A full disk

    def _stumble(self, error: OSError, data: bytes) -> None:
        """Called where `_put` failed: frees the ballast and tries again, else keeps the lines in memory."""
        ballast = self.directory / BALLAST
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and ballast.exists():
            self._trouble = "ballast"
            try:
                ballast.unlink()
                self._put(data)
            except OSError:
                pass
            else:
                return
        self._keep(data)

    def _keep(self, data: bytes) -> None:
        if len(self._ring) >= self._ring_lines:
            self._trouble = "full"
            self.lost += 1
            return
        if self._trouble != "full":
            self._trouble = "memory"
        self._ring.append(data)

    def _relieve_if_due(self) -> bool:
        """Tries to bring the ring to the disk, at most each 100 ms; tells whether it is empty now."""
        now = self._clock()
        if now < self._retry_at:
            return False
        self._retry_at = now + RETRY_SECONDS
        self._relieve()
        return not self._ring

    def _relieve(self) -> None:
        try:
            while self._ring:
                self._put(self._ring[0])
                self._ring.popleft()
            self._make_ballast()
        except OSError:
            return
        self._trouble = ""

    def _make_ballast(self) -> None:
        """Reserves the ballast file again. Raises OSError, leaving none, if the disk has no room for it."""
        path = self.directory / BALLAST
        if not self._ballast_bytes or path.exists():
            return
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._ballast_bytes)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(fd)


def segment_name(number: int) -> str:
    """File name of a worker's segment, counted from 1."""
    return f"{number:08d}{SUFFIX}"


def _settle_in(root: Path, directory: Path) -> int:
    """Makes the worker's directory, its lock already held, visible in one step; returns the lock's
    descriptor."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.exists():
        raise FileExistsError(errno.EEXIST, "this journal exists already", str(directory))
    hidden = directory.with_name(f".{directory.name}")
    hidden.mkdir(mode=0o700)
    lock = os.open(hidden / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    hidden.rename(directory)
    _sync_directory(root)
    return lock


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _applied(directory: Path) -> tuple[int, int]:
    """The segment's number, and the place in it, up to which the recorder says it has applied this
    journal."""
    try:
        number, position = (directory / PROGRESS).read_bytes().split()
        return int(number), int(position)
    except (FileNotFoundError, ValueError):
        return 0, 0
