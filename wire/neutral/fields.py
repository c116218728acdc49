"""What readers of clients' requests share: a field that must be of some kind, and is named where it is not.
Whoever may leave a field out is read by an `_if`."""

from __future__ import annotations

from typing import Any

from wire.types import BadRequest


def wrong(where: str, what: str) -> BadRequest:
    """What is said of a field that cannot be read."""
    return BadRequest(f"'{where}' {what}", param=where)


def text_at(value: Any, where: str) -> str:
    """A string. Raises BadRequest for anything else."""
    if not isinstance(value, str):
        raise wrong(where, "must be a string")
    return value


def object_at(value: Any, where: str) -> dict[str, Any]:
    """An object. Raises BadRequest for anything else."""
    if not isinstance(value, dict):
        raise wrong(where, "must be an object")
    return value


def list_at(value: Any, where: str) -> list[Any]:
    """A list. Raises BadRequest for anything else."""
    if not isinstance(value, list):
        raise wrong(where, "must be a list")
    return value


def text_if(value: Any, where: str) -> str:
    """A string; "" where absent. Raises BadRequest."""
    return "" if value is None else text_at(value, where)


def flag_if(value: Any, where: str) -> bool | None:
    """A truth value; None where absent. Raises BadRequest."""
    if value is not None and not isinstance(value, bool):
        raise wrong(where, "must be true or false")
    return value


def number_if(value: Any, where: str) -> float | None:
    """A number; None where absent. Raises BadRequest."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise wrong(where, "must be a number")
    return value
