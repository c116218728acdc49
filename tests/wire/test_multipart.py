from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from tests.counts import count
from tests.wire.cuts import cut_at, every_cut, in_reads
from wire.multipart import MAX_HEAD, MAX_PARTS, MAX_VALUE, Form, FormScanner
from wire.types import TRANSCRIBE, BadRequest, Brief

TYPE = "multipart/form-data; boundary=XX"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg'


def field(name: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"'.encode()


def form(*parts: tuple[bytes, bytes], preamble: bytes = b"", epilogue: bytes = b"\r\n") -> bytes:
    body = b"".join(b"--XX\r\n" + head + b"\r\n\r\n" + value + b"\r\n" for head, value in parts)
    return preamble + body + b"--XX--" + epilogue


def scan(pieces: list[bytes], content_type: str = TYPE) -> Form:
    scanner = FormScanner(content_type)
    for piece in pieces:
        scanner.feed(piece)
    return scanner.finish()


def retargeted(body: bytes, found: Form, model: str) -> bytes:
    return b"".join(
        piece if isinstance(piece, bytes) else body[piece[0] : piece[1]] for piece in found.pieces(model)
    )


SOUND = b"\x00\r\n--X\xff\r\n-\r\n--" * 200
WHOLE = form(
    (FILE, SOUND),
    (field("model"), b"whisper-1"),
    (field("stream"), b"true"),
    (field("n"), b"2"),
    (field("prompt"), b""),
    (field("timestamp_granularities[]"), b"word"),
)


def test_it_finds_the_model_under_every_cut() -> None:
    found = every_cut(WHOLE, scan, times=count(50, 2000))
    value = found.values["model"]
    assert WHOLE[value.start : value.end] == b"whisper-1"
    assert found.size == len(WHOLE)
    assert found.brief(TRANSCRIBE) == Brief(model="whisper-1", kind=TRANSCRIBE, stream=True, count=2)


@pytest.mark.parametrize("model", ["up", "a-much-longer-upstream-name", "whisper-1"])
def test_only_the_bytes_of_the_model_change_and_the_length_is_known(model: str) -> None:
    found = scan([WHOLE])
    changed = retargeted(WHOLE, found, model)
    assert changed == WHOLE.replace(b"whisper-1", model.encode())
    assert found.retargeted_size(model) == len(changed)


@pytest.mark.parametrize(
    "content_type",
    [
        TYPE,
        'multipart/form-data; boundary="XX"',
        "Multipart/Form-Data; charset=utf-8; Boundary=XX",
        "multipart/form-data;boundary=XX; x=y",
    ],
)
def test_it_knows_the_boundary_in_every_spelling(content_type: str) -> None:
    assert scan([WHOLE], content_type).values["model"].text == "whisper-1"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=XX",
    ],
)
def test_without_a_boundary_it_is_no_form(content_type: str) -> None:
    with pytest.raises(BadRequest):
        FormScanner(content_type)


@pytest.mark.parametrize(
    "head",
    [
        b'content-disposition: form-data; name="model"',
        b"Content-Disposition: form-data; name=model",
        b'CONTENT-DISPOSITION:form-data;name="model"',
        b'Content-Type: text/plain\r\nContent-Disposition: form-data; name="model"',
    ],
)
def test_it_knows_the_field_in_every_spelling(head: bytes) -> None:
    assert scan([form((head, b"m"))]).values["model"].text == "m"


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"this is a form\r\n"])
@pytest.mark.parametrize(
    "epilogue", [b"", b"\r\n", b'\r\n--XX\r\nContent-Disposition: form-data; name="model"']
)
def test_what_stands_before_and_behind_the_form_does_not_count(preamble: bytes, epilogue: bytes) -> None:
    body = form((field("model"), b"m"), preamble=preamble, epilogue=epilogue)
    found = every_cut(body, scan, times=count(20, 500))
    assert (found.values["model"].text, found.size) == ("m", len(body))


def test_blanks_behind_a_boundary_are_allowed() -> None:
    body = form((field("model"), b"m")).replace(b"--XX\r\n", b"--XX \t\r\n")
    assert scan([body]).values["model"].text == "m"


@pytest.mark.parametrize(
    ("value", "expected"), [(b"true", True), (b"True", True), (b"1", True), (b"false", False), (b"", False)]
)
def test_a_stream_flag_is_a_word(value: bytes, expected: bool) -> None:
    found = scan([form((field("model"), b"m"), (field("stream"), value))])
    assert found.brief(TRANSCRIBE).stream is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"3", 3), (b"0", 1), (b"-3", 1), (b"x", 1), (b"", 1), (b"9" * 400, 1), ("٣".encode(), 1)],
)
def test_a_number_that_is_none_counts_once(value: bytes, expected: int) -> None:
    found = scan([form((field("model"), b"m"), (field("n"), value))])
    assert found.brief(TRANSCRIBE).count == expected


@pytest.mark.parametrize("value", [b"", b"../x", b"a b", "modèle".encode(), b"a\r\nb"])
def test_a_model_that_is_no_name_is_refused(value: bytes) -> None:
    found = scan([form((field("model"), value))])
    with pytest.raises(BadRequest) as refused:
        found.brief(TRANSCRIBE)
    assert refused.value.param == "model"


def test_a_form_without_a_model_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        scan([form((field("prompt"), b"x"))]).brief(TRANSCRIBE)
    assert refused.value.param == "model"


MODEL = b'Content-Disposition: form-data; name="model"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--XX",
        b"--XX\r\n",
        b"no form at all",
        form((MODEL, b"m"))[:-4],
        form((MODEL, b"a"), (MODEL, b"b")),
        form((field("stream"), b"true"), (MODEL, b"m"), (field("stream"), b"false")),
        form((b'Content-Disposition: form-data; name="model"; filename="x"', b"m")),
        form((b"Content-Disposition: form-data; name*=utf-8''model", b"m")),
        form((b'Content-Disposition: form-data; name="x"; name="model"', b"m")),
        form((b"Content-Disposition: form-data; name=\"x\"; name*=utf-8''model", b"m")),
        form((MODEL + b"\r\nContent-Transfer-Encoding: base64", b"bQ==")),
        form((MODEL + b"\r\n" + field("x"), b"m")),
        form((b'Content-Disposition: attachment; name="model"', b"m")),
        form((b"Content-Disposition: form-data", b"m")),
        form((b'Content-Disposition: form-data;\r\n name="model"', b"m")),
        form((b"Content-Type: text/plain", b"m")),
        form((MODEL, b"\xff")),
        form((MODEL, b"x" * (MAX_VALUE + 1))),
        form((b"X: " + b"x" * MAX_HEAD, b"m")),
        form(*[(field("x"), b"")] * (MAX_PARTS + 1)),
        b"--XX\r\n\r\nm\r\n--XX--\r\n",
        b"--XXY\r\n" + MODEL + b"\r\n\r\nm\r\n--XX--\r\n",
        b"--XX\n" + MODEL + b"\n\nm\n--XX--\n",
        b"--XX\r\n" + MODEL + b"\r\n\r\n--XX--\r\n",
        b"--XX\r\n" + field("x") + b"\r\n\r\n--XX\r\n" + MODEL + b"\r\n\r\nm\r\n--XX--\r\n",
        b"--XX\r\n" + MODEL + b"\r\n\r\nm\r\n--XXYZ\r\n--XX--\r\n",
    ],
    ids=lambda body: body[:60].decode("latin-1"),
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_parsers_may_read_differently_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(BadRequest):
        scan(in_reads(body, size))


def test_an_escaped_name_is_known_and_not_taken_for_another() -> None:
    with pytest.raises(BadRequest):
        scan([form((b'Content-Disposition: form-data; name="mod\\el"', b"a"), (MODEL, b"b"))])


def test_little_is_remembered_of_a_large_file() -> None:
    scanner = FormScanner(TYPE)
    scanner.feed(b"--XX\r\n" + FILE + b"\r\n\r\n")
    for _ in range(100):
        scanner.feed(b"\x00\r\n--X" * 1000)
    assert len(scanner._held) < 100
    assert scanner._value == b""


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 600), max_size=20))
def test_any_file_and_any_cut_leave_the_model_where_it_is(content: bytes, places: list[int]) -> None:
    if b"\r\n--XX" in b"\r\n" + content:
        return
    body = form((FILE, content), (MODEL, b"whisper-1"))
    found = scan(cut_at(body, places))
    assert retargeted(body, found, "up") == form((FILE, content), (MODEL, b"up"))


@settings(max_examples=count(200, 3_000), deadline=None)
@given(st.binary(max_size=200) | st.text('-X\r\n:;="modelnaC ', max_size=200).map(str.encode))
def test_nothing_but_a_bad_request_is_ever_raised(body: bytes) -> None:
    try:
        scan([b"--XX\r\n", body, b"\r\n--XX--"]).brief(TRANSCRIBE)
    except BadRequest:
        pass
