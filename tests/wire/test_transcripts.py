"""Every recorded stream under every cut: what goes out is what came in, and what was learned on the way."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.counts import count
from tests.wire.cuts import TRANSCRIPTS, every_cut, follow, transcript
from wire.types import COMPLETE, GENERATE, IMAGE, SPEECH, TRANSCRIBE, Brief, InbandError

TEXT = 'Grüße, "world"\n你好 🎉'


@dataclass(frozen=True)
class Told:
    """What a watch must know at the end of a stream."""

    finish: str = ""
    ended: bool = True
    meaningful: bool = True
    source: int = 0
    output: int = 0
    text: int = 0
    error: int = 0
    end: bytes = b""
    """How the part begins that waits for settlement."""
    kind: str = GENERATE
    withheld: bytes = b""
    """A piece of the one frame that a client does not see that did not ask for usage."""


DONE = b"data: [DONE]"
STOP = b"event: message_stop"
COMPLETED = b"event: response.completed"

STREAMS: dict[str, Told] = {
    "openai_chat/text.sse": Told(
        "stop", source=16, output=7, text=len(TEXT.encode()), end=DONE, withheld=b'"choices":[]'
    ),
    "openai_chat/tools.sse": Told(
        "tool_calls",
        source=210,
        output=15,
        text=len('{"city":"Oslo", "content":"x"}'),
        end=DONE,
        withheld=b'"choices":[]',
    ),
    "openai_chat/reasoning.sse": Told("stop", source=88, output=40, text=len("Let me think.42"), end=DONE),
    "openai_chat/refusal.sse": Told("stop", source=9, output=8, end=DONE, withheld=b'"choices":[]'),
    "openai_chat/azure.sse": Told(
        "stop",
        source=15,
        output=78,
        text=len("Capital of Denmark."),
        end=DONE,
        withheld=b'"choices":[],"usage"',
    ),
    "openai_chat/spaced.sse": Told("length", source=5, output=4, text=len("Grüße ✓ done".encode()), end=DONE),
    "openai_chat/comments.sse": Told(
        "stop", source=3, output=2, text=len("Hi there"), end=DONE, withheld=b'"choices":[]'
    ),
    "openai_chat/no_done.sse": Told("stop", source=3, output=1, text=2, withheld=b'"choices":[]'),
    "openai_chat/groq.sse": Told("stop", source=210, output=15, text=2, end=DONE),
    "openai_chat/trailing.sse": Told("stop", text=2, end=DONE),
    "openai_chat/truncated.sse": Told(ended=False, text=len("Once upon a ti")),
    "openai_chat/error_first.sse": Told(ended=False, meaningful=False, error=429),
    "openai_chat/error_later.sse": Told(ended=False, text=len("Half an"), error=500),
    "openai_chat/done_only.sse": Told(meaningful=False, end=DONE),
    "anthropic/text.sse": Told("end_turn", source=11, output=9, text=len(TEXT.encode()), end=STOP),
    "anthropic/tools.sse": Told(
        "tool_use", source=565, output=48, text=len('I\'ll check.{"city": "Oslo"}'), end=STOP
    ),
    "anthropic/thinking.sse": Told(
        "end_turn", source=47, output=373, text=len("I work through it.21"), end=STOP
    ),
    "anthropic/refusal.sse": Told("refusal", source=18, output=5, end=STOP),
    "anthropic/cache.sse": Told("end_turn", source=1210, output=50, text=len("cached"), end=STOP),
    "anthropic/web_search.sse": Told(
        "end_turn", source=1042, output=40, text=len('{"query":"weather"}Rain.'), end=STOP
    ),
    "anthropic/error_first.sse": Told(ended=False, meaningful=False, error=529),
    "anthropic/error_later.sse": Told(ended=False, source=565, output=7, text=len("Half an"), error=429),
    "anthropic/truncated.sse": Told(ended=False, source=565, output=7, text=len("Half an")),
    "openai_responses/text.sse": Told(
        "completed", source=12, output=6, text=len("Grüße 🎉\n".encode()), end=COMPLETED
    ),
    "openai_responses/tools.sse": Told(
        "completed", source=45, output=25, text=len('{"city":"Oslo"}'), end=COMPLETED
    ),
    "openai_responses/reasoning.sse": Told(
        "completed", source=75, output=1186, text=len("Thinking.21"), end=COMPLETED
    ),
    "openai_responses/web_search.sse": Told(
        "completed", source=327, output=770, text=len("Rain."), end=COMPLETED
    ),
    "openai_responses/incomplete.sse": Told(
        "max_output_tokens", source=20, output=3, text=len('{"val'), end=b"event: response.incomplete"
    ),
    "openai_responses/failed_first.sse": Told(ended=False, meaningful=False, error=429),
    "openai_responses/failed_later.sse": Told(
        ended=False, source=12, output=2, text=len("Half an"), error=500
    ),
    "openai_responses/error_first.sse": Told(ended=False, meaningful=False, error=429),
    "openai_responses/error_flat.sse": Told(ended=False, meaningful=False, error=500),
    "openai_responses/truncated.sse": Told(ended=False, text=len("Half an")),
    "gemini/text.sse": Told(
        "STOP",
        source=9,
        output=208,
        text=len(TEXT.encode()),
        end=b'data: {"candidates":[{"content":{"parts":[{"text":""',
    ),
    "gemini/tools.sse": Told(
        "STOP",
        source=29,
        output=60,
        text=len('I think.{"city":"Oslo"}'),
        end=b'data: {"candidates":[{"content":{"parts":[{"text":""',
    ),
    "gemini/blocked.sse": Told("PROHIBITED_CONTENT", source=9, end=b'data: {"promptFeedback"'),
    "gemini/late_usage.sse": Told("STOP", source=4, output=2, text=3, end=b'data: {"candidates"'),
    "gemini/error_first.sse": Told(ended=False, meaningful=False, error=503),
    "gemini/error_later.sse": Told(ended=False, source=9, output=190, text=len("Grüße".encode()), error=429),
    "gemini/truncated.sse": Told(ended=False, source=9, output=190, text=len("Grüße".encode())),
    "gemini/text.array": Told("STOP", source=9, output=208, text=len(TEXT.encode()), end=b"\n,\r\n{"),
    "gemini/tools.array": Told(
        "STOP", source=29, output=60, text=len('I think.{"city":"Oslo"}'), end=b"\n,\r\n{"
    ),
    "gemini/late_usage.array": Told("STOP", source=4, output=2, text=3, end=b"\n,\r\n{"),
    "gemini/error_first.array": Told(ended=False, meaningful=False, error=400),
    "gemini/error_lone.array": Told(ended=False, meaningful=False, error=429),
    "gemini/truncated.array": Told(ended=False, source=9, output=190, text=len("Grüße".encode())),
    "family/completions.sse": Told(
        "stop",
        source=3,
        output=2,
        text=len("Once upon"),
        end=DONE,
        kind=COMPLETE,
        withheld=b'"choices":[]',
    ),
    "family/transcription.sse": Told(
        source=14, output=45, text=len("Hello there"), end=b"event: transcript.text.done", kind=TRANSCRIBE
    ),
    "family/images.sse": Told(source=50, output=50, end=b"event: image_generation.completed", kind=IMAGE),
    "family/speech.sse": Told(source=14, output=101, end=b"event: speech.audio.done", kind=SPEECH),
}


def format_of(name: str) -> str:
    folder = name.partition("/")[0]
    return "openai_chat" if folder == "family" else folder


def brief_for(name: str, told: Told, *, wants_usage: bool = False) -> Brief:
    array = name.endswith(".array")
    return Brief(model="m", kind=told.kind, stream=True, array=array, wants_usage=wants_usage)


def test_no_recording_is_forgotten() -> None:
    found = {
        str(path.relative_to(TRANSCRIPTS))
        for path in TRANSCRIPTS.rglob("*")
        if path.suffix in (".sse", ".array") and path.parent.name != "quirks"
    }
    assert found == set(STREAMS)


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("line_end", ["as recorded", "LF", "CRLF", "CR"])
def test_a_stream_is_followed_alike_under_every_cut(name: str, line_end: str) -> None:
    told, stream = STREAMS[name], transcript(name)
    if line_end != "as recorded" and name.endswith(".sse"):
        end = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}[line_end]
        stream = stream.replace(b"\r\n", b"\n").replace(b"\n", end)
    followed = every_cut(stream, follow(format_of(name), brief_for(name, told)), times=count(2, 50))
    assert followed.ended is told.ended
    assert followed.meaningful is told.meaningful
    assert followed.finish_reason == told.finish
    assert (followed.usage.input_tokens, followed.usage.output_tokens) == (told.source, told.output)
    assert followed.text_bytes == told.text
    assert not followed.usage.suspect
    assert (followed.error.status if followed.error else 0) == told.error
    if line_end == "as recorded":
        assert followed.end.startswith(told.end)
        assert bool(followed.end) is bool(told.end)


@pytest.mark.parametrize("name", [name for name, told in STREAMS.items() if told.ended])
def test_a_finished_stream_goes_out_byte_for_byte(name: str) -> None:
    told, stream = STREAMS[name], transcript(name)
    asked = follow(format_of(name), brief_for(name, told, wants_usage=True))
    followed = every_cut(stream, asked, times=count(5, 100))
    assert followed.out + followed.end == stream
    unasked = every_cut(stream, follow(format_of(name), brief_for(name, told)), times=count(5, 100))
    kept = [frame for frame in stream.split(b"\n\n") if not (told.withheld and told.withheld in frame)]
    assert unasked.out + unasked.end == b"\n\n".join(kept)
    assert unasked.usage == followed.usage
    if told.withheld:
        assert stream.split(b"\n\n") != kept


@pytest.mark.parametrize("name", [name for name, told in STREAMS.items() if not told.ended])
def test_of_a_broken_stream_whole_frames_go_out_and_no_error(name: str) -> None:
    told, stream = STREAMS[name], transcript(name)
    followed = every_cut(stream, follow(format_of(name), brief_for(name, told)), times=count(5, 100))
    assert stream.startswith(followed.out)
    assert followed.end == b""
    if followed.error is None:
        # Gemini's closing bracket would present the answer as whole.
        assert stream[len(followed.out) :].strip() in (b"", b"]")
    else:
        assert isinstance(followed.error, InbandError)
        assert followed.error.text
        assert followed.error.text.encode() not in followed.out


@pytest.mark.parametrize("name", [name for name, told in STREAMS.items() if told.meaningful])
def test_a_stream_cut_off_anywhere_forwards_a_beginning_of_it(name: str) -> None:
    told, stream = STREAMS[name], transcript(name)
    run = follow(format_of(name), brief_for(name, told, wants_usage=True))
    step = max(1, len(stream) // count(60, 3000))
    for size in range(0, len(stream), step):
        followed = run([stream[:size]])
        assert stream.startswith(followed.out + followed.end)
        if followed.end:
            assert followed.ended


@pytest.mark.parametrize("name", [name for name, told in STREAMS.items() if name.endswith(".sse")])
def test_every_data_frame_is_counted(name: str) -> None:
    told, stream = STREAMS[name], transcript(name)
    if told.error:
        return
    followed = follow(format_of(name), brief_for(name, told))([stream])
    blocks = [block for block in stream.replace(b"\r\n", b"\n").split(b"\n\n") if block]
    assert followed.frames == len(blocks)
    assert followed.data_frames == sum(b"data: " in block and DONE not in block for block in blocks)
