"""Keeps the recorder process alive beside the server, and ends it in good order."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

log = logging.getLogger(__name__)

READY = "ready"
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between two starts of a process that keeps dying, doubling from the first to the longest."""


class RecorderFailed(Exception):
    """The recorder ended before it was ready; what it said is on stderr."""


class Recorder:
    """The recorder as a child. It holds the reading end of a pipe as its stdin: end of file tells it that its
    parent is gone, by whatever death, so that it drains and ends."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._ending = threading.Event()
        self._first = threading.Event()
        self._was_ready = False
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name="recorder", daemon=True)

    def start(self) -> None:
        """Returns once the first recorder has said that it is ready. Raises RecorderFailed."""
        self._thread.start()
        self._first.wait()
        if not self._was_ready:
            self._thread.join()
            raise RecorderFailed

    def close(self, seconds: float = 30) -> None:
        """Tells the recorder to drain and waits for its end, `seconds` at most; then ends it."""
        with self._lock:
            self._ending.set()
            process = self._process
        if process is not None:
            _close(process.stdin)
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                log.error("the recorder did not end within %g s; the journal keeps what it left", seconds)
                process.kill()
        if self._thread.ident is not None:
            self._thread.join()

    def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            with self._lock:
                if self._ending.is_set():
                    break
                self._process = process = self._spawn()
            if self._listen(process):
                pause = FIRST_PAUSE
            status = process.wait()
            _close(process.stdin)
            if not self._was_ready:
                break
            if not self._ending.is_set():
                log.error("the recorder ended with status %d and starts again in %g s", status, pause)
                self._ending.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        self._first.set()

    def _spawn(self) -> subprocess.Popen[str]:
        # A session of its own: Ctrl-C in the terminal is for the server, which then tells the recorder.
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def _listen(self, process: subprocess.Popen[str]) -> bool:
        """Reads what the child prints until it ends; returns whether it got ready."""
        ready = False
        for line in process.stdout or ():
            if line.strip() == READY:
                ready = self._was_ready = True
                self._first.set()
        _close(process.stdout)
        return ready


def _close(stream: IO[str] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except OSError:
        log.debug("a pipe of the recorder was closed already")


def recorder_command(manage: str) -> list[str]:
    """How the recorder is started."""
    return [sys.executable, manage, "recorder"]
