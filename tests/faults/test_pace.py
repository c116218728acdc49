"""How much later an answer comes because another vendor failed before: a few milliseconds beyond what that
one took. Compared with requests that met no failure, in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest

from providers.models import Endpoint
from simulator import ports
from tests.counts import PROOF, count
from tests.faults.stage import NAMES, SECRETS, Stage, assert_clean, stage
from tests.relay.asks import STREAMED, WHOLE, Ask
from tests.relay.harness import BASES

pytestmark = pytest.mark.django_db(transaction=True)

REFUSED = 0.020
AT_ONCE = 0.010
"""Seconds that a failover may add: after a connection that was refused, after an answer that says no."""


async def seconds(on: Stage, ask: Ask, play: str = "") -> float:
    """How long an answer takes; `play` is the first vendor's, of which nothing is held from before."""
    on.forgive()
    if play:
        on.house.vendor.script([play], secret=SECRETS[0])
    began = time.monotonic()
    answer = await ask.send(on.house)
    took = time.monotonic() - began
    assert_clean(ask, answer)
    return took


@pytest.mark.parametrize("play", ["fault-429", "fault-503", "fault-500", "fault-error-overloaded"])
async def test_a_failover_adds_little_to_what_the_vendors_take(
    door: str, play: str, record_property: Callable[[str, object], None]
) -> None:
    times = count(3, 300)
    async with stage(door) as on:
        for ask in (WHOLE[0], STREAMED[0], STREAMED[2]):
            plain, failed = [], []
            for _ in range(times):
                plain.append(await seconds(on, ask))
                failed.append(await seconds(on, ask, play))
            added = median(failed) - 2 * median(plain)
            record_property("measured", f"{ask}, {play}: {told(plain, failed)}")
            assert added < AT_ONCE or not PROOF


async def test_a_refused_connection_adds_little(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    times = count(3, 300)
    with ports.refused() as port:

        def prepare(_url: str) -> None:
            for form, base in BASES.items():
                found = Endpoint.objects.filter(provider__name=NAMES[0], format=form)
                found.update(base_url=f"http://127.0.0.1:{port}{base}")

        async with stage(door, prepare=prepare) as on:
            for ask in (WHOLE[0], STREAMED[0]):
                failed = [await seconds(on, ask) for _ in range(times)]
                assert [len(final["attempts"]) for final in on.house.journal()[-times:]] == [2] * times
                on.forgive()
                health = on.house.engine.health
                for _ in range(5):
                    await ask.send(on.house)
                plain = []
                part = health.keys[on.keys[0]]
                part.throttled(time.monotonic(), 500.0)
                for _ in range(times):
                    began = time.monotonic()
                    assert_clean(ask, await ask.send(on.house))
                    plain.append(time.monotonic() - began)
                assert [len(final["attempts"]) for final in on.house.journal()[-times:]] == [1] * times
                record_property("measured", f"{ask}, refused: {told(plain, failed)}")
                assert median(failed) - median(plain) < REFUSED or not PROOF


def told(plain: list[float], failed: list[float]) -> str:
    """Both medians, for the table."""
    return f"{median(failed) * 1000:.1f} ms with a failover, {median(plain) * 1000:.1f} ms without"
