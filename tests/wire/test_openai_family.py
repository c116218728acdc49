from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.cuts import run_watch, transcript
from tests.wire.usage_payloads import event as frame
from wire import FORMATS
from wire.format import Passed
from wire.types import (
    COMPLETE,
    EMBED,
    IMAGE,
    MODERATE,
    RERANK,
    SPEECH,
    STORED,
    TRANSCRIBE,
    BadFrame,
    BadRequest,
    Brief,
    InbandError,
)

CHAT = FORMATS["openai_chat"]


def peeked(kind: str, **fields: Any) -> Brief:
    return CHAT.peek(json.dumps({"model": "m", **fields}).encode(), kind=kind)


@pytest.mark.parametrize(
    ("kind", "fields", "count"),
    [
        (EMBED, {"input": "one"}, 1),
        (EMBED, {"input": ["one", "two"]}, 2),
        (EMBED, {"input": [1, 2, 3]}, 1),
        (EMBED, {"input": [-1]}, 1),
        (EMBED, {"input": [[1, 2], [3]]}, 2),
        (EMBED, {"input": []}, 1),
        (EMBED, {}, 1),
        (MODERATE, {"input": ["a", "b", "c"]}, 3),
        (RERANK, {"query": "q", "documents": ["a", {"text": "b"}]}, 2),
        (IMAGE, {"n": 4}, 4),
        (IMAGE, {}, 1),
        (COMPLETE, {"prompt": "x"}, 1),
        (COMPLETE, {"prompt": ["x", "y"], "n": 3}, 6),
        (COMPLETE, {"prompt": [1, 2], "n": 2, "best_of": 5}, 5),
        (SPEECH, {"input": ["a", "b"], "n": 3}, 1),
    ],
)
def test_it_counts_what_a_request_asks_for(kind: str, fields: dict[str, Any], count: int) -> None:
    assert peeked(kind, **fields) == Brief(model="m", kind=kind, count=count)


@pytest.mark.parametrize(
    ("kind", "fields", "stream", "wants_usage"),
    [
        (COMPLETE, {"stream": True}, True, False),
        (COMPLETE, {"stream": True, "stream_options": {"include_usage": True}}, True, True),
        (IMAGE, {"stream": True, "stream_options": {"include_usage": True}}, True, False),
        (SPEECH, {"stream_format": "sse"}, True, False),
        (SPEECH, {"stream_format": "audio"}, False, False),
        (SPEECH, {"stream": True}, False, False),
    ],
)
def test_each_path_streams_in_its_own_way(
    kind: str, fields: dict[str, Any], stream: bool, wants_usage: bool
) -> None:
    brief = peeked(kind, **fields)
    assert (brief.stream, brief.wants_usage) == (stream, wants_usage)


def test_a_completion_tells_its_limit() -> None:
    assert peeked(COMPLETE, max_tokens=7).max_tokens == 7


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"model":"a","model":"b"}', b'{"model":"m","stream":5}'])
def test_a_request_that_cannot_be_relayed_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        CHAT.peek(body, kind=EMBED)


def test_what_is_stored_has_no_body() -> None:
    assert CHAT.peek(b"", kind=STORED) == Brief(model="", kind=STORED)


def test_of_all_these_a_completion_alone_is_asked_for_usage() -> None:
    body = b'{"model":"m","stream":true}'
    for kind in (IMAGE, EMBED, RERANK):
        assert CHAT.retarget(body, CHAT.peek(body, kind=kind), model="m") is body
    asked = CHAT.retarget(body, CHAT.peek(body, kind=COMPLETE), model="m")
    assert json.loads(asked)["stream_options"] == {"include_usage": True}


def test_events_that_carry_nothing_known_are_content() -> None:
    watch = CHAT.watch(Brief(model="m", kind=IMAGE, stream=True))
    event = frame({"type": "image_generation.partial_image", "b64_json": "x"})
    assert watch.feed(event) == Passed(event)
    assert watch.meaningful


@pytest.mark.parametrize("kind", ["transcript.text.done", "image_generation.completed", "speech.audio.done"])
def test_a_done_event_ends_a_stream(kind: str) -> None:
    watch = CHAT.watch(Brief(model="m", kind=IMAGE, stream=True))
    event = frame({"type": kind, "usage": {"input_tokens": 5, "output_tokens": 6}})
    assert watch.feed(event) == Passed(end=event)
    assert (watch.ended, watch.usage().output_tokens, watch.usage().final) == (True, 6, True)


def test_the_end_of_the_file_ends_a_stream_that_delivered_something() -> None:
    brief = Brief(model="m", kind=TRANSCRIBE, stream=True)
    delta = frame({"type": "transcript.text.delta", "delta": "Hi"})
    assert run_watch(CHAT.watch(brief), [delta]).ended
    assert not run_watch(CHAT.watch(brief), []).ended


@pytest.mark.parametrize("before", [b"", frame({"type": "transcript.text.delta", "delta": "Hi"})])
def test_an_error_is_told(before: bytes) -> None:
    brief = Brief(model="m", kind=TRANSCRIBE, stream=True)
    error = frame({"type": "error", "error": {"message": "m", "code": "rate_limit_exceeded"}})
    followed = run_watch(CHAT.watch(brief), [before + error])
    assert followed.error == InbandError(429, "rate_limit_exceeded", "m")
    assert (followed.out, followed.ended) == (before, False)


@pytest.mark.parametrize("name", ["transcription", "images", "speech"])
def test_recorded_streams_give_their_usage(name: str) -> None:
    brief = Brief(model="m", kind=TRANSCRIBE, stream=True)
    usage = run_watch(CHAT.watch(brief), [transcript(f"family/{name}.sse")]).usage
    assert usage.final
    assert usage.input_reported


@pytest.mark.parametrize(
    ("kind", "body"),
    [(SPEECH, b"ID3\x04\xff\xfb"), (TRANSCRIBE, b"Hello there"), (TRANSCRIBE, b"WEBVTT\n\n00:00 Hello")],
)
def test_sound_and_plain_text_are_content_as_they_are(kind: str, body: bytes) -> None:
    reading = CHAT.read_whole(body, Brief(model="m", kind=kind))
    assert (reading.has_content, reading.usage.input_reported) == (True, False)
    assert not CHAT.read_whole(b"", Brief(model="m", kind=kind)).has_content


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"data":"\xff"}', b"[" * 100_000, b'{"a":'])
def test_an_answer_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadFrame):
        CHAT.read_whole(body, Brief(model="m", kind=EMBED))


def test_an_error_inside_a_200_is_told() -> None:
    body = b'{"error":{"message":"m","type":"invalid_request_error"}}'
    reading = CHAT.read_whole(body, Brief(model="m", kind=EMBED))
    assert reading.error == InbandError(400, "invalid_request_error", "m")


def test_a_transcription_is_measured() -> None:
    reading = CHAT.read_whole(b'{"text":"Gr\\u00fc\\u00dfe"}', Brief(model="m", kind=TRANSCRIBE))
    assert reading.text_bytes == len("Grüße".encode())


def test_a_large_answer_is_read_without_being_taken_apart() -> None:
    vector = ",".join(["0.0123456789"] * 200_000)
    body = f'{{"data":[{{"embedding":[{vector}]}}],"usage":{{"prompt_tokens":3,"total_tokens":3}}}}'.encode()
    assert CHAT.read_whole(body, Brief(model="m", kind=EMBED)).usage.input_tokens == 3
