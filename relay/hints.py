"""What processes tell each other (resilience.md: "State shared by Redis as hints; each worker decides
locally"). Seconds count from the moment of telling."""

from __future__ import annotations

import msgspec


class Hint(msgspec.Struct, array_like=True, frozen=True, tag=True):
    """Something that one process knows. `worker` is its name."""

    worker: str


class Pinned(Hint, frozen=True):
    """A session keeps to a target for so many seconds; 0: no longer."""

    api_key_id: int
    model: str
    format: str
    needs: tuple[str, ...]
    endpoint_id: int
    key_id: int
    upstream_name: str
    seconds: float


class Held(Hint, frozen=True):
    """A key or endpoint (`table`) has turned. `cooling` are the seconds for which it is left alone."""

    table: str
    id: int
    state: str
    cooling: float
    cooling_for: str


class Unserved(Hint, frozen=True):
    """A key or endpoint (`table`) does not serve requests of a kind for a model, for so many seconds."""

    table: str
    id: int
    model_id: int
    kind: str
    seconds: float


Told = Pinned | Held | Unserved
