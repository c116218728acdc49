"""The recorder's side of the journals: which there are, who is dead, and what their segments say."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Container, Iterator
from pathlib import Path

from usage.framing import GREATEST_LINE, HEADER, Damage, Line, parse
from usage.journal import HEAD, LOCK, PROGRESS, SUFFIX
from usage.lines import Columns

CHUNK = 1024 * 1024
HEAD_BYTES = 64 * 1024


class Reader:
    """Reads one segment forward from `position`, whole lines only. `damage` collects stretches that had to be
    skipped; `torn` tells that bytes follow `position` which make no whole line (yet)."""

    def __init__(self, path: Path, position: int = 0, kinds: Container[str] | None = None) -> None:
        """Gives lines of `kinds` only, if told; the others are checked all the same."""
        self.path = path
        self.position = position
        self._kinds = kinds
        self.damage: list[Damage] = []
        self.torn = False
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, chunk: int = CHUNK) -> list[Line]:
        """The whole lines that follow, about `chunk` bytes of them; none at the end of what there is."""
        while True:
            buffer = os.pread(self._fd, chunk, self.position)
            parsed = parse(buffer, self.position, self._kinds)
            at_end = len(buffer) < chunk
            stuck = parsed.end == self.position and not at_end
            if stuck and chunk < GREATEST_LINE + HEADER + 1:
                chunk *= 2
                continue
            self.damage.extend(parsed.damage)
            self.position = parsed.end
            self.torn = parsed.torn and at_end
            if parsed.lines or self.damage or at_end or stuck:
                return parsed.lines

    def close(self) -> None:
        """Closes the file."""
        os.close(self._fd)


def columns_of(path: Path) -> Columns:
    """What the segment's first line says of the places in its `final` lines; nothing where it does not."""
    with path.open("rb") as segment:
        first = parse(segment.read(HEAD_BYTES)).lines[:1]
    head = first[0].payload() if first and first[0].kind == HEAD else {}
    columns: Columns = head.get("columns", {})
    return columns


def read_lines(path: Path, position: int = 0) -> Iterator[Line]:
    """All whole lines of a segment from `position` on."""
    reader = Reader(path, position)
    try:
        while lines := reader.read():
            yield from lines
    finally:
        reader.close()


def workers(root: Path) -> list[Path]:
    """The journals' directories, in order of their names; those of living workers and of dead ones."""
    try:
        found = sorted(Path(entry) for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
    except FileNotFoundError:
        return []
    return found


def forget_leftovers(root: Path, before: float) -> int:
    """Deletes what a crash left half made under `root` (journal directories not settled in yet, bodies not
    written to their end) and was not touched since `before`, in Unix seconds; returns how much that was."""
    gone = 0
    for path in [*root.glob(".*/"), *root.glob("*.part")]:
        try:
            if path.stat().st_mtime >= before:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            gone += 1
        except FileNotFoundError:
            continue
    return gone


def segments(worker: Path) -> list[Path]:
    """A worker's segments, oldest first."""
    try:
        return sorted(Path(entry) for entry in os.scandir(worker) if entry.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def segment_key(path: Path) -> str:
    """How positions and dead letters name a segment: worker and file."""
    return f"{path.parent.name}/{path.name}"


def is_dead(worker: Path) -> bool:
    """Whether nobody holds the worker's lock. A directory without a lock file is nobody's."""
    try:
        fd = os.open(worker / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(fd)


def segment_number(path: Path) -> int:
    """The number of a segment among its worker's; 0 for a file that is none of ours."""
    digits = path.name.removesuffix(SUFFIX)
    return int(digits) if digits.isdecimal() else 0


def tell_progress(segment: Path, position: int) -> None:
    """Tells the worker up to which place of which segment its journal is in the database."""
    fd = os.open(segment.with_name(PROGRESS), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(fd, b"%010d %020d" % (segment_number(segment), position), 0)
    finally:
        os.close(fd)
