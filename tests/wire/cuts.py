"""The same bytes under every cut: the one helper that is worth a hundred examples."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from wire import FORMATS
from wire.format import StreamWatch
from wire.types import Brief, InbandError, Usage

T = TypeVar("T")

TRANSCRIPTS = Path(__file__).parent / "transcripts"


def transcript(name: str) -> bytes:
    """A recorded stream or answer, byte for byte."""
    return (TRANSCRIPTS / name).read_bytes()


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[first:last] for first, last in pairwise(marks)]


def in_reads(data: bytes, size: int) -> list[bytes]:
    """The data in reads of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def every_cut(data: bytes, run: Callable[[list[bytes]], T], *, times: int) -> T:
    """What `run` makes of the data fed whole, byte by byte and in random pieces, which must be the same."""
    expected = run([data])
    assert run([data[at : at + 1] for at in range(len(data))]) == expected
    rng = random.Random(len(data))
    for _ in range(times):
        places = [rng.randrange(len(data) + 1) for _ in range(rng.choice((1, 2, 5, 20, 100)))]
        assert run(cut_at(data, places)) == expected, places
    return expected


@dataclass(frozen=True)
class Followed:
    """What a watch made of a stream."""

    out: bytes
    end: bytes
    meaningful: bool
    ended: bool
    error: InbandError | None
    finish_reason: str
    response_id: str
    frames: int
    data_frames: int
    text_bytes: int
    usage: Usage


def follow(format_name: str, brief: Brief) -> Callable[[list[bytes]], Followed]:
    """Feeds a fresh watch of a format."""

    def run(pieces: list[bytes]) -> Followed:
        return run_watch(FORMATS[format_name].watch(brief), pieces)

    return run


def run_watch(watch: StreamWatch, pieces: list[bytes]) -> Followed:
    """Feeds a watch to the end of the file."""
    passed = [watch.feed(piece) for piece in pieces]
    passed.append(watch.finish())
    return Followed(
        out=b"".join(each.out for each in passed),
        end=b"".join(each.end for each in passed),
        meaningful=watch.meaningful,
        ended=watch.ended,
        error=watch.error,
        finish_reason=watch.finish_reason,
        response_id=watch.response_id,
        frames=watch.frames,
        data_frames=watch.data_frames,
        text_bytes=watch.text_bytes,
        usage=watch.usage(),
    )
