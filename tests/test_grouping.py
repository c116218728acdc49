"""Modules whose fixtures are dear are run on one worker."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.grouping import Scheduling, group_of

GROUPED = ["tests/endings/test_kill.py::test_a", "tests/endings/test_overload.py::test_b"]
SINGLE = [f"tests/test_docs.py::test_{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("module", "group"),
    [
        ("tests/endings/test_kill.py", "kill"),
        ("tests/endings/test_overload.py", "kill"),
        ("tests/endings/test_memory.py", "memory"),
        ("tests/test_docs.py", ""),
        ("tests/no_such_module.py", ""),
    ],
)
def test_a_module_says_its_group(module: str, group: str) -> None:
    assert group_of(module) == group


class Worker:
    """One of xdist's: remembers the tests that it is told to run, by their places."""

    gateway = SimpleNamespace(id="worker")

    def __init__(self) -> None:
        self.told: list[list[int]] = []
        self.shutting_down = False

    def send_runtest_some(self, places: list[int]) -> None:
        self.told.append(places)

    def shutdown(self) -> None:
        self.shutting_down = True


def begun(workers: list[Worker], tests: list[str]) -> Scheduling:
    config: Any = SimpleNamespace(
        getvalue=lambda _: ["popen"] * len(workers), option=SimpleNamespace(loadscopereorder=True)
    )
    scheduling = Scheduling(config)
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, tests)
    scheduling.schedule()
    return scheduling


def test_a_group_is_handed_out_first_and_as_a_whole() -> None:
    one, two = Worker(), Worker()
    begun([one, two], [GROUPED[0], *SINGLE, GROUPED[1]])
    assert one.told[0] == [0, 21]
    assert two.told[0] == [1]


def test_what_waits_for_nothing_comes_last() -> None:
    one, two = Worker(), Worker()
    quick = [f"tests/wire/test_sse.py::test_{number}" for number in range(20)]
    scheduling = begun([one, two], [*quick, *SINGLE])
    left = list(scheduling.workqueue)
    assert left == [each for each in left if each in SINGLE] + [each for each in left if each in quick]
    assert {*SINGLE, *quick[10:]} <= {*left}


def test_every_test_is_run_once_and_what_is_done_is_forgotten() -> None:
    workers = [Worker(), Worker()]
    scheduling = begun(workers, [*GROUPED, *SINGLE])
    done: list[int] = []
    while not scheduling.tests_finished or scheduling.has_pending:
        for worker in workers:
            waiting = [place for places in worker.told for place in places if place not in done]
            for place in waiting:
                scheduling.mark_test_complete(worker, place)
                done.append(place)
            assert sum(map(len, scheduling.assigned_work[worker].values())) <= 3
    assert sorted(done) == list(range(22))
    assert all(worker.shutting_down for worker in workers)
