"""usage/journal.py and usage/segments.py: what a worker wrote is there, whatever happened to it."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.counts import count
from usage.framing import encode
from usage.journal import Journal
from usage.lines import COLUMNS
from usage.segments import Reader, forget_leftovers, is_dead, read_lines, segments, tell_progress, workers

Open = Callable[..., Journal]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
def opened(root: Path) -> Iterator[Open]:
    """Opens journals; closes them at the end."""
    journals: list[Journal] = []

    def make(**options: Any) -> Journal:
        journals.append(
            Journal(root, **{"worker": "w1", "clock": time.monotonic, "ballast_bytes": 4096, **options})
        )
        return journals[-1]

    yield make
    for journal in journals:
        journal.close()


def kinds(directory: Path) -> list[list[str]]:
    """The kinds of lines, segment by segment."""
    return [[line.kind for line in read_lines(path)] for path in segments(directory)]


def payloads(directory: Path, kind: str) -> list[Any]:
    return [line.payload() for path in segments(directory) for line in read_lines(path) if line.kind == kind]


def trouble(journal: Journal) -> str:
    """Read anew each time: the type checker takes an attribute for settled."""
    return journal.trouble


def state_of(journal: Journal) -> tuple[str, bool]:
    return journal.trouble, journal.dirty


def final(name: str) -> dict[str, Any]:
    return {"record": {"request_id": name}}


def test_lines_are_in_the_file_when_write_returns(opened: Open) -> None:
    journal = opened()
    journal.write("start", {"request_id": "a"})
    journal.write_many([("attempt", {"request_id": "a", "number": 1}), ("final", final("a"))])
    assert kinds(journal.directory) == [["head", "start", "attempt", "final"]]


def test_nobody_else_may_read_it(opened: Open, root: Path) -> None:
    os.umask(0)
    try:
        journal = opened()
    finally:
        os.umask(0o022)
    journal.write("start", {"request_id": "a"})
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE(journal.directory.stat().st_mode) == 0o700
    files = list(journal.directory.iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {path.name for path in files} == {"00000001.journal", "lock", "ballast"}


def test_a_worker_lives_while_it_holds_its_lock(opened: Open, root: Path) -> None:
    journal = opened()
    assert workers(root) == [journal.directory]
    assert not is_dead(journal.directory)
    journal.close()
    assert is_dead(journal.directory)
    journal.close()


def test_a_name_is_never_taken_twice(opened: Open) -> None:
    opened().close()
    with pytest.raises(FileExistsError):
        opened()


def test_a_directory_that_is_still_being_made_is_no_worker(root: Path) -> None:
    assert workers(root) == []
    (root / ".w2").mkdir(parents=True)
    assert workers(root) == []


def test_what_a_crash_left_half_made_is_cleared_away_after_a_while(opened: Open, root: Path) -> None:
    journal = opened()
    (root / ".w2").mkdir()
    (root / ".w2" / "lock").touch()
    (root / "body.part").touch()
    (root / ".w3").mkdir()
    for name in (".w2", "body.part"):
        os.utime(root / name, (1_000, 1_000))
    assert forget_leftovers(root, 2_000) == 2
    assert sorted(path.name for path in root.iterdir()) == [".w3", "w1"]
    assert journal.directory.exists()
    assert forget_leftovers(root / "nowhere", 2_000) == 0


def test_a_new_segment_begins_with_what_is_open(opened: Open) -> None:
    journal = opened(segment_bytes=600)
    journal.write("start", {"request_id": "long"})
    journal.write("attempt", {"request_id": "long", "number": 1})
    journal.write("checkpoint", {"request_id": "long", "number": 1, "text_bytes": 1})
    journal.write("checkpoint", {"request_id": "long", "number": 1, "text_bytes": 2})
    while len(segments(journal.directory)) < 3:
        journal.write("start", {"request_id": "short", "filler": "x" * 200})
        journal.write("final", final("short"))
    for path in segments(journal.directory)[1:]:
        head = list(read_lines(path))[:4]
        assert [line.kind for line in head] == ["head", "start", "attempt", "checkpoint"]
        assert head[1].payload()["request_id"] == "long"
        assert head[3].payload()["text_bytes"] == 2
    assert journal.open_requests == 1
    journal.write("final", final("long"))
    assert journal.open_requests == 0


def test_much_that_is_open_does_not_start_a_segment_with_each_line(opened: Open) -> None:
    journal = opened(segment_bytes=500)
    for number in range(50):
        journal.write("start", {"request_id": f"r{number}"})
    before = len(segments(journal.directory))
    journal.write("state", {"table": "key"})
    journal.write("state", {"table": "key"})
    assert len(segments(journal.directory)) - before <= 1


def test_lines_of_a_request_that_is_not_open_are_not_kept(opened: Open) -> None:
    journal = opened(segment_bytes=200)
    journal.write("final", final("a"))
    journal.write("amend", {"request_id": "a"})
    journal.write("checkpoint", {"request_id": "a", "number": 1})
    assert journal.open_requests == 0


def test_syncing_reaches_the_disk_once_for_many_lines(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = opened()
    journal.sync()
    synced.clear()
    assert state_of(journal) == ("", False)
    for number in range(10):
        journal.write("start", {"request_id": str(number)})
    assert state_of(journal) == ("", True)
    assert synced == []
    journal.sync()
    assert len(synced) == 1
    assert state_of(journal) == ("", False)


def test_a_segment_is_synced_even_if_another_has_begun(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(segment_bytes=100)
    journal.sync()
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for number in range(4):
        journal.write("state", {"table": "key", "id": number, "filler": "x" * 100})
    journal.sync()
    assert len(synced) == len(set(synced)) == len(segments(journal.directory))


def test_in_the_mode_always_a_write_waits_for_the_disk(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = opened(sync="always")
    journal.write("final", final("a"))
    assert len(synced) >= 1
    assert not journal.dirty


def test_a_disk_that_does_not_sync_is_told_and_heals(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened()

    def refuse(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", refuse)
        journal.write("final", final("a"))
        journal.sync()
        assert state_of(journal) == ("sync", True)
    journal.sync()
    journal.sync()
    assert state_of(journal) == ("", False)


def test_the_backlog_is_what_the_recorder_has_not_told_yet(opened: Open) -> None:
    journal = opened(segment_bytes=100)
    for number in range(6):
        journal.write("state", {"table": "key", "id": number, "filler": "x" * 60})
    paths = segments(journal.directory)
    assert len(paths) > 2
    assert journal.backlog_bytes == sum(path.stat().st_size for path in paths)
    tell_progress(paths[1], 50)
    assert journal.backlog_bytes == sum(path.stat().st_size for path in paths[1:]) - 50
    tell_progress(paths[-1], paths[-1].stat().st_size)
    assert journal.backlog_bytes == 0


HEAD_SIZE = len(encode("head", {"version": 2, "worker": "w1", "segment": 1, "columns": COLUMNS}))


class Disk:
    """Stands before os.write: lets `room` bytes of segments through, then is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, ballast: int = 0) -> None:
        self.room, self.ballast, self.most = room, ballast, 10**9
        real_write, real_unlink = os.write, Path.unlink

        def write(fd: int, data: Any) -> int:
            if not Path(f"/proc/self/fd/{fd}").readlink().name.endswith(".journal"):
                return real_write(fd, data)
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            written = real_write(fd, bytes(data)[: min(self.room, self.most)])
            self.room -= written
            return written

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if path.name == "ballast":
                self.room += self.ballast
                self.ballast = 0
            real_unlink(path, missing_ok=missing_ok)

        def fallocate(fd: int, start: int, size: int) -> None:
            if self.room < size:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= size
            self.ballast = size

        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr(os, "posix_fallocate", fallocate)


def test_short_writes_are_finished(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, 10**9).most = 7
    journal = opened()
    journal.write_many([("start", {"request_id": "a"}), ("final", final("a"))])
    assert kinds(journal.directory) == [["head", "start", "final"]]
    assert not next(iter(Reader(path).torn for path in segments(journal.directory)))


def test_a_full_disk_takes_the_ballast_then_memory_and_loses_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    disk = Disk(monkeypatch, HEAD_SIZE + 6_000)
    journal = opened(ballast_bytes=4_096, clock=lambda: now[0])
    written = []
    seen = [journal.trouble]
    for number in range(100):
        journal.write("state", {"id": number, "filler": "x" * 60})
        written.append(number)
        if journal.trouble != seen[-1]:
            seen.append(journal.trouble)
        now[0] += 0.05
    assert seen == ["", "ballast", "memory"]
    on_disk = [payload["id"] for payload in payloads(journal.directory, "state")]
    assert on_disk == written[: len(on_disk)]
    assert len(on_disk) < 100
    disk.room = 10**6
    journal.sync()
    assert trouble(journal) == ""
    assert (journal.directory / "ballast").exists()
    journal.write("state", {"id": 100})
    assert [payload["id"] for payload in payloads(journal.directory, "state")] == [*written, 100]
    assert journal.lost == 0


def test_a_write_brings_waiting_lines_to_the_disk_in_their_order(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    disk = Disk(monkeypatch, HEAD_SIZE + 500)
    journal = opened(ballast_bytes=0, clock=lambda: now[0])
    for number in range(20):
        journal.write("state", {"id": number})
    assert trouble(journal) == "memory"
    disk.room = 10**6
    now[0] += 1
    journal.write("state", {"id": 20})
    assert [payload["id"] for payload in payloads(journal.directory, "state")] == list(range(21))
    assert trouble(journal) == ""


def test_memory_is_bounded_and_what_was_lost_is_counted(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, HEAD_SIZE + 120)
    journal = opened(ballast_bytes=0, ring_lines=10, clock=lambda: 0.0)
    before = len(payloads(journal.directory, "state"))
    for number in range(30):
        journal.write("state", {"id": number})
    on_disk = len(payloads(journal.directory, "state")) - before
    assert trouble(journal) == "full"
    assert journal.lost == 30 - on_disk - 10
    disk.room = 10**6
    journal.sync()
    assert trouble(journal) == ""
    assert len(payloads(journal.directory, "state")) == on_disk + 10


@pytest.mark.parametrize("room", range(25, 325, 7))
def test_no_line_is_ever_torn_by_a_full_disk(
    opened: Open, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    disk = Disk(monkeypatch, HEAD_SIZE + room)
    journal = opened(ballast_bytes=0)
    for number in range(10):
        journal.write("state", {"id": number})
    (path,) = segments(journal.directory)
    reader = Reader(path)
    reader.read()
    assert (reader.torn, reader.position) == (False, path.stat().st_size)
    reader.close()
    disk.room = 10**6
    journal.sync()
    assert [payload["id"] for payload in payloads(journal.directory, "state")] == list(range(10))


def test_a_torn_line_that_could_not_be_taken_back_ends_its_segment(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, HEAD_SIZE + 220)
    journal = opened(ballast_bytes=0, clock=lambda: 0.0)

    def refuse(fd: int, size: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", refuse)
        for number in range(10):
            journal.write("state", {"id": number})
    disk.room = 10**6
    journal.sync()
    assert len(segments(journal.directory)) == 2
    assert [payload["id"] for payload in payloads(journal.directory, "state")] == list(range(10))


def test_a_segment_that_cannot_be_begun_is_put_off(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = opened(segment_bytes=200)
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any) -> int:
        if str(path).endswith(".journal") and flags & os.O_CREAT:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *rest)

    with monkeypatch.context() as broken:
        broken.setattr(os, "open", refuse)
        for number in range(20):
            journal.write("state", {"id": number})
        assert trouble(journal) == ""
    journal.write("state", {"id": 20})
    assert len(segments(journal.directory)) == 2
    assert [payload["id"] for payload in payloads(journal.directory, "state")] == list(range(21))


def test_reading_goes_on_where_it_stopped(opened: Open) -> None:
    journal = opened()
    path = segments(journal.directory)[0]
    reader = Reader(path)
    assert [line.kind for line in reader.read()] == ["head"]
    assert reader.read() == []
    journal.write("start", {"request_id": "a"})
    assert [line.kind for line in reader.read()] == ["start"]
    with path.open("ab") as file:
        file.write(b"0000")
    assert reader.read() == []
    assert reader.torn
    reader.close()


def test_a_line_larger_than_the_chunk_is_read(opened: Open) -> None:
    journal = opened()
    journal.write("final", {"record": {"request_id": "a"}, "filler": "x" * 100_000})
    journal.write("final", final("b"))
    reader = Reader(segments(journal.directory)[0])
    read: list[str] = []
    while lines := reader.read(chunk=1_000):
        read += [line.kind for line in lines]
    assert read == ["head", "final", "final"]
    reader.close()


WRITER = """
import sys, time
from pathlib import Path
from usage.framing import encode
from usage.lines import COLUMNS
from usage.journal import Journal

journal = Journal(
    Path(sys.argv[1]), worker=sys.argv[2], clock=time.monotonic, segment_bytes=20_000, ballast_bytes=0
)
number = 0
while True:
    name = f"r{number}"
    journal.write_many([("start", {"request_id": name}), ("attempt", {"request_id": name, "number": 1})])
    journal.write("final", {"record": {"request_id": name, "filler": "x" * (number % 900)}})
    print(number, flush=True)
    number += 1
"""


def test_a_killed_worker_loses_no_line_that_it_had_written(root: Path) -> None:
    for run in range(count(3, 30)):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(root), f"w{run}"], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            told = [int(line) for _, line in zip(range(100 + 37 * run), writer.stdout, strict=False)]
            assert len(told) == 100 + 37 * run
            writer.send_signal(signal.SIGKILL)
            told += [int(line) for line in writer.stdout if line.endswith("\n")]
        directory = root / f"w{run}"
        assert is_dead(directory)
        found = [each["record"]["request_id"] for each in payloads(directory, "final")]
        assert len(found) - len(told) in (0, 1)
        assert found == [f"r{number}" for number in range(len(found))]
