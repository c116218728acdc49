"""Plain SQL for the ledger's tables: journal values to database values, and multi-row statements.

Model instances cost ten times what this does (performance.md). Journal values are JSON: instants are Unix
milliseconds, money whole pico-dollars, ids text.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from types import NoneType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.utils import CursorWrapper

from usage.framing import presentable

log = logging.getLogger(__name__)

Convert = Callable[[Any], Any]
Row = list[Any]

MOST_PARAMETERS = 32_000
"""SQLite takes 32,766 parameters in one statement, PostgreSQL 65,535."""
NO_LIMIT = 2**31
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Step(NamedTuple):
    """How one column takes a value. A value of exactly type `plain` between `least` and `most` (for text:
    ASCII of at most that many characters) goes in as it is; all else through `convert`."""

    place: int
    plain: type
    least: int
    most: int
    convert: Convert
    nullable: bool
    default: Any


class Table:
    """One model's table. `columns` are in the order of its rows; a row is a list of database values."""

    def __init__(
        self, model: type[models.Model], connection: BaseDatabaseWrapper, columns: Sequence[str] = ()
    ) -> None:
        """All columns but a serial number, or those named, in their order."""
        quote = connection.ops.quote_name
        known = {
            field.attname: field
            for field in model._meta.concrete_fields
            if not isinstance(field, models.AutoField | models.BigAutoField)
        }
        self.columns = tuple(columns) or tuple(known)
        fields = [known[column] for column in self.columns]
        self.name = quote(model._meta.db_table)
        self.index = {column: place for place, column in enumerate(self.columns)}
        self._quoted = [quote(column) for column in self.columns]
        self._steps = {field.attname: _step(place, field, connection) for place, field in enumerate(fields)}
        self._defaults: Row = [step.default for step in self._steps.values()]
        self._unknown: set[str] = set()
        self._json = [place for place, field in enumerate(fields) if isinstance(field, models.JSONField)]
        listed = ", ".join(self._quoted)
        self._into = f"INSERT INTO {self.name} AS old ({listed})"
        self._values = f"VALUES ({placeholders(fields)})"
        binary = any(isinstance(field, models.BinaryField) for field in fields)
        self._recordset = ""
        if connection.vendor == "postgresql" and not binary:
            types = [field.db_parameters(connection)["type"] for field in fields]
            self._recordset = ", ".join(
                f"{name} {kind}" for name, kind in zip(self._quoted, types, strict=True)
            )
        self._from_json = f"SELECT {listed} FROM json_to_recordset(%s::json) AS given({self._recordset})"

    def row(self, values: Mapping[str, Any]) -> Row:
        """Database values of all columns; what `values` lacks is the column's default. Names that are no
        columns are told to the log, once each. Raises ValueError, TypeError or OverflowError for what fits no
        column."""
        row = self._defaults.copy()
        steps = self._steps
        for name, value in values.items():
            step = steps.get(name)
            if step is None:
                self._tell(name)
                continue
            place, plain, least, most, convert, nullable, default = step
            given = type(value)
            if value is None:
                row[place] = None if nullable else default
            elif given is not plain:
                row[place] = convert(value)
            elif plain is int:
                row[place] = value if least <= value <= most else convert(value)
            elif plain is str:
                clean = value.isascii() and len(value) <= most and "\0" not in value
                row[place] = value if clean else convert(value)
            else:
                row[place] = value
        return row

    def converter(self, name: str) -> Convert:
        """What makes a database value of one column from a journal's."""
        return self._steps[name].convert

    def value(self, name: str, value: Any) -> Any:
        """The database value of one column; its default where None is given and not allowed. Raises as
        `row`."""
        step = self._steps[name]
        if value is None:
            return None if step.nullable else step.default
        return step.convert(value)

    def insert(self, cursor: CursorWrapper, rows: Sequence[Row], *, conflict: str = "DO NOTHING") -> None:
        """Inserts `rows`; in `conflict` the row that is there is `old`."""
        if not rows:
            return
        if self._recordset:
            cursor.execute(f"{self._into} {self._from_json} ON CONFLICT {conflict}", [self._as_json(rows)])
        else:
            cursor.executemany(f"{self._into} {self._values} ON CONFLICT {conflict}", rows)

    def insert_new(self, cursor: CursorWrapper, rows: Sequence[Row]) -> list[Row]:
        """Inserts the rows whose first column, the primary key, is not there yet; returns those. The keys are
        UUIDs as 32 hex digits, each given once."""
        if not rows:
            return []
        key = self._quoted[0]
        if self._recordset:
            sql = f"{self._into} {self._from_json} ON CONFLICT DO NOTHING RETURNING {key}"
            cursor.execute(sql, [self._as_json(rows)])
            added = {uuid_hex(value) for (value,) in cursor.fetchall()}
            return [row for row in rows if row[0] in added]
        # Nobody writes between the two: a transaction of ours holds SQLite's one lock from its start.
        sql = f"SELECT {key} FROM {self.name} WHERE {key} IN (SELECT value FROM json_each(%s))"
        cursor.execute(sql, [orjson.dumps([row[0] for row in rows]).decode()])
        known = {value for (value,) in cursor.fetchall()}
        new = [row for row in rows if row[0] not in known] if known else list(rows)
        self.insert(cursor, new)
        return new

    def _as_json(self, rows: Sequence[Row]) -> str:
        """All rows in one parameter. Fifteen thousand of them cost psycopg thirty times more."""
        objects = []
        for row in rows:
            values = dict(zip(self.columns, row, strict=True))
            for place in self._json:
                if row[place] is not None:
                    values[self.columns[place]] = orjson.Fragment(row[place])
            objects.append(values)
        return orjson.dumps(objects).decode()

    def _tell(self, name: str) -> None:
        if name not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(name)
            log.warning("a journal line speaks of the column %s, which %s does not have", name, self.name)


def in_parts(rows: Sequence[Any], most: int) -> Iterator[Sequence[Any]]:
    """The rows in parts of at most `most`."""
    for start in range(0, len(rows), most):
        yield rows[start : start + most]


def placeholders(values: Iterable[object]) -> str:
    """As many placeholders as there are values, for IN."""
    return ", ".join("%s" for _ in values)


def instant(milliseconds: int) -> datetime:
    """The instant of a Unix time in milliseconds. Raises OverflowError where no calendar reaches."""
    return EPOCH + timedelta(milliseconds=milliseconds)


def uuid_hex(value: Any) -> str:
    """A UUID as the database gives it, as 32 hex digits."""
    return value.hex if isinstance(value, UUID) else str(value)


def clean_text(value: Any, most: int | None = None) -> str:
    """Text that every database takes: NUL and lone surrogates become U+FFFD, beyond `most` it is cut."""
    text = value if isinstance(value, str) else str(value)
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text)
    return text if most is None else text[:most]


def clean_json(value: Any) -> str:
    """JSON text that every database takes."""
    try:
        data = orjson.dumps(value)
    except TypeError:
        data = orjson.dumps(presentable(value))
    if b"\\u0000" in data:
        data = orjson.dumps(_without_nul(presentable(value)))
    return data.decode()


def _step(place: int, field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> _Step:
    target = field.target_field if isinstance(field, models.ForeignKey) else field
    kind = target.get_internal_type()
    plain: type = NoneType
    least = most = 0
    if kind == "UUIDField":
        convert: Convert = _uuid_digits
    elif kind == "DateTimeField":
        convert = _instants(connection)
    elif kind in BaseDatabaseOperations.integer_field_ranges:
        least, most = BaseDatabaseOperations.integer_field_ranges[kind]
        plain, convert = int, partial(_clamped, least=least, most=most)
    elif kind == "BooleanField":
        plain, convert = bool, bool
    elif kind == "FloatField":
        convert = float
    elif kind == "JSONField":
        convert = clean_json
    elif kind == "GenericIPAddressField":
        convert = _address
    elif kind == "BinaryField":
        convert = bytes
    else:
        plain, most = str, target.max_length or NO_LIMIT
        convert = partial(clean_text, most=most)
    return _Step(place, plain, least, most, convert, field.null, _default(field, connection))


def _clamped(value: Any, *, least: int, most: int) -> int:
    return min(max(int(value), least), most)


def _uuid_digits(value: Any) -> str:
    return (value if isinstance(value, UUID) else UUID(str(value))).hex


def _instants(connection: BaseDatabaseWrapper) -> Convert:
    """Unix milliseconds to this database's way of writing an instant; a request's lines share theirs."""
    adapt = connection.ops.adapt_datetimefield_value

    @lru_cache(maxsize=1024)
    def convert(value: Any) -> Any:
        return adapt(instant(int(value)))

    @lru_cache(maxsize=64)
    def second(value: int) -> str:
        return str(convert(value * 1000))

    def convert_text(value: Any) -> str:
        seconds, milliseconds = divmod(int(value), 1000)
        return f"{second(seconds)}.{milliseconds:03}000" if milliseconds else second(seconds)

    return convert_text if connection.vendor == "sqlite" else convert


def _default(field: models.Field[Any, Any], connection: BaseDatabaseWrapper) -> Any:
    """The database value of a column that nobody gave a value."""
    if field.has_default():
        if isinstance(field, models.JSONField):
            return clean_json(field.get_default())
        return field.get_db_prep_save(field.get_default(), connection)
    return "" if field.empty_strings_allowed and not field.null else None


@lru_cache(maxsize=4096)
def _address(value: Any) -> str | None:
    try:
        return str(ipaddress.ip_address(str(value).partition("%")[0]))
    except ValueError:
        return None


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    return value
