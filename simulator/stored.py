"""Stored Responses: kept in a bounded map per secret, fetched, listed, deleted."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.ask import Ask
from simulator.compose import CREATED, ID, compose
from simulator.core import Seen, Vendor
from simulator.options import Options
from simulator.play import Play, whole
from simulator.responses import whole as whole_response

MAX_STORED = 1_000


def keep(
    vendor: Vendor, seen: Seen, ask: Ask, options: Options, fresh: str, pieces: list[bytes], *, streamed: bool
) -> None:
    """Remember a response under its secret; the oldest go first."""
    body = pieces[0] if pieces and not streamed else b""
    if not body:
        told = orjson.dumps(whole_response(compose(ask, options)))
        body = told.replace(ID.encode(), fresh.encode()).replace(str(CREATED).encode(), b"1760000000")
    inputs = ask.body["input"]
    if isinstance(inputs, str):
        inputs = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": inputs}]}]
    vendor.stored[seen.secret, "resp_" + fresh] = orjson.dumps([orjson.loads(body), inputs])
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
    response, inputs = orjson.loads(kept)
    match (seen.method, rest):
        case ("GET", ""):
            return whole(orjson.dumps(response))
        case ("DELETE", ""):
            del vendor.stored[seen.secret, id_]
            return whole(orjson.dumps({"id": id_, "object": "response", "deleted": True}))
        case ("GET", "input_items"):
            return whole(orjson.dumps(_listed(inputs)))
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
