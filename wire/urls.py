"""Addresses of upstream, put together from a base URL and the client's own path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote_plus

MODELS_PATH: Mapping[str, str] = {
    "openai_chat": "/v1/models",
    "openai_responses": "/v1/models",
    "anthropic": "/v1/models",
    "gemini": "/v1beta/models",
}
"""Where each format lists its models."""
_VERSION = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")


def join(base_url: str, path: str, query: str = "") -> str:
    """Base URL plus path. A version segment at the head of the path is left out where the base URL has one of
    its own (`https://api.openai.com/v1`, `https://example.net/api/paas/v4`); a credential (`key`) never goes
    on."""
    address = _joined(base_url, path)
    kept = without_key(query) if query else ""
    return f"{address}?{kept}" if kept else address


@lru_cache(maxsize=256)
def _joined(base_url: str, path: str) -> str:
    base = base_url.rstrip("/")
    head, _, rest = path.lstrip("/").partition("/")
    _, _, after_scheme = base.partition("://")
    if _VERSION.fullmatch(head) and any(_VERSION.fullmatch(part) for part in after_scheme.split("/")[1:]):
        return f"{base}/{rest}"
    return f"{base}/{path.lstrip('/')}"


def without_key(query: str) -> str:
    """The query string less its `key` parameters, all else as it was."""
    if "key" not in query and "%" not in query:
        return query
    return "&".join(part for part in query.split("&") if _name(part) != "key")


def _name(part: str) -> str:
    return unquote_plus(part.partition("=")[0])


def model_path(model: str) -> str:
    """A model's name as path segments."""
    return quote(model, safe="/:@-._~")
