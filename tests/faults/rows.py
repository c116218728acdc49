"""The upstream half of the fault matrix: what a vendor plays, and all that must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.faults.stage import (
    ABSENT,
    COUNTED,
    ENDPOINT,
    ENDPOINT_PARKED,
    FAILED,
    FULL,
    KEY_PARKED,
    LATE,
    LIMITED,
    NOTHING,
    OUT,
    SHUT,
    Held,
    asks_of,
    cooling,
)
from tests.relay.asks import Ask


@dataclass(frozen=True)
class Before:
    """A fault before the first meaningful frame, so that there is still another target to ask.

    `reason` is the attempt's, `held` what each vendor that plays it is left with, `code` and `said` what the
    client is told where all play it, `tries` how many of the three are then asked, `wait` the Retry-After.
    """

    play: str
    reason: str
    held: Held = COUNTED
    code: str = "upstream_error"
    said: str = FAILED
    tries: int = 3
    wait: int | None = None
    maybe_billed: bool = False
    streamed: bool | None = None
    never: tuple[str, ...] = ()
    """Asks, by their names, in which this fault is none."""
    meant: dict[str, str] = field(default_factory=dict)
    """Other reasons, by the name of the ask."""
    knobs: dict[str, Any] = field(default_factory=dict)
    impatient: bool = False
    slow: bool = False
    """Whether it is about time: then all ask at once."""

    @property
    def asks(self) -> tuple[Ask, ...]:
        """In which ways it is asked for."""
        return tuple(ask for ask in asks_of(streamed=self.streamed) if str(ask) not in self.never)


@dataclass(frozen=True)
class After:
    """A fault after the first meaningful frame. `code` and `said` are what the stream is told, `recorded` the
    record's error code, `reason` the attempt's. It came behind so many `frames`, or `pieces` of text of 40
    letters; where neither is known, behind some."""

    play: str
    reason: str
    recorded: str
    held: Held = COUNTED
    code: str = "upstream_error"
    said: str = "The upstream broke off its answer."
    frames: int | None = 6
    pieces: int | None = None
    truncated: bool = False
    knobs: dict[str, Any] = field(default_factory=dict)
    impatient: bool = False
    slow: bool = False

    @property
    def asks(self) -> tuple[Ask, ...]:
        """In which ways it is asked for."""
        return asks_of(streamed=True)


STREAM, WHOLE = True, False
GEMINIS = ("gemini stream", "gemini array")
SILENT = "The upstream fell silent in mid-answer."

BEFORE: dict[str, tuple[Before, ...]] = {
    "reset while sending the body": (
        Before("fault-body-reset", "reset", tries=2, maybe_billed=True),
        Before("fault-reset-head", "reset", tries=2, maybe_billed=True),
        Before("fault-close-head", "reset", tries=2, maybe_billed=True),
        Before("fault-garbage", "bad_frame"),
    ),
    "read timeout before headers": (
        Before(
            "fault-stall-head", "first_byte_timeout", code="timeout", said=LATE, tries=2, maybe_billed=True,
            impatient=True, slow=True,
        ),
    ),
    "headers, then no first event (60–120 s)": (
        Before(
            "fault-stall-first", "first_event_timeout", code="timeout", said=LATE, tries=2, maybe_billed=True,
            streamed=STREAM, impatient=True, slow=True,
        ),
        Before(
            "fault-length-stall", "total_timeout", code="timeout", said=LATE, tries=1, streamed=WHOLE,
            knobs={"whole_total_timeout": 1.0}, slow=True,
        ),
    ),
    "reset / half-close mid-stream": (
        Before("fault-cut", "truncated", streamed=WHOLE),
        Before("fault-reset", "truncated", streamed=WHOLE),
        Before("fault-cut.after-0", "truncated", streamed=STREAM),
        Before("fault-reset.after-0", "truncated", streamed=STREAM),
    ),
    "EOF without end marker (truncated SSE)": (
        Before("fault-truncated.after-0", "empty", tries=2, maybe_billed=True, streamed=STREAM),
        Before("fault-truncated.after-1", "truncated", streamed=STREAM, never=GEMINIS),
        Before("fault-truncated", "bad_frame", streamed=WHOLE),
    ),
    "half line / event cut inside UTF-8": (
        Before("fault-half-line.after-0", "empty", tries=2, maybe_billed=True, streamed=STREAM),
        Before("fault-half-line", "truncated", streamed=WHOLE),
        Before("utf8.fault-cut-utf8.after-0", "truncated", streamed=WHOLE),
    ),
    "invalid UTF-8 in an event": (
        Before("fault-bad-utf8.after-0", "bad_frame"),
    ),
    "invalid JSON in an event": (
        Before("fault-bad-json", "bad_frame"),
    ),
    "HTML page with 200": (
        Before("fault-html", "html"),
        Before("fault-html-502", "server_error"),
        Before("fault-swap", "wrong_type", meant={"gemini whole": "bad_frame", "gemini array": "bad_frame"}),
    ),
    "first event is an error in 200": (
        Before("fault-error-overloaded", "overloaded", ENDPOINT, "overloaded", FULL),
        Before("fault-error-rate", "throttled", cooling(30), "rate_limited", LIMITED, wait=30),
        Before("fault-error-auth", "key_refused", OUT, said=SHUT),
        Before("fault-error-billing", "out_of_money", OUT, said=SHUT),
        Before("fault-error-server", "server_error"),
    ),
    "429 + Retry-After": (
        Before("fault-429.retry-7", "throttled", cooling(7), "rate_limited", LIMITED, wait=7),
        Before("fault-429.retry-900", "throttled", cooling(600), "rate_limited", LIMITED, wait=900),
        Before("fault-429.retry-date", "throttled", cooling(30), "rate_limited", LIMITED, wait=30),
    ),
    '429 without, or "spend limit/credit" (also as 400/402)': (
        Before("fault-429", "throttled", cooling(30), "rate_limited", LIMITED, wait=30),
        Before("fault-429-quota", "out_of_money", OUT, said=SHUT),
        Before("fault-402", "out_of_money", OUT, said=SHUT),
        Before("fault-400-billing", "out_of_money", OUT, said=SHUT),
    ),
    '401, "invalid api key"': (
        Before("fault-401", "key_refused", OUT, said=SHUT),
        Before("fault-400-key", "key_refused", OUT, said=SHUT),
        Before("fault-403", "not_permitted", KEY_PARKED, said=SHUT),
    ),
    "404 model": (
        Before("fault-404", "unsupported", ENDPOINT_PARKED, "model_not_found", ABSENT),
        Before("fault-404-path", "unsupported", ENDPOINT_PARKED, "model_not_found", ABSENT),
        Before("fault-403-model", "not_permitted", KEY_PARKED, said=SHUT),
    ),
    "408 / 500 / 502 / 503 / 504 / 529": (
        Before("fault-408", "timeout_status", code="timeout", said=LATE),
        Before("fault-500", "server_error"),
        Before("fault-502", "server_error"),
        Before("fault-503", "overloaded", ENDPOINT, "overloaded", FULL),
        Before("fault-504", "timeout_status", code="timeout", said=LATE),
        Before("fault-529", "overloaded", ENDPOINT, "overloaded", FULL),
    ),
    "3xx": (
        Before("fault-redirect", "redirect", NOTHING, said=SHUT, tries=1),
    ),
    "empty 200 stream, `[DONE]` only": (
        Before("fault-empty", "empty", tries=2, maybe_billed=True),
        Before(
            "fault-done-only", "empty", tries=2, maybe_billed=True,
            never=("openai_responses stream", *GEMINIS),
        ),
    ),
    "one huge event (> 32 MB)": (
        Before(
            "fault-huge.bytes-30000.after-0", "too_large", COUNTED, said=SHUT, tries=1,
            knobs={"max_event_bytes": 20_000, "max_answer_bytes": 20_000},
            never=("openai_chat stream", "openai_responses stream", "anthropic stream"),
        ),
    ),
    "gzip bomb": (
        Before("fault-gzip-bomb.bytes-2000000", "encoding", COUNTED, said=SHUT, tries=1),
    ),
    "wrong Content-Length (short/long)": (
        Before("fault-length-short", "bad_frame", streamed=WHOLE),
        Before("fault-length-long", "truncated", streamed=WHOLE),
    ),
}  # fmt: skip

AFTER: dict[str, tuple[After, ...]] = {
    "stall mid-stream > idle limit": (
        After(
            "fault-stall.after-6", "first_event_timeout", "upstream_timeout", code="timeout", said=SILENT,
            impatient=True, slow=True,
        ),
    ),
    "reset / half-close mid-stream": (
        After("fault-cut.after-6.delay-2", "truncated", "truncated"),
        After("fault-reset.after-6.delay-2", "truncated", "truncated"),
    ),
    "EOF without end marker (truncated SSE)": (
        After("fault-truncated.after-6", "truncated", "truncated", truncated=True),
    ),
    "half line / event cut inside UTF-8": (
        After("fault-half-line.after-6", "truncated", "truncated", truncated=True),
    ),
    "error event later": (
        After("fault-error-server.after-6.delay-2", "server_error", "upstream_error"),
        After(
            "fault-error-overloaded.after-6.delay-2", "overloaded", "upstream_overloaded", ENDPOINT,
            "overloaded", "The upstream became overloaded in mid-answer.",
        ),
        After(
            "fault-error-rate.after-6.delay-2", "throttled", "upstream_rate_limited", cooling(30),
            "rate_limited", "The upstream hit a rate limit in mid-answer.",
        ),
    ),
    "one huge event (> 32 MB)": (
        After(
            "fault-huge.bytes-30000.after-5.delay-2", "bad_frame", "upstream_error", frames=None, pieces=5,
            knobs={"max_event_bytes": 20_000},
        ),
    ),
    "slow drip under the idle limit": (
        After(
            "chunks-100.delay-25", "total_timeout", "upstream_timeout", NOTHING, "timeout",
            SILENT, frames=None, knobs={"stream_total_timeout": 1.2}, slow=True,
        ),
    ),
    "wrong Content-Length (short/long)": (
        After("fault-length-short.delay-2", "truncated", "truncated", frames=None, truncated=True),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Caller:
    """A fault of the caller's, as the vendor tells it: passed on at once, whoever else could be asked."""

    kind: str
    """Of the simulator's refusals."""
    status: int
    inside: str = ""
    """The fault that tells it inside a 200."""
    never: str = ""
    """The way to ask, by its name, in which nothing says whose fault it is."""

    @property
    def asks(self) -> tuple[Ask, ...]:
        """In which ways it is asked for."""
        return tuple(ask for ask in asks_of(streamed=None) if str(ask) != self.never)


CALLERS: dict[str, tuple[Caller, ...]] = {
    "400 / 413 / 422": (
        Caller("400", 400), Caller("400-context", 400), Caller("400-policy", 400),
        Caller("400-parameter", 400), Caller("413", 413), Caller("422", 422),
        Caller("400", 400, inside="error-invalid", never="openai_responses stream"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Through:
    """What is no failure: the answer is whole and `ok`, and nothing is held against anybody. `tokens` are
    those billed, None: counted from what was sent."""

    play: str
    tokens: tuple[int, int] | None = (2, 40)
    suspect: bool = False
    streamed: bool | None = None
    never: str = ""
    """The way to ask, by its name, in which it is a failure."""
    unreadable: bytes = b""
    """Bytes that no client can read, and that reach it as they are."""
    knobs: dict[str, Any] = field(default_factory=dict)
    impatient: bool = False
    slow: bool = False

    @property
    def asks(self) -> tuple[Ask, ...]:
        """In which ways it is asked for."""
        return tuple(ask for ask in asks_of(streamed=self.streamed) if str(ask) != self.never)


NO_UTF8 = b"\xff\xc3\x28\xfe"
BROKEN = b'{"broken": '
"""As the simulator writes them. In Gemini's array nothing tells where such an element ends."""
USAGE = "in-1000.out-50.cached-800"
THROUGH: dict[str, tuple[Through, ...]] = {
    "invalid UTF-8 in an event": (
        Through("fault-bad-utf8.after-6", (2, 16), suspect=True, streamed=STREAM, unreadable=NO_UTF8),
    ),
    "invalid JSON in an event": (
        Through("fault-bad-json.after-8", streamed=STREAM, never="gemini array", unreadable=BROKEN),
        Through("fault-bad-json-2.after-8", streamed=STREAM, never="gemini array", unreadable=BROKEN),
    ),
    "usage twice / cumulative / shrinking": tuple(
        Through(f"{USAGE}.usage-{kind}", (1000, 50))
        for kind in ("repeated", "shrinking", "each", "restated", "wiped", "finish", "late")
    ),
    "usage missing": (
        Through("usage-missing", None),
        Through("usage-null", None),
    ),
    "slow drip under the idle limit": (
        Through("chunks-20.delay-60.in-2.out-40", knobs={"idle_timeout": 1.0}, slow=True),
    ),
    "wrong Content-Length (short/long)": (
        Through("fault-smuggle"),
        Through("fault-length-long", streamed=STREAM),
    ),
    "1xx / late 100 / trailers": (
        Through("fault-100"),
        Through("fault-103"),
        Through("fault-trailers"),
    ),
}  # fmt: skip
