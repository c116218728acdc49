"""relay/waiting.py: who may hold slots, and in which order those who wait get them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from relay.waiting import Pool


@dataclass(eq=False)
class One:
    """Someone who waits."""

    consumer: int
    name: str = ""


def pool(limit: int, held: dict[int, int] | None = None) -> Pool[One]:
    made: Pool[One] = Pool(limit)
    for consumer, count in (held or {}).items():
        for _ in range(count):
            made.take(consumer)
    return made


def names(made: Pool[One]) -> list[str]:
    return [each.name for each in made.in_turn()]


@pytest.mark.parametrize(
    ("limit", "held", "room"),
    [
        (1, {}, True),
        (1, {1: 1}, False),
        (1, {2: 1}, False),
        (9, {1: 8}, True),
        (10, {1: 8}, True),
        (10, {1: 9}, False),
        (10, {2: 9}, True),
        (10, {1: 1, 2: 8}, False),
        (10, {2: 10}, False),
        (100, {1: 90}, False),
        (100, {1: 9, 2: 85}, True),
        (100, {1: 10, 2: 80}, False),
    ],
)
def test_one_slot_of_ten_is_kept_for_those_who_hold_few(limit: int, held: dict[int, int], room: bool) -> None:
    assert pool(limit, held).has_room(1) is room


@pytest.mark.parametrize(("limit", "most"), [(1, 1), (2, 1), (3, 2), (8, 4), (9, 5), (100, 50)])
def test_a_consumer_holds_at_most_half_while_another_waits(limit: int, most: int) -> None:
    made = pool(limit)
    made.join(One(2))
    held = 0
    while made.has_room(1):
        made.take(1)
        held += 1
    assert held == most


def test_a_consumer_is_not_held_back_by_its_own_that_wait() -> None:
    made = pool(8, {1: 7})
    made.join(One(1))
    assert made.has_room(1)


def test_what_others_hold_elsewhere_counts() -> None:
    made = pool(5, {1: 2})
    made.elsewhere = 3
    assert not made.has_room(1)
    made.elsewhere = 2
    assert made.has_room(1)


def test_a_slot_goes_to_who_holds_least() -> None:
    made = pool(9, {1: 6, 2: 3})
    for consumer in (1, 2, 3):
        made.join(One(consumer, str(consumer)))
    assert names(made) == ["3", "2", "1"]


def test_among_equals_it_goes_round() -> None:
    made = pool(20)
    ones = [One(consumer, f"{consumer}{number}") for consumer in (1, 2, 3) for number in (1, 2)]
    for one in ones:
        made.join(one)
    served = []
    for _ in ones:
        first = next(made.in_turn())
        made.leave(first)
        served.append(first.name)
    assert served == ["11", "21", "31", "12", "22", "32"]


def test_the_oldest_goes_first_until_half_the_queue_is_taken_then_the_newest() -> None:
    made = pool(4, {2: 4})
    for name in "ab":
        made.join(One(1, name))
    assert names(made) == ["a", "b"]
    made.join(One(1, "c"))
    assert names(made) == ["c", "b", "a"]


def test_the_queue_is_as_long_as_the_limit() -> None:
    made = pool(3, {1: 3})
    assert [made.join(One(1)) for _ in range(3)] == [None] * 3
    late = One(1)
    assert made.join(late) is late
    assert made.waiting == 3


def test_in_a_full_queue_the_oldest_of_the_crowd_makes_room_for_another_consumer() -> None:
    made = pool(4, {1: 4})
    for name in "abcd":
        made.join(One(1, name))
    left = [made.join(One(2, "x")), made.join(One(2, "y"))]
    assert [one.name for one in left if one is not None] == ["a", "b"]
    third = One(2, "z")
    assert made.join(third) is third
    assert made.waiting == 4


def test_leaving_twice_is_leaving_once() -> None:
    made = pool(4)
    one, two = One(1), One(1)
    made.join(one)
    made.join(two)
    made.leave(one)
    made.leave(one)
    made.leave(One(7))
    assert made.waiting == 1
    assert list(made.in_turn()) == [two]


def test_nobody_starves_whatever_one_consumer_does() -> None:
    """A flood of one consumer and a trickle of another, at random: the trickle waits for two releases at
    most."""
    chance = random.Random(5)
    made = pool(10)
    held: list[int] = []
    waits = []
    trickling: tuple[One, int] | None = None
    for step in range(5_000):
        flood = One(1)
        if made.has_room(1):
            made.take(1)
            held.append(1)
        else:
            made.join(flood)
        if trickling is None and chance.random() < 0.2:
            trickling = One(2), step
            made.join(trickling[0])
        if held and chance.random() < 0.7:
            made.give_back(held.pop(chance.randrange(len(held))))
            for each in made.in_turn():
                if made.has_room(each.consumer):
                    made.leave(each)
                    made.take(each.consumer)
                    held.append(each.consumer)
                    if trickling is not None and each is trickling[0]:
                        waits.append(step - trickling[1])
                        trickling = None
                    break
    assert len(waits) > 300
    assert sorted(waits)[int(len(waits) * 0.99)] <= 6
