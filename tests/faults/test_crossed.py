"""Many streams of many consumers at once, over three keys that fail now and then: nobody hears a byte that
was meant for another (security.md, 59)."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable

import orjson
import pytest

from consumers.models import ApiKey, Consumer
from tests.counts import count
from tests.faults.stage import NEVER
from tests.relay.asks import STREAMED, WHOLE, Ask, text
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

MODEL = "sim.echo.delay-1"
KEYS = ("sk-vendor-first-key-1", "sk-vendor-second-key-2", "sk-vendor-third-key-3")
CONSUMERS = 100
AT_ONCE = 100
NOW_AND_THEN = ["ok"] * 7 + ["fault-close-head", "fault-500", "fault-error-server"]
"""What each key plays. No fault teaches it a limit, and none is told in the client's words, so that whatever
is heard is an echo."""
MARK = re.compile(r"consumer \d+ stream \d+")


async def test_no_answer_reaches_another_consumer(
    door: str, record_property: Callable[[str, object], None]
) -> None:
    secrets: list[str] = []

    def prepare(_url: str) -> None:
        for number in range(CONSUMERS):
            consumer = Consumer.objects.create(name=f"consumer {number}")
            secrets.append(ApiKey.issue(consumer=consumer, name="laptop")[1])

    total, asked = count(200, 13_000), count(160, 10_000)
    async with house(door, models=(MODEL,), keys=KEYS, prepare=prepare, rules=NEVER) as each:
        for secret in KEYS:
            each.vendor.script([*NOW_AND_THEN * min(total // 10, 999), "ok"], secret=secret)
        heard: dict[str, int] = {}
        streams = 0
        turns = iter(range(total))

        async def listener() -> None:
            nonlocal streams
            for number in turns:
                request = await once(each, number, secrets[number % CONSUMERS])
                if request:
                    heard[request] = number % CONSUMERS
                    streams += is_stream(number)

        await asyncio.gather(*(listener() for _ in range(AT_ONCE)))
        await each.idle()
        records = [final["record"] for final in each.journal()]
    assert len(records) == len({record["request_id"] for record in records}) == total
    assert Counter(record["consumer_name"] for record in records) == {
        f"consumer {number}": total // CONSUMERS for number in range(CONSUMERS)
    }
    by_id = {record["request_id"]: record["consumer_name"] for record in records}
    assert all(by_id[request] == f"consumer {number}" for request, number in heard.items())
    assert streams >= asked  # the others met faults beyond what may be retried
    record_property(
        "measured",
        f"{total:,} requests, {len(heard):,} answered, {streams:,} of them streams, 0 crossed",
    )


def is_stream(number: int) -> bool:
    """Whether this request is for a stream: each is but every eleventh."""
    return number % 11 > 0


async def once(each: House, number: int, secret: str) -> str:
    """One request of a consumer's. Returns its id if it was answered."""
    asks = STREAMED if is_stream(number) else WHOLE
    ask: Ask = asks[number % len(asks)]
    marker = f"consumer {number % CONSUMERS} stream {number}"
    body = orjson.dumps(ask.body(MODEL)).replace(b"hello there", marker.encode())
    headers = {"x-api-key": secret, "content-type": "application/json", **ask.headers}
    answer = await each.http.post(ask.path(MODEL), content=body, headers=headers)
    assert set(MARK.findall(answer.text)) <= {marker}
    if answer.status_code != 200:
        return ""
    assert text(ask, answer.text) == marker
    return str(answer.headers["x-request-id"])
