"""What the journeys share: a relay that knows all models they name, and the bill of each call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.relay.harness import House, house

DOLLAR = 10**12
"""Pico-dollars."""
INPUT, OUTPUT, CACHE_READ = 1_000_000, 2_000_000, 100_000
"""Pico-dollars that a token costs at the prices of the harness: $1 and $2 per million."""
COUNTED = "sim.in-1000.out-50.cached-800.reason-20"
MODELS = (
    "sim",
    "sim.tool",
    "sim.tools-2",
    "sim.think",
    "sim.think.tool",
    "sim.finish-length",
    COUNTED,
)
"""Each is served in all four formats. A journey that needs others says so (`at_home(door, models=...)`)."""


@dataclass
class Home:
    """A relay and how many of its records were looked at."""

    house: House
    billed: int = 0

    @property
    def url(self) -> str:
        """The address without a path: base URL of Anthropic's and Gemini's clients."""
        return self.house.url

    @property
    def openai_url(self) -> str:
        """The base URL of OpenAI's client."""
        return f"{self.house.url}/v1"

    @property
    def secret(self) -> str:
        """An API key of the consumer alice."""
        return self.house.secret


@asynccontextmanager
async def at_home(door: str, **options: Any) -> AsyncIterator[Home]:
    """A relay behind `door`; `options` are those of the harness. Idle at the end, each call billed."""
    async with house(door, **{"models": MODELS, **options}) as each:
        home = Home(each)
        yield home
        await each.idle()
        assert len(each.journal()) == home.billed, "calls whose bill nobody looked at"


async def billed(home: Home) -> dict[str, Any]:
    """The record of the one call made since the last look, once it is settled."""
    return (await bill(home))["record"]  # type: ignore[no-any-return] # a line of the journal


async def bill(home: Home) -> dict[str, Any]:
    """The final line (record, attempts, price, stored) of the one call made since the last look."""
    finals = await home.house.settled(home.billed + 1)
    await home.house.idle()
    finals = home.house.journal()
    assert len(finals) == home.billed + 1, "more than one record for one call"
    home.billed += 1
    return finals[-1]


def cost(input_tokens: int, output_tokens: int) -> int:
    """Pico-dollars for plain tokens at the prices of the harness."""
    return input_tokens * INPUT + output_tokens * OUTPUT
