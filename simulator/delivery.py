"""How an answer's bytes leave: pace, pieces, and the faults of transport."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

import orjson

from simulator.compose import HUGE
from simulator.faults import FAULTS
from simulator.made import Made
from simulator.options import Options
from simulator.play import Act, Headers, Play, Step

BLOCK = b"x" * 65536
_HUGE_MARK = orjson.dumps(HUGE)[1:-1]
_HUGE_BYTES = 40 * 2**20
_BOMB_BYTES = 100 * 2**20
_SECOND = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{"smuggled": "yes!"}'
)
_MID = frozenset({"stall", "stall-first", "cut", "reset", "half-line", "cut-utf8"})
_HEADS = {"stall-head": Act.STALL, "reset-head": Act.RESET, "close-head": Act.FIN}
_INTERIM = {
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n",
    "garbage": b"\x00\x01 this is no HTTP at all\r\n\r\n",
}


def deliver(made: Made, headers: Headers, *, pace: int) -> Play:
    """The play of an answer. `pace`: milliseconds between frames where the name does not say."""
    options, frames, streamed = made.options, made.frames, made.streamed
    fault = options.fault
    gap = (options.delay if options.delay is not None else pace) / 1000
    play = Play(headers=[("content-type", made.kind), *headers])
    if options.wait:
        play.before = (options.wait / 1000,)
    if fault in _HEADS:
        play.before = (*play.before, _HEADS[fault])
        return play
    if fault in _INTERIM:
        play.before = (*play.before, _INTERIM[fault])
        play.close = fault == "garbage"
    play.steps, total = _body(frames, options, gap=gap, streamed=streamed)
    if not streamed:
        play.length = total
    if options.first:
        play.steps = _chain((options.first / 1000,), play.steps)
    return _misframe(play, options, total)


def _chain(first: Iterable[Step], then: Iterable[Step]) -> Iterator[Step]:
    yield from first
    yield from then


def _misframe(play: Play, options: Options, total: int) -> Play:
    """Faults of length, end and encoding."""
    match options.fault:
        case "length-short":
            play.length = total // 2
            play.close = True
            play.announce = False
        case "length-long" | "length-stall":
            play.length = total + 100
            rude = Act.FIN if options.fault == "length-long" else Act.STALL
            play.steps = _chain(play.steps, (rude,))
        case "smuggle":
            play.length = total
            play.tail = _SECOND
        case "until-close":
            play.length, play.until_close = None, True
        case "close-after":
            play.close, play.announce = True, False
        case "trailers" | "trailers-length":
            play.length = None
            play.trailers = [("x-simulator-trailer", "yes")]
            if options.fault == "trailers-length":
                play.trailers.append(("content-length", "3"))
            play.headers.append(("trailer", "x-simulator-trailer"))
        case "gzip" | "gzip-bomb":
            play.length = None
            play.headers.append(("content-encoding", "gzip"))
            if options.fault == "gzip":
                play.steps = _gzip(play.steps)
            else:
                play.steps = _gzip(_bomb(options.bytes or _BOMB_BYTES))
        case _:
            pass
    return play


def _body(frames: list[bytes], options: Options, *, gap: float, streamed: bool) -> tuple[Iterable[Step], int]:
    """The steps of the body and the number of its bytes."""
    fault = options.fault
    total = sum(map(len, frames))
    if fault == "huge":
        size = options.bytes or _HUGE_BYTES
        mark = next((index for index, frame in enumerate(frames) if _HUGE_MARK in frame), None)
        if mark is None:
            return _paced(frames, options, gap), total
        frames = [
            frame if index == mark else frame.replace(_HUGE_MARK, b"") for index, frame in enumerate(frames)
        ]
        total = sum(map(len, frames)) - len(_HUGE_MARK) + size
        return _huge(frames, gap, size), total
    if fault in _MID:
        after = FAULTS[fault].after if options.after is None else options.after
        return _broken(frames, fault, after, gap, streamed=streamed), total
    if fault == "drip":
        pause = gap or 0.01
        return _paced([bytes([byte]) for frame in frames for byte in frame], options, pause), total
    if options.cut:
        joined = b"".join(frames)
        pieces = [joined[start : start + options.cut] for start in range(0, len(joined), options.cut)]
        return _paced(pieces, options, gap), total
    return _paced(frames, options, gap), total


def _paced(frames: list[bytes], options: Options, gap: float) -> Iterable[Step]:
    """Each frame after its wait; the frames as they are if there is none."""
    if not (gap or options.last or options.pause):
        return frames
    waits = [0.0, *[gap] * (len(frames) - 1)]
    if options.last and frames:
        waits[-1] += options.last / 1000
    at = 1 if options.after is None else options.after
    if options.pause and at < len(frames):
        waits[at] += options.pause / 1000
    return _waits(frames, waits)


def _waits(frames: list[bytes], waits: list[float]) -> Iterator[Step]:
    for frame, wait in zip(frames, waits, strict=False):
        if wait:
            yield wait
        yield frame


def _huge(frames: list[bytes], gap: float, size: int) -> Iterator[Step]:
    for index, frame in enumerate(frames):
        if index and gap:
            yield gap
        head, mark, tail = frame.partition(_HUGE_MARK)
        yield head
        if mark:
            for _ in range(size // len(BLOCK)):
                yield BLOCK
            yield BLOCK[: size % len(BLOCK)]
            yield tail


def _broken(frames: list[bytes], fault: str, after: int, gap: float, *, streamed: bool) -> Iterator[Step]:
    """`after` frames, then the fault; a whole answer breaks in its middle, or before it with after-0."""
    if streamed:
        told, rest = frames[:after], frames[after:] or [b""]
    else:
        joined = b"".join(frames)
        half = len(joined) // 2 if after else 0
        told, rest = ([joined[:half]] if half else []), [joined[half:]]
    yield from _waits(told, [0.0, *[gap] * len(told)])
    match fault:
        case "stall" | "stall-first":
            yield Act.STALL
        case "cut":
            yield Act.FIN
        case "reset":
            yield Act.RESET
        case "half-line":
            yield rest[0][: len(rest[0]) // 2]
        case "cut-utf8":
            for frame in rest:
                wide = next((index for index, byte in enumerate(frame) if byte >= 0xC0), None)
                if wide is not None:
                    yield frame[: wide + 1]
                    break
                yield frame
        case _:
            pass
    if not streamed:
        yield Act.FIN


def _gzip(steps: Iterable[Step]) -> Iterator[Step]:
    packer = zlib.compressobj(wbits=31)
    for step in steps:
        if isinstance(step, bytes):
            packed = packer.compress(step) + (b"" if step is BLOCK else packer.flush(zlib.Z_SYNC_FLUSH))
            if packed:
                yield packed
        else:
            yield step
    yield packer.flush()


def _bomb(size: int) -> Iterator[Step]:
    yield b'data: {"bomb":"'
    for _ in range(size // len(BLOCK)):
        yield BLOCK
    yield b'"}\n\n'
