"""Server-sent events as bytes: whole frames out of reads that are cut anywhere, nothing re-rendered.

A frame is everything up to and including an empty line; a line ends by LF, CRLF or CR. Where the frames are
cut is a function of the bytes alone, never of how they arrived: a CR at the end of a read is held until the
next byte tells whether it was the first half of a CRLF.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from wire.types import FrameTooLarge

MAX_EVENT = 32 * 1024 * 1024
"""Greatest event, in bytes (security.md row 21)."""
MAX_LINE = 256 * 1024
"""Greatest line that is not data: a comment, an event name, a field nobody knows."""

_BOM = b"\xef\xbb\xbf"
_DATA = (b"data:", _BOM + b"data:")
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic: a CRLF must never be taken for two line ends.
_EMPTY_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class Frame(NamedTuple):
    """One event: its bytes as they came, its event name ("" where unnamed) and its data (lines joined by LF;
    empty for a comment or a blank line)."""

    raw: bytes
    event: str
    data: bytes


class Framer:
    """Cuts a byte stream into blocks of whole frames."""

    __slots__ = ("_cr", "_line", "_line_size", "_max_event", "_max_line", "held", "small")

    def __init__(self, max_event: int = MAX_EVENT, max_line: int = MAX_LINE) -> None:
        self._max_event = max_event
        self._max_line = max_line
        self.small = min(max_line, max_event)
        """Greatest read, in bytes, that holds nothing too large whatever it holds."""
        self.held = bytearray()
        """The bytes of the frame that is not whole yet."""
        self._cr = False
        self._line = b""
        self._line_size = 0

    def feed(self, data: bytes) -> bytes:
        """The whole frames that this read completes, joined; empty if there is none yet. Raises
        FrameTooLarge."""
        if not data:
            return b""
        pending = self.held
        if not pending and len(data) <= self.small and data.endswith(b"\n\n") and b"\r" not in data:
            self._line, self._line_size = b"", 0
            return data  # the usual case: whole frames, nothing left over
        if not self._cr and b"\r" not in data:
            cut = data.rfind(b"\n\n") + 2
            if cut == 1:
                # No empty line inside; there may be one across the seam.
                cut = 1 if data[0] == 10 and (not pending or pending[-1] == 10) else -1
        else:
            self._cr = True
            cut = self._cut_mixed(data)
        if cut < 0:
            pending += data
            self._check_pending(data)
            return b""
        if pending:
            block = bytes(pending) + data[:cut]
            self.held = bytearray(data[cut:])
        else:
            block = data if cut == len(data) else data[:cut]
            pending += data[cut:]
        if len(block) > self.small:
            self._check_block(block)
        self._line, self._line_size = b"", 0
        if self.held:
            self._check_pending(data[cut:])
        return block

    def finish(self) -> bytes:
        """The frame that was whole but for the byte after its last CR; what is unfinished is dropped."""
        block = b""
        if self.held[-1:] == b"\r" and (len(self.held) == 1 or self.held[-2] in b"\r\n"):
            block = bytes(self.held)
            self.held = bytearray()
        return block

    def _cut_mixed(self, data: bytes) -> int:
        """Where the last whole frame ends in `data` (0: at the seam), -1 for none, with any kind of line
        end."""
        # The start of a frame is the start of a line, as after a LF.
        tail = bytes(self.held[-3:]) if len(self.held) >= 3 else b"\n" + self.held
        window = tail + data
        if window.endswith(b"\r\n\r\n"):
            return len(data)
        stop = len(window) - 1 if window.endswith(b"\r") else len(window)
        end = window.rfind(b"\n\n", 0, stop) + 2
        if end == 1:
            end = -1
        for mark in (b"\n\r", b"\r\r"):
            at = window.rfind(mark, 0, stop)
            if at >= 0:
                end = max(end, at + (3 if window[at + 2 : at + 3] == b"\n" else 2))
        return end - len(tail) if end >= len(tail) else -1

    def _check_pending(self, data: bytes) -> None:
        """Follows the line that is being received; `data` is what was just added."""
        if len(self.held) > self._max_event:
            raise FrameTooLarge(f"an event is larger than {self._max_event} bytes")
        start = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if start:
            if len(data) > self._max_line:
                self._check_lines(data[:start])
            self._line, self._line_size = data[start : start + 8], len(data) - start
        else:
            self._line = (self._line + data[:8])[:8]
            self._line_size += len(data)
        if self._line_size > self._max_line and not self._line.startswith(_DATA):
            raise FrameTooLarge(f"a line outside data is longer than {self._max_line} bytes")

    def _check_block(self, block: bytes) -> None:
        if len(block) > self._max_event:
            for frame in frames(block):
                if len(frame.raw) > self._max_event:
                    raise FrameTooLarge(f"an event is larger than {self._max_event} bytes")
        self._check_lines(block)

    def _check_lines(self, block: bytes) -> None:
        for line in _LINE_END.split(block):
            if len(line) > self._max_line and not line.startswith(_DATA):
                raise FrameTooLarge(f"a line outside data is longer than {self._max_line} bytes")


def line_end_of(block: bytes) -> bytes:
    """How every line of a block ends: LF or CRLF; empty where they differ, or end by CR."""
    if b"\r" not in block:
        return b"\n"
    return b"\r\n" if block.count(b"\r\n") == block.count(b"\r") == block.count(b"\n") else b""


def frame_end(block: bytes, start: int, line_end: bytes) -> int:
    """Where the frame ends that starts there. A blank line between frames is a frame."""
    if not line_end:
        match = _LINE_END.match(block, start) or _EMPTY_LINE.search(block, start)
        return match.end() if match else len(block)
    if block.startswith(line_end, start):
        return start + len(line_end)
    empty = block.find(line_end * 2, start)
    return empty + 2 * len(line_end) if empty >= 0 else len(block)


def frames(block: bytes) -> Iterator[Frame]:
    """The frames of a block of whole frames. Blank lines between frames come as frames without data; joined,
    the raw bytes are the block again."""
    start, line_end = 0, line_end_of(block)
    while start < len(block):
        end = frame_end(block, start, line_end)
        yield read_frame(block[start:end])
        start = end


def read_frame(raw: bytes) -> Frame:
    """The fields of one frame."""
    if raw.startswith(b"data: "):
        if b"\r" not in raw:
            if raw.find(b"\n") == len(raw) - 2:
                return Frame(raw, "", raw[6:-2])
        elif raw.find(b"\r") == len(raw) - 4 and raw.find(b"\n") == len(raw) - 3:
            return Frame(raw, "", raw[6:-4])
    event, data = "", []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value.decode("utf-8", "replace")
    return Frame(raw, event, b"\n".join(data))


def count_frames(block: bytes) -> tuple[int, int]:
    """Frames and data frames in a block, without taking it apart: exact but where several blank lines follow
    one another or one event has several data lines."""
    line_end = line_end_of(block)
    if not line_end:
        whole = [frame for frame in frames(block) if frame.data or frame.raw.strip(b"\r\n")]
        return len(whole), sum(1 for frame in whole if frame.data)
    data = block.count(b"\ndata:") + block.startswith(b"data:")
    # Where each frame is one line of data and a blank one, counting lines is quicker.
    return data if block.count(b"\n") == 2 * data else block.count(line_end * 2), data
