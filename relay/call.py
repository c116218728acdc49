"""A request as both doors hand it to the pipeline."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """`path` is raw, as sent; `query` without the question mark; header names are lower case."""

    method: str
    path: str
    query: str
    headers: Headers = field(repr=False)
    address: str
    length: int
    """What the client announced of its body, 0 where it did not. It may lie."""
    chunks: AsyncGenerator[bytes, None] = field(repr=False)
    """The body, piece by piece. Raises errors.Unreadable if the client leaves before its end."""
