"""What a request costs in memory, measured at the process of a real server: a long stream nothing, a large
body little more than the two copies that are needed, and all of it is given back (security.md, 25 and 28)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import pytest

from tests.counts import count
from tests.endings.kit import FORM, form
from tests.killer import SECRET, Template, Victim, template, victim
from tests.rude import rude

pytestmark = pytest.mark.xdist_group("memory")

MB = 1_000_000
EVENT = 50_000
STREAM = count(10, 100) * MB
BODY = count(8, 20) * MB
PLAYS = {"short": "sim", "long": f"sim.chunks-{STREAM // EVENT}.size-{EVENT}"}
STREAM_BOUND = 20 * MB
"""What a stream may add, however long it is."""
SLACK = 4 * MB
"""What a body may cost beside twice itself: a fifth of 20 MB."""
RESERVE = 4 * MB
"""What a process may add for reasons of its own: arenas of threads, the journal, the recorder's pipe."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Template]:
    """A configured database."""
    with template(tmp_path_factory.mktemp("memory"), migrated, PLAYS) as each:
        yield each


@pytest.fixture(scope="module")
def started(made: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Victim]]:
    """Gives a running server behind a door, warm; each is started once, whatever the tests' order."""
    with ExitStack() as stack:

        @cache
        def start(door: str) -> Victim:
            each = stack.enter_context(victim(made, tmp_path_factory.mktemp(door), RELAY_DOOR=door))
            for _ in range(20):
                answer = ask(each, json_body(10_000))
                assert answer.status_code == 200, answer.text
            return each

        yield start


@pytest.fixture(params=["asgi", "django"])
def server(request: pytest.FixtureRequest, started: Callable[[str], Victim]) -> Victim:
    """A running server behind each of the doors."""
    return started(str(request.param))


@dataclass
class Memory:
    """A process's resident memory in bytes, and its peak since it was last looked at."""

    pid: int

    def now(self) -> int:
        return self._told("VmRSS")

    def peak(self) -> int:
        return self._told("VmHWM")

    def reset(self) -> int:
        """Forgets the peak; the memory of this moment."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.now()

    def _told(self, name: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise LookupError(name)


def ask(server: Victim, body: bytes, content_type: str = "application/json") -> httpx.Response:
    path = "/v1/chat/completions" if content_type == "application/json" else "/v1/audio/transcriptions"
    headers = {"authorization": f"Bearer {SECRET}", "content-type": content_type}
    return httpx.post(server.url + path, content=body, headers=headers, timeout=60, trust_env=False)


def json_body(size: int, letter: str = "x") -> bytes:
    """A chat request of about this many bytes, in which the model's name stands last."""
    text = letter * (size // len(letter.encode()))
    messages = [{"role": "user", "content": text}]
    return json.dumps({"messages": messages, "model": "short"}, ensure_ascii=False).encode()


@pytest.mark.parametrize("pause", [0.0, 0.005], ids=["quick", "slow"])
async def test_a_long_stream_is_flat_in_memory(
    server: Victim, pause: float, record_property: Callable[[str, object], None]
) -> None:
    memory = Memory(server.process.pid)
    before = memory.reset()
    async with rude(server.url) as client:
        asked = {"model": "long", "stream": True, "messages": [{"role": "user", "content": "x"}]}
        await client.ask("/v1/chat/completions", asked, {"authorization": f"Bearer {SECRET}"})
        assert await client.head() == 200
        size, last = 0, b""
        while piece := await client.piece():
            size, last = size + len(piece), piece
            client.heard.body = b""
            if pause:
                await asyncio.sleep(pause)
    assert size > STREAM
    assert last.endswith(b"data: [DONE]\n\n")
    grown = memory.peak() - before
    record_property("measured", f"{size / MB:.0f} MB streamed: peak + {grown / MB:.1f} MB")
    assert grown < STREAM_BOUND


def bodies() -> Iterator[tuple[str, bytes, str]]:
    """What differs in how it is read: name, body, content type."""
    yield "ASCII", json_body(BODY), "application/json"
    yield "Chinese", json_body(BODY, "\u4f60"), "application/json"
    yield (
        "one emoji",
        json_body(BODY).replace(b"xx", "\U0001f600".encode(), 1),
        "application/json",
    )
    escaped = json_body(BODY, "\\ud83d\\ude00").replace(b"\\\\u", b"\\u")
    yield "escapes", escaped, "application/json"
    turns = [{"role": "user", "content": [{"type": "text", "text": "x" * 2000}]}] * (BODY // 2050)
    yield "many messages", json.dumps({"messages": turns, "model": "short"}).encode(), "application/json"
    yield "form", form(BODY, "short"), FORM["content-type"]


def test_a_large_body_costs_twice_itself_and_is_given_back(
    server: Victim, record_property: Callable[[str, object], None]
) -> None:
    memory, told = Memory(server.process.pid), []
    for kind, body, content_type in bodies():
        costs, after = [], []
        for _ in range(count(2, 50)):
            before = memory.reset()
            answer = ask(server, body, content_type)
            assert answer.status_code == 200, answer.text
            costs.append((memory.peak() - before) / len(body))
            after.append(memory.now())
        growth = after[-1] - after[len(after) // 4]
        told.append(f"{kind} {max(costs):.2f} times itself and {growth / MB:+.1f} MB after all")
        assert max(costs) <= 2 + SLACK / len(body), (kind, costs)
        assert growth < RESERVE, (kind, after)
    record_property("measured", f"bodies of {BODY // MB} MB: {', '.join(told)}")
