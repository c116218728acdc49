"""What the watches of all formats share: frames forwarded as they are, looked into only on a hint.

Once an answer has begun in earnest the work of a read is a few substring searches over all its frames
together; a frame is parsed only if a hint stands in it. The text in the others is measured later, many reads
at once, and only when somebody asks: an answer that ends well brings its own count.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum

import orjson

from wire.errors import read_inband
from wire.format import Passed
from wire.jsons import load_object
from wire.sse import MAX_EVENT, Frame, Framer, count_frames, frames
from wire.types import BadFrame, Brief, InbandError, Usage
from wire.usage import Counters

NOTHING = Passed()
CALM = 2048
"""Bytes of frames that are looked at together."""
UNMEASURED_READS = 16
UNMEASURED_BYTES = 1 << 16
"""Reads, and bytes, whose text may wait to be measured."""
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
        self._text_bytes = 0
        self._unmeasured: list[bytes] = []
        self._unmeasured_bytes = 0

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text delivered so far."""
        self._measure()
        return self._text_bytes

    def _measure(self) -> None:
        if self._unmeasured:
            self._text_bytes += self._meter.measure(b"".join(self._unmeasured))
            self._unmeasured.clear()
            self._unmeasured_bytes = 0

    def _count(self, block: bytes) -> None:
        """Counts frames that hold no hint; their text is measured later."""
        seen, data = count_frames(block)
        self.frames += seen
        self.data_frames += data
        self._unmeasured.append(block)
        self._unmeasured_bytes += len(block)
        if len(self._unmeasured) >= UNMEASURED_READS or self._unmeasured_bytes > UNMEASURED_BYTES:
            self._measure()

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
        if self.meaningful and not self._over and len(block) <= CALM and not self._hinted(block):
            self._count(block)
            return Passed(block)
        return self._walk(self._apart(block))

    def _apart(self, block: bytes) -> Iterator[Frame | bytes]:
        """The frames that must be looked into, and in between, as bytes, frames without a hint."""
        if b"\r" in block:
            yield from frames(block)
            return
        at = 0
        while at < len(block):
            calm = self.meaningful and not self._over
            cut = block.find(b"\n\n", at + CALM if calm else at)
            end = cut + 2 if cut >= 0 else len(block)
            piece = block[at:end]
            if not calm or self._hinted(piece):
                yield from frames(piece)
            else:
                yield piece
            at = end

    def _walk(self, found: Iterable[Frame | bytes]) -> Passed:
        """Frame by frame: before the first meaningful one each is read, afterwards the hinted ones."""
        out: list[bytes] = []
        end: list[bytes] = []
        for frame in found:
            if isinstance(frame, bytes):
                self._count(frame)
                out.append(frame)
                continue
            sight = Sight.PASS
            if frame.data:
                self.frames += 1
                sight = self._examine(frame)
                if self.error is not None:
                    break  # not counted: the error told in its place takes its number
                self.data_frames += not frame.data.startswith(b"[DONE]")
                self._text_bytes += self._meter.measure(frame.raw)
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
