"""What a model name asks the simulator to do: `sim.chunks-100.delay-10.fault-cut.after-3` -> Options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from simulator.faults import FAULTS


class BadOptionError(ValueError):
    """A name holds a part that is no option, or a value out of its bounds."""


@dataclass(frozen=True, slots=True)
class Options:
    """One request's wishes. Times are milliseconds; None means "not said", so that a default may apply."""

    wait: int = 0
    first: int = 0
    delay: int | None = None
    last: int = 0
    pause: int = 0
    cut: int = 0
    chunks: int | None = None
    size: int = 0
    bytes: int = 0
    words: str = ""
    limit: bool = False
    input: int | None = None
    output: int | None = None
    cached: int = 0
    w5m: int = 0
    w1h: int = 0
    reason: int | None = None
    tooluse: int = 0
    searches: int = 0
    usage: str = ""
    think: int | None = None
    redacted: bool = False
    tools: int = 0
    steps: int = 1
    strict: bool = False
    json: bool = False
    finish: str = ""
    fault: str = ""
    after: int | None = None
    retry: str = ""
    leak: bool = False
    nested: bool = False
    refuses: tuple[str, ...] = ()
    plain: bool = True
    """True where the name holds no option at all."""

    def modest(self) -> Options:
        """The same within the bounds of a demo that shares its loop with others."""
        return replace(
            self,
            wait=min(self.wait, 60_000),
            first=min(self.first, 60_000),
            delay=None if self.delay is None else min(self.delay, 60_000),
            last=min(self.last, 60_000),
            pause=min(self.pause, 60_000),
            cut=max(self.cut, 10) if self.cut else 0,
            chunks=None if self.chunks is None else min(self.chunks, 1_000),
            size=min(self.size, 100),
            bytes=min(self.bytes, 50_000_000 if self.fault in LAZY else 50_000),
            think=None if self.think is None else min(self.think, 1_000),
        )


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the grammar: how the part is written, which field it sets, what it means."""

    form: str
    field: str
    read: Callable[[str], object]
    help: str


def _number(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) > most:
            raise BadOptionError(f"a whole number from 0 to {most} is needed")
        return int(text)

    return read


def _flag(value: object = True) -> Callable[[str], object]:
    def read(text: str) -> object:
        if text:
            raise BadOptionError("no value is taken")
        return value

    return read


def _number_or(default: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        return _number(most)(text) if text else default

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise BadOptionError("one of " + ", ".join(names) + " is needed")
        return text

    return read


def _retry(text: str) -> str:
    return text if text == "date" else str(_number(10**6)(text))


def _some_of(*names: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        parts = tuple(text.split("_"))
        if not set(parts) <= set(names):
            raise BadOptionError("some of " + ", ".join(names) + " are needed, with _ between them")
        return parts

    return read


MINUTES_10 = 600_000
REFUSED = ("images", "schema", "stop", "streams", "thinking", "tools")
"""Parts of a request that a vendor may refuse."""
HOSTILE = {
    "negative": b"-1",
    "huge": b"9223372036854775808",
    "string": b'"12"',
    "infinite": b"1e400",
    "float": b"12.5",
    "bool": b"true",
    "list": b"[12]",
}
"""Usage variants whose every counter is this literal."""
USAGES = (
    "missing",
    "null",
    "zero",
    "shrinking",
    "repeated",
    "restated",
    "wiped",
    "late",
    "each",
    "finish",
    "sum",
    "inside",
    "start",
    *HOSTILE,
)

GRAMMAR = (
    Option("wait-MS", "wait", _number(MINUTES_10), "latency before the status line"),
    Option("first-MS", "first", _number(MINUTES_10), "time between the head and the first frame"),
    Option("delay-MS", "delay", _number(MINUTES_10), "time between two frames"),
    Option("last-MS", "last", _number(MINUTES_10), "further time before the last frame"),
    Option("pause-MS", "pause", _number(MINUTES_10), "further time before frame N of after-N, or the second"),
    Option("cut-N", "cut", _number(10**6), "send the body in pieces of N bytes, wherever they fall"),
    Option("chunks-N", "chunks", _number(10**6), "N pieces of text, a word each unless size says otherwise"),
    Option("size-N", "size", _number(10**6), "each piece of text has N characters"),
    Option("bytes-N", "bytes", _number(2**32), "text of N characters; also the size of huge, gzip-bomb"),
    Option("utf8", "words", _flag("utf8"), "text with letters of two, three and four bytes"),
    Option("echo", "words", _flag("echo"), "the answer repeats the last user text"),
    Option("obey", "words", _flag("obey"), "do what a small exercise asks: say a word, count, name a colour"),
    Option("no-PARTS", "refuses", _some_of(*REFUSED), "refuse requests that have one of these parts"),
    Option("limit", "limit", _flag(), "obey the request's limit of output tokens"),
    Option("in-N", "input", _number(10**9), "input tokens, cache reads, writes and tool use included"),
    Option("out-N", "output", _number(10**9), "output tokens, reasoning included"),
    Option("cached-N", "cached", _number(10**9), "input tokens read from cache"),
    Option("w5m-N", "w5m", _number(10**9), "input tokens written to the 5 minute cache"),
    Option("w1h-N", "w1h", _number(10**9), "input tokens written to the 1 hour cache"),
    Option("reason-N", "reason", _number(10**9), "output tokens spent on reasoning"),
    Option("tooluse-N", "tooluse", _number(10**9), "input tokens of tool use (Gemini)"),
    Option("searches-N", "searches", _number(10**6), "web searches made by the vendor (Anthropic)"),
    Option("usage-KIND", "usage", _one_of(*USAGES), "a usage variant, see below"),
    Option("think[-N]", "think", _number_or(0, 10**5), "think aloud, in N pieces"),
    Option("redacted", "redacted", _flag(), "thinking comes redacted (Anthropic)"),
    Option("tool", "tools", _flag(1), "call the first tool of the request"),
    Option("tools-N", "tools", _number(100), "N tool calls in one answer"),
    Option(
        "steps-N", "steps", _number(100), "N rounds of tool calls, one after the other, before the final text"
    ),
    Option("strict", "strict", _flag(), "hold the request to the vendor's own rules, see below"),
    Option("json", "json", _flag(), "the answer is JSON, after the request's schema if it has one"),
    Option("finish-HOW", "finish", _one_of("stop", "length", "filter", "block"), "how the answer ends"),
    Option("fault-NAME", "fault", _one_of(*FAULTS), "a fault, see below"),
    Option("after-N", "after", _number(10**6), "frames sent before the fault"),
    Option("retry-SECONDS", "retry", _retry, "Retry-After of a status fault; retry-date gives a date"),
    Option("leak", "leak", _flag(), "the error text repeats the credential, a host and a balance"),
    Option("nested", "nested", _flag(), "a Responses error event in the shape seen in the wild"),
    Option("ok", "fault", _flag(""), "no fault, whatever was said before"),
)
"""The whole grammar, one row an option; README.md repeats it for people (a test holds them together)."""

_BY_KEY = {row.form.partition("-")[0].partition("[")[0]: row for row in GRAMMAR}


LAZY = ("huge", "gzip-bomb")
"""Faults whose bytes are made while they are sent, so that `bytes-N` may be large."""
MOST_TEXT = 128 * 2**20


def _bounded(options: Options) -> Options:
    """Raises BadOptionError where the text would fill the memory."""
    text = 0 if options.fault in LAZY else options.bytes
    if max(text, options.size * (options.chunks or 1)) > MOST_TEXT:
        raise BadOptionError(f"The text would have more than {MOST_TEXT} characters.")
    return options


def _apply(options: Options, part: str) -> Options | None:
    key, _, value = part.partition("-")
    row = _BY_KEY.get(key)
    if row is None:
        return None
    try:
        changes: dict[str, Any] = {row.field: row.read(value)}
        return replace(options, plain=False, **changes)
    except BadOptionError as error:
        raise BadOptionError(f"Option '{part}' ({row.form}): {error}.") from None


@lru_cache(maxsize=4096)
def parse(model: str, extra: str = "") -> Options:
    """Read the options in a model name, then those of a script's play, which win.

    A vendor's own name (`gpt-4.1-mini`) may hold parts that look like nothing: they are passed over. A
    name whose base is `sim`, or a play, must hold options only: BadOptionError names the first part that
    is none.
    """
    base, *parts = model.rpartition("/")[2].split(".")
    options = Options()
    for part in parts:
        try:
            options = _read(options, part, strict=base == "sim")
        except BadOptionError:
            if base == "sim":
                raise
    for part in extra.split(".") if extra else []:
        options = _read(options, part, strict=True)
    return _bounded(options)


def _read(options: Options, part: str, *, strict: bool) -> Options:
    changed = _apply(options, part)
    if changed is None and strict:
        raise BadOptionError(f"'{part}' is no option of the simulator.")
    return changed or options
