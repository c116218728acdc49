"""What a client of one format sees of the troubles of an endpoint of another."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.relay import asks
from tests.relay.asks import Ask
from tests.relay.harness import house
from tests.relay.test_attempts import BEATS, SOON, kept
from tests.wire.pairs import clients
from tests.wire.pairs.answers import STREAMS
from wire import DIALECTS

pytestmark = pytest.mark.django_db(transaction=True)

PAIRS = [(ours, theirs) for ours in DIALECTS for theirs in DIALECTS if ours != theirs]
pairs = pytest.mark.parametrize(("ours", "theirs"), PAIRS)
TEXT = "16 17 18 20 21 64: text, and usage"


@pairs
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_a_compressed_stream_is_told_like_a_plain_one(ours: str, theirs: str, packed: bool) -> None:
    ask, stream = Ask(ours, stream=True), STREAMS[TEXT][theirs]
    headers = {"content-type": "text/event-stream", **({"content-encoding": "gzip"} if packed else {})}
    async with house("asgi", formats=[theirs], conversion="lenient") as relay:
        relay.vendor.script(body=[gzip.compress(stream) if packed else stream], headers=headers, then="keep")
        answer = await ask.send(relay)
        (final,) = await relay.settled()
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers
    assert asks.text(ask, answer.text) == "Grüße 🎉"
    assert asks.ends(ask, answer.text)
    assert clients.ADDED_UP[ours](answer.content)
    assert (final["record"]["outcome"], final["record"]["input_tokens"]) == ("ok", 30)


@pairs
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["fault-swap", "fault-html"])
async def test_what_is_not_what_was_asked_for_is_never_told_as_it(
    ours: str, theirs: str, fault: str, stream: bool
) -> None:
    ask = Ask(ours, stream=stream)
    async with house("asgi", formats=[theirs], conversion="lenient") as relay:
        relay.vendor.script([fault])
        answer = await ask.send(relay)
        (final,) = await relay.settled()
    assert answer.status_code == 502
    assert asks.error(ask, answer.text)
    assert final["record"]["outcome"] == "upstream_error"


@pairs
async def test_a_silent_vendor_of_another_format_is_waited_for_in_the_clients_own_words(
    ours: str, theirs: str
) -> None:
    ask = Ask(ours, stream=True)
    async with house("asgi", formats=[theirs], conversion="lenient", knobs=SOON) as relay:
        relay.vendor.script(["wait-20000"])
        body = await kept(relay, ask, 2)
        (final,) = await relay.settled()
    beat = BEATS[ours].decode()
    assert body.startswith(beat * 2)
    told = body.lstrip("\n") if ours == "gemini" else body.replace(beat, "")
    assert asks.text(ask, told).startswith("Hello")
    assert asks.ends(ask, told)
    assert asks.openers(ask, told) == 1
    assert final["record"]["outcome"] == "ok"


REFUSALS = {"fault-400": {400}, "fault-429.retry-7": {429}, "fault-529": {503, 529}}
"""The statuses by which a vendor's refusal may be told."""


@pairs
@pytest.mark.parametrize("fault", REFUSALS)
async def test_a_vendors_refusal_is_told_in_the_clients_own_words(ours: str, theirs: str, fault: str) -> None:
    ask = Ask(ours)
    async with house("asgi", formats=[theirs], conversion="lenient") as relay:
        relay.vendor.script([fault], then="keep")
        answer = await ask.send(relay)
        (final,) = await relay.settled()
    told: dict[str, Any] = asks.error(ask, answer.text)
    assert answer.status_code in REFUSALS[fault]
    assert told["message"]
    assert answer.headers["x-request-id"]
    assert final["record"]["status_code"] == answer.status_code
    if "retry" in fault:
        assert 0 < int(answer.headers["retry-after"]) <= 7
