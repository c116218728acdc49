"""Which tests stay together on one worker: those of a module that says `xdist_group("name")`, whose servers
and browsers are then started once. xdist's own way to know leaves the groups unread under pytest 9.2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
QUICK = "tests/wire/"
"""Thousands of tests that wait for nothing."""
_GROUP = re.compile(r'xdist_group\("(\w+)"\)')


@cache
def group_of(module: str) -> str:
    """The group that a module's tests are in; "" for none."""
    file = ROOT / module
    found = _GROUP.search(file.read_text()) if file.is_file() else None
    return found[1] if found else ""


class Numbered(list[str]):
    """Tests in their order. Asked for a test's place, which xdist asks for each, it does not search."""

    def __init__(self, tests: Iterable[str]) -> None:
        super().__init__(tests)
        self._places = {test: place for place, test in enumerate(self)}

    def index(self, test: str, *_: Any) -> int:
        return self._places[test]


class Scheduling(LoadGroupScheduling):
    """Hands out groups as wholes, the largest first, then the other tests one by one: last the quick ones, so
    that all workers end at once."""

    def _split_scope(self, nodeid: str) -> Any:
        return group_of(nodeid.partition("::")[0]) or nodeid

    def schedule(self) -> None:
        super().schedule()
        for scope in [scope for scope in self.workqueue if scope.startswith(QUICK)]:
            self.workqueue.move_to_end(scope)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        super().add_node_collection(node, collection)
        if node in self.registered_collections:
            self.registered_collections[node] = Numbered(collection)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Forgets what is done: xdist counts through all that a worker has at each report of any."""
        super().mark_test_complete(node, item_index, duration)
        scope, work = self._split_scope(self.registered_collections[node][item_index]), self.assigned_work
        if all(work[node][scope].values()):
            del work[node][scope]
