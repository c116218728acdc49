"""Signatures of `strict` answers: a keyed digest over what they are for, so that it is seen when somebody
alters either."""

from __future__ import annotations

import base64
from hashlib import blake2b
from typing import Any

import orjson

_KEY = b"nobody but the simulator"


def digest(*values: object) -> str:
    """32 hexadecimal digits of JSON values, whatever the order of their keys."""
    told = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return blake2b(told, key=_KEY, digest_size=16).hexdigest()


def signature(*values: object) -> str:
    """Of these values, in base64 as vendors write theirs."""
    return packed(digest(*values))


def packed(text: str) -> str:
    """Text in base64."""
    return base64.b64encode(text.encode()).decode()


def unpacked(value: Any) -> str:
    """What `packed` was given; "" for anything else."""
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else ""
    except ValueError:
        return ""
