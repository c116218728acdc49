"""No secret and no prompt is left anywhere by whatever an upstream does: in no file, log line, table, page or
export, and no secret in what a client is told (security.md, 1, 3, 7 to 10)."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from asgiref.sync import sync_to_async

from consumers.models import ApiKey, ApiKeyState, Consumer
from providers.machine import EndpointState, KeyState
from providers.models import Deployment, Endpoint, Key, Model, Provider
from simulator.faults import FAULTS
from tests.counts import PROOF, count
from tests.endings.canaries import (
    ANSWER,
    BROUGHT,
    HEADERS,
    SAID,
    VENDOR,
    body,
    exports,
    files,
    hits,
    logged,
    pages,
    server_secrets,
    tables,
)
from tests.programs import environment, manage
from tests.relay.asks import ASKS, Ask
from tests.relay.harness import House, house
from usage.bodies import BodyStore
from usage.models import Attempt, Body, DeadLetter, Record
from usage.recorder import Recorder
from usage.states import state_table

KEYS = [secret for name, secret in VENDOR.items() if name.endswith("key")]
FORMATS: tuple[list[str], ...] = ([], [], ["anthropic"], ["gemini"])
"""Those that each of the KEYS is for; none: all."""
BOTH_WAYS = {"openai_chat": "", "openai_responses": "", "anthropic": "bearer", "gemini": "bearer"}
REFUSED = "sk-aether-canary-of-a-refused-api-key-0123456789"
PACE = {"drip": ".delay-0", "huge": ".bytes-300000", "gzip-bomb": ".bytes-3000000"}
"""Faults made small enough to be played hundreds of times."""
IMPATIENT = {
    "first_byte_timeout": 0.3, "whole_first_byte_timeout": 0.3, "first_event_timeout": 0.3,
    "idle_timeout": 0.3, "stream_total_timeout": 5.0, "whole_total_timeout": 1.0,
}  # fmt: skip
TOGETHER = 8


@dataclass(frozen=True)
class Exchange:
    """A fault in a format, and what the client saw of it."""

    fault: str
    ask: Ask
    status: int
    seen: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.fault}, {self.ask}"


def name_of(fault: str) -> str:
    return f"canary-{fault}"


def prepare(bearer: bool) -> Callable[[str], None]:
    """A model for each fault, whose errors repeat the credential, a host and a balance."""

    def fill(_: str) -> None:
        provider = Provider.objects.get()
        for fault in FAULTS:
            model = Model.objects.create(name=name_of(fault), price_input=1, price_output=2, conversion="off")
            play = f"sim.leak.fault-{fault}{PACE.get(fault, '')}"
            Deployment.objects.create(model=model, provider=provider, upstream_name=play)
        for secret, formats in zip(KEYS, FORMATS, strict=True):
            if formats:
                key = Key(provider=provider, name=f"for {formats[0]}", priority=-1, formats=formats)
                key.set_secret(secret)
                key.save()
        for endpoint in Endpoint.objects.all():
            endpoint.headers = {"x-team-token": VENDOR["an endpoint's extra header"]}
            endpoint.credential_style = BOTH_WAYS[endpoint.format] if bearer else ""
            endpoint.save()
        ApiKey.objects.update(recording="headers")

    return fill


async def play(each: House, fault: str, ask: Ask, query_key: str = "") -> Exchange:
    """One request through a fault; a Gemini client puts its API key into the address, as some do."""
    headers, seen = {**ask.headers, **HEADERS, "user-agent": "canary"}, b""
    url = httpx.URL(ask.path(name_of(fault)))
    request = each.http.build_request("POST", url, json=body(ask, name_of(fault)), headers=headers)
    if ask.format == "gemini" and query_key:
        del request.headers["x-api-key"]
        request.url = request.url.copy_merge_params({"key": query_key})
    answer = await each.http.send(request, stream=True)
    seen += repr(answer.headers.raw).encode()
    try:
        async for chunk in answer.aiter_raw():
            seen += chunk
    except httpx.HTTPError:
        pass  # cut off, as it may be
    finally:
        await answer.aclose()
    return Exchange(fault, ask, answer.status_code, seen.decode("utf-8", "replace"))


def chosen() -> list[tuple[str, Ask]]:
    """Every fault in every way to ask; of these only a few for each fault where less is asked for, other ones
    for the next fault."""
    many = count(2, len(ASKS))
    pairs = []
    for place, fault in enumerate(FAULTS):
        pairs += [(fault, ASKS[(place * many + number) % len(ASKS)]) for number in range(many)]
    return pairs


async def played(each: House, query_key: str) -> list[Exchange]:
    """All of them, some at a time."""
    turn = asyncio.Semaphore(TOGETHER)

    async def one(fault: str, ask: Ask) -> Exchange:
        async with turn:
            return await play(each, fault, ask, query_key)

    return await asyncio.gather(*(one(*pair) for pair in chosen()))


def applied(data_dir: Path) -> None:
    """Lets the recorder bring everything to the database."""
    recorder = Recorder(
        data_dir / "journals",
        keep_seconds=600,
        appliers={
            "key": state_table(KeyState, stamp="updated_at"),
            "endpoint": state_table(EndpointState, stamp="updated_at"),
            "api_key": state_table(ApiKeyState, stamp="last_used_at"),
        },
    )
    recorder.drain()
    recorder.close()
    store = BodyStore(data_dir / "bodies", cap_bytes=1 << 20)
    while store.store(int(time.time() * 1000)):
        pass


def modes(root: Path) -> dict[str, str]:
    """What is readable by more than its owner."""
    paths = [root, *root.rglob("*")]
    wanted = {path: 0o700 if path.is_dir() else 0o600 for path in paths}
    return {
        str(path): oct(mode) for path in paths if (mode := stat.S_IMODE(path.stat().st_mode)) != wanted[path]
    }


def second_api_key() -> str:
    """For the address of a Gemini client."""
    alice = Consumer.objects.get(name="alice")
    return ApiKey.issue(consumer=alice, name="in the address", recording="headers")[1]


def is_form_of_headers(place: str, name: str, _around: str) -> bool:
    """The one form in which an operator writes an endpoint's extra headers."""
    return name == "an endpoint's extra header" and "/providers/endpoint/" in place


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("bearer", [False, True][: count(1, 2)])
async def test_no_fault_leaves_a_secret_or_a_prompt_behind(
    door: str, bearer: bool, data_dir: Path, record_property: Callable[[str, object], None]
) -> None:
    with ExitStack() as stack:
        async with house(door, keys=KEYS[:2], prepare=prepare(bearer), knobs=IMPATIENT) as each:
            lines = stack.enter_context(logged())
            query_key = await sync_to_async(second_api_key)()
            secrets = (
                VENDOR | server_secrets() | {"API key": each.secret, "API key in the address": query_key}
            )
            secrets["refused API key"] = REFUSED
            private = secrets | SAID | BROUGHT | {"answer": ANSWER}
            assert len(private) >= 25
            exchanges = await played(each, query_key)
            for ask in ASKS:
                refused = await ask.send(
                    each, headers={"x-api-key": REFUSED, "authorization": f"Bearer {REFUSED}"}
                )
                assert refused.status_code == 401
                assert REFUSED not in refused.text
            await each.idle(within=10)
            address = {
                "address of the upstream": f"127.0.0.1:{each.vendor.port}",
                "a host it told": "10.0.0.7",
            }
            told = {f"{number} {exchange}": exchange.seen for number, exchange in enumerate(exchanges)}
            assert hits(told, secrets | address | BROUGHT) == []
            errors = {str(exchange): exchange.seen for exchange in exchanges if exchange.status >= 400}
            assert hits(errors, SAID) == []  # an answer of Responses repeats what it was asked
            assert {seen.secret for seen in each.vendor.requests} == set(KEYS)
        left = files(data_dir)
        assert {"journals", "bodies"} <= {name.partition("/")[0] for name in left}
        assert hits(left, private) == []
        assert modes(data_dir) == {}
        await sync_to_async(applied)(data_dir)
        assert hits(await sync_to_async(tables)(), private) == []
        shown: dict[str, str] = {}
        if PROOF or door == "asgi":  # what is shown does not depend on the door
            shown, private["session cookie"] = await sync_to_async(pages)()
            assert len(shown) > 50
            assert [hit for hit in hits(shown, private) if not is_form_of_headers(*hit)] == []
        assert hits(await sync_to_async(exports)(), private) == []
    assert await Record.objects.acount() == len(exchanges)
    assert await Body.objects.acount() == len(exchanges)
    assert await DeadLetter.objects.acount() == 0
    assert await Attempt.objects.filter(error_text__contains="[removed]").aexists()
    assert await KeyState.objects.exclude(last_error="").aexists()
    assert any("canary-401" in line for line in lines.plain)
    assert hits({"log": "\n".join(lines.plain)}, private) == []
    assert hits({"log": "\n".join(lines.redacted)}, private) == []
    record_property(
        "measured",
        f"{door}: {len(private)} canaries, {len(exchanges)} requests through {len(FAULTS)} faults, "
        f"{len(lines.plain)} log lines, {len(shown)} pages: 0 hits",
    )


@pytest.mark.django_db(transaction=True)
async def test_the_canaries_are_found_where_they_are(door: str, data_dir: Path) -> None:
    """The net catches: a body that is asked for holds the prompt, in its file and in its row's neighbours."""
    async with house(door, keys=KEYS[:2], prepare=prepare(bearer=False)) as each:
        await ApiKey.objects.aupdate(recording="full")
        exchange = await play(each, "pings", ASKS[0])
        assert hits({"": exchange.seen}, {"answer": ANSWER})
        (request,) = each.vendor.requests
        sent = {"": request.body.decode()}
        assert {name for _, name, _ in hits(sent, SAID)} == set(SAID)
        await each.idle()
    found = hits(files(data_dir), {"prompt": SAID["prompt"]})
    assert {place.partition("/")[0] for place, _, _ in found} == {"bodies"}
    assert hits(await sync_to_async(tables)(), {"key": "sim.leak.fault-pings"})
    (data_dir / "open").write_text(SAID["prompt"])
    assert list(modes(data_dir)) == [str(data_dir / "open")]


@pytest.mark.django_db(transaction=True)
async def test_a_vendor_that_repeats_an_extra_header_tells_it_to_nobody(door: str, data_dir: Path) -> None:
    """Some gateways want a second credential, and repeat it as they refuse it."""
    extra = VENDOR["an endpoint's extra header"]
    async with house(door, keys=KEYS[:2], prepare=prepare(bearer=False)) as each:
        for ask in ASKS:
            said = {
                "error": {"message": f"the token {extra} may not do this", "type": "invalid_request_error"}
            }
            for status in (400, 403, 500):
                head = f"HTTP/1.1 {status} No\r\ncontent-type: application/json\r\n"
                text = json.dumps(said).encode()
                raw = f"{head}content-length: {len(text)}\r\n\r\n".encode() + text
                each.vendor.script(raw=[raw])
                answer = await ask.send(each, name_of("401"))
                assert answer.status_code >= 400
                assert extra not in answer.text
        await each.idle()
    assert hits(files(data_dir), {"extra": extra}) == []


STARTS = [(["serve", "--port", "0"], "on"), (["recorder"], "off"), (["migrate"], "on"), (["serve"], "off")]


@pytest.mark.parametrize(("command", "debug"), STARTS[: count(1, 4)])
def test_a_start_that_fails_tells_no_password_of_database_or_redis(
    command: list[str], debug: str, tmp_path: Path
) -> None:
    canaries = {"database": "canary-of-the-database", "redis": "canary-of-redis", "secret key": "canary" * 10}
    ended = manage(
        *command,
        env=environment(
            tmp_path / "data",
            DATABASE_URL=f"postgres://aether:{canaries['database']}@127.0.0.1:1/aether",
            REDIS_URL=f"redis://:{canaries['redis']}@127.0.0.1:1/0",
            SECRET_KEY=canaries["secret key"],
            DEBUG=debug,
        ),
    )
    assert ended.returncode != 0
    assert ended.stderr
    assert hits({"said": ended.stdout + ended.stderr} | files(tmp_path), canaries) == []
