"""Kill -9 of the server and of its recorder under load, and a good end: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.callers import STREAMED, Callers, Seen
from tests.counts import count
from tests.endings.books import assert_books_are_whole, records
from tests.killer import SECRET, WORDS, Template, Victim, is_gone, victim
from tests.programs import MANAGE, ROOT, manage
from tests.waiting import until

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("kill")]

SMALL_SEGMENTS = {"RELAY_SEGMENT_BYTES": "32768"}
"""So that journals turn to the next segment while requests run."""
SEVERAL_CHECKPOINTS = 2.5
"""Seconds; they are written once a second."""


def refused(server: Victim, command: list[str]) -> str:
    """What a command says that must not start beside the server. Its standard input ends at once: a recorder
    whose parent is gone does not wait for the lock."""
    ended = subprocess.run(
        [sys.executable, MANAGE, *command],
        env=server.env, cwd=ROOT, input="", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    return ended.stderr


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


async def test_a_server_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    made: Template, tmp_path: Path, record_property: Any
) -> None:
    kills = count(2, 50)
    with victim(made, tmp_path, **SMALL_SEGMENTS) as server:
        async with Callers(server.url, SECRET, ["quick", "middle", "long"]) as callers:
            for number in range(kills):
                await callers.busy(callers.parallel // 2)
                await asyncio.sleep(random.random() * random.choice((0.3, 1, 3)))
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
        outcomes = Counter(row["outcome"] for row in found.values())
        record_property(
            "measured",
            f"{kills} kills under {callers.parallel} streams: {outcomes['ok']:,} records ok,"
            f" {outcomes['interrupted']:,} interrupted, none lost, none twice",
        )


async def test_a_server_killed_while_it_starts_leaves_nothing_behind(made: Template, tmp_path: Path) -> None:
    with victim(made, tmp_path, **SMALL_SEGMENTS) as server:
        async with Callers(server.url, SECRET, ["quick"]) as callers:
            await callers.busy(callers.parallel // 2)
            await asyncio.to_thread(server.kill)
            for _ in range(count(1, 12)):
                server.begin()
                await asyncio.sleep(random.uniform(0.5, count(3, 6)))
                await asyncio.to_thread(server.kill_at_once)
            await asyncio.to_thread(server.start)
            await callers.busy(callers.parallel // 2)
        server.drained()
        assert_books_are_whole(server, callers.seen)
        assert server.end() == 0
        assert all(map(is_gone, server.recorders))


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
    made: Template, tmp_path: Path, record_property: Any
) -> None:
    """Streams of a second are well within the drain's limit, endless ones outlast it."""
    times = count(1, 20)
    with victim(made, tmp_path, **SMALL_SEGMENTS, RELAY_DRAIN_SECONDS="7") as server:
        models = ["quick", "middle", "middle", "endless"]
        async with Callers(server.url, SECRET, models, manners=STREAMED) as callers:
            for number in range(times):
                if number:
                    await asyncio.to_thread(server.start)
                await callers.busy(callers.parallel)
                await asyncio.sleep(random.random())
                assert await asyncio.to_thread(server.end) == 0
                assert all(map(is_gone, server.recorders))
                # Nothing is left to be done: what is in the journals is in the database.
                assert server.starts() <= records(server).keys()
            callers.stop()

        found = assert_books_are_whole(server, callers.seen)
        answered = [each for each in callers.seen if each.request_id]
        assert len(found) == len(answered)
        outcomes = Counter(row["outcome"] for row in found.values())
        assert outcomes.keys() <= {"ok", "interrupted", "rejected"}
        told = [each for each in answered if not each.finished]
        assert told
        assert all(each.told_of_its_end for each in told)
        assert {found[each.request_id]["outcome"] for each in told} <= {"interrupted", "rejected"}
        cut = [each for each in told if found[each.request_id]["outcome"] == "interrupted"]
        assert {each.model for each in cut} == {"endless"}
        assert any(each.finished and each.model == "middle" for each in answered)
        record_property(
            "measured",
            f"{times} stops under {callers.parallel} streams: {outcomes['ok']:,} finished,"
            f" {outcomes['interrupted']:,} endless ones told, 0 records lost, 0 short streams cut",
        )
