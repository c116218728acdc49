"""The three big tables on PostgreSQL: range-partitioned by primary key, one partition a month.

A UUIDv7 starts with its clock, so a month is a range of ids. SQLite gets plain tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from django.db import migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from usage.ids import lower_bound


class CreatePartitionedModel(migrations.CreateModel):
    """CreateModel whose table is, on PostgreSQL, partitioned by range of its primary key, with a default
    partition that stays empty while the recorder creates each month ahead of need."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        create_partitioned(schema_editor, model)


def create_partitioned(schema_editor: BaseDatabaseSchemaEditor, model: type[models.Model]) -> None:
    """Creates the table of `model`, its default partition and, deferred, its indexes."""
    quote = schema_editor.quote_name
    table, key = model._meta.db_table, quote(str(model._meta.pk.column))
    sql, params = schema_editor.table_sql(model)
    schema_editor.execute(f"{sql} PARTITION BY RANGE ({key})", params or None)
    schema_editor.execute(f"CREATE TABLE {quote(table + '_default')} PARTITION OF {quote(table)} DEFAULT")
    schema_editor.deferred_sql.extend(schema_editor._model_indexes_sql(model))  # type: ignore[attr-defined]


def months(first: datetime, count: int) -> Iterator[datetime]:
    """The first instants (UTC) of `count` months, beginning with the one that holds `first`."""
    year, month = first.astimezone(UTC).year, first.astimezone(UTC).month
    for _step in range(count):
        yield datetime(year, month, 1, tzinfo=UTC)
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def create_months(connection: BaseDatabaseWrapper, table: str, first: datetime, count: int) -> list[str]:
    """Creates what is missing of `count` months, and returns the names; does nothing on SQLite."""
    if connection.vendor != "postgresql":
        return []
    created: list[str] = []
    quote = connection.ops.quote_name
    starts = list(months(first, count + 1))
    with connection.cursor() as cursor:
        for start, end in pairwise(starts):
            name = f"{table}_{start:%Y_%m}"
            cursor.execute("SELECT to_regclass(%s)", [quote(name)])
            if cursor.fetchone()[0] is not None:
                continue
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {quote(name)} PARTITION OF {quote(table)} "
                f"FOR VALUES FROM ('{lower_bound(start)}') TO ('{lower_bound(end)}')"
            )
            created.append(name)
    return created
