"""The top-level fields of a JSON request body, read without parsing what stands in them.

A caller's body is hostile input: whatever it holds, reading it gives fields or BadRequest.
"""

from __future__ import annotations

import codecs
import operator
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Annotated, Any, TypeVar

import msgspec

from wire.types import MAX_COUNT, BadRequest

T = TypeVar("T")

MAX_DEPTH = 64
MAX_FIELDS = 10_000
"""Greatest number of fields at the top of a large body: no request has them, and each costs memory."""
LARGE = 256 * 1024
"""From this size on, in bytes, a value is not taken apart into as many objects as its sender likes, and is
read in windows of this size: reading a body takes at most its own size in memory once more."""
GUARDED = frozenset(
    ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n")
)
"""Fields that may be given once: what the relay checks must be what upstream obeys (security.md row 30)."""

_INTEGER = re.compile(rb"-?\d{1,18}")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_BACKSLASHES = re.compile(rb"\\*+.?", re.DOTALL)
_DEPTH_STEPS = bytes(1 if char in b"{[" else 255 for char in range(256))
# What no escape begins or ends with, and no bracket, comma or quote is.
_NEVER_ESCAPED = bytes(char for char in range(256) if char not in b'"{}[],\\/bfnrtu')
_NOT_MARKS = bytes(char for char in range(256) if char not in b'"{}[],')
_EMPTY = frozenset((b"", b"null", b"false", b"[]", b"{}", b'""'))
NOTHING = msgspec.Raw()
"""A field that is absent."""

_MODEL = re.compile(r"^(?!.*(?:\.\.|//))[A-Za-z0-9_.:@/-]{1,200}\Z")
ModelName = Annotated[str, msgspec.Meta(pattern=_MODEL.pattern)]
"""A model's name as `checked_model` takes it."""
Integer = Annotated[int, msgspec.Meta(gt=-(10**18), lt=10**18)]
"""An integer as `Fields.integer` takes it."""


class TooManyFields(Exception):
    """A large body has more than MAX_FIELDS fields."""


class Name(str):
    """A key as it stands in the body. Equal keys are different names, so that a mapping keeps each of
    them."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__
    __ne__ = object.__ne__


def _counted_name() -> Callable[[type, Any], Name]:
    left = MAX_FIELDS

    def name(_type: type, text: Any) -> Name:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooManyFields
        return Name(text)

    return name


_FIELDS = msgspec.json.Decoder(dict[Name, msgspec.Raw], dec_hook=operator.call)  # no frame for a name
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def plain(body: bytes) -> bytes:
    """The body with each surrogate escape replaced by one of a harmless character, of the same length: a lone
    surrogate is valid JSON but not to the parser. For reading only; positions stay the same."""
    if b"\\ud" not in body and b"\\uD" not in body:
        return body
    if len(body) <= LARGE:
        return _SURROGATE.sub(rb"\\uFFFD", body)
    changed, at = bytearray(body), 0
    while at < len(body):
        end = at + LARGE
        last = body.rfind(b"\\", end - 5, end)  # an escape that the window may cut
        end = last if last >= 0 else end
        changed[at:end] = _SURROGATE.sub(rb"\\uFFFD", body[at:end])
        at = end
    return changed  # type: ignore[return-value]  # one copy is enough, and nobody writes to it


def check_utf8(body: bytes) -> None:
    """Raises UnicodeDecodeError where the body is not UTF-8."""
    if body.isascii():
        return
    if len(body) <= LARGE:
        body.decode("utf-8")
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for at in range(0, len(body), LARGE):
        decoder.decode(body[at : at + LARGE])
    decoder.decode(b"", final=True)


def parsed_fields(body: bytes) -> tuple[bytes, dict[Name, msgspec.Raw]]:
    """As `raw_fields`, also of a body with lone surrogates; with it the body as it was read."""
    try:
        return body, raw_fields(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        readable = plain(body)
        if readable is body:
            raise
        return readable, raw_fields(readable)


def parsed_items(body: bytes) -> tuple[bytes, list[msgspec.Raw]]:
    """As `raw_items`, also of an array with lone surrogates; with it the array as it was read."""
    try:
        return body, raw_items(body)
    except msgspec.DecodeError:
        readable = plain(body)
        return readable, raw_items(readable)


def raw_fields(body: bytes) -> dict[Name, msgspec.Raw]:
    """Every top-level field in order, repeated ones too. Raises msgspec.MsgspecError, RecursionError or
    TooManyFields."""
    if len(body) > LARGE:
        return msgspec.json.Decoder(dict[Name, msgspec.Raw], dec_hook=_counted_name()).decode(body)
    return _FIELDS.decode(body)


def raw_items(body: bytes) -> list[msgspec.Raw]:
    """The elements of a JSON array. Raises msgspec.MsgspecError or RecursionError."""
    return _ITEMS.decode(body)


class Fields:
    """The top-level fields of a body, by name; of a repeated one the last."""

    __slots__ = ("_raws",)

    def __init__(self, found: Mapping[Name, msgspec.Raw], guarded: frozenset[str] = GUARDED) -> None:
        """Raises BadRequest where a guarded field is repeated."""
        self._raws = dict(zip(map(str, found), found.values(), strict=True))
        if len(self._raws) < len(found):
            seen = set()
            for name in map(str, found):
                if name in guarded and name in seen:
                    raise BadRequest(f"'{name}' is given more than once", param=name)
                seen.add(name)

    def __len__(self) -> int:
        return len(self._raws)

    def __contains__(self, name: str) -> bool:
        return name in self._raws

    def raw(self, name: str) -> bytes:
        """The field's bytes; `null` where it is absent."""
        raw = self._raws.get(name)
        return b"null" if raw is None else bytes(raw)

    def value(self, name: str) -> msgspec.Raw:
        """The field as it stands there; NOTHING where it is absent."""
        return self._raws.get(name, NOTHING)

    def given(self, name: str) -> bool:
        """Whether the field holds something: not absent, null, false, "", an empty list or object."""
        return holds(self.value(name))

    def flag(self, name: str) -> bool:
        """A boolean, false where absent or null. Raises BadRequest for anything else."""
        value = self.raw(name)
        if value == b"true":
            return True
        if value in (b"false", b"null"):
            return False
        raise BadRequest(f"'{name}' must be true or false", param=name)

    def said(self, name: str) -> bool | None:
        """A boolean, None where absent or null. Raises BadRequest for anything else."""
        return None if self.raw(name) == b"null" else self.flag(name)

    def integer(self, name: str) -> int | None:
        """An integer of at most 18 digits, else None: a wrong value is upstream's to refuse."""
        raw = self._raws.get(name)
        value = bytes(raw) if raw is not None else b""
        return int(value) if value and _INTEGER.fullmatch(value) else None

    def text(self, name: str) -> str:
        """A string, else empty."""
        raw = self._raws.get(name)
        value = bytes(raw) if raw is not None else b""
        return _TEXT.decode(value) if value[:1] == b'"' else ""

    def within(self, *names: str, guarded: frozenset[str] = frozenset()) -> Fields:
        """The fields of the first of these fields that is an object; none where none is."""
        for name in names:
            raw = self._raws.get(name)
            value = bytes(raw) if raw is not None else b""
            if value[:1] == b"{":
                return Fields(raw_fields(value), guarded)
        return _NO_FIELDS

    def count(self, name: str) -> int:
        """A number of repetitions: at least 1."""
        return repetitions(self.integer(name))


_NO_FIELDS = Fields({})


def holds(raw: msgspec.Raw) -> bool:
    """Whether a field is more than absent, null, false, "", an empty list or object."""
    if len(memoryview(raw)) > 64:
        return True
    value = bytes(raw)
    return value not in _EMPTY and not (value[:1] in b"[{" and not value[1:-1].strip())


def repetitions(number: int | None) -> int:
    """A number of repetitions: at least 1."""
    return min(number, MAX_COUNT) if number is not None and number > 0 else 1


def word_in(raw: msgspec.Raw, name: str) -> str:
    """The string of this name in an object; empty where there is none."""
    value = bytes(raw)
    return Fields(raw_fields(value)).text(name) if value[:1] == b"{" else ""


def ordinary(body: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """A request as the decoder's type tells it, read by the C library alone. None where something about it
    wants a closer look (`read_fields`): it is not valid, repeats a field, may nest too deep, or holds a value
    of another type."""
    try:
        if not body.isascii():
            check_utf8(body)  # the parser does not look into the strings that it skips
        found = raw_fields(body)
        if len(set(map(str, found))) < len(found) or _too_deep(body):
            return None
        return decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, TooManyFields, UnicodeDecodeError):
        return None


def read_fields(body: bytes, guarded: frozenset[str] = GUARDED) -> Fields:
    """Checks that a body is a JSON object that every parser reads alike, and gives its fields. Raises
    BadRequest: not JSON, not UTF-8, a byte order mark, NaN or Infinity, nested deeper than 64, a guarded
    field twice."""
    try:
        found = _read(body)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8") from None
    except RecursionError:
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except TooManyFields:
        raise BadRequest(f"the body has more than {MAX_FIELDS} fields") from None
    except msgspec.ValidationError:
        raise BadRequest("the body must be a JSON object") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {_reason(error)}") from None
    fields = Fields(found, guarded)
    if _too_deep(body):
        raise BadRequest(f"the body is nested deeper than {MAX_DEPTH} levels")
    return fields


def _read(body: bytes) -> dict[Name, msgspec.Raw]:
    check_utf8(body)  # the parser does not look into the strings that it skips
    return parsed_fields(body)[1]


def _reason(error: Exception) -> str:
    return str(error).removeprefix("JSON is malformed: ")


def read_model(fields: Fields) -> str:
    """The model's name from the body. Raises BadRequest."""
    if not fields.given("model"):
        raise BadRequest("'model' is missing", param="model")
    return checked_model(fields.text("model"))


def checked_model(name: str) -> str:
    """The name, where it is one. Raises BadRequest: it becomes part of an address."""
    if not _MODEL.match(name):
        raise BadRequest("'model' is not a valid model name", param="model")
    return name


def elements(raw: bytes, decode: Callable[[bytes], list[T]]) -> list[T]:
    """The elements of a list that may be something else, which then has none."""
    if raw[:1] != b"[":
        return []
    try:
        return decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return []


def part_needs(
    messages: bytes, needs: Mapping[str, str], types: Callable[[bytes], Iterable[str]]
) -> set[str]:
    """The capabilities that the types of content parts ask for. `types` reads them out of the messages; in
    large ones it is enough that the word stands there as a JSON string."""
    if b'"type"' not in messages:
        return set()
    if len(messages) > LARGE:
        return {need for kind, need in needs.items() if f'"{kind}"'.encode() in messages}
    return {needs[kind] for kind in types(messages) if kind in needs}


def length(value: bytes) -> int:
    """The number of elements of a JSON array; 1 for anything else. Of a large one that holds more than
    strings it is an upper bound."""
    if value[:1] != b"[":
        return 1
    if len(value) > LARGE:
        return sum(part.count(b",") for part in _outside_strings(value)) + 1
    return max(1, len(raw_items(value)))


def _too_deep(body: bytes) -> bool:
    """Whether brackets nest deeper than MAX_DEPTH. They are followed only in a body that has so many, in text
    or not, that there is a doubt."""
    return not _openers_within(body, MAX_DEPTH) and depth(body) > MAX_DEPTH


def _openers_within(data: bytes, limit: int) -> bool:
    if len(data) < 4096:
        return data.count(b"{") + data.count(b"[") <= limit
    for mark in (b"{", b"["):
        at = data.find(mark)
        while at >= 0:
            limit -= 1
            if limit < 0:
                return False
            at = data.find(mark, at + 1)
    return True


def depth(value: bytes) -> int:
    """How deep brackets nest in valid JSON; `{}` is 1."""
    level = deepest = 0
    for part in _outside_strings(value):
        steps = array("b", part.translate(_DEPTH_STEPS, b","))
        highest = max(accumulate(steps, initial=level))
        deepest = max(deepest, highest)
        level += part.count(b"{") + part.count(b"[") - part.count(b"}") - part.count(b"]")
    return deepest


def _outside_strings(value: bytes) -> Iterator[bytes]:
    """The brackets and commas that stand outside of strings in valid JSON, in pieces."""
    at, inside = 0, False
    while at < len(value):
        end = at + LARGE
        if value[end - 1 : end] == b"\\":  # an escape must not be parted
            end = _BACKSLASHES.match(value, end).end()  # type: ignore[union-attr]  # matches nothing, too
        part, at = value[at:end], end
        if b"\\" in part:
            part = part.translate(None, _NEVER_ESCAPED)  # less to look through for escapes
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        pieces = part.translate(None, _NOT_MARKS).split(b'"')
        yield b"".join(pieces[inside::2])
        inside ^= len(pieces) % 2 == 0
