"""usage/charge.py: who pays what, ending by ending. Prices: 3 for a million input tokens, 15 output, 0.01 a
request."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from usage.charge import Charge, charge
from usage.pico import EXACT, clamped_pico, from_pico, to_pico
from usage.pricing import ONE, Price
from wire.types import COMPLETE, COUNT_TOKENS, EMBED, IMAGE, STORED, Usage

PRICE = Price.build(source="model fast", input="3", output="15", request="0.01")
TOLD: dict[str, Any] = {"input_reported": True, "output_reported": True, "final": True}
BEGUN: dict[str, Any] = {"input_reported": True, "output_reported": True}
ENDED = Usage(1_000, 100, **TOLD)
STARTED = Usage(1_000, 1, **BEGUN)
GONE: dict[str, Any] = {"outcome": "client_gone", "ended": False}
CUT: dict[str, Any] = {"outcome": "partial", "ended": False}
NOT_SHOWN: dict[str, Any] = {"delivered": False, "committed": False}

# name, usage, how it ended, record: input, output, cost, source, flags; attempt: input, output, cost
CASES: list[tuple[str, Usage, dict[str, Any], tuple[Any, ...], tuple[Any, ...]]] = [
    (
        "it ended and told its usage",
        ENDED,
        {},
        (1_000, 100, "0.0145", "reported", ""),
        (1_000, 100, "0.0145"),
    ),
    (
        "it ended and told nothing: both are counted",
        Usage(),
        {"text_bytes": 401, "request_bytes": 4_000},
        (1_000, 101, "0.014515", "estimated", "estimated"),
        (1_000, 101, "0.014515"),
    ),
    (
        "it ended without the final count: the greater one holds",
        STARTED,
        {"text_bytes": 400},
        (1_000, 100, "0.0145", "estimated", "estimated"),
        (1_000, 100, "0.0145"),
    ),
    (
        "cut off: the reported count is greater than the counted",
        Usage(1_000, 80, **BEGUN),
        {**CUT, "text_bytes": 40},
        (1_000, 80, "0.0142", "reported", "estimated"),
        (1_000, 80, "0.0142"),
    ),
    (
        "cut off: the counted is greater",
        STARTED,
        {**CUT, "text_bytes": 800},
        (1_000, 200, "0.016", "estimated", "estimated"),
        (1_000, 200, "0.016"),
    ),
    (
        "cut off after the final count came: it is final",
        ENDED,
        {**CUT, "text_bytes": 8_000},
        (1_000, 100, "0.0145", "reported", ""),
        (1_000, 100, "0.0145"),
    ),
    (
        "cut off with no usage at all: what was delivered, and the request's size",
        Usage(),
        {**CUT, "text_bytes": 400, "request_bytes": 8_000},
        (2_000, 100, "0.0175", "estimated", "estimated"),
        (2_000, 100, "0.0175"),
    ),
    (
        "an image in the request makes no more tokens than the context window has",
        Usage(),
        {**CUT, "text_bytes": 400, "request_bytes": 8_000_000, "input_limit": 3_000},
        (3_000, 100, "0.0205", "estimated", "estimated"),
        (3_000, 100, "0.0205"),
    ),
    (
        "the model's own ratio counts the text",
        Usage(),
        {**CUT, "text_bytes": 400, "request_bytes": 4_000, "bytes_per_token": 2.0},
        (1_000, 200, "0.016", "estimated", "estimated"),
        (1_000, 200, "0.016"),
    ),
    (
        "the client left in mid-stream: it pays for what was delivered to us",
        STARTED,
        {**GONE, "text_bytes": 400},
        (1_000, 100, "0.0145", "estimated", "estimated"),
        (1_000, 100, "0.0145"),
    ),
    (
        "the client left before the first frame: it pays nothing, the operator the reported input",
        Usage(1_000, 1, **BEGUN),
        {**GONE, **NOT_SHOWN},
        (0, 0, "0", "none", ""),
        (1_000, 1, "0.003015"),
    ),
    (
        "the client left before the first frame, nothing was told: the operator pays the input, estimated",
        Usage(),
        {**GONE, **NOT_SHOWN, "request_bytes": 4_000},
        (0, 0, "0", "none", ""),
        (1_000, 0, "0.003"),
    ),
    (
        "the client left before the request was sent: nobody pays",
        Usage(),
        {**GONE, **NOT_SHOWN, "request_bytes": 4_000, "sent": False},
        (0, 0, "0", "none", ""),
        (0, 0, "0"),
    ),
    (
        "the client left a whole answer that had come: the operator pays it",
        ENDED,
        {"outcome": "client_gone", "committed": False},
        (0, 0, "0", "none", ""),
        (1_000, 100, "0.0145"),
    ),
    (
        "every target failed before a frame: the consumer pays nothing",
        Usage(),
        {"outcome": "upstream_error", "ended": False, **NOT_SHOWN, "request_bytes": 4_000},
        (0, 0, "0", "none", ""),
        (0, 0, "0"),
    ),
    (
        "it failed before a frame, but told its input: that counts on the attempt",
        Usage(1_000, input_reported=True),
        {"outcome": "upstream_error", "ended": False, **NOT_SHOWN},
        (0, 0, "0", "none", ""),
        (1_000, 0, "0.003"),
    ),
    (
        "we were stopped before the first frame",
        Usage(),
        {"outcome": "interrupted", "ended": False, **NOT_SHOWN, "request_bytes": 400},
        (0, 0, "0", "none", ""),
        (100, 0, "0.0003"),
    ),
    (
        "we were stopped in mid-stream",
        STARTED,
        {"outcome": "interrupted", "ended": False, "text_bytes": 400},
        (1_000, 100, "0.0145", "estimated", "estimated"),
        (1_000, 100, "0.0145"),
    ),
    (
        "an invalid count makes it suspect",
        Usage(1_000, 0, input_reported=True, final=True, suspect=True),
        {"text_bytes": 400},
        (1_000, 100, "0.0145", "estimated", "estimated suspect"),
        (1_000, 100, "0.0145"),
    ),
    (
        "cache counts without an input are at least the input",
        Usage(0, 100, 500, 0, 300, output_reported=True, final=True),
        {"request_bytes": 400},
        # 500 at 0.3, 300 at 6, 100 at 15
        (800, 100, "0.01345", "estimated", "estimated"),
        (800, 100, "0.01345"),
    ),
    (
        "cache writes of unknown life are taken as five minutes, and said to be an estimate",
        Usage(300, 100, 0, 200, **TOLD, write_split_assumed=True),
        {},
        # 100 at 3, 200 at 3.75, 100 at 15
        (300, 100, "0.01255", "reported", "estimated"),
        (300, 100, "0.01255"),
    ),
    (
        "no cache writes: nothing was assumed",
        Usage(1_000, 100, **TOLD, write_split_assumed=True),
        {},
        (1_000, 100, "0.0145", "reported", ""),
        (1_000, 100, "0.0145"),
    ),
    (
        "counting tokens is free and counts none",
        ENDED,
        {"kind": COUNT_TOKENS, "text_bytes": 99, "request_bytes": 99},
        (0, 0, "0", "none", ""),
        (0, 0, "0"),
    ),
    (
        "reading a stored response is not billed again",
        ENDED,
        {"kind": STORED},
        (0, 0, "0", "none", ""),
        (0, 0, "0"),
    ),
    (
        "embeddings that tell their input",
        Usage(1_000, input_reported=True),
        {"kind": EMBED, "text_bytes": 99_999, "count": 5},
        (1_000, 0, "0.013", "reported", ""),
        (1_000, 0, "0.013"),
    ),
    (
        "embeddings that tell nothing cost the request price times n",
        Usage(),
        {"kind": EMBED, "request_bytes": 4_000, "count": 5},
        (0, 0, "0.05", "estimated", "estimated"),
        (0, 0, "0.05"),
    ),
    (
        "images that failed cost nothing",
        Usage(),
        {"kind": IMAGE, "outcome": "upstream_error", "ended": False, **NOT_SHOWN, "count": 4},
        (0, 0, "0", "none", ""),
        (0, 0, "0"),
    ),
    (
        "a completion cut off after it told a count",
        Usage(1_000, 10, **BEGUN),
        {"kind": COMPLETE, **CUT, "text_bytes": 400},
        (1_000, 100, "0.0145", "estimated", "estimated"),
        (1_000, 100, "0.0145"),
    ),
]


def flags(made: Charge) -> str:
    return " ".join(name for name in ("estimated", "suspect", "unpriced") if getattr(made, name))


@pytest.mark.parametrize(
    ("usage", "ending", "record", "attempt"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_each_ending_is_charged_as_accounting_says(
    usage: Usage, ending: dict[str, Any], record: tuple[Any, ...], attempt: tuple[Any, ...]
) -> None:
    made = charge(PRICE, usage, **ending)
    told = made.usage
    assert (told.input_tokens, told.output_tokens, made.list_pico, made.usage_source, flags(made)) == (
        *record[:2],
        to_pico(Decimal(record[2])),
        *record[3:],
    )
    worked = made.attempt_usage
    assert (worked.input_tokens, worked.output_tokens, made.attempt_list_pico) == (
        *attempt[:2],
        to_pico(Decimal(attempt[2])),
    )
    assert made.own_pico == made.attempt_list_pico


def test_own_cost_comes_from_the_unrounded_list_cost_times_the_keys_multiplier() -> None:
    price = Price.build(source="s", input="0.0000004", output="0")  # 0.4 pico-dollars a token
    made = charge(price, Usage(1, **TOLD), cost_multiplier=25 * ONE // 10)
    assert (made.list_pico, made.own_pico) == (0, 1)
    made = charge(price, Usage(5, **TOLD), cost_multiplier=125 * ONE // 100)
    assert (made.list_pico, made.own_pico) == (2, 2)  # 2.5, half to even


@given(
    st.builds(Usage, *[st.integers(0, 10**8)] * 6, service_tier=st.sampled_from(["", "flex"])),
    st.lists(st.decimals(0, 10**6, places=6), min_size=3, max_size=3),
    st.integers(0, 10**15),
)
def test_whole_pico_dollars_are_what_the_exact_decimals_round_to(
    usage: Usage, amounts: list[Decimal], multiplier: int
) -> None:
    usage = msgspec.structs.replace(usage, **TOLD)
    price = Price.build(
        source="s", input=amounts[0], output=amounts[1], reasoning=amounts[2], tier_factors={"flex": "0.333"}
    )
    made = charge(price, usage, cost_multiplier=multiplier)
    cost = price.cost(usage, delivered=True)
    assert cost == sum((part.amount for part in price.parts(usage, delivered=True)), Decimal(0))
    assert made.list_pico == clamped_pico(cost)
    assert made.own_pico == clamped_pico(EXACT.multiply(cost, from_pico(multiplier)))
    assert made.saved_pico == clamped_pico(price.saved(usage))


def test_a_free_provider_costs_us_nothing_and_the_consumer_the_list_price() -> None:
    made = charge(PRICE, ENDED, free=True, cost_multiplier=2 * ONE)
    assert (made.own_pico, made.list_pico) == (0, 14_500_000_000)


def test_without_a_price_a_served_request_costs_an_unknown_amount() -> None:
    made = charge(None, ENDED)
    assert (made.list_pico, made.attempt_list_pico, made.own_pico) == (None, None, 0)
    assert made.unpriced
    assert made.usage == ENDED


def test_without_a_price_what_was_never_served_costs_nothing() -> None:
    made = charge(None, Usage(), outcome="upstream_error", ended=False, **NOT_SHOWN)
    assert (made.list_pico, made.attempt_list_pico, made.unpriced) == (0, 0, False)


def test_what_the_cache_saved_is_the_consumers_and_only_of_what_is_billed() -> None:
    usage = Usage(1_000, 100, 1_000, **TOLD)
    assert charge(PRICE, usage).saved_pico == 2_700_000_000
    assert charge(PRICE, usage, committed=False).saved_pico == 0


def test_an_absurd_price_is_clamped_not_lost() -> None:
    price = Price.build(source="s", input="9000000", output="0")
    assert charge(price, Usage(10**8, **TOLD)).list_pico == 2**63 - 1


@given(
    st.builds(
        Usage,
        *[st.integers(0, 10**8)] * 6,
        input_reported=st.booleans(),
        output_reported=st.booleans(),
        final=st.booleans(),
    ),
    st.fixed_dictionaries(
        {
            "outcome": st.sampled_from(["ok", "partial", "upstream_error", "client_gone", "interrupted"]),
            "kind": st.sampled_from(["generate", "count_tokens", "embed", "image", "complete"]),
            "sent": st.booleans(),
            "delivered": st.booleans(),
            "committed": st.booleans(),
            "ended": st.booleans(),
            "text_bytes": st.integers(0, 10**7),
            "request_bytes": st.integers(0, 10**7),
            "count": st.integers(0, 10),
        }
    ),
)
def test_nobody_is_ever_paid_and_the_consumer_never_pays_for_what_did_not_reach_it(
    usage: Usage, ending: dict[str, Any]
) -> None:
    made = charge(PRICE, usage, **ending)
    assert made.list_pico is not None
    assert made.attempt_list_pico is not None
    assert 0 <= made.list_pico <= made.attempt_list_pico
    if not ending["committed"]:
        assert made.list_pico == 0
    if usage.output_reported and usage.final and ending["committed"] and made.usage != Usage():
        assert made.usage.output_tokens == usage.output_tokens
    if usage.input_reported and made.attempt_usage != Usage():
        assert made.attempt_usage.input_tokens == usage.input_tokens
