from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from wire import body as wire_body
from wire.body import (
    LARGE,
    MAX_FIELDS,
    check_utf8,
    checked_model,
    depth,
    length,
    plain,
    read_fields,
    read_model,
)
from wire.types import BadRequest


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{",
        b'{"a":1',
        b'{"a":1}}',
        b'{"a":1} x',
        b'{"a":1,}',
        b'{"a" 1}',
        b"{a:1}",
        b"{'a':1}",
        b'{"a":01}',
        b'{"a":1.}',
        b'{"a":.5}',
        b'{"a":+1}',
        b'{"a":-}',
        b'{"a":0x1}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":[NaN]}',
        b'{"a":undefined}',
        b'{"a":"\n"}',
        b'{"a":"\x00"}',
        b'{"a":"\\q"}',
        b'{"a":"\\u12"}',
        b'{"a":"\\ud800\\u12"}',
        b'{"a":"',
        b"\xef\xbb\xbf{}",
        b'\xff\xfe{\x00"\x00',
        b'{"a":"\xff"}',
        b'{"\xff":1}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc3"}',
        b"<html>",
        b'{"a":' + nested(100_000) + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b'{"a":' * 100_000,
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest) as refused:
        read_fields(body)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b' \t\r\n{ "a" : 1 } \n',
        b'{"a":1e400}',
        b'{"a":-0}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":-' + b"9" * 5000 + b".5e-99999}",
        b'{"a":"\\ud800"}',
        b'{"a":"\\udfff tail"}',
        b'{"\\ud83d":1}',
        b'{"a":"\\u0000\\u001f"}',
        b'{"a":"\x7f"}',
        b'{"a":1,"a":2}',
        b'{"":""}',
        '{"a":"你好 🎉"}'.encode(),
    ],
    ids=lambda body: body[:24].decode("utf-8", "replace"),
)
def test_what_is_valid_json_passes_as_it_is(body: bytes) -> None:
    read_fields(body)


@pytest.mark.parametrize(
    ("body", "fine"),
    [
        (b'{"a":' + nested(63) + b"}", True),
        (b'{"a":' + nested(64) + b"}", False),
        (b'{"a":' + nested(63) + b',"b":' + nested(63) + b"}", True),
        (b'{"a":[' + nested(62) + b"," + nested(62) + b"]}", True),
        (b'{"a":[' + nested(62) + b"," + nested(63) + b"]}", False),
        (b'{"a":"' + b"[" * 1000 + b'"}', True),
        (b'{"a":"\\"' + b"[{" * 1000 + b'\\\\","b":' + nested(63) + b"}", True),
        (b'{"a":"\\"' + b"]}" * 1000 + b'\\\\","b":' + nested(64) + b"}", False),
        (b'{"a":["' + b"]" * 1000 + b'",' + nested(63) + b"]}", False),
        (b'{"a":[' + b"{}," * 1000 + b"{}]}", True),
        (b'{"a":[' + b"[[1],{}]," * 300 + nested(62) + b"]}", True),
        (b'{"a":[' + b"[[1],{}]," * 300 + nested(63) + b"]}", False),
        (b'{"a":[' + b"[[1],{}]," * 100_000 + nested(62) + b"]}", True),
        (b'{"a":[' + b"[[1],{}]," * 100_000 + nested(63) + b"]}", False),
        (b'{"a":' + b'{"k":' * 62 + b"{}" + b"}" * 62 + b"}", True),
        (b'{"a":' + b'{"k":' * 63 + b"{}" + b"}" * 63 + b"}", False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_brackets_may_nest_64_deep(body: bytes, fine: bool) -> None:
    json.loads(body)
    if fine:
        read_fields(body)
    else:
        with pytest.raises(BadRequest, match="deeper than 64"):
            read_fields(body)


GUARDED = (
    "model",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
)


@pytest.mark.parametrize("name", GUARDED)
@pytest.mark.parametrize("spelling", ["plain", "escaped", "both"])
def test_a_field_that_the_relay_checks_may_be_given_once(name: str, spelling: str) -> None:
    escaped = f"\\u{ord(name[0]):04x}{name[1:]}"
    first, second = {"plain": (name, name), "escaped": (escaped, escaped), "both": (name, escaped)}[spelling]
    body = f'{{"a":{{"{name}":1}},"{first}":1,"x":[{{"{name}":2}}],"{second}":1}}'.encode()
    with pytest.raises(BadRequest) as refused:
        read_fields(body)
    assert refused.value.param == name


def test_the_same_name_further_down_is_no_repetition() -> None:
    fields = read_fields(
        b'{"model":"a","tools":[{"model":"b"},{"model":"c"}],"metadata":{"model":"d","n":1}}'
    )
    assert read_model(fields) == "a"


def test_of_another_field_given_twice_the_last_counts() -> None:
    assert read_fields(b'{"store":true,"store":false}').flag("store") is False


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", 5),
        ("0", 0),
        ("-1", -1),
        ("5.0", None),
        ("5e3", None),
        ('"5"', None),
        ("true", None),
        ("null", None),
        ("[5]", None),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, None),
        ("9" * 5000, None),
        ("1e400", None),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_number_that_is_no_plain_integer_is_left_to_upstream(value: str, expected: int | None) -> None:
    assert read_fields(f'{{"max_tokens":{value}}}'.encode()).integer("max_tokens") == expected


@pytest.mark.parametrize(("value", "expected"), [("true", True), ("false", False), ("null", False)])
def test_a_flag_is_true_or_false(value: str, expected: bool) -> None:
    assert read_fields(f'{{"stream":{value}}}'.encode()).flag("stream") is expected


@pytest.mark.parametrize("value", ["1", "0", '"true"', "[]", "{}", "1.0"])
def test_a_flag_of_another_kind_is_refused(value: str) -> None:
    fields = read_fields(f'{{"stream":{value}}}'.encode())
    with pytest.raises(BadRequest) as refused:
        fields.flag("stream")
    assert refused.value.param == "stream"


@pytest.mark.parametrize(
    "value", ["null", "false", '""', "[]", "{}", "[ ]", "{\n}", "[" + " " * 40 + "]"], ids=repr
)
def test_an_empty_value_is_not_given(value: str) -> None:
    assert not read_fields(f'{{"tools":{value}}}'.encode()).given("tools")


@pytest.mark.parametrize(
    "value", ["true", "0", "1", '" "', "[0]", '{"a":1}', "[" + "1," * 60 + "1]"], ids=repr
)
def test_anything_else_is(value: str) -> None:
    assert read_fields(f'{{"tools":{value}}}'.encode()).given("tools")


@pytest.mark.parametrize(
    "name", ["gpt-4o", "a", "claude-3.5:thinking", "org/model@1", "x_y", "a" * 200, "a.b", "models/x"]
)
def test_it_takes_the_names_that_models_have(name: str) -> None:
    assert checked_model(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a..b",
        "../a",
        "a//b",
        "a%2fb",
        "a?b",
        "a#b",
        "a\\b",
        "a\nb",
        "a\n",
        "modèle",
        "a" * 201,
        "a;b",
        "a\x00",
    ],
    ids=repr,
)
def test_it_refuses_a_name_that_could_lead_elsewhere(name: str) -> None:
    with pytest.raises(BadRequest) as refused:
        checked_model(name)
    assert refused.value.param == "model"


@pytest.mark.parametrize("value", ["null", '""', "5", "[]", "{}", "true", '["gpt"]', '"\\ud800"'])
def test_a_model_that_is_no_name_is_refused(value: str) -> None:
    fields = read_fields(f'{{"model":{value}}}'.encode())
    with pytest.raises(BadRequest) as refused:
        read_model(fields)
    assert refused.value.param == "model"


def test_a_model_may_be_written_with_escapes() -> None:
    assert read_model(read_fields(b'{"mod\\u0065l":"gpt\\u002d4o"}')) == "gpt-4o"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"[]", 1),
        (b'["a","b"]', 2),
        (b'"a"', 1),
        (b"null", 1),
        (b'[{"a":[1,2]},{}]', 2),
        (b"[" + b'"a,\\"b",' * 100_000 + b'"c"]', 100_001),
    ],
    ids=lambda value: str(value)[:12],
)
def test_it_counts_the_elements_of_a_list(value: bytes, expected: int) -> None:
    assert length(value) == expected


def test_a_large_body_may_not_have_fields_without_number() -> None:
    body = b"{" + b'"a":1,' * (LARGE // 4) + b'"model":"m"}'
    with pytest.raises(BadRequest, match=str(MAX_FIELDS)):
        read_fields(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","x":' + b"[" * 60 + b"[]," * 1_000_000 + b"[]" + b"]" * 60 + b"}",
        b'{"model":"m","x":"' + b'\\"' * 2_000_000 + b'"}',
        b'{"model":"m","x":["' + b'\\\\{[\\"' * 500_000 + b'"]}',
        b'{"model":"m","x":[' + b'"",' * 1_000_000 + b'""]}',
    ],
    ids=["brackets", "quotes", "escapes", "strings"],
)
def test_a_body_made_to_be_slow_is_not(body: bytes) -> None:
    began = time.process_time()
    read_fields(body)
    assert time.process_time() - began < 3


SURROGATES = st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | SURROGATES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


def levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(levels, value.values()), default=0)
    return 1 + max(map(levels, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=count(80, 3_000), deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from([None, 1]))
def test_every_body_that_python_writes_is_read(body: dict[str, Any], indent: int | None) -> None:
    raw = json.dumps(body, indent=indent).encode()
    fields = read_fields(raw)
    assert depth(raw) == levels(body)
    if b"\\ud" not in raw:
        assert {name: json.loads(fields.raw(name)) for name in body} == body


@settings(max_examples=count(100, 3_000), deadline=None)
@given(st.lists(VALUES, max_size=6), st.integers(7, 40))
def test_a_large_value_is_read_in_windows_as_a_small_one_is_as_a_whole(value: Any, window: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    raw = text.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value).encode()
    whole = plain(escaped)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_body, "LARGE", window)
        assert depth(raw) == depth(escaped) == levels(value)
        assert plain(escaped) == whole
        assert is_utf8(raw) != any(0xD800 <= ord(each) <= 0xDFFF for each in text)


def is_utf8(raw: bytes) -> bool:
    try:
        check_utf8(raw)
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=count(300, 5_000), deadline=None)
@given(
    st.binary(max_size=60)
    | st.text(alphabet='{}[]",:\\u0123abmodelnstreNaIfy \n-.e+', max_size=60).map(str.encode)
)
def test_nothing_but_a_bad_request_is_ever_raised(body: bytes) -> None:
    try:
        fields = read_fields(body)
    except BadRequest:
        return
    # What is accepted is JSON to Python too.
    assert isinstance(json.loads(body), dict)
    for name in ("model", "stream", "n"):
        fields.given(name)
        fields.integer(name)
        fields.text(name)
        fields.within(name)
