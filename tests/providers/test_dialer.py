"""Which addresses may be called (providers/dialer.py): every spelling, both clients, real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st

from providers import dialer
from providers.dialer import AddressInfo, Dialer, Forbidden, check_address, check_host
from providers.types import Target
from relay.errors import UpstreamFailure
from relay.http1 import Pool
from relay.upstream import Opened, Outgoing, Upstream
from tests.providers.listener import Listener, certificate, listening
from tests.relay.targets import target

CLOSED = [
    # this machine
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "::1",
    # this network
    "0.0.0.0", "0.0.0.1", "0.255.255.255", "::",
    # private networks
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255",
    "100.64.0.1", "100.127.255.255", "fc00::1", "fd12:3456:789a::1", "fdff::", "198.18.0.1",
    "198.19.255.255",
    # link-local and metadata services
    "169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "fe80::1%1", "fd00:ec2::254",
    "fd20:ce::254",
    "100.100.100.200", "168.63.129.16", "192.0.0.192",
    # multicast, broadcast, reserved
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1",
    # documentation, protocol assignments, discard, site-local
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "192.0.0.1",
    "192.88.99.1", "100::1",
    "fec0::1", "5f00::1", "4000::1",
    # IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
    "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:169.254.169.254", "::ffff:8.8.8.8", "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::169.254.169.254", "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1", "2001:0:53aa:64c:0:fbff:80ff:fffe",
    "2001::1",
]  # fmt: skip
OPEN = [
    "8.8.8.8", "1.1.1.1", "104.18.7.192", "100.63.255.255", "100.128.0.1", "172.15.255.255",
    "172.32.0.1",
    "11.0.0.1", "9.255.255.255", "192.167.255.255", "192.169.0.1", "223.255.255.255", "198.17.255.255",
    "198.20.0.1", "2606:4700::6810:7c0", "2a00:1450:4001:82a::200e", "2001:4860:4860::8888",
    "2400:cb00::1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "fd12:3456:789a::1",
    "198.18.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b::10.0.0.1",
    "2002:a00:1::",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%1", "fd00:ec2::254", "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "192.0.2.1", "2001:db8::1",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "64:ff9b:1::a00:1", "2001::1",
]  # fmt: skip

SPELLINGS = [
    # figures, as inet_aton and its kin read them
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1",
    "0177.0.0.1", "0177.1",
    "017700000001", "0x7F.0x0.0x0.0x1", "127.0.0.01", "127.000.000.001",
    "127.0.0.1.", "127.1.",
    "2130706433.", "0x7f000001.", "127.127.127.127", "0", "0.0.0.0", "0.", "00", "0x0", "0.0",
    "4294967295",
    # IPv6
    "[::1]", "[0:0:0:0:0:0:0:1]", "[::0001]", "[0000::1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "[::FFFF:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]", "[fd00:ec2::254]", "[::ffff:169.254.169.254]",
    # names that mean this machine, dots and case
    "localhost", "LOCALHOST", "LocalHost", "localhost.", "localhost..", "vendor.test", "VENDOR.test.",
    # Unicode that IDNA folds into figures or names, and punycode
    "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "１２７.0.0.1", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
    "ｌｏｃａｌｈｏｓｔ", "localhoſt",
    "bücher.test", "xn--bcher-kva.test", "xn--localhost-.test",
    # metadata services
    "169.254.169.254", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "[fd20:ce::254]",
    "metadata.test",
]  # fmt: skip


def infos(*addresses: str, port: int = 0) -> list[AddressInfo]:
    """What getaddrinfo would answer."""
    found: list[AddressInfo] = []
    for each in addresses:
        six = ip_address(each).version == 6
        found.append(
            (
                socket.AF_INET6 if six else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (each, port, 0, 0) if six else (each, port),
            )
        )
    return found


class Names:
    """A name server that answers one list after another, the last for ever; figures as the system reads
    them."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def now(self, host: str, port: int) -> list[AddressInfo]:
        self.asked.append(host)
        try:
            system = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if not answer:
                raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
            return infos(*answer, port=port)
        return [
            (int(family), int(kind), number, name, address) for family, kind, number, name, address in system
        ]

    async def later(self, host: str, port: int, family: int) -> list[AddressInfo]:
        return self.now(host, port)


@pytest.fixture
def vendor() -> Iterator[Listener]:
    with listening(Listener()) as listener:
        yield listener


async def get(
    url: str,
    names: Names,
    *,
    allow_private: bool = False,
    proxy: str = "",
    tls: ssl.SSLContext | None = None,
) -> str:
    """The body that the data plane's client gets."""
    made = Dialer(allow_private=allow_private, lookup=names.later)
    pool = Pool(made, tls=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    try:
        place = pool.place("GET", url, proxy)
        connection = await pool.connect(place.origin)
        connection.begin(place.start + b"\r\n", whole=True)
        return (await connection.read(monotonic() + 30)).decode()
    finally:
        await pool.close()


def get_now(url: str, names: Names, *, allow_private: bool = False, proxy: str = "") -> httpx.Response:
    """The answer that the control plane's client gets."""
    with dialer.client(allow_private=allow_private, proxy=proxy, lookup=names.now) as client:
        return client.get(url)


def forbidden(error: BaseException | None) -> bool:
    """Whether the refusal is somewhere in the chain, where a client wraps what it is told."""
    while error is not None:
        if isinstance(error, Forbidden):
            return True
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return False


def unknown(error: BaseException) -> bool:
    """Whether a client says that the name leads nowhere."""
    return isinstance(error, socket.gaierror) or "does not resolve" in str(error)


class TestAddresses:
    @pytest.mark.parametrize("address", CLOSED)
    def test_it_closes(self, address: str) -> None:
        with pytest.raises(Forbidden):
            check_address(address, allow_private=False)

    @pytest.mark.parametrize("address", OPEN)
    def test_it_leaves_open(self, address: str) -> None:
        check_address(address, allow_private=False)
        check_address(address, allow_private=True)

    @pytest.mark.parametrize("address", PRIVATE)
    def test_the_mark_opens(self, address: str) -> None:
        check_address(address, allow_private=True)

    @pytest.mark.parametrize("address", NEVER)
    def test_the_mark_does_not_open(self, address: str) -> None:
        with pytest.raises(Forbidden):
            check_address(address, allow_private=True)

    @given(st.ip_addresses(v=4))
    def test_an_ipv4_address_inside_an_ipv6_one_is_never_more_open_than_by_itself(self, inner: Any) -> None:
        number = int(inner)
        for outer in (0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80):
            with pytest.raises(Forbidden):
                check_address(ip_address(outer.to_bytes(16, "big")), allow_private=False)

    @given(st.ip_addresses(v=6))
    def test_what_is_open_lies_in_the_global_unicast_range(self, address: Any) -> None:
        try:
            check_address(address, allow_private=False)
        except Forbidden:
            return
        assert int(address) >> 125 == 1


class TestHosts:
    @pytest.mark.parametrize(
        "host", [each for each in SPELLINGS if each.isascii() and each[0] in "[0123456789"]
    )
    def test_figures_are_judged_in_any_spelling(self, host: str) -> None:
        with pytest.raises(Forbidden):
            check_host(host, allow_private=False)

    @pytest.mark.parametrize(
        "host", ["localhost", "api.example.com", "1e100.net", "8.8.8.8", "[2606:4700::1]", ""]
    )
    def test_names_and_open_addresses_pass(self, host: str) -> None:
        check_host(host, allow_private=False)


class TestEverySpelling:
    def test_there_are_sixty_of_them(self) -> None:
        assert len(set(SPELLINGS)) >= 60

    @pytest.mark.parametrize("host", SPELLINGS)
    async def test_the_data_plane_reaches_nothing(self, host: str, vendor: Listener) -> None:
        names = Names(["169.254.169.254"] if host.startswith("metadata") else ["127.0.0.1"])
        with pytest.raises((OSError, ValueError)) as refusal:
            await get(f"http://{host}:{vendor.port}/", names)
        assert forbidden(refusal.value) or isinstance(refusal.value, ValueError) or unknown(refusal.value)
        assert vendor.lines == []

    @pytest.mark.parametrize("host", SPELLINGS)
    def test_the_control_plane_reaches_nothing(self, host: str, vendor: Listener) -> None:
        names = Names(["169.254.169.254"] if host.startswith("metadata") else ["127.0.0.1"])
        with pytest.raises((httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError)) as refusal:
            get_now(f"http://{host}:{vendor.port}/", names)
        assert (
            forbidden(refusal.value)
            or isinstance(refusal.value, httpx.InvalidURL | UnicodeError)
            or unknown(refusal.value)
        )
        assert vendor.lines == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "vendor.test", "localhost", "localhost."])
    async def test_the_mark_lets_both_reach_this_machine(self, host: str, vendor: Listener) -> None:
        url = f"http://{host}:{vendor.port}/v1/models"
        assert await get(url, Names(["127.0.0.1"]), allow_private=True) == '{"data": []}'
        assert get_now(url, Names(["127.0.0.1"]), allow_private=True).json() == {"data": []}
        assert vendor.lines == ["GET /v1/models HTTP/1.1"] * 2
        assert [each["host"].replace(".:", ":") for each in vendor.headers] == [
            f"{host.rstrip('.')}:{vendor.port}"
        ] * 2


class TestAnswers:
    MIXED = (
        ["93.184.215.14", "127.0.0.1"],
        ["127.0.0.1", "93.184.215.14"],
        ["2606:4700::1", "::ffff:127.0.0.1"],
        ["93.184.215.14", "93.184.215.15", "10.0.0.1"],
    )

    @pytest.mark.parametrize("answer", MIXED)
    async def test_an_answer_with_one_closed_address_is_refused_as_a_whole(
        self, answer: list[str], vendor: Listener
    ) -> None:
        with pytest.raises(Forbidden):
            await get(f"http://vendor.test:{vendor.port}/", Names(answer))
        with pytest.raises(Forbidden):
            get_now(f"http://vendor.test:{vendor.port}/", Names(answer))
        assert vendor.lines == []

    async def test_an_open_answer_is_handed_on_as_it_was_judged(self) -> None:
        made = Dialer(allow_private=False, lookup=Names(["93.184.215.14", "2606:4700::1"]).later)
        found = await made.resolve("vendor.test", 443)
        assert [address[:2] for *_, address in found] == [("93.184.215.14", 443), ("2606:4700::1", 443)]

    async def test_those_who_ask_for_a_name_at_one_moment_share_the_look_up(self) -> None:
        names = Names(["93.184.215.14"], ["127.0.0.1"])
        made = Dialer(allow_private=False, lookup=names.later)
        one, two = await asyncio.gather(*(made.resolve("vendor.test", 80) for _ in range(2)))
        assert one == two
        assert names.asked == ["vendor.test"]

    async def test_a_name_server_that_changes_its_mind_gains_nothing(self) -> None:
        port = 0
        with ExitStack() as stack:
            first = stack.enter_context(listening(Listener()))
            port = first.port
            second = stack.enter_context(listening(Listener(port=port), host="127.0.0.2"))
            for plane in ("data", "control"):
                names = Names(["127.0.0.1"], ["127.0.0.2"])
                url = f"http://vendor.test:{port}/{plane}"
                if plane == "data":
                    await get(url, names, allow_private=True)
                else:
                    get_now(url, names, allow_private=True)
                assert names.asked == ["vendor.test"]
            assert len(first.lines) == 2
            assert second.lines == []

    async def test_a_second_answer_is_judged_like_the_first(self, vendor: Listener) -> None:
        made = Dialer(allow_private=False, lookup=Names(["93.184.215.14"], ["127.0.0.1"]).later)
        await made.resolve("vendor.test", 80)
        with pytest.raises(Forbidden):
            await made.resolve("vendor.test", 80)

    async def test_an_address_that_slips_past_the_resolver_is_stopped_at_the_socket(
        self, vendor: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dialer, "_check_all", lambda found, **options: None)
        for answer in (["127.0.0.1"], ["127.0.0.1", "::1"]):
            with pytest.raises(OSError, match="may not be called"):
                await get(f"http://vendor.test:{vendor.port}/", Names(answer))
        assert vendor.lines == []

    async def test_a_name_that_does_not_resolve_is_told_as_such(self) -> None:
        with pytest.raises(socket.gaierror):
            await get("http://vendor.test/", Names([]))
        with pytest.raises(httpx.ConnectError):
            get_now("http://vendor.test/", Names([]))

    async def test_the_next_address_is_tried_where_one_does_not_answer(self, vendor: Listener) -> None:
        names, url = Names(["127.0.0.9", "127.0.0.1"]), f"http://vendor.test:{vendor.port}/"
        assert get_now(url, names, allow_private=True).status_code == 200
        assert await get(url, names, allow_private=True) == '{"data": []}'

    async def test_one_who_stops_waiting_takes_the_look_up_from_nobody(self) -> None:
        answer: asyncio.Future[list[AddressInfo]] = asyncio.get_running_loop().create_future()

        async def lookup(host: str, port: int, family: int) -> list[AddressInfo]:
            return await answer

        made = Dialer(allow_private=False, lookup=lookup)
        one, two = (asyncio.create_task(made.resolve("vendor.test", 80)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        answer.set_result(infos("93.184.215.14", port=80))
        assert len(await two) == 1
        with pytest.raises(asyncio.CancelledError):
            await one


class TestTls:
    async def test_the_name_is_kept_for_tls_and_host_while_the_address_is_dialled(
        self, tmp_path: Path
    ) -> None:
        server, client = certificate(tmp_path, "vendor.test")
        with listening(Listener(), tls=server) as vendor:
            url = f"https://vendor.test:{vendor.port}/x"
            assert await get(url, Names(["127.0.0.1"]), allow_private=True, tls=client) == '{"data": []}'
            transport = dialer.Transport(allow_private=True, tls=client, lookup=Names(["127.0.0.1"]).now)
            with httpx.Client(transport=transport) as plane:
                assert plane.get(url).status_code == 200
            assert vendor.names == ["vendor.test"] * 2
            assert [each["host"] for each in vendor.headers] == [f"vendor.test:{vendor.port}"] * 2

    async def test_a_certificate_for_another_name_is_refused(self, tmp_path: Path) -> None:
        server, client = certificate(tmp_path, "another.test")
        with listening(Listener(), tls=server) as vendor:
            url = f"https://vendor.test:{vendor.port}/"
            with pytest.raises(ssl.SSLCertVerificationError):
                await get(url, Names(["127.0.0.1"]), allow_private=True, tls=client)
            transport = dialer.Transport(allow_private=True, tls=client, lookup=Names(["127.0.0.1"]).now)
            with httpx.Client(transport=transport) as plane, pytest.raises(httpx.ConnectError):
                plane.get(url)
            assert vendor.lines == []


class TestProxies:
    async def test_the_proxy_s_own_address_is_judged(self, vendor: Listener) -> None:
        names = Names(["93.184.215.14"])
        with pytest.raises(Forbidden):
            await get("http://vendor.test/", names, proxy=vendor.url)
        with pytest.raises(Forbidden):
            get_now("http://vendor.test/", names, proxy=vendor.url)
        assert vendor.lines == []

    async def test_a_marked_endpoint_goes_through_and_the_proxy_resolves_the_name(
        self, vendor: Listener
    ) -> None:
        names = Names([])
        await get("http://vendor.test/a", names, proxy=vendor.url, allow_private=True)
        assert get_now("http://vendor.test/b", names, proxy=vendor.url, allow_private=True).status_code == 200
        assert vendor.lines == ["GET http://vendor.test/a HTTP/1.1", "GET http://vendor.test/b HTTP/1.1"]
        assert "vendor.test" not in names.asked

    async def test_tls_runs_through_the_proxy_to_the_vendor_by_name(self, tmp_path: Path) -> None:
        server, client = certificate(tmp_path, "vendor.test")
        with listening(Listener(), tls=server) as vendor, listening(Listener()) as proxy:
            url = f"https://vendor.test:{vendor.port}/"
            await get(url, Names([]), proxy=proxy.url, allow_private=True, tls=client)
            transport = dialer.Transport(
                allow_private=True, proxy=proxy.url, tls=client, lookup=Names([]).now
            )
            with httpx.Client(transport=transport) as plane:
                assert plane.get(url).status_code == 200
            assert proxy.lines == [f"CONNECT vendor.test:{vendor.port} HTTP/1.1"] * 2
            assert vendor.names == ["vendor.test"] * 2

    async def test_an_address_in_figures_is_refused_before_the_proxy_is_asked(self, vendor: Listener) -> None:
        for url in ("http://169.254.169.254/latest", "http://0xa9fea9fe/", "http://[fd00:ec2::254]/"):
            with pytest.raises(Forbidden):
                get_now(url, Names([]), proxy=vendor.url, allow_private=True)
            with pytest.raises(Forbidden):
                await get(url, Names([]), proxy=vendor.url, allow_private=True)
        assert vendor.lines == []


class TestSurroundings:
    def test_redirects_are_not_followed(self, vendor: Listener) -> None:
        with listening(Listener()) as elsewhere:
            vendor.answer = lambda path: (302, {"location": f"{elsewhere.url}/caught"}, b"")
            assert get_now(vendor.url, Names([]), allow_private=True).status_code == 302
            assert elsewhere.lines == []

    async def test_the_environment_names_no_proxy(
        self, vendor: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with listening(Listener()) as surprise:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, surprise.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            await get(vendor.url, Names([]), allow_private=True)
            get_now(vendor.url, Names([]), allow_private=True)
            assert len(vendor.lines) == 2
            assert surprise.lines == []

    async def test_pools_of_marked_and_unmarked_endpoints_are_apart(self, vendor: Listener) -> None:
        vendor.answer = lambda path: (200, {"connection": "keep-alive"}, b"{}")
        marked, unmarked = (target(base_url=vendor.url, allow_private=mark) for mark in (True, False))
        async with Upstream() as upstream:
            opened = await ask(upstream, marked)
            await opened.read_all(100, monotonic() + 30)
            opened.close()
            assert upstream.connections == (0, 1)
            with pytest.raises(UpstreamFailure) as refusal:
                await ask(upstream, unmarked)
        assert refusal.value.reason == "blocked_address"
        assert len(vendor.lines) == 1


async def ask(upstream: Upstream, place: Target) -> Opened:
    """A request without a body."""
    outgoing = Outgoing("GET", f"{place.base_url}/x", b"", None, 5.0, 5.0, lambda: None)
    return await upstream.open(place, outgoing)
