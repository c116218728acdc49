"""The simulator's own paths: script it, look at what it saw, reset it, from another process."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from simulator.ask import BadRequestError, load
from simulator.core import Raw, Seen, Vendor
from simulator.options import BadOptionError
from simulator.play import Play, whole


def answer(vendor: Vendor, seen: Seen) -> Play:
    """POST /_simulator/script, POST /_simulator/reset, GET /_simulator/requests."""
    match (seen.method, seen.path):
        case ("POST", "/_simulator/script"):
            try:
                _script(vendor, load(seen.body))
            except (BadRequestError, BadOptionError, ValueError) as error:
                return whole(orjson.dumps({"error": str(error)}), status=400)
            return whole(b'{"ok": true}')
        case ("POST", "/_simulator/reset"):
            vendor.reset()
            return whole(b'{"ok": true}')
        case ("GET", "/_simulator/requests"):
            told = {"total": vendor.total, "requests": [_told(each) for each in vendor.requests]}
            return whole(orjson.dumps(told))
        case _:
            return whole(b'{"error": "no such path"}', status=404)


def _script(vendor: Vendor, body: dict[str, Any]) -> None:
    """`{"secret": "sk-a", "plays": ["fault-401", {"raw": [base64, ...], "pause": 0.001, "then":
    "close"}]}`; `body` in place of `raw` lets the simulator write the head (`status`, `headers`). Raises
    ValueError."""
    secret, plays = body.get("secret", ""), body.get("plays")
    if not isinstance(secret, str) or not isinstance(plays, list):
        raise ValueError("'secret' must be text and 'plays' a list")
    vendor.script([each if isinstance(each, str) else _raw(each) for each in plays], secret=secret)


def _raw(told: object) -> Raw:
    given = told.get("raw", told.get("body")) if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(given, list):
        raise ValueError("a play is text, or an object with 'raw' or 'body', a list of base64 texts")
    pieces = tuple(base64.b64decode(piece, validate=True) for piece in given)
    head = None
    if "body" in told:
        headers = {"content-type": "text/event-stream", **told.get("headers", {})}
        head = (int(told.get("status", 200)), tuple(headers.items()))
    return Raw(pieces, min(float(told.get("pause", 0.001)), 60.0), head, str(told.get("then", "close")))


def _told(seen: Seen) -> dict[str, Any]:
    return {
        "method": seen.method,
        "path": seen.path,
        "query": seen.query,
        "headers": seen.headers,
        "secret": seen.secret,
        "time": seen.time,
        "body": base64.b64encode(seen.body).decode(),
        "left": seen.left,
        "done": seen.done.is_set(),
    }
