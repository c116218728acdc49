"""A warm request asks no database, at either door, and hops to no thread at the bare one (architecture.md,
"State")."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from tests.relay.asks import ASKS, WHOLE, Ask
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)
NEVER = 3600.0


@dataclass
class Work:
    """What the process did off the event loop in a span, in whichever thread."""

    queries: list[str] = field(default_factory=list)
    connections: int = 0
    hops: list[str] = field(default_factory=list)


Watch = Callable[[], AbstractContextManager[Work]]


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Counts, within a span, every query and new connection of every thread, and everything that is handed to
    a thread: `run_in_executor`, `sync_to_async` and `to_thread` all end in `ThreadPoolExecutor.submit`. The
    engine's own jobs (the feed of changes, the journal's sync, checkpoints) are put off beyond the test's
    end, so that whatever is counted was done for a request."""
    for job in ("POLL", "SYNC", "PATROL", "USED"):
        monkeypatch.setattr(f"relay.engine.{job}", NEVER)

    @contextmanager
    def span() -> Any:
        work = Work()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CursorWrapper, "execute", told(CursorWrapper.execute, work.queries))
            patch.setattr(CursorWrapper, "executemany", told(CursorWrapper.executemany, work.queries))
            patch.setattr(ThreadPoolExecutor, "submit", told(ThreadPoolExecutor.submit, work.hops))
            patch.setattr(threading.Thread, "start", told(threading.Thread.start, work.hops))
            connect = BaseDatabaseWrapper.connect

            def connected(self: BaseDatabaseWrapper) -> None:
                work.connections += 1
                connect(self)

            patch.setattr(BaseDatabaseWrapper, "connect", connected)
            yield work

    return span


def told(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """`method`, noting each call with its first argument."""

    def noting(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(f"{method.__name__} {args[0] if args else self}")
        return method(self, *args, **options)

    return noting


async def answered(each: House, ask: Ask) -> None:
    answer = await ask.send(each)
    assert answer.status_code == 200
    await each.idle()


async def test_a_warm_request_asks_no_database_and_hops_to_no_thread(door: str, watch: Watch) -> None:
    async with house(door) as each:
        await answered(each, WHOLE[0])
        for ask in ASKS:
            with watch() as work:
                await answered(each, ask)
            assert (work.queries, work.connections) == ([], 0), str(ask)
            if door == "asgi":
                assert work.hops == [], str(ask)
        assert len(each.journal()) == len(ASKS) + 1


async def test_a_list_of_models_and_a_refused_model_ask_no_database_either(door: str, watch: Watch) -> None:
    async with house(door) as each:
        await answered(each, WHOLE[0])
        with watch() as work:
            assert (await each.http.get("/v1/models")).status_code == 200
            assert (await WHOLE[0].send(each, model="no-such-model")).status_code == 404
        assert (work.queries, work.connections) == ([], 0)
        assert door != "asgi" or work.hops == []


async def test_a_cold_request_asks_the_database_once_in_one_hop(door: str, watch: Watch) -> None:
    async with house(door) as each:
        with watch() as work:
            await answered(each, WHOLE[0])
        assert len(work.queries) == 1
        assert "digest" in work.queries[0]
        assert work.connections <= 1
        # The hop, and the thread that the pool may start for it; Django's door has hops of its own.
        assert len([hop for hop in work.hops if "Engine._connected" in hop]) == 1
        if door == "asgi":
            assert len([hop for hop in work.hops if hop.startswith("submit")]) == 1


async def test_a_known_bad_secret_asks_the_database_once_and_then_no_more(door: str, watch: Watch) -> None:
    async with house(door) as each:
        headers = {"x-api-key": "sk-aether-nobody-has-this-api-key-0000"}
        with watch() as first:
            assert (await WHOLE[0].send(each, headers=headers)).status_code == 401
        with watch() as second:
            assert (await WHOLE[0].send(each, headers=headers)).status_code == 401
        assert (len(first.queries), second.queries, second.connections) == (1, [], 0)


async def test_a_cookie_of_a_session_costs_no_query_and_prolongs_or_makes_no_session(
    door: str, watch: Watch
) -> None:
    """Django saves the session of every page that it serves; the relay's callers are no pages."""
    async with house(door) as each:
        await answered(each, WHOLE[0])
        session = SessionStore()
        await session.acreate()
        for key in (session.session_key, "an-unknown-session-key"):
            with watch() as work:
                answer = await WHOLE[0].send(
                    each, headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={key}"}
                )
                await each.idle()
            assert answer.status_code == 200
            assert (work.queries, work.connections) == ([], 0)
            assert "set-cookie" not in answer.headers
        assert await Session.objects.acount() == 1
