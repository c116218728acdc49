"""The numbers of dashboard and usage report, from the rollups; what no rollup holds together is read from
records, of a few days at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from usage.measures import FIRST_TOKEN_BOUNDS, TOTAL_BOUNDS, Measures, percentile
from usage.periods import Period, Piece
from usage.pico import from_pico
from usage.sources import MONEY, Filters, Source, attempts_source, source_of, summed

RECORDS_READ = timedelta(days=7)
"""How long a period may be that is read from records."""
MOST_ROWS = 200
MOST_MODELS = 10
TOKENS = (
    "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens", "cache_creation_1h_tokens",
    "reasoning_tokens",
)  # fmt: skip
CARDS = ("requests", "succeeded", *TOKENS, *MONEY, "unpriced", "estimated", *Measures.FIRST_TOKEN)
ROWS = (*CARDS, *Measures.TOTAL)
TRIED = ("requests", "succeeded", "own_cost")


@dataclass(slots=True)
class Totals:
    """Sums of requests, by the name of their measure (`usage.measures`); money in pico-dollars inside, in
    dollars outside."""

    values: dict[str, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> int:
        return self.values.get(name, 0)

    def add(self, values: Mapping[str, int], sign: int = 1) -> None:
        for name, number in values.items():
            self.values[name] = self.values.get(name, 0) + sign * number

    @property
    def requests(self) -> int:
        return self["requests"]

    @property
    def list_cost(self) -> Decimal:
        return from_pico(self["list_cost"])

    @property
    def own_cost(self) -> Decimal:
        return from_pico(self["own_cost"])

    @property
    def saved_cost(self) -> Decimal:
        return from_pico(self["saved_cost"])

    @property
    def success(self) -> float | None:
        """The share of requests with the outcome `ok`, 0 to 1."""
        return self["succeeded"] / self.requests if self.requests else None

    @property
    def failed(self) -> int:
        return self.requests - self["succeeded"]

    @property
    def tokens(self) -> int:
        """Input and output; cache and reasoning are parts of them."""
        return self["input_tokens"] + self["output_tokens"]

    @property
    def cache_hits(self) -> float | None:
        """The share of input tokens that were read from the cache, 0 to 1."""
        return self["cached_tokens"] / self["input_tokens"] if self["input_tokens"] else None

    @property
    def per_million(self) -> Decimal | None:
        """List spend for a million tokens, to the ten-thousandth of a dollar."""
        if not self.tokens:
            return None
        return (self.list_cost * 1_000_000 / self.tokens).quantize(Decimal("0.0001"))

    def first_token(self, share: float) -> float | None:
        """Milliseconds to the first token that `share` of the requests stayed below, within 10 %."""
        return percentile(FIRST_TOKEN_BOUNDS, [self[name] for name in Measures.FIRST_TOKEN], share)

    def total(self, share: float) -> float | None:
        """As `first_token`, for the whole request."""
        return percentile(TOTAL_BOUNDS, [self[name] for name in Measures.TOTAL], share)


# Dashboard


@dataclass(frozen=True, slots=True)
class Overview:
    """A period and the one before it, the period in pieces, and what each model's part of each piece is."""

    period: Period
    pieces: list[Piece]
    now: Totals
    before: Totals
    by_piece: list[Totals]
    models: list[int | None]
    """The models that cost most, dearest first; None at the end stands for all others, if there are any."""
    by_model: list[list[Totals]]
    """For each of `models`, for each piece."""


def overview(period: Period) -> Overview:
    """What the dashboard shows of a period: one query."""
    pieces = period.pieces()
    edges = [period.before, *(piece.first for piece in pieces), period.last]
    before, now, by_piece = Totals(), Totals(), [Totals() for _piece in pieces]
    spread: dict[int, list[Totals]] = {}
    for place, (model,), values in summed(source_of({"model"}), edges, measures=CARDS, by=("model",)):
        if place == 0:
            before.add(values)
            continue
        now.add(values)
        by_piece[place - 1].add(values)
        if model not in spread:
            spread[model] = [Totals() for _piece in pieces]
        spread[model][place - 1].add(values)
    shown, by_model = _dearest(spread, pieces)
    return Overview(period, pieces, now, before, by_piece, shown, by_model)


def _dearest(
    spread: Mapping[int, list[Totals]], pieces: Sequence[Piece]
) -> tuple[list[int | None], list[list[Totals]]]:
    """The models that cost most, at most `MOST_MODELS`, and the others as one."""

    def weight(model: int) -> tuple[int, int, int]:
        rows = spread[model]
        return -sum(row["list_cost"] for row in rows), -sum(row.requests for row in rows), model

    order = sorted(spread, key=weight)
    shown: list[int | None] = [*order[:MOST_MODELS]]
    rows = [spread[model] for model in order[:MOST_MODELS]]
    if len(order) > MOST_MODELS:
        others = [Totals() for _piece in pieces]
        for model in order[MOST_MODELS:]:
            for sum_of_others, part in zip(others, spread[model], strict=True):
                sum_of_others.add(part.values)
        shown.append(None)
        rows.append(others)
    return shown, rows


# Usage report


@dataclass(slots=True)
class Row:
    """One line of a table. `tried` sums the attempts at a provider or key, whoever answered in the end; None
    where that is not told."""

    group: Any
    totals: Totals
    tried: Totals | None = None

    @property
    def own_cost(self) -> Decimal:
        """What the providers charged for: all attempts of these requests, or, by provider and key, the
        attempts made there."""
        return self.totals.own_cost if self.tried is None else self.tried.own_cost


@dataclass(frozen=True, slots=True)
class Table:
    """A period by one dimension. `others` sums the rows beyond `MOST_ROWS`."""

    by: str
    rows: list[Row]
    others: Row | None
    total: Row
    from_records: bool


@dataclass(frozen=True, slots=True)
class TooLong:
    """The answer where only records could tell, and the period has too many of them."""

    by: str
    most: timedelta = RECORDS_READ


ANSWERED = ("provider", "key")
"""The dimensions that attempts have as well."""


def table(period: Period, by: str, filters: Filters) -> Table | TooLong:
    """The period by `by` (a dimension of `usage.sources`), kept to `filters`: at most four queries."""
    asked = {by, *filters}
    source = source_of(asked)
    tried_source = attempts_source(asked) if by in ANSWERED else None
    from_records = source.by_id or (tried_source is not None and tried_source.by_id)
    if from_records and period.length > RECORDS_READ:
        return TooLong(by)
    edges = [period.first, period.last]
    sums = summed(source, edges, measures=ROWS, by=(by,), filters=filters, limit=MOST_ROWS + 1)
    cut = len(sums) > MOST_ROWS
    rows = [Row(each.group[0], Totals(each.values)) for each in sums[:MOST_ROWS]]
    total, others = Row(None, _whole(row.totals for row in rows)), None
    if cut:
        beyond = summed(source, edges, measures=ROWS, filters=filters)
        total = Row(None, Totals(dict(beyond[0].values)))
        others = Row(None, Totals(beyond[0].values))
        for row in rows:
            others.totals.add(row.totals.values, -1)
    whole = Table(by, rows, others, total, from_records)
    if tried_source is not None:
        _add_attempts(whole, tried_source, edges, filters)
    return whole


def _whole(parts: Iterable[Totals]) -> Totals:
    whole = Totals()
    for part in parts:
        whole.add(part.values)
    return whole


def _add_attempts(whole: Table, source: Source, edges: Sequence[datetime], filters: Filters) -> None:
    """Puts the sums of attempts beside those of requests; a provider or key that answered nothing gets a row
    of its own, unless there are too many rows anyway."""
    only = None if whole.others is None else (whole.by, [row.group for row in whole.rows])
    sums = summed(source, edges, measures=TRIED, by=(whole.by,), filters=filters, only=only)
    tried = {each.group[0]: Totals(each.values) for each in sums}
    for row in whole.rows:
        row.tried = tried.pop(row.group, Totals())
    whole.rows.extend(Row(group, Totals(), totals) for group, totals in tried.items())
    known = _whole(row.tried for row in whole.rows if row.tried is not None)
    if whole.others is None:
        whole.total.tried = known
        return
    everything = summed(source, edges, measures=TRIED, filters=filters)
    whole.total.tried = Totals(dict(everything[0].values))
    whole.others.tried = Totals(everything[0].values)
    whole.others.tried.add(known.values, -1)
