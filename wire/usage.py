"""From a vendor's counters to the relay's: merged field by field, summed up last (wire.md, "Usage")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wire.types import MAX_COUNT, Usage

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
    "reasoning": (("completion_tokens_details", "reasoning_tokens"),),
}
RESPONSES: Paths = {
    "input": (("input_tokens", ""),),
    "output": (("output_tokens", ""),),
    "total": (("total_tokens", ""),),
    "cache_read": (("input_tokens_details", "cached_tokens"),),
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

    def get(self, name: str) -> int:
        """The counter, 0 where it was never reported."""
        return self.values.get(name, 0)


Derive = Callable[[Counters], Usage]


def from_openai(raw: Counters) -> Usage:
    """Chat, Responses and their family: input includes cached, output includes reasoning.

    Some vendors (xAI) leave reasoning out of the output; where the total says so, it is added.
    """
    source, output, reasoning, total = (raw.get(name) for name in ("input", "output", "reasoning", "total"))
    if reasoning and total and source + output + reasoning == total:
        output += reasoning
    reported = "input" in raw.values
    if not reported and "output" not in raw.values and "total" in raw.values:
        # Embeddings and rerank of some vendors report the sum alone.
        source, reported = total, True
    return _usage(
        raw,
        source=source,
        output=output,
        read=raw.get("cache_read"),
        reasoning=reasoning,
        input_reported=reported,
        output_reported="output" in raw.values,
    )


def from_anthropic(raw: Counters) -> Usage:
    """Messages: cache reads and writes stand beside the input and are added to it."""
    read, total = raw.get("cache_read"), raw.get("cache_write")
    short, long = raw.get("cache_write_5m"), raw.get("cache_write_1h")
    assumed = total > short + long
    if assumed:
        short = total - long
    return _usage(
        raw,
        source=raw.get("input") + read + short + long,
        output=raw.get("output"),
        read=read,
        write_5m=short,
        write_1h=long,
        write_split_assumed=assumed,
        input_reported="input" in raw.values,
        output_reported="output" in raw.values,
    )


def from_gemini(raw: Counters) -> Usage:
    """Gemini: tool-use prompts are input; thoughts are output, unless the total says that they are counted
    there already."""
    source = raw.get("input") + raw.get("tool_use")
    candidates, thoughts, total = raw.get("candidates"), raw.get("thoughts"), raw.get("total")
    inside = "total" in raw.values and source + candidates == total
    return _usage(
        raw,
        source=source,
        output=candidates if inside else candidates + thoughts,
        read=raw.get("cache_read"),
        reasoning=thoughts,
        input_reported="input" in raw.values,
        output_reported="candidates" in raw.values or "thoughts" in raw.values,
    )


def _usage(
    raw: Counters,
    *,
    source: int,
    output: int,
    read: int,
    write_5m: int = 0,
    write_1h: int = 0,
    reasoning: int = 0,
    write_split_assumed: bool = False,
    input_reported: bool,
    output_reported: bool,
) -> Usage:
    """The parts cut to what contains them: reads first, then 5-minute writes, then 1-hour writes."""
    kept_read = min(read, source)
    kept_5m = min(write_5m, source - kept_read)
    kept_1h = min(write_1h, source - kept_read - kept_5m)
    kept_reasoning = min(reasoning, output)
    cut = (kept_read, kept_5m, kept_1h, kept_reasoning) != (read, write_5m, write_1h, reasoning)
    return Usage(
        input_tokens=source,
        output_tokens=output,
        cache_read_tokens=kept_read,
        cache_write_5m_tokens=kept_5m,
        cache_write_1h_tokens=kept_1h,
        reasoning_tokens=kept_reasoning,
        tool_uses={name: count for name, count in raw.tool_uses.items() if count},
        service_tier=raw.service_tier,
        input_reported=input_reported,
        output_reported=output_reported,
        final=raw.final and output_reported,
        write_split_assumed=write_split_assumed,
        suspect=raw.suspect or cut,
    )
