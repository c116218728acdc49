"""How much of the memory that this process may use is in use."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
_NAMES = {
    # cgroup version -> file of the limit, file of the statistics, what counts in it
    1: ("memory.limit_in_bytes", "memory.stat", ("total_rss",)),
    2: ("memory.max", "memory.stat", ("anon",)),
}


class Memory:
    """The cgroup's limit against what its processes hold, caches of files aside; where it has none, the
    machine's memory against what this process holds. `proc` and `groups` are where the system tells these."""

    def __init__(self, proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> None:
        self._proc = proc
        self._total = _total(proc)
        self._group: tuple[int, Path, tuple[str, ...]] | None = None
        """The tightest limit, and where its use is told."""
        for version, folder in _folders(proc, groups):
            limit_name, use_name, fields = _NAMES[version]
            limit = _number(folder / limit_name)
            if limit is not None and limit < self._total and (self._group is None or limit < self._group[0]):
                self._group = (limit, folder / use_name, fields)

    @property
    def limit(self) -> int:
        """Bytes that may be used."""
        return self._group[0] if self._group else self._total

    def resident(self) -> int:
        """Bytes that this process holds; 0 where the system does not tell."""
        try:
            return int((self._proc / "self/statm").read_bytes().split()[1]) * PAGE
        except (OSError, ValueError, IndexError):
            return 0

    def share(self) -> float:
        """The part in use, 0 to 1; 0 where the system does not tell."""
        if not self.limit:
            return 0.0
        if self._group is None:
            return self.resident() / self.limit
        _, told, fields = self._group
        try:
            lines = dict(line.split(maxsplit=1) for line in told.read_text().splitlines())
            return sum(int(lines[name]) for name in fields) / self.limit
        except (OSError, ValueError, KeyError):
            return self.resident() / self.limit


def _total(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0


def _folders(proc: Path, groups: Path) -> list[tuple[int, Path]]:
    """The folders of our cgroup and of those above it, each with its version. In a container the path may be
    the host's, where only the topmost exists."""
    found: list[tuple[int, Path]] = []
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return found
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            version, top = 2, groups
        elif "memory" in controllers.split(","):
            version, top = 1, groups / "memory"
        else:
            continue
        folder = top / path.strip("/")
        while True:
            found.append((version, folder))
            if folder == top:
                break
            folder = folder.parent
    return found


def _number(path: Path) -> int | None:
    """None where there is no such file, or no number in it (`max`)."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
