from __future__ import annotations

import json

import pytest

from wire.jsons import dumps, load_object, loads
from wire.types import BadFrame


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"a":[1,2.5,"x",null,true]}', {"a": [1, 2.5, "x", None, True]}),
        (b'"\\ud83d"', "\ud83d"),
        (b"[Infinity]", [float("inf")]),
        ('"ü🎉"'.encode(), "ü🎉"),
    ],
)
def test_it_reads_what_client_libraries_read(data: bytes, value: object) -> None:
    assert loads(data) == value


@pytest.mark.parametrize(
    "data", [b"", b"{", b"nonsense", b'"\xff"', b"[" * 100_000, b"[" + b"9" * 5000 + b"]x", b"\xff\xfe"]
)
def test_all_else_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        loads(data)


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"x"'])
def test_an_object_is_asked_for(data: bytes) -> None:
    with pytest.raises(BadFrame):
        load_object(data)


@pytest.mark.parametrize("value", [{"a": "ü"}, {"a": "\ud83d"}, [1, "x"]])
def test_it_writes_whatever_text_there_is(value: object) -> None:
    assert json.loads(dumps(value)) == value
