from __future__ import annotations

from pathlib import Path

import pytest

import simulator
from simulator.ask import chat
from simulator.compose import TEXT, compose, pieces, words
from simulator.faults import FAULTS
from simulator.options import GRAMMAR, USAGES, BadOptionError, Options, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sim", Options()),
        ("sim.chunks-100", Options(chunks=100, plain=False)),
        ("acme/sim.delay-10.size-25", Options(delay=10, size=25, plain=False)),
        (
            "sim.in-1000.out-50.cached-800.w5m-100.w1h-50.reason-20",
            Options(input=1000, output=50, cached=800, w5m=100, w1h=50, reason=20, plain=False),
        ),
        ("sim.think.tool", Options(think=0, tools=1, plain=False)),
        ("sim.think-5.tools-3", Options(think=5, tools=3, plain=False)),
        ("sim.fault-429.retry-7", Options(fault="429", retry="7", plain=False)),
        ("sim.fault-400-billing", Options(fault="400-billing", plain=False)),
        ("sim.fault-cut.after-3", Options(fault="cut", after=3, plain=False)),
        ("sim.usage-huge", Options(usage="huge", plain=False)),
        ("gpt-4.1-mini", Options()),
        ("gpt-4.1-mini.out-7", Options(output=7, plain=False)),
        ("claude-3.5-sonnet.in-x", Options()),
    ],
)
def test_it_reads_options_from_a_model_name(name: str, expected: Options) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        "sim.chnks-3",
        "sim.chunks-many",
        "sim.chunks--1",
        "sim.fault-nothing",
        "sim.utf8-2",
        "sim.in-9999999999",
    ],
)
def test_it_names_a_part_of_its_own_model_name_that_it_does_not_know(name: str) -> None:
    with pytest.raises(BadOptionError, match=name.removeprefix("sim.").split("-")[0]):
        parse(name)


def test_a_play_is_added_to_the_model_name_and_wins() -> None:
    assert parse("sim.chunks-3.fault-500", "fault-401.delay-5") == Options(
        chunks=3, fault="401", delay=5, plain=False
    )


def test_the_play_ok_takes_back_the_fault_of_the_name() -> None:
    assert parse("sim.fault-500", "ok").fault == ""


def test_an_unknown_play_is_refused() -> None:
    with pytest.raises(BadOptionError):
        parse("gpt-4.1", "no-such-thing")


def test_the_plain_answer_is_forty_words() -> None:
    assert len(TEXT.split()) == 40
    assert "".join(words(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("options", "count", "length"),
    [
        ("chunks-7", 7, None),
        ("chunks-100", 100, None),
        ("chunks-4.size-25", 4, 100),
        ("bytes-1000.size-30", 34, 1000),
    ],
)
def test_the_name_chooses_number_and_size_of_the_pieces(options: str, count: int, length: int | None) -> None:
    ask = chat({"model": "sim", "messages": []})
    answer = compose(ask, parse("sim." + options))
    assert len(answer.text) == count == answer.counts.output
    assert length is None or len(answer.full_text) == length


def test_no_pieces_can_be_asked_for() -> None:
    assert compose(chat({"model": "sim", "messages": []}), parse("sim.chunks-0")).text == ()


def test_pieces_joined_are_the_text_again() -> None:
    assert "".join(pieces("abcdefg", 3)) == "abcdefg"


def test_the_readme_tells_every_option_fault_and_usage_variant() -> None:
    readme = (Path(simulator.__file__).parent / "README.md").read_text()
    for row in GRAMMAR:
        assert f"`{row.form}`" in readme, row.form
    for name, fault in FAULTS.items():
        assert f"| `{name}` | {fault.row} | {fault.help}" in readme, name
    for name in USAGES:
        assert f"`{name}`" in readme, name


@pytest.mark.parametrize(
    ("options", "body", "expected"),
    [
        ("", {}, (2, 40, 0)),
        ("think", {}, (2, 54, 14)),
        ("reason-20", {}, (2, 60, 20)),
        ("reason-20.out-50", {}, (2, 50, 20)),
        ("think.out-9", {}, (2, 9, 9)),
        ("cached-5.w5m-3.w1h-2.tooluse-1", {}, (13, 40, 0)),
        ("in-7.cached-10", {}, (10, 40, 0)),
        ("chunks-3", {"n": 2}, (2, 6, 0)),
        ("tools-2", {"tools": [{"type": "function", "function": {"name": "a"}}]}, (2, 24, 0)),
    ],
)
def test_tokens_can_be_counted_by_hand(
    options: str, body: dict[str, object], expected: tuple[int, int, int]
) -> None:
    ask = chat({"model": "sim", "messages": [{"role": "user", "content": "hello there"}], **body})
    counts = compose(ask, parse(f"sim.{options}" if options else "sim")).counts
    assert (counts.input, counts.output, counts.reason) == expected
