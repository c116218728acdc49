"""Bytes are sacred: what the vendor streams reaches the client as it is, what the client asks reaches the
vendor as it is but for the model's name and the question for usage."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from providers.models import Endpoint, Model
from tests.counts import count
from tests.relay.asks import STREAMED, WHOLE, Ask, events
from tests.relay.harness import house
from wire import azure
from wire.neutral.names import short_id

pytestmark = pytest.mark.django_db(transaction=True)

CHAT, CHAT_STREAM = WHOLE[0], STREAMED[0]
WORDS = st.text(
    st.characters(codec="utf-8") | st.sampled_from('"\\/\n\r\u2028é漢🙂\x00'),
    min_size=1,
    max_size=12,
)
ASKED: dict[str, Any] = {"stream_options": {"include_usage": True}}


async def for_all(
    examples: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], Coroutine[Any, Any, None]]
) -> None:
    """Runs an asynchronous check for examples of a strategy, all of them against one relay."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(strategy)
    def run(example: Any) -> None:
        asyncio.run_coroutine_threadsafe(check(example), loop).result(30)

    await asyncio.to_thread(run)


# Streams


def story(form: str, words: Sequence[str]) -> list[tuple[str, Any]]:
    """The events of an answer that says these words; the last one ends it."""
    match form:
        case "openai_chat":
            head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "sim"}

            def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
                return {
                    **head,
                    "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
                    "usage": None,
                }

            usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
            return [
                ("", chunk({"role": "assistant", "content": ""})),
                *(("", chunk({"content": word})) for word in words),
                ("", chunk({}, "stop")),
                ("", {**head, "choices": [], "usage": usage}),
                ("", "[DONE]"),
            ]
        case "openai_responses":
            shell = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
            usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
            kind = "response.output_text.delta"
            return [
                ("response.created", {"type": "response.created", "response": shell}),
                *((kind, {"type": kind, "item_id": "msg_1", "delta": word}) for word in words),
                (
                    "response.completed",
                    {
                        "type": "response.completed",
                        "response": {**shell, "status": "completed", "usage": usage},
                    },
                ),
            ]
        case "anthropic":
            delta = [{"type": "text_delta", "text": word} for word in words]
            message = {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}
            told: list[dict[str, Any]] = [
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                *({"type": "content_block_delta", "index": 0, "delta": each} for each in delta),
                {"type": "content_block_stop", "index": 0},
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 5},
                },
                {"type": "message_stop"},
            ]
            return [(each["type"], each) for each in told]
        case _:
            usage = {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8}
            texts: list[dict[str, Any]] = [
                {"candidates": [{"content": {"parts": [{"text": word}]}}]} for word in words
            ]
            last = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage}
            return [("", each) for each in (*texts, last)]


@st.composite
def encoded(draw: st.DrawFn, ask: Ask) -> list[bytes]:
    """A stream as some vendor may write it, frame by frame: any line ends, comments, data on many lines,
    fields nobody knows, letters escaped or not."""
    told = story(ask.format, draw(st.lists(WORDS, min_size=1, max_size=4)))
    if ask.array:
        blank = st.text(st.sampled_from(" \t\r\n"), max_size=3)
        pieces = []
        for index, (_, value) in enumerate(told):
            lead = draw(blank) + ("," if index else "[") + draw(blank)
            pieces.append((lead + written(draw, value, lines=True)).encode())
        return [*pieces, (draw(blank) + "]" + draw(blank)).encode()]
    frames = []
    for index, (name, value) in enumerate(told):
        end = draw(st.sampled_from(("\n", "\r\n", "\r")))
        colon = draw(st.sampled_from((": ", ":")))
        lines = [f"event{colon}{name}"] if name else []
        extra = draw(st.sampled_from(("", "", "id: 7", "retry: 3000", ": a comment", "future: field")))
        lines += [extra] if extra else []
        text = value if isinstance(value, str) else written(draw, value, lines=True)
        lines += [f"data{colon}{line}" for line in text.split("\n")]
        if "\n" not in text and draw(st.booleans()):
            lines.reverse()
        if index and draw(st.integers(0, 5)) == 0:
            frames.append(f": ping {draw(st.integers(0, 9))}{end}{end}".encode())
        frames.append((end.join(lines) + end + end).encode())
    if draw(st.integers(0, 7)) == 0:
        frames[0] = b"\xef\xbb\xbf" + frames[0]
    return frames


def written(draw: st.DrawFn, value: Any, *, lines: bool = False) -> str:
    """JSON in one of the ways to write it."""
    separators = draw(st.sampled_from(((",", ":"), (", ", ": "), (" ,", " :\t"))))
    indent = draw(st.sampled_from((None, None, None, 1))) if lines else None
    return json.dumps(value, ensure_ascii=draw(st.booleans()), separators=separators, indent=indent)


@st.composite
def cut(draw: st.DrawFn, ask: Ask) -> tuple[list[bytes], list[bytes]]:
    """Frames, and the same bytes in pieces that fall anywhere."""
    frames = draw(encoded(ask))
    whole = b"".join(frames)
    places = sorted(draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    return frames, [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]


@pytest.mark.parametrize("ask", STREAMED, ids=str)
async def test_a_stream_reaches_the_client_byte_for_byte_however_it_is_cut(door: str, ask: Ask) -> None:
    kind = "application/json" if ask.array else "text/event-stream"
    async with house(door) as each:

        async def check(example: tuple[list[bytes], list[bytes]]) -> None:
            frames, pieces = example
            each.vendor.script(body=pieces, headers={"content-type": kind}, pause=0.0002, then="keep")
            more: dict[str, Any] = ASKED if ask.format == "openai_chat" else {}
            answer = await ask.send(each, **more)
            assert answer.status_code == 200
            assert answer.content == b"".join(frames)

        await for_all(count(20, 500), cut(ask), check)
        await each.idle()
        assert {
            (record["outcome"], record["input_tokens"], record["output_tokens"])
            for record in (final["record"] for final in each.journal())
        } == {("ok", 3, 5)}


@pytest.mark.parametrize("ask", STREAMED, ids=str)
async def test_one_byte_at_a_time(door: str, ask: Ask) -> None:
    kind = "application/json" if ask.array else "text/event-stream"
    told = story(ask.format, ["Größe 漢🙂"])
    bodies = []
    for end in ("\n", "\r\n", "\r"):
        frames = [
            f"{f'event: {name}{end}' if name else ''}data: "
            f"{value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}{end}{end}"
            for name, value in told
        ]
        bodies.append("".join(frames).encode())
    if ask.array:
        bodies = [json.dumps([value for _, value in told], ensure_ascii=False).encode()]
    async with house(door) as each:
        for body in bodies:
            each.vendor.script(
                body=[bytes([byte]) for byte in body],
                headers={"content-type": kind},
                pause=0.00001,
                then="keep",
            )
            answer = await ask.send(each, **(ASKED if ask.format == "openai_chat" else {}))
            assert answer.content == body


async def test_the_usage_frame_is_withheld_byte_for_byte_from_a_client_that_did_not_ask(door: str) -> None:
    async with house(door) as each:

        async def check(example: tuple[list[bytes], list[bytes]]) -> None:
            frames, pieces = example
            each.vendor.script(body=pieces, pause=0.0002, then="keep")
            answer = await CHAT_STREAM.send(each)
            usage = [frame for frame in frames if b'"prompt_tokens"' in frame]
            assert len(usage) == 1
            bare = [frame.removeprefix(b"\xef\xbb\xbf") for frame in usage]
            assert bare == usage
            assert answer.content == b"".join(frame for frame in frames if frame not in usage)

        await for_all(count(20, 500), cut(CHAT_STREAM), check)
        records = [final["record"] for final in each.journal()]
        assert {(record["input_tokens"], record["output_tokens"]) for record in records} == {(3, 5)}


async def test_only_whole_frames_are_forwarded_before_a_stream_breaks(door: str) -> None:
    async with house(door) as each:
        for ask in STREAMED:
            each.vendor.script(["chunks-8.utf8.cut-100000"])
            whole = (await ask.send(each, **(ASKED if ask.format == "openai_chat" else {}))).content
            for fault in ("half-line", "cut-utf8", "truncated", "cut", "reset"):
                each.afresh()
                each.vendor.script([f"chunks-8.utf8.fault-{fault}.after-5"])
                told = (await ask.send(each, **(ASKED if ask.format == "openai_chat" else {}))).content
                mark = told.rindex(b"{", 0, told.rindex(b'"error"')) if ask.array else told.rindex(b"data:")
                before = (
                    told[:mark].rstrip(b",\n") if ask.array else told[: told.rindex(b"\n\n", 0, mark) + 2]
                )
                label = f"{ask} {fault}"
                assert blanked(whole).startswith(blanked(before)), label
                if ask.array:
                    assert "error" in json.loads(told)[-1], label
                else:
                    assert b"[DONE]" not in told, label
                    assert b"message_stop" not in told, label
                    names = [name for name, _ in events(told.decode())]
                    assert names[-1] in ("", "error", "response.failed"), label
        await each.idle()


def blanked(body: bytes) -> bytes:
    """A body without what differs from answer to answer: ids and instants."""
    return re.sub(rb"[0-9a-f]{32}|\b1[0-9]{9}\b", b"*", body)


# Whole answers


def packed(content: bytes, coding: str) -> bytes:
    """Content in a content coding."""
    if coding == "gzip":
        return gzip.compress(content)
    return zlib.compress(content) if coding == "deflate" else content


async def test_a_whole_answer_reaches_the_client_byte_for_byte(door: str) -> None:
    body = {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 5},
    }

    @st.composite
    def whole(draw: st.DrawFn) -> tuple[bytes, str]:
        value = {**body, draw(WORDS): draw(WORDS), "unknown": [1e300, 2**70, draw(WORDS)]}
        text = draw(st.sampled_from(("", " ", "\n"))) + written(draw, value, lines=True)
        return text.encode(), draw(st.sampled_from(("", "gzip", "deflate", "identity")))

    async with house(door) as each:

        async def check(example: tuple[bytes, str]) -> None:
            content, coding = example
            sent = packed(content, coding)
            headers = {"content-type": "application/json; charset=utf-8"}
            if coding:
                headers["content-encoding"] = coding
            middle = len(sent) // 2
            each.vendor.script(body=[sent[:middle], sent[middle:]], headers=headers, then="keep")
            answer = await CHAT.send(each)
            assert answer.content == content
            assert answer.headers["content-type"] == "application/json; charset=utf-8"
            assert answer.headers.get("content-encoding") is None
            assert int(answer.headers["content-length"]) == len(content)

        await for_all(count(20, 300), whole(), check)
        assert each.journal()[-1]["record"]["output_tokens"] == 5


async def test_a_stream_that_the_vendor_packs_reaches_the_client_unpacked(door: str) -> None:
    async with house(door) as each:
        for ask in STREAMED:
            answer = await ask.send(each)
            each.vendor.script(["fault-gzip"])
            packed = await ask.send(each)
            assert blanked(packed.content) == blanked(answer.content), str(ask)
            assert "content-encoding" not in packed.headers
            each.vendor.script()
        assert each.vendor.requests[-1].header("accept-encoding") == "identity"


# Requests


@st.composite
def question(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chat body as some client may write it, under a public model name, and the same under the vendor's."""
    blank = st.text(st.sampled_from(" \t\r\n"), max_size=2)
    scalar = st.sampled_from(
        (
            "0", "-0.0", "1E400", "123456789012345678901234567890", "0.1000", "true", "null", '"\\u00e9\\/"',
            '"\\ud83d\\ude42"', '"\\ud800"', '"{\\"model\\":\\"fast\\"}"', '"漢🙂"', "[]", "{}",
            '[{"model":"fast"}]', '{"stream":false,"model":"other"}',
        )
    )  # fmt: skip
    keys = st.sampled_from(("temperature", "unknown", "é", "mo del", "metadata", "\\u0061", "models", "n "))
    fields = [(f'"{draw(keys)}"', draw(scalar)) for _ in range(draw(st.integers(0, 5)))]
    fields.append(('"messages"', '[{"role":"user","content":"hello \\"model\\":\\"fast\\""}]'))
    place = draw(st.integers(0, len(fields)))
    name = draw(st.sampled_from(('"model"', '"mod\\u0065l"', '"\\u006dodel"')))
    fields.insert(place, (name, '"fast"'))
    gaps = [[draw(blank) for _ in range(4)] for _ in fields]
    outer = draw(blank), draw(blank)

    def assembled(model: str) -> bytes:
        pieces = []
        for (key, value), (a, b, c, d) in zip(fields, gaps, strict=True):
            told = model if key == name and value == '"fast"' else value
            pieces.append(f"{a}{key}{b}:{c}{told}{d}")
        return f"{outer[0]}{{{','.join(pieces)}}}{outer[1]}".encode()

    return assembled('"fast"'), assembled('"sim.out-7"')


def renamed(_url: str) -> None:
    Model.objects.filter(name="sim.out-7").update(name="fast")


async def test_a_request_reaches_the_vendor_byte_for_byte_but_for_the_models_name(door: str) -> None:
    async with house(door, models=("sim.out-7",), prepare=renamed) as each:
        each.vendor.script(
            body=[b'{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}'],
            headers={"content-type": "application/json"},
            then="keep",
        )

        async def check(example: tuple[bytes, bytes]) -> None:
            sent, expected = example
            answer = await each.http.post(
                CHAT.path(), content=sent, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 200, answer.text
            assert each.vendor.requests[-1].body == expected

        await for_all(count(30, 500), question(), check)


OPTIONS = (
    # what the client sends, what the vendor gets
    ("", '"stream_options":{"include_usage":true},'),
    ('"stream_options":null,', '"stream_options":{"include_usage":true},'),
    ('"stream_options" : {} ,', '"stream_options" : {"include_usage":true} ,'),
    ('"stream_options":{"include_usage":false},', '"stream_options":{"include_usage":true},'),
    ('"stream_options":{"include_usage": null },', '"stream_options":{"include_usage": true },'),
    (
        '"stream_options":{"include_obfuscation":false, "x":1},',
        '"stream_options":{"include_usage":true,"include_obfuscation":false, "x":1},',
    ),
    ('"stream_options":{ "include_usage" :true},', '"stream_options":{ "include_usage" :true},'),
)


@pytest.mark.parametrize(("asked", "sent"), OPTIONS, ids=[each or "absent" for each, _ in OPTIONS])
async def test_only_include_usage_changes_in_the_options_of_a_stream(
    door: str, asked: str, sent: str
) -> None:
    body = '{{{}"model":"sim","messages":[{{"role":"user","content":"hello"}}],"stream":true}}'
    async with house(door) as each:
        answer = await each.http.post(
            CHAT.path(), content=body.format(asked), headers={"content-type": "application/json"}
        )
        assert each.vendor.requests[-1].body == body.format(sent).encode()
        frames = [value for _, value in events(answer.text) if value != "[DONE]"]
        usage = [value for value in frames if value["choices"] == []]
        assert len(usage) == ("true" in asked)
        (final,) = await each.settled()
        assert (final["record"]["input_tokens"], final["record"]["output_tokens"]) == (1, 40)
        assert final["record"]["usage_source"] == "reported"


async def test_a_vendor_that_refuses_the_question_for_usage_is_not_asked(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.filter(format="openai_chat").update(quirks=["no_include_usage"])

    async with house(door, prepare=prepare) as each:
        answer = await CHAT_STREAM.send(each)
        assert b"include_usage" not in each.vendor.requests[-1].body
        assert answer.text.endswith("data: [DONE]\n\n")
        (final,) = await each.settled()
        assert final["record"]["estimated"]
        assert final["record"]["output_tokens"] > 0


async def test_quirks_change_what_they_name_and_nothing_else(door: str) -> None:
    def prepare(_url: str) -> None:
        quirks = ["short_call_ids", "max_tokens", "no_include_usage"]
        Endpoint.objects.filter(format="openai_chat").update(quirks=quirks)

    body = (
        '{{"model":"sim", "{}":9,"messages":[{{"role":"user","content":"hello"}},'
        '{{"role":"assistant","tool_calls":[{{"id":"{}","type":"function",'
        '"function":{{"name":"f","arguments":"{{}}"}}}}]}},'
        '{{"role":"tool","tool_call_id":"{}","content":"ok"}}]}}'
    )
    short = short_id("call_0123456789")
    async with house(door, prepare=prepare) as each:
        sent = body.format("max_completion_tokens", *("call_0123456789",) * 2)
        answer = await each.http.post(CHAT.path(), content=sent, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert each.vendor.requests[-1].body == body.format("max_tokens", short, short).encode()


async def test_azures_older_addresses_are_called_its_own_way(door: str) -> None:
    def prepare(_url: str) -> None:
        Endpoint.objects.filter(format="openai_chat").update(quirks=["azure_deployments"])

    async with house(door, prepare=prepare) as each:
        await CHAT_STREAM.send(each)  # a vendor without such addresses refuses it
        seen = each.vendor.requests[-1]
        assert seen.path == "/v1/openai/deployments/sim/chat/completions"
        assert seen.query == f"api-version={azure.VERSION}"
        assert seen.header("authorization") is None
        assert seen.header("api-key") is not None


async def test_other_formats_streams_and_whole_requests_are_sent_as_they_came(door: str) -> None:
    async with house(door) as each:
        for ask in (*WHOLE, *STREAMED[1:]):
            content = json.dumps(ask.body(), indent=2).encode() + b"\n"
            await each.http.post(
                ask.path(), content=content, headers={**ask.headers, "content-type": "application/json"}
            )
            assert each.vendor.requests[-1].body == content, str(ask)
