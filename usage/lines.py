"""The two lines that every request leaves in a journal, as typed values: `start` and `final`.

A `final` line is an array: each value has its place, and the first line of its segment names the places, so
that whoever knows other columns than ours still reads it. `named` gives it back by names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from usage.framing import framed, presentable

Int16 = Annotated[int, Meta(ge=-(2**15), le=2**15 - 1)]
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Text10 = Annotated[str, Meta(max_length=10)]
Text16 = Annotated[str, Meta(max_length=16)]
Text20 = Annotated[str, Meta(max_length=20)]
Text24 = Annotated[str, Meta(max_length=24)]
Text40 = Annotated[str, Meta(max_length=40)]
Text120 = Annotated[str, Meta(max_length=120)]
Text200 = Annotated[str, Meta(max_length=200)]
Text300 = Annotated[str, Meta(max_length=300)]

NULL = Raw(b"null")


class Begun(msgspec.Struct, frozen=True, gc=False):
    """An attempt that begins, with all that its charge needs if this process dies. `price` is
    `Price.plain()`, or null."""

    request_id: str
    number: int
    started_at: int
    provider_id: int
    provider_name: str
    endpoint_id: int
    key_id: int
    key_name: str
    model_id: int
    upstream_model: str
    upstream_format: str
    cost_multiplier: int
    free: bool
    context_window: int
    bytes_per_token: float
    price: Raw


class Start(msgspec.Struct, frozen=True, gc=False):
    """A request that begins its first attempt."""

    request_id: str
    kind: str
    started_at: int
    consumer_id: int | None
    consumer_name: str
    api_key_id: int | None
    api_key_name: str
    model_id: int | None
    model_name: str
    client_format: str
    is_stream: bool
    address: str | None
    client_request_id: str
    request_bytes: int
    user_agent: str
    attempt: Begun


class RecordLine(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Columns of a record. What the recorder has to convert comes first."""

    request_id: str
    started_at: int
    address: str | None
    tool_uses: Raw
    explanation: Raw
    kind: Text16
    consumer_id: Int64 | None
    consumer_name: Text120
    api_key_id: Int64 | None
    api_key_name: Text120
    provider_id: Int64 | None
    provider_name: Text120
    endpoint_id: Int64 | None
    key_id: Int64 | None
    key_name: Text120
    model_id: Int64 | None
    model_name: Text200
    upstream_model: Text200
    client_format: Text20
    upstream_format: Text20
    is_stream: bool
    input_tokens: Int32
    output_tokens: Int32
    cached_tokens: Int32
    cache_creation_tokens: Int32
    cache_creation_1h_tokens: Int32
    reasoning_tokens: Int32
    usage_source: Text10
    service_tier: Text20
    list_cost: Int64 | None
    own_cost: Int64
    saved_cost: Int64
    outcome: Text16
    status_code: Int16
    error_code: Text40
    error_text: str
    finish_reason: Text40
    first_byte_ms: Int32 | None
    first_token_ms: Int32 | None
    total_ms: Int32
    overhead_us: Int32 | None
    attempt_count: Int16
    config_revision: Int64
    client_request_id: Text120
    estimated: bool
    suspect: bool
    truncated: bool
    unpriced: bool
    body_lost: bool
    lossy: bool
    conversion: Text200


class AttemptLine(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Columns of an attempt."""

    number: Annotated[int, Meta(ge=1, le=255)]
    started_at: int
    provider_id: Int64 | None
    provider_name: Text120
    endpoint_id: Int64 | None
    key_id: Int64 | None
    key_name: Text120
    model_id: Int64 | None
    upstream_model: Text200
    upstream_format: Text20
    cost_multiplier: Int64
    phase: Text16
    verdict: Text24
    reason: Text40
    status_code: Int16
    error_type: Text200
    error_text: str
    rule_id: Int64 | None
    decided_by: Text120
    upstream_request_id: Text120
    first_byte_ms: Int32 | None
    first_token_ms: Int32 | None
    total_ms: Int32
    bytes_sent: Int64
    bytes_received: Int64
    maybe_billed: bool
    input_tokens: Int32
    output_tokens: Int32
    cached_tokens: Int32
    cache_creation_tokens: Int32
    cache_creation_1h_tokens: Int32
    reasoning_tokens: Int32
    list_cost: Int64 | None
    own_cost: Int64


class Final(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """A request that is over. `price` holds the columns of its PriceSnapshot, `stored` those of its
    StoredResponse, both null where there is none."""

    record: RecordLine
    attempts: list[AttemptLine]
    user_agent: Text300
    price: Raw
    stored: Raw


Columns = Mapping[str, Sequence[str]]
COLUMNS: dict[str, list[str]] = {
    "final": list(Final.__struct_fields__),
    "record": list(RecordLine.__struct_fields__),
    "attempt": list(AttemptLine.__struct_fields__),
}
"""The places of a `final` line and of the arrays in it, as a segment's first line names them. In every
version the record comes first, and in it the request's id."""

_encode = msgspec.json.Encoder().encode
decode_final = msgspec.json.Decoder(Final).decode
"""A Final from its JSON. Raises ValueError for whatever fits no column."""


def encode_line(kind: bytes, value: msgspec.Struct) -> bytes:
    """The line's bytes; lone surrogates in it are replaced rather than refused."""
    try:
        body = _encode(value)
    except UnicodeEncodeError:
        body = _encode(_presentable(value))
    return framed(kind, body)


def _presentable(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        changed = {name: _presentable(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **changed)
    if isinstance(value, list):
        return [_presentable(each) for each in value]
    return presentable(value) if isinstance(value, str) else value


def named(payload: Any, columns: Columns) -> Any:
    """A `final` line's JSON by names, whose places `columns` tells; what has its names already is left as it
    is. Raises ValueError, TypeError or KeyError where the places do not fit."""
    if not isinstance(payload, list):
        return payload
    final = dict(zip(columns["final"], payload, strict=True))
    final["record"] = dict(zip(columns["record"], final["record"], strict=True))
    final["attempts"] = [dict(zip(columns["attempt"], each, strict=True)) for each in final["attempts"]]
    return final


def request_of(payload: Any) -> str:
    """The request's id of a `final` line's JSON, of any version. Raises KeyError, TypeError or IndexError."""
    return str(payload[0][0] if isinstance(payload, list) else payload["record"]["request_id"])
