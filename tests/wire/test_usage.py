from __future__ import annotations

from typing import Any

import pytest

from wire.types import MAX_COUNT, Usage
from wire.usage import (
    ANTHROPIC,
    FAMILY,
    GEMINI,
    OPENAI,
    RESPONSES,
    Counters,
    Derive,
    Paths,
    from_anthropic,
    from_gemini,
    from_openai,
)


def derived(paths: Paths, derive: Derive, *reports: Any) -> Usage:
    raw = Counters()
    for report in reports:
        raw.merge(report, paths)
    return derive(raw)


def chat(*reports: Any) -> Usage:
    return derived(OPENAI, from_openai, *reports)


def anthropic(*reports: Any) -> Usage:
    return derived(ANTHROPIC, from_anthropic, *reports)


def gemini(*reports: Any) -> Usage:
    return derived(GEMINI, from_gemini, *reports)


@pytest.mark.parametrize(
    "bad",
    [-1, MAX_COUNT + 1, 2**63, 10**400, True, False, 1.0, float("inf"), "12", "", [], {}, [5]],
    ids=repr,
)
def test_a_number_that_cannot_be_a_count_is_absent_and_suspect(bad: object) -> None:
    usage = chat({"prompt_tokens": bad, "completion_tokens": 5})
    assert (usage.input_tokens, usage.input_reported, usage.suspect) == (0, False, True)
    assert (usage.output_tokens, usage.output_reported) == (5, True)


def test_a_bad_number_leaves_a_good_one_standing() -> None:
    usage = chat(
        {"prompt_tokens": 10, "completion_tokens": 5}, {"prompt_tokens": "11", "completion_tokens": 6}
    )
    assert (usage.input_tokens, usage.output_tokens, usage.suspect) == (10, 6, True)


@pytest.mark.parametrize("report", [5, "usage", [], True, 1.5])
def test_a_usage_that_is_no_object_is_suspect(report: object) -> None:
    assert chat(report) == Usage(suspect=True)


@pytest.mark.parametrize("details", [5, "x", []])
def test_details_that_are_no_object_are_suspect(details: object) -> None:
    usage = chat({"prompt_tokens": 10, "prompt_tokens_details": details})
    assert (usage.input_tokens, usage.cache_read_tokens, usage.suspect) == (10, 0, True)


def test_null_means_nothing() -> None:
    assert chat(None) == Usage()
    report = {"prompt_tokens": None, "completion_tokens": None, "prompt_tokens_details": None}
    assert chat(report) == Usage()
    assert chat({"prompt_tokens_details": {"cached_tokens": None}}) == Usage()


def test_zero_is_a_report() -> None:
    usage = chat({"prompt_tokens": 0, "completion_tokens": 0})
    assert usage == Usage(input_reported=True, output_reported=True)


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([10, 0], 10),
        ([0, 10], 10),
        ([10, 7], 7),
        ([10, None, 12], 12),
        ([10, 10], 10),
        ([0, 0], 0),
    ],
)
def test_a_later_number_replaces_an_earlier_one_but_zero_never_wipes_it(
    reports: list[int | None], expected: int
) -> None:
    usage = chat(*({"prompt_tokens": number} for number in reports))
    assert (usage.input_tokens, usage.suspect) == (expected, False)


def test_chat_input_contains_cached_and_output_contains_reasoning() -> None:
    usage = chat(
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "total_tokens": 150,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 40},
        }
    )
    assert usage == Usage(
        input_tokens=100,
        output_tokens=50,
        cache_read_tokens=64,
        reasoning_tokens=40,
        input_reported=True,
        output_reported=True,
    )


def test_reasoning_that_the_total_counts_apart_is_added_to_the_output() -> None:
    report = {
        "prompt_tokens": 291,
        "completion_tokens": 26,
        "completion_tokens_details": {"reasoning_tokens": 189},
    }
    assert chat({**report, "total_tokens": 506}).output_tokens == 26 + 189
    assert chat({**report, "total_tokens": 506}).reasoning_tokens == 189
    assert not chat({**report, "total_tokens": 506}).suspect


def test_parts_are_cut_to_what_contains_them() -> None:
    usage = chat(
        {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 11},
            "completion_tokens_details": {"reasoning_tokens": 7},
        }
    )
    assert (usage.cache_read_tokens, usage.reasoning_tokens, usage.suspect) == (10, 2, True)


def test_writes_to_a_cache_are_cut_to_what_was_not_read_from_it() -> None:
    usage = chat(
        {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 9},
        }
    )
    assert (usage.cache_read_tokens, usage.cache_write_tokens, usage.suspect) == (8, 2, True)


def test_responses_counters_have_their_own_names() -> None:
    report = {
        "input_tokens": 75,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens": 1186,
        "output_tokens_details": {"reasoning_tokens": 1024},
    }
    usage = derived(RESPONSES, from_openai, report)
    assert (usage.input_tokens, usage.output_tokens) == (75, 1186)
    assert (usage.cache_read_tokens, usage.reasoning_tokens) == (5, 1024)


def test_a_family_that_reports_the_sum_alone_reports_its_input() -> None:
    usage = derived(FAMILY, from_openai, {"total_tokens": 8})
    assert (usage.input_tokens, usage.input_reported, usage.output_reported) == (8, True, False)


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        # The two examples of wire.md.
        (
            [
                {
                    "input_tokens": 10,
                    "cache_read_input_tokens": 1000,
                    "cache_creation_input_tokens": 200,
                    "output_tokens": 1,
                },
                {"input_tokens": 10, "output_tokens": 50},
            ],
            (1210, 50, 1000, 200),
        ),
        (
            [
                {
                    "input_tokens": 10,
                    "cache_read_input_tokens": 1000,
                    "cache_creation_input_tokens": 200,
                    "output_tokens": 1,
                },
                {"input_tokens": 0, "cache_read_input_tokens": 1000, "output_tokens": 50},
            ],
            (1210, 50, 1000, 200),
        ),
        # A delta that restates the cumulative input of a turn with server tools.
        (
            [{"input_tokens": 10, "output_tokens": 1}, {"input_tokens": 61, "output_tokens": 2}],
            (61, 2, 0, 0),
        ),
        ([{"input_tokens": 25, "output_tokens": 1}, {"output_tokens": 15}], (25, 15, 0, 0)),
        ([{"output_tokens": 1}, {"output_tokens": 15}], (0, 15, 0, 0)),
    ],
)
def test_anthropic_sums_are_made_last(
    reports: list[dict[str, int]], expected: tuple[int, int, int, int]
) -> None:
    usage = anthropic(*reports)
    found = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
    assert (found, usage.suspect) == (expected, False)


@pytest.mark.parametrize(
    ("total", "split", "expected", "assumed"),
    [
        (248, {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100}, (148, 100), False),
        (248, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 248}, (0, 248), False),
        (248, None, (248, 0), True),
        (None, {"ephemeral_5m_input_tokens": 3}, (3, 0), False),
        (0, {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, (0, 0), False),
        (None, None, (0, 0), False),
        # The total grew in a later report that does not repeat the split.
        (300, {"ephemeral_5m_input_tokens": 148, "ephemeral_1h_input_tokens": 100}, (200, 100), True),
    ],
)
def test_anthropic_writes_are_split_by_how_long_they_live(
    total: int | None, split: dict[str, int] | None, expected: tuple[int, int], assumed: bool
) -> None:
    usage = anthropic({"input_tokens": 10, "cache_creation_input_tokens": total, "cache_creation": split})
    assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == expected
    assert (usage.input_tokens, usage.write_split_assumed) == (10 + sum(expected), assumed)


def test_anthropic_counts_the_uses_of_server_tools() -> None:
    raw = Counters()
    raw.merge_tool_uses({"web_search_requests": 2, "web_fetch_requests": 0, "note": 5})
    raw.merge_tool_uses({"web_search_requests": 3, "web_fetch_requests": None})
    assert from_anthropic(raw).tool_uses == {"web_search": 3}
    raw.merge_tool_uses({"web_search_requests": "9"})
    assert from_anthropic(raw).suspect


@pytest.mark.parametrize(
    ("report", "source", "output", "reasoning"),
    [
        ({"promptTokenCount": 9, "candidatesTokenCount": 23, "thoughtsTokenCount": 185}, 9, 208, 185),
        (
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": 23,
                "thoughtsTokenCount": 185,
                "totalTokenCount": 217,
            },
            9,
            208,
            185,
        ),
        # The total says that the thoughts are among the candidates already.
        (
            {
                "promptTokenCount": 9,
                "candidatesTokenCount": 208,
                "thoughtsTokenCount": 185,
                "totalTokenCount": 217,
            },
            9,
            208,
            185,
        ),
        (
            {
                "promptTokenCount": 55,
                "toolUsePromptTokenCount": 89,
                "candidatesTokenCount": 51,
                "thoughtsTokenCount": 56,
                "totalTokenCount": 251,
            },
            144,
            107,
            56,
        ),
        (
            {
                "promptTokenCount": 55,
                "toolUsePromptTokenCount": 89,
                "candidatesTokenCount": 107,
                "thoughtsTokenCount": 56,
                "totalTokenCount": 251,
            },
            144,
            107,
            56,
        ),
        ({"promptTokenCount": 6, "thoughtsTokenCount": 14, "totalTokenCount": 20}, 6, 14, 14),
    ],
)
def test_gemini_thoughts_are_output_counted_once(
    report: dict[str, int], source: int, output: int, reasoning: int
) -> None:
    usage = gemini(report)
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (source, output, reasoning)
    assert not usage.suspect


def test_gemini_reports_on_every_chunk_and_the_last_wins() -> None:
    usage = gemini(
        {"promptTokenCount": 9, "totalTokenCount": 9},
        {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
        {
            "promptTokenCount": 9,
            "candidatesTokenCount": 23,
            "totalTokenCount": 32,
            "cachedContentTokenCount": 4,
        },
    )
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (9, 23, 4)


def test_gemini_without_an_output_count_reports_none() -> None:
    usage = gemini({"promptTokenCount": 9, "totalTokenCount": 9})
    assert (usage.input_reported, usage.output_reported) == (True, False)


def test_an_output_count_is_final_only_where_the_end_told_it() -> None:
    raw = Counters()
    raw.merge({"prompt_tokens": 1, "completion_tokens": 1}, OPENAI)
    assert not from_openai(raw).final
    raw.final = True
    assert from_openai(raw).final
    assert not from_openai(Counters()).final
