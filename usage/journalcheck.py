"""The journals on this machine checked against the positions in the database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from usage.differences import POSITIONS, Difference
from usage.framing import parse
from usage.models import JournalPosition
from usage.segments import is_dead, segment_key, segments, workers

NEWLINE = b"\n"
LOOKED_AT = 64 * 1024


def check_journals(root: Path, *, using: str = "default") -> Iterator[Difference]:
    """Positions that cannot be, and workers that are dead and not yet taken over, of the journals under
    `root`. Positions of segments that are not here say nothing: they are another host's, or just deleted."""
    positions = dict(JournalPosition.objects.using(using).values_list("segment", "position"))
    for worker in workers(root):
        for path in segments(worker):
            key = segment_key(path)
            position = positions.get(key, 0)
            try:
                size = path.stat().st_size
                whole = _begins_a_line(path, position, size)
            except FileNotFoundError:
                continue
            if not whole:
                row = {"segment": key}
                yield Difference(POSITIONS, row, "position", f"a line's end, at most {size}", position)
        if is_dead(worker) and f"{worker.name}/" not in positions and worker.exists():
            yield Difference(POSITIONS, {"worker": worker.name}, "taken_over", "yes", "no")


def forget_positions(differences: Iterator[Difference], *, using: str = "default") -> None:
    """Lets the recorder read the segments of impossible positions from their start: what it applied already
    it does not apply again."""
    keys = [each.row["segment"] for each in differences if each.column == "position"]
    JournalPosition.objects.using(using).filter(segment__in=keys).delete()


def _begins_a_line(path: Path, position: int, size: int) -> bool:
    """Whether a line ends before `position`, or one begins there after a damaged stretch."""
    if position == 0:
        return True
    if not 0 < position <= size:
        return False
    with path.open("rb") as segment:
        around = os.pread(segment.fileno(), LOOKED_AT, position - 1)
    parsed = parse(around[1:], position)
    return around[:1] == NEWLINE or (bool(parsed.lines) and not parsed.damage)
