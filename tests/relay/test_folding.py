"""relay/folding.py: a place that cools over and over leaves no flood of events."""

from __future__ import annotations

from relay.breaker import REFUSED, Part, Rules
from relay.folding import MOST, Folding
from relay.health import Turn

END = "may be asked again"


def turn(now: float, reason: str, *, number: int = 1, state: str = "closed", again: bool = False) -> Turn:
    """A key's change of state at an instant: a second's cooldown, or its end."""
    part = Part(Rules(), state=state)  # type: ignore[arg-type]
    if reason != END:
        part.leave_alone(now + 1, reason)
    return Turn("key", number, part, reason, again)


def told(folding: Folding, *changes: tuple[float, Turn]) -> list[tuple[float, str]]:
    """Those that become events."""
    return [(now, each.reason) for now, each in changes if not folding.fold(each, now).again]


def storm(since: float, seconds: int, reason: str = "throttled") -> list[tuple[float, Turn]]:
    """A key that is throttled for a second, each two seconds."""
    return [
        (at, turn(at, why))
        for second in range(0, seconds, 2)
        for at, why in ((since + second, reason), (since + second + 1, END))
    ]


def test_a_key_that_is_throttled_again_and_again_tells_once_a_minute_with_its_end() -> None:
    assert told(Folding(), *storm(0, 180)) == [
        (0, "throttled"), (1, END), (60, "throttled"), (61, END), (120, "throttled"), (121, END),
    ]  # fmt: skip


def test_another_reason_is_told_at_once_and_so_is_its_end() -> None:
    changes = [*storm(0, 4), *storm(4, 2, "overloaded"), *storm(6, 2)]
    assert told(Folding(), *changes) == [(0, "throttled"), (1, END), (4, "overloaded"), (5, END)]


def test_what_moves_the_breaker_is_always_told() -> None:
    changes = [*storm(0, 4), (4, turn(4, "breaker open: reset", state="open"))]
    changes += [(5, turn(5, "throttled", state="open")), (6, turn(6, "answers again")), (7, turn(7, END))]
    assert [at for at, _ in told(Folding(), *changes)] == [0, 1, 4, 5, 6, 7]


def test_a_refused_secret_and_its_end_are_always_told() -> None:
    changes = [*storm(0, 2), (2, turn(2, REFUSED)), (3, turn(3, END)), (4, turn(4, REFUSED)), *storm(5, 2)]
    assert [at for at, _ in told(Folding(), *changes)] == [0, 1, 2, 3, 4, 5, 6]


def test_each_place_is_counted_alone_and_only_so_many_are_remembered() -> None:
    folding = Folding()
    assert len(told(folding, *((0, turn(0, "throttled", number=each)) for each in range(MOST)))) == MOST
    assert told(folding, (1, turn(1, END, number=MOST)), (2, turn(2, "throttled", number=5)))
    assert not told(folding, (3, turn(3, "throttled", number=5)), (4, turn(4, "throttled", again=True)))
