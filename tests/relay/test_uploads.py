"""Forms: spooled, sent on but for the model's name, on every attempt anew, and gone in every ending."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from providers.models import Model
from simulator.audio import HEARD, sound
from tests.relay.asks import Ask, error, events
from tests.relay.harness import House, house

pytestmark = pytest.mark.django_db(transaction=True)

PATH = "/v1/audio/transcriptions"
CHAT = Ask("openai_chat")
ONE, TWO = "sk-vendor-first-key-1", "sk-vendor-second-key-2"
EDGE = "----edge7MA4YWxkTrZu0gW"


def part(name: str, value: bytes, *, more: str = "") -> bytes:
    return (
        f'--{EDGE}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
    )


def form(model: str = "sim", *, size: int = 1000, **fields: str) -> bytes:
    """A form as a client writes it, its file of this many bytes, every value among them."""
    file = part("file", sound(size), more='; filename="a \\"b\\".wav"\r\nContent-Type: audio/wav')
    rest = b"".join(part(name, value.encode()) for name, value in fields.items())
    return rest + file + part("model", model.encode()) + f"--{EDGE}--\r\n".encode()


async def send(each: House, content: bytes, *, boundary: str = EDGE) -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return await each.http.post(PATH, content=content, headers=headers)


def spooled(each: House) -> list[str]:
    """Files of uploads that a name or an open handle still keeps."""
    folder = each.data_dir / "uploads"
    named = [str(path) for path in folder.rglob("*")] if folder.exists() else []
    held = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            place = str(handle.readlink())
            if place.startswith(str(folder)):
                held.append(place)
    return named + held


def renamed(_url: str) -> None:
    Model.objects.filter(name="sim.out-7").update(name="fast")


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_a_form_reaches_the_vendor_byte_for_byte_but_for_the_models_name(door: str, size: int) -> None:
    async with house(door, models=("sim.out-7",), prepare=renamed) as each:
        answer = await send(each, form("fast", size=size, language="de", prompt="fast\r\nmodel=fast"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["text"] == HEARD
        seen = each.vendor.requests[-1]
        assert seen.body == form("sim.out-7", size=size, language="de", prompt="fast\r\nmodel=fast")
        assert seen.header("content-type") == f"multipart/form-data; boundary={EDGE}"
        assert int(seen.header("content-length") or 0) == len(seen.body)
        record = each.journal()[-1]["record"]
        assert (record["kind"], record["model_name"], record["outcome"]) == ("transcribe", "fast", "ok")
        assert record["output_tokens"] == 7
        await each.idle()
        assert spooled(each) == []


async def test_a_form_is_sent_again_to_the_next_key(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        for play in ("fault-500", "fault-401", "fault-429", "fault-close-head"):
            each.vendor.script([play], secret=ONE)
            for size in (1000, 2_000_000):
                each.afresh()
                content = form(size=size)
                answer = await send(each, content)
                assert answer.status_code == 200, play
                first, second = list(each.vendor.requests)[-2:]
                assert first.body == second.body == content
        await each.idle()
        assert spooled(each) == []


async def test_the_official_way_to_write_a_form_is_read(door: str) -> None:
    async with house(door) as each:
        data = {"model": "sim", "response_format": "json"}
        files: dict[str, Any] = {"file": ("größe.wav", sound(5000), "audio/wav")}
        answer = await each.http.post(PATH, data=data, files=files)
        assert answer.json()["text"] == HEARD


@pytest.mark.parametrize("shape", ["json", "verbose_json", "text", "srt", "vtt"])
async def test_a_transcript_comes_in_the_shape_that_was_asked_for(door: str, shape: str) -> None:
    async with house(door) as each:
        answer = await send(each, form(response_format=shape))
        assert answer.status_code == 200
        assert HEARD in answer.text
        expected = {"text": "text/plain", "srt": "text/plain", "vtt": "text/vtt"}.get(
            shape, "application/json"
        )
        assert answer.headers["content-type"].partition(";")[0] == expected
        assert answer.headers["x-content-type-options"] == "nosniff"
        (final,) = await each.settled()
        assert final["record"]["outcome"] == "ok"


async def test_a_transcript_may_be_streamed(door: str) -> None:
    async with house(door) as each:
        answer = await send(each, form(stream="true"))
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [value for _, value in events(answer.text) if value != "[DONE]"]
        assert "".join(value.get("delta", "") for value in told) == HEARD
        assert told[-1]["type"] == "transcript.text.done"
        (final,) = await each.settled()
        assert final["record"]["is_stream"]
        assert final["record"]["output_tokens"] == told[-1]["usage"]["output_tokens"] == 9
        await each.idle()
        assert spooled(each) == []


def wrong() -> dict[str, bytes]:
    """Forms that are none, or that two parsers might read differently."""
    end = f"--{EDGE}--\r\n".encode()
    file = part("file", b"RIFF", more='; filename="a.wav"')
    model = part("model", b"sim")
    return {
        "nothing": b"",
        "no boundary inside": b"hello",
        "JSON": b'{"model":"sim"}',
        "no model": file + end,
        "two models": model + file + part("model", b"other") + end,
        "a model that is a file": part("model", b"sim", more='; filename="m"') + file + end,
        "a model with a coded name": f"--{EDGE}\r\nContent-Disposition: form-data; name*=utf-8''model\r\n\r\n"
        "sim\r\n".encode()
        + file
        + end,
        "a part with two names": part("x", b"1", more='; name="model"') + model + file + end,
        "an empty model": part("model", b"") + file + end,
        "a model's name that climbs": part("model", b"../files") + file + end,
        "a long model": part("model", b"s" * 5000) + file + end,
        "stream twice": model + part("stream", b"true") + part("stream", b"false") + file + end,
        "cut short": (model + file)[:-20],
        "no end": model + file,
        "a head without end": f"--{EDGE}\r\nContent-Disposition: form-data".encode() + b"x" * 20_000,
    }


async def test_a_form_that_parsers_might_read_differently_is_400(door: str) -> None:
    async with house(door) as each:
        for label, content in wrong().items():
            answer = await send(each, content)
            assert answer.status_code == 400, (label, answer.text)
            assert error(CHAT, answer.text)["message"], label
        for boundary in ("", "a" * 71, '"', "other"):
            answer = await send(each, form(), boundary=boundary)
            assert answer.status_code == 400, boundary
        assert each.vendor.total == 0
        assert {final["record"]["outcome"] for final in each.journal()} == {"rejected"}
        await each.idle()
        assert spooled(each) == []


async def test_a_form_beyond_the_limit_is_413_and_leaves_nothing(door: str) -> None:
    async with house(door, knobs={"max_upload_bytes": 2_000_000, "max_body_bytes": 10_000}) as each:
        assert (await send(each, form(size=1_900_000))).status_code == 200
        assert (await send(each, form(size=2_000_000))).status_code == 413

        async def pieces() -> Any:
            content = form(size=4_000_000)
            for start in range(0, len(content), 50_000):
                yield content[start : start + 50_000]

        headers = {"content-type": f"multipart/form-data; boundary={EDGE}"}
        answer = await each.http.post(PATH, content=pieces(), headers=headers)
        assert answer.status_code == 413
        assert "2,000,000 bytes" in error(CHAT, answer.text)["message"]
        assert each.vendor.total == 1
        await each.idle()
        assert spooled(each) == []


async def test_large_forms_rest_in_a_file_without_a_name(door: str) -> None:
    async with house(door) as each:
        each.vendor.script(["wait-300"])
        running = asyncio.create_task(send(each, form(size=3_000_000)))
        await each.vendor.wait_for(1)
        folder = each.data_dir / "uploads"
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(spooled(each)) == 1
        assert each.engine.body_bytes == 0
        assert (await running).status_code == 200
        await each.idle()
        assert spooled(each) == []


async def test_a_client_that_leaves_leaves_no_file(door: str) -> None:
    async with house(door) as each:
        each.vendor.script(["fault-stall-head"])
        running = asyncio.create_task(send(each, form(size=3_000_000)))
        await each.vendor.wait_for(1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await each.settled()
        await each.idle()
        assert spooled(each) == []
        assert each.journal()[-1]["record"]["outcome"] == "client_gone"


# The smaller paths


async def test_sound_and_pictures_pass_as_they_are(door: str) -> None:
    async with house(door) as each:
        for shape, kind in (("mp3", "audio/mpeg"), ("pcm", "audio/pcm"), ("wav", "audio/wav")):
            answer = await each.http.post(
                "/v1/audio/speech",
                json={"model": "sim", "input": "hello", "voice": "alloy", "response_format": shape},
            )
            assert answer.content == sound(10_000)
            assert answer.headers["content-type"] == kind
        # Sound may begin like JSON; it is still sound.
        each.vendor.script(body=[b"{\x00\x01\x02"], headers={"content-type": "audio/pcm"}, then="keep")
        answer = await each.http.post(
            "/v1/audio/speech", json={"model": "sim", "input": "hello", "voice": "alloy"}
        )
        assert (answer.status_code, answer.content) == (200, b"{\x00\x01\x02")
        assert all(final["record"]["outcome"] == "ok" for final in each.journal())


async def test_an_error_in_place_of_sound_is_followed_by_the_next_key(door: str) -> None:
    async with house(door, keys=(ONE, TWO)) as each:
        told = b'{"error":{"message":"The server is overloaded","type":"server_error","code":null}}'
        each.vendor.script(body=[told], headers={"content-type": "application/json"}, secret=ONE, then="keep")
        for path, body in (
            ("/v1/audio/speech", {"model": "sim", "input": "hello", "voice": "alloy"}),
            ("/v1/embeddings", {"model": "sim", "input": "hello"}),
            ("/v1/images/generations", {"model": "sim", "prompt": "hello"}),
            ("/v1/moderations", {"model": "sim", "input": "hello"}),
            ("/v1/rerank", {"model": "sim", "query": "hello", "documents": ["a"]}),
        ):
            each.afresh()
            answer = await each.http.post(path, json=body)
            assert answer.status_code == 200, path
            assert b"overloaded" not in answer.content, path
            reasons = [row["reason"] for row in each.journal()[-1]["attempts"]]
            assert reasons == ["overloaded", ""], path
        assert (await send(each, form())).json()["text"] == HEARD


async def test_speech_may_be_streamed_as_events(door: str) -> None:
    async with house(door) as each:
        answer = await each.http.post(
            "/v1/audio/speech",
            json={"model": "sim", "input": "hello", "voice": "alloy", "stream_format": "sse"},
        )
        told = [value for _, value in events(answer.text) if value != "[DONE]"]
        assert told[-1]["type"] == "speech.audio.done"
        (final,) = await each.settled()
        assert final["record"]["is_stream"]
        assert final["record"]["input_tokens"] == told[-1]["usage"]["input_tokens"]


async def test_what_tells_no_usage_is_billed_by_the_request(door: str) -> None:
    price = {"price_input": "1", "price_output": "2", "price_request": "0.01"}
    async with house(door, price=price) as each:
        for path, body, count in (
            ("/v1/audio/speech", {"model": "sim", "input": "hello", "voice": "alloy"}, 1),
            ("/v1/moderations", {"model": "sim", "input": ["a", "b", "c"]}, 3),
        ):
            await each.http.post(path, json=body)
            record = each.journal()[-1]["record"]
            assert record["list_cost"] == count * 10**10, path
            assert record["estimated"], path
