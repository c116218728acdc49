"""Ids of requests that leave no record: each tells by itself what it stands for. So a storm of them costs no
row, and staff who are given one still learn which rule refused it, by what count, and until when.

A UUID of version 8 (RFC 9562, 5.8), in the order of time as a record's own id is. From the highest bit:
48 of Unix milliseconds, 4 of version, 6 of rule, 6 of wait, 2 of variant, 4 more of wait, 20 of what was
measured, 38 of chance.
"""

from __future__ import annotations

from enum import IntEnum
from random import getrandbits
from typing import NamedTuple
from uuid import RFC_4122, UUID

MOST_MEASURED = (1 << 20) - 1
MOST_SECONDS = (1 << 10) - 1
_VERSION, _VARIANT, _CHANCE = 8, 0b10, 38


class Rule(IntEnum):
    """What refused a request, 1 to 63. A number keeps its meaning for ever: ids are kept by others."""

    EVENT_LOOP = 1
    MEMORY = 2
    JOURNAL = 3
    UNDER_WAY = 4
    BAD_KEYS = 5
    CLOSED = 6
    DRAINING = 7
    DATABASE = 8
    BODY_MEMORY = 9
    BODY_SIZE = 10
    BODY_LATE = 11
    BODY_SLOW = 12
    HEAD_SLOW = 13
    HEAD_SIZE = 14
    MALFORMED = 15
    FRAMING = 16
    PROTOCOL = 17
    HOST = 18
    CODING = 19
    UPGRADE = 20
    FRAGMENT = 21
    NO_API_KEY = 22
    BAD_API_KEY = 23
    TWO_API_KEYS = 24
    NETWORK = 25
    NO_PATH = 26
    METHOD = 27
    NOT_LISTED = 28
    KEY_IN_FLIGHT = 29


_RULES = {int(each): each for each in Rule}


class Refusal(NamedTuple):
    """One refusal: Unix milliseconds, what refused, what was measured then (in the rule's own unit), and the
    seconds that the client was told to wait, 0 for none. `rule` is a name of `Rule` in lower case."""

    at: int
    rule: str
    measured: int = 0
    wait: int = 0


def refusal_id(milliseconds: int, rule: Rule, measured: int, wait: int) -> str:
    """A new id of a refusal, as text. What passes its bits is told as the most that they hold."""
    measured, wait = min(max(measured, 0), MOST_MEASURED), min(max(wait, 0), MOST_SECONDS)
    high = milliseconds << 16 | _VERSION << 12 | rule << 6 | wait >> 4
    low = _VARIANT << 62 | (wait & 0xF) << 58 | measured << 38 | getrandbits(_CHANCE)
    text = "%032x" % (high << 64 | low)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def read(identifier: UUID) -> Refusal | None:
    """What an id tells; None for one that is no refusal's."""
    if identifier.version != _VERSION or identifier.variant != RFC_4122:
        return None
    high, low = identifier.int >> 64, identifier.int
    rule = _RULES.get(high >> 6 & 0x3F)
    if rule is None:
        return None
    wait = (high & 0x3F) << 4 | low >> 58 & 0xF
    return Refusal(high >> 16, rule.name.lower(), low >> 38 & MOST_MEASURED, wait)
