"""Plain values of the wire: what a request asks, what an answer reported, what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

GENERATE = "generate"
COUNT_TOKENS = "count_tokens"
EMBED = "embed"
RERANK = "rerank"
COMPLETE = "complete"
MODERATE = "moderate"
IMAGE = "image"
SPEECH = "speech"
TRANSCRIBE = "transcribe"
STORED = "stored"  # GET, DELETE and friends on a stored Responses object

MAX_COUNT = 10**8
"""Greatest believable usage number; anything beyond counts as absent (stream-context.md)."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one attempt. Counts are inclusive parents: input contains cache reads and writes, output
    contains reasoning (wire.md, "Usage, normalised on the way in").

    `input_reported` and `output_reported` tell whether upstream gave the number at all; `final` whether the
    output count came with the end of the answer. `write_split_assumed`: only the sum of cache writes was
    given and all of it was taken as 5-minute writes. `suspect`: a counter was invalid or had to be cut.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    tool_uses: Mapping[str, int] = msgspec.field(default_factory=dict)
    service_tier: str = ""
    input_reported: bool = False
    output_reported: bool = False
    final: bool = False
    write_split_assumed: bool = False
    suspect: bool = False

    @property
    def cache_write_tokens(self) -> int:
        """Both kinds of cache writes together."""
        return self.cache_write_5m_tokens + self.cache_write_1h_tokens


class Brief(msgspec.Struct, frozen=True):
    """What the relay must know of a request before it is sent, read without parsing the whole.

    `model` is the name the caller asked for. `needs` are capability tags (`vision`, `tools`, `thinking`,
    `context_1m`, `cache_1h`, `documents`, `audio`). `count` is `n`, `candidateCount` or the number of
    inputs. `wants_usage` is the client's own `stream_options.include_usage`. `array` marks Gemini's streamed
    JSON array (no `alt=sse`). `previous_id` is `previous_response_id`. `store` is None where not said.
    """

    model: str
    kind: str = GENERATE
    stream: bool = False
    wants_usage: bool = False
    array: bool = False
    count: int = 1
    max_tokens: int | None = None
    needs: frozenset[str] = frozenset()
    previous_id: str = ""
    store: bool | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """An error of ours, spoken to a client in its own format. `code` is a key of `FAULT_CODES`; `param` names
    the offending field; `status` overrides the format's own status for the code (an upstream 422, say).
    `text` is public: no secret, no host, no balance."""

    code: str
    text: str
    param: str = ""
    status: int = 0


FAULT_CODES: tuple[str, ...] = (
    "invalid_request",  # 400
    "invalid_api_key",  # 401
    "forbidden",  # 403
    "model_not_found",  # 404
    "not_found",  # 404
    "method_not_allowed",  # 405
    "request_timeout",  # 408: the client was too slow in sending
    "too_large",  # 413
    "unprocessable",  # 422
    "rate_limited",  # 429
    "insufficient_quota",  # 429 / anthropic 402
    "internal",  # 500
    "upstream_error",  # 502
    "overloaded",  # 503 / anthropic 529
    "unavailable",  # 503
    "timeout",  # 504
    "interrupted",  # in-stream only: our shutdown, a revoked key; 503 before the first byte
)


@dataclass(frozen=True, slots=True)
class InbandError:
    """An error that upstream put inside an answer or an error body. `status` is its real meaning as an HTTP
    status (529 for overloaded_error, 429 for rate limits, else 500 where it cannot be told); `type`, `text`
    and `code`, where it is a word beside the type, are the vendor's own, not yet scrubbed."""

    status: int
    type: str
    text: str
    code: str = field(default="", compare=False)


class BadRequest(ValueError):
    """The caller's body cannot be relayed. `status` is 400 or 413, `param` names the field."""

    def __init__(self, text: str, *, param: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.param = param
        self.status = status


class FrameTooLarge(ValueError):
    """One event, or a line outside data, passed its cap."""


class BadFrame(ValueError):
    """A frame is not what its format allows (invalid JSON or UTF-8 where it must be read)."""
