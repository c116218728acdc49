"""A target for tests of pure modules."""

from __future__ import annotations

from typing import Any

from providers.types import Candidate, Target


def target(**fields: Any) -> Target:
    """A target at which only `fields` differ from the ordinary."""
    ordinary: dict[str, Any] = {
        "provider_id": 1,
        "provider_name": "acme",
        "endpoint_id": 1,
        "key_id": 1,
        "key_name": "k1",
        "model_id": 1,
        "model_name": "fast",
        "upstream_name": "acme-fast",
        "format": "openai_chat",
        "base_url": "https://api.acme.example/v1",
        "secret": "sk-acme-0123456789",
    }
    return Target(**(ordinary | fields))


def candidate(skipped: str = "", **fields: Any) -> Candidate:
    """A candidate at `target(**fields)`."""
    return Candidate(target(**fields), skipped)
