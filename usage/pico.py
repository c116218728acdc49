"""Exact money without Django: decimal dollars to whole pico-dollars (1e-12) and back."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

SCALE = 12
PICO = Decimal(1).scaleb(-SCALE)
GREATEST = 2**63 - 1

EXACT = Context(prec=120, rounding=ROUND_HALF_EVEN)
"""Wide enough that no product of tokens, price, factor and multiplier is rounded before its one quantisation;
decimal's default of 28 digits is not."""


def to_pico(amount: Decimal) -> int:
    """Whole pico-dollars, rounded half to even. Raises OverflowError beyond the column's range."""
    if not amount:
        return 0
    if not amount.is_finite():
        raise OverflowError("the amount does not fit a money column")
    if amount.adjusted() > 2 * SCALE:
        raise OverflowError("the amount does not fit a money column")
    pico = int(amount.scaleb(SCALE, context=EXACT).to_integral_value(context=EXACT))
    if not -GREATEST <= pico <= GREATEST:
        raise OverflowError("the amount does not fit a money column")
    return pico


def clamped_pico(amount: Decimal) -> int:
    """As `to_pico`, but an amount beyond the column's range becomes its greatest: no record is lost to a
    price that nobody can have meant."""
    try:
        return to_pico(amount)
    except OverflowError:
        return GREATEST if amount > 0 else -GREATEST


def rounded(units: int, unit: int) -> int:
    """`units / unit`, rounded half to even, and cut to the column's range as in `clamped_pico`."""
    pico, rest = divmod(units, unit)
    if rest:
        rest += rest
        if rest > unit or (rest == unit and pico & 1):
            pico += 1
    return max(-GREATEST, min(pico, GREATEST))


def from_pico(pico: int) -> Decimal:
    """Dollars of a whole number of pico-dollars, exact."""
    return Decimal(pico).scaleb(-SCALE)
