"""usage/pricing.py: every cost here was worked out by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from usage.pico import GREATEST, clamped_pico, from_pico, to_pico
from usage.pricing import Price
from wire.types import MAX_COUNT, Usage

FLAT = Price.build(source="model fast", input="3", output="15")
GIVEN = Price.build(
    source="model fast",
    input="1.00",
    output="2.00",
    cache_read="0.10",
    cache_write_5m="1.25",
    cache_write_1h="2.50",
    reasoning="5",
    request="0.001",
    fees={"web_search": "0.01", "code": Decimal("0.03")},
    tier_factors={"flex": "0.5", "priority": "2"},
)
TINY = Price.build(source="s", input="0.000000000001", output="0")
TIERED = Price.build(
    source="model long",
    input="1.25",
    output="10",
    tiers=[
        {"up_to": 1_000_000, "input": "2.50", "output": "15"},
        {"up_to": 200_000, "input": "1.25", "output": "10"},
    ],
)

COSTS = [
    # 1,000 * 3 + 500 * 15 = 10,500 per million
    ("plain tokens", FLAT, Usage(1_000, 500), "0.0105"),
    # 10 * 3 + 1,000 * 0.3 + 150 * 3.75 + 50 * 6 + 50 * 15 = 30 + 300 + 562.5 + 300 + 750
    ("defaulted cache prices", FLAT, Usage(1_210, 50, 1_000, 150, 50), "0.0019425"),
    # 100 * 1 + 200 * 0.1 + 300 * 1.25 + 400 * 2.5 + 50 * 2 = 100 + 20 + 375 + 1,000 + 100, and the request
    ("given cache prices", GIVEN, Usage(1_000, 50, 200, 300, 400), "0.002595"),
    # 100 * 1 + 60 * 2 + 40 * (5 - 2) = 340
    ("reasoning has its price", GIVEN, Usage(100, 60, reasoning_tokens=40), "0.00134"),
    # half of 100 * 1 + 50 * 2 = 200, and the request whole
    ("the flex tier halves tokens alone", GIVEN, Usage(100, 50, service_tier="flex"), "0.0011"),
    ("an unknown service tier changes nothing", GIVEN, Usage(100, 50, service_tier="magic"), "0.0012"),
    # 3 * 0.01 + 0.03, twice the tokens, and the request
    (
        "fees know no service tier",
        GIVEN,
        Usage(100, 50, service_tier="priority", tool_uses={"web_search": 3, "code": 1, "other": 9}),
        "0.0614",
    ),
    ("a tier's bound belongs to it", TIERED, Usage(200_000, 1_000), "0.26"),
    # one token more prices the whole request
    ("beyond the bound", TIERED, Usage(200_001, 1_000), "0.5150025"),
    ("beyond the last tier the last holds", TIERED, Usage(2_000_000, 0), "5"),
    # the tier is chosen with the cache: 1 * 2.5 + 200,000 * 0.25 = 50,002.5
    ("cache counts for the tier", TIERED, Usage(200_001, 0, 200_000), "0.0500025"),
    ("nothing costs nothing", FLAT, Usage(), "0"),
    # cut to the whole: 100 * 0.3
    ("cache beyond the input is cut, reads first kept", FLAT, Usage(100, 0, 500, 500, 500), "0.00003"),
    ("reasoning beyond the output is cut", GIVEN, Usage(0, 10, reasoning_tokens=99), "0.00105"),
    ("a fraction of a pico-dollar is kept", TINY, Usage(1), "1E-18"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("price", "usage", "expected"), [row[1:] for row in COSTS], ids=[row[0] for row in COSTS]
)
def test_a_request_costs_what_a_hand_computes(price: Price, usage: Usage, expected: str) -> None:
    assert price.cost(usage, delivered=True) == Decimal(expected)


def test_the_price_per_request_is_owed_only_for_delivered_output() -> None:
    assert GIVEN.cost(Usage(100, 50), delivered=False) == Decimal("0.0002")
    assert GIVEN.cost(Usage(100, 50), delivered=True) == Decimal("0.0012")
    assert GIVEN.cost(Usage(), delivered=True, requests=4) == Decimal("0.004")


def test_it_tells_what_the_cache_saved() -> None:
    # 1,000 at 3 less 0.3
    assert FLAT.saved(Usage(1_210, 50, 1_000)) == Decimal("0.0027")
    assert GIVEN.saved(Usage(1_000, 0, 1_000, service_tier="flex")) == Decimal("0.00045")


def test_missing_cache_prices_follow_from_input_and_are_remembered_as_such() -> None:
    price = Price.build(source="s", input="4", output="8", cache_write_1h="7")
    assert from_pico(price.rates.cache_read) == Decimal("0.4")
    assert from_pico(price.rates.cache_write_5m) == Decimal(5)
    assert from_pico(price.rates.cache_write_1h) == Decimal(7)
    assert price.rates.defaulted == ("cache_read", "cache_write_5m")


def test_a_tier_defaults_its_own_cache_prices_and_inherits_the_rest() -> None:
    price = Price.build(
        source="s",
        input="1",
        output="2",
        cache_read="0.5",
        reasoning="3",
        tiers=[{"up_to": 10, "input": "4"}, {"output": "9"}],
    )
    first, rest = price.tiers
    assert (first.rates.output, first.rates.reasoning) == (2 * 10**12, 3 * 10**12)
    assert from_pico(first.rates.cache_read) == Decimal("0.4")
    assert first.rates.defaulted == ("cache_read", "cache_write_5m", "cache_write_1h")
    assert from_pico(rest.rates.cache_read) == Decimal("0.5")
    assert (first.label, rest.label) == ("up to 10", "above 10")
    assert price.tier_for(10) == first
    assert price.tier_for(11) == rest


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"input": "a lot"}, "input"),
        ({"input": "-1"}, "input"),
        ({"output": 1.5}, "output"),
        ({"request": "NaN"}, "request"),
        ({"input": "1e40"}, "input"),
        ({"fees": {"web_search": "-0.01"}}, "web_search"),
        ({"tiers": [{"up_to": "many"}]}, "up_to"),
        ({"tiers": [{"up_to": 5}, {"up_to": 5}]}, "up_to"),
        ({"tiers": [{"up_to": 5, "price": "1"}]}, "price"),
    ],
)
def test_it_refuses_what_is_no_price_and_names_it(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Price.build(**{"source": "s", "input": "1", "output": "1", **arguments})


def by_hand(columns: Mapping[str, Any], usage: Usage, delivered: bool) -> Decimal:
    """The cost computed again from a snapshot's columns alone, as somebody with a pencil would."""
    per_token = {
        name: from_pico(columns[name]) / 1_000_000
        for name in ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
    }
    tokens = (
        (usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens) * per_token["input"]
        + usage.cache_read_tokens * per_token["cache_read"]
        + usage.cache_write_5m_tokens * per_token["cache_write_5m"]
        + usage.cache_write_1h_tokens * per_token["cache_write_1h"]
        + usage.output_tokens * per_token["output"]
    )
    if columns["reasoning"] is not None:
        tokens += usage.reasoning_tokens * (from_pico(columns["reasoning"]) / 1_000_000 - per_token["output"])
    fees = sum(
        (count * Decimal(columns["fees"].get(name, "0")) for name, count in usage.tool_uses.items()),
        Decimal(0),
    )
    request = from_pico(columns["request"]) if delivered else Decimal(0)
    return tokens * from_pico(columns["tier_factor"]) + fees + request


@pytest.mark.parametrize("price", [FLAT, GIVEN, TIERED])
@pytest.mark.parametrize("tier", ["", "flex", "priority"])
def test_a_snapshot_alone_gives_the_cost_again(price: Price, tier: str) -> None:
    usage = Usage(300_000, 777, 1_234, 567, 89, 55, {"web_search": 2}, tier)
    assert by_hand(price.snapshot(usage), usage, True) == price.cost(usage, delivered=True)
    again = Price.from_snapshot(price.snapshot(usage))
    assert again.cost(msgspec.structs.replace(usage, service_tier=""), delivered=True) == price.cost(
        usage, delivered=True
    )
    assert again.saved(msgspec.structs.replace(usage, service_tier="")) == price.saved(usage)


def test_snapshots_share_a_hash_exactly_where_the_prices_are_the_same() -> None:
    small, large = Usage(10), Usage(300_000)
    assert TIERED.snapshot(small)["hash"] == TIERED.snapshot(Usage(11))["hash"]
    assert TIERED.snapshot(small)["hash"] != TIERED.snapshot(large)["hash"]
    assert GIVEN.snapshot(small)["hash"] != GIVEN.snapshot(Usage(10, service_tier="flex"))["hash"]
    same = Price.build(source="model fast", input=Decimal("3.000"), output="15.0")
    assert same.snapshot(small) == FLAT.snapshot(small)
    other = Price.build(source="model slow", input="3", output="15")
    assert other.snapshot(small)["hash"] != FLAT.snapshot(small)["hash"]
    newer = Price.build(source="model fast", input="3", output="15", version="2")
    assert newer.snapshot(small)["hash"] != FLAT.snapshot(small)["hash"]


def test_the_hash_of_a_snapshot_is_the_same_in_every_process() -> None:
    text = (
        '{"cache_read":300000000000,"cache_write_1h":6000000000000,"cache_write_5m":3750000000000,'
        '"defaulted":["cache_read","cache_write_5m","cache_write_1h"],"fees":{"web_search":"0.01"},'
        '"input":3000000000000,"output":15000000000000,"reasoning":null,"request":0,"source":"model fast",'
        '"tier":"","tier_factor":1000000000000,"version":""}'
    )
    price = Price.build(source="model fast", input="3", output="15", fees={"web_search": "0.010"})
    assert price.snapshot(Usage(10))["hash"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("price", [FLAT, GIVEN, TIERED])
def test_a_price_survives_the_journal(price: Price) -> None:
    assert Price.from_plain(json.loads(json.dumps(price.plain()))) == price


def test_rounding_is_half_to_even_and_happens_once() -> None:
    assert to_pico(Decimal("0.0000000000005")) == 0
    assert to_pico(Decimal("0.0000000000015")) == 2
    assert to_pico(Decimal("-0.0000000000025")) == -2
    assert to_pico(Decimal("1.5")) == 1_500_000_000_000


def test_an_amount_beyond_the_column_is_refused_or_clamped() -> None:
    for amount in (Decimal("9223373"), Decimal("-1e30"), Decimal("Infinity"), Decimal("1e999999")):
        with pytest.raises(OverflowError):
            to_pico(amount)
        assert abs(clamped_pico(amount)) == GREATEST


counts = st.integers(0, MAX_COUNT)
amounts = st.decimals("0", "1000", places=6)
prices = st.builds(
    lambda dollars, factor: Price.build(
        source="s",
        input=dollars[0],
        output=dollars[1],
        cache_read=dollars[2],
        cache_write_5m=dollars[3],
        cache_write_1h=dollars[4],
        reasoning=dollars[5],
        request=dollars[6],
        fees={"web_search": dollars[7]},
        tier_factors={"flex": factor},
    ),
    st.tuples(*[amounts] * 8),
    amounts,
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    read, write_5m, write_1h, plain, output = (draw(counts) for _ in range(5))
    return Usage(
        read + write_5m + write_1h + plain,
        output,
        read,
        write_5m,
        write_1h,
        draw(st.integers(0, output)),
        {"web_search": draw(st.integers(0, 50))},
        draw(st.sampled_from(["", "flex"])),
    )


@given(prices, usages())
def test_a_cost_is_exact_whatever_the_numbers(price: Price, usage: Usage) -> None:
    with localcontext() as context:
        context.prec = 150
        assert by_hand(price.snapshot(usage), usage, True) == price.cost(usage, delivered=True)


@given(prices, st.builds(Usage, *[st.integers(-5, MAX_COUNT)] * 6))
def test_a_cost_is_never_negative_even_for_impossible_usage(price: Price, usage: Usage) -> None:
    assert price.cost(usage, delivered=False) >= 0


@given(prices, usages(), usages())
def test_costs_of_one_list_add_up(price: Price, one: Usage, other: Usage) -> None:
    other = Usage(
        other.input_tokens, other.output_tokens, other.cache_read_tokens, other.cache_write_5m_tokens,
        other.cache_write_1h_tokens, other.reasoning_tokens, other.tool_uses, one.service_tier,
    )  # fmt: skip
    both = Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cache_read_tokens + other.cache_read_tokens,
        one.cache_write_5m_tokens + other.cache_write_5m_tokens,
        one.cache_write_1h_tokens + other.cache_write_1h_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
        {"web_search": one.tool_uses["web_search"] + other.tool_uses["web_search"]},
        one.service_tier,
    )
    apart = price.cost(one, delivered=False) + price.cost(other, delivered=False)
    assert price.cost(both, delivered=False) == apart
