from __future__ import annotations

import msgspec
import pytest

from tests.counts import count
from tests.wire.cuts import every_cut, follow
from tests.wire.usage_payloads import PAYLOADS, Payload
from wire import FORMATS

STREAMED = [payload for payload in PAYLOADS if payload.stream]
WHOLE = [payload for payload in PAYLOADS if payload.whole]
BOTH = [payload for payload in PAYLOADS if payload.stream and payload.whole]


def name_of(payload: Payload) -> str:
    return f"{payload.format} {payload.name}"


def test_there_are_enough_of_them_and_each_names_its_source() -> None:
    assert len(PAYLOADS) >= 40
    assert {payload.format for payload in PAYLOADS} == set(FORMATS)
    assert all(payload.source.startswith("https://") for payload in PAYLOADS)
    assert len({name_of(payload) for payload in PAYLOADS}) == len(PAYLOADS)


@pytest.mark.parametrize("payload", STREAMED, ids=name_of)
def test_a_stream_comes_to_the_expected_usage(payload: Payload) -> None:
    stream = b"".join(payload.stream)
    followed = every_cut(stream, follow(payload.format, payload.brief), times=count(3, 100))
    assert followed.usage == payload.expected
    assert followed.ended
    assert followed.error is None


@pytest.mark.parametrize("payload", WHOLE, ids=name_of)
def test_a_whole_answer_comes_to_the_expected_usage(payload: Payload) -> None:
    reading = FORMATS[payload.format].read_whole(payload.whole, payload.brief)
    assert reading.usage == payload.expected
    assert reading.error is None
    assert reading.has_content


@pytest.mark.parametrize("payload", BOTH, ids=name_of)
def test_a_streamed_answer_costs_what_a_whole_one_costs(payload: Payload) -> None:
    wire = FORMATS[payload.format]
    streamed = follow(payload.format, payload.brief)(payload.stream).usage
    whole = wire.read_whole(payload.whole, msgspec.structs.replace(payload.brief, stream=False)).usage
    assert streamed == whole
