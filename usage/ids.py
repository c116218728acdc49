"""Ids of the ledger: a UUIDv7 whose low byte is the attempt's number (0 in a record's own id)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import UUID


def random_bits() -> int:
    """The 66 random bits that an id needs, from the system."""
    return int.from_bytes(os.urandom(9)) >> 6


def request_id(milliseconds: int, random: int) -> str:
    """A UUIDv7 (RFC 9562) of the given Unix time in milliseconds, as text. `random` gives its 66 free bits;
    the low byte stays 0."""
    time = f"{milliseconds:012x}"
    tail = f"{0b10 << 62 | (random & (1 << 54) - 1) << 8:016x}"
    return f"{time[:8]}-{time[8:]}-7{random >> 54 & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"


def attempt_id(record: UUID, number: int) -> UUID:
    """The id of a request's attempt, counted from 1. Raises ValueError beyond 255."""
    if not 1 <= number <= 255:
        raise ValueError(f"an attempt's number is 1 to 255, not {number}")
    return UUID(int=record.int | number)


def attempt_text(record: str, number: int) -> str:
    """The same of ids as text."""
    return f"{record[:-2]}{number:02x}"


def instant(identifier: UUID) -> datetime:
    """The start instant that an id holds, in UTC, exact to the millisecond."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def lower_bound(moment: datetime) -> UUID:
    """The least id of requests that started at `moment` or later: a month, a day, a quarter is a range of
    ids."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (0x7 << 76) | (0b10 << 62))
