"""Vendors that are not reached at all: no address, nobody there, no certificate, no answer to the knock, a
closed address. Nothing was sent, so nothing can have been billed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from providers.models import Endpoint, Key
from simulator import ports
from tests.faults.stage import (
    COUNTED,
    FAILED,
    LATE,
    NAMES,
    NOTHING,
    SHUT,
    Held,
    Stage,
    assert_billed,
    assert_clean,
    assert_nothing_billed,
    assert_refused,
    stage,
    status_of,
)
from tests.relay.asks import ASKS
from tests.relay.harness import BASES

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(frozen=True)
class Place:
    """Where an endpoint leads, and what comes of it. `{vendor}`, `{refused}` and `{silent}` are ports."""

    url: str
    reason: str
    held: Held = COUNTED
    code: str = "upstream_error"
    said: str = FAILED
    tries: int = 3
    private: bool = True


PLACES = {
    "DNS fails / no address": Place("http://nobody.invalid", "dns"),
    "connect refused / unreachable": Place("http://127.0.0.1:{refused}", "connect"),
    "TLS error, wrong host": Place("https://127.0.0.1:{vendor}", "tls"),
    "connect timeout 5 s": Place("http://127.0.0.1:{silent}", "connect_timeout", code="timeout", said=LATE),
    "blocked by SSRF rule": Place(
        "http://localhost:{vendor}", "blocked_address", NOTHING, said=SHUT, tries=1, private=False
    ),
}


@contextmanager
def leading(place: Place, by: int) -> Iterator[Callable[[str], None]]:
    """Has the endpoints of the first `by` vendors lead there. No session keeps to who answered: each request
    finds the place out, also one that begins when another is over."""
    with ports.refused() as refused, ports.unanswered() as silent:

        def prepare(url: str) -> None:
            address = place.url.format(vendor=url.rpartition(":")[2], refused=refused, silent=silent)
            for form, base in BASES.items():
                found = Endpoint.objects.filter(provider__name__in=NAMES[:by], format=form)
                found.update(base_url=address + base, allow_private=place.private)
                if "silent" in place.url:
                    found.update(connect_timeout=0.2)
            Key.objects.update(affinity_seconds=0)

        yield prepare


@pytest.mark.parametrize("row", PLACES)
async def test_a_place_that_is_not_reached_is_followed_by_the_next(door: str, row: str) -> None:
    place = PLACES[row]
    with leading(place, 1) as prepare:
        async with stage(door, prepare=prepare) as on:
            if place.tries > 1:
                await assert_the_second_answers(on, place)
            else:
                await assert_all_fail(on, place)


@pytest.mark.parametrize("row", [row for row, place in PLACES.items() if place.tries > 1])
async def test_places_of_which_none_is_reached_are_told(door: str, row: str) -> None:
    with leading(PLACES[row], 3) as prepare:
        async with stage(door, prepare=prepare) as on:
            await assert_all_fail(on, PLACES[row])


def added_up(place: Place, form: str, tried: int) -> list[Held]:
    """What is held once every way to ask has met this place."""
    some = Held(len(ASKS), sum(ask.format == form for ask in ASKS)) if place.held.key else place.held
    return [some] * tried + [NOTHING] * (len(NAMES) - tried)


async def assert_the_second_answers(on: Stage, place: Place) -> None:
    answers = await asyncio.gather(*(ask.send(on.house) for ask in ASKS))
    for ask, answer in zip(ASKS, answers, strict=True):
        assert_clean(ask, answer)
        final = on.final(answer.headers["x-request-id"])
        first, second = final["attempts"]
        assert (first["reason"], first["phase"], first["maybe_billed"]) == (place.reason, "connect", False)
        assert (first["own_cost"], first["status_code"]) == (0, 0)
        assert (second["verdict"], second["provider_name"]) == ("ok", "second")
        assert final["record"]["outcome"] == "ok"
        assert_billed(final["record"], 2, 40)
        assert on.held(ask) == added_up(place, ask.format, 1), str(ask)


async def assert_all_fail(on: Stage, place: Place) -> None:
    answers = await asyncio.gather(*(ask.send(on.house) for ask in ASKS))
    assert on.house.vendor.total == 0
    for ask, answer in zip(ASKS, answers, strict=True):
        assert_refused(ask, answer, place.code, place.said, None)
        assert not {"127.0.0.1", "localhost", "invalid"} & set(answer.text.replace('"', " ").split())
        final = on.final(answer.headers["x-request-id"])
        record = final["record"]
        assert (record["outcome"], record["status_code"], record["error_code"]) == (
            "upstream_error", status_of(ask, place.code), place.code,
        )  # fmt: skip
        assert_nothing_billed(final)
        assert [each["reason"] for each in final["attempts"]] == [place.reason] * place.tries
        assert not any(each["maybe_billed"] for each in final["attempts"])
        assert on.held(ask) == added_up(place, ask.format, place.tries), str(ask)
