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


_STATUS = "408 / 500 / 502 / 503 / 504 / 529"
_INVALID = "400 / 413 / 422"
_FIRST = "first event is an error in 200"

FAULTS: dict[str, Fault] = {
    # instead of an answer
    "400": Fault("status", _INVALID, "malformed request"),
    "400-context": Fault("status", _INVALID, "prompt longer than the context window"),
    "400-policy": Fault("status", _INVALID, "refused by the content policy"),
    "400-parameter": Fault("status", _INVALID, "a parameter this model does not support"),
    "400-billing": Fault(
        "status", "429 without, or spend limit (also as 400/402)", "out of credit, told as 400"
    ),
    "400-key": Fault("status", "401, invalid api key", "invalid key, told as 400"),
    "401": Fault("status", "401, invalid api key", "invalid key"),
    "402": Fault("status", "429 without, or spend limit (also as 400/402)", "payment required"),
    "403": Fault("status", "401, invalid api key", "key lacks permission"),
    "403-model": Fault("status", "404 model", "key may not use this model"),
    "404": Fault("status", "404 model", "model not found"),
    "404-path": Fault("status", "404 model", "no such path, in plain text"),
    "408": Fault("status", _STATUS, "request timeout"),
    "409": Fault("status", _STATUS, "conflict"),
    "413": Fault("status", _INVALID, "request too large"),
    "422": Fault("status", _INVALID, "unprocessable"),
    "429": Fault("status", "429 + Retry-After", "rate limited; retry-N gives Retry-After"),
    "429-quota": Fault(
        "status", "429 without, or spend limit (also as 400/402)", "quota or spend limit reached"
    ),
    "500": Fault("status", _STATUS, "server error"),
    "502": Fault("status", _STATUS, "bad gateway"),
    "503": Fault("status", _STATUS, "unavailable"),
    "504": Fault("status", _STATUS, "gateway timeout"),
    "529": Fault("status", _STATUS, "overloaded"),
    "redirect": Fault("status", "3xx", "302 to another host"),
    "html": Fault("status", "HTML page with 200", "an HTML page with status 200"),
    "html-502": Fault("status", "HTML page with 200", "an HTML page with status 502"),
    "empty": Fault("status", "empty 200 stream, [DONE] only", "status 200 and no byte of body"),
    # among the frames
    "done-only": Fault("events", "empty 200 stream, [DONE] only", "only the end marker of the format"),
    "error-overloaded": Fault("events", _FIRST, "an overload error in a 200, first or after N frames"),
    "error-rate": Fault("events", _FIRST, "a rate limit error in a 200"),
    "error-auth": Fault("events", _FIRST, "an authentication error in a 200"),
    "error-billing": Fault("events", _FIRST, "an out of credit error in a 200"),
    "error-server": Fault("events", _FIRST, "a server error in a 200"),
    "error-invalid": Fault("events", _FIRST, "an invalid request error in a 200"),
    "truncated": Fault("events", "EOF without end marker (truncated SSE)", "a clean end after N frames", 3),
    "no-done": Fault("events", "EOF without end marker (truncated SSE)", "all frames but [DONE]"),
    "no-finish": Fault("events", "EOF without end marker (truncated SSE)", "no finish reason, but [DONE]"),
    "after-done": Fault("events", "wrong Content-Length (short/long)", "frames after the end marker"),
    "bad-json": Fault("events", "invalid JSON in an event", "frame N is not JSON"),
    "bad-json-2": Fault("events", "invalid JSON in an event", "frames N and N+1 are not JSON"),
    "bad-utf8": Fault("events", "invalid UTF-8 in an event", "text piece N holds bytes that are not UTF-8"),
    "huge": Fault(
        "events", "one huge event (> 32 MB)", "text piece N has bytes-N characters, 40 MB unless said"
    ),
    "pings": Fault("events", "slow drip under the idle limit", "a ping before each frame"),
    "comments": Fault("events", "slow drip under the idle limit", "a comment before each frame"),
    "unknown": Fault("events", "invalid JSON in an event", "an event of an unknown type after frame N", 1),
    "crlf": Fault("events", "half line / event cut inside UTF-8", "lines end in CR LF"),
    "multiline": Fault("events", "half line / event cut inside UTF-8", "an event's data on several lines"),
    "tight": Fault(
        "events", "half line / event cut inside UTF-8", "no space after the colon, id and retry fields"
    ),
    "bom": Fault("events", "invalid UTF-8 in an event", "the stream starts with a byte order mark"),
    "swap": Fault("events", "HTML page with 200", "a stream for a whole request, JSON for a streamed one"),
    # on the way out
    "stall-head": Fault("bytes", "read timeout before headers", "no status line, ever"),
    "reset-head": Fault("bytes", "reset while sending the body", "reset instead of a status line"),
    "close-head": Fault("bytes", "reset while sending the body", "closed instead of a status line"),
    "stall": Fault(
        "bytes", "stall mid-stream > idle limit", "silence after N frames; after-0: after the head", 3
    ),
    "cut": Fault("bytes", "reset / half-close mid-stream", "FIN after N frames, message unfinished", 3),
    "reset": Fault("bytes", "reset / half-close mid-stream", "RST after N frames", 3),
    "half-line": Fault(
        "bytes", "half line / event cut inside UTF-8", "a clean end in the middle of frame N", 3
    ),
    "cut-utf8": Fault(
        "bytes", "half line / event cut inside UTF-8", "a clean end inside a letter of frame N", 3
    ),
    "drip": Fault(
        "bytes", "slow drip under the idle limit", "one byte at a time, delay-N apart (10 unless said)"
    ),
    "gzip": Fault("bytes", "gzip bomb", "gzip, whatever Accept-Encoding says"),
    "gzip-bomb": Fault("bytes", "gzip bomb", "gzip that unpacks to bytes-N, 100 MB unless said"),
    "length-short": Fault(
        "bytes", "wrong Content-Length (short/long)", "half the length declared, all bytes sent"
    ),
    "smuggle": Fault("bytes", "wrong Content-Length (short/long)", "a second answer right behind the first"),
    "length-long": Fault("bytes", "wrong Content-Length (short/long)", "fewer bytes than declared, then FIN"),
    "length-stall": Fault(
        "bytes", "wrong Content-Length (short/long)", "fewer bytes than declared, then silence"
    ),
    "until-close": Fault(
        "bytes", "EOF without end marker (truncated SSE)", "no length, no chunks: ends with FIN"
    ),
    "close-after": Fault("bytes", "reset / half-close mid-stream", "kept alive, then closed without a word"),
    "100": Fault("bytes", "1xx / late 100 / trailers", "100 Continue before the answer"),
    "103": Fault("bytes", "1xx / late 100 / trailers", "103 Early Hints before the answer"),
    "trailers": Fault("bytes", "1xx / late 100 / trailers", "trailers after the body"),
    "garbage": Fault("bytes", "reset / half-close mid-stream", "bytes that are no HTTP"),
    # while the request is read
    "body-reset": Fault("body", "reset while sending the body", "reset before the request's body is read"),
    "body-refuse": Fault("body", "reset while sending the body", "the request's body is never read"),
    "body-early": Fault("body", "400 / 413 / 422", "413 before the body is read, then closed"),
}
