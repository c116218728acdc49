"""The ledger checked against itself, and brought back in order.

Records are the truth: rollups must be their sums, buckets of health must count their attempts, dead letters
must have found their way into them. Whatever else is to follow from them is one more check of a quarter, in
`Reconciler.check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connections

from usage import vitals
from usage.auditing import Auditor, repair
from usage.differences import LETTERS, Difference
from usage.letters import retry, waiting
from usage.models import AttemptRollup, DeadLetter, HealthBucket, Rollup
from usage.rebuilding import Builder, Progress, quarters, silent
from usage.rollup import COLUMNS
from usage.states import Apply
from usage.summing import SOURCES, Comparison, Wrong

Tell = Callable[[Difference], None]


@dataclass(slots=True)
class Reconciled:
    """What was looked at, how many values were not what the ledger says, and how many still are not."""

    quarters: int = 0
    buckets: int = 0
    records: int = 0
    attempts: int = 0
    differences: int = 0
    left: int = 0


class Reconciler:
    """Checks the ledger in the database `using`. `tell` hears of each difference as it is found. With `fix`
    what differs is mended: a record by its price and attempts, a rollup row by the records, a bucket of
    health by the attempts, a dead letter by trying it once more with `appliers`; nothing else is touched."""

    def __init__(
        self,
        tell: Tell,
        *,
        fix: bool = False,
        appliers: Mapping[str, Apply] | None = None,
        using: str = "default",
    ) -> None:
        self.done = Reconciled()
        self._tell = tell
        self._fix = fix
        self._appliers = appliers or {}
        self._using = using
        self._connection = connections[using]
        self._comparison = Comparison(self._connection)
        self._auditor = Auditor(self._connection)
        self._builder = Builder(self._connection)

    def letters(self, now: datetime) -> None:
        """Goes through the dead letters that wait."""
        for letter in waiting(self._using):
            refused = retry(letter, self._appliers, now, self._using) if self._fix else letter.reason
            self.note([_parked(letter)], left=bool(refused))

    def rows(
        self, since: datetime | None = None, until: datetime | None = None, progress: Progress = silent
    ) -> None:
        """Goes through records, attempts and rollups, quarter by quarter; none older than the oldest
        record."""
        for quarter in quarters(self._connection, since, until, progress):
            self.done.quarters += 1
            found = list(self.check(quarter, counted=True))
            left = found
            if found and self._fix:
                repair(self._connection, found)
                self._builder.rebuild(quarter)
                left = list(self.check(quarter))
            self.note(found, left=len(left))

    def health(self, now: datetime, since: datetime | None = None, until: datetime | None = None) -> None:
        """Goes through the buckets of health that are still kept. To be asked after `rows`, which may take
        attempts away."""
        for span in vitals.spans(self._connection, now, since, until):
            self.done.buckets += 1
            found = vitals.check(self._connection, *span)
            left = found
            if found and self._fix:
                vitals.mend(self._connection, *span)
                left = vitals.check(self._connection, *span)
            self.note(list(_buckets(found)), left=len(list(_buckets(left))))

    def check(self, quarter: int, *, counted: bool = False) -> Iterator[Difference]:
        """What is wrong with one quarter."""
        yield from self._auditor.audit(quarter)
        with self._connection.cursor() as cursor:
            for model in SOURCES:
                compared = self._comparison.compare(cursor, model, quarter)
                if counted and model is Rollup:
                    self.done.records += compared.summed
                elif counted and model is AttemptRollup:
                    self.done.attempts += compared.summed
                for wrong in compared.wrong:
                    yield from _columns(model, wrong)

    def note(self, found: Sequence[Difference], *, left: int) -> None:
        """Tells differences, of which so many are left."""
        for each in found:
            self._tell(each)
        self.done.differences += len(found)
        self.done.left += left


def _columns(model: type[Any], wrong: Wrong) -> Iterator[Difference]:
    """One difference a column that is wrong; of a row that is missing or made up, a column that is not 0."""
    quarter, *dimensions = wrong.key
    row = dict(zip(model.DIMENSIONS[1:], dimensions, strict=True))
    nothing = [None] * len(COLUMNS)
    for column, ledger, found in zip(COLUMNS, wrong.ledger or nothing, wrong.rollup or nothing, strict=True):
        if (ledger or 0) != (found or 0):
            moment = datetime.fromtimestamp(quarter, UTC)
            yield Difference(model._meta.db_table, row, column, ledger, found, moment)


def _buckets(found: Sequence[vitals.Wrong]) -> Iterator[Difference]:
    """One difference a count that is wrong."""
    table, nothing = HealthBucket._meta.db_table, [None] * len(vitals.COUNTS)
    for wrong in found:
        row: dict[str, Any] = dict(zip(HealthBucket.DIMENSIONS, wrong.key, strict=True))
        row["begins"] = f"{datetime.fromtimestamp(row['begins'], UTC):%Y-%m-%dT%H:%M:%SZ}"
        counts = zip(vitals.COUNTS, wrong.ledger or nothing, wrong.found or nothing, strict=True)
        for column, ledger, there in counts:
            if (ledger or 0) != (there or 0):
                yield Difference(table, row, column, ledger, there)


def _parked(letter: DeadLetter) -> Difference:
    row = {"id": letter.pk, "segment": letter.segment, "position": letter.position, "kind": letter.kind}
    return Difference(LETTERS, row, "state", "resolved", f"waiting: {letter.reason}")
