"""A client that reads what a server really sends, byte by byte, and how the connection ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

from simulator.server import Simulator

QUIET = 0.25
"""Seconds without a byte after which a connection counts as silent, where silence is expected."""
PATIENT = 20.0
"""The same where it is not: a slow machine must not look like a fault."""

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:streamGenerateContent?alt=sse",
}


@dataclass
class Heard:
    """`ending`: "eof", "reset" or "silence". `complete`: the message ended as its head said it would."""

    raw: bytes
    ending: str
    interim: list[int] = field(default_factory=list)
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: bytes = b""
    rest: bytes = b""
    complete: bool = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def frames(self) -> list[bytes]:
        """Blocks of server-sent events, whole ones only."""
        return [block for block in self.body.split(b"\n\n")[:-1] if block]

    @property
    def data(self) -> list[Any]:
        """The JSON of each data line; `[DONE]` as text."""
        lines = [line[5:].strip() for line in self.body.splitlines() if line.startswith(b"data:")]
        return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def body_for(format_: str, model: str, *, stream: bool = True) -> dict[str, Any]:
    """The least request of this format."""
    match format_:
        case "openai_responses":
            return {"model": model, "input": "hello there", "stream": stream}
        case "gemini":
            return {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}
        case _:
            messages = [{"role": "user", "content": "hello there"}]
            body: dict[str, Any] = {"model": model, "messages": messages, "stream": stream}
            if format_ == "anthropic":
                body["max_tokens"] = 100
            return body


def path_for(format_: str, model: str, *, stream: bool = True) -> str:
    path = PATHS[format_].replace("{model}", model)
    return path if stream else path.replace("streamGenerateContent?alt=sse", "generateContent")


def request(
    path: str,
    body: bytes | dict[str, Any] = b"",
    *,
    method: str = "POST",
    secret: str = "sk-a",
    keep: bool = False,
) -> bytes:
    """The bytes of a request, with the credential in every place that a vendor may look."""
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: simulator",
        f"Authorization: Bearer {secret}",
        f"x-api-key: {secret}",
        f"x-goog-api-key: {secret}",
        "anthropic-version: 2023-06-01",
        "Content-Type: application/json",
        f"Content-Length: {len(told)}",
        "Connection: keep-alive" if keep else "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + told


async def exchange(simulator: Simulator, sent: bytes, *, quiet: float = PATIENT) -> Heard:
    """Send bytes, read until the connection ends or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
    pieces = []
    ending = "eof"
    try:
        writer.write(sent)
        while True:
            piece = await asyncio.wait_for(reader.read(2**20), quiet)
            if not piece:
                break
            pieces.append(piece)
    except TimeoutError:
        ending = "silence"
    except ConnectionResetError:
        ending = "reset"
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return parse(b"".join(pieces), ending)


async def ask(
    simulator: Simulator, model: str, format_: str = "openai_chat", *, stream: bool = True, **more: Any
) -> Heard:
    """One least request of this format."""
    quiet = more.pop("quiet", PATIENT)
    keep = more.pop("keep", False)
    sent = request(
        path_for(format_, model, stream=stream),
        {**body_for(format_, model, stream=stream), **more},
        keep=keep,
    )
    return await exchange(simulator, sent, quiet=quiet)


def parse(raw: bytes, ending: str) -> Heard:
    heard = Heard(raw, ending)
    rest = raw
    while rest.startswith(b"HTTP/1.1 "):
        head, found, rest = rest.partition(b"\r\n\r\n")
        if not found:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        heard.status = int(first.split(" ")[1])
        heard.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        if heard.status >= 200:
            break
        heard.interim.append(heard.status)
    if "content-length" in heard.headers:
        length = int(heard.headers["content-length"])
        heard.body, heard.rest = rest[:length], rest[length:]
        heard.complete = len(heard.body) == length
    elif heard.headers.get("transfer-encoding") == "chunked":
        _dechunk(heard, rest)
    else:
        heard.body, heard.complete = rest, ending == "eof"
    return heard


def _dechunk(heard: Heard, rest: bytes) -> None:
    pieces, at = [], 0
    while (end := rest.find(b"\r\n", at)) >= 0:
        size = int(rest[at:end], 16)
        if size == 0:
            heard.trailers, _, heard.rest = rest[end:].partition(b"\r\n\r\n")
            heard.complete = True
            break
        pieces.append(rest[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    heard.body = b"".join(pieces)
