"""From a vendor's counters to the relay's: merged field by field, summed up last (wire.md, "Usage")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from wire.types import MAX_COUNT, Usage

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
"""A counter that can be one; anything else is looked at by `Counters`."""

Paths = Mapping[str, tuple[tuple[str, str], ...]]
"""For each counter where it stands in a usage object, as key and key within ("" for none); of several places
the first that holds something."""

OPENAI: Paths = {
    "input": (("prompt_tokens", ""),),
    "output": (("completion_tokens", ""),),
    "total": (("total_tokens", ""),),
    # The second is DeepSeek's, the third Moonshot's.
    "cache_read": (
        ("prompt_tokens_details", "cached_tokens"),
        ("prompt_cache_hit_tokens", ""),
        ("cached_tokens", ""),
    ),
    "cache_write": (("prompt_tokens_details", "cache_write_tokens"),),
    "reasoning": (("completion_tokens_details", "reasoning_tokens"),),
}
RESPONSES: Paths = {
    "input": (("input_tokens", ""),),
    "output": (("output_tokens", ""),),
    "total": (("total_tokens", ""),),
    "cache_read": (("input_tokens_details", "cached_tokens"),),
    "cache_write": (("input_tokens_details", "cache_write_tokens"),),
    "reasoning": (("output_tokens_details", "reasoning_tokens"),),
}
FAMILY: Paths = {name: (*OPENAI[name], *RESPONSES[name]) for name in OPENAI}
"""Embeddings, rerank, images, audio: vendors use either set of names."""
ANTHROPIC: Paths = {
    "input": (("input_tokens", ""),),
    "output": (("output_tokens", ""),),
    "cache_read": (("cache_read_input_tokens", ""),),
    "cache_write": (("cache_creation_input_tokens", ""),),
    "cache_write_5m": (("cache_creation", "ephemeral_5m_input_tokens"),),
    "cache_write_1h": (("cache_creation", "ephemeral_1h_input_tokens"),),
}
GEMINI: Paths = {
    "input": (("promptTokenCount", ""),),
    "tool_use": (("toolUsePromptTokenCount", ""),),
    "candidates": (("candidatesTokenCount", ""),),
    "thoughts": (("thoughtsTokenCount", ""),),
    "cache_read": (("cachedContentTokenCount", ""),),
    "total": (("totalTokenCount", ""),),
}


class Counters:
    """A vendor's raw counters of one attempt, merged over all its reports."""

    __slots__ = ("final", "service_tier", "suspect", "tool_uses", "values")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.tool_uses: dict[str, int] = {}
        self.service_tier = ""
        self.suspect = False
        self.final = False
        """Whether an output count came with the end of the answer."""

    def merge(self, report: Any, paths: Paths) -> None:
        """Takes one usage object: of each counter what is above 0, or anything while the known value is 0.
        What is absent or null changes nothing; what is no count at all is taken as absent and makes the whole
        suspect."""
        if report is None:
            return
        if not isinstance(report, dict):
            self.suspect = True
            return
        for name, places in paths.items():
            for key, inner in places:
                value = report.get(key)
                if inner and value is not None:
                    value = self._within(value, inner)
                if value is not None:
                    self._take(self.values, name, value)
                    break

    def take(self, **counts: int | None) -> None:
        """Merges counters that were read by their type; None is one that was not reported."""
        values = self.values
        for name, value in counts.items():
            if value or (value is not None and not values.get(name)):
                values[name] = value

    def merge_tool_uses(self, report: Any) -> None:
        """Takes Anthropic's `server_tool_use`: `web_search_requests` counts as `web_search`, and so on."""
        if report is None:
            return
        if not isinstance(report, dict):
            self.suspect = True
            return
        for key, value in report.items():
            if key.endswith("_requests") and value is not None:
                self._take(self.tool_uses, key.removesuffix("_requests"), value)

    def _within(self, details: Any, key: str) -> Any:
        if isinstance(details, dict):
            return details.get(key)
        self.suspect = True
        return None

    def _take(self, counts: dict[str, int], name: str, value: Any) -> None:
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            self.suspect = True
        elif value > 0 or not counts.get(name):
            counts[name] = value


Derive = Callable[[Counters], Usage]


def from_openai(raw: Counters) -> Usage:
    """Chat, Responses and their family, from the merged counters."""
    get = raw.values.get
    return openai_usage(
        source=get("input"),
        output=get("output"),
        total=get("total"),
        read=get("cache_read"),
        written=get("cache_write"),
        reasoning=get("reasoning"),
        service_tier=raw.service_tier,
        tool_uses={name: count for name, count in raw.tool_uses.items() if count},
        final=raw.final,
        suspect=raw.suspect,
    )


def openai_usage(
    *,
    source: int | None,
    output: int | None,
    total: int | None,
    read: int | None,
    written: int | None,
    reasoning: int | None,
    service_tier: str = "",
    tool_uses: Mapping[str, int] | None = None,
    final: bool = True,
    suspect: bool = False,
) -> Usage:
    """Chat, Responses and their family: input includes what was read from a cache and what was `written` to
    one, output includes reasoning. None is a counter that was not reported. Writes have one price, a quarter
    above the input's (developers.openai.com/api/docs/guides/prompt-caching), as Anthropic's short ones.

    Some vendors (xAI) leave reasoning out of the output; where the total says so, it is added.
    """
    input_reported, output_reported = source is not None, output is not None
    source, output, reasoning = source or 0, output or 0, reasoning or 0
    read, written = read or 0, written or 0
    if reasoning and total and source + output + reasoning == total:
        output += reasoning
    if total is not None and not input_reported and not output_reported:
        # Embeddings and rerank of some vendors report the sum alone.
        source, input_reported = total, True
    if read + written > source or reasoning > output:
        read, reasoning, suspect = min(read, source), min(reasoning, output), True
        written = min(written, source - read)
    return Usage(
        input_tokens=source,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        reasoning_tokens=reasoning,
        tool_uses=tool_uses or {},
        service_tier=service_tier,
        input_reported=input_reported,
        output_reported=output_reported,
        final=final and output_reported,
        suspect=suspect,
    )


def from_anthropic(raw: Counters) -> Usage:
    """Messages, from the merged counters."""
    get = raw.values.get
    return anthropic_usage(
        source=get("input"),
        output=get("output"),
        read=get("cache_read"),
        written=get("cache_write"),
        short=get("cache_write_5m"),
        long=get("cache_write_1h"),
        service_tier=raw.service_tier,
        tool_uses={name: count for name, count in raw.tool_uses.items() if count},
        final=raw.final,
        suspect=raw.suspect,
    )


def anthropic_usage(
    *,
    source: int | None,
    output: int | None,
    read: int | None,
    written: int | None,
    short: int | None,
    long: int | None,
    service_tier: str = "",
    tool_uses: Mapping[str, int] | None = None,
    final: bool = True,
    suspect: bool = False,
) -> Usage:
    """Messages: cache reads and writes (`written` of all kinds, `short` for 5 minutes, `long` for an hour)
    stand beside the input and are added to it. None is a counter that was not reported."""
    read, written, short, long = read or 0, written or 0, short or 0, long or 0
    assumed = written > short + long
    if assumed:
        short = written - long
    return Usage(
        input_tokens=(source or 0) + read + short + long,
        output_tokens=output or 0,
        cache_read_tokens=read,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        tool_uses=tool_uses or {},
        service_tier=service_tier,
        input_reported=source is not None,
        output_reported=output is not None,
        final=final and output is not None,
        write_split_assumed=assumed,
        suspect=suspect,
    )


def from_gemini(raw: Counters) -> Usage:
    """Gemini, from the merged counters."""
    get = raw.values.get
    return gemini_usage(
        prompt=get("input"),
        tool_use=get("tool_use"),
        candidates=get("candidates"),
        thoughts=get("thoughts"),
        read=get("cache_read"),
        total=get("total"),
        service_tier=raw.service_tier,
        final=raw.final,
        suspect=raw.suspect,
    )


def gemini_usage(
    *,
    prompt: int | None,
    tool_use: int | None,
    candidates: int | None,
    thoughts: int | None,
    read: int | None,
    total: int | None,
    service_tier: str = "",
    final: bool = True,
    suspect: bool = False,
) -> Usage:
    """Gemini: tool-use prompts are input; thoughts are output, unless the total says that they are counted
    there already. None is a counter that was not reported."""
    output_reported = candidates is not None or thoughts is not None
    source, output, reasoning, read = (
        (prompt or 0) + (tool_use or 0),
        candidates or 0,
        thoughts or 0,
        read or 0,
    )
    if total is None or source + output != total:
        output += reasoning
    if read > source or reasoning > output:
        read, reasoning, suspect = min(read, source), min(reasoning, output), True
    return Usage(
        input_tokens=source,
        output_tokens=output,
        cache_read_tokens=read,
        reasoning_tokens=reasoning,
        service_tier=service_tier,
        input_reported=prompt is not None,
        output_reported=output_reported,
        final=final and output_reported,
        suspect=suspect,
    )
