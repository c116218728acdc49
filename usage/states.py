"""What the machine knows of keys, endpoints and API keys, brought from the journal to whatever table keeps
it.

The tables belong to floors above: whoever starts the recorder hands them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from usage.columns import MOST_PARAMETERS, Table, in_parts, placeholders


class StateChange(NamedTuple):
    """Columns of one row that changed at an instant (Unix milliseconds). `place` is where the journal says so
    (`worker/file:position`), empty where it follows from something else."""

    id: int
    at: int
    columns: Mapping[str, Any]
    place: str = ""


Apply = Callable[[Sequence[StateChange], str], None]
"""Writes changes to the database of the alias, inside the recorder's transaction."""


def newest(changes: Iterable[StateChange]) -> list[StateChange]:
    """One change a row, in order of their ids: the columns of all its changes, the newest last."""
    merged: dict[int, StateChange] = {}
    for change in sorted(changes, key=lambda each: (each.id, each.at)):
        before = merged.get(change.id)
        columns = {**before.columns, **change.columns} if before else change.columns
        merged[change.id] = StateChange(change.id, change.at, columns)
    return list(merged.values())


def state_table(model: type[models.Model], *, stamp: str) -> Apply:
    """Writes changes to `model`, whose primary key is the row it speaks of. The column `stamp` keeps the
    instant of the last change: an older one does not touch the row. Changes of rows that are gone are
    dropped."""

    tables: dict[str, Table] = {}

    def apply(changes: Sequence[StateChange], using: str) -> None:
        connection = connections[using]
        table = tables.get(connection.vendor) or Table(model, connection)
        tables[connection.vendor] = table
        wanted = newest(changes)
        there = _existing(model, connection, [change.id for change in wanted])
        key = model._meta.pk
        if key is None:
            raise TypeError(f"{model} has no primary key")
        by_columns: dict[tuple[str, ...], list[list[Any]]] = {}
        for change in wanted:
            if change.id in there:
                values = {**change.columns, key.attname: change.id, stamp: change.at}
                changed = tuple(sorted((change.columns.keys() | {stamp}) & table.index.keys()))
                by_columns.setdefault(changed, []).append(table.row(values))
        with connection.cursor() as cursor:
            for changed, rows in by_columns.items():
                updates = ", ".join(f"{column} = excluded.{column}" for column in changed)
                conflict = (
                    f"({key.column}) DO UPDATE SET {updates}"
                    f" WHERE old.{stamp} IS NULL OR old.{stamp} <= excluded.{stamp}"
                )
                table.insert(cursor, rows, conflict=conflict)

    return apply


def _existing(model: type[models.Model], connection: BaseDatabaseWrapper, ids: Sequence[int]) -> set[int]:
    """Which of the rows spoken of exist; kept from vanishing until the transaction ends."""
    key = model._meta.pk
    if not isinstance(key, models.ForeignKey):
        raise TypeError(f"the primary key of {model} refers to nothing")
    parent = key.target_field.model._meta
    found: set[int] = set()
    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        for part in in_parts(ids, MOST_PARAMETERS):
            cursor.execute(
                f"SELECT {parent.pk.column} FROM {connection.ops.quote_name(parent.db_table)}"
                f" WHERE {parent.pk.column} IN ({placeholders(part)}) ORDER BY 1{lock}",
                part,
            )
            found.update(number for (number,) in cursor.fetchall())
    return found
