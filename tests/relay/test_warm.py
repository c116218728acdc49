"""A warm request asks no database at either door, and no thread at the bare one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.current_thread_executor import CurrentThreadExecutor
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from relay import engine
from tests.endings.kit import CHAT, DIALECTS, Dialect
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)
modes = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
ROUNDS = 3


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose own jobs wait: what is seen now is the requests' doing."""
    for name in ("POLL", "PATROL", "SYNC", "USED"):
        monkeypatch.setattr(engine, name, 3600)


class Counted:
    """Calls of some methods, from whatever thread, while it counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *methods: tuple[type, str]) -> None:
        self.calls: list[str] = []
        self.counting = False
        for owner, name in methods:
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name), f"{owner.__name__}.{name}"))

    def _watched(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            if self.counting:
                self.calls.append(f"{name}{args[1:2]}")
            return method(*args, **kwargs)

        return watched


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(
        monkeypatch,
        (CursorWrapper, "execute"),
        (CursorWrapper, "executemany"),
        (BaseDatabaseWrapper, "connect"),
    )


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(
        monkeypatch,
        (ThreadPoolExecutor, "submit"),
        (CurrentThreadExecutor, "submit"),
        (threading.Thread, "start"),
    )


async def served(each: House, dialect: Dialect, *, stream: bool) -> None:
    """One request, to its end."""
    path, body = dialect.path, dict(dialect.body)
    if not stream:
        body.pop("stream", None)
        path = path.partition("?")[0].replace(":streamGenerateContent", ":generateContent")
    answer = await each.http.post(path, json=body, headers=dict(dialect.headers))
    assert answer.status_code == 200
    assert (dialect.end in answer.content) is stream or dialect.name == "gemini"
    await each.idle()


async def warm(each: House, dialect: Dialect, *, stream: bool, counted: Counted) -> list[str]:
    """What was called for requests that follow a first one of their kind."""
    await served(each, dialect, stream=stream)
    await asyncio.sleep(0.05)
    counted.counting = True
    for _ in range(ROUNDS):
        await served(each, dialect, stream=stream)
    counted.counting = False
    return counted.calls


@modes
@pytest.mark.usefixtures("quiet")
async def test_a_warm_request_asks_the_database_nothing(door: str, stream: bool, queries: Counted) -> None:
    async with house(door) as each:
        for dialect in DIALECTS.values():
            assert await warm(each, dialect, stream=stream, counted=queries) == []
        assert len(each.journal()) == len(DIALECTS) * (ROUNDS + 1)


@modes
@pytest.mark.usefixtures("quiet")
async def test_a_warm_request_at_the_bare_door_visits_no_thread(stream: bool, hops: Counted) -> None:
    async with house("asgi") as each:
        for dialect in DIALECTS.values():
            assert await warm(each, dialect, stream=stream, counted=hops) == []


@pytest.mark.usefixtures("quiet")
async def test_the_counters_do_count(queries: Counted, hops: Counted) -> None:
    async with house("asgi") as each:
        queries.counting = hops.counting = True
        await served(each, CHAT, stream=True)  # cold: it looks its API key up
        assert queries.calls
        assert hops.calls


@pytest.mark.usefixtures("quiet")
async def test_a_known_bad_key_is_not_looked_up_again(door: str, queries: Counted) -> None:
    async with house(door) as each:
        wrong = {"x-api-key": each.secret[:-4] + "AAAA"}
        first = await each.http.post(CHAT.path, json=CHAT.body, headers=wrong)
        queries.counting = True
        again = await each.http.post(CHAT.path, json=CHAT.body, headers=wrong)
        assert first.status_code == again.status_code == 401
        assert queries.calls == []


@pytest.mark.usefixtures("quiet")
async def test_refused_requests_ask_the_database_nothing(door: str, queries: Counted) -> None:
    async with house(door) as each:
        await served(each, CHAT, stream=True)
        queries.counting = True
        bodies: list[Any] = [{**CHAT.body, "model": "nobody"}, {"model": "sim"}, []]
        for body in bodies:
            await each.http.post(CHAT.path, json=body)
        each.vendor.script("fault-500")
        assert (await each.http.post(CHAT.path, json=CHAT.body)).status_code == 502
        assert queries.calls == []
