"""What operators say that an upstream's error means: rules that are asked in their order, before the lines of
`relay.failover`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ERRORS = frozenset(range(400, 600))
"""Statuses that an error can have; one inside a 200 counts as the status that it means."""
REMOVED = "[removed]"
"""Stands in what people see of an error for what was taken out of it (`providers.scrub`)."""
_STATUS = re.compile(r"[45]\d\d|[45]xx")


@dataclass(frozen=True, slots=True)
class Said:
    """An upstream's error as rules see it: who said it, in which format, its status, its type and code, and
    its text; words as `folded` makes them."""

    provider_id: int
    format: str
    status: int
    names: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A rule. What is empty (None, "") is not asked for; all else must hold. `statuses` is empty for every
    status. `reason` is what the error means then: a key of `relay.failover.VERDICTS`. Words are as `folded`
    makes them."""

    id: int
    name: str
    reason: str
    provider_id: int | None = None
    format: str = ""
    statuses: frozenset[int] = frozenset()
    error_type: str = ""
    text: str = ""

    def concerns(self, provider_id: int, wire_format: str) -> bool:
        """Whether it is asked about the errors of this provider in this format."""
        return self.provider_id in (None, provider_id) and self.format in ("", wire_format)

    def holds(self, said: Said) -> bool:
        """Whether this is an error that the rule speaks of."""
        return (
            self.concerns(said.provider_id, said.format)
            and (not self.statuses or said.status in self.statuses)
            and (not self.error_type or self.error_type in said.names)
            and self.text in said.text
        )

    def covers(self, other: FailureRule) -> bool:
        """Whether every error that `other` speaks of is one that this rule speaks of."""
        return (
            self.provider_id in (None, other.provider_id)
            and self.format in ("", other.format)
            and (not self.statuses or (other.statuses or ERRORS) <= self.statuses)
            and self.error_type in ("", other.error_type)
            and self.text in other.text
        )


def folded(words: str) -> str:
    """Words as they are compared: case and the amount of blanks do not count."""
    return " ".join(words.casefold().split())


def statuses(text: str) -> frozenset[int]:
    """The statuses that `400, 5xx` names; none for an empty text. Raises ValueError, with the part that is
    none."""
    found: set[int] = set()
    for part in filter(None, re.split(r"[\s,]+", text.casefold())):
        if not _STATUS.fullmatch(part):
            raise ValueError(part)
        found |= set(range(int(part[0]) * 100, int(part[0]) * 100 + 100)) if part[1:] == "xx" else {int(part)}
    return frozenset(found)


def taken_by(rules: Sequence[FailureRule]) -> dict[int, FailureRule]:
    """Which rules can never decide, as one before them takes all that they speak of: by the id of the later
    one. `rules` stand in their order."""
    found: dict[int, FailureRule] = {}
    for place, later in enumerate(rules):
        for earlier in rules[:place]:
            if earlier.covers(later):
                found[later.id] = earlier
                break
    return found
