"""Who is calling: from headers to a `Caller`, without a database on the warm path."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal, TypeVar

from changes.feed import Seen
from consumers.digest import SECRET, digest
from consumers.models import ApiKey
from wire.types import Fault

API_KEY, CONSUMER = "apikey", "consumer"
"""Kinds of `Change` after which a cached caller may be stale."""

STALE_SECONDS = 600.0
"""How long a caller is believed after the database was last heard of."""
BAD_SECONDS = 10.0
BAD_SIZE = 10_000
CLOCK_SECONDS = 5.0
"""How far the clock may step back before what was learned counts as unconfirmed."""
LOADS = 3

Network = IPv4Network | IPv6Network
T = TypeVar("T")


class Miss(Enum):
    MISS = "miss"


MISS: Final = Miss.MISS
"""What `Callers.get` answers where the database must be asked."""


class AuthError(Exception):
    """The caller is not let in. `fault` holds the public words, `fault.status` the status; `guess`: it came
    with an API key that is none."""

    def __init__(self, fault: Fault, *, guess: bool = False) -> None:
        super().__init__(fault.text)
        self.fault = fault
        self.guess = guess

    @property
    def status(self) -> int:
        return self.fault.status


def refused(*, guess: bool = True) -> AuthError:
    """401; the same words for a missing, malformed, unknown, disabled and expired API key. Only the first is
    no `guess`."""
    return AuthError(
        Fault("invalid_api_key", "The API key is missing, unknown, switched off or expired.", status=401),
        guess=guess,
    )


def two_keys() -> AuthError:
    """400 for a request that carries two different API keys."""
    return AuthError(
        Fault("invalid_request", "The request carries two different API keys: send one.", status=400)
    )


def foreign_network() -> AuthError:
    """403 for an address from which this API key may not be used."""
    return AuthError(Fault("forbidden", "This API key may not be used from this address.", status=403))


@dataclass(frozen=True, slots=True)
class Caller:
    """An API key with its consumer, as the relay needs them.

    Allow-lists are what consumer and API key both allow: ids of models and providers, names of formats,
    networks; None: all, empty: nothing. `expires_at` is seconds since 1970. `recording` is none, headers or
    full. `concurrency_limit` is how many requests it may have under way, None: the relay's default.
    """

    api_key_id: int
    api_key_name: str
    consumer_id: int
    consumer_name: str
    digest: str = field(repr=False)
    allowed_models: frozenset[int] | None = None
    allowed_providers: frozenset[int] | None = None
    allowed_formats: frozenset[str] | None = None
    networks: tuple[Network, ...] | None = None
    expires_at: float | None = None
    finish_streams: bool = False
    failover: bool = True
    recording: str = "none"
    concurrency_limit: int | None = None
    time_zone: str = "UTC"

    def expired(self, now: float) -> bool:
        """Whether the API key is past its time; `now` in seconds since 1970."""
        return self.expires_at is not None and self.expires_at <= now

    def permits(self, address: str) -> bool:
        """Whether a call may come from this IP address; an unreadable one only where all may."""
        if self.networks is None:
            return True
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self.networks)


# From a request to a secret ---------------------------------------------------------------------------------

_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})


def credentials(headers: Iterable[tuple[bytes, bytes]], query: bytes = b"") -> str:
    """The API key of a request: from its headers (names in lower case, as ASGI gives them) and, where the
    caller hands in the query string of a Gemini path, from `key=` there. Raises AuthError: 400 for two
    different ones, 401 for none or for one that is no well-formed API key."""
    found = b""
    for name, value in headers:
        if name in _HEADERS:
            if name == b"authorization":
                scheme, _, value = value.strip().partition(b" ")  # noqa: PLW2901 - what follows the scheme
                if scheme.lower() != b"bearer":
                    continue
            found = _one(found, value.strip())
    if query:
        for part in query.split(b"&"):
            if part.startswith(b"key="):
                found = _one(found, part[4:])
    secret = found.decode("latin-1")
    if not SECRET.fullmatch(secret):
        raise refused(guess=bool(found))
    return secret


def _one(found: bytes, value: bytes) -> bytes:
    if found and value and found != value:
        raise two_keys()
    return found or value


# From a digest to a caller ----------------------------------------------------------------------------------

_COLUMNS = (
    "pk", "name", "digest", "is_active", "expires_at", "finish_streams", "failover",
    "recording", "concurrency_limit",
    "allowed_models", "allowed_providers", "allowed_formats", "allowed_networks", "consumer__pk",
    "consumer__name", "consumer__is_active", "consumer__time_zone", "consumer__allowed_models",
    "consumer__allowed_providers", "consumer__allowed_formats", "consumer__allowed_networks",
)  # fmt: skip
_LISTS = tuple(name for name in _COLUMNS if "allowed_" in name)
_NEVER = "2000-01-01 00:00:00+00:00"


def _decoy() -> dict[str, Any]:
    """Stands in for a row that is not there; made by the steps that reading a row takes, so that a miss
    takes as long as a hit."""
    row = {name: json.loads("[]") for name in (*_COLUMNS, *_LISTS)}
    return {**row, "digest": "-" * 64, "expires_at": None, "is_active": False}


def load(wanted: str) -> Caller | None:
    """The caller of the API key with this digest, expired or not; None where there is none, or where it or
    its consumer is switched off. One query by unique index. Blocking; raises django.db.Error."""
    rows = ApiKey.objects.filter(digest=wanted).order_by().values(*_COLUMNS)[:1]
    row = next(iter(rows), None) or _decoy()
    caller = _caller(row)
    known = hmac.compare_digest(caller.digest, wanted)
    return caller if known and row["is_active"] and row["consumer__is_active"] else None


def _caller(row: dict[str, Any]) -> Caller:
    both = {
        name: (row[f"allowed_{name}"], row[f"consumer__allowed_{name}"])
        for name in ("models", "providers", "formats", "networks")
    }
    expires = row["expires_at"]
    # Computed for a key that never expires too: equal time.
    instant = (expires or datetime.fromisoformat(_NEVER)).timestamp()
    return Caller(
        api_key_id=row["pk"],
        api_key_name=row["name"],
        consumer_id=row["consumer__pk"],
        consumer_name=row["consumer__name"],
        digest=row["digest"],
        allowed_models=intersection(*(ids(each) for each in both["models"])),
        allowed_providers=intersection(*(ids(each) for each in both["providers"])),
        allowed_formats=intersection(*(names(each) for each in both["formats"])),
        networks=common(*(networks(each) for each in both["networks"])),
        expires_at=instant if expires is not None else None,
        finish_streams=row["finish_streams"],
        failover=row["failover"],
        recording=row["recording"],
        concurrency_limit=row["concurrency_limit"],
        time_zone=row["consumer__time_zone"],
    )


def ids(value: Any) -> frozenset[int] | None:
    """An allow-list of ids as it stands in a JSON column; None where it is empty (all). What is no id is
    left out and restricts all the same."""
    if value is None or value == []:
        return None
    listed = value if isinstance(value, list) else []
    return frozenset(int(each) for each in listed if isinstance(each, int | str) and str(each).isdecimal())


def names(value: Any) -> frozenset[str] | None:
    """An allow-list of names, as `ids` reads one of ids."""
    if value is None or value == []:
        return None
    return (
        frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()
    )


def networks(value: Any) -> tuple[Network, ...] | None:
    """An allow-list of networks, as `ids` reads one of ids."""
    listed = names(value)
    if listed is None:
        return None
    found: list[Network] = []
    for each in sorted(listed):
        try:
            found.append(ip_network(each))
        except ValueError:
            continue
    return tuple(found)


def intersection(first: frozenset[T] | None, second: frozenset[T] | None) -> frozenset[T] | None:
    """What both allow-lists allow; None stands for all."""
    if first is None or second is None:
        return second if first is None else first
    return first & second


def common(
    first: tuple[Network, ...] | None, second: tuple[Network, ...] | None
) -> tuple[Network, ...] | None:
    """The networks whose addresses both lists allow; None stands for all."""
    if first is None or second is None:
        return second if first is None else first
    return tuple(smaller for a in first for b in second if (smaller := _overlap(a, b)) is not None)


def _overlap(a: Network, b: Network) -> Network | None:
    if not a.overlaps(b):
        return None
    return a if a.prefixlen >= b.prefixlen else b


# The callers in memory --------------------------------------------------------------------------------------


class Callers:
    """A bounded map from digests to callers, the least recently used going first, and a smaller one of
    digests that are known to be bad, so that bad keys never push good ones out.

    Not thread-safe: one event loop owns it. Times are seconds since 1970, handed in. Whoever polls the
    table of changes calls `forget` with what it found and then `confirm`; while neither comes, because the
    database is away, callers are believed for `STALE_SECONDS`.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._bad: OrderedDict[str, float] = OrderedDict()
        self._by_api_key: dict[int, str] = {}
        self._by_consumer: dict[int, set[str]] = {}
        self._loading: dict[str, asyncio.Task[Caller | None]] = {}
        self._confirmed = 0.0
        self._generation = 0

    def __len__(self) -> int:
        return len(self._known)

    def get(self, secret: str, now: float) -> Caller | Literal[Miss.MISS] | None:
        """The caller of an API key; None where it is known to be refused; MISS where the database must be
        asked, which `find` does."""
        return self._look_up(digest(secret), now)

    async def find(
        self, secret: str, now: float, load: Callable[[str], Awaitable[Caller | None]]
    ) -> Caller | None:
        """As `get`, asking `load` (this module's `load` in a thread) on a miss: once for all who ask for
        one API key at a time. Raises what `load` raises, django.db.Error while the database is away."""
        return await self._find(digest(secret), now, load)

    async def still_valid(
        self, caller: Caller, now: float, load: Callable[[str], Awaitable[Caller | None]]
    ) -> bool:
        """Whether a caller let in before would be let in now; asked for running streams that `concerns`
        names."""
        return await self._find(caller.digest, now, load) is not None

    def forget(self, changes: Sequence[Seen]) -> None:
        """Drops what the changes may have made stale. Of other kinds of change it takes no notice."""
        for change in changes:
            if change.kind not in (API_KEY, CONSUMER):
                continue
            self._generation += 1
            self._bad.clear()
            if not change.object_id:
                self._known.clear()
                self._by_api_key.clear()
                self._by_consumer.clear()
            elif change.kind == API_KEY:
                if known := self._by_api_key.get(int(change.object_id)):
                    self._drop(known)
            else:
                for each in tuple(self._by_consumer.get(int(change.object_id), ())):
                    self._drop(each)

    def confirm(self, now: float) -> None:
        """Notes that the changes up to now have all been handed to `forget`."""
        self._confirmed = now

    def _look_up(self, wanted: str, now: float) -> Caller | Literal[Miss.MISS] | None:
        entry = self._known.get(wanted)
        if entry is None:
            until = self._bad.get(wanted)
            return None if until is not None and now < until <= now + BAD_SECONDS + CLOCK_SECONDS else MISS
        caller, loaded_at = entry
        age = now - max(loaded_at, self._confirmed)
        if not hmac.compare_digest(caller.digest, wanted) or not -CLOCK_SECONDS <= age <= STALE_SECONDS:
            return MISS
        self._known.move_to_end(wanted)
        return None if caller.expired(now) else caller

    async def _find(
        self, wanted: str, now: float, load: Callable[[str], Awaitable[Caller | None]]
    ) -> Caller | None:
        found = self._look_up(wanted, now)
        if found is not MISS:
            return found
        task = self._loading.get(wanted)
        if task is None:
            task = self._loading[wanted] = asyncio.ensure_future(self._load(wanted, now, load))
            task.add_done_callback(lambda done: self._loaded(wanted, done))
        # Shielded: a client that leaves must not take the answer from the others who wait for it.
        caller = await asyncio.shield(task)
        return None if caller is None or caller.expired(now) else caller

    async def _load(
        self, wanted: str, now: float, load: Callable[[str], Awaitable[Caller | None]]
    ) -> Caller | None:
        caller = None
        for _ in range(LOADS):
            generation = self._generation
            caller = await load(wanted)
            if generation == self._generation:
                self._keep(wanted, caller, now)
                break
            # A change was seen while the database was asked: the answer may be older than it, and is not
            # kept.
        return caller

    def _loaded(self, wanted: str, done: asyncio.Task[Caller | None]) -> None:
        del self._loading[wanted]
        if not done.cancelled():
            done.exception()  # told to those who wait, if any still do

    def _keep(self, wanted: str, caller: Caller | None, now: float) -> None:
        self._drop(wanted)
        if caller is None:
            self._bad[wanted] = now + BAD_SECONDS
            if len(self._bad) > BAD_SIZE:
                self._bad.popitem(last=False)
            return
        self._known[wanted] = (caller, now)
        self._by_api_key[caller.api_key_id] = wanted
        self._by_consumer.setdefault(caller.consumer_id, set()).add(wanted)
        if len(self._known) > self._size:
            self._drop(next(iter(self._known)))

    def _drop(self, known: str) -> None:
        entry = self._known.pop(known, None)
        if entry is None:
            return
        caller = entry[0]
        if self._by_api_key.get(caller.api_key_id) == known:
            del self._by_api_key[caller.api_key_id]
        siblings = self._by_consumer.get(caller.consumer_id)
        if siblings is not None:
            siblings.discard(known)
            if not siblings:
                del self._by_consumer[caller.consumer_id]


def concerns(changes: Iterable[Seen], caller: Caller) -> bool:
    """Whether the changes may have taken this caller's right to call."""
    return any(
        not object_id or object_id == str(caller.api_key_id if kind == API_KEY else caller.consumer_id)
        for _, kind, object_id in changes
        if kind in (API_KEY, CONSUMER)
    )
