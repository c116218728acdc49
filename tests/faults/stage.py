"""Where every fault is played: three vendors in a row with a key each, and what must be seen afterwards by
the client, in the record, in its attempts, and in the health of keys and endpoints."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx
from asgiref.sync import sync_to_async

from providers.models import Deployment, Endpoint, Key, Model, Provider
from relay.breaker import Rules
from relay.errors import SOON as MOST_SECONDS
from simulator.compose import TEXT
from tests.endings.kit import MICRO, tasks, uploads
from tests.relay.asks import STREAMED, WHOLE, Ask, ends, events, openers, text
from tests.relay.harness import BASES, House, house
from wire.types import GENERATE

NAMES = ("vendor", "second", "third")
SECRETS = ("sk-vendor-first-key-1", "sk-second-key-number-1", "sk-third-key-number-1")
NEVER = Rules(in_a_row=1_000, least=1_000)
"""Breakers that count, and do not open."""
SOON, LATER = 0.3, 1.5
"""Seconds of patience with the first vendor, and with the others: enough to answer on a busy machine."""
SIZES = "chunks-8.size-40.in-100.out-50"
"""An answer whose tokens, where they are counted, are more than what any vendor has told before its end."""

FAILED = "The upstream failed to answer."
LATE = "The upstream took too long to answer."
SHUT = "The upstream could not serve the request."
FULL = "The upstream is overloaded right now."
LIMITED = "Every upstream for this model is rate limited right now."
ABSENT = "No upstream serves this model or this kind of request right now."

TOLD: dict[str, tuple[tuple[int, str, str | None], tuple[int, str], tuple[int, str]]] = {
    # ours -> OpenAI's status, type and code; Anthropic's status and type; Gemini's code and status
    "upstream_error": ((502, "upstream_error", "upstream_error"), (502, "api_error"), (502, "UNAVAILABLE")),
    "timeout": ((504, "timeout", "timeout"), (504, "timeout_error"), (504, "DEADLINE_EXCEEDED")),
    "overloaded": ((503, "overloaded", "overloaded"), (529, "overloaded_error"), (503, "UNAVAILABLE")),
    "unavailable": ((503, "service_unavailable", "unavailable"), (503, "api_error"), (503, "UNAVAILABLE")),
    "rate_limited": (
        (429, "rate_limit_exceeded", "rate_limit_exceeded"), (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
    ),
    "model_not_found": (
        (404, "invalid_request_error", "model_not_found"), (404, "not_found_error"), (404, "NOT_FOUND"),
    ),
    "invalid_request": (
        (400, "invalid_request_error", None), (400, "invalid_request_error"), (400, "INVALID_ARGUMENT"),
    ),
    "request_timeout": (
        (408, "timeout", "request_timeout"), (408, "timeout_error"), (408, "DEADLINE_EXCEEDED"),
    ),
}  # fmt: skip
IN_RESPONSES = {"rate_limited": "rate_limit_exceeded"}
"""Codes of `response.failed`, `server_error` where none is named."""


class Held(NamedTuple):
    """What is held against a vendor's key and endpoint: failures counted, whole seconds of a pause or of a
    model that is not asked for there."""

    key: int = 0
    endpoint: int = 0
    cooling: int = 0
    key_parked: int = 0
    endpoint_parked: int = 0


NOTHING = Held()
COUNTED = Held(key=1, endpoint=1)
ENDPOINT = Held(endpoint=1)
OUT = Held(cooling=600)
KEY_PARKED = Held(key_parked=300)
ENDPOINT_PARKED = Held(endpoint_parked=300)


def cooling(seconds: int) -> Held:
    """A key that is left alone for so long."""
    return Held(cooling=seconds)


@dataclass
class Stage:
    """The relay, its vendors, and the places where health keeps them."""

    house: House
    keys: tuple[int, ...]
    endpoints: dict[tuple[str, str], int]
    """By vendor and format."""
    model: int

    def held(self, ask: Ask) -> list[Held]:
        """What is held against each vendor now, as a request in this format meets it."""
        health, now = self.house.engine.health, time.monotonic()
        found = []
        for name, key in zip(NAMES, self.keys, strict=True):
            endpoint = self.endpoints[name, ask.format]
            parts = health.keys.get(key), health.endpoints.get(endpoint)
            pairs = (("key", key, self.model, GENERATE), ("endpoint", endpoint, self.model, GENERATE))
            parked = [math.ceil(health.parked.get(pair, now) - now) for pair in pairs]
            pause = max((part.cooling_until - now for part in parts if part), default=0.0)
            counts = [part.in_a_row if part else 0 for part in parts]
            found.append(Held._make([*counts, math.ceil(max(0.0, pause)), *parked]))
        return found

    def forgive(self) -> None:
        """As if nothing had been asked yet, and the vendors had nothing to play."""
        self.house.afresh()
        self.house.vendor.reset()

    def final(self, answer_id: str) -> dict[str, Any]:
        """The final line of one request."""
        (found,) = [final for final in self.house.journal() if final["record"]["request_id"] == answer_id]
        return found


def three(url: str) -> None:
    """Two more vendors behind the first, each with endpoints of its own and one key."""
    for place, (name, secret) in enumerate(zip(NAMES[1:], SECRETS[1:], strict=True), 1):
        provider = Provider.objects.create(name=name, priority=200 + place)
        for form, base in BASES.items():
            Endpoint.objects.create(provider=provider, format=form, base_url=url + base, allow_private=True)
        key = Key(provider=provider, name=f"{name}-key")
        key.set_secret(secret)
        key.save()
        Deployment.objects.create(model=Model.objects.get(), provider=provider, upstream_name="sim")


def impatient(_url: str) -> None:
    """Gives up who is silent; the first vendor sooner than those that are asked after it."""
    waits = ("first_byte_timeout", "first_event_timeout", "idle_timeout")
    Endpoint.objects.update(**dict.fromkeys(waits, LATER))
    Endpoint.objects.filter(provider__name=NAMES[0]).update(**dict.fromkeys(waits, SOON))


def _places() -> tuple[tuple[int, ...], dict[tuple[str, str], int], int]:
    keys = [Key.objects.get(provider__name=name).pk for name in NAMES]
    endpoints = {(each.provider.name, each.format): each.pk for each in Endpoint.objects.select_related()}
    return tuple(keys), endpoints, Model.objects.get().pk


@asynccontextmanager
async def stage(
    door: str,
    *,
    knobs: dict[str, Any] | None = None,
    prepare: Callable[[str], None] | None = None,
    rules: Rules = NEVER,
) -> AsyncIterator[Stage]:
    """A relay with three vendors. It must be found at the end as it was before: nothing under way, no slot,
    connection, task, memory or file kept."""

    def fill(url: str) -> None:
        three(url)
        if prepare is not None:
            prepare(url)

    async with house(door, knobs=knobs, prepare=fill, rules=rules) as each:
        await each.http.get("/v1/models")
        before = tasks()
        yield Stage(each, *await sync_to_async(_places)())
        await each.idle()
        async with asyncio.timeout(5):
            while left := tasks() - before:
                await asyncio.wait(left, timeout=0.1)
        assert uploads() == []


# What the client is told
# ------------------------------------------------------------------------------------------------------


def status_of(ask: Ask, code: str) -> int:
    """The status by which a format tells a fault."""
    return TOLD[code][_family(ask)][0]


def _family(ask: Ask) -> int:
    return {"anthropic": 1, "gemini": 2}.get(ask.format, 0)


def envelope(ask: Ask, code: str, said: str, request_id: str) -> dict[str, Any]:
    """The whole body, or event, by which a format tells a fault; Responses has another one in a stream."""
    match ask.format:
        case "anthropic":
            _, kind = TOLD[code][1]
            return {"type": "error", "error": {"type": kind, "message": said}, "request_id": request_id}
        case "gemini":
            status, name = TOLD[code][2]
            return {"error": {"code": status, "message": said, "status": name}}
        case _:
            _, kind, word = TOLD[code][0]
            return {"error": {"message": said, "type": kind, "param": None, "code": word}}


def assert_refused(ask: Ask, answer: httpx.Response, code: str, said: str, wait: int | None) -> None:
    """A refusal before the first byte: status, headers and body, to the last field. `wait` is the Retry-After
    that vendors gave, or promised by their own."""
    told = answer.headers["x-request-id"]
    assert answer.status_code == status_of(ask, code)
    assert answer.json() == envelope(ask, code, said, told)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "location" not in answer.headers
    if wait is None and code in ("overloaded", "unavailable"):  # whoever is not kept out is back soon
        assert 1 <= int(answer.headers["retry-after"]) <= MOST_SECONDS
    else:
        assert answer.headers.get("retry-after") == (None if wait is None else str(wait))


def assert_broken(ask: Ask, answer: httpx.Response, code: str, said: str) -> str:
    """A stream that was begun and is told to have failed, and not to have ended. Returns its text."""
    told = answer.headers["x-request-id"]
    assert answer.status_code == 200
    if ask.array:
        *values, last = json.loads(answer.text)
        name = ""
    else:
        *before, (name, last) = events(answer.text)
        values = [value for _, value in before]
    assert "[DONE]" not in values
    assert not any(_is_end(ask, value) for value in values)
    if ask.format == "openai_responses":
        assert (name, last["type"]) == ("response.failed", "response.failed")
        assert last["sequence_number"] == len(values)
        response = last["response"]
        assert (response["status"], response["object"]) == ("failed", "response")
        assert response["error"] == {"code": IN_RESPONSES.get(code, "server_error"), "message": said}
    else:
        assert name == ("error" if ask.format == "anthropic" else "")
        assert last == envelope(ask, code, said, told)
    return text(ask, json.dumps(values) if ask.array else _without_last(answer.text))


def _is_end(ask: Ask, value: Any) -> bool:
    match ask.format:
        case "openai_responses":
            return value["type"] in ("response.completed", "response.incomplete")
        case "anthropic":
            return bool(value["type"] == "message_stop")
        case "gemini":
            return "finishReason" in value["candidates"][0]
        case _:
            return False


def _without_last(body: str) -> str:
    return body[: body.rstrip().rindex("\n\n") + 2]


def assert_clean(ask: Ask, answer: httpx.Response) -> None:
    """One whole answer, as if nothing had been."""
    assert answer.status_code == 200
    assert text(ask, answer.text) == TEXT
    assert openers(ask, answer.text) == 1
    assert ends(ask, answer.text)


# What is written down
# ------------------------------------------------------------------------------------------------------


def assert_nothing_billed(final: dict[str, Any]) -> None:
    """No token and no cost, neither the consumer's nor the operator's."""
    for row in (final["record"], *final["attempts"]):
        assert row["input_tokens"] == row["output_tokens"] == 0
        assert row["list_cost"] == row["own_cost"] == 0


def assert_billed(record: dict[str, Any], input_tokens: int, output_tokens: int) -> None:
    """These tokens, at a dollar and two per million."""
    assert (record["input_tokens"], record["output_tokens"]) == (input_tokens, output_tokens)
    assert record["list_cost"] == (input_tokens + 2 * output_tokens) * MICRO


def asks_of(*, streamed: bool | None) -> tuple[Ask, ...]:
    """Every way to ask, or the whole or streamed ones of them."""
    return (*WHOLE, *STREAMED) if streamed is None else STREAMED if streamed else WHOLE
