"""HTTP by hand, for what no client would send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.relay.harness import House


@dataclass(frozen=True)
class Told:
    """An answer as it stood on the wire; `body` is still chunked where it was."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(house: House, request: bytes, *, within: float = 10) -> Told:
    """Sends these bytes and reads until the relay closes, or has answered and falls silent."""
    address = urlsplit(house.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(within):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                if name:
                    headers[name.lower()] = value.strip()
            if "content-length" in headers and not request.startswith(b"HEAD"):
                body = await reader.readexactly(int(headers["content-length"]))
            elif headers.get("transfer-encoding") == "chunked":
                body = await reader.readuntil(b"0\r\n\r\n")
            else:
                body = b""
        return Told(int(lines[0].split()[1]), headers, body)
    finally:
        writer.close()


async def ask(
    house: House,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: tuple[tuple[str, str], ...] = (),
    secret: str | None = None,
) -> Told:
    """One request whose target and headers go out exactly as given. `secret` "" sends no credential."""
    secret = house.secret if secret is None else secret
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    if secret:
        lines.append(f"Authorization: Bearer {secret}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return await exchange(house, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)
