"""JSON in and out: fast where it can be, tolerant where a vendor's frame is odd but readable."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
import orjson

from wire.types import BadFrame

T = TypeVar("T")


def loads(data: bytes) -> Any:
    """Parses what upstream sent. Raises BadFrame, never anything else.

    orjson refuses lone surrogates and NaN, which official client libraries read without complaint (a vendor
    may cut an escaped emoji in two between frames): the standard library has the last word.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadFrame("not valid JSON") from error


def typed(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """What the decoder's type tells of upstream's JSON, read by the C library alone; None where something is
    odd, and wants a closer look (`load_object`)."""
    try:
        if not data.isascii():
            data.decode("utf-8")  # the parser does not look into the strings that it skips
        return decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return None


def load_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object. Raises BadFrame for anything else."""
    value = loads(data)
    if not isinstance(value, dict):
        raise BadFrame("not a JSON object")
    return value


def dumps(value: Any) -> bytes:
    """Writes compact JSON; text with lone surrogates is escaped instead of refused."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode("ascii")


def as_object(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """The value where it is a string, else an empty one."""
    return value if isinstance(value, str) else ""
