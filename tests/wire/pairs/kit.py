"""One request or answer on its way through the middle, for every ordered pair of formats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from tests.counts import ROOT
from tests.wire.pairs.answers import STREAMS, WHOLE
from tests.wire.pairs.requests import (
    CHAT_TOOLS,
    CLAUDE_TOOLS,
    FLAT_TOOLS,
    REQUESTS,
    Fields,
    chat,
    claude,
    declared,
    gemini,
    responses,
)
from wire import DIALECTS, FORMATS
from wire.jsons import dumps
from wire.neutral.dialect import Asked
from wire.neutral.requests import CannotHold, Request, Target, Written, told
from wire.neutral.traces import without_traces
from wire.neutral.translate import Translation, translated
from wire.types import BadFrame, BadRequest, Brief

PAGE = ROOT / "docs/conversion.md"
GOLDEN = Path(__file__).parent / "golden"
PAIRS = [(one, other) for one in DIALECTS for other in DIALECTS if one != other]
MODELS = {
    "openai_chat": "gpt-4o",
    "openai_responses": "gpt-5",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-2.5-pro",
}
"""Upstream's name for the model, by its format."""
PUBLIC = "sim"
NAMED = {name: {} if name == "gemini" else {"model": PUBLIC} for name in FORMATS}
BRIEF = Brief(PUBLIC, stream=True, wants_usage=True)
COMMON: Mapping[str, Fields] = {
    "openai_chat": chat(tools=CHAT_TOOLS, reasoning_effort="high", stop="END"),
    "openai_responses": responses(
        tools=FLAT_TOOLS,
        reasoning={"effort": "high", "summary": "auto"},
        include=["reasoning.encrypted_content"],
    ),
    "anthropic": claude(
        tools=CLAUDE_TOOLS, thinking={"type": "enabled", "budget_tokens": 2000}, stop_sequences=["END"]
    ),
    "gemini": gemini(
        tools=declared(),
        generationConfig={"thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": True}},
    ),
}
"""What was asked for the answers of the corpus, by the client's format: with a tool, with thinking, and with
a stop sequence where an answer's reader goes by it."""
WIDTH = 100


def read(origin: str, fields: Fields, brief: Brief = BRIEF) -> Request:
    """A client's request. Raises BadRequest."""
    return DIALECTS[origin].read_request(dumps({**NAMED[origin], **fields}), brief)


def target_of(name: str) -> Target:
    """Where a request goes in the corpus."""
    return Target(MODELS[name])


def asked(origin: str, request: Request | None = None, brief: Brief = BRIEF) -> Asked:
    """What the answer's writer knows."""
    return Asked("r1", 1_762_317_021, PUBLIC, brief, request or read(origin, COMMON[origin]), 25)


def written(one: str, other: str, fields: Fields) -> Fields:
    """What becomes of a client's request, for people."""
    try:
        request, left = without_traces(read(one, fields), other)
        out = DIALECTS[other].write_request(request, target_of(other))
    except CannotHold as error:
        return {"not for this target": error.text, "param": error.param}
    except BadRequest as error:
        return {"refused": error.text, "param": error.param}
    found: Fields = {"body": orjson.loads(out.body)}
    if dropped := [DIALECTS[one].spelled(name) for name in told([*left, *out.dropped])]:
        found["dropped"] = dropped
    for name in ("names", "shaped_by", "headers"):
        if value := getattr(out, name):
            found[name] = value
    return found


def translation(upstream: str, client: str, question: Asked | None = None) -> Translation:
    """A watch over an upstream's stream that a client of another format sees."""
    return Translation(
        FORMATS[upstream].watch(BRIEF),
        DIALECTS[upstream],
        DIALECTS[client],
        asked=question or asked(client),
        written=Written(b""),
        late=upstream == "gemini",
    )


def streamed(upstream: str, client: str, pieces: Iterable[bytes]) -> tuple[bytes, Translation]:
    """What the client sees of a stream, and the watch over it."""
    watch = translation(upstream, client)
    out = []
    for passed in (*map(watch.feed, pieces), watch.finish()):
        out += [passed.out, passed.end]
    return b"".join(out), watch


def told_stream(upstream: str, client: str, stream: bytes) -> str:
    """What the client sees of a stream, for people: one that broke off ends with what the relay tells."""
    out, watch = streamed(upstream, client, [stream])
    return out.decode().replace("\r\n", "\n") + (
        f"(broken off: {watch.error.text})\n\n" if watch.error else ""
    )


def told_whole(upstream: str, client: str, body: bytes) -> Any:
    """What the client gets of a whole answer."""
    usage = FORMATS[upstream].read_whole(body, BRIEF).usage
    try:
        answer, _ = translated(
            body,
            DIALECTS[upstream],
            DIALECTS[client],
            asked=asked(client),
            written=Written(b""),
            usage=usage,
        )
    except BadFrame as error:
        return {"broken": str(error)}
    return orjson.loads(answer)


def golden() -> Iterator[tuple[str, str]]:
    """All files of the corpus, by their names in the folder, as they should be."""
    for one, other in PAIRS:
        requests = {name: written(one, other, by[one]) for name, by in REQUESTS.items() if one in by}
        yield f"requests/{one}-to-{other}.json", pretty(requests)
        replies = {name: told_whole(one, other, by[one]) for name, by in WHOLE.items() if one in by}
        yield f"replies/{one}-to-{other}.json", pretty(replies)
        streams = (
            f"# {name}\n\n{told_stream(one, other, by[one])}" for name, by in STREAMS.items() if one in by
        )
        yield f"streams/{one}-to-{other}.sse", "".join(streams)


def table() -> str:
    """What becomes of the requests of the corpus, for docs/conversion.md: a line for each case, a column for
    each format that a request goes to."""
    lines = [f"| asked for | {' | '.join(DIALECTS)} |", f"|{' --- |' * (len(DIALECTS) + 1)}"]
    for case, by in REQUESTS.items():
        numbers, _, name = case.partition(": ")
        cells = [_cell([written(one, other, by[one]) for one in by if one != other]) for other in DIALECTS]
        lines.append(f"| {name} ({', '.join(numbers.split())}) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: list[Fields]) -> str:
    if not found:
        return "its own"
    if all("body" not in each for each in found):
        return "not taken"
    dropped = dict.fromkeys(name for each in found for name in each.get("dropped", ()))
    told = [f"drops {', '.join(f'`{name}`' for name in dropped)}"] if dropped else ["yes"]
    return "; ".join([*told, *(["not of every format"] if any("body" not in each for each in found) else [])])


def documented(page: str) -> str:
    """The page with the table between its marks."""
    before, mark, rest = page.partition("<!-- corpus -->\n")
    _, end, after = rest.partition("<!-- end of corpus -->")
    return before + mark + table() + end + after


def pretty(value: Any) -> str:
    """JSON for people: what fits into a line stands on one."""
    return _shown(value, 0) + "\n"


def _shown(value: Any, depth: int) -> str:
    plain = json.dumps(value, ensure_ascii=False)
    if len(plain) + depth <= WIDTH or not isinstance(value, dict | list):
        return plain
    items = (
        [f"{json.dumps(key, ensure_ascii=False)}: {_shown(each, depth + 2)}" for key, each in value.items()]
        if isinstance(value, dict)
        else [_shown(each, depth + 2) for each in value]
    )
    before, after = ("{", "}") if isinstance(value, dict) else ("[", "]")
    inner = ",\n".join(" " * (depth + 2) + each for each in items)
    return f"{before}\n{inner}\n{' ' * depth}{after}"
