"""usage/arithmetic.py: the words under a record add up to what is stored."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.counts import count
from tests.pages import world
from tests.usage.books import random_final
from tests.usage.conftest import OpenJournal, OpenRecorder
from usage.arithmetic import Bill, bill
from usage.models import PriceSnapshot, Record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def billed(record: Record) -> Bill:
    row: Any = record
    price = PriceSnapshot.objects.filter(pk=row.price_id).first()
    return bill(record, price, list(record.attempts.order_by("number")))


def added(steps: Any) -> Decimal:
    return sum((Decimal(step.amount.replace("$", "")) for step in steps), Decimal(0))


def test_the_lines_under_any_record_add_up_to_its_costs(
    open_journal: OpenJournal, open_recorder: OpenRecorder, record_property: Callable[[str, object], None]
) -> None:
    chance, journal = random.Random(5), open_journal()
    for number in range(count(150, 5_000)):
        journal.write("final", random_final(number, chance))
    open_recorder().drain()
    priced = 0
    for record in Record.objects.all():
        made = billed(record)
        assert made.own_agrees
        assert added(made.own) == record.own_cost
        if record.price_id and record.list_cost is not None:
            priced += 1
            assert made.agrees, made
            total = added(made.steps)
            assert abs(total - record.list_cost) <= Decimal("5e-13")
            assert made.sum == made.stored
    assert priced
    record_property("measured", f"{Record.objects.count()} records, {priced} with a price: all add up")


def snapshot(**columns: Any) -> PriceSnapshot:
    filled: dict[str, Any] = {
        "hash": "1" * 64, "source": "model fast", "input": Decimal(1), "output": Decimal(2),
        "cache_read": Decimal("0.1"), "cache_write_5m": Decimal("1.25"), "cache_write_1h": Decimal(2),
    }  # fmt: skip
    return PriceSnapshot.objects.create(**{**filled, **columns})


def test_the_words_name_every_part() -> None:
    price = snapshot(
        reasoning=Decimal(3), request=Decimal("0.001"), tier_factor=Decimal("0.5"), tier="up to 200000",
        fees={"web_search": "0.01"}, defaulted=["cache_read"],
    )  # fmt: skip
    record = world.record(
        price=price, input_tokens=2_000, cached_tokens=500, cache_creation_tokens=300,
        cache_creation_1h_tokens=100, output_tokens=100, reasoning_tokens=40, tool_uses={"web_search": 2},
        service_tier="flex", list_cost=Decimal("0.02197"), amendments=1, suspect=True, estimated=True,
        usage_source="estimated",
    )  # fmt: skip
    made = billed(record)
    flex = ", times 0.5 for the service tier"
    assert [(step.text, step.amount) for step in made.steps] == [
        (f"1,200 input tokens at $1 a million{flex}", "$0.0006"),
        (f"500 tokens read from the cache at $0.1 a million{flex}", "$0.000025"),
        (f"200 tokens written to the cache for 5 minutes at $1.25 a million{flex}", "$0.000125"),
        (f"100 tokens written to the cache for an hour at $2 a million{flex}", "$0.0001"),
        (f"100 output tokens at $2 a million{flex}", "$0.0001"),
        (f"40 of these for reasoning, at $1 a million more{flex}", "$0.00002"),
        ("2 uses of web_search at $0.01", "$0.02"),
        ("1 request at $0.001", "$0.001"),
    ]
    assert made.agrees
    assert made.sum == "$0.02197"
    notes = " ".join(made.notes)
    for said in ("tier “up to 200000”", "cache read", "Estimated", "Suspect", "came late"):
        assert said in notes


def test_reasoning_that_is_cheaper_than_output_is_taken_off() -> None:
    record = world.record(
        price=snapshot(reasoning=Decimal("0.5")), input_tokens=0, cached_tokens=0, output_tokens=1_000,
        reasoning_tokens=400, list_cost=Decimal("0.0014"),
    )  # fmt: skip
    made = billed(record)
    assert [step.amount for step in made.steps] == ["$0.002", "-$0.0006"]
    assert "400 of these for reasoning, at $1.5 a million less" in made.steps[1].text
    assert made.agrees


def test_a_cost_that_does_not_follow_is_told() -> None:
    made = billed(world.record(price=snapshot(), list_cost=Decimal("0.5")))
    assert made.agrees is False
    assert made.stored == "$0.5"


def test_what_has_no_price_and_what_is_free_is_explained() -> None:
    unpriced = billed(world.record(1, unpriced=True, list_cost=None))
    assert unpriced.agrees is None
    assert "No price was known" in unpriced.notes[0]
    nothing = billed(world.record(2, list_cost=Decimal(0), own_cost=Decimal(0)))
    assert "pays nothing" in nothing.notes[0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"list_cost": Decimal("0.2"), "cost_multiplier": Decimal("0.5"), "own_cost": Decimal("0.1")},
         "list cost $0.2 times the key's 0.5"),
        ({"list_cost": Decimal("0.2"), "own_cost": Decimal(0)}, "set to cost nothing"),
        ({"list_cost": None, "own_cost": Decimal(0)}, "no price was known"),
        ({"list_cost": Decimal("0.000000000001"), "cost_multiplier": Decimal("0.6"),
          "own_cost": Decimal("0.000000000002")}, "unrounded list cost"),
    ],
)  # fmt: skip
def test_an_attempt_s_own_cost_is_told_in_words(columns: dict[str, Any], said: str) -> None:
    record = world.record(own_cost=columns["own_cost"])
    world.attempt(record, 1, **columns)
    made = billed(record)
    assert said in made.own[0].text
    assert made.own_agrees
