"""Sees that PostgreSQL has a partition for every month before a row needs it. Nothing to do on SQLite."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import DatabaseError, models
from django.db.backends.base.base import BaseDatabaseWrapper

from usage.columns import instant
from usage.failures import is_transient
from usage.ids import instant as start_of
from usage.partitions import create_months, months

log = logging.getLogger(__name__)

AHEAD = 3
"""This month and the two after it."""


class Months:
    """Remembers which months of `tables` have their partition."""

    def __init__(self, connection: BaseDatabaseWrapper, tables: Iterable[type[models.Model]]) -> None:
        self._connection = connection
        self._tables = [model._meta.db_table for model in tables]
        self._known: set[datetime] = set()

    def ensure(self, ids: Iterable[UUID], now: int) -> None:
        """Creates what is missing for rows of these ids, and for this month and the next two; `now` is Unix
        milliseconds. Where a month cannot be created its rows go to the default partition, which is told."""
        if self._connection.vendor != "postgresql":
            return
        wanted = {next(months(start_of(each), 1)) for each in ids}
        wanted.update(months(instant(now), AHEAD))
        for month in sorted(wanted - self._known):
            for table in self._tables:
                try:
                    create_months(self._connection, table, month, 1)
                except DatabaseError as error:
                    if is_transient(error):
                        raise
                    log.exception("the partition of %s for %s was not created", table, f"{month:%Y-%m}")
            self._known.add(month)
