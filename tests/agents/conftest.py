"""Where an agent runs: a home, a folder to work in, a program that tells the weather, a proxy that counts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.relay.conftest import pytest_asyncio_loop_factories
from tests.relay.harness import House

__all__ = ("Strangers", "Ways", "folder", "pytest_asyncio_loop_factories", "strangers", "ways")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run. The simulator's arguments are "Paris 1.2" for the second call of the first round:
    in `work` there are files of such names, and `Paris` is a program."""
    root = tmp_path / "agent"
    for name in ("home", "work", "bin"):
        (root / name).mkdir(parents=True)
    for step in (1, 2):
        for number in (1, 2):
            (root / "work" / f"Paris {step}.{number}").write_text(f"sunny in {step}.{number}\n")
    program = root / "bin" / "Paris"
    program.write_text('#!/bin/sh\necho "sunny in $1"\n')
    program.chmod(0o755)
    (root / "home" / ".bash_profile").write_text(f'PATH="{root / "bin"}:$PATH"\n')
    return root


@dataclass
class Strangers:
    """A proxy that lets nobody out: its address, and the first line of all that was asked of it."""

    url: str
    asked: list[str]


@pytest.fixture
async def strangers() -> AsyncIterator[Strangers]:
    """Whoever calls an address other than this machine's goes here."""
    asked: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode(errors="replace").strip())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield Strangers(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked)


Ways = Callable[[House, str], dict[str, Any]]


@pytest.fixture
def ways(folder: Path, strangers: Strangers) -> Ways:
    """What an agent is started with, for a relay and a model."""
    return lambda relay, model: {
        "folder": folder,
        "url": relay.url,
        "secret": relay.secret,
        "model": model,
        "proxy": strangers.url,
    }
