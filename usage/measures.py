"""What every rollup sums, and the fixed buckets of its two histograms."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from django.db import models
from django.utils.translation import gettext_lazy as _

from usage.money import MoneyField

BUCKETS = 24


def _bounds(first: float, last: float) -> tuple[int, ...]:
    """Upper bounds in milliseconds of all buckets but the last, growing geometrically from `first` to
    `last`."""
    ratio = (last / first) ** (1 / (BUCKETS - 2))
    return tuple(round(first * ratio**step) for step in range(BUCKETS - 1))


FIRST_TOKEN_BOUNDS = _bounds(100, 60_000)
TOTAL_BOUNDS = _bounds(100, 600_000)


def bucket(bounds: tuple[int, ...], milliseconds: int) -> int:
    """Index of the bucket that holds a duration; a bound belongs to the bucket below it."""
    return bisect_left(bounds, milliseconds)


def percentile(bounds: tuple[int, ...], counts: list[int], share: float) -> float | None:
    """The duration below which `share` (0 to 1) of the counted ones lie, in milliseconds, interpolated
    geometrically within its bucket; None where nothing was counted."""
    total = sum(counts)
    if not total:
        return None
    wanted, seen = share * total, 0
    edges = list(pairwise((bounds[0] / 2, *bounds, bounds[-1] * 2)))
    for (low, high), count in zip(edges, counts, strict=True):
        if count and seen + count >= wanted:
            return float(low * (high / low) ** max(0.0, (wanted - seen) / count))
        seen += count
    return float(bounds[-1])


class Measures(models.Model):
    """Sums over the records or attempts of one dimension. Costs are pico-dollars; a record without a price
    adds nothing to `list_cost` and one to `unpriced`. Histogram columns are `first_token_00` and so on."""

    requests = models.BigIntegerField(_("requests"), default=0)
    input_tokens = models.BigIntegerField(_("input tokens"), default=0)
    output_tokens = models.BigIntegerField(_("output tokens"), default=0)
    cached_tokens = models.BigIntegerField(_("cache read tokens"), default=0)
    cache_creation_tokens = models.BigIntegerField(_("cache write tokens"), default=0)
    cache_creation_1h_tokens = models.BigIntegerField(_("cache write tokens, 1 hour"), default=0)
    reasoning_tokens = models.BigIntegerField(_("reasoning tokens"), default=0)
    list_cost = MoneyField(_("list cost"), default=0)
    own_cost = MoneyField(_("own cost"), default=0)
    saved_cost = MoneyField(_("saved by cache"), default=0)
    succeeded = models.BigIntegerField(_("requests that ended well"), default=0)
    unpriced = models.BigIntegerField(_("unpriced requests"), default=0)
    estimated = models.BigIntegerField(_("estimated requests"), default=0)
    first_token_count = models.BigIntegerField(_("requests with a first token"), default=0)
    first_token_ms = models.BigIntegerField(_("ms to first token, sum"), default=0)
    total_ms = models.BigIntegerField(_("ms in all, sum"), default=0)

    SUMS = (
        "requests", "input_tokens", "output_tokens", "cached_tokens", "cache_creation_tokens",
        "cache_creation_1h_tokens", "reasoning_tokens", "list_cost", "own_cost", "saved_cost",
        "succeeded", "unpriced", "estimated", "first_token_count", "first_token_ms", "total_ms",
    )  # fmt: skip
    FIRST_TOKEN = tuple(f"first_token_{index:02d}" for index in range(BUCKETS))
    TOTAL = tuple(f"total_{index:02d}" for index in range(BUCKETS))

    class Meta:
        abstract = True


for _column in (*Measures.FIRST_TOKEN, *Measures.TOTAL):
    Measures.add_to_class(_column, models.IntegerField(default=0, editable=False))
