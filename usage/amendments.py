"""Usage that came after the end: a record and its attempt changed once, and the sums with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.backends.utils import CursorWrapper

from usage.columns import Table
from usage.ids import attempt_id
from usage.rollup import AttemptFacts, RecordFacts, Sums, quarter_of


def amend(
    cursor: CursorWrapper, records: Table, attempts: Table, payload: Mapping[str, Any], sums: Sums
) -> None:
    """Applies an `amend` line, once: `Record.amendments` tells which have been. The values are absolute;
    `sums` gets the difference. Raises ValueError where there is no such record."""
    identifier = UUID(str(payload["request_id"]))
    number = int(payload["amendment"])
    changes = _changes(records, {**payload.get("record", {}), "amendments": number}, "request_id")
    attempt = payload.get("attempt")
    tries: dict[str, Any] = {}
    key = identifier
    if attempt:
        key = attempt_id(identifier, attempt["number"])
        tries = _changes(attempts, attempt, "number")
    key_value = records.value("request_id", identifier)
    cursor.execute(
        f"SELECT amendments, {', '.join(RecordFacts._fields)} FROM {records.name} WHERE request_id = %s",
        [key_value],
    )
    found = cursor.fetchone()
    if found is None:
        raise ValueError("there is no such record to amend")
    if found[0] >= number:
        return
    before = RecordFacts(*found[1:])
    _update(cursor, records, "request_id", key_value, changes)
    quarter = quarter_of(identifier.hex)
    sums.add_record(quarter, before, -1)
    sums.add_record(quarter, before._replace(**_facts(changes, RecordFacts._fields)))
    if tries:
        key_value = attempts.value("id", key)
        cursor.execute(
            f"SELECT {', '.join(AttemptFacts._fields)} FROM {attempts.name} WHERE id = %s", [key_value]
        )
        found = cursor.fetchone()
        if found is not None:
            old = AttemptFacts(*found)
            _update(cursor, attempts, "id", key_value, tries)
            sums.add_attempt(quarter, old, -1)
            sums.add_attempt(quarter, old._replace(**_facts(tries, AttemptFacts._fields)))


def _changes(table: Table, values: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {
        name: table.value(name, value)
        for name, value in values.items()
        if name in table.index and name not in ("request_id", "id", "record_id", *without)
    }


def _facts(changes: Mapping[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name in fields}


def _update(cursor: CursorWrapper, table: Table, column: str, key: Any, changes: Mapping[str, Any]) -> None:
    assignments = ", ".join(f"{name} = %s" for name in changes)
    cursor.execute(f"UPDATE {table.name} SET {assignments} WHERE {column} = %s", [*changes.values(), key])
