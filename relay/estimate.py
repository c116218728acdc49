"""A count of tokens where no endpoint offers one: from the size of the request, said to be an estimate."""

from __future__ import annotations

import math

import orjson

TOKENS_OF_STRUCTURE = 0.75
"""Share of a request body that is text and not JSON's own punctuation and keys."""


def estimated_count(api_format: str, request_bytes: int, bytes_per_token: float) -> bytes:
    """The answer body of a count-tokens call, in the client's format."""
    tokens = estimated_tokens(request_bytes, bytes_per_token)
    return orjson.dumps({"totalTokens": tokens} if api_format == "gemini" else {"input_tokens": tokens})


def estimated_tokens(request_bytes: int, bytes_per_token: float) -> int:
    """About how many tokens a request is, at least 1."""
    return max(1, math.ceil(request_bytes * TOKENS_OF_STRUCTURE / bytes_per_token))
