"""Journal lines to rows: one batch, one transaction, each request once.

Everything here may be done again without harm: records and attempts are inserted where they are not there
yet, sums change only for rows really inserted, amendments are counted, states carry their instant.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import orjson
from django.db import DatabaseError, InterfaceError, connections, models, transaction
from django.db.backends.utils import CursorWrapper

from usage.amendments import amend
from usage.columns import Row, Table, clean_text, placeholders
from usage.failures import is_transient
from usage.framing import Line
from usage.ids import attempt_id, attempt_text
from usage.lines import COLUMNS, AttemptLine, RecordLine, decode_final, named
from usage.models import (
    Attempt,
    DeadLetter,
    JournalPosition,
    PriceSnapshot,
    Record,
    StoredResponse,
    UserAgent,
)
from usage.months import Months
from usage.rollup import AttemptFacts, RecordFacts, RollupTables, Sums, quarter_of
from usage.states import Apply, StateChange
from usage.vitals import FACTS, Vitals, VitalTables

log = logging.getLogger(__name__)
astuple = msgspec.structs.astuple
_by_id = attrgetter("id")

FINAL, AMEND, STATE, DAMAGE = "final", "amend", "state", "damage"
APPLIED = frozenset((FINAL, AMEND, STATE, DAMAGE))
"""Kinds of lines that change the database; the others matter only where a worker died."""

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What a line that makes no sense raises while it is read."""

EARLIEST, LATEST = 1_577_836_800_000, 4_102_444_800_000
"""The years 2020 to 2099, in Unix milliseconds: what the clock in an id can mean."""
OURS = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{10}00")
"""A request's id as ordinary lines write it: a UUIDv7 with room for the attempts' numbers."""
RECORD_FIRST = (
    "request_id",
    "started_at",
    "address",
    "tool_uses",
    "explanation",
    "user_agent_id",
    "price_id",
)
USER_AGENT_AT, PRICE_AT = RECORD_FIRST.index("user_agent_id"), RECORD_FIRST.index("price_id")
ATTEMPT_FIRST = ("id", "record_id", "number", "started_at")
MOST_REMEMBERED = 10_000
LONGEST_LINE = 100_000


class Work(NamedTuple):
    """One journal line to apply, and the segment it stands in (`worker/file`)."""

    segment: str
    line: Line


class Refused(NamedTuple):
    """A line that cannot be applied, and why."""

    work: Work
    reason: str


class Applied(NamedTuple):
    """What a batch came to: how many records were new, and which lines are parked."""

    records: int
    refused: list[Refused]


class Final(msgspec.Struct, gc=False):
    """A record ready for the database, with what belongs to it. `id` is in hex digits, `price` JSON of the
    snapshot's columns, empty without one."""

    work: Work
    id: str
    row: Row
    attempts: list[Row]
    user_agent: str
    price: bytes
    stored: Row | None


class Ledger:
    """Applies batches to the database `using`. `appliers` says, by the table's name in `state` lines, who
    writes them; the one named `api_key` also hears from every record when its API key was last used."""

    def __init__(self, using: str, appliers: Mapping[str, Apply]) -> None:
        self.using = using
        self.connection = connections[using]
        self._appliers = appliers
        self._records = Table(Record, self.connection, _in_order(Record, RECORD_FIRST, RecordLine, 5))
        self._attempts = Table(Attempt, self.connection, _in_order(Attempt, ATTEMPT_FIRST, AttemptLine, 2))
        self._untold = self._records.row({})[len(RECORD_FIRST) + len(RecordLine.__struct_fields__) - 5 :]
        self._prices = Table(PriceSnapshot, self.connection)
        self._user_agents = Table(UserAgent, self.connection)
        self._stored = Table(StoredResponse, self.connection)
        self._letters = Table(DeadLetter, self.connection)
        self._positions = Table(JournalPosition, self.connection)
        self._rollups = RollupTables(self.connection)
        self._vitals = VitalTables(self.connection)
        self._months = Months(self.connection, (Record, Attempt))
        self._price_ids: dict[bytes, int] = {}
        self._user_agent_ids: dict[str, int] = {}
        self._instant = self._records.converter("started_at")
        self._address = self._records.converter("address")
        self._record_facts = _picker(self._records, RecordFacts._fields)
        self._attempt_facts = _picker(self._attempts, AttemptFacts._fields)
        self._vital_facts = _picker(self._attempts, FACTS)

    def apply(self, batch: Sequence[Work], positions: Mapping[str, int], now: int) -> Applied:
        """Applies a batch and moves the segments' positions with it, in one transaction; `now` is Unix
        milliseconds.

        Lines that make no sense become dead letters. Raises DatabaseError (or what a database driver raises
        for a value it cannot take) with nothing applied.
        """
        finals: dict[str, Final] = {}
        amends: list[Work] = []
        states: dict[str, list[tuple[StateChange, Work]]] = {}
        refused: list[Refused] = []
        for work in batch:
            try:
                if work.line.kind == FINAL:
                    final = self._read_final(work)
                    finals.setdefault(final.id, final)
                elif work.line.kind == AMEND:
                    amends.append(work)
                elif work.line.kind == STATE:
                    table, change = self._read_state(work)
                    states.setdefault(table, []).append((change, work))
                else:
                    refused.append(Refused(work, "these bytes of the journal are damaged"))
            except UNREADABLE as error:
                refused.append(Refused(work, f"{type(error).__name__}: {error}"))
        self._months.ensure(map(UUID, finals), now)
        try:
            with transaction.atomic(using=self.using), self.connection.cursor() as cursor:
                sums, vitals = Sums(), Vitals()
                new = self._insert_finals(cursor, sorted(finals.values(), key=_by_id), sums, vitals, now)
                refused += self._apply_amendments(cursor, amends, sums, now)
                self._rollups.add(cursor, sums)
                self._vitals.add(cursor, vitals)
                self._use_api_keys(new, states)
                refused += self._apply_states(states)
                self._bury(cursor, refused, now)
                self._move(cursor, positions, now)
        except BaseException:
            self.forget_ids()  # what was learned may have been rolled back
            raise
        for refusal in refused:
            log.error("parked %s at %s:%d: %s", *_place(refusal.work), refusal.reason)
        return Applied(len(new), refused)

    def positions(self) -> dict[str, int]:
        """How far each segment is applied."""
        return dict(JournalPosition.objects.using(self.using).values_list("segment", "position"))

    def forget_positions(self, segments: Sequence[str]) -> None:
        """Drops the positions of segments that are gone."""
        JournalPosition.objects.using(self.using).filter(segment__in=segments).delete()

    def forget_ids(self) -> None:
        """Looks prices and user agents up again: somebody may have deleted rows."""
        self._price_ids.clear()
        self._user_agent_ids.clear()

    # Reading

    def _read_final(self, work: Work) -> Final:
        try:
            return self._read_ordinary(work)
        except UNREADABLE:
            return self._read_carefully(work)

    def _read_ordinary(self, work: Work) -> Final:
        """Of a line whose values are all what their columns take. Raises what is in UNREADABLE for any
        other."""
        body = work.line.body
        if b"\\u0000" in body:
            raise ValueError("text that no database takes")
        line = decode_final(body)
        request_id, started_at, address, tool_uses, explanation, *rest = astuple(line.record)
        if not OURS.fullmatch(request_id):
            raise ValueError("the request id is not one of ours")
        key = _within_our_time(request_id.replace("-", ""))
        stored = bytes(line.stored)
        row = [
            key,
            self._instant(started_at),
            self._address(address) if address else None,
            _json(tool_uses),
            _json(explanation),
            None,
            None,
            *rest,
            *self._untold,
        ]
        attempts = []
        for number, began_at, *columns in map(astuple, line.attempts):
            tried = attempt_text(key, number)
            attempts.append([tried, key, number, self._instant(began_at), *columns])
        return Final(
            work,
            key,
            row,
            attempts,
            line.user_agent,
            self._checked_price(bytes(line.price)),
            None if stored == b"null" else self._stored_row(orjson.loads(stored)),
        )

    def _read_carefully(self, work: Work) -> Final:
        """Of any line that makes sense: values are cut and cleaned until their columns take them."""
        payload = named(work.line.payload(), COLUMNS)
        record = payload["record"]
        identifier = UUID(str(record["request_id"]))
        if identifier.version != 7:
            raise ValueError("the request id is not one of ours")
        key = _within_our_time(identifier.hex)
        record["request_id"] = identifier
        row = self._records.row(record)
        attempts: dict[str, Row] = {}
        for each in payload.get("attempts") or ():
            known = attempt_id(identifier, each["number"])
            each["id"], each["record_id"] = known, identifier
            each.setdefault("started_at", record["started_at"])
            attempts.setdefault(known.hex, self._attempts.row(each))
        price, stored = payload.get("price"), payload.get("stored")
        return Final(
            work,
            key,
            row,
            list(attempts.values()),
            clean_text(payload.get("user_agent") or "", 300),
            self._checked_price(orjson.dumps(price)) if price else b"",
            self._stored_row(stored),
        )

    def _checked_price(self, price: bytes) -> bytes:
        """Empty for null. Raises what is in UNREADABLE for what is no price."""
        if price == b"null":
            return b""
        if price not in self._price_ids and not isinstance(orjson.loads(price)["hash"], str):
            raise TypeError("a price without its hash")
        return price

    def _stored_row(self, stored: Any) -> Row | None:
        return self._stored.row({**stored, "response_id": stored["response_id"]}) if stored else None

    def _read_state(self, work: Work) -> tuple[str, StateChange]:
        payload = work.line.payload()
        table = payload["table"]
        if table not in self._appliers:
            raise ValueError(f"nobody here keeps the state of “{table}”")
        place = f"{work.segment}:{work.line.start}"
        return table, StateChange(int(payload["id"]), int(payload["at"]), dict(payload["columns"]), place)

    # Writing

    def _insert_finals(
        self, cursor: CursorWrapper, finals: list[Final], sums: Sums, vitals: Vitals, now: int
    ) -> list[Final]:
        if not finals:
            return []
        self._refer(cursor, finals, now)
        rows = self._records.insert_new(cursor, [final.row for final in finals])
        new = finals
        if len(rows) < len(finals):
            fresh = {row[0] for row in rows}
            new = [final for final in finals if final.id in fresh]
        tries = self._attempts.insert_new(cursor, [row for final in new for row in final.attempts])
        for row in rows:
            sums.add_record(quarter_of(row[0]), self._record_facts(row))
        for row in tries:
            sums.add_attempt(quarter_of(row[0]), self._attempt_facts(row))
            vitals.add(row[0], self._vital_facts(row))
        self._keep_stored(cursor, new)
        return new

    def _refer(self, cursor: CursorWrapper, finals: Sequence[Final], now: int) -> None:
        """Gives the rows their price's and user agent's id, adding those that are new."""
        self._learn_prices(cursor, {final.price for final in finals if final.price}, now)
        agents = {final.user_agent for final in finals if final.user_agent}
        self._learn(
            cursor, self._user_agents, "text", self._user_agent_ids, {text: {"text": text} for text in agents}
        )
        for final in finals:
            if final.user_agent:
                final.row[USER_AGENT_AT] = self._user_agent_ids[final.user_agent]
            if final.price:
                final.row[PRICE_AT] = self._price_ids[final.price]

    def _learn_prices(self, cursor: CursorWrapper, prices: Collection[bytes], now: int) -> None:
        missing = {each: orjson.loads(each) for each in prices if each not in self._price_ids}
        if not missing:
            return
        ids: dict[str, int] = {}
        wanted = {price["hash"]: {**price, "created_at": now} for price in missing.values()}
        self._learn(cursor, self._prices, "hash", ids, wanted)
        if len(self._price_ids) > MOST_REMEMBERED:
            self._price_ids = {each: number for each, number in self._price_ids.items() if each in prices}
        self._price_ids.update((each, ids[price["hash"]]) for each, price in missing.items())

    def _learn(
        self,
        cursor: CursorWrapper,
        table: Table,
        column: str,
        known: dict[str, int],
        wanted: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Fills `known` with the ids of `wanted`, by the unique `column`, inserting rows that are not
        there."""
        missing = sorted(wanted.keys() - known.keys())
        if not missing:
            return
        if len(known) + len(missing) > MOST_REMEMBERED:
            known.clear()
            missing = sorted(wanted)
        table.insert(cursor, [table.row(wanted[key]) for key in missing])
        cursor.execute(
            f"SELECT {column}, id FROM {table.name} WHERE {column} IN ({placeholders(missing)})", missing
        )
        known.update(cursor.fetchall())

    def _keep_stored(self, cursor: CursorWrapper, finals: Sequence[Final]) -> None:
        rows = {final.stored[0]: final.stored for final in finals if final.stored}
        if rows:
            updates = ", ".join(
                f"{column} = excluded.{column}" for column in self._stored.columns if column != "response_id"
            )
            self._stored.insert(
                cursor, [rows[key] for key in sorted(rows)], conflict=f"(response_id) DO UPDATE SET {updates}"
            )

    def _use_api_keys(self, new: Sequence[Final], states: dict[str, list[tuple[StateChange, Work]]]) -> None:
        """Adds to `states` when, and from where, the records' API keys were used."""
        if "api_key" not in self._appliers:
            return
        key_at, address_at = self._records.index["api_key_id"], self._records.index["address"]
        last = {final.row[key_at]: final for final in new}  # in the order of their ids, which is that of time
        for number, final in last.items():
            if number:
                at = int(final.id[:12], 16)
                columns = {"last_used_at": at, "last_address": final.row[address_at]}
                states.setdefault("api_key", []).append((StateChange(number, at, columns), final.work))

    def _apply_states(self, states: Mapping[str, Sequence[tuple[StateChange, Work]]]) -> list[Refused]:
        """Hands states to their tables. What one table refuses is parked and harms nothing else."""
        refused = []
        for table, changes in sorted(states.items()):
            try:
                with transaction.atomic(using=self.using):
                    self._appliers[table]([change for change, _ in changes], self.using)
            except (DatabaseError, InterfaceError, *UNREADABLE) as error:
                if is_transient(error):
                    raise
                reason = f"{type(error).__name__}: {error}"
                refused += [Refused(work, reason) for _, work in changes if work.line.kind == STATE]
                log.exception("the states of %s were not written", table)
        return refused

    def _bury(self, cursor: CursorWrapper, refused: Sequence[Refused], now: int) -> None:
        rows = []
        for (segment, line), reason in refused:
            text = _by_names(line)[:LONGEST_LINE].decode("utf-8", "replace")
            rows.append(
                self._letters.row(
                    {
                        "segment": segment,
                        "position": line.start,
                        "kind": line.kind,
                        "line": text,
                        "reason": clean_text(reason, 2000),
                        "created_at": now,
                    }
                )
            )
        self._letters.insert(cursor, rows)

    def _move(self, cursor: CursorWrapper, positions: Mapping[str, int], now: int) -> None:
        rows = [
            self._positions.row({"segment": segment, "position": position, "updated_at": now})
            for segment, position in sorted(positions.items())
        ]
        self._positions.insert(
            cursor,
            rows,
            conflict="(segment) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at",
        )

    def bury(self, work: Work, reason: str, positions: Mapping[str, int], now: int) -> None:
        """Parks one line that the database refused, and moves on."""
        with transaction.atomic(using=self.using), self.connection.cursor() as cursor:
            self._bury(cursor, [Refused(work, reason)], now)
            self._move(cursor, positions, now)
        log.error("parked %s at %s:%d: %s", *_place(work), reason)

    def _apply_amendments(
        self, cursor: CursorWrapper, amends: Sequence[Work], sums: Sums, now: int
    ) -> list[Refused]:
        refused = []
        for work in amends:
            try:
                payload = work.line.payload()
                price = payload.get("price")
                if price:
                    known = orjson.dumps(price)
                    self._learn_prices(cursor, {known}, now)
                    payload["record"]["price_id"] = self._price_ids[known]
                amend(cursor, self._records, self._attempts, payload, sums)
            except UNREADABLE as error:
                refused.append(Refused(work, f"{type(error).__name__}: {error}"))
        return refused


def _in_order(
    model: type[models.Model], first: Sequence[str], line: type[msgspec.Struct], converted: int
) -> tuple[str, ...]:
    """The columns of a table as ordinary lines give them: what must be converted, the line's other places,
    and what no line tells."""
    told = (*first, *line.__struct_fields__[converted:])
    fields = (field.attname for field in model._meta.concrete_fields)
    return (*told, *(column for column in fields if column not in told))


def _picker(table: Table, columns: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    return itemgetter(*(table.index[column] for column in columns))


def _within_our_time(key: str) -> str:
    """The id in hex digits, if its clock can be right."""
    if not EARLIEST <= int(key[:12], 16) < LATEST:
        raise ValueError("the request id is not one of ours")
    return key


def _json(raw: msgspec.Raw) -> str | None:
    text = str(raw, "utf-8")
    return None if text == "null" else text


def _by_names(line: Line) -> bytes:
    """The line's JSON as it can be read without its segment."""
    if line.kind == FINAL:
        with suppress(*UNREADABLE):
            return orjson.dumps(named(line.payload(), COLUMNS))
    return line.body


def _place(work: Work) -> tuple[str, str, int]:
    return work.line.kind, work.segment, work.line.start
