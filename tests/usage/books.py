"""A ledger of random requests, each priced as the relay prices it, for tests of what is made of it."""

from __future__ import annotations

import random
from typing import Any

from tests.usage.journals import PICO, START, finished
from usage.charge import charge
from usage.pricing import Price
from wire.types import EMBED, GENERATE, IMAGE, Usage

HOUR = 3_600_000
PRICES = (
    Price.build(source="model fast", input="1", output="2", request="0.001"),
    Price.build(source="model odd", input="0.37", output="1.11", cache_read="0.03", reasoning="3.333"),
    Price.build(
        source="model tiered",
        input="1.25",
        output="10",
        tiers=[{"up_to": 2_000, "input": "1.25"}, {"input": "2.5", "output": "15"}],
        fees={"web_search": "0.01"},
        tier_factors={"flex": "0.5"},
    ),
    Price.build(source="model image", input="0", output="0", request="0.04"),
    None,
)


def random_usage(chance: random.Random) -> Usage:
    """Tokens of every kind, the parts within their wholes."""
    given = chance.randrange(5_000)
    read = chance.choice([0, chance.randrange(given + 1)])
    written = chance.choice([0, chance.randrange(given - read + 1)])
    for_an_hour = chance.choice([0, written // 2])
    output = chance.randrange(3_000)
    return Usage(
        given,
        output,
        read,
        written - for_an_hour,
        for_an_hour,
        chance.choice([0, output // 3]),
        chance.choice([{}, {}, {"web_search": chance.randrange(1, 4)}]),
        chance.choice(["", "", "flex"]),
        input_reported=True,
        output_reported=True,
        final=True,
    )


def random_final(number: int, chance: random.Random, *, hours: int = 6) -> dict[str, Any]:
    """A `final` line of a request that started within so many hours, with one to three attempts."""
    at = START + chance.randrange(hours) * HOUR + chance.randrange(HOUR)
    tries = chance.randint(1, 3)
    price = chance.choice(PRICES)
    kind = chance.choice([GENERATE, GENERATE, GENERATE, EMBED, IMAGE])
    outcome = chance.choice(["ok", "ok", "ok", "partial", "client_gone", "upstream_error"])
    committed = outcome != "upstream_error"
    multiplier = chance.choice([PICO, PICO // 2, PICO // 3])
    usage = Usage() if kind == IMAGE or not committed else random_usage(chance)
    bill = charge(
        price,
        usage,
        kind=kind,
        outcome=outcome,
        delivered=committed,
        committed=committed,
        count=chance.randint(1, 3),
        cost_multiplier=multiplier,
        free=chance.random() < 0.1,
    )
    line = finished(
        number,
        at=at,
        attempts=tries,
        kind=kind,
        consumer_id=chance.choice([None, 1, 2]),
        api_key_id=chance.choice([None, 3, 4]),
        model_id=chance.choice([4, 5]),
        key_id=chance.choice([None, 7]),
        outcome=outcome,
        first_token_ms=chance.randrange(100_000) if committed else None,
        total_ms=chance.randrange(1_000_000),
        usage_source=bill.usage_source,
        tool_uses=dict(bill.usage.tool_uses) or None,
        service_tier=bill.usage.service_tier,
        list_cost=bill.list_pico,
        saved_cost=bill.saved_pico,
        own_cost=bill.own_pico,
        estimated=bill.estimated,
        unpriced=bill.unpriced,
        **_tokens(bill.usage),
    )
    billed = bill.list_pico or bill.usage.input_tokens or bill.usage.output_tokens
    line["price"] = price.snapshot(bill.usage) if price is not None and billed else None
    line["attempts"][-1] |= {
        "verdict": "ok" if committed else "next",
        "list_cost": bill.attempt_list_pico,
        "own_cost": bill.own_pico,
        "cost_multiplier": multiplier,
        **_tokens(bill.attempt_usage),
    }
    return line


def _tokens(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "cache_creation_tokens": usage.cache_write_tokens,
        "cache_creation_1h_tokens": usage.cache_write_1h_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
