"""One worker's journal as the recorder follows it: from segment to segment, until the worker is dead and read
out."""

from __future__ import annotations

import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import orjson

from usage.framing import Damage, Line
from usage.journal import BALLAST, segment_name
from usage.ledger import APPLIED, DAMAGE, FINAL, UNREADABLE, Work
from usage.lines import COLUMNS, Columns, named
from usage.segments import (
    Reader,
    columns_of,
    is_dead,
    read_lines,
    segment_key,
    segment_number,
    segments,
    tell_progress,
)
from usage.takeover import Orphan, Unfinished

log = logging.getLogger(__name__)


class Tail:
    """Reads a worker's segments in order, each from its saved position on. `positions` are those saved."""

    def __init__(self, directory: Path, positions: Mapping[str, int]) -> None:
        self.directory = directory
        self.dead = False
        self.done = f"{directory.name}/" in positions
        """Whether what the dead worker left unfinished is in the database; saved as a position of its own."""
        self._positions = positions
        self._number = 0
        self._reader: Reader | None = None
        self._key = ""
        self._position = 0
        self._columns: Columns | None = None
        """The places in the open segment's lines, once it has any."""
        self._told = (0, 0)
        self._at_end = False
        self._buffer: deque[Line] = deque()
        self._finished: deque[Path] = deque()
        self._finished_at: dict[Path, float] = {}
        self._done_at: float | None = None

    @property
    def done_marker(self) -> dict[str, int]:
        """The position that says that this worker is dead and settled."""
        return {f"{self.directory.name}/": 1}

    @property
    def orphaned(self) -> bool:
        """Whether the worker is dead, its journal read to the end, and what it left unfinished not yet
        settled."""
        return self.dead and self._at_end and not self.done

    def look(self) -> None:
        """Notices the worker's death. What is read after this is all that it wrote."""
        if not self.dead and is_dead(self.directory):
            self.dead, self._at_end = True, False

    def take(self, limit: int, positions: dict[str, int]) -> list[Work]:
        """At most `limit` lines to apply; `positions` gets the places after them."""
        taken: list[Work] = []
        while len(taken) < limit and (self._buffer or self._fill()):
            line = self._buffer.popleft()
            taken.append(Work(self._key, line))
            self._position = positions[self._key] = line.end
        if not self._buffer and self._reader is not None:
            self._position = self._reader.position  # what follows is of other kinds
        return taken

    def _fill(self) -> bool:
        """Reads on, into the next segment if need be; False at the end of what there is."""
        dead = self.dead
        while self._reader is not None or self._open_next():
            reader = self._reader
            if reader is None:
                break
            # Asked before reading: a segment is never written again once the next one exists.
            followed = (self.directory / segment_name(self._number + 1)).exists()
            lines = reader.read()
            if reader.damage:
                lines = sorted([*lines, *map(self._damaged, reader.damage)], key=lambda line: line.start)
                reader.damage.clear()
            if lines:
                if self._columns is None:
                    self._columns = columns_of(reader.path)  # its first line is there now
                self._buffer.extend(lines if self._columns == COLUMNS else map(self._by_names, lines))
                return True
            if not followed:
                break
            self._finish(reader)
        self._at_end = dead
        return False

    def _open_next(self) -> bool:
        following = [path for path in segments(self.directory) if segment_number(path) > self._number]
        if not following:
            return False
        path = following[0]
        self._key, self._number = segment_key(path), segment_number(path)
        self._position = self._positions.get(self._key, 0)
        self._reader = Reader(path, self._position, APPLIED)
        self._columns = None
        return True

    def _by_names(self, line: Line) -> Line:
        """A line of a segment whose places are not ours; as it is where those do not fit it."""
        if line.kind == FINAL and self._columns:
            with suppress(*UNREADABLE):
                return line._replace(body=orjson.dumps(named(line.payload(), self._columns)))
        return line

    def _finish(self, reader: Reader) -> None:
        if reader.torn:
            log.error("%s ends in a torn line at %d", self._key, reader.position)
        reader.close()
        self._reader = None
        self._finished.append(reader.path)

    def _damaged(self, damage: Damage) -> Line:
        log.error("%s is damaged from %d to %d; what follows is applied", self._key, *damage)
        with (self.directory / segment_name(self._number)).open("rb") as segment:
            body = os.pread(segment.fileno(), min(damage.end - damage.start, 4096), damage.start)
        return Line(DAMAGE, body, damage.start, damage.end)

    def tell(self) -> None:
        """Tells a living worker how far its journal is in the database, if that has changed."""
        if self._reader is not None and not self.dead and self._told != (self._number, self._position):
            self._told = (self._number, self._position)
            tell_progress(self._reader.path, self._position)

    # Death

    def orphans(self) -> Iterator[Orphan]:
        """What the dead worker began and did not finish."""
        unfinished = Unfinished()
        for path in segments(self.directory):
            unfinished.follow(segment_key(path), read_lines(path))
        yield from unfinished.orphans()

    def last_written_ms(self) -> int:
        """When the journal was last written, in Unix milliseconds."""
        times = [path.stat().st_mtime_ns for path in segments(self.directory)]
        return max(times, default=0) // 1_000_000

    def settle(self) -> None:
        """The dead worker's unfinished requests are in the database."""
        if self._reader is not None:
            self._finish(self._reader)
        self.done = True
        (self.directory / BALLAST).unlink(missing_ok=True)

    # Deletion

    def sweep(self, now: float, keep_seconds: float) -> list[str]:
        """Deletes segments whose lines have been in the database for `keep_seconds`, in the end a dead
        worker's directory; returns the keys of the positions to forget."""
        for path in self._finished:
            self._finished_at.setdefault(path, now)
        forgotten = []
        while self._finished and now - self._finished_at[self._finished[0]] >= keep_seconds:
            path = self._finished.popleft()
            del self._finished_at[path]
            path.unlink(missing_ok=True)
            forgotten.append(segment_key(path))
        if self.done and self._done_at is None:
            self._done_at = now
        if self._done_at is not None and now - self._done_at >= keep_seconds:
            forgotten += [segment_key(path) for path in segments(self.directory)]
            shutil.rmtree(self.directory, ignore_errors=True)
            forgotten += self.done_marker
        return forgotten

    @property
    def gone(self) -> bool:
        """Whether the directory has been deleted."""
        return not self.directory.exists()

    def close(self) -> None:
        """Closes the open segment."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
