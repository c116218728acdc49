"""Which models there are, as each vendor lists them."""

from __future__ import annotations

from typing import Any

import orjson

from simulator.ask import BadRequestError
from simulator.core import Seen
from simulator.made import Made
from simulator.options import parse

MODELS = {
    "sim": "Plain: forty words",
    "sim.think": "Thinks aloud first",
    "sim.tool": "Calls the first tool of the request",
    "sim.json": "Answers in JSON",
    "sim.chunks-500.delay-5": "Long and fast",
    "sim.wait-2000": "Slow to start",
    "sim.fault-429.retry-5": "Always rate limited",
    "sim.fault-529": "Always overloaded",
    "sim.fault-cut": "Breaks off in the middle",
}
"""Names shown in lists; every other name works too."""
_SINCE = 1_750_000_000


def answer(seen: Seen, dialect: str) -> Made | None:
    """GET of a model list or of one model; None for another path."""
    for prefix in ("/v1/models", "/v1beta/models"):
        if seen.path == prefix:
            return Made(parse("", str(seen.play)), [orjson.dumps(_listed(dialect))])
        if seen.path.startswith(prefix + "/"):
            name = seen.path.removeprefix(prefix + "/")
            return Made(parse("", str(seen.play)), [orjson.dumps(_one(dialect, name))], model=name)
    return None


def _listed(dialect: str) -> dict[str, Any]:
    models = [_one(dialect, name) for name in MODELS]
    match dialect:
        case "gemini":
            return {"models": models}
        case "anthropic":
            return {
                "data": models,
                "has_more": False,
                "first_id": models[0]["id"],
                "last_id": models[-1]["id"],
            }
        case _:
            return {"object": "list", "data": models}


def _one(dialect: str, name: str) -> dict[str, Any]:
    if not name:
        raise BadRequestError("A model's name is missing.")
    title = MODELS.get(name, name)
    match dialect:
        case "gemini":
            return {
                "name": "models/" + name,
                "version": "001",
                "displayName": title,
                "description": title,
                "inputTokenLimit": 1_000_000,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
                "temperature": 1,
                "topP": 0.95,
                "topK": 64,
            }
        case "anthropic":
            return {
                "type": "model",
                "id": name,
                "display_name": title,
                "created_at": "2025-06-15T15:06:40Z",
                "lifecycle": "active",
                "max_input_tokens": 200_000,
                "max_tokens": 64_000,
            }
        case _:
            return {"id": name, "object": "model", "created": _SINCE, "owned_by": "simulator"}
