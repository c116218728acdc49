"""relay/media.py: files that clients name by address."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest

from providers import dialer
from relay import media
from relay.media import fetched, guarded
from wire.neutral.parts import Media, Text, ToolResult, Turn
from wire.neutral.requests import Request
from wire.types import BadRequest

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
PDF = b"%PDF-1.7 words"


class Files(BaseHTTPRequestHandler):
    """`/png`, `/pdf`, `/page`, `/large`, `/gone`, `/next` (to /png), `/round` (to itself), `/inward` (to a
    private address)."""

    asked: list[str] = []

    def do_GET(self) -> None:
        Files.asked.append(self.path)
        bodies = {"/png": PNG, "/pdf": PDF, "/page": b"<html>", "/large": PNG + bytes(100_000)}
        moved = {"/next": "/png", "/round": "/round", "/inward": "http://10.0.0.1/png"}.get(self.path)
        self.send_response(302 if moved else 200 if self.path in bodies else 404)
        if moved:
            self.send_header("location", moved)
        body = bodies.get(self.path, b"")
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def near() -> httpx.Client:
    """A client that may call this very machine, and no other private address."""
    return httpx.Client(transport=Near(allow_private=True), trust_env=False, timeout=5)


class Near(dialer.Transport):
    """Lets loopback through alone."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != "127.0.0.1":
            raise dialer.Forbidden("not here")
        return super().handle_request(request)


def asked(*parts: Media) -> Request:
    return Request("openai_chat", "m", (Turn("user", (Text("look"), *parts)),))


def picture(url: str) -> Media:
    return Media("image", url=url, detail="high")


async def test_a_picture_is_fetched_once_and_known_by_its_bytes(files: str) -> None:
    Files.asked.clear()
    request, size = await fetched(
        asked(picture(f"{files}/png"), picture(f"{files}/png")), frozenset(), limit=1_000, client=near
    )
    told = Media("image", "image/png", base64.b64encode(PNG).decode(), detail="high")
    assert request.turns[0].parts == (Text("look"), told, told)
    assert (size, Files.asked) == (len(PNG), ["/png"])


async def test_files_within_the_results_of_tools_are_fetched_too(files: str) -> None:
    result = ToolResult("call_1", (Media("document", url=f"{files}/pdf"),))
    request = Request("anthropic", "m", (Turn("user", (result,)),))
    filled, _ = await fetched(request, frozenset({"image"}), limit=1_000, client=near)
    told = filled.turns[0].parts[0]
    assert isinstance(told, ToolResult)
    assert told.parts == (Media("document", "application/pdf", base64.b64encode(PDF).decode()),)


async def test_what_a_target_takes_by_address_is_not_fetched() -> None:
    request = asked(picture("https://files.example/cat.png"))
    assert await fetched(request, frozenset({"image"}), limit=1_000) == (request, 0)


@pytest.mark.parametrize(
    "url", ["https://www.youtube.com/watch?v=9hE5-98ZeCg", "https://youtu.be/9hE5-98ZeCg"]
)
async def test_a_film_on_youtube_is_left_to_the_vendor_that_takes_it(url: str) -> None:
    request = asked(Media("video", url=url))
    assert await fetched(request, frozenset(), limit=1_000) == (request, 0)


async def test_an_address_that_leads_on_is_followed(files: str) -> None:
    _, size = await fetched(asked(picture(f"{files}/next")), frozenset(), limit=1_000, client=near)
    assert size == len(PNG)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/gone", "cannot be fetched"),
        ("/page", "no picture, document or sound"),
        ("/large", "too large"),
        ("/round", "too often"),
        ("/inward", "cannot be fetched"),
    ],
)
async def test_what_is_no_file_to_send_on_is_refused_by_its_message(files: str, path: str, text: str) -> None:
    with pytest.raises(BadRequest, match=text) as refused:
        await fetched(asked(picture(f"{files}{path}")), frozenset(), limit=10_000, client=near)
    assert refused.value.param == "messages.0"
    assert "127.0.0.1" not in refused.value.text


async def test_no_private_address_is_ever_called(files: str) -> None:
    Files.asked.clear()
    with pytest.raises(BadRequest, match="cannot be fetched"):
        await fetched(asked(picture(f"{files}/png")), frozenset(), limit=1_000, client=guarded)
    assert Files.asked == []


async def test_all_files_of_a_request_share_one_limit(files: str) -> None:
    both = asked(picture(f"{files}/png"), Media("document", url=f"{files}/pdf"))
    with pytest.raises(BadRequest, match="too large"):
        await fetched(both, frozenset(), limit=len(PNG) + 3, client=near)


async def test_no_request_has_the_relay_call_a_crowd_of_addresses() -> None:
    crowd = (picture(f"https://files.example/{number}") for number in range(media.MOST + 1))
    with pytest.raises(BadRequest, match="At most 20"):
        await fetched(asked(*crowd), frozenset(), limit=1_000)
