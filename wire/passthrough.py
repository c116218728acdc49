"""What the watches of all formats share: frames forwarded as they are, looked into only on a hint.

Once an answer has begun in earnest the work of a read is a few substring searches over all its frames
together; a frame is parsed only if a hint stands in it. The others are counted, and their text measured,
later, many reads at once, and only when somebody asks: an answer that ends well brings its own count.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum

import orjson

from wire.errors import read_inband
from wire.format import Passed
from wire.jsons import load_object
from wire.sse import MAX_EVENT, Frame, Framer, count_frames, frame_end, line_end_of, read_frame
from wire.types import BadFrame, Brief, InbandError, Usage
from wire.usage import Counters

NOTHING = Passed()
UNREAD = 32 * 1024
"""Bytes of frames that may wait to be counted and measured."""
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
    """A StreamWatch but for what a format alone knows: the hints, `_look` and the meter."""

    _meter: Meter
    _hints: tuple[bytes, ...]
    """What stands in a frame that may tell of usage, an error or the end."""

    def __init__(self, brief: Brief, max_event: int = MAX_EVENT) -> None:
        self._brief = brief
        self._framer = Framer(max_event)
        self._raw = Counters()
        self._over = False
        self._calm = False
        """Whether frames without a hint pass unread: the answer has begun, and has not ended or failed."""
        self.meaningful = False
        self.ended = False
        self.error: InbandError | None = None
        self._finish_reason = ""
        self.response_id = ""
        self._frames = 0
        self._data_frames = 0
        self._text_bytes = 0
        self._unread = bytearray()
        self._counted = 0
        """How many of the unread bytes were counted."""
        self._searched = 0
        """How many of the unread bytes were searched (`_catch_up`)."""

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in the vendor's words."""
        return self._finish_reason

    @property
    def frames(self) -> int:
        """Frames seen so far. Counted when asked."""
        self._count()
        return self._frames

    @property
    def data_frames(self) -> int:
        """Frames with data, other than `[DONE]`. Counted when asked."""
        self._count()
        return self._data_frames

    @property
    def sequence(self) -> int:
        """How many events the client was told: those that came."""
        return self.data_frames

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of the text delivered so far. Measured when asked."""
        self._read_up()
        return self._text_bytes

    def _count(self) -> None:
        if self._counted < len(self._unread):
            block = bytes(self._unread[self._counted :])
            self._notice(block)
            seen, data = count_frames(block)
            self._frames += seen
            self._data_frames += data
            self._counted = len(self._unread)

    def _notice(self, block: bytes) -> None:
        """Whole frames that are not UTF-8 make the answer suspect; they are the client's to judge."""
        if not block.isascii() and not self._raw.suspect:
            try:
                block.decode()
            except UnicodeDecodeError:
                self._raw.suspect = True

    def _catch_up(self) -> None:
        """Learns from the unread frames what this format wants to know of each, before it learns anything
        later."""
        self._searched = len(self._unread)

    def _read_up(self) -> None:
        """Learns from the unread frames what there is to learn, and forgets them."""
        if self._unread:
            self._catch_up()
            self._count()
            self._text_bytes += self._meter.measure(bytes(self._unread))
            self._unread.clear()
            self._counted = self._searched = 0

    def _keep(self, block: bytes) -> bytes:
        """Frames that pass because they hold no hint."""
        self._unread += block
        if len(self._unread) > UNREAD:
            self._read_up()
        return block

    @abstractmethod
    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""

    @abstractmethod
    def _look(self, frame: Frame) -> Sight:
        """Reads one frame with data. Sets `error` where it is one. Raises BadFrame where it cannot be
        read."""

    def _done(self) -> Sight:
        """OpenAI's `[DONE]`; in other formats a stray that means nothing."""
        return Sight.PASS

    def _hinted(self, block: bytes) -> bool:
        return any(map(block.__contains__, self._hints))

    def feed(self, data: bytes) -> Passed:
        """Takes one read."""
        framer = self._framer
        if (
            self._calm
            and not framer.held
            and len(data) <= framer.small
            and data.endswith((b"\n\n", b"\r\n\r\n"))
            and not any(map(data.__contains__, self._hints))
        ):  # the usual read: whole frames behind whole frames
            unread = self._unread
            unread += data
            if len(unread) > UNREAD:
                self._read_up()
            return Passed(data)
        if self.error is not None:
            return NOTHING
        return self._take(framer.feed(data))

    def finish(self) -> Passed:
        """Tells end of file."""
        if self.error is not None:
            return NOTHING
        passed = self._take(self._framer.finish())
        if not self.meaningful and self.error is None:
            self._look_at_rest(bytes(self._framer.held))
        return passed

    def _take(self, block: bytes) -> Passed:
        if not block:
            return NOTHING
        return self._walk(block) if not self._calm or self._hinted(block) else Passed(self._keep(block))

    def _walk(self, block: bytes) -> Passed:
        """Reads frame by frame before the first meaningful one, and goes from hint to hint afterwards."""
        out: list[bytes] = []
        end: list[bytes] = []
        line_end = line_end_of(block)
        places = [-1] * len(self._hints)
        at = 0
        while at < len(block) and self.error is None:
            if self._calm and line_end:
                start = self._hinted_frame(block, at, line_end * 2, places)
                if start > at:
                    out.append(self._keep(block[at:start]))
                    at = start
                    continue
            start, at = at, frame_end(block, at, line_end)
            raw = block[start:at]
            if self._calm and not self._hinted(raw):
                out.append(self._keep(raw))
            else:
                self._pass(read_frame(raw), out, end)
        return Passed(b"".join(out), b"".join(end))

    def _hinted_frame(self, block: bytes, at: int, empty_line: bytes, places: list[int]) -> int:
        """Where the next frame starts that holds a hint; the block's end where none does. `places` is where
        each hint was found before, so that the block is searched for it once."""
        for number, hint in enumerate(self._hints):
            if places[number] < at:
                found = block.find(hint, at)
                places[number] = found if found >= 0 else len(block)
        nearest = min(places)
        if nearest == len(block):
            return nearest
        before = block.rfind(empty_line, at, nearest)
        return at if before < 0 else before + len(empty_line)

    def _pass(self, frame: Frame, out: list[bytes], end: list[bytes]) -> None:
        """Puts a frame that is not the relay's own where it belongs, and learns from it."""
        sight = Sight.PASS
        if frame.data:
            self._frames += 1
            sight = self._examine(frame)
            if self.error is not None:
                self._calm = False
                return  # not counted: the error told in its place takes its number
            self._notice(frame.raw)
            self._data_frames += not frame.data.startswith(b"[DONE]")
            self._text_bytes += self._meter.measure(frame.raw)
        elif frame.raw.strip(b"\r\n"):
            self._frames += 1
        if sight is Sight.END:
            self._over = self.ended = True
        self._calm = self.meaningful and not self._over
        if sight is not Sight.WITHHOLD:
            (end if self._over else out).append(frame.raw)

    def _examine(self, frame: Frame) -> Sight:
        if self.meaningful and not self._hinted(frame.raw):
            return Sight.PASS
        if frame.data.startswith(b"[DONE]"):
            return self._done()
        try:
            sight = self._look(frame)
        except BadFrame:
            # Same format: what the vendor sends is the client's to judge, once the answer has begun.
            if not (self.meaningful or self._over):
                raise
            sight = self._look_again(frame)
        if self._over:
            # An error after the end changes nothing: the answer was whole.
            self.error = None
        return sight

    def _look_again(self, frame: Frame) -> Sight:
        """A frame that is no JSON because its text is no UTF-8 may tell of usage, or be the end, all the
        same."""
        readable = frame.data.decode("utf-8", "replace").encode()
        if readable == frame.data:
            return Sight.PASS
        try:
            return self._look(frame._replace(data=readable))
        except BadFrame:
            return Sight.PASS

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
