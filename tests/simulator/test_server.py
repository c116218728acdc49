from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simulator import ports
from simulator.core import MAX_SEEN, Raw, Vendor
from simulator.options import BadOptionError
from simulator.server import Simulator
from simulator.thread import running
from tests.simulator.raw import QUIET, ask, body_for, exchange, request

CHAT = "/v1/chat/completions"


def certificate(folder: Path, host: str) -> ssl.SSLContext:
    """A server's side of TLS with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def statuses(vendor: Simulator, number: int, secret: str = "sk-a") -> list[int]:
    sent = request(CHAT, body_for("openai_chat", "sim"), secret=secret)
    return [(await exchange(vendor, sent)).status for _ in range(number)]


async def test_plays_are_used_one_a_request_and_the_last_repeats(vendor: Simulator) -> None:
    vendor.script(["fault-401", "fault-500", "ok"], secret="sk-a")
    assert await statuses(vendor, 5) == [401, 500, 200, 200, 200]


async def test_each_secret_has_its_own_script_and_others_share_one(vendor: Simulator) -> None:
    vendor.script("fault-401", secret="sk-a")
    vendor.script(["fault-402", "fault-403"])
    assert await statuses(vendor, 2, "sk-a") == [401, 401]
    assert await statuses(vendor, 2, "sk-b") == [402, 403]
    vendor.script(secret="sk-a")
    vendor.script()
    assert await statuses(vendor, 1, "sk-a") == [200]


async def test_a_play_that_is_none_is_refused_at_once(vendor: Simulator) -> None:
    with pytest.raises(BadOptionError, match="fault-4011"):
        vendor.script(["fault-4011"], secret="sk-a")
    with pytest.raises(ValueError, match="too many"):
        vendor.script(["ok"] * 20_000)


async def test_raw_pieces_are_the_whole_conversation(vendor: Simulator) -> None:
    told = [b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 9\r\n\r\nhalf a", b"nd half"]
    vendor.script(secret="sk-a", raw=told)
    heard = await exchange(vendor, request(CHAT, {}))
    assert heard.raw == b"".join(told)
    assert heard.ending == "eof"


async def test_body_pieces_come_behind_a_head(vendor: Simulator) -> None:
    vendor.script(secret="sk-a", body=[b"data: \xf0\x9f", b"\x99\x82\n\n"], then="keep", headers={"x-a": "b"})
    heard = await exchange(vendor, request(CHAT, {}))
    assert (heard.status, heard.complete, heard.headers["x-a"]) == (200, True, "b")
    assert heard.headers["content-type"] == "text/event-stream"
    assert heard.body.decode() == "data: \N{SLIGHTLY SMILING FACE}\n\n"


@pytest.mark.parametrize(
    ("then", "ending", "complete"),
    [("close", "eof", True), ("reset", "reset", False), ("stall", "silence", False)],
)
async def test_a_script_of_bytes_ends_as_told(
    vendor: Simulator, then: str, ending: str, complete: bool
) -> None:
    vendor.script([Raw((b"data: 1\n\n",), head=(200, ()), then=then)], secret="sk-a")
    heard = await exchange(vendor, request(CHAT, {}), quiet=QUIET)
    assert (heard.body, heard.ending, heard.complete) == (b"data: 1\n\n", ending, complete)


async def test_a_request_is_remembered_as_it_came(vendor: Simulator) -> None:
    body = b'{"model": "sim", "messages": []}'
    await exchange(vendor, request(CHAT + "?a=b%20c&a=d", body))
    seen = vendor.requests[-1]
    assert (seen.method, seen.path, seen.query) == ("POST", CHAT, "a=b%20c&a=d")
    assert (seen.secret, seen.body) == ("sk-a", body)
    assert ("Authorization", "Bearer sk-a") in seen.headers
    assert seen.header("AUTHORIZATION") == "Bearer sk-a"
    assert (seen.left, seen.done.is_set()) == (False, True)


async def test_it_waits_for_requests_that_come(vendor: Simulator) -> None:
    waiting = asyncio.ensure_future(vendor.wait_for(2))
    await ask(vendor, "sim.chunks-1")
    assert not waiting.done()
    await ask(vendor, "sim.chunks-2")
    assert b"chunks-2" in (await waiting).body
    with pytest.raises(TimeoutError):
        await vendor.wait_for(3, within=0.05)
    vendor.reset()
    assert (vendor.total, len(vendor.requests)) == (0, 0)


@pytest.mark.parametrize(
    "model", ["sim.delay-60000", "sim.fault-stall", "sim.fault-stall-head", "sim.wait-60000"]
)
async def test_it_tells_when_the_client_left_before_the_end(vendor: Simulator, model: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", vendor.port)
    writer.write(request(CHAT, body_for("openai_chat", model)))
    seen = await vendor.wait_for(1)
    assert not seen.gone.is_set()
    assert vendor.open_connections == 1
    writer.close()
    await asyncio.wait_for(seen.gone.wait(), 5)
    assert seen.left
    assert seen.done.is_set()
    assert vendor.open_connections == 0


async def test_a_client_that_reads_nothing_holds_the_simulator_back(vendor: Simulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", vendor.port, limit=1024)
    writer.write(request(CHAT, body_for("openai_chat", "sim.fault-huge.bytes-400000000")))
    seen = await vendor.wait_for(1)
    await reader.read(10)
    assert not seen.done.is_set()
    writer.transport.abort()
    await asyncio.wait_for(seen.gone.wait(), 5)


async def test_a_connection_serves_many_requests_even_at_once(vendor: Simulator) -> None:
    one = request(CHAT, body_for("openai_chat", "sim.chunks-1"), keep=True)
    last = request(CHAT, body_for("openai_chat", "sim.chunks-2"))
    heard = await exchange(vendor, one + one + last)
    assert heard.raw.count(b"HTTP/1.1 200 OK") == 3
    assert heard.ending == "eof"
    assert [seen.done.is_set() for seen in vendor.requests] == [True] * 3


async def test_bytes_that_are_no_http_are_refused(vendor: Simulator) -> None:
    heard = await exchange(vendor, b"\x16\x03\x01 hello\r\n\r\n")
    assert (heard.status, heard.ending) == (400, "eof")


async def test_it_serves_tls_with_any_certificate(tmp_path: Path) -> None:
    simulator = await Simulator().start(ssl=certificate(tmp_path, "elsewhere.invalid"))
    async with simulator:
        assert simulator.url.startswith("https://127.0.0.1:")
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", simulator.port, ssl=ssl.create_default_context())


async def test_a_port_refuses_or_never_answers() -> None:
    with ports.refused() as port, pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with ports.unanswered() as port, pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), QUIET)


async def test_stopping_drops_connections_and_frees_the_port() -> None:
    async with Simulator() as simulator:
        _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        writer.write(request(CHAT, body_for("openai_chat", "sim.fault-stall")))
        seen = await simulator.wait_for(1)
    assert seen.done.is_set()
    assert simulator.open_connections == 0
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    again = await Simulator().start(port=simulator.port)
    await again.stop()


def test_it_runs_in_a_thread_for_callers_that_block() -> None:
    with running() as vendor:
        vendor.script(["fault-stall"], secret="sk-a")
        with socket.create_connection(("127.0.0.1", vendor.port)) as client:
            client.sendall(request(CHAT, body_for("openai_chat", "sim")))
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            seen = vendor.wait(1)
            assert not seen.left
        vendor.wait_gone(seen)
        assert seen.left


def test_memory_of_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.core.MAX_SEEN_BYTES", 1000)
    vendor = Vendor()
    for _ in range(MAX_SEEN + 10):
        vendor.keep_body(vendor.begin("POST", "/", []), b"x" * 100)
    assert len(vendor.requests) == MAX_SEEN
    assert vendor.total == MAX_SEEN + 10
    assert sum(len(seen.body) for seen in vendor.requests) == 1000
