from __future__ import annotations

import re
from pathlib import Path

import pytest

from wire.neutral import chat_quirks

SOURCES = sorted(Path(chat_quirks.__file__).parent.glob("chat_*.py"))
USED = re.compile(r'"(\w+)" (?:not )?in (?:self\._|target\.|asked\.)?quirks|takes\("(\w+)"\)')


def test_every_quirk_that_is_looked_for_is_told_to_operators_and_no_other() -> None:
    found = {
        name
        for path in SOURCES
        for match in USED.finditer(path.read_text())
        for name in match.groups()
        if name is not None
    }
    assert found == set(chat_quirks.QUIRKS)


@pytest.mark.parametrize("name", chat_quirks.QUIRKS)
def test_a_quirk_is_explained_in_a_line(name: str) -> None:
    assert re.fullmatch(r"[a-z_]+", name)
    assert 10 < len(chat_quirks.QUIRKS[name]) < 90
