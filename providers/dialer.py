"""Which addresses may be called: every outbound call goes through here, and is judged by the address it
really connects to, whatever its host was spelled like.

The data plane takes `Dialer`, the control plane `client` (httpx). Both resolve a name once, refuse the
answer as a whole if one of its addresses is closed, and connect to the addresses that were judged; there is
no second look-up for a name server to answer differently. TLS and Host keep the name.

Through a proxy, the address dialled and judged is the proxy's own; the proxy resolves the vendor's name,
out of our sight. A proxy on a closed address therefore needs the endpoint's mark "private addresses
allowed" too, which only a superuser gives, and an endpoint whose base URL is a closed address in figures is
refused before the proxy is asked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpx
import idna
from aiohappyeyeballs import start_connection

RESOLVE_SECONDS = 3.0
NEXT_ADDRESS_SECONDS = 0.25

Address = IPv4Address | IPv6Address
AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""What getaddrinfo answers: family, type, protocol, canonical name, socket address."""
Lookup = Callable[[str, int, int], Awaitable[Sequence[AddressInfo]]]
"""Host, port, family -> its addresses; raises OSError."""


class Forbidden(OSError):
    """An address that may not be called. The message names it; it is for operators, not for clients."""


PRIVATE_V4 = tuple(
    IPv4Network(each)
    for each in (
        "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15",
    )
)  # fmt: skip
"""This machine and networks of one's own: open where the endpoint is marked."""
CLOSED_V4 = tuple(
    IPv4Network(each)
    for each in (
        "0.0.0.0/8", "100.100.100.200/32", "168.63.129.16/32", "169.254.0.0/16", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
"""Never a vendor: this network, link-local and clouds' metadata services, documentation, multicast,
reserved."""
PRIVATE_V6 = (IPv6Network("::1/128"), IPv6Network("fc00::/7"))
CLOSED_V6 = tuple(
    IPv6Network(each)
    for each in (
        "fd00:ec2::254/128", "fd20:ce::254/128", "2001::/23", "2001:db8::/32", "3fff::/20",
    )
)  # fmt: skip
GLOBAL_V6 = IPv6Network("2000::/3")
"""All that is given out for the public internet; whatever lies elsewhere is closed."""
SIX_TO_FOUR = IPv6Network("2002::/16")
EMBEDDING = (
    IPv6Network("::ffff:0:0/96"), IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"),
    IPv6Network("64:ff9b::/96"),
)  # fmt: skip
"""IPv6 networks whose last four bytes are an IPv4 address: mapped, compatible, translated, NAT64."""


def check_address(address: str | Address, *, allow_private: bool) -> None:
    """Raises Forbidden unless `address` may be called. `allow_private` opens loopback and private networks,
    and judges an IPv4 address inside an IPv6 one by itself; link-local, metadata, multicast and reserved
    addresses stay closed."""
    parsed = ip_address(address) if isinstance(address, str) else address
    if not _is_open(parsed, allow_private):
        raise Forbidden(f"the address {parsed} may not be called")


def _is_open(address: Address, allow_private: bool) -> bool:
    if isinstance(address, IPv4Address):
        if any(address in network for network in CLOSED_V4):
            return False
        return allow_private or not any(address in network for network in PRIVATE_V4)
    if address.scope_id is not None:
        return False
    if any(address in network for network in CLOSED_V6):
        return False
    if any(address in network for network in PRIVATE_V6):
        return allow_private
    if any(address in network for network in EMBEDDING):
        return allow_private and _is_open(IPv4Address(int(address) & 0xFFFFFFFF), True)
    if address in SIX_TO_FOUR:
        return allow_private and _is_open(IPv4Address(int(address) >> 80 & 0xFFFFFFFF), True)
    return address in GLOBAL_V6


def ascii_host(host: str) -> str:
    """A host as a name server knows it, by IDNA where it is not ASCII. Raises ValueError for what is no host
    name."""
    return host.lower() if host.isascii() else idna.encode(host, uts46=True).decode("ascii")


def check_host(host: str, *, allow_private: bool) -> None:
    """Raises Forbidden where `host` is an address in figures, in any spelling that the system takes, and
    may not be called. A name passes: it is judged by what it resolves to."""
    bare = host.strip("[]").rstrip(".")
    try:
        address: Address = ip_address(bare)
    except ValueError:
        try:
            address = IPv4Address(socket.inet_aton(bare))  # 127.1, 2130706433, 0x7f000001, 0177.0.0.1
        except (OSError, ValueError):
            return
    check_address(address, allow_private=allow_private)


def _check_all(infos: Iterable[AddressInfo], *, allow_private: bool) -> None:
    for *_, address in infos:
        _check_literal(str(address[0]), allow_private=allow_private)


def _check_literal(host: str, *, allow_private: bool) -> None:
    try:
        check_address(host, allow_private=allow_private)
    except ValueError as error:
        raise Forbidden("only an address in figures is connected to") from error


async def system_lookup(host: str, port: int, family: int) -> Sequence[AddressInfo]:
    """The system's resolver, in a thread of the loop's. Raises OSError, also after `RESOLVE_SECONDS`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            return await loop.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
    except TimeoutError as error:
        raise socket.gaierror(socket.EAI_AGAIN, "the name was not resolved in time") from error


class Dialer:
    """Connects to allowed addresses only. Those who ask for one name at one moment share the look-up."""

    def __init__(self, *, allow_private: bool, lookup: Lookup = system_lookup) -> None:
        self.allow_private = allow_private
        self._lookup = lookup
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[AddressInfo]]] = {}

    async def resolve(self, host: str, port: int) -> Sequence[AddressInfo]:
        """The addresses of a name, or of figures in any spelling. Raises Forbidden if one of them is closed,
        socket.gaierror where there is none."""
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = asyncio.ensure_future(
                self._lookup(host, port, socket.AF_UNSPEC)
            )
            asked.add_done_callback(lambda done: self._answered((host, port), done))
        try:
            infos = await asyncio.shield(asked)
        except UnicodeError as error:  # of Python's own codec, before the system sees the name
            raise socket.gaierror(socket.EAI_NONAME, "no host name") from error
        if not infos:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        _check_all(infos, allow_private=self.allow_private)
        return infos

    async def connect(self, host: str, port: int) -> socket.socket:
        """A connected socket. Its address is judged once more, at the last moment; where a name has several,
        each gets a moment's start before the next. Raises OSError: Forbidden and socket.gaierror among
        them."""
        infos = await self.resolve(host, port)
        try:
            return await start_connection(
                infos, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, socket_factory=self._socket
            )
        except RuntimeError as error:  # uvloop's, where others have OSError
            raise OSError(str(error)) from error

    def _answered(self, asked: tuple[str, int], done: asyncio.Future[Sequence[AddressInfo]]) -> None:
        del self._asked[asked]
        if not done.cancelled():
            done.exception()  # seen, also where nobody waits any more

    def _socket(self, info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, address = info
        _check_literal(str(address[0]), allow_private=self.allow_private)
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


SyncLookup = Callable[[str, int], Sequence[AddressInfo]]
"""Host, port -> its addresses; raises OSError."""


def system_lookup_now(host: str, port: int) -> Sequence[AddressInfo]:
    """The system's resolver. Blocking; raises OSError."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Transport(httpx.BaseTransport):
    """httpx's way out: resolves, judges every address, connects to one of those very addresses. Raises
    Forbidden."""

    def __init__(
        self,
        *,
        allow_private: bool,
        proxy: str = "",
        tls: ssl.SSLContext | None = None,
        lookup: SyncLookup = system_lookup_now,
    ) -> None:
        self._allow_private = allow_private
        self._lookup = lookup
        self._tls = tls or ssl.create_default_context()
        self._proxy = httpx.URL(proxy) if proxy else None
        self._inner: httpx.HTTPTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._proxy is not None:
            check_host(request.url.host, allow_private=self._allow_private)
            return self._through(self._proxy, request)
        host = request.url.raw_host.decode("ascii")
        failure: httpx.TransportError | None = None
        for address in self._addresses(request.url):
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # Host among them, as it was asked for
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host.rstrip(".")},
            )
            try:
                return self._direct().handle_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError("the name has no address")

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def _direct(self) -> httpx.HTTPTransport:
        if self._inner is None:
            self._inner = httpx.HTTPTransport(verify=self._tls, trust_env=False)
        return self._inner

    def _through(self, proxy: httpx.URL, request: httpx.Request) -> httpx.Response:
        if self._inner is None:
            address = next(iter(self._addresses(proxy)))
            self._inner = httpx.HTTPTransport(
                verify=self._tls, trust_env=False, proxy=httpx.Proxy(proxy.copy_with(host=address))
            )
        return self._inner.handle_request(request)

    def _addresses(self, url: httpx.URL) -> list[str]:
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            infos = self._lookup(url.raw_host.decode("ascii"), port)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError("the name does not resolve") from error
        _check_all(infos, allow_private=self._allow_private)
        return [str(address[0]) for *_, address in infos]


def client(
    *, allow_private: bool, proxy: str = "", timeout: float = 10.0, lookup: SyncLookup = system_lookup_now
) -> httpx.Client:
    """A client for one call of the control plane: no redirects, no environment, no cookies kept. Seconds."""
    return httpx.Client(
        transport=Transport(allow_private=allow_private, proxy=proxy, lookup=lookup),
        follow_redirects=False,
        trust_env=False,
        timeout=timeout,
    )
