"""Whether a database error is the row's fault or the database's."""

from __future__ import annotations

from django.db import DatabaseError, DataError, IntegrityError, InterfaceError

ROW_AT_FAULT = ("22", "23", "54")
"""PostgreSQL's classes of errors that the values themselves cause: data, integrity, program limits."""


def is_transient(error: BaseException) -> bool:
    """Whether the same rows may succeed later: connection lost, locked, disk full, tables not migrated yet.
    False for errors that come from a row, which must not hold up the others."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state:
        return not state.startswith(ROW_AT_FAULT)
    return not isinstance(error, DataError | IntegrityError)
