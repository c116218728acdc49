"""A database that is locked, silent or away while requests run: they go on as before, nothing is lost, and
the recorder catches up."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.callers import Callers
from tests.counts import count
from tests.endings.books import assert_books_are_whole
from tests.gate import Gate
from tests.journals import lines
from tests.killer import SECRET, Template, Victim, is_gone, victim
from tests.rude import rude
from tests.waiting import until

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("away")]

Away = Callable[[Victim, Gate, str], AbstractContextManager[object]]


@contextmanager
def locked(server: Victim, gate: Gate, address: str) -> Iterator[None]:
    """Another process keeps the database to itself; on PostgreSQL, the tables that we write and follow."""
    if not address:
        with closing(sqlite3.connect(server.data / "aether.sqlite3", timeout=30)) as other:
            other.execute("BEGIN EXCLUSIVE")
            yield
        return
    with psycopg.connect(address) as other:
        other.execute("LOCK TABLE usage_record, usage_journalposition, changes_change")
        yield


@contextmanager
def silent(server: Victim, gate: Gate, address: str) -> Iterator[None]:
    """The database takes what it is sent and does not answer."""
    gate.mute()
    yield
    gate.open()


@contextmanager
def down(server: Victim, gate: Gate, address: str) -> Iterator[None]:
    """The database is gone, its connections with it."""
    gate.shut()
    yield
    gate.open()


def applied(address: str, server: Victim) -> int:
    """How many records are in the database."""
    if not address:
        return int(server.tuples("SELECT count(*) FROM usage_record")[0][0])
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT count(*) FROM usage_record").fetchone()
        return int(row[0]) if row else 0


def finals(server: Victim) -> int:
    """How many requests have ended, by the journals."""
    ended = lines(server.data / "journals", "final")
    return len({line["record"]["request_id"] for line in ended})


def caught_up(server: Victim, address: str, goal: int) -> None:
    """Returns once so many records are in the database."""
    until(lambda: applied(address, server) >= goal, what="the records", seconds=60)


def milliseconds(waited: Sequence[float]) -> str:
    """The median of some waits, for the table."""
    return f"{statistics.median(waited) * 1000:.0f} ms"


async def is_ready(server: Victim) -> bool:
    async with rude(server.url) as client:
        await client.ask("/readyz", method="GET")
        return await client.head() == 200


async def test_requests_go_on_without_the_database_and_nothing_is_lost(
    made: Template, tmp_path: Path, record_property: Any
) -> None:
    seconds = count(2, 20)
    ways: tuple[Away, ...] = (locked, silent, down) if made.database else (locked,)
    with Gate() as gate, victim(made, tmp_path, gate) as server:
        address = gate.behind(server.env.get("DATABASE_URL", ""))
        async with Callers(server.url, SECRET, ["quick", "middle"]) as callers:
            await callers.busy(callers.parallel)
            await asyncio.sleep(seconds)
            usual = [each.waited for each in callers.seen if each.finished]
            for way in ways:
                rows, before = applied(address, server), len(callers.seen)
                with way(server, gate, address):
                    await asyncio.sleep(seconds)
                    asked = callers.seen[before:]
                    waited = [each.waited for each in asked if each.finished]
                    assert len(waited) > callers.parallel  # none had to wait for the database
                    assert await is_ready(server)
                    goal = finals(server)
                    assert goal - rows > callers.parallel
                back = time.monotonic()
                await asyncio.to_thread(caught_up, server, address, goal)
                record_property(
                    "measured",
                    f"{way.__name__} for {seconds} s: {len(waited):,} answers, first byte after"
                    f" {milliseconds(waited)} (before: {milliseconds(usual)}),"
                    f" {goal - rows:,} records there {time.monotonic() - back:.1f} s after",
                )
        await asyncio.to_thread(server.drained)
        found = assert_books_are_whole(server, callers.seen)
        assert all(each.finished for each in callers.seen)
        assert len(found) == len(callers.seen)
        assert {row["outcome"] for row in found.values()} == {"ok"}
        assert server.end() == 0
        assert all(map(is_gone, server.recorders))
