"""What a server wrote to its database against what its callers saw, and against itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.callers import Seen
from tests.killer import PRICE, Victim

SUMS = ("input_tokens", "output_tokens", "list_cost", "own_cost", "total_ms")


def records(server: Victim) -> dict[str, dict[str, Any]]:
    """The records by request id; none is there twice."""
    rows = server.rows("SELECT * FROM usage_record")
    found = {str(UUID(str(row["request_id"]))): row for row in rows}
    assert len(found) == len(rows)
    return found


def assert_books_are_whole(server: Victim, seen: list[Seen]) -> dict[str, dict[str, Any]]:
    """Holds of every ending. Returns the records by request id."""
    found = records(server)
    assert server.starts() <= found.keys()
    told = [each.request_id for each in seen if each.request_id]
    assert len(set(told)) == len(told)
    assert set(told) <= found.keys()
    for each in seen:
        if not each.finished:
            continue
        row = found[each.request_id]
        tokens = each.tokens
        assert (row["outcome"], row["input_tokens"], row["output_tokens"]) == ("ok", *tokens)
        assert row["list_cost"] == row["own_cost"] == tokens[0] * PRICE[0] + tokens[1] * PRICE[1]
    assert_sums_agree(server)
    assert server.rows("SELECT * FROM usage_deadletter") == []
    assert "Traceback" not in server.said
    return found


def assert_sums_agree(server: Victim) -> None:
    """The rollups hold what the records and the attempts hold, no more and no less."""
    for by, table, rollup in (
        ("outcome", "usage_record", "usage_rollup"),
        ("model_id", "usage_record", "usage_apikeyrollup"),
        ("verdict", "usage_attempt", "usage_attemptrollup"),
    ):
        columns = ", ".join(f"SUM({name})" for name in SUMS)
        counted = sums(server, f"SELECT {by}, COUNT(*), {columns} FROM {table} GROUP BY 1")
        added = sums(server, f"SELECT {by}, SUM(requests), {columns} FROM {rollup} GROUP BY 1")
        assert added == counted, rollup
    attempts = {
        str(row["record_id"]): row["n"]
        for row in server.rows("SELECT record_id, COUNT(*) AS n FROM usage_attempt GROUP BY 1")
    }
    claimed = {str(row["request_id"]): row["attempt_count"] for row in records(server).values()}
    assert attempts == {key: number for key, number in claimed.items() if number}


def sums(server: Victim, query: str) -> set[tuple[Any, ...]]:
    rows = server.tuples(query)
    return {(key, *map(int, numbers)) for key, *numbers in rows}
