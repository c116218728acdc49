"""How often a test repeats itself: a little in `make test`, as often as the proof asks in `make proof`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROOF = os.environ.get("AETHER_PROOF") == "1"
ROOT = Path(__file__).resolve().parent.parent

ASKED: dict[tuple[str, str], list[int]] = {}
"""File and test -> the counts in force, for the table of `make proof`. What a module asks for outside of its
tests, for a decorator of theirs say, stands under the file and no test."""


def count(small: int, proof: int) -> int:
    """`proof` where AETHER_PROOF=1, else `small`."""
    value = proof if PROOF else small
    running = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0].partition("[")[0]
    path, _, test = running.partition("::")
    path = path or os.path.relpath(sys._getframe(1).f_code.co_filename, ROOT)
    asked = ASKED.setdefault((path, test), [])
    if value not in asked:
        asked.append(value)
    return value
