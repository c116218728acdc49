"""Reads what a relay wrote to its journals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from usage.lines import COLUMNS, named
from usage.segments import read_lines, segments, workers


def lines(root: Path, kind: str) -> list[dict[str, Any]]:
    """The payloads of all lines of a kind by their names, worker by worker, oldest first."""
    return [
        named(line.payload(), COLUMNS)
        for worker in workers(root)
        for segment in segments(worker)
        for line in read_lines(segment)
        if line.kind == kind
    ]
