from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.test_body import VALUES
from wire import FORMATS
from wire.splice import apply, item_spans, spans
from wire.types import GENERATE, BadRequest

CHAT = FORMATS["openai_chat"]


def retargeted(body: bytes, model: str = "up", *, ask_usage: bool = True) -> bytes:
    return CHAT.retarget(body, CHAT.peek(body, kind=GENERATE), model=model, ask_usage=ask_usage)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"fast"}', b'{"model":"up"}'),
        (b'{"model":"up"}', b'{"model":"up"}'),
        (b' {\n "model" :\t"fast" , "n":1}\n', b' {\n "model" :\t"up" , "n":1}\n'),
        (b'{"a":"model","model":"fast"}', b'{"a":"model","model":"up"}'),
        (b'{"a":"\\"model\\":\\"fast\\"","model":"fast"}', b'{"a":"\\"model\\":\\"fast\\"","model":"up"}'),
        (b'{"a":{"model":"fast"},"model":"fast"}', b'{"a":{"model":"fast"},"model":"up"}'),
        (b'{"a":[{"model":"fast"}],"model":"fast"}', b'{"a":[{"model":"fast"}],"model":"up"}'),
        (b'{"model":"fast","a":{"model":"fast"}}', b'{"model":"up","a":{"model":"fast"}}'),
        (b'{"mod\\u0065l":"fast"}', b'{"mod\\u0065l":"up"}'),
        (
            b'{"mod\\u0065l":"fast","a":{"model":"fast"}}',
            b'{"mod\\u0065l":"up","a":{"model":"fast"}}',
        ),
        (b'{"model":"f\\u0061st"}', b'{"model":"up"}'),
        (b'{"a":"\\ud800","b":{},"model":"fast"}', b'{"a":"\\ud800","b":{},"model":"up"}'),
        (b'{"\\ud800":{"model":1},"model":"fast"}', b'{"\\ud800":{"model":1},"model":"up"}'),
        ('{"a":"你好 🎉","b":[],"model":"fast"}'.encode(), '{"a":"你好 🎉","b":[],"model":"up"}'.encode()),
        (b'{"a":1e400,"a":-0.0,"model":"fast"}', b'{"a":1e400,"a":-0.0,"model":"up"}'),
        (b'{"a":' + b"9" * 5000 + b',"model":"fast"}', b'{"a":' + b"9" * 5000 + b',"model":"up"}'),
        (b'{"a":"\\\\","model":"fast"}', b'{"a":"\\\\","model":"up"}'),
        (b'{"{":"[","model":"fast"}', b'{"{":"[","model":"up"}'),
        (
            b'{"a":[{}],"model":"fast","b":{"c":1, "d" :"}"} }',
            b'{"a":[{}],"model":"up","b":{"c":1, "d" :"}"} }',
        ),
        (b'{"model":"fast","b":{"model":"fast"}}', b'{"model":"up","b":{"model":"fast"}}'),
        (b'{"a":[],"model":"fast","b":{"model":"fast"}}', b'{"a":[],"model":"up","b":{"model":"fast"}}'),
        (
            b'{"a":[],"mod\\u0065l":"fast","b":{"model":"x"}}',
            b'{"a":[],"mod\\u0065l":"up","b":{"model":"x"}}',
        ),
        (b'{"a":{"b":{"model":"x"}},"model":"fast"}', b'{"a":{"b":{"model":"x"}},"model":"up"}'),
        (b'{"a":[],"model":"fast","b":"model"}', b'{"a":[],"model":"up","b":"model"}'),
        (b'{"a":[],"model":"fast","b":["model"]}', b'{"a":[],"model":"up","b":["model"]}'),
    ],
    ids=lambda body: body[:40].decode(),
)
def test_only_the_bytes_of_the_model_change(body: bytes, expected: bytes) -> None:
    assert retargeted(body) == expected


def test_a_body_that_needs_no_change_is_handed_on_itself() -> None:
    body = b'{"model":"up","stream":true,"stream_options":{"include_usage":true}}'
    assert retargeted(body) is body


def test_a_name_is_written_as_json() -> None:
    assert retargeted(b'{"model":"fast"}', 'quo"te\\') == b'{"model":"quo\\"te\\\\"}'


OPTIONS = b'{"include_usage":true}'


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"m","stream":true}', b'{"stream_options":' + OPTIONS + b',"model":"m","stream":true}'),
        (
            b' { "model":"m","stream":true}',
            b' {"stream_options":' + OPTIONS + b', "model":"m","stream":true}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":null}',
            b'{"model":"m","stream":true,"stream_options":' + OPTIONS + b"}",
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{}}',
            b'{"model":"m","stream":true,"stream_options":' + OPTIONS + b"}",
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{ }}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true }}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_usage":false}}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{"x":1,"include_usage": null ,"y":[{}]}}',
            b'{"model":"m","stream":true,"stream_options":{"x":1,"include_usage": true ,"y":[{}]}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_obfuscation":false}}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_usage":false,"include_us\\u0061ge":false}}',
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true,"include_us\\u0061ge":true}}',
        ),
        (
            b'{"model":"m","stream":true,"stream_opti\\u006fns":{"include_usage":false}}',
            b'{"model":"m","stream":true,"stream_opti\\u006fns":{"include_usage":true}}',
        ),
        (
            b'{"model":"m","stream":true,"a":{"stream_options":{"x":1}}}',
            b'{"stream_options":{"include_usage":true},"model":"m","stream":true,"a":{"stream_options":{"x":1}}}',
        ),
    ],
    ids=lambda body: body[:80].decode(),
)
def test_a_stream_is_asked_for_its_usage(body: bytes, expected: bytes) -> None:
    assert retargeted(body, "m") == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"}',
        b'{"model":"m","stream":false}',
        b'{"model":"m","stream":null,"stream_options":{"include_usage":false}}',
        b'{"model":"m","stream":false,"stream_options":null}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        b'{"model":"m","stream":true,"stream_options":"wrong"}',
        b'{"model":"m","stream":true,"stream_options":[]}',
        b'{"model":"m","stream":true,"stream_options":{"include_usage":"yes"}}',
    ],
    ids=lambda body: body.decode(),
)
def test_no_stream_options_are_touched_where_none_must_be(body: bytes) -> None:
    assert retargeted(body, "m") is body


def test_a_vendor_that_refuses_the_field_does_not_get_it() -> None:
    body = b'{"model":"m","stream":true}'
    assert retargeted(body, "m", ask_usage=False) is body


def test_both_edits_are_made_at_once() -> None:
    body = b'{"stream_options":{"a":1},"stream":true,"model":"fast"}'
    expected = b'{"stream_options":{"include_usage":true,"a":1},"stream":true,"model":"up"}'
    assert retargeted(body) == expected


@settings(max_examples=count(80, 3_000), deadline=None)
@given(
    st.dictionaries(st.text().filter(lambda name: name not in ("model", "stream", "n")), VALUES, max_size=5),
    st.sampled_from([None, {}, {"include_usage": False}, {"include_usage": True, "x": [1]}, "absent"]),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
)
def test_all_but_the_edited_stays_equal(
    extra: dict[str, Any], options: Any, place: int, stream: bool, ascii_only: bool
) -> None:
    fields = list(extra.items())
    fields.insert(place, ("model", "fast"))
    fields.append(("stream", stream))
    if options != "absent":
        fields.insert(place, ("stream_options", options))
    raw = json.dumps(dict(fields), ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        changed = json.loads(retargeted(raw))
    except BadRequest:
        assert b"\xed" in raw, "only a lone surrogate written raw makes the body bad"
        return
    expected = {**dict(fields), "model": "up"}
    if stream:
        expected["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    assert changed == json.loads(json.dumps(expected))


@settings(max_examples=count(80, 3_000), deadline=None)
@given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from([None, 2]))
def test_spans_cover_exactly_the_values(body: dict[str, Any], indent: int | None) -> None:
    raw = json.dumps(body, indent=indent).encode()
    if b"\\ud" not in raw:
        found = {name: json.loads(raw[start:end]) for name, start, end in spans(raw)}
        assert found == body
        for name, start, end in spans(raw):
            if isinstance(body[name], list):
                values = [json.loads(raw[first:last]) for first, last in item_spans(raw, start, end)]
                assert values == body[name]


def test_edits_are_applied_wherever_they_stand() -> None:
    assert apply(b"abcdef", [(4, 5, b"E!"), (0, 0, b">"), (1, 2, b"")]) == b">acdE!f"


@settings(max_examples=count(300, 5_000), deadline=None)
@given(
    st.binary(max_size=80)
    | st.text(alphabet='{}[]",:\\u06d5amodel strtn_ipsu1', max_size=80).map(
        lambda text: b'{"model":"m",' + text.encode() + b"}"
    )
)
def test_peeking_and_retargeting_raise_nothing_but_a_bad_request(body: bytes) -> None:
    for wire in FORMATS.values():
        for kind in ("generate", "embed", "complete", "count_tokens"):
            try:
                brief = wire.peek(body, kind=kind, path="/v1beta/models/m:streamGenerateContent")
            except BadRequest:
                continue
            assert json.loads(wire.retarget(body, brief, model="up")) is not None
