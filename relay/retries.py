"""How much retrying an upstream in trouble has to bear (resilience.md, "Retries"). Pure: chance is handed in.

A retry after a failure that cost the vendor nothing, such as a refused connection or key, is free. Any other
has a price in tokens, which it gets back where it is answered: so failing over from one dead key is no
burden, while of a group in which nothing works a hundred retries are all there is (the AWS SDKs' standard
mode). Where the next target failed of late as well, retries under way are at most a share of the requests
under way, too (Envoy's retry budget)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from relay.failover import SERVER_TIMEOUT, Verdict

Group = tuple[int, str]
"""Model and format: the endpoints that stand in for each other."""
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 4.0


@dataclass(frozen=True, slots=True)
class Rules:
    """`share` of the requests under way, or `least` of them, may be retries; a group has `tokens`, of which a
    retry takes `price`, one after a timeout `timeout_price`, and a request answered at once gives back
    `earned`."""

    share: float = 0.2
    least: int = 3
    tokens: int = 500
    price: int = 5
    timeout_price: int = 10
    earned: int = 1


class Retry(NamedTuple):
    """One retry under way, and the tokens that it took."""

    group: Group
    price: int


@dataclass(slots=True)
class _Group:
    tokens: int
    under_way: int = 0


class Retries:
    """The retry budgets of all groups. One without trouble is not in here, and costs nothing.

    `active` tells how many requests of a group are under way."""

    def __init__(self, rules: Rules, active: Callable[[Group], int]) -> None:
        self._rules = rules
        self._active = active
        self.groups: dict[Group, _Group] = {}

    def begin(self, group: Group, after: Verdict, *, doubtful: bool) -> Retry | None:
        """A retry after a failure of that verdict, to be ended in whatever case; None where the group can
        afford none. `doubtful`: the next target failed of late itself."""
        rules, late = self._rules, after.meaning == SERVER_TIMEOUT
        if not after.answered and not late:
            return Retry(group, 0)
        known = self.groups.get(group)
        if known is None:
            known = self.groups[group] = _Group(rules.tokens)
        price = rules.timeout_price if late else rules.price
        if known.tokens < price:
            return None
        if doubtful and known.under_way >= rules.least:
            most = rules.share * self._active(group)  # asked for late: it takes time to count
            if known.under_way >= most:
                return None
        known.tokens -= price
        known.under_way += 1
        return Retry(group, price)

    def end(self, retry: Retry, *, answered: bool) -> None:
        """A retry has its answer, or none."""
        if retry.price:
            self.groups[retry.group].under_way -= 1
            if answered:
                self._earn(retry.group, retry.price)

    def succeeded(self, group: Group) -> None:
        """A request was answered at its first attempt."""
        if group in self.groups:
            self._earn(group, self._rules.earned)

    def _earn(self, group: Group, tokens: int) -> None:
        known = self.groups[group]
        known.tokens = min(known.tokens + tokens, self._rules.tokens)
        if known.tokens == self._rules.tokens and not known.under_way:
            del self.groups[group]


def pause(again: int, chance: float) -> float:
    """Seconds before a target is asked once more, the first time (`again` 0) or a later one: full jitter.
    `chance` is 0 to 1."""
    return chance * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**again)
