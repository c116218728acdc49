"""StreamContext: the typed state of one relayed request. A struct, not a dataclass: making one with its sixty
fields is then work of C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from wire.format import StreamWatch, WholeReading
from wire.types import Brief, Usage

if TYPE_CHECKING:
    from consumers.auth import Caller
    from providers.types import Target
    from relay.conversion import Conversion
    from relay.leases import Lease
    from relay.payload import Payload

NO_USAGE = Usage()
TEXT_CAP = 1 << 20
"""Default for how much text, and how much of the chunks' bytes, one request may keep."""


class AttemptLog(msgspec.Struct, eq=False):
    """What one attempt was and how it went; becomes a row of the ledger."""

    number: int
    target: Target
    started_at: int
    """Unix milliseconds."""
    began: float
    """Monotonic seconds."""
    phase: str = "connect"
    verdict: str = ""
    reason: str = ""
    status_code: int = 0
    error_type: str = ""
    error_text: str = ""
    rule_id: int | None = None
    """The operator's rule that judged its failure, if one did."""
    decided_by: str = ""
    """That rule's name, or the built-in line's; empty where nothing was said."""
    upstream_request_id: str = ""
    first_byte_ms: int | None = None
    first_token_ms: int | None = None
    total_ms: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    usage: Usage = NO_USAGE
    reading: WholeReading | None = None
    """What a whole answer said."""
    delivered: bool = False
    ended: bool = False
    maybe_billed: bool = False
    conversion: Conversion | None = None
    """How request and answer are brought from format to format; None where they pass as they are."""
    watch: StreamWatch | None = None
    """What follows the stream that answers; it knows the usage so far."""

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of text that were delivered to us. Takes time: they are measured when asked."""
        told = self.watch or self.reading
        return told.text_bytes if told is not None else 0

    def sent(self) -> None:
        """The whole request has left: from here on the vendor may do the work, and bill it."""
        if self.phase == "send":
            self.phase = "headers"


class StreamContext(msgspec.Struct, eq=False):
    """One request from its first byte to its record. Only `pipeline` and `answer` write it.

    Token counts are inclusive: `input_tokens` contains cache reads and writes, `output_tokens` reasoning.
    `cache_creation_tokens` is both kinds of cache writes together. `repr` shows no body, header value or
    secret.
    """

    # asked
    model: str
    api_format: str

    # provider, filled when an attempt starts
    provider_name: str | None = None
    provider_id: int | None = None
    endpoint_id: int | None = None
    key_id: int | None = None
    attempt_id: str | None = None
    provider_api_format: str | None = None

    # mapping
    mapped_model: str | None = None
    conversion: str = ""
    """`lossless`, or what was dropped, where the answer went from format to format."""

    # tokens
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_creation_tokens: int = 0

    # text
    text_parts: list[str] | None = None
    text_cap: int = TEXT_CAP
    text_size: int = 0

    # status
    status_code: int = 200
    error_message: str | None = None
    has_completion: bool = False

    # wire data
    response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    provider_request_headers: dict[str, str] = msgspec.field(default_factory=dict)
    provider_request_body: Any = None

    # counters
    data_count: int = 0
    chunk_count: int = 0
    parsed_chunks: list[Any] = msgspec.field(default_factory=list)

    # identity of the request
    request_text: str = ""
    """The request's id."""
    caller: Caller | None = None
    brief: Brief | None = None
    client_request_id: str = ""
    address: str = ""
    user_agent: str = ""
    request_bytes: int = 0
    payload: Payload | None = None
    lease: Lease | None = None
    """Its place among the requests of its API key, where those are limited."""
    body_held: int = 0
    """Bytes of the request's body that count against the memory for bodies."""
    kind: str = "generate"
    drilled: bool = False
    """Whether a fault is played for its API key: then what fails is no vendor's doing."""
    revision: int = 0
    """The newest change that the catalog of this request was sure to hold."""

    # kept only where the API key asks for a recording
    client_request_headers: dict[str, str] | None = None
    request_body: bytes | None = None
    upstream_response_headers: dict[str, str] | None = None
    truncated_body: bool = False

    # the way taken
    attempts: list[AttemptLog] = msgspec.field(default_factory=list)
    explanation: Any = None
    """The plan as plain values, kept with a request that failed."""
    model_id: int | None = None

    # learned from the attempt
    usage: Usage = NO_USAGE
    finish_reason: str = ""
    response_id: str = ""
    history: bytes = b""
    """Items that a converted answer goes on from, where such are kept (`relay.histories`)."""
    chunk_bytes: int = 0
    truncated: bool = False
    ended_early: bool = False
    """Upstream's stream ended without its end marker."""
    first_token_ms: int | None = None

    # told to the client
    sent_status: int = 0
    committed: bool = False
    """A meaningful frame went out: there is no second attempt from here on."""
    error_code: str = ""
    outcome: str = ""
    interruption: str = ""
    """Why we end it ourselves, where we do: `shutdown`, `revoked`, `stalled`, `late` (its body is)."""
    settled: bool = False
    amendments: int = 0
    body_lost: bool = False

    # times
    started_at: int = 0
    """Unix milliseconds."""
    began: float = 0.0
    """Monotonic seconds, as all below."""
    dispatched: float | None = None
    reading_since: float | None = None
    """Set while the client's body is read."""
    reading: float = 0.0
    """Seconds spent waiting for the client's body."""
    waiting: float = 0.0
    """Seconds spent waiting for a slot."""
    first_byte_ms: int | None = None
    blocked_since: float | None = None
    """Set while we wait for the client to take what we send."""
    checkpointed: float = 0.0
    checkpoint_mark: int = 0
    ring: Callable[[], None] | None = None
    """Wakes the stream from its wait for upstream."""
    task: asyncio.Task[Any] | None = None
    cut: Callable[[], None] | None = None
    """Closes the client's connection at once."""

    def __repr__(self) -> str:
        return (
            f"<StreamContext {self.request_text} model={self.model!r} format={self.api_format} "
            f"provider={self.provider_name!r} status={self.status_code} attempts={len(self.attempts)} "
            f"outcome={self.outcome!r}>"
        )

    @property
    def collected_text(self) -> str:
        """The text delivered so far, where bodies are recorded; at most `text_cap` characters."""
        return "".join(self.text_parts or ())

    @collected_text.setter
    def collected_text(self, text: str) -> None:
        self.text_parts, self.text_size = None, 0
        self.append_text(text)

    def append_text(self, text: str) -> None:
        """Adds delivered text. What passes the cap is dropped and flags the request `truncated`."""
        room = self.text_cap - self.text_size
        if len(text) > room:
            self.truncated = self.truncated_body = True
            text = text[: max(room, 0)]
        if text:
            if self.text_parts is None:
                self.text_parts = []
            self.text_parts.append(text)
            self.text_size += len(text)

    @property
    def frames_seen(self) -> int:
        """Frames of the answer so far; `chunk_count` is told at its end."""
        watch = self.attempts[-1].watch if self.attempts else None
        return self.chunk_count if watch is None else watch.frames

    def append_chunk(self, chunk: Any, size: int) -> None:
        """Keeps one parsed data event of `size` bytes, up to the cap; beyond it only the flag `truncated`
        tells."""
        if self.chunk_bytes + size > self.text_cap:
            self.truncated = self.truncated_body = True
            return
        self.chunk_bytes += size
        self.parsed_chunks.append(chunk)

    def reset_for_retry(self) -> None:
        """Forgets all that was learned from an attempt, so that nothing of a failed one is counted. The
        request's own identity, its attempts so far and the instants of the request stay."""
        self.parsed_chunks, self.text_parts = [], None
        self.data_count = self.chunk_count = self.chunk_bytes = self.text_size = 0
        self.has_completion = self.truncated = self.truncated_body = self.ended_early = False
        self.input_tokens = self.output_tokens = self.cached_tokens = self.cache_creation_tokens = 0
        self.status_code, self.error_message = 200, None
        self.response_headers, self.upstream_response_headers = {}, None
        self.provider_request_headers, self.provider_request_body = {}, None
        self.usage = NO_USAGE
        self.finish_reason = self.response_id = self.conversion = ""
        self.first_byte_ms = self.first_token_ms = None
        self.checkpoint_mark = 0

    def update_provider_info(
        self,
        provider_name: str,
        provider_id: int,
        endpoint_id: int,
        key_id: int,
        provider_api_format: str | None = None,
    ) -> None:
        """Tells where the coming attempt goes; all five are assigned, so none is left over from its
        predecessor."""
        self.provider_name = provider_name
        self.provider_id = provider_id
        self.endpoint_id = endpoint_id
        self.key_id = key_id
        self.provider_api_format = provider_api_format

    def update_usage(
        self,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_tokens: int | None = None,
        cache_creation_tokens: int | None = None,
    ) -> None:
        """Takes finished, inclusive numbers, each field alone: None is ignored; a value is taken if it is
        above 0 or the current one is 0. A later 0 never wipes a good number, a later smaller one replaces
        it."""
        if input_tokens is not None and (input_tokens > 0 or self.input_tokens == 0):
            self.input_tokens = input_tokens
        if output_tokens is not None and (output_tokens > 0 or self.output_tokens == 0):
            self.output_tokens = output_tokens
        if cached_tokens is not None and (cached_tokens > 0 or self.cached_tokens == 0):
            self.cached_tokens = cached_tokens
        if cache_creation_tokens is not None and (
            cache_creation_tokens > 0 or self.cache_creation_tokens == 0
        ):
            self.cache_creation_tokens = cache_creation_tokens

    def mark_failed(self, status_code: int, error_message: str) -> None:
        """Sets status and message, and nothing else."""
        self.status_code = status_code
        self.error_message = error_message

    def is_success(self) -> bool:
        return self.status_code < 400

    def build_response_body(self, response_time_ms: int) -> dict[str, Any]:
        """The recorded form of a streamed answer."""
        return {
            "chunks": self.parsed_chunks,
            "metadata": {
                "stream": True,
                "total_chunks": len(self.parsed_chunks),
                "data_count": self.data_count,
                "has_completion": self.has_completion,
                "response_time_ms": response_time_ms,
            },
        }

    def get_log_summary(self, request_id: str, response_time_ms: int) -> str:
        """One line for the log: `[OK] 1a2b3c4d | model | provider | 123ms | in:100 out:50`."""
        mark = "OK" if self.is_success() else "FAIL"
        first = "" if self.first_byte_ms is None else f" (first byte {self.first_byte_ms}ms)"
        return (
            f"[{mark}] {request_id[:8]} | {self.model} | {self.provider_name or 'unknown'} | "
            f"{response_time_ms}ms{first} | in:{self.input_tokens} out:{self.output_tokens}"
        )
