"""Requests that are turned away before they are begun: each is told once, and its connection goes on."""

from __future__ import annotations

import asyncio
import json

import pytest

from relay.desk import Refusal, answer, lines
from relay.door import turned_away_at_once
from tests.aether import corpus
from tests.aether.test_strict import said, statuses
from tests.relay.asks import ASKS, WHOLE, Ask
from tests.relay.harness import House, house
from tests.relay.test_desk import call, strain
from tests.rude import Heard, Rude, rude
from usage.refusal import Rule

pytestmark = pytest.mark.django_db(transaction=True)

BODY = json.dumps(WHOLE[0].body()).encode()


def told_no(each: House) -> int:
    return sum(each.engine.shedding.turned_away.values())


async def status(client: Rude) -> int:
    """Of the next answer, which is read whole."""
    client.heard = Heard()
    return (await client.rest()).status


async def test_its_connection_serves_the_next_one(door: str) -> None:
    async with house(door) as each, rude(each.url) as client:
        data = corpus.whole(each.secret, BODY)
        for cut in (len(data), len(data) - 1, len(data) - len(BODY), len(data) // 3):
            strain(each, 1.0, 0)
            await client.send(data[:cut])
            await asyncio.sleep(0.01)
            await client.send(data[cut:])
            assert await status(client) == 503, cut
            strain(each, 0.0, 0)
            await client.send(data)
            assert await status(client) == 200, cut
        await each.idle()
        assert (told_no(each), each.vendor.total) == (4, 4)


async def test_of_those_sent_together_each_is_told_once(door: str) -> None:
    async with house(door) as each:
        strain(each, 1.0, 0)
        last = corpus.whole(each.secret, BODY).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        told = await said(each, corpus.whole(each.secret, BODY) * 3 + last)
        assert statuses(told) == [503] * 4
        assert told.count(b"connection: close") == 1
        assert told_no(each) == 4


async def test_one_who_asks_whether_to_send_its_body_is_told_not_to(door: str) -> None:
    async with house(door) as each, rude(each.url) as client:
        strain(each, 1.0, 0)
        head = corpus.head(each.secret) + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n"
        await client.send(head)
        assert statuses(await client.closed()) == [503]
        assert told_no(each) == 1


async def test_a_body_that_breaks_behind_it_costs_the_connection(door: str) -> None:
    async with house(door) as each:
        strain(each, 1.0, 0)
        head = corpus.head(each.secret) + corpus.CHUNKED + b"\r\n"
        assert statuses(await said(each, head + b"zz\r\n" + corpus.whole(each.secret, BODY))) == [503]
        assert each.vendor.total == 0


@pytest.mark.parametrize("ask", ASKS, ids=str)
def test_both_ways_to_tell_it_say_the_same(ask: Ask) -> None:
    asked = call({"x-api-key": "x"}, path=ask.path())
    for rule in (Rule.EVENT_LOOP, Rule.BAD_KEYS):
        refusal = Refusal(rule, 7, 3)
        whole, (status, text) = answer(asked, refusal), lines(asked, refusal)
        head, _, body = text.partition(b"\r\n\r\n")
        pairs = dict(line.split(b": ", 1) for line in head.split(b"\r\n"))
        identifier = pairs.pop(b"x-request-id")
        assert pairs.pop(b"request-id") == identifier
        theirs = dict(whole.headers)
        other = theirs.pop(b"x-request-id")
        del theirs[b"request-id"]
        assert identifier != other
        assert (status, pairs, body) == (whole.status, theirs, whole.body.replace(other, identifier))


def test_without_an_engine_nobody_is_turned_away() -> None:
    assert turned_away_at_once("POST", "/v1/chat/completions", "", [], "192.0.2.1") is None
