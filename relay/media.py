"""Pictures and documents that a client names by address, fetched for targets that take bytes alone
(conversion.md, 48). Off unless the operator allows it: the relay calls addresses that clients choose."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable

import httpx
import msgspec

from providers import dialer
from wire.neutral.gemini_fields import is_youtube
from wire.neutral.parts import Media, Part, ToolResult
from wire.neutral.requests import Request
from wire.types import BadRequest

MOST = 20
"""Addresses that are fetched for one request."""
SECONDS = 15.0
"""For one of them, redirects and all."""
REDIRECTS = 3
_TYPES: tuple[tuple[bytes, int, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", 0, "image/png"),
    (b"\xff\xd8\xff", 0, "image/jpeg"),
    (b"GIF8", 0, "image/gif"),
    (b"WEBP", 8, "image/webp"),
    (b"%PDF-", 0, "application/pdf"),
    (b"WAVE", 8, "audio/wav"),
    (b"ID3", 0, "audio/mpeg"),
    (b"\xff\xfb", 0, "audio/mpeg"),
    (b"OggS", 0, "audio/ogg"),
    (b"fLaC", 0, "audio/flac"),
    (b"ftyp", 4, "video/mp4"),
    (b"\x1aE\xdf\xa3", 0, "video/webm"),
)
"""Types by the bytes that files of them have at a place; what a server says of its files is not believed."""
Client = Callable[[], httpx.Client]


def guarded() -> httpx.Client:
    """A client that dials no private address, whatever a name or a redirect says."""
    return dialer.client(allow_private=False, timeout=SECONDS)


async def fetched(
    request: Request, takes: frozenset[str], *, limit: int, client: Client = guarded
) -> tuple[Request, int]:
    """The request with the bytes of all media that stand there by address, but for kinds that the target
    takes by address itself, and how many bytes they are. `limit` is for all together. An address of YouTube
    leads to no file: Gemini takes it as it is, and no other does. Raises BadRequest naming the message."""
    wanted = {
        part.url: f"messages.{number}"
        for number, turn in enumerate(request.turns)
        for part in _media(turn.parts)
        if part.url.startswith(("http://", "https://"))
        and part.kind not in takes
        and not is_youtube(part.url)
    }
    if not wanted:
        return request, 0
    if len(wanted) > MOST:
        raise BadRequest(
            f"At most {MOST} files are fetched for one request.", param=next(iter(wanted.values()))
        )
    found: dict[str, tuple[str, bytes]] = {}
    for url, param in wanted.items():
        found[url] = await asyncio.to_thread(_fetch, client, url, limit, param)
        limit -= len(found[url][1])
    turns = tuple(msgspec.structs.replace(turn, parts=_filled(turn.parts, found)) for turn in request.turns)
    return msgspec.structs.replace(request, turns=turns), sum(len(data) for _, data in found.values())


def _media(parts: tuple[Part, ...]) -> list[Media]:
    return [
        each
        for part in parts
        for each in (part.parts if isinstance(part, ToolResult) else (part,))
        if isinstance(each, Media)
    ]


def _filled(parts: tuple[Part, ...], found: dict[str, tuple[str, bytes]]) -> tuple[Part, ...]:
    filled: list[Part] = []
    for part in parts:
        if isinstance(part, ToolResult):
            filled.append(msgspec.structs.replace(part, parts=_filled(part.parts, found)))
        elif isinstance(part, Media) and part.url in found:
            mime, data = found[part.url]
            filled.append(
                msgspec.structs.replace(part, mime=mime, data=base64.b64encode(data).decode(), url="")
            )
        else:
            filled.append(part)
    return tuple(filled)


def _fetch(client: Client, url: str, limit: int, param: str) -> tuple[str, bytes]:
    """MIME type and bytes of one file. Blocking. Raises BadRequest, without a word of what an address that
    may not be called has to say."""
    due = time.monotonic() + SECONDS
    data = bytearray()
    try:
        with client() as session:
            for _ in range(REDIRECTS + 1):
                with session.stream("GET", url, headers={"accept-encoding": "identity"}) as answer:
                    if answer.has_redirect_location:
                        url = str(answer.url.join(answer.headers["location"]))
                        continue
                    if answer.status_code != 200:
                        raise BadRequest(
                            "A file that is named by its address cannot be fetched.", param=param
                        )
                    for piece in answer.iter_raw():
                        data += piece
                        if len(data) > limit:
                            raise BadRequest("The files of this request are too large to fetch.", param=param)
                        if time.monotonic() > due:
                            raise BadRequest("A file took too long to fetch.", param=param)
                    return _sniffed(bytes(data[:16]), param), bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        if isinstance(error, BadRequest):
            raise
        raise BadRequest("A file that is named by its address cannot be fetched.", param=param) from error
    raise BadRequest("A file's address leads from one to the next too often.", param=param)


def _sniffed(head: bytes, param: str) -> str:
    for mark, at, mime in _TYPES:
        if head[at : at + len(mark)] == mark:
            return mime
    raise BadRequest("A file that is named by its address is no picture, document or sound.", param=param)
