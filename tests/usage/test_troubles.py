"""usage/troubles.py: staff are told what is wrong with the ledger, in sentences, and of nothing else."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.usage.conftest import OpenJournal, OpenRecorder
from tests.usage.journals import finished
from usage import troubles as module
from usage.journal import Journal
from usage.models import DeadLetter
from usage.recorder import recorder_lock
from usage.troubles import troubles

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lock(data_dir: Path) -> Path:
    return data_dir / "recorder.lock"


@pytest.fixture
def recording(lock: Path) -> Iterator[None]:
    """A recorder at work."""
    with recorder_lock(lock, seconds=0):
        yield


def told(journal: Journal | None, lock: Path) -> list[str]:
    return [str(sentence) for sentence in troubles(journal, lock)]


@pytest.mark.usefixtures("recording")
def test_a_sound_ledger_is_not_spoken_of(open_journal: OpenJournal, lock: Path) -> None:
    journal = open_journal()
    journal.write("final", finished(1))
    assert told(journal, lock) == []


def test_a_recorder_that_does_not_run_is_told(open_journal: OpenJournal, lock: Path) -> None:
    journal = open_journal()
    assert told(journal, lock) == [
        "The recorder does not run: usage stays in the journal until it does. See the log."
    ]
    with recorder_lock(lock, seconds=0):
        assert told(journal, lock) == []
    assert len(told(journal, lock)) == 1
    assert told(None, lock) == []


@pytest.mark.usefixtures("recording")
def test_a_database_far_behind_is_told_until_it_has_caught_up(
    open_journal: OpenJournal, open_recorder: OpenRecorder, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEHIND_BYTES", 2 * 1024**2)
    journal = open_journal(segment_bytes=1024**2)
    for number in range(4):
        journal.write("final", finished(number, error_text="x" * 1024**2))
    assert told(journal, lock) == ["The database is 4 MB behind the journal: it is slow, or does not answer."]
    open_recorder().drain()
    assert told(journal, lock) == []


@pytest.mark.usefixtures("recording")
def test_a_full_disk_is_told_at_each_of_its_stages(
    open_journal: OpenJournal, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(ring_lines=1, ballast_bytes=4096, clock=lambda: 0.0)
    really = os.write

    def full(*args: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    def full_once(*args: Any) -> int:
        monkeypatch.setattr(os, "write", really)
        return full()

    monkeypatch.setattr(os, "write", full_once)
    journal.write("final", finished(1))
    assert told(journal, lock) == ["The disk is full: the journal writes into its reserve. Make room now."]
    monkeypatch.setattr(os, "write", full)
    journal.write("final", finished(2))
    waiting = "The disk is full: usage waits in memory, and is lost if the server ends. Make room now."
    assert told(journal, lock) == [waiting]
    journal.write("final", finished(3))
    assert told(journal, lock) == [
        "1 line of the journal is lost: the disk was full for too long.",
        waiting,
    ]
    monkeypatch.setattr(os, "write", really)
    journal.sync()
    assert told(journal, lock) == ["1 line of the journal is lost: the disk was full for too long."]


@pytest.mark.usefixtures("recording")
def test_a_disk_that_does_not_confirm_is_told(
    open_journal: OpenJournal, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal()
    journal.write("final", finished(1))

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fdatasync", broken)
    journal.sync()
    assert told(journal, lock) == ["The disk does not confirm what the journal writes."]


def test_dead_letters_that_wait_are_counted_and_linked(lock: Path) -> None:
    for place in range(2):
        DeadLetter.objects.create(segment="w1/1", position=place, kind="final", line="{}", reason="too long")
    (sentence,) = told(None, lock)
    assert sentence.startswith('<a class="text-link" href="/admin/usage/deadletter/">2 lines of the journal')
