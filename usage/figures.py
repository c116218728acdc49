"""Numbers as people read them, each with the exact one to be seen on it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from usage.forms import plain
from usage.pages import milliseconds

NONE = "–"
COUNTED_OUT = 1_000_000
"""From here on a whole number is shown in millions."""


def exact(shown: str, value: Any) -> SafeString:
    """A number in short, with all its digits in the page and on it."""
    return format_html('<data value="{0}" title="{0}">{1}</data>', value, shown)


def dollars(amount: Decimal | None) -> SafeString | str:
    """Dollars and cents, or four digits that count where it is less than a dollar."""
    if amount is None:
        return NONE
    size = abs(amount)
    digits = 0 if not size else 2 if size >= 1 else min(12, 3 - size.adjusted())
    sign = "-" if amount < 0 else ""
    rounded = number_format(size, decimal_pos=digits, use_l10n=True, force_grouping=True)
    if 0 < size < 1 and len(plain(size)) < len(rounded):
        rounded = plain(size)
    return exact(f"{sign}${rounded}", plain(amount))


def whole(number: int) -> SafeString:
    """A count with its thousands apart; in millions where it is a great one."""
    if abs(number) < COUNTED_OUT:
        return exact(number_format(number, use_l10n=True, force_grouping=True), number)
    millions = number_format(Decimal(number) / 1_000_000, decimal_pos=2, use_l10n=True, force_grouping=True)
    return exact(_("%s M") % millions, number)


def share(part: float | None) -> str:
    """A share of one as percent."""
    if part is None:
        return NONE
    return f"{number_format(Decimal(str(100 * part)), decimal_pos=1, use_l10n=True)}\u00a0%"


def duration(found: float | None) -> str:
    return milliseconds(None if found is None else round(found))


def change(now: Decimal | float | None, before: Decimal | float | None) -> str:
    """How much more or less than before, in percent; nothing where before was nothing."""
    if now is None or not before:
        return ""
    by = (float(now) - float(before)) / abs(float(before)) * 100
    if abs(by) < 0.05:
        return _("as before")
    if by >= 1_000:
        return _("%s times as much") % number_format(Decimal(round(by / 100 + 1)), use_l10n=True)
    sign, size = ("+" if by > 0 else "−"), abs(by)
    digits = 1 if size < 100 else 0
    return f"{sign}{number_format(Decimal(str(size)), decimal_pos=digits, use_l10n=True)}\u00a0%"


def change_in_points(now: float | None, before: float | None) -> str:
    """How many percentage points more or less than before."""
    if now is None or before is None:
        return ""
    by = (now - before) * 100
    if abs(by) < 0.05:
        return _("as before")
    size = number_format(Decimal(str(abs(by))), decimal_pos=1, use_l10n=True)
    return _("%(sign)s%(size)s pts") % {"sign": "+" if by > 0 else "−", "size": size}
