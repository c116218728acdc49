"""No secret and no prompt is left anywhere by whatever an upstream does: in no file, log line or table,
and no secret in what a client is told (security.md, 1, 3, 7 to 10)."""

from __future__ import annotations

import asyncio
import base64
import logging
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection

from aether.redaction import LineFormatter
from consumers.models import ApiKey, ApiKeyState
from providers.models import Deployment, EndpointState, KeyState, Model, Provider
from simulator.faults import FAULTS
from tests.counts import count
from tests.relay.asks import ASKS, Ask
from tests.relay.harness import House, house
from usage.bodies import BodyStore
from usage.models import Attempt, Body, DeadLetter, Record
from usage.recorder import Recorder
from usage.states import state_table

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ("sk-canary-upstream-first-0123456789", "Canary~Upstream.Second/42")
"""One that tells itself by its shape, and one that only its value gives away."""
PROMPT = "xylophone canary of the prompt"
ANSWER = "No model was asked"
"""Stands in what the simulator answers."""
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
    seen: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"{self.fault}, {self.ask}"


class Logged(logging.Handler):
    """Every line that is logged at whatever level, as it would be without and with the redaction."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.plain: list[str] = []
        self.redacted: list[str] = []
        self._line = LineFormatter()

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore")):  # the test's own client
            self.plain.append(f"{record.name} {self.format(record)}")
            self.redacted.append(self._line.format(record))


@contextmanager
def logged() -> Iterator[Logged]:
    """Catches all lines. To be entered when Django is set up: that takes the root's handlers away."""
    handler, root = Logged(), logging.getLogger()
    quiet = [each for each in (logging.getLogger(name) for name in ("uvicorn", "django")) if each.level]
    before = [(each, each.level) for each in (root, *quiet)]
    for each, _ in before:
        each.setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for each, level in before:
            each.setLevel(level)


def name_of(fault: str) -> str:
    return f"canary-{fault}"


def prepare(_: str) -> None:
    """A model for each fault, whose errors repeat the credential, a host and a balance."""
    provider = Provider.objects.get()
    for fault in FAULTS:
        model = Model.objects.create(name=name_of(fault), price_input=1, price_output=2)
        play = f"sim.leak.fault-{fault}{PACE.get(fault, '')}"
        Deployment.objects.create(model=model, provider=provider, upstream_name=play)
    ApiKey.objects.update(recording="headers")


async def play(each: House, fault: str, ask: Ask) -> Exchange:
    """One request through a fault; a Gemini client puts its API key into the address, as some do."""
    body = ask.body(name_of(fault))
    if ask.format == "gemini":
        body["contents"][0]["parts"][0]["text"] = PROMPT
    elif ask.format == "openai_responses":
        body["input"] = PROMPT
    else:
        body["messages"][0]["content"] = PROMPT
    headers = {**ask.headers, "user-agent": "canary"}
    params = {"key": each.secret} if ask.format == "gemini" else {}
    url = httpx.URL(ask.path(name_of(fault))).copy_merge_params(params)
    seen = b""
    async with each.http.stream("POST", url, json=body, headers=headers) as answer:
        seen += repr(answer.headers.raw).encode()
        try:
            async for chunk in answer.aiter_raw():
                seen += chunk
        except httpx.HTTPError:
            pass  # cut off, as it may be
    return Exchange(fault, ask, seen)


def chosen() -> list[tuple[str, Ask]]:
    """Every fault in every way to ask; of these only a few for each fault where less is asked for, other ones
    for the next fault."""
    many = count(2, len(ASKS))
    pairs = []
    for place, fault in enumerate(FAULTS):
        pairs += [(fault, ASKS[(place * many + number) % len(ASKS)]) for number in range(many)]
    return pairs


async def played(each: House) -> list[Exchange]:
    """All of them, some at a time."""
    turn = asyncio.Semaphore(TOGETHER)

    async def one(fault: str, ask: Ask) -> Exchange:
        async with turn:
            return await play(each, fault, ask)

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


def tables() -> dict[str, str]:
    """Every table of the database as text, ciphertexts aside."""
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            hidden = {number for number, column in enumerate(cursor.description) if column[0] == "sealed"}
            found[table] = "\n".join(
                repr([value for number, value in enumerate(row) if number not in hidden])
                for row in cursor.fetchall()
            )
    return found


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def modes(root: Path) -> dict[str, str]:
    """What is readable by more than its owner."""
    paths = [root, *root.rglob("*")]
    wanted = {path: 0o700 if path.is_dir() else 0o600 for path in paths}
    return {
        str(path): oct(mode) for path in paths if (mode := stat.S_IMODE(path.stat().st_mode)) != wanted[path]
    }


def hits(texts: dict[str, str], canaries: dict[str, str]) -> list[tuple[str, str, str]]:
    """Where a canary sits: place, its name, and what stands around it."""
    return [
        (place, name, text[max(0, at - 60) : at + 100])
        for place, text in texts.items()
        for name, canary in canaries.items()
        if (at := text.find(canary)) >= 0
    ]


def secrets_of(each: House) -> dict[str, str]:
    return {
        "first upstream key": KEYS[0],
        "second upstream key": KEYS[1],
        "API key": each.secret,
        "pepper": settings.AETHER_KEY_PEPPER.decode(),
        "encryption key": base64.b64encode(next(iter(settings.AETHER_ENCRYPTION_KEYS.values()))).decode(),
    }


def text_of(content: bytes) -> str:
    return content.decode("utf-8", "replace")


async def test_no_fault_leaves_a_secret_or_a_prompt_behind(door: str, data_dir: Path) -> None:
    async with house(door, keys=KEYS, prepare=prepare, knobs=IMPATIENT) as each:
        secrets = secrets_of(each)
        private = {**secrets, "prompt": PROMPT, "answer": ANSWER}
        with logged() as lines:
            exchanges = await played(each)
            await each.idle(within=10)
        address = {"address of the upstream": f"127.0.0.1:{each.vendor.port}", "a host it told": "10.0.0.7"}
        for exchange in exchanges:
            told = {str(exchange): text_of(exchange.seen)}
            assert hits(told, {**secrets, **address, "prompt": PROMPT}) == []
        assert {seen.secret for seen in each.vendor.requests} == set(KEYS)
    left = files(data_dir)
    assert any(name.startswith("journals/") for name in left)
    assert any(name.startswith("bodies/") for name in left)
    assert hits({name: text_of(content) for name, content in left.items()}, private) == []
    assert modes(data_dir) == {}
    await sync_to_async(applied)(data_dir)
    assert hits(await sync_to_async(tables)(), private) == []
    assert await Record.objects.acount() == len(exchanges)
    assert await Body.objects.acount() == len(exchanges)
    assert await DeadLetter.objects.acount() == 0
    assert await Attempt.objects.filter(error_text__contains="[removed]").aexists()
    assert await KeyState.objects.exclude(last_error="").aexists()
    assert any("canary-401" in line for line in lines.plain)
    assert hits({"log": "\n".join(lines.plain)}, private) == []
    assert hits({"log": "\n".join(lines.redacted)}, private) == []


async def test_the_canaries_are_found_where_they_are(door: str, data_dir: Path) -> None:
    """The net catches: a body that is asked for holds the prompt, in its file and in its row's neighbours."""
    async with house(door, keys=KEYS, prepare=prepare) as each:
        await ApiKey.objects.aupdate(recording="full")
        exchange = await play(each, "pings", ASKS[0])
        assert hits({"": text_of(exchange.seen)}, {"answer": ANSWER})
        await each.idle()
    texts = {name: text_of(content) for name, content in files(data_dir).items()}
    assert {place.partition("/")[0] for place, _, _ in hits(texts, {"prompt": PROMPT})} == {"bodies"}
    assert hits(await sync_to_async(tables)(), {"key": "sim.leak.fault-pings"})
    (data_dir / "open").write_text(PROMPT)
    assert list(modes(data_dir)) == [str(data_dir / "open")]
