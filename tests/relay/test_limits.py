"""How much may come in, from either side, and what is told beyond it."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from simulator.compose import TEXT
from tests.relay.asks import ASKS, STREAMED, WHOLE, Ask, error, text
from tests.relay.harness import house
from tests.relay.wires import exchange

pytestmark = pytest.mark.django_db(transaction=True)

CHAT, CHAT_STREAM = WHOLE[0], STREAMED[0]
SMALL = {"max_body_bytes": 20_000, "max_upload_bytes": 50_000}


def padded(ask: Ask, size: int) -> bytes:
    """A request of exactly this many bytes."""
    body = json.dumps({**ask.body(), "metadata": {"pad": ""}})
    return body.replace('"pad": ""', '"pad": "' + "x" * (size - len(body)) + '"').encode()


async def in_pieces(content: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_a_body_may_be_as_large_as_the_limit_and_not_a_byte_larger(door: str) -> None:
    async with house(door, knobs=SMALL) as each:
        for ask in ASKS:
            headers = {**ask.headers, "content-type": "application/json"}
            for size, status in ((20_000, 200), (20_001, 413)):
                content = padded(ask, size)
                announced = await each.http.post(ask.path(), content=content, headers=headers)
                assert announced.status_code == status, (str(ask), size)
                chunked = await each.http.post(ask.path(), content=in_pieces(content), headers=headers)
                assert chunked.status_code == status, (str(ask), size)
                if status == 413:
                    for answer in (announced, chunked):
                        assert "20,000 bytes" in error(ask, answer.text)["message"]
        assert each.vendor.total == 2 * len(ASKS)
        asked = len('"stream_options":{"include_usage":true},')
        assert {len(seen.body) for seen in each.vendor.requests} == {20_000, 20_000 + asked}
        await each.idle()


async def test_an_endless_body_is_refused_with_flat_memory(door: str) -> None:
    async with house(door, knobs={"max_body_bytes": 200_000}) as each:
        sent = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal sent
            piece = b"x" * 64_000
            while sent < 30_000_000:
                sent += len(piece)
                yield piece

        await CHAT.send(each)
        tracemalloc.start()
        try:
            answer = await each.http.post(
                CHAT.path(), content=endless(), headers={"content-type": "application/json"}
            )
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert answer.status_code == 413
        assert peak < 8_000_000
        assert each.engine.body_bytes == 0
        assert each.vendor.total == 1


async def test_an_announced_length_over_the_limit_is_refused_before_the_body_comes(door: str) -> None:
    async with house(door, knobs=SMALL) as each:
        head = (
            f"POST {CHAT.path()} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {each.secret}\r\n"
            "Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
        )
        told = await exchange(each, head.encode(), within=2)
        assert told.status == 413
        error(CHAT, told.body.decode())


async def test_a_length_that_lies_does_not_smuggle_a_second_request(door: str) -> None:
    async with house(door) as each:
        content = json.dumps(CHAT.body()).encode()
        second = (
            f"POST {CHAT.path()} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {each.secret}\r\n"
            f"Content-Length: {len(content)}\r\nContent-Type: application/json\r\n\r\n"
        ).encode() + content
        for length in (len(content) - 5, len(content) + 5):
            head = (
                f"POST {CHAT.path()} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {each.secret}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            )
            told = await exchange(each, head.encode() + content + second)
            assert told.status == 400
        assert each.vendor.total == 0


async def test_a_body_that_never_comes_is_given_up(door: str) -> None:
    async with house(door, knobs={"client_body_timeout": 0.2}) as each:
        head = (
            f"POST {CHAT.path()} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {each.secret}\r\n"
            'Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"model":'
        )
        identifiers = set()
        for _ in range(2):
            told = await exchange(each, head.encode(), within=3)
            assert told.status == 408
            error(CHAT, told.body.decode())
            identifiers.add(told.headers["x-request-id"])
        assert len(identifiers) == 2
        await each.idle()
        assert each.journal() == []
        assert each.vendor.total == 0


async def test_all_bodies_together_are_bounded(door: str) -> None:
    async with house(door, knobs={"body_memory": 40_000}) as each:
        each.vendor.script(["wait-20000"])
        content = padded(CHAT, 15_000)
        headers = {"content-type": "application/json"}
        running = [
            asyncio.create_task(each.http.post(CHAT.path(), content=content, headers=headers))
            for _ in range(2)
        ]
        await each.vendor.wait_for(2)
        assert each.engine.body_bytes == 30_000
        for ask in ASKS:
            answer = await each.http.post(
                ask.path(), content=padded(ask, 15_000), headers={**ask.headers, **headers}
            )
            assert answer.status_code == (529 if ask.format == "anthropic" else 503), str(ask)
            assert int(answer.headers["retry-after"]) >= 1
            error(ask, answer.text)
        each.vendor.hurry()
        assert [(await each_one).status_code for each_one in running] == [200, 200]
        each.vendor.script(["ok"])
        again = await each.http.post(CHAT.path(), content=content, headers=headers)
        assert again.status_code == 200
        await each.idle()


async def test_the_body_of_a_stream_is_let_go_once_it_runs(door: str) -> None:
    async with house(door) as each:
        each.vendor.script(["fault-stall.after-5"])
        async with each.http.stream("POST", CHAT_STREAM.path(), json=CHAT_STREAM.body()) as answer:
            assert answer.status_code == 200
            async for _ in answer.aiter_bytes():
                break
            assert each.engine.body_bytes == 0
            assert each.engine.in_flight.slots
        await each.idle()


# From upstream


async def test_an_event_beyond_its_bound_ends_the_stream(door: str) -> None:
    async with house(
        door, keys=("sk-vendor-one", "sk-vendor-two"), knobs={"max_event_bytes": 20_000}
    ) as each:
        for ask in STREAMED:
            each.vendor.script(["chunks-8.delay-5.fault-huge.bytes-15000.after-5"])
            answer = await ask.send(each)
            assert len(text(ask, answer.text)) > 15_000, str(ask)
            each.vendor.script(["chunks-8.delay-5.fault-huge.bytes-30000.after-5"])
            answer = await ask.send(each)
            assert answer.status_code == 200
            assert len(answer.content) < 20_000, str(ask)
            assert '"error"' in answer.text
            record = each.journal()[-1]["record"]
            assert record["outcome"] == "partial"
        first = [ask for ask in STREAMED if ask.format == "gemini"]
        for ask in first:
            each.vendor.script(["fault-huge.bytes-30000.after-0"])
            assert (await ask.send(each)).status_code == 502
            assert each.journal()[-1]["attempts"][0]["reason"] == "too_large"
        await each.idle()


async def test_a_whole_answer_beyond_its_bound_is_502(door: str) -> None:
    async with house(door, knobs={"max_answer_bytes": 20_000}) as each:
        for ask in WHOLE:
            each.vendor.script(["bytes-15000"])
            assert (await ask.send(each)).status_code == 200
            each.vendor.script(["bytes-30000"])
            answer = await ask.send(each)
            assert answer.status_code == 502
            error(ask, answer.text)
            assert each.journal()[-1]["attempts"][0]["reason"] == "too_large"
        await each.idle()


async def test_a_compressed_answer_that_unfolds_too_far_is_502(door: str) -> None:
    async with house(door) as each:
        bomb = gzip.compress(b'{"choices":[' + b" " * 4_000_000 + b"]}")
        for ask in ASKS:
            kind = "text/event-stream" if ask.stream and not ask.array else "application/json"
            each.afresh()
            each.vendor.script(
                body=[bomb], headers={"content-type": kind, "content-encoding": "gzip"}, then="keep"
            )
            each.afresh()
            tracemalloc.start()
            try:
                answer = await ask.send(each)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert answer.status_code == 502, str(ask)
            assert peak < 8_000_000
            assert each.journal()[-1]["attempts"][0]["reason"] == "encoding"
        each.vendor.script()
        for coding in ("br", "zstd", "compress", "gzip, gzip"):
            each.afresh()
            each.vendor.script(
                body=[b"x"],
                headers={"content-type": "application/json", "content-encoding": coding},
                then="keep",
            )
            each.afresh()
            assert (await CHAT.send(each)).status_code == 502
        await each.idle()


async def test_a_bomb_in_mid_stream_ends_it(door: str) -> None:
    async with house(door) as each:
        each.vendor.script(["cut-100000"])
        head = (await CHAT_STREAM.send(each, stream_options={"include_usage": True})).content[:4000]
        whole = head[: head.rindex(b"\n\n") + 2]
        packed = gzip.compress(whole + b": " + b"x" * 6_000_000 + b"\n\n")
        each.vendor.script(body=[packed], headers={"content-encoding": "gzip"}, then="keep")
        answer = await CHAT_STREAM.send(each, stream_options={"include_usage": True})
        assert answer.status_code in (200, 502)
        assert b"[DONE]" not in answer.content
        assert b'"error"' in answer.content
        assert each.journal()[-1]["record"]["outcome"] in ("partial", "upstream_error")
        await each.idle()


# Lengths and messages that are wrong


async def test_an_answer_with_a_wrong_length_is_not_taken_for_another(door: str) -> None:
    async with house(door, keys=("sk-vendor-one", "sk-vendor-two")) as each:
        for ask in WHOLE:
            for play in ("fault-smuggle", "fault-100", "fault-103", "fault-close-after"):
                each.vendor.script([play])
                answer = await ask.send(each)
                assert (answer.status_code, text(ask, answer.text)) == (200, TEXT), (str(ask), play)
                each.vendor.script()
                answer = await ask.send(each)
                assert text(ask, answer.text) == TEXT, (str(ask), play)
                assert "smuggled" not in answer.text
            each.vendor.script(["fault-length-short"], secret="sk-vendor-one")
            answer = await ask.send(each)
            assert text(ask, answer.text) == TEXT, str(ask)
            assert each.journal()[-1]["attempts"][0]["reason"] == "bad_frame"
            each.vendor.script(secret="sk-vendor-one")
        await each.idle()


async def test_trailers_are_ignored_unless_they_tell_a_length(door: str) -> None:
    body = b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    async with house(door) as each:
        for trailer, status in (
            (b"x-late: yes", 200),
            (b"set-cookie: a=b", 200),
            (b"content-length: 3", 502),
        ):
            each.vendor.script(raw=[b"%b%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (head, len(body), body, trailer)])
            answer = await CHAT.send(each)
            assert answer.status_code == status, trailer
            assert not {"x-late", "set-cookie"} & set(answer.headers)
            assert answer.content == body or status == 502
        await each.idle()


async def test_a_vendor_that_refuses_before_it_has_read_the_body_is_heard(door: str) -> None:
    async with house(door) as each:
        each.vendor.script(["fault-body-early"])
        content = padded(CHAT, 5_000_000)
        answer = await each.http.post(
            CHAT.path(), content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code in (413, 502)  # the reset may overtake the answer
        assert each.journal()[-1]["attempts"][0]["reason"] in ("caller", "reset")
        await each.idle()


async def test_a_vendor_that_never_reads_the_body_is_given_up(door: str) -> None:
    knobs = {"whole_first_byte_timeout": 0.2, "connect_timeout": 0.2}
    async with house(door, keys=("sk-vendor-one", "sk-vendor-two"), knobs=knobs) as each:
        each.vendor.script(["fault-body-refuse"], secret="sk-vendor-one")
        answer = await each.http.post(
            CHAT.path(), content=padded(CHAT, 8_000_000), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 200
        assert each.journal()[-1]["attempts"][0]["reason"] == "first_byte_timeout"
        await each.idle()
