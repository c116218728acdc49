"""Which headers cross the relay: allow-lists in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from providers.types import Target
from relay.errors import UpstreamFailure
from wire import FORMATS, azure

Pairs = Iterable[tuple[bytes, bytes]]

FORWARDED = frozenset(
    {
        b"accept", b"content-type", b"user-agent", b"idempotency-key", b"openai-beta", b"originator",
        b"session_id", b"conversation_id", b"x-goog-api-client",
    }
)  # fmt: skip
"""What goes upstream of a client's headers. Anything else stays here: credentials, cookies, addresses,
hop-by-hop."""
LISTS = frozenset({b"accept", b"openai-beta", b"anthropic-beta"})
"""Those whose value is a list, which may stand on several lines."""
ANTHROPIC_FORWARDED = FORWARDED | {b"anthropic-version", b"anthropic-beta"}
FORWARDED_TO: Mapping[str, frozenset[bytes]] = {
    "openai_chat": FORWARDED,
    "openai_responses": FORWARDED,
    "anthropic": ANTHROPIC_FORWARDED,
    "gemini": FORWARDED,
}

CONTENT_TYPES = re.compile(
    r"(application/json|text/event-stream|text/plain|text/vtt|application/octet-stream|audio/[\w.+-]+|image/(?!svg)[\w.+-]+)"
    r"(\s*;[\x20-\x7e]*)?",
    re.I,
)
NO_MORE: Mapping[str, str] = {}
_UNSAFE = re.compile(rb"[\r\n\x00]")
FRAMING = frozenset(
    {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""What the HTTP client alone sets: an endpoint's own would break a request out of its frame."""
USUAL = frozenset({b"keep-alive", b"close"})
"""Values of `Connection` that name no header."""


class _Own(NamedTuple):
    """What a target adds to every request as ready lines, which of the client's headers it leaves room for,
    and its own lists, to which a converted request may add."""

    lines: bytes
    allowed: frozenset[bytes]
    lists: Mapping[bytes, bytes]


def to_upstream(client: Pairs, target: Target, more: Mapping[str, str] = NO_MORE) -> bytes:
    """Header lines of an upstream request: what may pass of the client's, `more` in its place, the endpoint's
    own in theirs, over all the credential. Upstream is asked not to compress, so that frames pass as they
    are. Raises UpstreamFailure where a header of the endpoint's would break out of its line."""
    own: _Own = target.memo.get("headers") or _prepare(target)
    allowed = own.allowed
    kept: dict[bytes, bytes] = {}
    nominated: list[bytes] = []
    for name, value in client:
        if name in allowed:
            if not _UNSAFE.search(value):
                kept[name] = kept[name] + b", " + value if name in LISTS and name in kept else value
        elif name == b"connection" and value.lower() not in USUAL:
            nominated += value.lower().split(b",")
    for name in nominated:  # hop-by-hop, as the client declares
        kept.pop(name.strip(), None)
    kept.update(own.lists)
    for text, told in more.items():
        name = text.encode()
        if name in LISTS and name in kept:
            kept[name] += b", " + told.encode()
        elif name in allowed:
            kept[name] = told.encode()
    return own.lines + b"".join([b"%b: %b\r\n" % pair for pair in kept.items()])


def _prepare(target: Target) -> _Own:
    headers = {"accept-encoding": "identity"}
    headers.update((name.lower(), value) for name, value in target.headers if name.lower() not in FRAMING)
    told = azure.credentials if azure.QUIRK in target.quirks else FORMATS[target.format].credentials
    headers.update(told(target.secret, target.credential_style))
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    if any(_UNSAFE.search(each) for pair in pairs for each in pair):
        raise UpstreamFailure(
            "bad_frame", phase="connect", text="a header of the endpoint holds a line break"
        )
    own = _Own(
        b"".join([b"%b: %b\r\n" % pair for pair in pairs if pair[0] not in LISTS]),
        FORWARDED_TO[target.format] - {name for name, _ in pairs},
        {name: value for name, value in pairs if name in LISTS},
    )
    target.memo["headers"] = own
    return own


def as_dict(lines: bytes) -> dict[str, str]:
    """Header lines as names and values."""
    pairs = (line.partition(": ") for line in lines.decode("utf-8", "replace").split("\r\n") if line)
    return {name: value for name, _, value in pairs}


def content_type(value: str, fallback: str) -> str:
    """Upstream's content type where it is one that we pass on, else `fallback`."""
    return value if CONTENT_TYPES.fullmatch(value) else fallback


def own(request_id: str, *, stream: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers that every answer of ours carries."""
    identifier = request_id.encode()
    headers = [
        (b"x-request-id", identifier),
        (b"request-id", identifier),
        (b"x-content-type-options", b"nosniff"),
    ]
    if stream:
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    else:
        headers.append((b"cache-control", b"no-store"))
    return headers
