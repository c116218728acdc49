"""What ids in the ledger name today: one query for all of them. The ledger does not import the floors above
it; its records' references know their tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.db.models import CharField, F, Model, QuerySet, Value
from django.db.models.functions import Cast, Concat
from django.utils.translation import gettext as _

from usage.models import Record

NAMED = ("model", "provider", "key", "consumer", "api_key")
"""The dimensions that are ids of rows with a name."""

OWNERS = {"key": "provider", "api_key": "consumer"}

Names = Mapping[tuple[str, int], str]


def rows_of(dimension: str) -> QuerySet[Any]:
    """The table that a dimension's ids are from."""
    related = cast("type[Model]", Record._meta.get_field(dimension).related_model)
    return related._default_manager.all()


def names_of(wanted: Mapping[str, Iterable[int]]) -> Names:
    """The names of rows by dimension and id; what is gone is not in it."""
    parts = [
        rows_of(dimension)
        .filter(pk__in=ids)
        .order_by()
        .values_list(
            Value(dimension, output_field=CharField()),
            F("pk"),
            _named(dimension),
        )
        for dimension, each in wanted.items()
        if dimension in NAMED and (ids := {number for number in each if number})
    ]
    if not parts:
        return {}
    found: Any = parts[0].union(*parts[1:], all=True) if len(parts) > 1 else parts[0]
    return {(dimension, number): name for dimension, number, name in found}


def _named(dimension: str) -> Any:
    """The name, behind its owner's where it is one's own only there."""
    owner = OWNERS.get(dimension)
    name = Cast("name", CharField())
    return Concat(F(f"{owner}__name"), Value(" / "), name, output_field=CharField()) if owner else name


def label(dimension: str, value: Any, names: Names) -> str:
    """What a person reads for one value of a dimension."""
    if not value:
        return _("none")
    if dimension not in NAMED:
        return str(value)
    return names.get((dimension, value)) or _("number %d, deleted") % value
