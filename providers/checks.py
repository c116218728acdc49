"""What the supply side's fields may hold. Each message names the remedy; all raise ValidationError."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from providers.dialer import ascii_host
from providers.quirks import QUIRKS

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

FORMATS: Final = ("openai_chat", "openai_responses", "anthropic", "gemini")
CAPABILITIES: Final = ("vision", "tools", "thinking", "documents", "audio", "context_1m", "cache_1h")
PRICES: Final = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "reasoning")
"""What a tier may price; dollars per million tokens."""

OWN_HEADERS: Final = frozenset({
    "accept-encoding", "api-key", "authorization", "connection", "content-encoding", "content-length",
    "content-type", "cookie", "expect", "forwarded", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "via",
    "x-api-key", "x-goog-api-key",
})  # fmt: skip
"""Headers that the relay sets itself: an extra one would carry a second secret or break framing."""

GREATEST_PRICE: Final = Decimal(1_000_000)
DECIMAL_PLACES: Final = 12
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ufeff]|[^\S ]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,3998}[\x21-\x7e])?")
_SECRET = re.compile(r"[\x21-\x7e]{1,4000}")
_DECIMAL = re.compile(r"\d{1,12}(?:\.\d{1,12})?", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9][\w.:-]{0,99}", re.ASCII)
_LABELS = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII)
_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]+\](?::\d+)?")
_NUMBER = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.ASCII)

_PORT = _("Write host and port like api.example.com:8443; the port is 1 to 65535.")
_IPV6 = _("Write an IPv6 address in brackets and without a zone, such as [2001:db8::1].")


def _refuse(message: str | StrPromise, **params: object) -> ValidationError:
    return ValidationError(message, params=params)


def check_base_url(value: Any) -> None:
    """An http or https address with a host and perhaps a port and a path, and nothing else in it."""
    parts = _check_address(value)
    path = parts.path
    if "%" in path:
        raise _refuse(_("Write the path without percent signs."))
    if "//" in path or {".", ".."} & set(path.split("/")):
        raise _refuse(_("Write the path without “//”, “.” or “..”."))


def check_proxy(value: Any) -> None:
    """An address such as http://host:port. Empty means none."""
    if value == "":
        return
    parts = _check_address(value)
    if parts.scheme != "http":
        raise _refuse(_("The proxy is reached by http://: TLS to the vendor runs through it all the same."))
    if parts.path not in {"", "/"}:
        raise _refuse(_("Write the proxy as http://host:port, without a path."))


def _check_address(value: Any) -> SplitResult:
    if not isinstance(value, str) or not value:
        raise _refuse(_("Give an address such as https://api.example.com/v1."))
    if _FORBIDDEN.search(value):
        raise _refuse(_("Take out blanks, backslashes and control characters."))
    if not re.match(r"https?://", value, re.IGNORECASE):
        raise _refuse(_("Begin the address with https:// or http://."))
    if "?" in value or "#" in value:
        raise _refuse(_("Leave out everything from “?” or “#” on."))
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise _refuse(_IPV6 if "[" in value else _PORT) from error
    if "@" in parts.netloc:
        raise _refuse(_("Leave out the user name and password before “@”: the secret belongs to a key."))
    if port == 0 or parts.netloc.endswith(":"):
        raise _refuse(_PORT)
    if not parts.hostname:
        raise _refuse(_("Give the host after “//”, such as api.example.com."))
    _check_host(parts)
    return parts


def _check_host(parts: SplitResult) -> None:
    host = parts.hostname or ""
    if "[" in parts.netloc:
        try:
            if "%" in host or not _BRACKETS.fullmatch(parts.netloc):
                raise AddressValueError
            IPv6Address(host)
        except AddressValueError as error:
            raise _refuse(_IPV6) from error
        return
    if "%" in host:
        raise _refuse(_("Write the host without percent signs."))
    try:
        name = ascii_host(host)
    except ValueError as error:
        raise _refuse(_("“%(host)s” is no host name: check its spelling."), host=host) from error
    if len(name) > 253 or not _LABELS.fullmatch(name):
        raise _refuse(_("“%(host)s” is no host name: check its spelling."), host=host)
    if _NUMBER.fullmatch(name.rstrip(".").rpartition(".")[2]):
        # inet_aton reads 127.1, 2130706433 and 0x7f000001 as addresses too: one spelling only.
        try:
            usual = str(IPv4Address(name)) == host
        except AddressValueError:
            usual = False
        if not usual:
            raise _refuse(_("Write an IP address as four decimal numbers, such as 192.0.2.1."))


def check_headers(value: Any) -> None:
    """A mapping of legal header names to one-line values; names the relay sets itself are refused."""
    if not isinstance(value, dict):
        raise _refuse(_('Give the headers as {"name": "value"}.'))
    seen: set[str] = set()
    for name, text in value.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise _refuse(_("“%(name)s” is no header name: use letters, digits and “-”."), name=name)
        lower = name.lower()
        if lower in OWN_HEADERS or lower.startswith("x-forwarded-"):
            raise _refuse(_("The relay sets “%(name)s” itself: leave it out."), name=name)
        if lower in seen:
            raise _refuse(_("“%(name)s” stands here twice: keep one."), name=name)
        seen.add(lower)
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise _refuse(
                _("The value of “%(name)s” must be one line of plain ASCII, without blanks around it."),
                name=name,
            )


def check_secret(value: Any) -> None:
    """A vendor's secret: printable ASCII without blanks, so that it fits a header."""
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        raise _refuse(_("A secret is 1 to 4000 printable ASCII characters without blanks: paste it again."))


def check_formats(value: Any) -> None:
    """A list of wire formats, each once."""
    _check_names(value, FORMATS)


def check_capabilities(value: Any) -> None:
    """A list of capabilities, each once."""
    _check_names(value, CAPABILITIES)


def check_quirks(value: Any) -> None:
    """A list of known deviations, each once."""
    _check_names(value, QUIRKS)


def _check_names(value: Any, known: Collection[str]) -> None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _refuse(_("Give a list of names out of: %(known)s."), known=", ".join(known))
    for each in value:
        if each not in known:
            raise _refuse(
                _("“%(name)s” is unknown here: choose from %(known)s."), name=each, known=", ".join(known)
            )
    if len(set(value)) < len(value):
        raise _refuse(_("A name stands here twice: keep one."))


def check_amount(value: Any) -> None:
    """A decimal in a string, not negative, with at most 12 decimal places."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        try:
            if Decimal(value) <= GREATEST_PRICE:
                return
        except InvalidOperation:  # pragma: no cover - the pattern admits none
            pass
    raise _refuse(
        _('“%(value)s” is no amount: write it in quotes, not negative, like "1.25", at most 1000000.'),
        value=value,
    )


def check_tiers(value: Any) -> None:
    """A list of tiers in ascending order of `up_to` (tokens, inclusive; the last may lack it), each with at
    least one price."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _refuse(_('Give a list of tiers like {"up_to": 200000, "input": "1.25", "output": "10"}.'))
    last = 0
    for position, tier in enumerate(value, 1):
        up_to = tier.get("up_to")
        if up_to is None and position == len(value):
            up_to = last + 1  # the last tier may be without end
        if not isinstance(up_to, int) or isinstance(up_to, bool) or up_to <= last:
            raise _refuse(
                _("Give each tier “up_to”, a whole number of tokens greater than that of the tier before it.")
            )
        last = up_to
        for name, amount in tier.items():
            if name == "up_to":
                continue
            if name not in PRICES:
                raise _refuse(
                    _("“%(name)s” is unknown in a tier: choose from %(known)s."),
                    name=name,
                    known=", ".join(PRICES),
                )
            check_amount(amount)
        if not tier.keys() - {"up_to"}:
            raise _refuse(_("Give each tier at least one price."))


def check_fees(value: Any) -> None:
    """A mapping of server tools to dollars for each use."""
    _check_amounts(value, _('Give the fees as {"web_search": "0.01"}.'))


def check_tier_factors(value: Any) -> None:
    """A mapping of service tiers to the factor on token prices."""
    _check_amounts(value, _('Give the factors as {"flex": "0.5"}.'))


def _check_amounts(value: Any, remedy: str | StrPromise) -> None:
    if not isinstance(value, dict):
        raise _refuse(remedy)
    for name, amount in value.items():
        if not isinstance(name, str) or not _WORD.fullmatch(name):
            raise _refuse(remedy)
        check_amount(amount)
