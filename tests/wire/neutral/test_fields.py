"""wire/neutral/fields.py: fields of requests that must be of some kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wire.neutral.fields import flag_if, list_at, number_if, object_at, text_at, text_if
from wire.types import BadRequest


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (text_at, "x"), (text_if, "x"), (object_at, {"a": 1}), (list_at, [1]),
        (flag_if, False), (number_if, 0), (number_if, 0.5),
    ],
)  # fmt: skip
def test_what_is_of_its_kind_is_read(read: Callable[[Any, str], Any], value: Any) -> None:
    assert read(value, "a.b") == value


@pytest.mark.parametrize(("read", "absent"), [(text_if, ""), (flag_if, None), (number_if, None)])
def test_what_may_be_left_out_may_be_null(read: Callable[[Any, str], Any], absent: Any) -> None:
    assert read(None, "a.b") == absent


@pytest.mark.parametrize(
    ("read", "value", "kind"),
    [
        (text_at, None, "a string"), (text_if, 0, "a string"), (object_at, [], "an object"),
        (object_at, None, "an object"), (list_at, {}, "a list"), (flag_if, 0, "true or false"),
        (number_if, True, "a number"), (number_if, "1", "a number"),
    ],
)  # fmt: skip
def test_what_is_not_is_refused_by_its_name(read: Callable[[Any, str], Any], value: Any, kind: str) -> None:
    with pytest.raises(BadRequest, match=f"'a.b' must be {kind}") as refused:
        read(value, "a.b")
    assert refused.value.param == "a.b"
