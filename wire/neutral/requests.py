"""A request as the middle holds it, and what becomes of it on the way to another dialect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from wire.neutral.parts import NONE, Extras, Media, ToolResult, Turn
from wire.types import BadRequest


class Tool(msgspec.Struct, frozen=True):
    """What the model may call. `schema` is JSON Schema of its arguments, None for none. A `custom` tool of
    Responses takes free text, in its `grammar` if it has one."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    grammar: Mapping[str, Any] | None = None
    cache: str = ""
    extras: Extras = NONE


class BuiltIn(msgspec.Struct, frozen=True):
    """A tool that the vendor itself runs (web search, code execution), as it stood on the wire of `origin`.
    Passes to that dialect alone (conversion.md, 40)."""

    origin: str
    kind: str
    value: Mapping[str, Any]


class ToolChoice(msgspec.Struct, frozen=True):
    """`named`: this one tool must be called; `required`: any. `names`: no others may (empty: all may)."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""
    names: tuple[str, ...] = ()


class Effort(msgspec.Struct, frozen=True):
    """How much the model is to think, as far as it was said. `enabled` False: not at all; None: as the vendor
    likes. `budget` is in tokens, -1: as many as the model finds fit. `shown`: whether thoughts, or a summary,
    are wanted in the answer."""

    enabled: bool | None = None
    level: str = ""
    budget: int | None = None
    shown: bool | None = None


class Shape(msgspec.Struct, frozen=True):
    """What the answer must look like: any JSON object, or what `schema` describes."""

    kind: Literal["json_object", "json_schema"]
    schema: Mapping[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Request(msgspec.Struct, frozen=True):
    """`origin` is the format it came in. `turns` hold system messages where they stood.

    `knobs` are settings that more than one dialect knows, by the middle's names (`KNOBS`). `extras` holds
    what no other dialect knows: on the way to one, its keys are dropped and told. `cache` is a mark on the
    request as a whole (Anthropic's top-level `cache_control`)."""

    origin: str
    model: str
    turns: tuple[Turn, ...]
    stream: bool = False
    tools: tuple[Tool | BuiltIn, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    effort: Effort | None = None
    shape: Shape | None = None
    knobs: Mapping[str, Any] = {}
    previous_id: str = ""
    cache: str = ""
    extras: Extras = NONE


KNOBS = frozenset(
    {
        "temperature",  # 0 to 2, as in OpenAI and Gemini; Anthropic's ends at 1
        "top_p",
        "top_k",
        "n",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",  # bool
        "top_logprobs",
        "user",  # an opaque id of the end user
        "service_tier",
        "verbosity",
    }
)  # fmt: skip
"""Names of `Request.knobs`."""

HARMLESS = frozenset(
    {
        *("metadata", "store", "stream_options", "user", "include", "safety_identifier", "client_metadata"),
        *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"),
    }
)
"""What may be left out without a word: it changes nothing that the model says."""


_HELD: Final = frozenset(("cachedContent",))
"""Names of fields of one format by which a request says something that stands elsewhere."""


class Target(msgspec.Struct, frozen=True):
    """What a writer must know of where the request goes. `model` is the upstream's name for it;
    `max_output_tokens` its limit; `quirks` are the endpoint's."""

    model: str
    max_output_tokens: int = 32_000
    quirks: frozenset[str] = frozenset()


class Written(msgspec.Struct, frozen=True):
    """A request in a dialect. `dropped`: names of settings that were left out, as the client's format spells
    them, in order, each once. `names`: tools that had to be renamed, from the name upstream knows to the
    client's (conversion.md, 39). `shaped_by`: the tool by which an answer's shape is forced; its call is the
    answer's text (57). `headers` go upstream in addition."""

    body: bytes
    dropped: tuple[str, ...] = ()
    names: Mapping[str, str] = {}
    shaped_by: str = ""
    headers: Mapping[str, str] = {}


class CannotHold(BadRequest):
    """The request has content that the target's dialect has no place for: another target may have."""


def told(names: Iterable[str]) -> tuple[str, ...]:
    """Names of dropped fields, each once, less those that are harmless."""
    return tuple(dict.fromkeys(name for name in names if name not in HARMLESS))


_OFF: Final = (None, "", {"enabled": False})
UNSAID: Final = frozenset({"citations", "context"})
"""What a bag of Anthropic's may say about a file, beside its cache mark, that no other format can."""


def strangers(request: Request, origin: str) -> list[str]:
    """What stands in the request's bag for its own format alone, on the way to the format `origin`; and in
    the bags of its tools and files, as far as it changes an answer. Raises CannotHold where that is no
    setting but content, which only the vendor has."""
    if request.origin == origin:
        return []
    names = list(request.extras.get(request.origin, ()))
    held = next((name for name in names if name in _HELD), None)
    if held is not None:
        raise CannotHold(f"'{held}' names content that only {request.origin} holds", param=held)
    return [*names, *_inner(request)]


def _inner(request: Request) -> list[str]:
    return [*_of_tools(request), *_of_files(request)]


def _of_tools(request: Request) -> Iterator[str]:
    for tool in request.tools:
        if isinstance(tool, Tool) and "input_examples" in tool.extras.get(request.origin, ()):
            yield "tools.input_examples"


def _of_files(request: Request) -> Iterator[str]:
    parts = (part for turn in request.turns for part in turn.parts)
    for part in parts:
        inner = part.parts if isinstance(part, ToolResult) else (part,)
        for media in inner:
            if isinstance(media, Media):
                told = media.extras.get(request.origin, {})
                yield from (name for name in sorted(UNSAID & told.keys()) if told[name] not in _OFF)
