"""Two servers, a data directory each, on one PostgreSQL and one Redis: what one learns the other goes by."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.killer import SECRET, Template, Victim, template, victim
from tests.programs import manage
from tests.waiting import until

OBEYED = 2.5
"""Seconds after which each process has obeyed a change. Nothing else tells when."""
pytestmark = pytest.mark.xdist_group("kill")
ASK = """
from providers import states
from providers.models import Key
states.{action}([Key.objects.get(name="{key}")], {until}by="root", reason="")
"""


@pytest.fixture
def on_postgres(
    postgres: str, tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Template]:
    """A configured PostgreSQL, whatever the other tests run on."""
    monkeypatch.setenv("AETHER_TEST_DATABASE_URL", postgres)
    (tmp_path / "made").mkdir()
    with template(tmp_path / "made", migrated, {"quick": "sim.chunks-2"}) as each:
        yield each


@contextmanager
def beside(one: Victim, made: Template, folder: Path) -> Iterator[Victim]:
    """A second server on the first one's database and Redis, with a data directory of its own."""
    shutil.copytree(made.folder, folder / "home")
    with closing(Victim(folder, {**one.env, "AETHER_DATA_DIR": str(folder / "home")})) as other:
        other.start()
        yield other


def ask(server: Victim) -> None:
    body = {"model": "quick", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {SECRET}"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text


def keys(server: Victim) -> list[str]:
    """The keys that served all requests so far, by the database."""
    return [name for (name,) in server.tuples("SELECT key_name FROM usage_record ORDER BY request_id")]


def served_by(server: Victim, number: int) -> str:
    """The key of the request that was the `number`-th of both servers."""
    until(lambda: len(keys(server)) >= number, what="the record")
    return keys(server)[number - 1]


def asked(server: Victim, action: str, key: str) -> None:
    """Has an operator act on a key."""
    text = ASK.format(action=action, key=key, until="None, " if action == "park" else "")
    ended = manage("shell", "-v0", "-c", text, env=server.env)
    assert ended.returncode == 0, ended.stderr


def test_a_session_that_moved_at_one_server_has_moved_at_the_other(
    on_postgres: Template, redis: str, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    with (
        victim(on_postgres, tmp_path, REDIS_URL=redis) as one,
        beside(one, on_postgres, tmp_path / "second") as two,
    ):
        ask(two)
        usual = served_by(two, 1)
        asked(one, "park", usual)
        until(partial(moved, one, usual), what="the session on another key", seconds=20)
        asked(one, "recover", usual)
        time.sleep(OBEYED)
        before = len(keys(one))
        for number in range(1, 5):
            ask((two, one)[number % 2])
            assert served_by(one, before + number) != usual
        assert one.end() == two.end() == 0


def moved(server: Victim, usual: str) -> bool:
    """Whether a request that is sent now goes to another key than usual."""
    before = len(keys(server))
    ask(server)
    return served_by(server, before + 1) != usual
