"""How much memory is in use, as the system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.memory import PAGE, Memory

MB = 1 << 20


def system(folder: Path, cgroup: str, *, resident: int = 100) -> tuple[Path, Path]:
    """A machine of 1,000 MB with a process of `resident` MB in it; its `/proc` and its groups."""
    proc, groups = folder / "proc", folder / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: {1000 * 1024} kB\nMemFree: 1 kB\n")
    (proc / "self/statm").write_text(f"999999 {resident * MB // PAGE} 0 0 0 0 0\n")
    (proc / "self/cgroup").write_text(cgroup)
    return proc, groups


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_without_a_limit_the_machine_is_the_measure(tmp_path: Path) -> None:
    memory = Memory(*system(tmp_path, "0::/\n"))
    assert memory.limit == 1000 * MB
    assert memory.resident() == 100 * MB
    assert memory.share() == pytest.approx(0.1)


def test_a_containers_limit_and_all_that_its_processes_hold(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/\n")
    group(groups, memory__max=f"{200 * MB}\n", memory__stat=f"anon {150 * MB}\nfile {40 * MB}\n")
    memory = Memory(proc, groups)
    assert memory.limit == 200 * MB
    assert memory.share() == pytest.approx(0.75)


def test_the_tightest_limit_above_us_counts(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/a/b\n")
    group(groups / "a/b", memory__max="max\n", memory__stat="anon 1\n")
    group(groups / "a", memory__max=f"{400 * MB}\n", memory__stat=f"anon {100 * MB}\n")
    group(groups, memory__max=f"{800 * MB}\n", memory__stat=f"anon {100 * MB}\n")
    assert Memory(proc, groups).share() == pytest.approx(0.25)


def test_the_older_groups_are_read_too_also_where_the_path_is_the_hosts(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "4:cpu:/x\n3:memory:/docker/1234\n0::/\n")
    group(
        groups / "memory",
        memory__limit_in_bytes=f"{200 * MB}\n",
        memory__stat=f"rss 1\ntotal_rss {50 * MB}\ntotal_cache 7\n",
    )
    assert Memory(proc, groups).share() == pytest.approx(0.25)


def test_a_limit_beyond_the_machine_is_none(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "3:memory:/\n")
    group(groups / "memory", memory__limit_in_bytes="9223372036854771712\n", memory__stat="total_rss 5\n")
    assert Memory(proc, groups).limit == 1000 * MB


def test_where_the_use_is_not_told_the_process_itself_counts(tmp_path: Path) -> None:
    proc, groups = system(tmp_path, "0::/\n")
    group(groups, memory__max=f"{200 * MB}\n", memory__stat="file 7\n")
    assert Memory(proc, groups).share() == pytest.approx(0.5)


def test_a_system_that_tells_nothing_is_not_full(tmp_path: Path) -> None:
    assert Memory(tmp_path / "nowhere", tmp_path / "nowhere").share() == 0.0


def test_this_machine_tells() -> None:
    memory = Memory()
    assert 0 < memory.share() < 1
    assert memory.resident() > MB
