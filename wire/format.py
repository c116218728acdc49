"""The protocol that each wire format fulfils, as far as same-format traffic needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from wire.sse import MAX_EVENT
from wire.types import Brief, Fault, InbandError, Usage


class Passed(msgspec.Struct, frozen=True):
    """What one `feed` lets through. `out`: whole frames, byte for byte, to forward now. `end`: the frame that
    ends the answer and whatever follows it in the same read; it may go out only once the request is
    settled."""

    out: bytes = b""
    end: bytes = b""


class StreamWatch(Protocol):
    """Follows one streamed answer in the bypass: cuts the bytes into whole frames and looks into a frame only
    where a substring hint says that it carries usage, an error or the end. Until the first meaningful frame
    (content, tool call, reasoning, or the end) every frame is parsed.

    After `error` is set nothing more is passed; the error frame itself is never in `out`.
    """

    error: InbandError | None

    @property
    def meaningful(self) -> bool:
        """Whether there was a meaningful frame."""

    @property
    def ended(self) -> bool:
        """The format's own end was seen (chat: `[DONE]`, or, at end of file, a finish_reason)."""

    @property
    def response_id(self) -> str:
        """The vendor's id of the answer."""

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in the vendor's words."""

    @property
    def frames(self) -> int:
        """Frames seen so far. Counted when asked."""

    @property
    def data_frames(self) -> int:
        """Frames with data, other than `[DONE]`. Counted when asked."""

    @property
    def sequence(self) -> int:
        """How many events the client was told: the sequence number of the next."""

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of delivered text, by the format's own keys (accounting.md). Measured when asked."""

    def feed(self, data: bytes) -> Passed:
        """Takes one read. Raises FrameTooLarge; raises BadFrame only before the first meaningful frame."""

    def finish(self) -> Passed:
        """Tells end of file. `ended` is right afterwards; an unfinished frame is dropped (never
        forwarded)."""

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""


class WholeReading(msgspec.Struct, frozen=True):
    """What a whole (unstreamed) answer says."""

    usage: Usage
    finish_reason: str = ""
    response_id: str = ""
    has_content: bool = True
    """False for an answer that holds nothing at all (`{}`, no choices): an empty answer."""
    error: InbandError | None = None
    body: bytes = b""
    measure: Callable[[bytes], int] | None = None
    """Finds out how much text the body holds."""

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of delivered text, by the format's own keys (accounting.md). Measured when asked."""
        return self.measure(self.body) if self.measure is not None else 0


class WireFormat(Protocol):
    """One dialect. Stateless; everything it needs comes in as arguments."""

    name: str

    def peek(
        self,
        body: bytes,
        *,
        kind: str,
        path: str = "",
        model: str = "",
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Brief:
        """Reads what the relay must know. `path` is the client's own path: Gemini says there whether it
        streams, and, where `model` does not give it, the model's name. Raises BadRequest."""

    def retarget(self, body: bytes, brief: Brief, *, model: str, ask_usage: bool = True) -> bytes:
        """The body for upstream: a splice of the model name and of `stream_options.include_usage`, nothing
        else changes. Returns `body` itself where nothing must change."""

    def upstream_url(self, base_url: str, brief: Brief, *, model: str, path: str, query: str = "") -> str:
        """The address to call. `path` is the client's own path (`/v1/chat/completions`); a version segment in
        both base URL and path is not doubled; `key` is dropped from the query."""

    def credentials(self, secret: str, style: str = "") -> dict[str, str]:
        """Headers that carry the upstream secret. `style` is "" for the format's own way or "bearer"."""

    def watch(self, brief: Brief, *, max_event: int = MAX_EVENT) -> StreamWatch:
        """A fresh watch for one streamed attempt."""

    def read_whole(self, body: bytes, brief: Brief) -> WholeReading:
        """Reads a whole answer. Raises BadFrame where it is not JSON of this format."""

    def read_error(self, status: int, body: bytes) -> InbandError:
        """The vendor's error body, whatever its shape; never raises."""

    def fault(self, fault: Fault, request_id: str) -> tuple[int, bytes]:
        """Status and JSON body by which this format tells an error before the first byte."""

    def fault_event(
        self, fault: Fault, request_id: str, *, array: bool = False, opened: bool = True, sequence: int = 0
    ) -> bytes:
        """The bytes by which this format tells a failure in mid-stream and closes (faults.md, "Wire shapes").
        `array` is Gemini's array mode, `opened` whether its `[` and an element were sent already; `sequence`
        is the next sequence number of a Responses stream: the watch's `data_frames`."""

    def keep_alive(self, *, array: bool = False) -> bytes:
        """Bytes that keep an idle stream open and that the official SDK ignores."""

    def texts(self, event: Mapping[str, Any]) -> Iterable[str]:
        """The delivered text in one parsed event or whole answer, for body recording."""
