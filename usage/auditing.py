"""Records checked against themselves: their costs against price and tokens, and against their attempts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from usage.differences import ATTEMPTS, RECORDS, Difference
from usage.models import Attempt, Kind, PriceSnapshot, Record, UsageSource
from usage.money import MoneyField
from usage.pico import clamped_pico, to_pico
from usage.pricing import Price
from usage.summing import PART, id_range, table_of
from wire.types import Usage

AT_ONCE = 2_000
MOST_PRICES = 10_000


class Priced(NamedTuple):
    """What of a record its cost follows from."""

    request_id: Any
    kind: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_creation_tokens: int
    cache_creation_1h_tokens: int
    reasoning_tokens: int
    tool_uses: Any
    usage_source: str
    first_token_ms: int | None
    list_cost: int | None
    saved_cost: int
    unpriced: bool
    price_id: int | None


class Auditor:
    """Checks the records and attempts of a database, quarter by quarter, a few thousand rows in memory."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self._prices: dict[int, Price | None] = {}
        self._records = table_of(connection, Record)
        self._attempts = table_of(connection, Attempt)

    def audit(self, quarter: int) -> Iterator[Difference]:
        """What is wrong with the requests that started in the quarter."""
        yield from self._strays(quarter)
        yield from self._sums(quarter)
        yield from self._costs(quarter)

    def _strays(self, quarter: int) -> Iterator[Difference]:
        """Attempts whose id does not follow from their record's, and those without a record."""
        hexed = "a.id <> substr(a.record_id, 1, 30) || printf('%%02x', a.number)"
        if self.connection.vendor == "postgresql":
            hexed = "a.id::text <> left(a.record_id::text, 34) || lpad(to_hex(a.number::int), 2, '0')"
        low, high = id_range(self.connection, Attempt, quarter)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT a.id, a.record_id, a.number, {hexed} FROM {self._attempts} a"
                f" LEFT JOIN {self._records} r ON r.request_id = a.record_id"
                " AND r.request_id >= %s AND r.request_id < %s"
                f" WHERE a.id >= %s AND a.id < %s AND ({hexed} OR r.request_id IS NULL) ORDER BY a.id",
                [low, high, low, high],
            )
            for identifier, record, number, foreign in _rows(cursor):
                row = {"id": _uuid(identifier), "record_id": _uuid(record), "number": number}
                if foreign:
                    wanted = str(UUID(int=UUID(_uuid(record)).int | number & 0xFF))
                    yield Difference(ATTEMPTS, row, "id", wanted, _uuid(identifier), _instant(quarter))
                else:
                    yield Difference(ATTEMPTS, row, "record_id", None, _uuid(record), _instant(quarter))

    def _sums(self, quarter: int) -> Iterator[Difference]:
        """Records whose own cost is not the sum of their attempts', or that have more or fewer attempts than
        they say."""
        low, high = id_range(self.connection, Record, quarter)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT r.request_id, r.own_cost, r.attempt_count,"
                " COALESCE(a.millions, 0), COALESCE(a.rest, 0), COALESCE(a.number, 0)"
                f" FROM {self._records} r LEFT JOIN (SELECT record_id,"
                f" SUM(own_cost / {PART}) AS millions, SUM(own_cost %% {PART}) AS rest, COUNT(*) AS number"
                f" FROM {self._attempts} WHERE id >= %s AND id < %s GROUP BY record_id) a"
                " ON a.record_id = r.request_id WHERE r.request_id >= %s AND r.request_id < %s"
                " AND (r.attempt_count <> COALESCE(a.number, 0)"
                f" OR (COALESCE(a.millions, 0) - r.own_cost / {PART}) * {PART}"
                f" + COALESCE(a.rest, 0) - r.own_cost %% {PART} <> 0) ORDER BY r.request_id",
                [low, high, low, high],
            )
            for identifier, own, said, millions, rest, number in _rows(cursor):
                row, summed = {"request_id": _uuid(identifier)}, int(millions) * PART + int(rest)
                if number != said:
                    yield Difference(RECORDS, row, "attempt_count", number, said, _instant(quarter))
                if summed != own:
                    yield Difference(RECORDS, row, "own_cost", summed, own, _instant(quarter))

    def _costs(self, quarter: int) -> Iterator[Difference]:
        """Records whose list cost, or what the cache saved, does not follow from price and tokens."""
        low, high = id_range(self.connection, Record, quarter)
        while True:
            with self.connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT {', '.join(Priced._fields)} FROM {self._records}"
                    f" WHERE request_id >= %s AND request_id < %s ORDER BY request_id LIMIT {AT_ONCE}",
                    [low, high],
                )
                rows = [Priced(*row) for row in cursor.fetchall()]
            for record in rows:
                row = {"request_id": _uuid(record.request_id)}
                for column, ledger, found in self._judged(record):
                    yield Difference(RECORDS, row, column, ledger, found, _instant(quarter))
            if len(rows) < AT_ONCE:
                return
            last = UUID(_uuid(rows[-1].request_id))
            low = Record._meta.pk.get_db_prep_value(UUID(int=last.int + 1), self.connection)

    def _judged(self, record: Priced) -> Iterator[tuple[str, int | None, int | None]]:
        """Column, what it must be, what it is."""
        usage = _usage(record)
        price = None if record.price_id is None else self._price(record.price_id)
        if record.price_id is not None and price is None:
            yield "price_id", None, record.price_id
            return
        cost = _unpriced_cost(usage, record) if price is None else _list_cost(price, usage, record)
        saved = 0 if price is None else clamped_pico(price.saved(usage))
        if cost != record.list_cost:
            yield "list_cost", cost, record.list_cost
        if (cost is None) != bool(record.unpriced):
            yield "unpriced", int(cost is None), int(record.unpriced)
        if saved != record.saved_cost:
            yield "saved_cost", saved, record.saved_cost

    def _price(self, number: int) -> Price | None:
        """The price that a snapshot holds; None where there is no such snapshot."""
        if number not in self._prices:
            if len(self._prices) >= MOST_PRICES:
                self._prices.clear()
            snapshot = PriceSnapshot.objects.using(self.connection.alias).filter(pk=number).first()
            self._prices[number] = None if snapshot is None else price_of(snapshot)
        return self._prices[number]


def price_of(snapshot: PriceSnapshot) -> Price:
    """The price that a snapshot holds."""
    return Price.from_snapshot({field.attname: _plain(field, snapshot) for field in snapshot._meta.fields})


def _plain(field: models.Field[Any, Any], snapshot: PriceSnapshot) -> Any:
    value = field.value_from_object(snapshot)
    return to_pico(value) if isinstance(field, MoneyField) and value is not None else value


def _usage(record: Priced) -> Usage:
    for_an_hour = record.cache_creation_1h_tokens
    tool_uses = orjson.loads(record.tool_uses) if isinstance(record.tool_uses, str) else record.tool_uses
    return Usage(
        input_tokens=record.input_tokens,
        output_tokens=record.output_tokens,
        cache_read_tokens=record.cached_tokens,
        cache_write_5m_tokens=record.cache_creation_tokens - for_an_hour,
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=record.reasoning_tokens,
        tool_uses=tool_uses or {},
    )


def _unpriced_cost(usage: Usage, record: Priced) -> int | None:
    """What a record without a price must cost: nothing where nothing was used, else nobody knows."""
    if usage.input_tokens or usage.output_tokens or usage.tool_uses or record.unpriced:
        return None
    return 0


def _list_cost(price: Price, usage: Usage, record: Priced) -> int:
    """What the record must cost, in pico-dollars. Whether output was delivered, and how many answers one of
    another kind than generate was asked for, no column tells; so the price per request counts as often as
    the record's own cost comes nearest to, where that is possible: else once, where anything was
    delivered."""
    if price.request and record.list_cost is not None:
        counted = record.kind != Kind.GENERATE and record.usage_source != UsageSource.REPORTED
        over = record.list_cost - clamped_pico(price.cost(usage, delivered=False))
        times = (over + price.request // 2) // price.request
        if 0 <= times <= 1 or (counted and times > 1):
            cost = clamped_pico(price.cost(usage, delivered=times > 0, requests=times))
            if cost == record.list_cost or times > 1:
                return cost
    return clamped_pico(price.cost(usage, delivered=record.first_token_ms is not None))


def repair(connection: BaseDatabaseWrapper, differences: list[Difference]) -> None:
    """Writes what the ledger says into the records of these differences, where what was found still stands
    there, and deletes attempts that have no record. An own cost stays where attempts are missing, and an id
    always: which side is wrong nobody can say."""
    incomplete = {each.row["request_id"] for each in differences if each.column == "attempt_count"}
    with transaction.atomic(using=connection.alias):
        for each in differences:
            if each.table == ATTEMPTS and each.column == "record_id":
                orphans = Attempt.objects.using(connection.alias).filter(pk=each.row["id"])
                records = Record.objects.using(connection.alias).filter(pk=each.row["record_id"])
                if not records.exists():
                    orphans.delete()
            elif each.table == RECORDS and each.column in ("own_cost", "list_cost", "saved_cost", "unpriced"):
                if each.column == "own_cost" and each.row["request_id"] in incomplete:
                    continue
                _put(connection, each)


def _put(connection: BaseDatabaseWrapper, each: Difference) -> None:
    with connection.cursor() as cursor:
        column, table = connection.ops.quote_name(each.column), table_of(connection, Record)
        boolean = each.column == "unpriced"
        ledger, found = (bool(value) if boolean else value for value in (each.ledger, each.found))
        same = f"{column} IS NULL" if found is None else f"{column} = %s"
        key = Record._meta.pk.get_db_prep_value(UUID(each.row["request_id"]), connection)
        values = [ledger, key] if found is None else [ledger, key, found]
        cursor.execute(f"UPDATE {table} SET {column} = %s WHERE request_id = %s AND {same}", values)


def _rows(cursor: CursorWrapper) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(AT_ONCE):
        yield from rows


def _uuid(value: Any) -> str:
    return str(value if isinstance(value, UUID) else UUID(str(value)))


def _instant(quarter: int) -> datetime:
    return datetime.fromtimestamp(quarter, UTC)
