"""The model lists, in three shapes: what this API key may call, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from consumers.auth import Caller
from providers.catalog import Catalog
from providers.types import ModelEntry
from relay import headers as header_rules
from relay.answer import Answer
from relay.call import Call
from relay.errors import Refused
from relay.routes import Match
from usage.refusal import Rule
from wire import FORMATS
from wire.types import Fault


def shape(call: Call) -> str:
    """The format whose list a client expects, told by its path and headers."""
    if call.path.startswith("/v1beta") or call.header(b"x-goog-api-key"):
        return "gemini"
    if call.header(b"anthropic-version"):
        return "anthropic"
    return "openai_chat"


def answer(catalog: Catalog, caller: Caller, found: Match, *, api_format: str, request_id: str) -> Answer:
    """The list of models, or one of it. Raises Refused, 404, for a model out of the caller's reach."""
    entries = [entry for entry in catalog.models() if _may(caller, entry)]
    value: dict[str, Any]
    if found.name:
        entry = next(
            (each for each in entries if found.name == each.name or found.name in each.aliases), None
        )
        if entry is None:
            raise Refused(
                Fault("model_not_found", f"There is no model {found.name!r} for this API key.", "model"),
                rule=Rule.NOT_LISTED,
            )
        value = _ONE[api_format](entry)
    else:
        value = _LIST[api_format]([_ONE[api_format](each) for each in entries])
    body = orjson.dumps(value)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *header_rules.own(request_id),
    ]
    return Answer(200, headers, body=body)


def _may(caller: Caller, entry: ModelEntry) -> bool:
    if caller.allowed_models is not None and entry.id not in caller.allowed_models:
        return False
    spoken = {
        name
        for name in FORMATS
        if (caller.allowed_formats is None or name in caller.allowed_formats)
        and (entry.allowed_formats is None or name in entry.allowed_formats)
    }
    converted = bool(spoken) and entry.conversion != "off"
    return any(
        not candidate.skipped
        and (caller.allowed_providers is None or candidate.target.provider_id in caller.allowed_providers)
        and (converted or candidate.target.format in spoken)
        for candidate in entry.candidates
    )


def _openai(entry: ModelEntry) -> dict[str, Any]:
    return {"id": entry.name, "object": "model", "created": entry.created_at, "owned_by": "aether"}


def _anthropic(entry: ModelEntry) -> dict[str, Any]:
    created = datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": entry.name,
        "display_name": entry.name,
        "created_at": created,
        "lifecycle": "active",
        "max_input_tokens": entry.context_window,
        "max_tokens": entry.max_output_tokens,
    }


def _gemini(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": f"models/{entry.name}",
        "baseModelId": entry.name,
        "version": "1",
        "displayName": entry.name,
        "inputTokenLimit": entry.context_window,
        "outputTokenLimit": entry.max_output_tokens,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


_ONE = {"openai_chat": _openai, "anthropic": _anthropic, "gemini": _gemini}
_LIST = {
    "openai_chat": lambda models: {"object": "list", "data": models},
    "anthropic": lambda models: {
        "data": models,
        "has_more": False,
        "first_id": models[0]["id"] if models else None,
        "last_id": models[-1]["id"] if models else None,
    },
    "gemini": lambda models: {"models": models},
}
