"""Who may import whom: a stack of floors, and rooms that know neither framework, clock nor chance."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BELOW: dict[str, set[str]] = {
    "aether": {"relay", "providers", "consumers", "usage", "wire", "changes", "simulator"},
    "relay": {"providers", "consumers", "usage", "wire", "changes"},
    "providers": {"usage", "wire", "changes"},
    "consumers": {"usage", "wire", "changes"},
    "usage": {"wire", "changes"},
    "wire": set(),
    "changes": set(),
    "simulator": set(),
}
PURE = [
    *sorted(ROOT.glob("wire/**/*.py")),
    *(
        ROOT / f"relay/{name}.py"
        for name in (
            "affinity",
            "breaker",
            "failover",
            "folding",
            "health",
            "hints",
            "learned",
            "pace",
            "retries",
            "scheduler",
            "waiting",
        )
    ),
    *(ROOT / f"usage/{name}.py" for name in ("pricing", "journal")),
    *(ROOT / f"providers/{name}.py" for name in ("rules", "types")),
]
IMPURE = {"django", "aiohttp", "httpx", "requests", "urllib3", "time", "random", "secrets", "asyncio"}
READS = {"now", "today", "utcnow", "urandom", "uuid1", "uuid4"}
"""Attributes by which a clock or chance is read without such an import (datetime.now, os.urandom)."""
SOURCES = [path for name in BELOW for path in sorted((ROOT / name).rglob("*.py"))]


def imports(tree: ast.AST) -> Iterator[str]:
    """The top-level packages that are imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "relative").split(".")[0]


def named(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


@named(SOURCES)
def test_a_floor_uses_floors_below_alone(path: Path) -> None:
    floor = path.relative_to(ROOT).parts[0]
    used = set(imports(ast.parse(path.read_text())))
    assert used & (BELOW.keys() | {"tests", "relative"}) <= BELOW[floor] | {floor}


@named(SOURCES)
def test_no_import_hides_in_a_function_to_dodge_a_cycle(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert set(imports(node)) & BELOW.keys() == set(), node.name


@named(SOURCES)
def test_what_serves_needs_nothing_that_only_tests_install(path: Path) -> None:
    assert set(imports(ast.parse(path.read_text()))) & {"aiohttp", "multidict", "yarl"} == set()


@named(PURE)
def test_a_pure_room_gets_clock_and_chance_as_arguments(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert set(imports(tree)) & IMPURE == set()
    assert {func.attr for func in calls if isinstance(func, ast.Attribute)} & READS == set()
