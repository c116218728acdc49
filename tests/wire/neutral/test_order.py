"""Parts that are open at the same time, told one after another."""

from __future__ import annotations

from hypothesis import given, strategies as st

from wire.neutral.collect import fold
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart, Start
from wire.neutral.order import OneByOne
from wire.neutral.parts import ToolCall


def call(number: int) -> ToolCall:
    return ToolCall(f"call_{number}", f"tool_{number}")


def one_by_one(*events: Event) -> list[Event]:
    order = OneByOne()
    return [told for event in events for told in order.feed(event)]


def test_calls_whose_pieces_interleave_are_told_whole_in_the_order_of_their_starts() -> None:
    told = one_by_one(
        PartStart(0, call(0)), PartStart(1, call(1)), PartDelta(1, "b"), PartDelta(0, "a"), PartEnd(1),
        PartDelta(0, "A"), PartEnd(0), Finish("tool_calls"), Over(),
    )  # fmt: skip
    assert told == [
        PartStart(0, call(0)), PartDelta(0, "a"), PartDelta(0, "A"), PartEnd(0),
        PartStart(1, call(1)), PartDelta(1, "b"), PartEnd(1), Finish("tool_calls"), Over(),
    ]  # fmt: skip


def test_what_belongs_to_the_open_part_is_told_at_once() -> None:
    order = OneByOne()
    list(order.feed(PartStart(0, call(0))))
    list(order.feed(PartStart(1, call(1))))
    assert list(order.feed(PartDelta(0, "now"))) == [PartDelta(0, "now")]
    assert list(order.feed(PartDelta(1, "later"))) == []


def test_parts_that_nobody_ended_are_ended_where_their_choice_is() -> None:
    told = one_by_one(PartStart(0, call(0)), PartStart(1, call(1)), PartDelta(1, "b"), Finish("length"))
    assert told == [
        PartStart(0, call(0)), PartEnd(0),
        PartStart(1, call(1)), PartDelta(1, "b"), PartEnd(1), Finish("length"),
    ]  # fmt: skip


def test_the_parts_of_two_choices_do_not_mix() -> None:
    told = one_by_one(
        PartStart(0, call(0)),
        PartStart(0, call(9), 1),
        PartDelta(0, "b", 1),
        PartEnd(0),
        PartEnd(0, choice=1),
    )
    assert told == [
        PartStart(0, call(0)), PartEnd(0),
        PartStart(0, call(9), 1), PartDelta(0, "b", 1), PartEnd(0, choice=1),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 3), st.text(min_size=1, max_size=3)), max_size=30))
def test_no_piece_is_lost_or_told_twice_however_they_interleave(
    pieces: list[tuple[int, str]],
) -> None:
    numbers = range(4)
    events: list[Event] = [
        Start(),
        *(PartStart(number, call(number)) for number in numbers),
        *(PartDelta(number, text) for number, text in pieces),
        *(PartEnd(number) for number in reversed(numbers)),
        Finish("tool_calls"),
        Over(),
    ]
    told = one_by_one(*events)
    assert fold(told) == fold(events)
    open_parts = 0
    for event in told:
        open_parts += isinstance(event, PartStart) - isinstance(event, PartEnd)
        assert open_parts in (0, 1)
