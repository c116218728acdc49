"""A simulator for each test, and the vendors' own clients speaking to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from simulator.server import Simulator


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
async def vendor() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def openai_client(vendor: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        api_key="sk-a", base_url=vendor.url + "/v1", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def anthropic_client(vendor: Simulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        api_key="sk-a", base_url=vendor.url, max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def gemini_client(vendor: Simulator) -> AsyncIterator[genai.client.AsyncClient]:
    client = genai.Client(api_key="sk-a", http_options=types.HttpOptions(base_url=vendor.url))
    try:
        async with client.aio as async_client:
            yield async_client
    finally:
        client.close()
