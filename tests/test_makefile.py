"""The Makefile's promises that cost no installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.programs import ROOT

MAKE = shutil.which("make") or "make"
TOOLS = ("sh", "awk", "touch")


def make(folder: Path, *arguments: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [MAKE, *arguments],
        cwd=folder,
        env={"PATH": str(path), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with the Makefile, and `bin` with the few tools that it uses: no Python."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    return tmp_path


def python(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_help_lists_every_target(bare: Path) -> None:
    ended = make(bare, path=bare / "bin")
    targets = re.findall(r"^  make (\w+) +\S", ended.stdout, re.MULTILINE)
    assert targets == ["help", "run", "test", "proof", "bench", "agents", "lint"]


@pytest.mark.parametrize("target", ["run", "test"])
def test_a_missing_python_gives_one_sentence(bare: Path, target: str) -> None:
    ended = make(bare, target, path=bare / "bin")
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[0].startswith("Python 3.11 or newer is needed")
    assert not (bare / ".venv").exists()


def test_a_too_old_python_gives_one_sentence(bare: Path) -> None:
    python(bare, "python3", "exit 1")
    assert make(bare, "run", path=bare / "bin").stderr.startswith("Python 3.11 or newer is needed")


def test_a_missing_venv_module_gives_one_sentence(bare: Path) -> None:
    python(bare, "python3", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    ended = make(bare, "run", path=bare / "bin")
    assert ended.returncode != 0
    assert ended.stderr.startswith("python3 lacks its venv module: install it")
    assert not (bare / ".venv").exists()


def test_a_newer_python_is_found_behind_an_old_one(bare: Path) -> None:
    python(bare, "python3", "exit 1")
    python(bare, "python3.12", 'case "$1" in -m) echo "made by 3.12"; exit 1;; esac; exit 0')
    assert "made by 3.12" in make(bare, "run", path=bare / "bin").stdout
