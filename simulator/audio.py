"""Speech as bytes, and transcriptions of an uploaded file."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Any

import orjson

from simulator.ask import BadRequestError, load, needed, words as counted
from simulator.compose import words
from simulator.core import Seen
from simulator.frames import encode
from simulator.made import EVENT_STREAM, Made
from simulator.options import Options, parse
from simulator.play import Event

HEARD = "This is what the simulator heard in your recording."
"""The text of every transcription: nine words, nine output tokens."""
_KINDS = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_NAME = re.compile(rb'name="([^"]*)"')
_FILE = re.compile(rb'filename="([^"]*)"')
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_PIECE = 4096


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart form: its plain fields, the file's name and size in bytes."""

    fields: dict[str, str]
    filename: str
    size: int


def answer(seen: Seen) -> Made | None:
    """/v1/audio/speech and /v1/audio/transcriptions; None for another path. Raises BadRequestError."""
    match seen.path:
        case "/v1/audio/speech":
            return _speech(load(seen.body), str(seen.play))
        case "/v1/audio/transcriptions":
            return _transcription(read_form(seen), str(seen.play))
        case _:
            return None


def sound(size: int) -> bytes:
    """Bytes as an audio file has them: every value, zeros and line ends too."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def _speech(body: dict[str, Any], play: str) -> Made:
    model, text = needed(body, "model", str), needed(body, "input", str)
    needed(body, "voice", (str, dict))
    options = parse(model, play)
    shape = body.get("response_format") or "mp3"
    if shape not in _KINDS:
        raise BadRequestError(f"'{shape}' is not a sound format.", "response_format")
    told = sound(options.bytes or 10_000)
    pieces = [told[start : start + _PIECE] for start in range(0, len(told), _PIECE)]
    if body.get("stream_format") != "sse":
        return Made(options, pieces, _KINDS[shape], model, streamed=True)
    events: list[Event] = [
        ("", orjson.dumps({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}))
        for piece in pieces
    ]
    usage = _usage(options, counted(text), len(pieces))
    events.append(("", orjson.dumps({"type": "speech.audio.done", "usage": usage})))
    return Made(options, encode(events, "openai_chat", options), EVENT_STREAM, model, streamed=True)


def _usage(options: Options, heard: int, said: int) -> dict[str, int]:
    taken = heard if options.input is None else options.input
    given = said if options.output is None else options.output
    if options.usage == "zero":
        taken = given = 0
    return {"input_tokens": taken, "output_tokens": given, "total_tokens": taken + given}


def read_form(seen: Seen) -> Upload:
    """The multipart form of a request. Raises BadRequestError where it is none or not whole."""
    boundary = _BOUNDARY.search(seen.header("content-type") or "")
    if boundary is None:
        raise BadRequestError("A multipart form is needed.")
    mark = b"--" + boundary[1].encode("latin-1")
    if not seen.body.rstrip().endswith(mark + b"--"):
        raise BadRequestError("The form is not whole.")
    fields: dict[str, str] = {}
    filename, size = "", -1
    for part in (b"\r\n" + seen.body).split(b"\r\n" + mark)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name, file = _NAME.search(head), _FILE.search(head)
        if file:
            filename, size = file[1].decode("utf-8", "replace"), len(value)
        elif name:
            fields[name[1].decode()] = value.decode("utf-8", "replace")
    if size < 0:
        raise BadRequestError("Missing required parameter: 'file'.", "file")
    return Upload(fields, filename, size)


def _transcription(form: Upload, play: str) -> Made:
    """Ten bytes of the file count one input token."""
    model = form.fields.get("model")
    if not model:
        raise BadRequestError("Missing required parameter: 'model'.", "model")
    options = parse(model, play)
    heard = words(HEARD)
    numbers = {"type": "tokens", **_usage(options, form.size // 10, len(heard))}
    body: dict[str, Any] = {"text": HEARD, "usage": numbers}
    if form.fields.get("stream") in ("true", "True"):
        deltas = [{"type": "transcript.text.delta", "delta": word} for word in heard]
        events = [*deltas, {"type": "transcript.text.done", **_told(body, options)}]
        frames = encode([("", orjson.dumps(event)) for event in events], "openai_chat", options)
        return Made(options, frames, EVENT_STREAM, model, streamed=True)
    match form.fields.get("response_format", "json"):
        case "text":
            return Made(options, [HEARD.encode() + b"\n"], "text/plain; charset=utf-8", model)
        case "srt":
            said = f"1\n00:00:00,000 --> 00:00:03,000\n{HEARD}\n\n"
            return Made(options, [said.encode()], "text/plain; charset=utf-8", model)
        case "vtt":
            said = f"WEBVTT\n\n00:00:00.000 --> 00:00:03.000\n{HEARD}\n\n"
            return Made(options, [said.encode()], "text/vtt; charset=utf-8", model)
        case "verbose_json":
            usage = {"type": "duration", "seconds": 3}
            body = {
                "task": "transcribe",
                "language": "english",
                "duration": 3.0,
                "text": HEARD,
                "usage": usage,
            }
            return Made(options, [orjson.dumps(_told(body, options))], model=model)
        case _:
            return Made(options, [orjson.dumps(_told(body, options))], model=model)


def _told(body: dict[str, Any], options: Options) -> dict[str, Any]:
    if options.usage == "missing":
        return {name: value for name, value in body.items() if name != "usage"}
    return {**body, "usage": None} if options.usage == "null" else body
