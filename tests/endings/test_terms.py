"""SIGTERM under load: nothing is lost, and no stream is cut that would have ended in time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from tests.callers import Callers
from tests.counts import count
from tests.endings.books import assert_books_are_whole
from tests.killer import SECRET, Template, victim

pytestmark = [pytest.mark.database, pytest.mark.xdist_group("away")]

PATIENCE = {"RELAY_SHUTDOWN_DELAY": "0.5", "RELAY_DRAIN_SECONDS": "30"}


async def test_a_server_told_to_end_under_load_loses_nothing_and_cuts_nothing_short(
    made: Template, tmp_path: Path, record_property: Any
) -> None:
    times = count(1, 20)
    with victim(made, tmp_path, **PATIENCE) as server:
        async with Callers(server.url, SECRET, ["quick", "middle"]) as callers:
            for number in range(times):
                await callers.busy(callers.parallel // 2)
                await asyncio.sleep(random.random())
                assert await asyncio.to_thread(server.end) == 0
                if number < times - 1:
                    await asyncio.to_thread(server.start)
            callers.stop()
        answered = [each for each in callers.seen if each.heard.status == 200]
        assert [each for each in answered if not each.finished] == []
        assert {each.heard.status for each in callers.seen} <= {0, 200, 503}
        if times > 1:
            await asyncio.to_thread(server.start)
            server.drained()
        found = assert_books_are_whole(server, callers.seen)
        assert {row["outcome"] for row in found.values()} == {"ok"}
        unheard = sum(not each.heard.status for each in callers.seen)
        record_property(
            "measured",
            f"{times} ends under {callers.parallel} callers: {len(answered):,} answers, none cut short, each"
            f" with its record; {unheard} connections made as the port closed got no answer",
        )
