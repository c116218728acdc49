"""The control: the barest ASGI application that streams both bodies through aiohttp and parses nothing.

`python -m bench.control PORT UPSTREAM` serves it with the flags of `manage.py serve`.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvicorn

UPSTREAM = sys.argv[2] if len(sys.argv) > 2 else ""
session: aiohttp.ClientSession | None = None


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Forwards one request."""
    global session  # noqa: PLW0603 - the barest
    if scope["type"] == "lifespan":
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(UPSTREAM, connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await session.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert session is not None
    length = dict(scope["headers"])[b"content-length"].decode()
    headers = {"content-type": "application/json", "content-length": length}
    async with session.post(scope["path"], data=_body(receive), headers=headers) as answer:
        kept = [
            (k.lower(), v) for k, v in answer.raw_headers if k.lower() in (b"content-type", b"content-length")
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": kept})
        async for chunk in answer.content.iter_any():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["body"]:
            yield message["body"]
        if not message["more_body"]:
            return


if __name__ == "__main__":
    uvicorn.run(
        application, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", lifespan="on",
        interface="asgi3", log_config=None, access_log=False, server_header=False, proxy_headers=False,
        timeout_keep_alive=75,
    )  # fmt: skip
