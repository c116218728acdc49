"""Requests of every kind against the pure core: no socket."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings, strategies as st

from simulator import routes
from simulator.core import Vendor
from simulator.options import BadOptionError, Options, parse
from simulator.play import Play
from tests.counts import count

HEADERS = [
    ("authorization", "Bearer sk-a"),
    ("x-api-key", "sk-a"),
    ("x-goog-api-key", "sk-a"),
    ("anthropic-version", "2023-06-01"),
]
PATHS = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1beta/models/sim:generateContent",
    "/v1beta/models/sim:streamGenerateContent",
    "/v1beta/models/sim:countTokens",
    "/v1beta/models/sim:embedContent",
    "/v1beta/models/sim:batchEmbedContents",
]
NAMES = [
    "model",
    "messages",
    "input",
    "contents",
    "content",
    "parts",
    "role",
    "text",
    "tools",
    "tool_choice",
    "function",
    "functionDeclarations",
    "generationConfig",
    "response_format",
    "max_tokens",
    "n",
    "stream",
    "prompt",
    "query",
    "documents",
    "top_n",
    "dimensions",
    "requests",
    "reasoning",
    "include",
    "type",
    "name",
    "parameters",
    "properties",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.sampled_from(["", "sim", "user", "tool", "a b"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


def answer(path: str, body: bytes, vendor: Vendor | None = None) -> Play:
    vendor = vendor or Vendor()
    return routes.answer(vendor, vendor.begin("POST", path, HEADERS), body)


@settings(max_examples=count(40, 1000), deadline=None)
@given(body=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8), path=st.sampled_from(PATHS))
def test_no_body_brings_it_down(body: dict[str, Any], path: str) -> None:
    play = answer(path, orjson.dumps({"model": "sim", **body}))
    assert play.status in (200, 400)
    assert all(isinstance(step, bytes) for step in play.steps)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"text"', b"[" * 2000, b'{"model": 5}', b"\xff"])
def test_a_body_that_is_no_request_is_refused(path: str, body: bytes) -> None:
    play = answer(path, body)
    assert play.status == 400
    (step,) = play.steps
    assert isinstance(step, bytes)
    assert orjson.loads(step)["error"]["message"]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_wants_a_secret(path: str) -> None:
    vendor = Vendor()
    assert routes.answer(vendor, vendor.begin("POST", path, []), b"{}").status == 401


def test_a_demo_keeps_every_wish_modest() -> None:
    greedy = parse("sim.chunks-1000000.wait-600000.delay-600000.cut-1.think-100000")
    assert greedy.modest() == Options(chunks=1000, wait=60_000, delay=60_000, cut=10, think=1000, plain=False)
    demo = Vendor(control=False)
    body = orjson.dumps({"model": "sim.chunks-5000", "messages": [], "stream": True})
    assert len(list(answer(PATHS[0], body, demo).steps)) == 1003


def test_text_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BadOptionError, match="more than"):
        parse("sim.chunks-1000000.size-1000000")
    with pytest.raises(BadOptionError, match="more than"):
        parse("sim.bytes-4000000000")
    assert parse("sim.fault-huge.bytes-4000000000").bytes == 4_000_000_000


@pytest.mark.parametrize("number", [17, 10**9])
def test_too_many_choices_are_refused(number: int) -> None:
    body = orjson.dumps({"model": "sim", "messages": [], "n": number})
    assert answer(PATHS[0], body).status == 400
