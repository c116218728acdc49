"""Stored Responses: kept in a bounded map per secret, fetched, listed, deleted."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.ask import Ask
from simulator.core import Seen, Vendor
from simulator.play import Play, whole

MAX_STORED = 1_000
MAX_BYTES = 2**20


def keep(vendor: Vendor, secret: str, fresh: str, response: bytes, ask: Ask) -> None:
    """Remember a response under its secret; the oldest go first, and a very large one is not kept at all."""
    inputs = ask.body["input"]
    if isinstance(inputs, str):
        inputs = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": inputs}]}]
    kept = response, orjson.dumps(inputs)
    if sum(map(len, kept)) > MAX_BYTES:
        return
    vendor.stored[secret, "resp_" + fresh] = kept
    while len(vendor.stored) > MAX_STORED:
        del vendor.stored[next(iter(vendor.stored))]


def unknown_previous(vendor: Vendor, seen: Seen, ask: Ask) -> Play | None:
    """The refusal of a `previous_response_id` that this secret does not have, or None."""
    previous = ask.body.get("previous_response_id")
    if not previous or (seen.secret, previous) in vendor.stored:
        return None
    error = {
        "message": f"Previous response with id '{previous}' not found.",
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found",
    }
    return whole(orjson.dumps({"error": error}), status=400)


def answer(vendor: Vendor, seen: Seen) -> Play | None:
    """GET, DELETE, /input_items and /cancel of one response; None where it is unknown."""
    id_, _, rest = seen.path.removeprefix("/v1/responses/").partition("/")
    kept = vendor.stored.get((seen.secret, id_))
    if kept is None:
        return None
    response, inputs = kept
    match (seen.method, rest):
        case ("GET", ""):
            return whole(response)
        case ("DELETE", ""):
            del vendor.stored[seen.secret, id_]
            return whole(orjson.dumps({"id": id_, "object": "response", "deleted": True}))
        case ("GET", "input_items"):
            return whole(orjson.dumps(_listed(orjson.loads(inputs))))
        case ("POST", "cancel"):
            text = "Only responses created with background=true can be cancelled."
            error = {"message": text, "type": "invalid_request_error", "param": None, "code": None}
            return whole(orjson.dumps({"error": error}), status=400)
        case _:
            return None


def _listed(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    items = []
    for number, item in enumerate(inputs):
        content = item.get("content")
        if isinstance(content, str):
            content = [{"type": "input_text", "text": content}]
        told = {"id": f"msg_{number:032x}", "type": "message", "status": "completed", **item}
        items.append({**told, "content": content} if content is not None else told)
    items.reverse()
    ends = (items[0]["id"], items[-1]["id"]) if items else ("", "")
    return {"object": "list", "data": items, "first_id": ends[0], "last_id": ends[1], "has_more": False}
