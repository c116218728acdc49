from __future__ import annotations

import json
from typing import Any

import pytest

from tests.wire.cuts import run_watch, transcript
from tests.wire.usage_payloads import chunk
from wire import FORMATS
from wire.format import Passed
from wire.types import COUNT_TOKENS, EMBED, GENERATE, BadFrame, BadRequest, Brief, Fault, InbandError

GEMINI = FORMATS["gemini"]
BRIEF = Brief(model="m", stream=True)
ARRAY = Brief(model="m", stream=True, array=True)
WHOLE = "/v1beta/models/gem-2.5:generateContent"
STREAM = "/v1beta/models/gem-2.5:streamGenerateContent"


def peeked(fields: dict[str, Any], *, path: str = WHOLE, query: str = "", kind: str = GENERATE) -> Brief:
    return GEMINI.peek(json.dumps(fields).encode(), kind=kind, path=path, query=query)


def parts(*values: dict[str, Any]) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(values)}]}


@pytest.mark.parametrize(
    ("path", "query", "stream", "array"),
    [
        (WHOLE, "", False, False),
        (WHOLE, "alt=sse", False, False),
        (STREAM, "", True, True),
        (STREAM, "alt=sse", True, False),
        (STREAM, "key=secret&alt=sse", True, False),
        (STREAM, "alt=json", True, True),
        ("/v1/models/gem-2.5:streamGenerateContent", "alt=sse", True, False),
        ("/v1beta/models/gem-2.5%3AstreamGenerateContent", "alt=sse", True, False),
        ("/v1beta/models/gem-2.5%3agenerateContent", "", False, False),
    ],
)
def test_path_and_query_tell_how_it_answers(path: str, query: str, stream: bool, array: bool) -> None:
    assert peeked({}, path=path, query=query) == Brief(model="gem-2.5", stream=stream, array=array)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"generationConfig": {"maxOutputTokens": 9}}, Brief(model="gem-2.5", max_tokens=9)),
        ({"generation_config": {"max_output_tokens": 9}}, Brief(model="gem-2.5", max_tokens=9)),
        ({"generationConfig": {"candidateCount": 3}}, Brief(model="gem-2.5", count=3)),
        ({"generationConfig": None}, Brief(model="gem-2.5")),
        ({"generationConfig": "x"}, Brief(model="gem-2.5")),
        ({"generationConfig": {"maxOutputTokens": -5, "candidateCount": 0}}, Brief(model="gem-2.5")),
    ],
)
def test_it_reads_what_a_request_asks(fields: dict[str, Any], expected: Brief) -> None:
    assert peeked(fields) == expected


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        (parts({"text": '"inlineData":{"mimeType":"image/png"}'}), set()),
        (parts({"inlineData": {"mimeType": "image/png", "data": "x"}}), {"vision"}),
        (parts({"inline_data": {"mime_type": "image/png", "data": "x"}}), {"vision"}),
        (parts({"fileData": {"mimeType": "video/mp4", "fileUri": "x"}}), {"vision"}),
        (parts({"fileData": {"mimeType": "audio/mp3", "fileUri": "x"}}), {"audio"}),
        (parts({"inlineData": {"mimeType": "application/pdf", "data": "x"}}), {"documents"}),
        (parts({"functionResponse": {"response": {"mimeType": "image/png"}}}), set()),
        (parts({"inlineData": {"mimeType": "image/png", "data": "x" * 300_000}}), {"vision"}),
        ({"tools": [{"googleSearch": {}}]}, {"tools"}),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024}}}, {"thinking"}),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, set()),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, {"thinking"}),
        ({"generationConfig": {"responseMimeType": "image/png"}}, set()),
        ({"contents": "nonsense"}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_it_reads_what_a_request_needs(fields: dict[str, Any], needs: set[str]) -> None:
    assert peeked(fields).needs == needs


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"generationConfig":{},"generationConfig":{"maxOutputTokens":9}}',
        b'{"generationConfig":{},"generation_config":{"maxOutputTokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":2}}',
        b'{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":2}}',
        b'{"generationConfig":{"candidateCount":1,"candidateCount":2}}',
        b'{"model":"a","model":"b"}',
    ],
)
def test_a_request_that_parsers_read_differently_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        GEMINI.peek(body, kind=GENERATE, path=WHOLE)


@pytest.mark.parametrize("model", ["../x", "a?b", "a b", "a//b", "", "a%2fb"])
def test_a_model_that_could_lead_elsewhere_is_refused(model: str) -> None:
    with pytest.raises(BadRequest) as refused:
        GEMINI.peek(b"{}", kind=GENERATE, path=f"/v1beta/models/{model}:generateContent")
    assert refused.value.param == "model"


def test_a_models_name_may_look_like_a_verb() -> None:
    brief = peeked({}, path="/v1beta/models/x:streaming:generateContent")
    assert (brief.model, brief.stream) == ("x:streaming", False)


def test_the_model_may_be_given_apart_from_the_path() -> None:
    assert GEMINI.peek(b"{}", kind=GENERATE, path=WHOLE, model="other").model == "other"
    assert GEMINI.peek(b"{}", kind=GENERATE, model="models/other").model == "other"


@pytest.mark.parametrize(
    ("body", "model", "expected"),
    [
        (b'{"contents":[]}', "up", b'{"contents":[]}'),
        (b'{"model":"models/gem","content":{}}', "up", b'{"model":"models/up","content":{}}'),
        (b'{"model":"gem"}', "up", b'{"model":"up"}'),
        (b'{"model":"models/gem"}', "tunedModels/x", b'{"model":"tunedModels/x"}'),
        (b'{"mod\\u0065l":"models/gem"}', "up", b'{"mod\\u0065l":"models/up"}'),
        (
            b'{"requests":[ {"model":"models/gem","content":{"model":1}}, {"model" : "models/gem"}]}',
            "up",
            b'{"requests":[ {"model":"models/up","content":{"model":1}}, {"model" : "models/up"}]}',
        ),
        (
            b'{"generateContentRequest":{"model":"models/gem","contents":[]}}',
            "up",
            b'{"generateContentRequest":{"model":"models/up","contents":[]}}',
        ),
        (b'{"tools":[{"model":"x"}]}', "up", b'{"tools":[{"model":"x"}]}'),
        (b'{"model":5,"requests":[1,[]]}', "up", b'{"model":5,"requests":[1,[]]}'),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_a_body_that_repeats_the_model_gets_upstreams_name_of_it(
    body: bytes, model: str, expected: bytes
) -> None:
    brief = GEMINI.peek(body, kind=EMBED, path="/v1beta/models/gem:batchEmbedContents")
    assert GEMINI.retarget(body, brief, model=model) == expected


def test_embeddings_count_their_requests() -> None:
    body = {"requests": [{"model": "models/gem"}, {"model": "models/gem"}]}
    assert peeked(body, path="/v1beta/models/gem:batchEmbedContents", kind=EMBED).count == 2
    assert peeked({"content": {}}, path="/v1beta/models/gem:embedContent", kind=EMBED).count == 1


@pytest.mark.parametrize(
    ("base", "path", "model", "query", "expected"),
    [
        ("https://g.test", WHOLE, "up", "", "https://g.test/v1beta/models/up:generateContent"),
        (
            "https://g.test/",
            STREAM,
            "up",
            "alt=sse",
            "https://g.test/v1beta/models/up:streamGenerateContent?alt=sse",
        ),
        (
            "https://g.test",
            "/v1beta/models/a%3AcountTokens",
            "up",
            "",
            "https://g.test/v1beta/models/up:countTokens",
        ),
        ("https://g.test/v1beta", WHOLE, "up", "key=k", "https://g.test/v1beta/models/up:generateContent"),
        (
            "https://g.test/v1beta",
            "/v1/models/a:countTokens",
            "up",
            "",
            "https://g.test/v1beta/models/up:countTokens",
        ),
        ("https://g.test", WHOLE, "tunedModels/x", "", "https://g.test/v1beta/tunedModels/x:generateContent"),
        (
            "https://g.test",
            WHOLE,
            "a b?c#d%",
            "",
            "https://g.test/v1beta/models/a%20b%3Fc%23d%25:generateContent",
        ),
        (
            "https://g.test",
            "/v1beta/models/a:b:embedContent",
            "up",
            "",
            "https://g.test/v1beta/models/up:embedContent",
        ),
    ],
)
def test_the_address_names_upstreams_model(
    base: str, path: str, model: str, query: str, expected: str
) -> None:
    assert GEMINI.upstream_url(base, Brief(model="gem"), model=model, path=path, query=query) == expected


def candidate(*values: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(values)}, "index": 0, **more}]}


@pytest.mark.parametrize(
    ("event", "meaningful"),
    [
        ({"usageMetadata": {"promptTokenCount": 5}}, False),
        ({"candidates": []}, False),
        (candidate({"text": ""}), False),
        (candidate({"text": "", "thought": True}), False),
        ({"candidates": [{"content": {"role": "model"}}]}, False),
        ({"promptFeedback": {"safetyRatings": []}}, False),
        (candidate({"text": "x"}), True),
        (candidate({"text": "x", "thought": True}), True),
        (candidate({"functionCall": {"name": "f", "args": {}}}), True),
        (candidate({"inlineData": {"mimeType": "image/png", "data": "x"}}), True),
        (candidate({"executableCode": {"code": "1"}}), True),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],  # a set has no order
)
def test_an_answer_begins_with_content_a_tool_call_or_a_thought(
    event: dict[str, Any], meaningful: bool
) -> None:
    for brief in (BRIEF, ARRAY):
        watch = GEMINI.watch(brief)
        raw = b"[" + json.dumps(event).encode() if brief.array else chunk(event)
        assert watch.feed(raw) == Passed(raw)
        assert watch.meaningful is meaningful


@pytest.mark.parametrize("reason", ["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL"])
def test_a_reason_to_finish_ends_it_and_all_that_follows_waits(reason: str) -> None:
    watch = GEMINI.watch(BRIEF)
    ending = chunk(candidate(finishReason=reason))
    assert watch.feed(ending) == Passed(end=ending)
    assert (watch.meaningful, watch.ended, watch.finish_reason) == (True, True, reason)
    late = chunk({"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2}})
    assert watch.feed(late) == Passed(end=late)
    usage = watch.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.final) == (5, 2, True)


def test_a_reason_that_is_none_ends_nothing() -> None:
    watch = GEMINI.watch(BRIEF)
    frame = chunk(candidate({"text": "x"}, finishReason="FINISH_REASON_UNSPECIFIED"))
    assert watch.feed(frame) == Passed(frame)
    assert not watch.ended


def test_old_models_finish_on_every_chunk() -> None:
    frames = [chunk(candidate({"text": text}, finishReason="STOP")) for text in "abc"]
    followed = run_watch(GEMINI.watch(BRIEF), frames)
    assert followed.end == b"".join(frames)
    assert followed.text_bytes == 3


def test_several_candidates_must_all_finish() -> None:
    watch = GEMINI.watch(Brief(model="m", stream=True, count=2))
    first = chunk({"candidates": [{"index": 0, "finishReason": "STOP"}]})
    second = chunk(
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    )
    assert watch.feed(first) == Passed(first)
    assert watch.feed(second) == Passed(end=second)
    half = run_watch(GEMINI.watch(Brief(model="m", stream=True, count=2)), [first])
    assert half.ended


@pytest.mark.parametrize("index", [{}, [], None, "0"])
def test_an_index_that_is_none_is_that_of_the_one_candidate(index: object) -> None:
    only = chunk({"candidates": [{"index": index, "finishReason": "STOP"}]})
    assert GEMINI.watch(BRIEF).feed(only) == Passed(end=only)


def test_usage_before_the_end_is_not_final() -> None:
    followed = run_watch(GEMINI.watch(BRIEF), [transcript("gemini/truncated.sse")])
    assert (followed.usage.output_tokens, followed.usage.final) == (190, False)


@pytest.mark.parametrize("data", [b"data: {nonsense\r\n\r\n", b"data: \xff\n\n"])
def test_a_first_frame_that_cannot_be_read_is_refused_and_a_later_one_is_forwarded(data: bytes) -> None:
    with pytest.raises(BadFrame):
        GEMINI.watch(BRIEF).feed(data)
    watch = GEMINI.watch(BRIEF)
    watch.feed(chunk(candidate({"text": "x"})))
    assert watch.feed(data) == Passed(data)


def test_the_closing_bracket_waits_for_the_formats_own_end() -> None:
    watch = GEMINI.watch(ARRAY)
    first = b"[" + json.dumps(candidate({"text": "x"})).encode()
    assert watch.feed(first) == Passed(first)
    assert watch.feed(b"\n]\n") == Passed()
    assert watch.finish() == Passed()
    assert not watch.ended


def test_a_closing_bracket_behind_the_end_goes_with_it() -> None:
    watch = GEMINI.watch(ARRAY)
    ending = b"[" + json.dumps(candidate({"text": "x"}, finishReason="STOP")).encode()
    assert watch.feed(ending) == Passed(end=ending)
    assert watch.feed(b"\n]") == Passed(end=b"\n]")
    assert watch.feed(b"\n") == Passed()
    assert watch.finish() == Passed(end=b"\n")


def test_an_array_of_nothing_is_an_empty_answer() -> None:
    followed = run_watch(GEMINI.watch(ARRAY), [b"[]"])
    assert (followed.out, followed.end, followed.meaningful, followed.ended) == (b"", b"", False, False)


def test_arguments_count_as_text_once() -> None:
    call = candidate({"functionCall": {"name": "f", "args": {"text": "abc", "n": [1]}}})
    watch = GEMINI.watch(BRIEF)
    watch.feed(chunk(call))
    assert watch.text_bytes == len('{"text":"abc","n":[1]}')


def test_a_whole_answer_is_read() -> None:
    reading = GEMINI.read_whole(transcript("gemini/text.json"), Brief(model="m"))
    assert (reading.usage.input_tokens, reading.usage.output_tokens, reading.usage.final) == (9, 208, True)
    assert (reading.finish_reason, reading.response_id) == ("STOP", "bH6LaZW8Fp_3nsEPqtaSwQ4")
    assert reading.text_bytes == len('Grüße, "world"\n你好 🎉'.encode())
    blocked = GEMINI.read_whole(transcript("gemini/blocked.json"), Brief(model="m"))
    assert (blocked.finish_reason, blocked.has_content) == ("PROHIBITED_CONTENT", True)


def test_an_answer_without_anything_is_empty() -> None:
    assert not GEMINI.read_whole(b"{}", Brief(model="m")).has_content
    assert not GEMINI.read_whole(b'{"candidates":[]}', Brief(model="m")).has_content


def test_counting_tokens_costs_none() -> None:
    reading = GEMINI.read_whole(b'{"totalTokens":31}', Brief(model="m", kind=COUNT_TOKENS))
    assert (reading.has_content, reading.usage.input_reported) == (True, False)


def test_an_error_inside_a_whole_200_is_told() -> None:
    body = b'{"error":{"code":503,"message":"m","status":"UNAVAILABLE"}}'
    assert GEMINI.read_whole(body, Brief(model="m")).error == InbandError(503, "UNAVAILABLE", "m")


def test_texts_are_what_was_delivered() -> None:
    event = candidate({"text": "a"}, {"functionCall": {"name": "f", "args": {"x": 1}}})
    assert list(GEMINI.texts(event)) == ["a", '{"x":1}']


def test_a_fault_in_mid_stream_is_an_event_or_closes_the_array() -> None:
    fault = Fault("timeout", "Too slow.")
    error = {"error": {"code": 504, "message": "Too slow.", "status": "DEADLINE_EXCEEDED"}}
    told = GEMINI.fault_event(fault, "id")
    assert told.startswith(b"data: ")
    assert told.endswith(b"\n\n")
    assert json.loads(told[6:]) == error
    element = b'[{"candidates":[]}'
    assert json.loads(element + GEMINI.fault_event(fault, "id", array=True)) == [{"candidates": []}, error]
    assert json.loads(GEMINI.fault_event(fault, "id", array=True, opened=False)) == [error]


def test_a_keep_alive_is_a_bare_line_end() -> None:
    assert GEMINI.keep_alive() == GEMINI.keep_alive(array=True) == b"\n"


def test_a_secret_goes_in_the_formats_own_header_or_as_bearer() -> None:
    assert GEMINI.credentials("s") == {"x-goog-api-key": "s"}
    assert GEMINI.credentials("s", "bearer") == {"authorization": "Bearer s"}


def reported(*reports: object) -> bytes:
    parts = [{"content": {"parts": [{"text": "Hi"}]}}]
    return b"".join(
        chunk({"candidates": parts, "usageMetadata": each, "responseId": "r"}) for each in reports
    )


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_usage_in_mid_answer_is_merged_when_asked(line_end: bytes) -> None:
    reports = (
        {"promptTokenCount": 9, "toolUsePromptTokenCount": 3, "totalTokenCount": 9},
        {"promptTokenCount": 9, "candidatesTokenCount": 4, "thoughtsTokenCount": 5},
        {"promptTokenCount": 0, "candidatesTokenCount": 6, "serviceTier": "flex"},
        None,
    )
    watch = GEMINI.watch(BRIEF)
    passed = [watch.feed(reported(each).replace(b"\n", line_end)).out for each in reports]
    assert b"".join(passed) == reported(*reports).replace(b"\n", line_end)
    usage = watch.usage()
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (12, 11, 5)
    assert (usage.service_tier, usage.final, usage.suspect) == ("flex", False, False)
    watch.feed(reported({"promptTokenCount": 9, "candidatesTokenCount": -6}).replace(b"\n", line_end))
    assert watch.usage().suspect
    assert watch.usage().output_tokens == 11


def test_an_event_in_mid_answer_that_cannot_be_read_is_passed_on() -> None:
    watch = GEMINI.watch(BRIEF)
    watch.feed(reported({"promptTokenCount": 9}))
    assert watch.feed(b"data: {broken\n\n: note\n\n").out == b"data: {broken\n\n: note\n\n"
    watch.feed(reported({"candidatesTokenCount": 2}))
    assert (watch.usage().input_tokens, watch.usage().output_tokens) == (9, 2)
