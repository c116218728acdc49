"""Requests that two readers could read differently: none is served, whatever stands behind it (security.md,
23)."""

from __future__ import annotations

import asyncio
import json
import re
from uuid import UUID

import pytest

from tests.aether import corpus
from tests.relay.asks import WHOLE
from tests.relay.harness import House, house
from tests.rude import rude
from usage.refusal import read

pytestmark = pytest.mark.django_db(transaction=True)

BODY = json.dumps(WHOLE[0].body()).encode()


async def said(each: House, data: bytes, pause: int | None = None) -> bytes:
    """All that comes until the relay closes, after these bytes were sent, in two parts where `pause` says
    so."""
    async with rude(each.url) as client:
        await client.send(data[:pause])
        if pause is not None:
            await asyncio.sleep(0.01)
            await client.send(data[pause:])
        return await client.closed()


def statuses(told: bytes) -> list[int]:
    return [int(part[:3]) for part in told.split(b"HTTP/1.1 ")[1:]]


async def test_nothing_broken_is_served_nor_what_stands_behind_it(door: str) -> None:
    async with house(door) as each:
        cases = corpus.broken(each.secret, BODY)
        assert len(cases) >= 80
        for name, data in cases.items():
            told = await said(each, data)
            assert statuses(told) == [400], (name, told)
            assert b"connection: close" in told.partition(b"\r\n\r\n")[0].lower(), name
            assert each.vendor.total == 0, name
        for name, data in cases.items():  # cut in two, anywhere
            told = await said(each, data, pause=(7 * len(name)) % len(data))
            assert statuses(told) == [400], (name, told)
        await each.idle()
        assert each.vendor.total == 0
        assert each.journal("start") == []


async def test_what_is_no_request_behind_one_that_is_costs_the_connection(door: str) -> None:
    async with house(door) as each:
        first = corpus.whole(each.secret, BODY)
        for served, (name, data) in enumerate(corpus.garbage(each.secret, BODY).items(), 1):
            told = await said(each, first + data)
            assert statuses(told) == [200, 400], (name, told)
            assert each.vendor.total == served, name
        await each.idle()


async def test_behind_a_request_that_closes_nothing_is_heard(door: str) -> None:
    async with house(door) as each:
        for name, data in corpus.unheard(each.secret, BODY).items():
            before = each.vendor.total
            told = await said(each, data)
            assert statuses(told) == [200], (name, told)
            assert each.vendor.total - before == ("upgrade" not in name), name
        await each.idle()


async def test_what_is_as_it_should_be_is_served_in_order(door: str) -> None:
    size = b"%x" % len(BODY)
    async with house(door) as each:
        top = corpus.head(each.secret)
        chunked = top + corpus.CHUNKED + b"\r\n" + size + b";a=b\r\n" + BODY + b"\r\n0\r\nX-T: 1\r\n\r\n"
        spaced = top + b"Content-Length: \t%d \r\n\r\n" % len(BODY) + BODY
        absolute = corpus.whole(each.secret, BODY).replace(b"POST /", b"POST http://localhost/")
        blank = b"\r\n" + corpus.whole(each.secret, BODY)
        last = corpus.whole(each.secret, BODY).replace(corpus.HOST, corpus.HOST + b"Connection: close\r\n")
        told = await said(each, chunked + spaced + absolute + blank + last)
        assert statuses(told) == [200] * 5, told
        assert each.vendor.total == 5
        await each.idle()


async def test_a_trailer_is_no_header(door: str) -> None:
    size = b"%x" % len(BODY)
    async with house(door) as each:
        open_head = corpus.START + corpus.HOST + corpus.CHUNKED + b"\r\n"
        trailer = b"0\r\nX-Api-Key: %b\r\n\r\n" % each.secret.encode()
        told = await said(each, open_head + size + b"\r\n" + BODY + b"\r\n" + trailer + b"\x00")
        assert statuses(told) == [401, 400], told
        assert each.vendor.total == 0


def rule_of(head: bytes) -> str:
    """What the id of a refusal tells."""
    found = re.search(rb"x-request-id: (\S+)", head)
    assert found is not None
    refusal = read(UUID(found[1].decode()))
    assert refusal is not None
    return refusal.rule


async def test_a_refusal_is_told_in_the_clients_format_and_pages_are_told_in_words(door: str) -> None:
    async with house(door) as each:
        lines = b"Host: a\r\nHost: b\r\n\r\n"
        told = await said(each, b"POST /v1/messages HTTP/1.1\r\n" + lines)
        head, _, body = told.partition(b"\r\n\r\n")
        assert json.loads(body)["error"]["type"] == "invalid_request_error"
        assert rule_of(head) == "host"
        told = await said(each, b"GET /v1/models/sim:embedContent HTTP/1.1\r\n" + lines)
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["type"] == "invalid_request_error"
        told = await said(each, b"POST /v1/models/sim:embedContent HTTP/1.1\r\n" + lines)
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["status"] == "INVALID_ARGUMENT"
        told = await said(each, b"GET /healthz HTTP/1.1\r\n" + lines)
        assert rule_of(told) == "host"
        assert told.endswith(b"The request was not served: no host, or two.")
