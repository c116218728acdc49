from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aether import supervision
from aether.supervision import Recorder, RecorderFailed
from tests.waiting import until

CHILD = """
import os, sys
notes = open(sys.argv[1], "a")
print("ready", flush=True)
print(os.getpid(), "ready", file=notes, flush=True)
sys.stdin.read()
print(os.getpid(), "drained", file=notes, flush=True)
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes"
    path.touch()
    return path


@pytest.fixture
def recorder(notes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    recorder = Recorder([sys.executable, "-c", CHILD, str(notes)])
    yield recorder
    recorder.close()


def test_it_waits_until_the_recorder_is_ready(recorder: Recorder, notes: Path) -> None:
    recorder.start()
    until(lambda: "ready" in notes.read_text(), what="the note")


def test_it_lets_the_recorder_drain_before_it_goes_on(recorder: Recorder, notes: Path) -> None:
    recorder.start()
    recorder.close()
    assert notes.read_text().split()[1::2] == ["ready", "drained"]


def test_it_starts_a_dead_recorder_again(recorder: Recorder, notes: Path) -> None:
    recorder.start()
    until(lambda: notes.read_text().count("ready") == 1, what="the first")
    os.kill(int(notes.read_text().split()[0]), signal.SIGKILL)
    until(lambda: notes.read_text().count("ready") == 2, what="the second")


def test_a_recorder_that_never_gets_ready_stops_the_boot() -> None:
    recorder = Recorder([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(RecorderFailed):
        recorder.start()
    recorder.close()


def test_a_recorder_that_does_not_end_is_stopped() -> None:
    recorder = Recorder([sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)"])
    recorder.start()
    recorder.close(seconds=0.05)


def test_a_recorder_drains_when_its_parent_is_killed(notes: Path) -> None:
    code = (
        "import os, signal, sys; from aether.supervision import Recorder;"
        "Recorder(sys.argv[1:]).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, sys.executable, "-c", CHILD, str(notes)], check=False)
    until(lambda: "drained" in notes.read_text(), what="the recorder's end")
