"""aether/terminal.py: a bar for people at a terminal, instants for everybody."""

from __future__ import annotations

import io
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from aether import terminal as terminal_module
from aether.terminal import ProgressBar, instant


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(terminal_module, "sys", SimpleNamespace(stderr=screen))
    return screen


def test_a_bar_is_drawn_once_for_each_percent_and_ended(terminal: Terminal) -> None:
    bar = ProgressBar()
    for done in range(1_000):
        bar.draw(done, 1_000)
    bar.draw(1, 1)
    drawn = terminal.getvalue().split("\r")
    assert drawn[1] == f"[{'.' * 40}]   0 %"
    assert drawn[51] == f"[{'#' * 20}{'.' * 20}]  50 %"
    assert drawn[-1] == f"[{'#' * 40}] 100 %\n"
    assert len(drawn) == 102


def test_a_bar_makes_room_for_a_line_and_comes_back(terminal: Terminal) -> None:
    bar = ProgressBar()
    bar.clear()
    assert terminal.getvalue() == ""
    bar.draw(1, 2)
    bar.clear()
    bar.draw(1, 2)
    assert terminal.getvalue().count("50 %") == 2
    assert "50 %\r\x1b[K\r[" in terminal.getvalue()


def test_nothing_is_drawn_where_nobody_looks(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    ProgressBar(wanted=False).draw(1, 2)
    assert terminal.getvalue() == ""
    pipe = io.StringIO()
    monkeypatch.setattr(terminal_module, "sys", SimpleNamespace(stderr=pipe))
    ProgressBar().draw(1, 2)
    assert pipe.getvalue() == ""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T10:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00+05:30", datetime(2026, 11, 22, 10, tzinfo=timezone(timedelta(hours=5.5)))),
    ],
)
def test_an_instant_without_a_zone_is_utc(text: str, moment: datetime) -> None:
    assert instant(text) == moment


def test_what_is_no_instant_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="“soon” is not an instant"):
        instant("soon")
