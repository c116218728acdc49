"""Who may be asked: what each key and endpoint went through of late, and what follows from a failure
(routing.md, resilience.md). Pure: monotonic seconds are handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import NamedTuple

from providers.types import Stored, Target
from relay.breaker import OPEN, PARKED, REFUSED, Part, Rules
from relay.failover import (
    AUTH,
    CALLER,
    CLOSED,
    GATEWAY,
    MONEY,
    OVERLOADED,
    SERVER_TIMEOUT,
    THROTTLED,
    UNSUPPORTED,
    VERDICTS,
    Failed,
    judge,
)
from relay.hints import Held, Unserved
from relay.scheduler import Skipped

PAIR_SECONDS = 300.0
"""For which an endpoint or key that lacks a model is asked for it after all others."""
OUT_SECONDS = 600.0
"""After which a key that is out of money is tried again."""
TRICKLE = 1.0
"""Seconds between two requests to a place whose breaker is open, where there is no other."""
FAR = 86_400.0
"""Seconds that nobody waits for: until when is not told."""
PROBED = "breaker half open: a probe"
SPOILED = ("too_large", "encoding")
"""Reasons for which nobody else is asked, and that are a vendor's failure all the same."""
Pair = tuple[str, int, int, str]
"""`key` or `endpoint`, its id, a model's, and what for: who does not count tokens may generate."""


class Turn(NamedTuple):
    """What changed for a key or endpoint, for the journal: `table` is `key` or `endpoint`. `again`: it was
    left alone for this very reason before, and is now for longer."""

    table: str
    id: int
    part: Part
    reason: str
    again: bool = False


class Health:
    """Everything that is not well. A place without trouble is not in here, and costs nothing.

    `keys_at` tells how many keys an endpoint has: one that fails alone is not the endpoint's fault. `chance`
    gives 0 to 1."""

    def __init__(self, rules: Rules, *, keys_at: Callable[[int], int], chance: Callable[[], float]) -> None:
        self._rules = rules
        self._keys_at = keys_at
        self._chance = chance
        self.keys: dict[int, Part] = {}
        self.endpoints: dict[int, Part] = {}
        self.parked: dict[Pair, float] = {}
        self.well = True
        """Whether there is nothing to look at: asked several times for each request."""
        self._trickled: dict[int, float] = {}
        self._recovered: dict[tuple[str, int], int] = {}
        self.changed: Callable[[Sequence[Turn]], None] = lambda turns: None
        """Hears of openings that end: with an attempt, before it has an outcome."""

    def barred(self, target: Target, now: float) -> str:
        """Why nothing may be sent to a target now; "" where it may."""
        for part, name in self._parts(target):
            if reason := part.barred(now):
                return f"{name}: {reason}"
        return ""

    def is_parked(self, target: Target, kind: str, now: float) -> bool:
        """Whether a target said of late that it does not serve such requests for its model. It is asked all
        the same where no other is left: it may have been for something in that one request."""
        return any(self.parked.get(pair, 0.0) > now for pair in _pairs(target, kind))

    def order(
        self, targets: Sequence[Target], kind: str, now: float
    ) -> tuple[tuple[Target, ...], list[Skipped]]:
        """The targets that may be asked for a request of a kind, in their order but the parked last, and the
        others.

        Breakers take at most half of the targets out, and one: beyond that, those that failed longest ago are
        asked after the others. Where nothing is left, one a second of those goes through."""
        if self.well:
            return tuple(targets), []
        free: list[Target] = []
        parked: list[Target] = []
        broken: list[Target] = []
        skipped: list[Skipped] = []
        for target in targets:
            reason = self.barred(target, now)
            if not reason:
                (parked if self.is_parked(target, kind, now) else free).append(target)
                continue
            if reason.endswith(OPEN):
                broken.append(target)
            left = self._returns_in(target, now)
            skipped.append(Skipped(target, f"{reason}, {left:.0f} s left" if left < FAR else reason))
        free += parked
        broken.sort(key=self._failed_at)
        spared = broken[: len(broken) - max(1, (len(free) + len(broken)) // 2)]
        if not free and not spared and broken and self._may_trickle(broken[0], now):
            spared = broken[:1]
        return (*free, *spared), [each for each in skipped if each.target not in spared]

    def glance(self) -> Health:
        """The same, to be asked who may be tried without being told of it."""
        seen = copy(self)
        seen._trickled = dict(self._trickled)
        return seen

    def parts_of(self, target: Target) -> list[Part]:
        """What is known of a target's key and endpoint, as far as either is not well."""
        return [part for part, _ in self._parts(target)]

    def returns_in(self, targets: Sequence[Target], now: float) -> float | None:
        """Seconds until the first of these may be asked again; None where there is none."""
        return min((self._returns_in(target, now) for target in targets), default=None)

    def failures(self, targets: Sequence[Target], now: float) -> list[Failed]:
        """Targets that may not be asked, as if each had been and had failed as it did before."""
        return [
            Failed(self._held_for(target, now), target.endpoint_id, retry_after=self._returns_in(target, now))
            for target in targets
        ]

    # What operators and other processes tell
    # --------------------------------------------------------------------------------------------------

    def recover(self, table: str, number: int) -> None:
        """Holds nothing against a key or endpoint any more."""
        self._known(table).pop(number, None)
        for pair in [pair for pair in self.parked if pair[:2] == (table, number)]:
            del self.parked[pair]
        self._look()

    def heard(self, hint: Held | Unserved, now: float) -> None:
        """What another process told. That a vendor wants a pause, or does not serve a model, holds for all; a
        breaker that opened there makes one failure here enough; one that closed is a reason to probe."""
        if isinstance(hint, Unserved):
            self._park((hint.table, hint.id, hint.model_id, hint.kind), now + hint.seconds)
            return
        known = self._known(hint.table)
        part = known.get(hint.id)
        if hint.cooling > 0:
            self._part(known, hint.id).leave_alone(now + hint.cooling, hint.cooling_for)
        elif hint.state == "open":
            self._part(known, hint.id).suspect(now)
        elif hint.state == "closed" and part is not None:
            part.clear_suspicion(now)

    def know(self, row: Stored, wall: float, now: float) -> bool:
        """What the tables say of a key or endpoint: at this process's start, and when an operator asked for
        something. `wall` is `now` in Unix seconds. True where it was recovered since it was last told.

        An operator's recovery holds for all that was before it; an operator's parking goes before everything;
        of what the machine wrote, what has not passed yet counts."""
        place = (row.table, row.id)
        recovered = row.recovered_at is not None and row.recovered_at > self._recovered.get(place, 0)
        if recovered:
            self._recovered[place] = row.recovered_at or 0
            self.recover(*place)
        held: list[tuple[float, str]] = []
        for at, reason in ((row.cooling_until, row.verdict), (row.parked_until, PARKED)):
            if at is not None and at / 1000 > wall:
                held.append((now + at / 1000 - wall, reason))
        opened = row.breaker in ("open", "half_open")
        if held or opened:
            part = self._part(self._known(row.table), row.id)
            for until, reason in held:
                part.leave_alone(until, reason)
            if opened and part.state == "closed":
                part.reopen(now + max(0.0, (row.opened_until or 0) / 1000 - wall), row.openings)
        return recovered

    # What attempts tell
    # --------------------------------------------------------------------------------------------------

    def enter(self, target: Target, attempt: object, now: float) -> None:
        """An attempt begins."""
        over = [Turn(*place, part, PROBED) for place, part in self._held(target) if part.enter(attempt, now)]
        if over:
            self.changed(over)

    def leave(self, target: Target, attempt: object) -> None:
        """An attempt is over, however it ended; or as a probe it is: its stream has begun."""
        for part, _ in self._parts(target):
            part.leave(attempt)

    def succeeded(self, target: Target, now: float) -> list[Turn]:
        """An answer came."""
        turns = []
        for table, number, known in self._places(target):
            part = known.get(number)
            if part is not None:
                if part.succeeded(now):
                    turns.append(Turn(table, number, part, "answers again"))
                if part.is_well(now):
                    del known[number]
                    self._look()
        return turns

    def failed(
        self, target: Target, reason: str, retry_after: float | None, now: float, *, kind: str
    ) -> list[Turn]:
        """An attempt at a request of a kind failed, for a reason of `failover.VERDICTS`."""
        meaning = judge(reason).meaning
        key = ("key", target.key_id, self.keys)
        turns = []
        if meaning in (GATEWAY, SERVER_TIMEOUT, OVERLOADED) or reason in SPOILED:
            others = self._keys_at(target.endpoint_id) > 1
            for table, number, known in self._places(target):
                if meaning == OVERLOADED and table == "key" and not others:
                    continue  # the vendor's lack, unless it is told to one key of several
                part = self._part(known, number)
                shared = others and table == "endpoint"
                if part.failed(now, self._chance(), by=target.key_id, others=shared):
                    turns.append(Turn(table, number, part, f"breaker open: {reason}"))
        if meaning == THROTTLED or (meaning == OVERLOADED and retry_after is not None):
            turns.append(self._cool(key, retry_after, reason, now))
        elif (pair := pair_of(target, reason, kind)) is not None:
            self._park(pair, now + PAIR_SECONDS)
        elif meaning == AUTH:
            turns.append(self._refuse(target, now))
        elif meaning == MONEY:
            turns.append(self._cool(key, retry_after or OUT_SECONDS, reason, now))
        return turns

    # What our own probes tell
    # --------------------------------------------------------------------------------------------------

    def probing(self, target: Target, probe: object, now: float, seconds: float) -> bool:
        """A probe is to begin that may take so many seconds. False where one is under way at its key or
        endpoint, or a request that has to find out."""
        parts = [part for part, _ in self._parts(target)]
        if any(part.is_probed for part in parts):
            return False
        held = self._held(target)
        if over := [Turn(*place, part, PROBED) for place, part in held if part.begin_probe(probe, now)]:
            self.changed(over)
        self.keep_refused(target, now, seconds)  # no request is to try meanwhile
        return True

    def keep_refused(self, target: Target, now: float, seconds: float) -> None:
        """Leaves a key whose secret is refused alone for so many seconds at least."""
        part = self.keys.get(target.key_id)
        if part is not None and part.cooling_for == REFUSED and part.cooling_until > now:
            part.leave_alone(now + seconds, REFUSED)

    def probed(self, target: Target, reason: str, retry_after: float | None, now: float) -> list[Turn]:
        """How a probe ended: a reason of `failover.VERDICTS`, "" for an answer. What only says that there is
        no list of models is an answer too; whether a secret is accepted is then for a request to find out."""
        meaning = judge(reason).meaning if reason else ""
        if meaning == CLOSED:
            return []
        part = self.keys.get(target.key_id)
        refused = part is not None and part.cooling_until > now and part.cooling_for == REFUSED
        if meaning not in ("", CALLER, UNSUPPORTED) and reason != "not_permitted":
            turns = self.failed(target, reason, retry_after, now, kind="")
            if refused and reason != REFUSED:
                turns.append(self._refuse(target, now))
            return turns
        if part is not None:
            part.accept(now)
        return self.succeeded(target, now)

    def forget(self, now: float) -> list[Turn]:
        """Lets go of what has passed."""
        self.parked = {pair: until for pair, until in self.parked.items() if until > now}
        self._trickled = {model: last for model, last in self._trickled.items() if now - last < TRICKLE}
        turns = []
        for table, known in (("key", self.keys), ("endpoint", self.endpoints)):
            for number, part in list(known.items()):
                if part.has_cooled(now):
                    turns.append(Turn(table, number, part, "may be asked again"))
                if part.is_well(now):
                    del known[number]
        self._look()
        return turns

    # Within
    # --------------------------------------------------------------------------------------------------

    def _cool(
        self, place: tuple[str, int, dict[int, Part]], seconds: float | None, reason: str, now: float
    ) -> Turn:
        table, number, known = place
        part = self._part(known, number)
        again = part.cooling_until > now and part.cooling_for == reason
        part.throttled(now, seconds, reason)
        return Turn(table, number, part, reason, again)

    def _refuse(self, target: Target, now: float) -> Turn:
        """Leaves a key alone until a probe finds its secret accepted."""
        part = self._part(self.keys, target.key_id)
        again = part.cooling_until > now and part.cooling_for == REFUSED
        part.refuse(now, self._rules.refused)
        return Turn("key", target.key_id, part, REFUSED, again)

    def _returns_in(self, target: Target, now: float) -> float:
        return max([now, *(part.returns_at() for part, _ in self._parts(target))]) - now

    def _held_for(self, target: Target, now: float) -> str:
        """The reason of `failover.VERDICTS` for which a target is barred."""
        for part, _ in self._parts(target):
            if part.cooling_until > now:
                return part.cooling_for if part.cooling_for in VERDICTS else "unavailable"
        return "unavailable"

    def _known(self, table: str) -> dict[int, Part]:
        return self.keys if table == "key" else self.endpoints

    def _places(self, target: Target) -> tuple[tuple[str, int, dict[int, Part]], ...]:
        return ("key", target.key_id, self.keys), ("endpoint", target.endpoint_id, self.endpoints)

    def _parts(self, target: Target) -> list[tuple[Part, str]]:
        found = []
        for table, number, known in self._places(target):
            if (part := known.get(number)) is not None:
                found.append((part, table))
        return found

    def _held(self, target: Target) -> list[tuple[tuple[str, int], Part]]:
        """What is known of a target's key and endpoint, as far as either is not well, and where."""
        return [
            ((table, number), known[number])
            for table, number, known in self._places(target)
            if number in known
        ]

    def _part(self, known: dict[int, Part], number: int) -> Part:
        part = known.get(number)
        if part is None:
            part = known[number] = Part(self._rules)
            self.well = False
        return part

    def _park(self, pair: Pair, until: float) -> None:
        self.parked[pair] = max(until, self.parked.get(pair, 0.0))
        self.well = False

    def _look(self) -> None:
        self.well = not (self.keys or self.endpoints or self.parked)

    def _failed_at(self, target: Target) -> float:
        return max((part.failed_at for part, _ in self._parts(target)), default=0.0)

    def _may_trickle(self, target: Target, now: float) -> bool:
        if now - self._trickled.get(target.model_id, -TRICKLE) < TRICKLE:
            return False
        self._trickled[target.model_id] = now
        return True


def pair_of(target: Target, reason: str, kind: str) -> Pair | None:
    """Who is asked for a model after all others because of a failure for a reason of `failover.VERDICTS`;
    None where nobody is."""
    if reason == "not_permitted":
        return "key", target.key_id, target.model_id, kind
    if judge(reason).meaning == UNSUPPORTED:
        return "endpoint", target.endpoint_id, target.model_id, kind
    return None


def _pairs(target: Target, kind: str) -> tuple[Pair, Pair]:
    return (
        ("key", target.key_id, target.model_id, kind),
        ("endpoint", target.endpoint_id, target.model_id, kind),
    )
