"""Which headers cross the relay: allow-lists in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from providers.types import Target
from wire import FORMATS

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
_UNSAFE = re.compile(rb"[\r\n\x00]")


def to_upstream(client: Pairs, target: Target) -> dict[str, str]:
    """Headers of an upstream request: what may pass of the client's, over it the endpoint's own, over all the
    credential. Upstream is asked not to compress, so that frames pass as they are."""
    allowed = FORWARDED_TO[target.format]
    nominated = _nominated(client)
    headers: dict[str, str] = {}
    for name_, value_ in client:
        if name_ in allowed and name_ not in nominated and not _UNSAFE.search(value_):
            name, value = name_.decode("latin-1"), value_.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name_ in LISTS and name in headers else value
    headers["accept-encoding"] = "identity"
    for name, value in target.headers:
        headers[name.lower()] = value
    headers.update(FORMATS[target.format].credentials(target.secret, target.credential_style))
    return headers


def _nominated(client: Pairs) -> frozenset[bytes]:
    """Header names that the client's `Connection` declares hop-by-hop."""
    nominated: frozenset[bytes] = frozenset()
    for name, value in client:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            nominated |= frozenset(each.strip().lower() for each in value.split(b","))
    return nominated


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
