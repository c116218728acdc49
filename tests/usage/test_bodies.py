"""usage/bodies.py: bodies travel from worker to recorder in files, bounded on the way."""

from __future__ import annotations

import os
import stat
import threading
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.usage.journals import START, name
from usage import bodies as bodies_module
from usage.bodies import BodyQueue, BodyStore, Recorded, unpack, write_file
from usage.models import Body

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@pytest.fixture
def root(data_dir: Path) -> Path:
    return data_dir / "bodies"


def store(root: Path, cap_bytes: int = 1_000_000) -> None:
    waiting = BodyStore(root, cap_bytes=cap_bytes)
    while waiting.store(START):
        pass


def test_bodies_come_out_as_they_went_in(root: Path) -> None:
    queue = BodyQueue(root, queue_bytes=1_000_000)
    recorded = Recorded(
        name(1),
        START + 5_000,
        client_request_headers={"content-type": "application/json", "x-nul": "a\0b"},
        request_body=b'{"model":"fast"}',
        response_body=bytes(range(256)) * 40,
    )
    assert queue.put(recorded)
    queue.close()
    (path,) = root.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    store(root)
    assert list(root.iterdir()) == []
    body = Body.objects.get()
    assert body.request_id == UUID(name(1))
    assert body.expires_at == datetime.fromtimestamp((START + 5_000) / 1000, UTC)
    assert body.client_request_headers == {"content-type": "application/json", "x-nul": "a\ufffdb"}
    assert unpack(body.request_body) == b'{"model":"fast"}'
    assert unpack(body.response_body) == bytes(range(256)) * 40
    assert len(bytes(body.response_body or b"")) < 2_000
    assert body.upstream_request_body is None
    assert unpack(None) is None
    assert not body.truncated


def test_a_body_beyond_the_cap_is_cut_and_says_so(root: Path) -> None:
    write_file(root, Recorded(name(1), START, request_body=b"x" * 11, response_body=b"y" * 10))
    store(root, cap_bytes=10)
    body = Body.objects.get()
    assert (unpack(body.request_body), unpack(body.response_body)) == (b"x" * 10, b"y" * 10)
    assert body.truncated


def test_a_full_queue_sheds_instead_of_waiting(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    real = write_file

    def slowly(*arguments: Any) -> Path:
        go_on.wait()
        return real(*arguments)

    monkeypatch.setattr(bodies_module, "write_file", slowly)
    queue = BodyQueue(root, queue_bytes=100)
    taken = [queue.put(Recorded(name(number), START, request_body=b"x" * 40)) for number in range(4)]
    assert taken == [True, True, False, False]
    go_on.set()
    queue.close()
    assert len(list(root.iterdir())) == 2
    assert queue.put(Recorded(name(9), START, request_body=b"x" * 100))
    queue.close()


def test_a_disk_that_takes_no_body_harms_nothing_else(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: Any) -> Path:
        raise OSError(28, "No space left on device")

    queue = BodyQueue(root, queue_bytes=100)
    with monkeypatch.context() as broken:
        broken.setattr(bodies_module, "write_file", refuse)
        assert queue.put(Recorded(name(1), START, request_body=b"x" * 90))
        queue.close()
    assert name(1) in caplog.text
    assert queue.put(Recorded(name(2), START, request_body=b"x" * 90))
    queue.close()
    assert len(list(root.iterdir())) == 1


def test_a_file_is_there_whole_or_not_at_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", refuse)
        with pytest.raises(OSError, match="space"):
            write_file(root, Recorded(name(1), START))
    assert list(root.iterdir()) == []


def test_what_is_no_body_is_set_aside_and_the_rest_stored(root: Path) -> None:
    root.mkdir()
    (root / f"{name(1)}.body").write_bytes(b"not ours")
    (root / f"{name(2)}.part").write_bytes(b"being written")
    write_file(root, Recorded(name(3), START, request_body=b"x"))
    store(root)
    assert Body.objects.get().request_id == UUID(name(3))
    assert sorted(path.suffix for path in root.iterdir()) == [".bad", ".part"]


def test_a_file_delivered_twice_makes_one_row(root: Path) -> None:
    for _ in range(2):
        write_file(root, Recorded(name(1), START, request_body=b"x"))
        store(root)
    assert Body.objects.count() == 1


def test_many_files_are_stored_a_few_at_a_time(root: Path) -> None:
    for number in range(40):
        write_file(root, Recorded(name(number), START, request_body=os.urandom(50)))
    waiting = BodyStore(root, cap_bytes=100)
    rounds = [waiting.store(START)]
    while rounds[-1]:
        rounds.append(waiting.store(START))
    assert len(rounds) == 3
    assert Body.objects.count() == 40


def test_without_a_directory_there_is_nothing_to_store(root: Path) -> None:
    assert BodyStore(root, cap_bytes=1).store(START) is False


def test_a_stored_body_is_plain_zlib() -> None:
    assert unpack(memoryview(zlib.compress(b"hello"))) == b"hello"
