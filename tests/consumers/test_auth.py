"""Who is calling (consumers/auth.py)."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, strategies as st

from changes import feed
from changes.feed import Seen
from consumers import auth
from consumers.auth import MISS, AuthError, Caller, Callers, credentials, load
from consumers.digest import SECRET, digest
from consumers.models import ApiKey, Consumer, new_secret
from tests.counts import count

GOOD = "sk-aether-0123456789abcdef"
OTHER = "sk-aether-fedcba9876543210"
NOW = 1_800_000_000.0


def caller(secret: str = GOOD, **fields: Any) -> Caller:
    return Caller(
        **{
            "api_key_id": 1,
            "api_key_name": "laptop",
            "consumer_id": 7,
            "consumer_name": "alice",
            "digest": digest(secret),
            **fields,
        }
    )


class Database:
    """Stands in for the database: answers from a dictionary of secrets, and counts."""

    def __init__(self, *callers: Caller) -> None:
        self.rows = {each.digest: each for each in callers}
        self.asked = 0
        self.away = False
        self.gate: asyncio.Event | None = None

    async def __call__(self, wanted: str) -> Caller | None:
        self.asked += 1
        if self.away:
            raise ConnectionError
        answer = self.rows.get(wanted)
        if self.gate is not None:
            await self.gate.wait()
        return answer


def changed(kind: str, object_id: object = "") -> list[Seen]:
    return [Seen(1, kind, str(object_id))]


class TestCredentials:
    @pytest.mark.parametrize(
        "headers",
        [
            [(b"authorization", b"Bearer " + GOOD.encode())],
            [(b"authorization", b"bearer   " + GOOD.encode() + b" ")],
            [(b"x-api-key", GOOD.encode())],
            [(b"api-key", GOOD.encode())],
            [(b"x-goog-api-key", GOOD.encode())],
            [(b"x-api-key", b""), (b"authorization", b"Bearer " + GOOD.encode())],
            [(b"authorization", b"Basic dXNlcjpwYXNz"), (b"x-api-key", GOOD.encode())],
            [(b"x-api-key", GOOD.encode()), (b"authorization", b"Bearer " + GOOD.encode())],
        ],
    )
    def test_it_reads_the_api_key_from_every_place_a_client_may_put_it(
        self, headers: list[tuple[bytes, bytes]]
    ) -> None:
        assert credentials([(b"host", b"relay"), *headers]) == GOOD

    def test_it_reads_a_gemini_client_s_key_from_the_query(self) -> None:
        assert credentials([], b"alt=sse&key=" + GOOD.encode()) == GOOD

    def test_it_takes_the_same_key_twice(self) -> None:
        assert credentials([(b"x-goog-api-key", GOOD.encode())], b"key=" + GOOD.encode()) == GOOD

    @pytest.mark.parametrize(
        ("headers", "query"),
        [
            ([(b"x-api-key", GOOD.encode()), (b"authorization", b"Bearer " + OTHER.encode())], b""),
            (
                [
                    (b"authorization", b"Bearer " + GOOD.encode()),
                    (b"authorization", b"Bearer " + OTHER.encode()),
                ],
                b"",
            ),
            ([(b"x-goog-api-key", GOOD.encode())], b"key=" + OTHER.encode()),
            ([], b"key=" + GOOD.encode() + b"&key=" + OTHER.encode()),
            ([(b"x-api-key", GOOD.encode()), (b"api-key", b"short")], b""),
        ],
    )
    def test_it_refuses_two_different_keys(self, headers: list[tuple[bytes, bytes]], query: bytes) -> None:
        with pytest.raises(AuthError) as refusal:
            credentials(headers, query)
        assert refusal.value.status == 400

    @pytest.mark.parametrize(
        "value",
        [
            b"", b"short", b"x" * 19, b"x" * 201, b"x" * 1_000_000, b"sk-aether-' OR 1=1 --xxxxx",
            b'sk-"quoted"-key-0123456789', b"sk-aether-0123456789\x00abc", b"\xff" * 40,
            "sk-aether-schlüssel-0123456".encode(), b"sk aether 0123456789abcdef",
            b"sk-aether-0123456789abcdef%00", b"sk-aether-0123456789abcdef\r\nx: y",
            b"sk.aether.0123456789abcdef",
        ],
    )  # fmt: skip
    def test_it_refuses_what_is_no_well_formed_key_before_any_look_up(self, value: bytes) -> None:
        for headers, query in (
            ([(b"x-api-key", value)], b""),
            ([(b"authorization", b"Bearer " + value)], b""),
            ([], b"key=" + value.replace(b"&", b"")),
        ):
            with pytest.raises(AuthError) as refusal:
                credentials(headers, query)
            assert refusal.value.status == 401
            assert str(refusal.value) == str(auth.refused())

    @given(
        st.binary(max_size=300),
        st.sampled_from([b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"]),
    )
    def test_whatever_it_is_given_it_answers_with_a_safe_key_or_a_refusal(
        self, value: bytes, name: bytes
    ) -> None:
        with suppress(AuthError):
            secret = credentials([(name, value)], value)
            assert SECRET.fullmatch(secret)

    def test_a_key_in_another_header_is_none(self) -> None:
        for name in (b"cookie", b"x-auth-token", b"proxy-authorization", b"x-forwarded-authorization"):
            with pytest.raises(AuthError):
                credentials([(name, b"Bearer " + GOOD.encode())])


class TestCaller:
    @pytest.mark.parametrize(
        ("networks", "address", "permitted"),
        [
            (None, "203.0.113.9", True),
            (None, "unix", True),
            ((ip_network("10.0.0.0/8"),), "10.1.2.3", True),
            ((ip_network("10.0.0.0/8"),), "11.1.2.3", False),
            ((ip_network("10.0.0.0/8"),), "::ffff:10.1.2.3", True),
            ((ip_network("10.0.0.0/8"),), "2001:db8::1", False),
            ((ip_network("2001:db8::/32"),), "2001:db8::1", True),
            ((ip_network("10.0.0.0/8"),), "", False),
            ((ip_network("0.0.0.0/0"),), "not an address", False),
            ((), "10.1.2.3", False),
        ],
    )
    def test_it_knows_from_where_it_may_call(self, networks: Any, address: str, permitted: bool) -> None:
        assert caller(networks=networks).permits(address) is permitted

    def test_its_repr_shows_no_digest(self) -> None:
        assert digest(GOOD) not in repr(caller())


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (None, None, None),
        (frozenset({1}), None, frozenset({1})),
        (None, frozenset({2}), frozenset({2})),
        (frozenset({1, 2}), frozenset({2, 3}), frozenset({2})),
        (frozenset({1}), frozenset({2}), frozenset()),
    ],
)
def test_two_allow_lists_allow_what_both_allow(first: Any, second: Any, both: Any) -> None:
    assert auth.intersection(first, second) == both


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (None, None, None),
        (["10.0.0.0/8"], None, ["10.0.0.0/8"]),
        (["10.0.0.0/8"], ["10.1.0.0/16", "192.168.0.0/16"], ["10.1.0.0/16"]),
        (["10.1.2.3/32"], ["10.0.0.0/8"], ["10.1.2.3/32"]),
        (["10.0.0.0/8"], ["2001:db8::/32"], []),
        (["10.0.0.0/8"], ["11.0.0.0/8"], []),
    ],
)
def test_two_lists_of_networks_allow_what_both_allow(first: Any, second: Any, both: Any) -> None:
    read = [None if each is None else tuple(map(ip_network, each)) for each in (first, second, both)]
    assert auth.common(read[0], read[1]) == read[2]


@pytest.mark.parametrize(
    ("stored", "allowed"),
    [
        ([], None), (None, None), ([1, 2], {1, 2}), (["3"], {3}), (["gone"], set()), ({"a": 1}, set()),
        ([True, 4], {4}),
    ],
)  # fmt: skip
def test_an_allow_list_that_holds_junk_still_restricts(stored: Any, allowed: Any) -> None:
    assert auth.ids(stored) == (None if allowed is None else frozenset(allowed))


class TestCallers:
    async def test_it_asks_the_database_once_and_then_never_again(self) -> None:
        callers, database = Callers(10), Database(caller())
        assert callers.get(GOOD, NOW) is MISS
        assert await callers.find(GOOD, NOW, database) == caller()
        assert callers.get(GOOD, NOW) == caller()
        assert await callers.find(GOOD, NOW, database) == caller()
        assert database.asked == 1

    async def test_many_who_come_at_once_ask_once(self) -> None:
        callers, database = Callers(10), Database(caller())
        database.gate = asyncio.Event()
        waiting = [asyncio.ensure_future(callers.find(GOOD, NOW, database)) for _ in range(20)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        database.gate.set()
        assert await asyncio.gather(*waiting[1:]) == [caller()] * 19
        assert waiting[0].cancelled()
        assert database.asked == 1

    async def test_an_unknown_key_is_remembered_for_ten_seconds(self) -> None:
        callers, database = Callers(10), Database()
        assert await callers.find(GOOD, NOW, database) is None
        assert callers.get(GOOD, NOW + 9.9) is None
        assert callers.get(GOOD, NOW + 10) is MISS
        assert database.asked == 1

    @pytest.mark.parametrize("kind", ["apikey", "consumer"])
    async def test_an_unknown_key_is_asked_for_again_after_any_change_of_an_api_key(self, kind: str) -> None:
        callers, database = Callers(10), Database()
        await callers.find(GOOD, NOW, database)
        callers.forget(changed(kind, 99))
        assert callers.get(GOOD, NOW) is MISS

    async def test_other_changes_forget_nothing(self) -> None:
        callers, database = Callers(10), Database(caller())
        await callers.find(GOOD, NOW, database)
        await callers.find(OTHER, NOW, database)
        callers.forget(changed("provider", 1) + changed("key") + changed("budget", 7))
        assert callers.get(GOOD, NOW) == caller()
        assert callers.get(OTHER, NOW) is None

    @pytest.mark.parametrize(
        ("change", "forgotten"),
        [
            (changed("apikey", 1), {GOOD}),
            (changed("apikey", 3), set()),
            (changed("consumer", 7), {GOOD, OTHER}),
            (changed("consumer", 8), set()),
            (changed("apikey"), {GOOD, OTHER}),
            (changed("consumer"), {GOOD, OTHER}),
        ],
    )
    async def test_a_change_forgets_those_it_concerns(self, change: list[Seen], forgotten: set[str]) -> None:
        both = {GOOD: caller(), OTHER: caller(OTHER, api_key_id=2)}
        callers, database = Callers(10), Database(*both.values())
        for secret in both:
            await callers.find(secret, NOW, database)
        callers.forget(change)
        assert {secret for secret in both if callers.get(secret, NOW) is MISS} == forgotten
        assert {secret for secret, each in both.items() if auth.concerns(change, each)} == forgotten

    async def test_an_answer_that_a_change_overtook_is_not_kept(self) -> None:
        callers, database = Callers(10), Database(caller())
        database.gate = asyncio.Event()
        asking = asyncio.ensure_future(callers.find(GOOD, NOW, database))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert database.asked == 1  # the old row is in hand
        database.rows.clear()
        callers.forget(changed("apikey", 1))
        database.gate.set()
        assert await asking is None
        assert database.asked == 2

    async def test_it_stays_within_its_bound_and_drops_the_least_recently_used(self) -> None:
        secrets = [f"sk-aether-number-{number:04d}" for number in range(4)]
        rows = [caller(secret, api_key_id=number) for number, secret in enumerate(secrets)]
        callers, database = Callers(3), Database(*rows)
        for secret in secrets[:3]:
            await callers.find(secret, NOW, database)
        callers.get(secrets[0], NOW)
        await callers.find(secrets[3], NOW, database)
        assert len(callers) == 3
        assert callers.get(secrets[1], NOW) is MISS
        assert callers.get(secrets[0], NOW) == rows[0]
        callers.forget(changed("consumer", 7))
        assert len(callers) == 0

    async def test_bad_keys_never_push_good_ones_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(auth, "BAD_SIZE", 5)
        callers, database = Callers(3), Database(caller())
        await callers.find(GOOD, NOW, database)
        bad = [f"sk-aether-guess-{number:06d}" for number in range(50)]
        for secret in bad:
            await callers.find(secret, NOW, database)
        assert callers.get(GOOD, NOW) == caller()
        assert sum(callers.get(secret, NOW) is None for secret in bad) == 5

    async def test_with_the_database_away_a_known_caller_is_believed_for_ten_minutes(self) -> None:
        callers, database = Callers(10), Database(caller())
        await callers.find(GOOD, NOW, database)
        callers.confirm(NOW + 100)
        database.away = True
        assert callers.get(GOOD, NOW + 700) == caller()
        assert callers.get(GOOD, NOW + 701) is MISS
        with pytest.raises(ConnectionError):
            await callers.find(GOOD, NOW + 701, database)
        with pytest.raises(ConnectionError):
            await callers.find(OTHER, NOW, database)
        database.away = False
        assert await callers.find(GOOD, NOW + 702, database) == caller()
        assert callers.get(GOOD, NOW + 703) == caller()

    async def test_a_clock_that_steps_back_makes_it_ask_again(self) -> None:
        callers, database = Callers(10), Database(caller())
        await callers.find(GOOD, NOW, database)
        await callers.find(OTHER, NOW, database)
        assert callers.get(GOOD, NOW - 3600) is MISS
        assert callers.get(OTHER, NOW - 3600) is MISS

    async def test_an_expired_key_is_refused_from_the_very_second(self) -> None:
        callers, database = Callers(10), Database(caller(expires_at=NOW + 5))
        assert await callers.find(GOOD, NOW, database) is not None
        assert callers.get(GOOD, NOW + 4.9) is not None
        assert callers.get(GOOD, NOW + 5) is None
        assert await callers.find(GOOD, NOW + 5, database) is None
        assert not await callers.still_valid(caller(), NOW + 5, database)

    async def test_a_running_stream_can_ask_whether_its_caller_is_still_valid(self) -> None:
        callers, database = Callers(10), Database(caller())
        await callers.find(GOOD, NOW, database)
        assert await callers.still_valid(caller(), NOW, database)
        database.rows.clear()
        callers.forget(changed("apikey", 1))
        assert not await callers.still_valid(caller(), NOW, database)

    async def test_an_entry_under_a_foreign_digest_is_not_believed(self) -> None:
        callers = Callers(10)

        async def confused(wanted: str) -> Caller | None:
            return caller(OTHER)

        await callers.find(GOOD, NOW, confused)
        assert callers.get(GOOD, NOW) is MISS


@pytest.mark.database
@pytest.mark.django_db
class TestLoad:
    def issue(self, **fields: Any) -> tuple[ApiKey, str]:
        consumer = Consumer.objects.create(
            name=f"consumer {Consumer.objects.count()}", **fields.pop("consumer", {})
        )
        return ApiKey.issue(consumer=consumer, name="laptop", **fields)

    def test_it_reads_an_api_key_with_its_consumer_in_one_query_by_index(self) -> None:
        api_key, secret = self.issue(
            consumer={"time_zone": "Europe/Berlin"},
            finish_streams=True,
            failover=False,
            recording="full",
            concurrency_limit=7,
        )
        with CaptureQueriesContext(connection) as queries:
            found = load(digest(secret))
        assert len(queries) == 1
        assert found == Caller(
            api_key_id=api_key.pk,
            api_key_name="laptop",
            consumer_id=api_key.consumer_id,
            consumer_name=api_key.consumer.name,
            digest=digest(secret),
            finish_streams=True,
            failover=False,
            recording="full",
            concurrency_limit=7,
            time_zone="Europe/Berlin",
        )

    def test_allow_lists_of_consumer_and_api_key_are_intersected(self) -> None:
        _, secret = self.issue(
            consumer={
                "allowed_models": [1, 2],
                "allowed_formats": ["anthropic"],
                "allowed_networks": ["10.0.0.0/8"],
            },
            allowed_models=[2, 3],
            allowed_providers=[9],
            allowed_formats=["gemini"],
            allowed_networks=["10.1.0.0/16"],
        )
        found = load(digest(secret))
        assert found is not None
        assert found.allowed_models == frozenset({2})
        assert found.allowed_providers == frozenset({9})
        assert found.allowed_formats == frozenset()
        assert found.networks == (ip_network("10.1.0.0/16"),)

    def test_an_expired_key_loads_with_its_instant(self) -> None:
        moment = timezone.now() - timedelta(days=1)
        _, secret = self.issue(expires_at=moment)
        found = load(digest(secret))
        assert found is not None
        assert found.expires_at == moment.timestamp()
        assert found.expired(time.time())

    @pytest.mark.parametrize("off", ["api key", "consumer", "both"])
    def test_what_is_switched_off_is_not_found(self, off: str) -> None:
        _, secret = self.issue(is_active=off == "consumer", consumer={"is_active": off == "api key"})
        assert load(digest(secret)) is None

    def test_an_unknown_digest_is_not_found(self) -> None:
        assert load(digest(GOOD)) is None

    @pytest.mark.parametrize("wanted", ["", "' OR 1=1 --", "-" * 64, "0" * 64])
    def test_the_decoy_is_never_let_in(self, wanted: str) -> None:
        assert load(wanted) is None

    def test_the_database_holds_no_key_and_no_more_than_eight_of_its_characters(self) -> None:
        _, secret = self.issue()
        row = ApiKey.objects.values().get()
        stored = " ".join(str(value) for value in row.values())
        own = secret.removeprefix("sk-aether-")
        assert not any(own[start : start + 9] in stored for start in range(len(own) - 8))
        assert row["digest"] != sha256(secret.encode()).hexdigest()

    @pytest.mark.parametrize(
        "way", ["save", "update", "delete", "delete queryset", "consumer off", "consumer deleted"]
    )
    def test_every_way_of_revoking_a_key_reaches_the_callers(self, way: str) -> None:
        api_key, secret = self.issue()
        callers, known = Callers(10), load(digest(secret))
        assert known is not None
        asyncio.run(callers.find(secret, NOW, Database(known)))
        position = feed.latest()
        revoke(api_key, way)
        changes = feed.since(position)
        assert auth.concerns(changes, known)
        callers.forget(changes)
        assert callers.get(secret, NOW) is MISS
        assert load(digest(secret)) is None


def revoke(api_key: ApiKey, way: str) -> None:
    """Takes the key's right to call."""
    keys = ApiKey.objects.filter(pk=api_key.pk)
    consumers = Consumer.objects.filter(pk=api_key.consumer_id)
    if way == "save":
        api_key.is_active = False
        api_key.save()
    ways: dict[str, Callable[[], object]] = {
        "save": int,
        "update": lambda: keys.update(is_active=False),
        "delete": api_key.delete,
        "delete queryset": keys.delete,
        "consumer off": lambda: consumers.update(is_active=False),
        "consumer deleted": consumers.delete,
    }
    ways[way]()


KINDS = ("valid", "disabled", "disabled consumer", "expired", "unknown")


@pytest.fixture
def kinds() -> dict[str, str]:
    """A secret of each kind."""
    consumer, away = (
        Consumer.objects.create(name=name, is_active=name == "alice") for name in ("alice", "bob")
    )
    past = datetime(2020, 1, 1, tzinfo=UTC)
    return {
        "valid": ApiKey.issue(consumer=consumer, name="valid")[1],
        "disabled": ApiKey.issue(consumer=consumer, name="off", is_active=False)[1],
        "disabled consumer": ApiKey.issue(consumer=away, name="away")[1],
        "expired": ApiKey.issue(consumer=consumer, name="old", expires_at=past)[1],
        "unknown": new_secret(),
    }


@dataclass
class Work:
    """What a look-up did: its queries, the rows it read, and what it compared."""

    queries: list[str] = field(default_factory=list)
    rows: int = 0
    compared: list[tuple[str, str]] = field(default_factory=list)

    @property
    def amount(self) -> tuple[Any, ...]:
        """The same for two look-ups that took the same steps."""
        sql = [re.sub(r"'[0-9a-f]{64}'", "?", each) for each in self.queries]
        return sql, self.rows, [(len(one), len(other)) for one, other in self.compared]


def watched(monkeypatch: pytest.MonkeyPatch, look_up: Callable[[], object]) -> Work:
    work, read, compare = Work(), auth._caller, hmac.compare_digest

    def reading(row: dict[str, Any]) -> Caller:
        work.rows += 1
        return read(row)

    def comparing(one: str, other: str) -> bool:
        work.compared.append((one, other))
        return compare(one, other)

    with monkeypatch.context() as patch, CaptureQueriesContext(connection) as queries:
        patch.setattr(auth, "_caller", reading)
        patch.setattr(hmac, "compare_digest", comparing)
        look_up()
    work.queries = [each["sql"] for each in queries]
    return work


@pytest.mark.database
@pytest.mark.django_db
def test_a_look_up_takes_the_same_steps_whatever_it_finds(
    kinds: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One query by the unique index, one row read (a decoy's where there is none), one comparison in constant
    time, of digests alone."""
    works = {kind: watched(monkeypatch, partial(load, digest(secret))) for kind, secret in kinds.items()}
    assert set(works) == set(KINDS)
    for kind, work in works.items():
        assert work.amount == works["valid"].amount, kind
        assert len(work.queries) == work.rows == len(work.compared) == 1
        assert kinds[kind] not in f"{work.queries}{work.compared}"
        assert all(re.fullmatch("[0-9a-f]{64}|-{64}", each) for pair in work.compared for each in pair)
    assert ApiKey._meta.get_field("digest").unique


@pytest.mark.django_db
def test_a_look_up_in_memory_asks_nobody_and_compares_digests_alone(
    kinds: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    callers, now = Callers(100), time.time()
    rows = [each for each in (load(digest(secret)) for secret in kinds.values()) if each is not None]
    for secret in kinds.values():
        asyncio.run(callers.find(secret, now, Database(*rows)))
    for kind, secret in kinds.items():
        work = watched(monkeypatch, partial(callers.get, secret, now))
        assert work.queries == []
        assert len(work.compared) == (kind in ("valid", "expired"))  # the others are remembered as bad
        assert secret not in str(work.compared)


def test_secrets_that_are_nearly_right_have_digests_that_are_not() -> None:
    """So that however long a comparison of digests took, it would tell nothing about the secret."""
    shared = 0
    for number in range(count(2_000, 20_000)):
        one, other = digest(f"{GOOD}{number:06d}a"), digest(f"{GOOD}{number:06d}b")
        shared += next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    assert shared / count(2_000, 20_000) < 0.1  # by chance a fifteenth of a digit
