"""A worker's journal and a recorder over it, in the test's own data directory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from usage.journal import Journal
from usage.recorder import Recorder

OpenJournal = Callable[..., Journal]
OpenRecorder = Callable[..., Recorder]


@pytest.fixture
def journals(data_dir: Path) -> Path:
    """Where all journals are."""
    return data_dir / "journals"


@pytest.fixture
def open_journal(journals: Path) -> Iterator[OpenJournal]:
    """Opens journals of workers w1, w2, ...; closes them at the end."""
    opened: list[Journal] = []

    def make(**options: Any) -> Journal:
        worker = f"w{len(opened) + 1}"
        opened.append(
            Journal(journals, **{"worker": worker, "clock": time.monotonic, "ballast_bytes": 0, **options})
        )
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


@pytest.fixture
def open_recorder(journals: Path) -> Iterator[OpenRecorder]:
    """Makes recorders, as after a crash of the one before; closes them at the end."""
    opened: list[Recorder] = []

    def make(**options: Any) -> Recorder:
        if opened:
            opened[-1].close()
        opened.append(Recorder(journals, **{"appliers": {}, "keep_seconds": 600, **options}))
        return opened[-1]

    yield make
    for recorder in opened:
        recorder.close()
