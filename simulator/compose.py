"""What to say, before any format is chosen: text in pieces, thoughts, tool calls, the end, and the counts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import orjson

from simulator import pupil
from simulator.ask import Ask, Tool
from simulator.options import HOSTILE, LAZY, Options
from simulator.signing import digest

TEXT = (
    "Hello from the simulator. No model was asked and nothing was spent, yet every byte of this answer "
    "travelled the same road that a real one would: through the relay, into the ledger, and back to you, "
    "word by word."
)
"""The answer to a plain model name: exactly 40 words, so 40 pieces and 40 output tokens."""
UTF8 = "Größe, ébauche, čaj, привет, 你好, 世界, 🙂, 🦊, naïve, ελπίδα, 日本語, 한국어, café, 🚀, Ünïcödé, ok"
BEFORE_TOOLS = "Let me look that up."
AFTER_TOOL = "The tool answered, so here is the final word: it worked."
THOUGHTS = "The question is plain, so the answer can be short: greet, explain, and stop."
TOKENS_PER_CALL = 12
"""Output tokens that one tool call counts."""

HUGE = "\x01HUGE\x01"
"""Stands in a text piece where the bytes of a huge one are made while they are sent."""
BAD = "\x01BAD\x01"
"""Stands in a text piece where bytes that are not UTF-8 will be."""
LITERAL = 7_000_000_000_000_777
"""Stands for a counter that JSON's writer would not write (1e400, 2^63)."""

ID = "1d0000000000000000000000000000d1"
"""Stands for the answer's id until it is sent, in place of 32 hexadecimal digits."""
CREATED = 1_111_111_111
"""Stands for the time in seconds until the answer is sent."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text, `pieces` the same as it is streamed."""

    id: str
    name: str
    arguments: dict[str, Any]

    @property
    def json(self) -> str:
        return orjson.dumps(self.arguments).decode()

    @property
    def pieces(self) -> list[str]:
        return pieces(self.json, max(1, len(self.json) // 3 + 1))


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens, inclusive: `input` holds cache reads, writes and tool use; `output` holds reasoning."""

    input: int
    output: int
    cached: int = 0
    w5m: int = 0
    w1h: int = 0
    reason: int = 0
    tooluse: int = 0
    searches: int = 0

    def scaled(self, factor: int) -> Counts:
        return Counts(*(getattr(self, name) * factor for name in self.__slots__))

    @classmethod
    def literal(cls) -> Counts:
        return cls(*[LITERAL] * len(cls.__slots__))


@dataclass(frozen=True, slots=True)
class Answer:
    """`finish`: stop, length, tool, filter or block. `counts` is None where usage is missing; `shown` is
    what an early report says (for shrinking usage, more than the end will)."""

    ask: Ask
    options: Options
    text: tuple[str, ...]
    thoughts: tuple[str, ...]
    calls: tuple[Call, ...]
    finish: str
    counts: Counts
    shown: Counts
    tag: str = ""
    """Of a strict answer: 32 hexadecimal digits, other ones for every other request; the first is 1 where it
    begins with thoughts."""

    @property
    def full_text(self) -> str:
        return "".join(self.text)

    @property
    def full_thoughts(self) -> str:
        return "".join(self.thoughts)

    @property
    def usage(self) -> str:
        return self.options.usage


def pieces(text: str, size: int) -> list[str]:
    """Text cut into pieces of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def words(text: str) -> list[str]:
    """Text cut before each blank: joined, they are the text again."""
    head, *rest = text.split(" ")
    return [head, *(" " + word for word in rest)]


def _long(text: str, size: int) -> str:
    """`size` characters: the text again and again, a blank between."""
    return ((text + " ") * (size // (len(text) + 1) + 1))[:size]


def _repeat(text: str, options: Options) -> list[str]:
    """Text in pieces as the options want them; repeated or cut to fit."""
    if options.bytes and options.fault not in LAZY:
        size = options.size or 32
        return pieces(_long(text, options.bytes), size)
    if options.size:
        count = 1 if options.chunks is None else options.chunks
        return pieces(_long(text, options.size * count), options.size)
    if options.chunks is None:
        return words(text)
    head, *rest = islice(cycle(words(text + " ")[:-1]), options.chunks) if options.chunks else [""]
    return [head, *(word if word.startswith(" ") else " " + word for word in rest)] if options.chunks else []


def sample(schema: object, depth: int = 0) -> Any:
    """A value that fits a JSON schema (Gemini's upper-case types too), the same each time."""
    if not isinstance(schema, dict) or depth > 8:
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return sample(schema[union][0], depth + 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match str(kind).lower():
        case "string":
            return "Paris"
        case "integer":
            return 7
        case "number":
            return 1.5
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            return [sample(schema.get("items"), depth + 1)] if schema.get("items") else []
        case _:
            fields = schema.get("properties") or {}
            return {name: sample(field, depth + 1) for name, field in fields.items()}


def _wants_tool(ask: Ask, options: Options) -> bool:
    if not ask.tools or ask.rounds >= options.steps:
        return False
    said = ask.prompt.lower()
    return bool(
        ask.forced or options.tools or "tool" in said or any(each.name.lower() in said for each in ask.tools)
    )


def _calls(ask: Ask, options: Options) -> tuple[Call, ...]:
    if not _wants_tool(ask, options):
        return ()
    named = [tool for tool in ask.tools if tool.name == ask.forced_name]
    said = ask.prompt.lower()
    asked = [tool for tool in ask.tools if tool.name.lower() in said]
    chosen: list[Tool] = named or (asked if not options.tools else []) or list(ask.tools)
    wanted = options.tools or (len(chosen) if asked and not named else 1)
    return tuple(
        Call(f"{ID}{number:02d}", tool.name, sample(tool.schema))
        for number, tool in enumerate(islice(cycle(chosen), wanted))
    )


def _distinct(call: Call, number: int, ask: Ask, tag: str) -> Call:
    """A strict answer's call: its id is the answer's, its texts are its own, so that no other call's
    signature or result can stand in its place unseen. It gives the arguments that the schema requires, where
    it requires any."""
    schema = next((tool.schema for tool in ask.tools if tool.name == call.name), {})
    fields = schema.get("properties") or {}
    required = set(schema.get("required") or fields)
    arguments = {
        name: f"{value} {ask.rounds + 1}.{number + 1}"
        if isinstance(value, str) and not {"enum", "const"} & fields[name].keys()
        else value
        for name, value in call.arguments.items()
        if name in required
    }
    return Call(f"{tag}{number:02d}", call.name, arguments)


def _thoughts(ask: Ask, options: Options) -> list[str]:
    asked = pupil.thinks(ask) if options.words == "obey" else ask.think
    if (options.think is None and not asked) or (options.strict and ask.hushed):
        return []
    told = words(f"Step {ask.rounds + 1}: {THOUGHTS}" if options.strict else THOUGHTS)
    return _repeat(THOUGHTS, Options(chunks=options.think)) if options.think else told


def _text(ask: Ask, options: Options, calls: tuple[Call, ...]) -> list[str]:
    if calls:
        return words(BEFORE_TOOLS) if options.strict else []
    if ask.json or options.json:
        said = orjson.dumps(sample(ask.schema) if ask.schema else {"answer": "Paris", "sure": True}).decode()
        return pieces(said, options.size or 8)
    if options.words == "obey":
        return words(pupil.answer(ask))
    source = {"utf8": UTF8, "echo": ask.prompt or TEXT}.get(
        options.words, AFTER_TOOL if ask.answered else TEXT
    )
    if options.fault in ("cut-utf8", "bad-utf8") and not options.words:
        source = UTF8
    return _repeat(source, options)


def compose(ask: Ask, options: Options) -> Answer:
    """Decide what to say to this request under these options; no clock, no chance."""
    calls = _calls(ask, options)
    text, thoughts = _text(ask, options, calls), _thoughts(ask, options)
    tag = f"{'1' if thoughts else '0'}{digest(ask.body)[1:]}" if options.strict else ""
    if tag:
        calls = tuple(_distinct(call, number, ask, tag) for number, call in enumerate(calls))
    finish = "tool" if calls else options.finish or "stop"
    if options.limit and ask.max_tokens is not None and len(text) > ask.max_tokens:
        text, finish = text[: ask.max_tokens], "length"
    for fault, mark in (("huge", HUGE), ("bad-utf8", BAD)):
        if options.fault == fault and text:
            at = min(options.after or 0, len(text) - 1)
            text[at] = (text[at] if fault == "bad-utf8" else "") + mark
    counts = _counts(ask, options, len(text) + TOKENS_PER_CALL * len(calls), len(thoughts))
    shown = counts
    if options.usage in HOSTILE:
        counts = shown = Counts.literal()
    elif options.usage == "zero":
        counts = shown = Counts(0, 0)
    elif options.usage == "shrinking":
        shown = counts.scaled(3)
    return Answer(ask, options, tuple(text), tuple(thoughts), calls, finish, counts, shown, tag)


def _counts(ask: Ask, options: Options, said: int, thought: int) -> Counts:
    parts = options.cached + options.w5m + options.w1h + options.tooluse
    given = options.input
    full = ask.words + parts if given is None else max(given, parts)
    reason = options.reason
    if reason is None:
        reason = thought * ask.count if options.output is None else min(thought, options.output)
    output = said * ask.count + reason if options.output is None else max(options.output, reason)
    return Counts(
        full, output, options.cached, options.w5m, options.w1h, reason, options.tooluse, options.searches
    )
