"""The project's own commands as processes of their own, as an operator starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.settings import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
MANAGE = str(ROOT / "manage.py")
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE")


def environment(data_dir: Path, **more: str | None) -> dict[str, str]:
    """What a command under test is given: the tests' environment, `data_dir`, `more` (None takes away)."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    given: Mapping[str, str | None] = {**inherited, **ENVIRONMENT, "AETHER_DATA_DIR": str(data_dir), **more}
    return {name: value for name, value in given.items() if value is not None}


def manage(*arguments: str, env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs `manage.py` to its end; never raises for its exit status."""
    options.setdefault("timeout", 120)
    return subprocess.run(
        [sys.executable, "-W", "error", MANAGE, *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


class Running:
    """A command that goes on until it is told to end. Use as a context manager."""

    def __init__(self, *arguments: str, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, MANAGE, *arguments],
            env=env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exception: object) -> None:
        with suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def line(self, part: str) -> str:
        """Reads up to a line that holds `part`, and returns it. Raises RuntimeError at the end."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line)
            if part in line:
                return line
        raise RuntimeError(f"“{part}” was never said:\n{''.join(self.said)}")

    def end(self, seconds: float = 30) -> int:
        """Sends SIGTERM, waits, returns the exit status; `said` then holds all that it said."""
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=seconds)
        self.said.append(rest)
        return self.process.returncode
