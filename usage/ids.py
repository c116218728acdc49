"""Ids of the ledger: a UUIDv7 whose low byte is the attempt's number (0 in a record's own id)."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

VARIANT = "89ab"
"""The digits that stand for RFC 9562's variant with two free bits."""


def request_id(milliseconds: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562) of the given Unix time in milliseconds, as text. `random` is 9 bytes, of which 66
    bits count; the low byte stays 0."""
    time, chance = f"{milliseconds:012x}", random.hex()
    return f"{time[:8]}-{time[8:]}-7{chance[:3]}-{VARIANT[random[8] & 3]}{chance[3:6]}-{chance[6:16]}00"


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
