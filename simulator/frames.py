"""Frames of an answer as bytes: events encoded, with the faults that sit among them."""

from __future__ import annotations

from typing import Any

import orjson

from simulator import anthropic, chat, errors, gemini, responses
from simulator.ask import Ask
from simulator.compose import BAD, LITERAL, compose
from simulator.faults import FAULTS
from simulator.options import HOSTILE, Options
from simulator.play import Event, array, sse

_FORMATS: dict[str, Any] = {
    "openai_chat": chat,
    "openai_responses": responses,
    "anthropic": anthropic,
    "gemini": gemini,
}
BAD_BYTES = b"\xff\xc3\x28\xfe"
_BAD_MARK = orjson.dumps(BAD)[1:-1]
_ALONE: dict[str, Event] = {
    "openai_chat": chat.DONE,
    "anthropic": ("message_stop", b'{"type":"message_stop"}'),
    "gemini": ("", b'{"candidates":[{"finishReason":"STOP","index":0}]}'),
}
_PINGS = {"anthropic": b'event: ping\ndata: {"type":"ping"}\n\n', "gemini": b"\n"}
"""Where a comment is no ping: google-genai takes a comment for broken JSON."""
_UNKNOWN: dict[str, Event] = {
    "openai_chat": ("future", b'{"object":"chat.completion.future","choices":[],"later":1}'),
    "openai_responses": ("response.future", b'{"type":"response.future","sequence_number":1,"later":1}'),
    "anthropic": ("future_event", b'{"type":"future_event","later":1}'),
    "gemini": ("", b'{"futureField":1}'),
}


def whole(dialect: str, ask: Ask, options: Options) -> bytes:
    """The JSON of a whole answer."""
    answer = compose(ask, options)
    return _literals(orjson.dumps(_FORMATS[dialect].whole(answer)), options)


def stream(dialect: str, ask: Ask, options: Options, *, as_array: bool = False) -> list[bytes]:
    """The frames of a streamed answer: server-sent events, or the pieces of Gemini's array."""
    answer = compose(ask, options)
    return encode(list(_FORMATS[dialect].events(answer)), dialect, options, ask=ask, as_array=as_array)


def encode(
    events: list[Event], dialect: str, options: Options, *, ask: Ask | None = None, as_array: bool = False
) -> list[bytes]:
    """Events as frames, with the fault among them. `ask` is needed for Responses only, to fail one."""
    events = _spoil(events, dialect, options, ask)
    if as_array:
        return [_literals(frame, options) for frame in array(events)]
    fault = options.fault
    end = b"\r\n" if fault == "crlf" else b"\n"
    colon = b":" if fault == "tight" else b": "
    before = b""
    if fault == "comments":
        before = b": a comment\n\n"
    elif fault == "pings":
        before = _PINGS.get(dialect, b": ping\n\n")
    elif fault == "tight":
        before = b"id:7\nretry:3000\n"
    frames = [
        before + _literals(sse(event, end=end, colon=colon, multiline=fault == "multiline"), options)
        for event in events
    ]
    if fault == "bom" and frames:
        frames[0] = b"\xef\xbb\xbf" + frames[0]
    return frames


def spoil_whole(body: bytes, dialect: str, options: Options) -> bytes:
    """The JSON of a whole answer with the fault that sits among the events of a streamed one."""
    match options.fault:
        case "truncated":
            return body[: len(body) // 2]
        case "bad-json" | "bad-json-2":
            return b'{"broken": ' + body[1:-1]
        case "done-only":
            return b"{}"
        case fault if fault in errors.IN_STREAM:
            return orjson.dumps(errors.body(errors.KINDS[errors.IN_STREAM[fault]], dialect))
        case _:
            return body


def _literals(data: bytes, options: Options) -> bytes:
    if options.usage in HOSTILE:
        data = data.replace(str(LITERAL).encode(), HOSTILE[options.usage])
    return data.replace(_BAD_MARK, BAD_BYTES) if options.fault == "bad-utf8" else data


def _spoil(events: list[Event], dialect: str, options: Options, ask: Ask | None) -> list[Event]:
    """The events with the fault among them, if it is one of those."""
    fault, after = options.fault, options.after
    if after is None:
        after = FAULTS[fault].after if fault else 0
    match fault:
        case "truncated":
            return events[:after]
        case "no-done":
            return events[:-1]
        case "after-done":
            return [*events, *events[1:3], events[-1]]
        case "bad-json" | "bad-json-2":
            count = 2 if fault == "bad-json-2" else 1
            for index in range(after, min(after + count, len(events))):
                events[index] = (events[index][0], b'{"broken": ' + events[index][1][1:-1])
            return events
        case "unknown":
            return [*events[:after], _UNKNOWN[dialect], *events[after:]]
        case "done-only":
            return [_ALONE[dialect] if ask is None or dialect in _ALONE else _empty_response(ask)]
        case _ if fault in errors.IN_STREAM:
            return [*events[:after], *_error(events[:after], dialect, options, ask)]
        case _:
            return events


def _empty_response(ask: Ask) -> Event:
    body = responses.shell(ask.body, ask.model, "completed")
    told = {"type": "response.completed", "sequence_number": 0, "response": body}
    return "response.completed", orjson.dumps(told)


def _error(told: list[Event], dialect: str, options: Options, ask: Ask | None) -> list[Event]:
    kind = errors.KINDS[errors.IN_STREAM[options.fault]]
    failed = None
    if told and ask is not None:
        code = "rate_limit_exceeded" if kind.status == 429 else "server_error"
        failed = responses.failed(ask.body, ask.model, code, kind.text)
    return errors.events(kind, dialect, sequence=len(told), nested=options.nested, failed=failed)
