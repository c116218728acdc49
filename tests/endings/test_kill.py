"""Kill -9 of the server and of its recorder under load, and a good end: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.callers import STREAMED, Callers, Seen
from tests.counts import count
from tests.killer import PRICE, SECRET, WORDS, Template, Victim, is_gone, template, victim
from tests.programs import MANAGE, ROOT, manage
from tests.waiting import until

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("kill")]

SMALL_SEGMENTS = {"RELAY_SEGMENT_BYTES": "32768"}
"""So that journals turn to the next segment while requests run."""
SEVERAL_CHECKPOINTS = 2.5
"""Seconds; they are written once a second."""
SUMS = ("input_tokens", "output_tokens", "list_cost", "own_cost", "total_ms")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    """A configured database."""
    with template(tmp_path_factory.mktemp("kill")) as each:
        yield each


def refused(server: Victim, command: list[str]) -> str:
    """What a command says that must not start beside the server. Its standard input ends at once: a recorder
    whose parent is gone does not wait for the lock."""
    ended = subprocess.run(
        [sys.executable, MANAGE, *command],
        env=server.env, cwd=ROOT, input="", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


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


def assert_what_came_is_billed(cut: list[Seen], found: dict[str, dict[str, Any]]) -> None:
    """Streams that ran for longer than checkpoints are apart are billed for what came: by an estimate, unless
    the vendor's last count had come, and only the end was missing."""
    for each in cut:
        row = found[each.request_id]
        if row["outcome"] != "interrupted":
            continue
        assert row["status_code"] in {0, 200}
        assert row["estimated"] or row["output_tokens"] in {0, WORDS[each.model]}
        if row["is_stream"] and each.seconds > SEVERAL_CHECKPOINTS:
            assert row["status_code"] == 200
            assert row["input_tokens"] > 0
            assert row["output_tokens"] > 0


def assert_sums_agree(server: Victim) -> None:
    """The rollups hold what the records and the attempts hold, no more and no less."""
    for by, table, rollup in (
        ("outcome", "usage_record", "usage_rollup"),
        ("model_id", "usage_record", "usage_apikeyrollup"),
        ("verdict", "usage_attempt", "usage_attemptrollup"),
    ):
        columns = ", ".join(f"SUM({name})" for name in SUMS)
        counted = sums(server, f"SELECT {by}, COUNT(*), {columns} FROM {table} GROUP BY 1")
        assert sums(server, f"SELECT {by}, SUM(requests), {columns} FROM {rollup} GROUP BY 1") == counted
    attempts = {
        str(row["record_id"]): row["n"]
        for row in server.rows("SELECT record_id, COUNT(*) AS n FROM usage_attempt GROUP BY 1")
    }
    claimed = {str(row["request_id"]): row["attempt_count"] for row in records(server).values()}
    assert attempts == {key: number for key, number in claimed.items() if number}


def sums(server: Victim, query: str) -> set[tuple[Any, ...]]:
    rows = server.tuples(query)
    return {(key, *map(int, numbers)) for key, *numbers in rows}


async def test_a_server_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    made: Template, tmp_path: Path
) -> None:
    with victim(made, tmp_path, **SMALL_SEGMENTS) as server:
        async with Callers(server.url, SECRET, ["quick", "middle", "long"]) as callers:
            for number in range(count(2, 10)):
                await callers.busy(callers.parallel // 2)
                await asyncio.sleep(random.uniform(0, 3))
                await asyncio.to_thread(server.kill, with_recorder=number % 2 == 1)
                await asyncio.to_thread(server.start)
            await callers.busy(callers.parallel // 2)
            serve, recorder = await asyncio.gather(
                asyncio.to_thread(refused, server, ["serve", "--port", "0"]),
                asyncio.to_thread(refused, server, ["recorder"]),
            )
        assert "Another server runs on" in serve
        assert "Another recorder works on" in recorder
        until(lambda: all(map(is_gone, server.recorders[:-1])), what="the end of recorders without a server")
        server.drained()

        found = assert_books_are_whole(server, callers.seen)
        cut = [each for each in callers.seen if each.request_id and not each.finished]
        assert cut
        assert {found[each.request_id]["outcome"] for each in cut} <= {"interrupted", "ok"}
        assert_what_came_is_billed(cut, found)
        assert {row["outcome"] for row in found.values()} == {"interrupted", "ok"}
        assert server.end() == 0
        assert all(map(is_gone, server.recorders))
        assert records(server) == found
        assert "0 rows corrected" in manage("rollup", "--rebuild", env=server.env).stdout


async def test_a_killed_recorder_comes_back_and_neither_loses_nor_doubles_a_record(
    made: Template, tmp_path: Path
) -> None:
    with victim(made, tmp_path, **SMALL_SEGMENTS) as server:
        async with Callers(server.url, SECRET, ["quick", "middle"]) as callers:
            for _ in range(count(1, 10)):
                await callers.busy(callers.parallel // 2)
                await asyncio.sleep(random.uniform(0, 1))
                recorder = server.recorder()
                recorder.kill()
                await asyncio.to_thread(until, partial(is_gone, recorder), what="its end")
                assert await asyncio.to_thread(server.recorder) != recorder
        await asyncio.to_thread(server.drained)

        found = assert_books_are_whole(server, callers.seen)
        assert all(each.finished for each in callers.seen)
        assert len(found) == len(callers.seen)
        assert server.end() == 0
        assert all(map(is_gone, server.recorders))


async def test_a_server_told_to_end_finishes_its_streams_or_tells_them_and_has_every_record(
    made: Template, tmp_path: Path
) -> None:
    with victim(made, tmp_path, **SMALL_SEGMENTS, RELAY_DRAIN_SECONDS="7") as server:
        models = ["middle", "endless"]
        async with Callers(server.url, SECRET, models, manners=STREAMED) as callers:
            await callers.busy(callers.parallel)
            ending = asyncio.create_task(asyncio.to_thread(server.end))
            assert await ending == 0
            callers.stop()
        assert all(map(is_gone, server.recorders))

        found = assert_books_are_whole(server, callers.seen)
        answered = [each for each in callers.seen if each.request_id]
        assert len(found) == len(answered)
        told = [each for each in answered if not each.finished]
        assert told
        assert all(each.told_of_its_end for each in told)
        assert {found[each.request_id]["outcome"] for each in told} <= {"interrupted", "rejected"}
        assert any(each.finished and each.model == "middle" for each in answered)
