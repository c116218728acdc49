"""Who is turned away, and when: tables, and a server of which only its arithmetic is real."""

from __future__ import annotations

import math
import random
from collections import Counter, deque

import pytest

from relay.shedding import BACKLOG, CROWD, LOOP, MEMORY, Rank, Shedding
from tests.counts import count

BEAT = 0.05


def made(**more: float) -> Shedding:
    values = {
        "max_lag": 0.1, "max_in_flight": 100, "memory_close": 0.92, "memory_refuse": 0.95,
        "max_backlog": 1_000_000,
    }  # fmt: skip
    return Shedding(**{**values, **more})  # type: ignore[arg-type]


def late(shedding: Shedding, seconds: float, *, at: float = 0.0, span: float = 1.0, ended: int = 0) -> float:
    """Beats for a span, each so many seconds late; returns when it is over."""
    now = at
    while now < at + span:
        now += BEAT + seconds
        shedding.beat(seconds, now, ended)
    return now


@pytest.mark.parametrize(
    ("memory", "closing", "reason"),
    [(0.5, False, ""), (0.92, False, ""), (0.93, True, ""), (0.95, True, ""), (0.96, True, "memory")],
)
def test_memory_first_closes_connections_then_refuses(memory: float, closing: bool, reason: str) -> None:
    shedding = made()
    shedding.look(memory, 0)
    assert shedding.closing is closing
    assert shedding.pressed is bool(reason)
    assert shedding.refuses(Rank.INTERACTIVE, 0, 0.0) == reason


def test_a_journal_that_the_database_does_not_get_refuses_and_lets_in_again() -> None:
    shedding = made()
    shedding.look(0.0, 1_000_001)
    assert shedding.refuses(Rank.INTERACTIVE, 0, 0.0) == "journal"
    shedding.look(0.0, 1_000_000)
    assert shedding.refuses(Rank.INTERACTIVE, 0, 0.0) == ""


@pytest.mark.parametrize(
    ("under_way", "in_by"),
    [
        (84, {"ANONYMOUS", "OVER_QUOTA", "BATCH", "INTERACTIVE"}),
        (85, {"OVER_QUOTA", "BATCH", "INTERACTIVE"}),
        (90, {"BATCH", "INTERACTIVE"}),
        (95, {"INTERACTIVE"}),
        (99, {"INTERACTIVE"}),
        (100, set()),
    ],
)
def test_a_crowd_is_turned_away_in_order_of_rank(under_way: int, in_by: set[str]) -> None:
    shedding = made()
    assert {rank.name for rank in Rank if not shedding.refuses(rank, under_way, 0.0)} == in_by
    assert (under_way >= shedding.crowd) is (len(in_by) < 4)


def test_a_loop_that_is_late_for_a_second_sheds() -> None:
    shedding = made()
    pressed = []
    for span, at in ((0.3, 0.0), (1.0, 0.3)):
        late(shedding, 0.12, at=at, span=span)
        pressed.append(shedding.pressed)
    assert pressed == [False, True]
    assert shedding.lag == 0.12


@pytest.mark.parametrize("lags", [[0.09] * 40, [3.0, 0.0, 0.0, 0.0], [0.15, *[0.0] * 8, 0.15, *[0.0] * 8]])
def test_one_that_is_a_little_late_or_stood_still_once_does_not(lags: list[float]) -> None:
    shedding, now = made(), 0.0
    for each in lags:
        now += BEAT + each
        shedding.beat(each, now, 0)
    assert not shedding.pressed


def test_once_nobody_was_turned_away_for_two_seconds_all_is_as_before() -> None:
    shedding = made()
    now = late(shedding, 0.2)
    pressed = [shedding.pressed]
    late(shedding, 0.0, at=now, span=2.2)
    assert [*pressed, shedding.pressed] == [True, False]
    assert shedding.rate == math.inf
    assert shedding.refuses(Rank.ANONYMOUS, 0, now + 3) == ""


def test_retry_after_is_not_the_same_for_all() -> None:
    shedding = made()
    assert len({shedding.retry_after("event loop") for _ in range(200)}) > 2
    assert all(shedding.retry_after("memory") >= 5 for _ in range(50))


def test_what_a_reason_went_by_can_be_told() -> None:
    shedding = made()
    late(shedding, 0.132)
    shedding.look(0.957, 345_600_000)
    measured = {reason: shedding.measured(reason, 77) for reason in (LOOP, MEMORY, BACKLOG, CROWD)}
    assert measured == {LOOP: 132, MEMORY: 96, BACKLOG: 345, CROWD: 77}


def test_news_are_told_now_and_then() -> None:
    shedding = made()
    assert shedding.news(0.0) == ""
    shedding.look(1.0, 0)
    for rank in (Rank.BATCH, Rank.BATCH, Rank.ANONYMOUS):
        shedding.refuses(rank, 0, 0.0)
    assert shedding.news(1.0) == "2 (memory, batch); 1 (memory, anonymous)"
    shedding.refuses(Rank.BATCH, 0, 0.0)
    assert shedding.news(2.0) == ""
    assert shedding.news(11.0) == "1 (memory, batch)"


# A server of which only its arithmetic is real --------------------------------------------------------------


def served(
    offered: dict[Rank, float], seconds: float, *, capacity: float = 500.0, cheap: float = 0.05, seed: int = 1
) -> tuple[Counter[Rank], Counter[Rank], Shedding, float]:
    """One loop: each turn takes what came during the last one, answers it, and beats when it is due. Answers
    served and turned away, and the longest turn of the second half."""
    shedding, chance = made(max_in_flight=10**9), random.Random(seed)
    cost, now, due, ended = 1 / capacity, 0.0, BEAT, 0
    coming = dict.fromkeys(offered, 0.0)
    done: Counter[Rank] = Counter()
    away: Counter[Rank] = Counter()
    turns: deque[float] = deque()
    before = 0.0
    while now < seconds:
        queue = []
        for rank, rate in offered.items():
            while coming[rank] <= now:
                queue.append(rank)
                coming[rank] += chance.expovariate(rate)
        chance.shuffle(queue)
        started = now
        for rank in queue:
            if shedding.pressed and shedding.refuses(rank, 0, now):
                away[rank] += 1
                now += cost * cheap
            else:
                done[rank] += 1
                ended += 1
                now += cost
        if now >= due:
            shedding.beat(now - due, now, ended)
            due = now + BEAT
        if started > seconds / 2:
            turns.append(now - started)
        now = max(now, before) + 0.0005
        before = now
    return done, away, shedding, max(turns, default=now)


@pytest.mark.parametrize("seed", range(count(2, 20)))
@pytest.mark.parametrize("capacity", [150.0, 500.0, 2_000.0])
def test_offered_three_times_its_capacity_a_server_goes_on_at_nearly_all_of_it(
    capacity: float, seed: int
) -> None:
    done, away, _, turn = served({Rank.INTERACTIVE: 3 * capacity}, 20.0, capacity=capacity, seed=seed)
    possible = capacity - away[Rank.INTERACTIVE] / 20 * 0.05  # what turning away leaves
    assert done[Rank.INTERACTIVE] / 20 > 0.9 * possible
    assert turn < 0.5


def test_those_who_can_wait_are_turned_away_first() -> None:
    done, away, _, _ = served(dict.fromkeys(Rank, 300.0), 20.0)
    share = {rank: done[rank] / (done[rank] + away[rank]) for rank in Rank}
    assert share[Rank.INTERACTIVE] > 0.9
    assert share[Rank.BATCH] > 0.2 > max(share[Rank.OVER_QUOTA], share[Rank.ANONYMOUS])


def test_offered_no_more_than_it_can_do_it_turns_nobody_away() -> None:
    _, away, shedding, _ = served({Rank.INTERACTIVE: 300.0}, 20.0)
    assert not away
    assert not shedding.pressed
