"""Which tests stay together on one worker: those of a module that says `xdist_group("name")`, whose servers
and browsers are then started once. xdist's own way to know leaves the groups unread under pytest 9.2."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
_GROUP = re.compile(r'xdist_group\("(\w+)"\)')


@cache
def group_of(module: str) -> str:
    """The group that a module's tests are in; "" for none."""
    file = ROOT / module
    found = _GROUP.search(file.read_text()) if file.is_file() else None
    return found[1] if found else ""


class Scheduling(LoadGroupScheduling):
    """Hands out groups as wholes, the largest first, then the other tests one by one."""

    def _split_scope(self, nodeid: str) -> Any:
        return group_of(nodeid.partition("::")[0]) or nodeid
