"""Frames that no vendor should send, made of those that they do, for clients of every other format."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.counts import count
from tests.wire.cuts import TRANSCRIPTS
from tests.wire.neutral.hostile import hostile
from tests.wire.pairs.answers import STREAMS
from tests.wire.pairs.kit import PAIRS, translation
from wire import FORMATS
from wire.sse import frames
from wire.types import BadFrame, Fault, FrameTooLarge

FAULT = Fault("upstream_error", "It broke.")
CLOSED = {"response.completed", "response.incomplete", "response.failed"}
ENDS: dict[str, Callable[[str, bytes], bool]] = {
    "openai_chat": lambda _, data: data == b"[DONE]",
    "openai_responses": lambda event, _: event in CLOSED,
    "anthropic": lambda event, _: event == "message_stop",
    "gemini": lambda _, data: b'"finishReason"' in data,
}
"""Whether an event is its format's own end."""


def recorded(upstream: str) -> list[list[bytes]]:
    """The frames of all streams that are known of a format."""
    files = sorted((TRANSCRIPTS / upstream).glob("*.sse"))
    streams = [path.read_bytes() for path in files]
    streams += [by[upstream] for by in STREAMS.values() if upstream in by]
    return [[frame.raw for frame in frames(stream)] for stream in streams]


UNKNOWN = b'event: later\ndata: {"type":"later","choices":[{}],"candidates":[{}]}\n\n'


class Fuzzer:
    """Makes streams out of a format's own frames; a seed makes the same ones again."""

    def __init__(self, upstream: str, seed: int) -> None:
        self._rng = random.Random(seed)
        self._streams = recorded(upstream)
        self._all = [frame for stream in self._streams for frame in stream]

    def stream(self) -> list[bytes]:
        """Frames, some of them not as they should be, not all at their place."""
        rng = self._rng
        told = list(rng.choice(self._streams))
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(told)) if told else 0
            match rng.randrange(8):
                case 0 if told:
                    del told[at]
                case 1 if told:
                    told.insert(at, told[at])
                case 2:
                    rng.shuffle(told)
                case 3:
                    told.insert(at, rng.choice(self._all))
                case 4:
                    told.insert(at, UNKNOWN)
                case _ if told:
                    told[at] = self._spoilt(told[at])
        return told

    def _spoilt(self, frame: bytes) -> bytes:
        rng = self._rng
        head, mark, rest = frame.partition(b"data:")
        match rng.randrange(6):
            case 0:
                return frame[: rng.randrange(len(frame))] + b"\n\n"
            case 1:
                at = rng.randrange(len(frame))
                return frame[:at] + bytes([rng.randrange(256)]) + frame[at + 1 :]
            case 2:
                return head + mark + b"[" * 5000 + b"]" * 5000 + b"\n\n"
            case 3:
                return head + mark + rest.replace(b'"', b'"\xff\xfe', 2)
        try:
            value = orjson.loads(rest)
        except orjson.JSONDecodeError:
            return frame
        return head + mark + b" " + orjson.dumps(self._swapped(value)) + b"\n\n"

    def _swapped(self, value: Any) -> Any:
        """The value with something in it that is of another kind."""
        rng = self._rng
        inside = (
            [*value] if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
        )
        if not inside or rng.random() < 0.15:
            odd: Any = rng.choice((10**15, -1, "", "\x00", 1e300, [[]], {"a": None}, None, hostile(rng)))
            try:
                orjson.dumps(odd)
            except (TypeError, orjson.JSONEncodeError):
                return 2**53
            return odd
        key = rng.choice(inside)
        copy = value.copy()
        copy[key] = self._swapped(value[key])
        return copy


@pytest.mark.parametrize(("upstream", "client"), PAIRS)
def test_whatever_a_vendor_sends_the_client_is_told_an_end_or_an_error_and_never_both(
    upstream: str, client: str
) -> None:
    fuzzer, told = Fuzzer(upstream, len(upstream) * 100 + len(client)), 0
    most = count(200, 34_000)  # of three clients each: 100,000 for a format
    while told < most:
        stream = fuzzer.stream()
        told += len(stream)
        judge(upstream, client, stream)


def judge(upstream: str, client: str, stream: list[bytes]) -> None:
    """Feeds one stream, and holds what its client sees to the rules."""
    watch = translation(upstream, client)
    out, end, refused = b"", b"", False
    try:
        for frame in stream:
            passed = watch.feed(frame)
            out, end = out + passed.out, end + passed.end
        passed = watch.finish()
        out, end = out + passed.out, end + passed.end
    except (BadFrame, FrameTooLarge):
        refused = True
        assert not watch.meaningful
    # Whoever is not told the end is told a fault by the relay, which looks at these two.
    broken = refused or watch.error is not None or not watch.ended
    assert bool(end) is not broken, stream
    fault = FORMATS[client].fault_event(FAULT, "r1", sequence=watch.sequence) if broken else b""
    events = [frame for frame in frames(out + end + fault) if frame.data]
    ends = [at for at, frame in enumerate(events) if ENDS[client](frame.event, frame.data)]
    # Of Responses, a fault is one of the ends: response.failed.
    ended = not broken or client == "openai_responses"
    assert ends == ([len(events) - 1] if ended else []), stream
    assert not broken or client != "openai_responses" or events[-1].event == "response.failed"
    size = sum(map(len, stream))
    assert len(out) + len(end) < 200_000 + 100 * size
