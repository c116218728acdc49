"""Values that nobody expects, made fast: a seed makes the same ones again."""

from __future__ import annotations

import random
from typing import Any

_NUMBERS: tuple[Any, ...] = (None, True, False, 0, -1, 1, 10**30, 0.5)
_PLAIN: tuple[Any, ...] = (*_NUMBERS, "", "x", "\ud83d", "\x00", [], {}, [None], {"type": "text"})
_KEYS = ("", "type", "id", "text", "x")


def hostile(rng: random.Random, deepest: int = 3) -> Any:
    """Any JSON value."""
    pick = rng.random()
    if pick < 0.7 or not deepest:
        return rng.choice(_PLAIN)
    if pick < 0.85:
        return [hostile(rng, deepest - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(_KEYS): hostile(rng, deepest - 1) for _ in range(rng.randrange(3))}


def odd(rng: random.Random, *usual: Any) -> Any:
    """One of the usual values, or now and then anything."""
    return hostile(rng) if rng.random() < 0.15 else rng.choice(usual)
