"""Ids that tell why a request was refused."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest
from django.conf import settings
from hypothesis import given, strategies as st

from relay.desk import RULES
from relay.refusals import WHYS
from relay.shedding import BACKLOG, CROWD, LOOP, MEMORY
from usage.causes import CAUSES, told
from usage.ids import request_id
from usage.refusal import MOST_MEASURED, MOST_SECONDS, Refusal, Rule, read, refusal_id

NOON = 1_763_812_800_000  # 2025-11-22 12:00:00 UTC


@given(
    st.integers(0, (1 << 48) - 1),
    st.sampled_from(Rule),
    st.integers(0, MOST_MEASURED),
    st.integers(0, MOST_SECONDS),
)
def test_what_is_written_into_an_id_is_read_from_it(
    milliseconds: int, rule: Rule, measured: int, wait: int
) -> None:
    text = refusal_id(milliseconds, rule, measured, wait)
    identifier = UUID(text)
    assert str(identifier) == text
    assert (identifier.version, identifier.variant) == (8, RFC_4122)
    assert read(identifier) == Refusal(milliseconds, rule.name.lower(), measured, wait)


def test_ids_of_one_moment_differ_by_38_bits_of_chance_and_tell_the_same() -> None:
    made = {refusal_id(NOON, Rule.MEMORY, 96, 9) for _ in range(1_000)}
    assert len(made) == 1_000
    assert {read(UUID(each)) for each in made} == {Refusal(NOON, "memory", 96, 9)}
    bits = [UUID(each).int & ((1 << 38) - 1) for each in made]
    assert reduce(or_, bits) == (1 << 38) - 1
    assert reduce(and_, bits) == 0


def test_ids_stand_in_the_order_of_time_among_those_of_records() -> None:
    ids = [
        refusal_id(NOON, Rule.NOT_LISTED, MOST_MEASURED, MOST_SECONDS),
        request_id(NOON + 1, bytes(9)),
        refusal_id(NOON + 2, Rule.EVENT_LOOP, 0, 0),
    ]
    assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("measured", "wait", "kept"),
    [(-1, -1, (0, 0)), (MOST_MEASURED + 1, 5_000, (MOST_MEASURED, MOST_SECONDS))],
)
def test_what_passes_its_bits_is_told_as_the_most_they_hold(
    measured: int, wait: int, kept: tuple[int, int]
) -> None:
    found = read(UUID(refusal_id(NOON, Rule.JOURNAL, measured, wait)))
    assert found is not None
    assert (found.measured, found.wait) == kept


@pytest.mark.parametrize(
    "other",
    [
        request_id(NOON, bytes(9)),
        "00000000-0000-0000-0000-000000000000",
        "019aab00-0000-8000-8000-000000000000",  # rule 0
        "019aab00-0000-8fc0-8000-000000000000",  # rule 63
        "019aab00-0000-8040-4000-000000000000",  # another variant
    ],
)
def test_an_id_of_anything_else_tells_nothing(other: str) -> None:
    assert read(UUID(other)) is None


def test_each_rule_has_its_words_and_the_settings_that_it_names_exist() -> None:
    assert CAUSES.keys() == {each.name.lower() for each in Rule}
    assert len(set(Rule)) == len(Rule.__members__)
    assert max(Rule) < 64
    for name, cause in CAUSES.items():
        assert all(hasattr(settings, knob) for knob in cause.knobs), name
        sentences = told(Refusal(NOON, name, 17, 4))
        assert sentences[0] == f"Refused at 2025-11-22 12:00:00.000 UTC: {cause.why}."
        assert ("17" in " ".join(sentences[1:2])) is bool(cause.measured), name
        assert sentences[-1] == "The client was told to wait 4 s, until 12:00:04."


def test_a_count_past_the_bits_is_told_as_at_least_that() -> None:
    assert f"Measured then: ≥ {MOST_MEASURED} MB were behind." in told(
        Refusal(NOON, "journal", MOST_MEASURED)
    )


def test_a_rule_of_tomorrow_is_told_by_its_name() -> None:
    assert told(Refusal(NOON, "moon_phase"))[0].endswith(": moon phase.")


def test_each_reason_of_the_server_and_of_shedding_is_a_rule() -> None:
    source = (Path(settings.BASE_DIR) / "aether/server.py").read_text()
    assert all(f'"{why}"' in source for why in WHYS)
    from_source = {
        part.split('"')[1]
        for mark in ("Unfit(", "_refuse(4")
        for part in source.split(mark)[1:]
        if '"' in part.split(")")[0]
    }
    assert from_source == WHYS.keys()
    assert set(RULES) == {LOOP, MEMORY, BACKLOG, CROWD}
