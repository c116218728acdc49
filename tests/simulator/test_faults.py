"""Each fault as it is seen on a socket. `CASES` names them all."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import pytest

from simulator.compose import TEXT
from simulator.faults import FAULTS
from simulator.server import Simulator
from tests.simulator.raw import PATHS, PATIENT, QUIET, Heard, ask, body_for, exchange, request

FORMATS = list(PATHS)
STATUSES = {
    "400": 400,
    "400-context": 400,
    "400-policy": 400,
    "400-parameter": 400,
    "400-billing": 400,
    "400-key": 400,
    "401": 401,
    "402": 402,
    "403": 403,
    "403-model": 403,
    "404": 404,
    "408": 408,
    "409": 409,
    "413": 413,
    "422": 422,
    "429": 429,
    "429-quota": 429,
    "500": 500,
    "502": 502,
    "503": 503,
    "504": 504,
    "529": 529,
}
IN_STREAM = ["error-overloaded", "error-rate", "error-auth", "error-billing", "error-server", "error-invalid"]


def done(heard: Heard) -> bool:
    return heard.complete and heard.ending == "eof" and heard.data[-1] == "[DONE]"


def frames(heard: Heard, number: int) -> bool:
    return len(heard.frames) == number and b"[DONE]" not in heard.body


def unzipped(heard: Heard) -> bytes:
    return zlib.decompress(heard.body, wbits=31)


CASES: dict[str, Callable[[Heard], bool]] = {
    "404-path": lambda h: h.status == 404 and h.headers["content-type"] == "text/plain" and h.complete,
    "redirect": lambda h: h.status == 302 and h.headers["location"].startswith("http://elsewhere"),
    "html": lambda h: h.status == 200 and h.body.startswith(b"<!DOCTYPE html>"),
    "html-502": lambda h: h.status == 502 and h.headers["content-type"].startswith("text/html"),
    "empty": lambda h: h.status == 200 and h.body == b"" and h.complete,
    "done-only": lambda h: h.body == b"data: [DONE]\n\n" and h.complete,
    "truncated": lambda h: frames(h, 3) and h.complete,
    "no-done": lambda h: h.complete and h.data[-1]["choices"][0]["finish_reason"] == "stop",
    "no-finish": lambda h: done(h) and h.data[-2]["choices"][0]["finish_reason"] is None,
    "after-done": lambda h: done(h) and h.data.count("[DONE]") == 2 and h.data[-2] == h.data[2],
    "bad-json": lambda h: (
        h.complete and h.frames[0].startswith(b'data: {"broken": "id"') and h.frames[1][-1:] == b"}"
    ),
    "bad-json-2": lambda h: sum(b'"broken"' in frame for frame in h.frames) == 2,
    "bad-utf8": lambda h: h.complete and b"\xff\xc3\x28\xfe" in h.frames[1],
    "huge": lambda h: h.complete and len(h.frames[1]) > 40 * 2**20 and h.data[-1] == "[DONE]",
    "pings": lambda h: h.body.count(b": ping\n\n") == len(h.data) == 43,
    "comments": lambda h: h.body.count(b": a comment\n\n") == len(h.data) == 43,
    "unknown": lambda h: done(h) and h.data[1]["object"] == "chat.completion.future",
    "crlf": lambda h: (
        h.body.endswith(b"data: [DONE]\r\n\r\n") and h.body.count(b"\n") == h.body.count(b"\r\n")
    ),
    "multiline": lambda h: (
        h.frames[0].startswith(b'data: {\ndata: "id"') and h.frames[0].endswith(b"\ndata: }")
    ),
    "tight": lambda h: h.frames[0].startswith(b'id:7\nretry:3000\ndata:{"id"'),
    "bom": lambda h: h.body.startswith(b"\xef\xbb\xbfdata: "),
    "swap": lambda h: (
        h.headers["content-type"] == "application/json" and h.json["object"] == "chat.completion"
    ),
    "stall-head": lambda h: h.raw == b"" and h.ending == "silence",
    "stall-first": lambda h: h.status == 200 and h.body == b"" and h.ending == "silence",
    "stall": lambda h: frames(h, 3) and h.ending == "silence",
    "reset-head": lambda h: h.raw == b"" and h.ending == "reset",
    "close-head": lambda h: h.raw == b"" and h.ending == "eof",
    "cut": lambda h: frames(h, 3) and h.ending == "eof" and not h.complete,
    "reset": lambda h: frames(h, 3) and h.ending == "reset",
    "close-after": lambda h: done(h) and "connection" not in h.headers,
    "garbage": lambda h: h.raw.startswith(b"\x00\x01 this is no HTTP"),
    "half-line": lambda h: frames(h, 3) and h.complete and not h.body.endswith(b"\n"),
    "cut-utf8": lambda h: frames(h, 3) and h.complete and h.body[-1] >= 0xC0,
    "until-close": lambda h: (
        h.data[-1] == "[DONE]" and not {"content-length", "transfer-encoding"} & set(h.headers)
    ),
    "drip": lambda h: h.complete and h.raw.count(b"\r\n1\r\n") > 50,
    "gzip": lambda h: h.headers["content-encoding"] == "gzip" and unzipped(h).endswith(b"data: [DONE]\n\n"),
    "gzip-bomb": lambda h: len(h.body) < 40_000 and len(unzipped(h)) > 19_900_000,
    "length-short": lambda h: h.complete and len(h.rest) - len(h.body) in (0, 1) and h.ending == "eof",
    "length-long": lambda h: not h.complete and h.data[-1] == "[DONE]" and h.ending == "eof",
    "length-stall": lambda h: not h.complete and h.data[-1] == "[DONE]" and h.ending == "silence",
    "smuggle": lambda h: h.complete and h.rest.startswith(b"HTTP/1.1 200 OK") and b"smuggled" in h.rest,
    "100": lambda h: h.interim == [100] and done(h),
    "103": lambda h: h.interim == [103] and done(h),
    "trailers": lambda h: h.complete and b"x-simulator-trailer: yes" in h.trailers,
    "trailers-length": lambda h: h.complete and b"content-length: 3" in h.trailers,
    "body-reset": lambda h: h.raw == b"" and h.ending == "reset",
    "body-refuse": lambda h: h.raw == b"" and h.ending == "silence",
    "body-early": lambda h: h.status == 413 and h.complete,
}
MORE = {
    "drip": ".chunks-0.delay-1",
    "bad-json": ".after-0",
    "huge": ".chunks-2",
    "gzip-bomb": ".bytes-20000000",
    "length-short": ".chunks-3",
    "cut-utf8": ".after-3",
}


def quiet(fault: str) -> float:
    """Seconds of silence to wait for: short where silence is the point."""
    return QUIET if "stall" in fault or fault in ("body-refuse", "smuggle") else PATIENT


def test_every_fault_has_its_case() -> None:
    assert set(CASES) | set(STATUSES) | set(IN_STREAM) == set(FAULTS)


@pytest.mark.parametrize("fault", CASES)
async def test_a_fault_is_seen_on_the_socket(vendor: Simulator, fault: str) -> None:
    keep = fault in ("close-after", "smuggle")
    heard = await ask(vendor, f"sim.fault-{fault}{MORE.get(fault, '')}", keep=keep, quiet=quiet(fault))
    assert CASES[fault](heard), (heard.ending, heard.raw[:2000])


@pytest.mark.parametrize(
    "fault", ["html", "truncated", "bad-utf8", "cut", "reset", "stall", "gzip", "body-reset", "body-early"]
)
async def test_the_same_fault_comes_from_a_script(vendor: Simulator, fault: str) -> None:
    vendor.script([f"fault-{fault}{MORE.get(fault, '')}", "ok"], secret="sk-a")
    keep = fault in ("close-after", "smuggle")
    heard = await ask(vendor, "sim", keep=keep, quiet=quiet(fault))
    assert CASES[fault](heard), (heard.ending, heard.raw[:2000])
    assert done(await ask(vendor, "sim"))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("fault", "status"), STATUSES.items())
async def test_a_refusal_speaks_each_vendors_language(
    vendor: Simulator, format_: str, fault: str, status: int
) -> None:
    heard = await ask(vendor, f"sim.fault-{fault}", format_)
    assert heard.status == status
    error = heard.json["error"]
    match format_:
        case "anthropic":
            assert heard.json["type"] == "error"
            assert set(error) == {"type", "message"}
        case "gemini":
            assert error["code"] in (status, 503)
            assert error["status"].isupper()
        case _:
            assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("stream", [True, False])
async def test_retry_after_comes_in_seconds_or_as_a_date(vendor: Simulator, stream: bool) -> None:
    plain = await ask(vendor, "sim.fault-429", stream=stream)
    seconds = await ask(vendor, "sim.fault-429.retry-7", stream=stream)
    date = await ask(vendor, "sim.fault-429.retry-date", stream=stream)
    assert "retry-after" not in plain.headers
    assert seconds.headers["retry-after"] == "7"
    assert parsedate_to_datetime(date.headers["retry-after"]).year > 2020


async def test_an_error_text_can_hold_what_must_not_travel_on(vendor: Simulator) -> None:
    heard = await ask(vendor, "sim.fault-401.leak")
    assert "Bearer sk-a" in heard.json["error"]["message"]
    assert "10.0.0.7" in heard.json["error"]["message"]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("fault", IN_STREAM)
async def test_an_error_is_the_first_event_of_a_200(vendor: Simulator, format_: str, fault: str) -> None:
    heard = await ask(vendor, f"sim.fault-{fault}", format_)
    assert heard.status == 200
    assert heard.complete
    (event,) = heard.data
    match format_:
        case "anthropic":
            assert heard.body.startswith(b"event: error\n")
            assert event["type"] == "error"
        case "openai_responses":
            assert heard.body.startswith(b"event: error\n")
            assert event["message"]
        case _:
            assert event["error"]["message"]


@pytest.mark.parametrize("format_", FORMATS)
async def test_an_error_comes_after_frames_and_ends_the_stream(vendor: Simulator, format_: str) -> None:
    heard = await ask(vendor, "sim.fault-error-server.after-4", format_)
    assert len(heard.data) == 5
    last = heard.data[-1]
    match format_:
        case "openai_responses":
            assert last["type"] == "response.failed"
            assert last["sequence_number"] == 4
            assert last["response"]["error"]["code"] == "server_error"
        case _:
            assert "error" in last


async def test_a_responses_error_event_can_be_nested(vendor: Simulator) -> None:
    heard = await ask(vendor, "sim.fault-error-rate.nested", "openai_responses")
    assert heard.data[0]["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("fault", "ending"), [("cut", "eof"), ("reset", "reset"), ("stall", "silence"), ("truncated", "eof")]
)
@pytest.mark.parametrize("after", [0, 1, 5])
async def test_a_stream_breaks_after_as_many_frames_as_the_name_says(
    vendor: Simulator, format_: str, fault: str, ending: str, after: int
) -> None:
    heard = await ask(vendor, f"sim.fault-{fault}.after-{after}", format_, quiet=quiet(fault))
    assert (heard.status, heard.ending, len(heard.frames)) == (200, ending, after)
    assert heard.complete is (fault == "truncated")


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "fault", ["done-only", "no-done", "no-finish", "unknown", "pings", "multiline", "crlf"]
)
async def test_faults_among_frames_fit_every_format(vendor: Simulator, format_: str, fault: str) -> None:
    heard = await ask(vendor, f"sim.fault-{fault}.chunks-3", format_)
    plain = await ask(vendor, "sim.chunks-3", format_)
    assert heard.complete
    sizes = {"done-only": 1, "no-done": -1, "no-finish": 0, "unknown": 1, "pings": 0}
    if fault == "done-only":
        assert len(heard.data) == 1
    elif fault == "multiline":
        assert heard.body.count(b"data: ") > plain.body.count(b"data: ")
    elif fault == "pings" and format_ == "anthropic":
        assert heard.body.count(b"event: ping") == len(plain.frames) + 1
    elif fault == "no-finish" and format_ in ("openai_chat", "anthropic", "openai_responses"):
        assert len(heard.data) == len(plain.data) - 1
    elif fault != "crlf":
        assert len(heard.data) == len(plain.data) + sizes[fault]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    ("fault", "ending", "whole"),
    [
        ("cut", "eof", False),
        ("reset", "reset", False),
        ("stall", "silence", False),
        ("truncated", "eof", True),
    ],
)
async def test_a_whole_answer_breaks_in_its_middle(
    vendor: Simulator, format_: str, fault: str, ending: str, whole: bool
) -> None:
    heard = await ask(vendor, f"sim.fault-{fault}", format_, stream=False, quiet=quiet(fault))
    assert (heard.ending, heard.complete) == (ending, whole)
    assert heard.body.startswith(b"{")
    assert not heard.body.endswith(b"}\n")


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_whole_answer_holds_faults_of_content(vendor: Simulator, format_: str) -> None:
    error = await ask(vendor, "sim.fault-error-billing", format_, stream=False)
    assert error.status == 200
    assert error.json["error"]["message"]
    assert (await ask(vendor, "sim.fault-done-only", format_, stream=False)).body == b"{}"
    assert (await ask(vendor, "sim.fault-bad-json", format_, stream=False)).body.startswith(b'{"broken": ')
    swapped = await ask(vendor, "sim.fault-swap", format_, stream=False)
    assert swapped.headers["content-type"].startswith(("text/event-stream", "application/json"))
    huge = await ask(vendor, "sim.fault-huge.bytes-1000000", format_, stream=False)
    assert huge.complete
    assert len(huge.body) > 1_000_000


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_huge_event_is_made_once(vendor: Simulator, format_: str) -> None:
    heard = await ask(vendor, "sim.fault-huge.bytes-300000.after-2.chunks-5", format_)
    assert heard.complete
    assert [len(frame) > 300_000 for frame in heard.frames].count(True) == 1
    assert len(heard.data) == len((await ask(vendor, "sim.chunks-5", format_)).data)


@pytest.mark.parametrize("kind", ["negative", "huge", "string", "infinite", "float", "bool", "list"])
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("stream", [True, False])
async def test_hostile_counters_stand_as_they_are(
    vendor: Simulator, format_: str, stream: bool, kind: str
) -> None:
    literal = {
        "negative": b"-1",
        "huge": b"9223372036854775808",
        "string": b'"12"',
        "infinite": b"1e400",
        "float": b"12.5",
        "bool": b"true",
        "list": b"[12]",
    }[kind]
    more = {"stream_options": {"include_usage": True}} if format_ == "openai_chat" and stream else {}
    heard = await ask(vendor, f"sim.usage-{kind}", format_, stream=stream, **more)
    names = {
        "openai_chat": b'"prompt_tokens":',
        "openai_responses": b'"input_tokens":',
        "anthropic": b'"cache_read_input_tokens":',
        "gemini": b'"promptTokenCount":',
    }
    assert names[format_] + literal + b"," in heard.body
    assert b"7000000000000777" not in heard.body


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("missing", [None, None]),
        ("null", [None, None]),
        ("zero", [0]),
        ("shrinking", [6, 6, 6, 2]),
        ("repeated", [2, 2]),
        ("each", [2, 2, 2, 2]),
        ("finish", [2]),
    ],
)
async def test_chat_usage_comes_in_every_wrong_way(
    vendor: Simulator, kind: str, expected: list[int | None]
) -> None:
    heard = await ask(vendor, f"sim.usage-{kind}.chunks-2", stream_options={"include_usage": True})
    told = [chunk["usage"]["prompt_tokens"] for chunk in heard.data[:-1] if chunk.get("usage")]
    if None in expected:
        assert told == []
        assert ("usage" in heard.data[0]) is (kind == "null")
    else:
        assert told[-1] == expected[-1]
        assert len(told) >= len(expected)
        assert set(told) == set(expected)


async def test_anthropic_usage_comes_in_every_wrong_way(vendor: Simulator) -> None:
    async def reports(kind: str) -> list[dict[str, int]]:
        heard = await ask(vendor, f"sim.usage-{kind}.in-100.out-50.cached-10.w5m-5", "anthropic")
        found = [event.get("usage") or event.get("message", {}).get("usage") for event in heard.data]
        return [usage for usage in found if usage]

    assert [(each.get("input_tokens"), each["output_tokens"]) for each in await reports("wiped")] == [
        (85, 1),
        (0, 50),
    ]
    assert [each.get("input_tokens") for each in await reports("restated")] == [85, 85]
    assert [each["output_tokens"] for each in await reports("start")] == [50, 0]
    assert [each["output_tokens"] for each in await reports("shrinking")] == [150, 50]
    assert [each["output_tokens"] for each in await reports("repeated")] == [1, 50, 50]
    assert all("cache_creation" not in each for each in await reports("sum"))
    assert await reports("missing") == []
    assert await reports("null") == []


async def test_gemini_usage_may_come_after_the_end_or_hold_the_thoughts(vendor: Simulator) -> None:
    late = await ask(vendor, "sim.usage-late.chunks-2", "gemini")
    assert "usageMetadata" not in late.data[-2]
    assert late.data[-2]["candidates"][0]["finishReason"] == "STOP"
    assert late.data[-1]["usageMetadata"]["totalTokenCount"] == 4
    assert "candidates" not in late.data[-1]
    inside = await ask(vendor, "sim.usage-inside.out-50.reason-20.in-7", "gemini")
    usage = inside.data[-1]["usageMetadata"]
    assert (usage["candidatesTokenCount"], usage["thoughtsTokenCount"], usage["totalTokenCount"]) == (
        50,
        20,
        57,
    )
    shrinking = await ask(vendor, "sim.usage-shrinking.in-10.out-5.chunks-3", "gemini")
    assert [chunk["usageMetadata"]["promptTokenCount"] for chunk in shrinking.data] == [30, 30, 10]


async def test_a_body_is_cut_wherever_the_pieces_fall(vendor: Simulator) -> None:
    heard = await ask(vendor, "sim.cut-7.utf8")
    assert done(heard)
    sizes = heard.raw.count(b"\r\n7\r\n")
    assert sizes >= len(heard.body) // 7 - 1


async def test_text_with_wide_letters_is_not_escaped(vendor: Simulator) -> None:
    heard = await ask(vendor, "sim.utf8", stream=False)
    assert "你好" in heard.body.decode()


async def test_a_name_with_an_unknown_option_is_refused_with_its_name(vendor: Simulator) -> None:
    heard = await ask(vendor, "sim.chnks-3")
    assert heard.status == 400
    assert "chnks" in heard.json["error"]["message"]


async def test_waits_are_kept(vendor: Simulator) -> None:
    silent = await ask(vendor, "sim.wait-60000", quiet=QUIET)
    assert silent.raw == b""
    first = await ask(vendor, "sim.first-60000", quiet=QUIET)
    assert first.status == 200
    assert first.body == b""
    between = await ask(vendor, "sim.delay-60000", quiet=QUIET)
    assert len(between.frames) == 1
    last = await ask(vendor, "sim.chunks-2.last-60000", quiet=QUIET)
    assert last.data[-1]["choices"][0]["finish_reason"] == "stop"
    paused = await ask(vendor, "sim.pause-60000.after-2", quiet=QUIET)
    assert len(paused.frames) == 2


async def test_a_body_is_reset_while_it_is_sent(vendor: Simulator) -> None:
    told = request(
        "/v1/chat/completions", {**body_for("openai_chat", "sim.fault-body-reset"), "pad": "x" * 3_000_000}
    )
    heard = await exchange(vendor, told)
    assert heard.ending == "reset"
    assert vendor.requests[-1].body == b""


async def test_a_pace_is_for_plain_names_alone() -> None:
    async with Simulator(pace=60_000) as slow:
        assert len((await ask(slow, "gpt-4.1-mini", quiet=QUIET)).frames) == 1
        assert done(await ask(slow, "sim.chunks-3"))


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_plain_answer_is_the_text_in_every_format(vendor: Simulator, format_: str) -> None:
    heard = await ask(vendor, "sim", format_, stream=False)
    assert heard.complete
    assert TEXT in heard.body.decode()
