"""Every fault that the simulator can play, by name, with the row of the fault matrix that it stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """`after` is the number of frames sent before it where the name does not say; `stage` tells who plays
    it: `body` while the request is read, `status` instead of an answer, `events` among the frames, `bytes`
    on the way out."""

    stage: str
    row: str
    help: str
    after: int = 0


_GATEWAY = "408 / 500 / 502 / 503 / 504 / 529"
_CALLER = "400 / 413 / 422"
_KEY = '401, "invalid api key"'
_MONEY = '429 without, or "spend limit/credit" (also as 400/402)'
_MODEL = "404 model"
_HTML = "HTML page with 200"
_EMPTY = "empty 200 stream, `[DONE]` only"
_FIRST = "first event is an error in 200; error event later"
_EOF = "EOF without end marker (truncated SSE)"
_BROKEN = "reset / half-close mid-stream"
_HALF = "half line / event cut inside UTF-8"
_LENGTH = "wrong Content-Length (short/long)"
_INTERIM = "1xx / late 100 / trailers"
_SENDING = "reset while sending the body"
_NONE = "-"

FAULTS: dict[str, Fault] = {
    # instead of an answer
    "400": Fault("status", _CALLER, "malformed request"),
    "400-context": Fault("status", _CALLER, "prompt longer than the context window"),
    "400-policy": Fault("status", _CALLER, "refused by the content policy"),
    "400-parameter": Fault("status", _CALLER, "a parameter this model does not support"),
    "400-billing": Fault("status", _MONEY, "out of credit, told as 400"),
    "400-key": Fault("status", _KEY, "invalid key, told as 400"),
    "401": Fault("status", _KEY, "invalid key"),
    "402": Fault("status", _MONEY, "payment required"),
    "403": Fault("status", _KEY, "key lacks permission"),
    "403-model": Fault("status", _MODEL, "key may not use this model"),
    "404": Fault("status", _MODEL, "model not found"),
    "404-path": Fault("status", _MODEL, "no such path, in plain text"),
    "408": Fault("status", _GATEWAY, "request timeout"),
    "409": Fault("status", _NONE, "conflict"),
    "413": Fault("status", _CALLER, "request too large"),
    "422": Fault("status", _CALLER, "unprocessable"),
    "429": Fault("status", "429 + Retry-After", "rate limited; retry-SECONDS gives Retry-After"),
    "429-quota": Fault("status", _MONEY, "quota or spend limit reached"),
    "500": Fault("status", _GATEWAY, "server error"),
    "502": Fault("status", _GATEWAY, "bad gateway"),
    "503": Fault("status", _GATEWAY, "unavailable"),
    "504": Fault("status", _GATEWAY, "gateway timeout"),
    "529": Fault("status", _GATEWAY, "overloaded"),
    "redirect": Fault("status", "3xx", "302 to another host"),
    "html": Fault("status", _HTML, "an HTML page with status 200"),
    "html-502": Fault("status", _HTML, "an HTML page with status 502"),
    "empty": Fault("status", _EMPTY, "status 200 and no byte of body"),
    # among the frames
    "done-only": Fault("events", _EMPTY, "only the end marker of the format"),
    "error-overloaded": Fault("events", _FIRST, "an overload error in a 200, first or after N frames"),
    "error-rate": Fault("events", _FIRST, "a rate limit error in a 200"),
    "error-auth": Fault("events", _FIRST, "an authentication error in a 200"),
    "error-billing": Fault("events", _FIRST, "an out of credit error in a 200"),
    "error-server": Fault("events", _FIRST, "a server error in a 200"),
    "error-invalid": Fault("events", _FIRST, "an invalid request error in a 200"),
    "truncated": Fault("events", _EOF, "a clean end after N frames, no end marker", 3),
    "no-done": Fault("events", _EOF, "all frames but the last one, the end marker"),
    "no-finish": Fault("events", _EOF, "no finish reason, but the end marker"),
    "after-done": Fault("events", _NONE, "frames after the end marker"),
    "bad-json": Fault("events", "invalid JSON in an event", "frame N is not JSON"),
    "bad-json-2": Fault("events", "invalid JSON in an event", "frames N and N+1 are not JSON"),
    "bad-utf8": Fault("events", "invalid UTF-8 in an event", "text piece N holds bytes that are not UTF-8"),
    "huge": Fault("events", "one huge event (> 32 MB)", "text piece N has bytes-N characters (40 MB)"),
    "pings": Fault("events", _NONE, "a ping before each frame"),
    "comments": Fault("events", _NONE, "a comment before each frame"),
    "unknown": Fault("events", _NONE, "an event of an unknown type after N frames", 1),
    "crlf": Fault("events", _NONE, "lines end in CR LF"),
    "multiline": Fault("events", _NONE, "an event's data on several lines"),
    "tight": Fault("events", _NONE, "no space after the colon; id and retry fields"),
    "bom": Fault("events", _NONE, "the stream starts with a byte order mark"),
    "swap": Fault("events", _NONE, "a stream for a whole request, JSON for a streamed one"),
    # on the way out
    "stall-head": Fault("bytes", "read timeout before headers", "no status line, ever"),
    "stall-first": Fault("bytes", "headers, then no first event", "a head, then silence"),
    "stall": Fault("bytes", "stall mid-stream > idle limit", "silence after N frames", 3),
    "reset-head": Fault("bytes", _SENDING, "reset instead of a status line"),
    "close-head": Fault("bytes", _SENDING, "closed instead of a status line"),
    "cut": Fault("bytes", _BROKEN, "FIN after N frames, the message unfinished", 3),
    "reset": Fault("bytes", _BROKEN, "RST after N frames", 3),
    "close-after": Fault("bytes", _BROKEN, "answered, then closed without a word"),
    "garbage": Fault("bytes", _BROKEN, "bytes that are no HTTP"),
    "half-line": Fault("bytes", _HALF, "a clean end in the middle of frame N", 3),
    "cut-utf8": Fault("bytes", _HALF, "a clean end inside a letter of frame N", 3),
    "until-close": Fault("bytes", _NONE, "no length and no chunks: the answer ends with the connection"),
    "drip": Fault("bytes", "slow drip under the idle limit", "one byte at a time, delay-MS apart (10)"),
    "gzip": Fault("bytes", "gzip bomb", "gzip, whatever Accept-Encoding says"),
    "gzip-bomb": Fault("bytes", "gzip bomb", "gzip that unpacks to bytes-N (100 MB)"),
    "length-short": Fault("bytes", _LENGTH, "half the length declared, all bytes sent"),
    "length-long": Fault("bytes", _LENGTH, "fewer bytes than declared, then FIN"),
    "length-stall": Fault("bytes", _LENGTH, "fewer bytes than declared, then silence"),
    "smuggle": Fault("bytes", _LENGTH, "a second answer right behind the first"),
    "100": Fault("bytes", _INTERIM, "100 Continue before the answer"),
    "103": Fault("bytes", _INTERIM, "103 Early Hints before the answer"),
    "trailers": Fault("bytes", _INTERIM, "trailers after the body"),
    "trailers-length": Fault("bytes", _INTERIM, "trailers after the body, and a length among them"),
    # while the request is read
    "body-reset": Fault("body", _SENDING, "reset before the request's body is read"),
    "body-refuse": Fault("body", _SENDING, "the request's body is never read"),
    "body-early": Fault("body", _CALLER, "413 before the body is read, then closed"),
}
