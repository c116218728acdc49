"""How often a test repeats itself: a little in `make test`, as often as the proof asks in `make proof`."""

from __future__ import annotations

import os

PROOF = os.environ.get("AETHER_PROOF") == "1"


def count(small: int, proof: int) -> int:
    """`proof` where AETHER_PROOF=1, else `small`."""
    return proof if PROOF else small
