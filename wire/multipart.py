"""A multipart form read as it goes by: where its small fields stand, so that upstream gets every other byte
as it was.

The rules are strict where parsers differ: what the relay reads as the model must be what upstream reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from wire.body import checked_model
from wire.types import MAX_COUNT, BadRequest, Brief

FIELDS = frozenset(("model", "stream", "n"))
"""The fields that are read; each may be given once."""
MAX_HEAD = 16 * 1024
"""Greatest head of one part, in bytes."""
MAX_VALUE = 1024
"""Greatest value of a field that is read."""
MAX_PARTS = 1000

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\\]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)', re.IGNORECASE)
_BOUNDARY_CHARS = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]*[0-9A-Za-z'()+_,\-./:=?]")
_DISPOSITION = re.compile(rb"content-disposition[ \t]*:[ \t]*form-data[ \t]*(;.*)?", re.IGNORECASE)
_CODED_NAME = re.compile(rb";[ \t]*name[ \t]*\*", re.IGNORECASE)
_FILE = re.compile(rb";[ \t]*filename", re.IGNORECASE)
_CODED = (b"content-transfer-encoding", b" ", b"\t")
_NAME = re.compile(rb';[ \t]*name[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Value:
    """One field's value and where it stands: bytes `start` to `end` of the form."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Form:
    """What was read of a form. `size` is its length in bytes."""

    values: Mapping[str, Value] = field(default_factory=lambda: MappingProxyType({}))
    size: int = 0

    def brief(self, kind: str) -> Brief:
        """What the relay must know of the request. Raises BadRequest."""
        if "model" not in self.values:
            raise BadRequest("'model' is missing", param="model")
        count = self._text("n")
        number = int(count) if count.isascii() and count.isdigit() and len(count) < 19 else 1
        return Brief(
            model=checked_model(self._text("model")),
            kind=kind,
            stream=self._text("stream").lower() in ("true", "1", "yes", "on"),
            count=min(max(number, 1), MAX_COUNT),
        )

    def retargeted_size(self, model: str) -> int:
        """The length of the form under another model name."""
        old = self.values["model"]
        return self.size - (old.end - old.start) + len(model.encode())

    def pieces(self, model: str) -> Iterator[bytes | tuple[int, int]]:
        """The form under another model name: bytes to send, or a range (start, end) of the form as it
        came."""
        old = self.values["model"]
        yield 0, old.start
        yield model.encode()
        yield old.end, self.size

    def _text(self, name: str) -> str:
        value = self.values.get(name)
        return value.text if value else ""


class FormScanner:
    """Reads a form in chunks of any size and remembers little of it. Every method raises BadRequest where the
    form is not one."""

    def __init__(self, content_type: str) -> None:
        match = _BOUNDARY.search(content_type)
        boundary = (match[1] or match[2]) if match else ""
        if not content_type.lower().startswith("multipart/form-data") or not _BOUNDARY_CHARS.fullmatch(
            boundary
        ):
            raise BadRequest("the content type must be multipart/form-data with a boundary")
        self._mark = b"\r\n--" + boundary.encode()
        # A delimiter starts with a line end; before the first one there may be none.
        self._held = b"\r\n"
        self._at = -2
        self._state = self._preamble
        self._values: dict[str, Value] = {}
        self._name = ""
        self._parts = 0
        self._start = -2
        self._value = b""
        self._closed = False

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the form."""
        self._held += chunk
        while self._state():
            pass

    def finish(self) -> Form:
        """The form at its end."""
        if not self._closed:
            raise BadRequest("the form ends before its closing boundary")
        return Form(MappingProxyType(self._values), self._at + len(self._held))

    def _drop(self, size: int) -> None:
        self._held = self._held[size:]
        self._at += size

    def _preamble(self) -> bool:
        return self._until_mark(keep=False)

    def _content(self) -> bool:
        return self._until_mark(keep=bool(self._name))

    def _until_mark(self, *, keep: bool) -> bool:
        """Goes on to the next delimiter; keeps what stands before it where it is a value that is read."""
        found = self._held.find(self._mark)
        passed = found if found >= 0 else max(0, len(self._held) - len(self._mark))
        if keep:
            self._value += self._held[:passed]
            if len(self._value) > MAX_VALUE:
                raise BadRequest(f"'{self._name}' is too long", param=self._name)
        if found < 0:
            self._drop(passed)
            return False
        if self._at + found < self._start:
            raise BadRequest("a part of the form has no content")
        if keep:
            self._keep_value(self._at + found)
        self._drop(found + len(self._mark))
        self._state = self._delimiter
        return True

    def _keep_value(self, end: int) -> None:
        try:
            text = self._value[2:].decode("utf-8")
        except UnicodeDecodeError:
            raise BadRequest(f"'{self._name}' is not UTF-8", param=self._name) from None
        self._values[self._name] = Value(text, self._start, end)

    def _delimiter(self) -> bool:
        """What follows the boundary: two dashes at the end of the form, blanks and a line end otherwise."""
        if self._held.startswith(b"--"):
            self._closed = True
            self._state = self._epilogue
            return True
        end = self._held.find(b"\r\n")
        if end < 0 and len(self._held) < 64:
            return False
        if end < 0 or self._held[:end].strip(b" \t"):
            raise BadRequest("the form's boundary is followed by something else than a line end")
        # The line end stays: it is the one before the head's first line.
        self._drop(end)
        self._state = self._head
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise BadRequest(f"the form has more than {MAX_PARTS} parts")
        return True

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held) > MAX_HEAD:
                raise BadRequest("the head of a part is too long")
            return False
        self._name = self._read_head(self._held[2:end] if end else b"")
        # The head's last line end stays, to see a boundary right behind it, which parsers read differently.
        self._drop(end + 2)
        self._start, self._value = self._at + 2, b""
        self._state = self._content
        return True

    def _read_head(self, head: bytes) -> str:
        """The part's name where it is a field that is read, else empty."""
        lines = head.split(b"\r\n")
        dispositions = [line for line in lines if line.lower().startswith(b"content-disposition")]
        match = _DISPOSITION.fullmatch(dispositions[0]) if len(dispositions) == 1 else None
        given = (match[1] or b"") if match else b""
        names = [quoted or bare for quoted, bare in _NAME.findall(given)]
        if len(names) != 1 or _CODED_NAME.search(given):
            raise BadRequest("a part of the form has no plain name")
        name: str = names[0].replace(b"\\", b"").decode("utf-8", "replace")
        if name not in FIELDS:
            return ""
        if _FILE.search(given) or any(line.lower().startswith(_CODED) for line in lines):
            raise BadRequest(f"'{name}' must be a plain field", param=name)
        if name in self._values:
            raise BadRequest(f"'{name}' is given more than once", param=name)
        return name

    def _epilogue(self) -> bool:
        """Nothing after the end counts, but its length does."""
        self._drop(len(self._held))
        return False
