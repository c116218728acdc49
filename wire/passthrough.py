"""What the watches of all formats share: frames forwarded as they are, looked into only on a hint.

Once an answer has begun in earnest the work of a read is a few substring searches over all its frames
together; a frame is parsed only if a hint stands in it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import Enum

import orjson

from wire.errors import read_inband
from wire.format import Passed
from wire.jsons import load_object
from wire.sse import MAX_EVENT, Frame, Framer, count_frames, frames
from wire.types import BadFrame, Brief, InbandError, Usage
from wire.usage import Counters

NOTHING = Passed()
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


class Sight(Enum):
    """What becomes of a frame that was looked into."""

    PASS = 1
    WITHHOLD = 2
    END = 3
    """The frame ends the answer; it and all that follows waits for settlement."""


class Meter:
    """Measures delivered text in frames without parsing them: the string values of some keys."""

    __slots__ = ("_patterns",)

    def __init__(self, *keys: str) -> None:
        # A pattern per key, as a search for a fixed beginning is several times faster than one for
        # alternatives. A quote within a string is always escaped, so `key"` followed by a colon can only be a
        # key's end; line ends are excluded, as a JSON string cannot hold one, so that no match runs from a
        # frame into the next.
        self._patterns = [
            (
                f'{key}"'.encode(),
                re.compile(rb'"%b"\s*+:\s*+"([^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+)"' % key.encode()),
            )
            for key in keys
        ]

    def measure(self, block: bytes) -> int:
        """UTF-8 bytes of the decoded values."""
        size = 0
        for hint, pattern in self._patterns:
            if hint in block:
                size += text_size(b"".join(pattern.findall(block)))
        return size


def text_size(escaped: bytes) -> int:
    """UTF-8 bytes of a JSON string's content."""
    if b"\\" not in escaped:
        return len(escaped)
    try:
        return len(orjson.loads(b'"%b"' % escaped).encode())
    except ValueError:
        # A lone surrogate, or bytes that are no UTF-8.
        return len(_ESCAPE.sub(_plain_size, escaped))


def _plain_size(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        return b"."
    code = int(match[1], 16)
    if code < 0x80:
        return b"."
    # Each half of a surrogate pair counts for two of the four bytes.
    return b".." if code < 0x800 or 0xD800 <= code <= 0xDFFF else b"..."


class Watch(ABC):
    """A StreamWatch but for what a format alone knows: `_hinted`, `_look` and the meter."""

    _meter: Meter

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        self._brief = brief
        self._framer = Framer(max_event)
        self._raw = Counters()
        self._over = False
        self.meaningful = False
        self.ended = False
        self.error: InbandError | None = None
        self.finish_reason = ""
        self.response_id = ""
        self.frames = 0
        self.data_frames = 0
        self.text_bytes = 0

    @abstractmethod
    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""

    @abstractmethod
    def _hinted(self, block: bytes) -> bool:
        """Whether something in these bytes may be usage, an error or the end."""

    @abstractmethod
    def _look(self, frame: Frame) -> Sight:
        """Reads one frame with data. Sets `error` where it is one. Raises BadFrame where it cannot be
        read."""

    def _done(self) -> Sight:
        """OpenAI's `[DONE]`; in other formats a stray that means nothing."""
        return Sight.PASS

    def feed(self, data: bytes) -> Passed:
        """Takes one read."""
        if self.error is not None:
            return NOTHING
        block = self._framer.feed(data)
        return self._take(block) if block else NOTHING

    def finish(self) -> Passed:
        """Tells end of file."""
        if self.error is not None:
            return NOTHING
        block = self._framer.finish()
        passed = self._take(block) if block else NOTHING
        if not self.meaningful and self.error is None:
            self._look_at_rest(self._framer.pending)
        return passed

    def _take(self, block: bytes) -> Passed:
        if self.meaningful and not self._over and not self._hinted(block):
            seen, data = count_frames(block)
            self.frames += seen
            self.data_frames += data
            self.text_bytes += self._meter.measure(block)
            return Passed(block)
        return self._walk(frames(block))

    def _walk(self, found: Iterable[Frame]) -> Passed:
        """Frame by frame: before the first meaningful one each is read, afterwards the hinted ones."""
        out: list[bytes] = []
        end: list[bytes] = []
        for frame in found:
            sight = Sight.PASS
            if frame.data:
                self.frames += 1
                sight = self._examine(frame)
                if self.error is not None:
                    break  # not counted: the error told in its place takes its number
                self.data_frames += not frame.data.startswith(b"[DONE]")
                self.text_bytes += self._meter.measure(frame.raw)
            elif frame.raw.strip(b"\r\n"):
                self.frames += 1
            if sight is Sight.WITHHOLD:
                continue
            if sight is Sight.END:
                self._over = self.ended = True
            (end if self._over else out).append(frame.raw)
        return Passed(b"".join(out), b"".join(end))

    def _examine(self, frame: Frame) -> Sight:
        if self.meaningful and not self._hinted(frame.raw):
            return Sight.PASS
        if frame.data.startswith(b"[DONE]"):
            return self._done()
        try:
            sight = self._look(frame)
        except BadFrame:
            # Same format: what the vendor sends is the client's to judge, once the answer has begun.
            if self.meaningful or self._over:
                return Sight.PASS
            raise
        if self._over:
            # An error after the end changes nothing: the answer was whole.
            self.error = None
        return sight

    def _look_at_rest(self, rest: bytes) -> None:
        """An error that came as bare JSON, without the framing of a stream."""
        if not rest.lstrip().startswith(b"{"):
            return
        try:
            event = load_object(rest)
        except BadFrame:
            return
        if event.get("error"):
            self.error = read_inband(event)
