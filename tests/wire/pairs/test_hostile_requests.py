"""Requests that no client should send, made of those of the corpus, on their way to every other format."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.counts import count
from tests.wire.neutral.hostile import hostile
from tests.wire.pairs.kit import PAIRS, read, target_of
from tests.wire.pairs.requests import REQUESTS
from wire import DIALECTS
from wire.neutral.traces import without_traces
from wire.types import BadRequest

Place = tuple[str | int, ...]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Where something stands in a value."""
    within = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in within:
        yield (*above, key)
        yield from places(each, (*above, key))


def broken(rng: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """A request with something in it that nobody expects there."""
    fields = copy.deepcopy(fields)
    for _ in range(rng.choice((1, 1, 2))):
        *steps, last = rng.choice(list(places(fields)))
        at: Any = fields
        for step in steps:
            at = at[step]
        at[last] = copy.deepcopy(hostile(rng))
    return fields


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_hostile_request_is_written_or_refused(one: str, other: str) -> None:
    bodies = [by[one] for by in REQUESTS.values() if one in by]
    for seed in range(count(150, 20_000)):
        rng = random.Random(seed)
        fields = broken(rng, rng.choice(bodies))
        with suppress(BadRequest):
            request, _ = without_traces(read(one, fields), other)
            assert json.loads(DIALECTS[other].write_request(request, target_of(other)).body)
