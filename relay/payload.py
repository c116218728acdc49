"""A request's body between client and upstream: JSON in memory, a form spooled to a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from providers.types import Target
from wire import FORMATS, quirks
from wire.multipart import Form, FormScanner
from wire.types import GENERATE, BadRequest, Brief

IN_MEMORY = 1 << 20
CHUNK = 1 << 16


class Sendable(msgspec.Struct, eq=False):
    """What one attempt sends: bytes, or pieces whose lengths add up to `size`."""

    data: bytes | Iterator[bytes]
    size: int


class Payload(Protocol):
    """A body that can be sent once an attempt, to whichever target."""

    def outgoing(self, target: Target, brief: Brief) -> Sendable:
        """The body for a target: the client's own but for the model's name and what metering needs."""

    def close(self) -> None:
        """Lets go of what it holds. Safe to call twice."""


class JsonBody(msgspec.Struct, eq=False):
    """A body in memory."""

    data: bytes

    def __repr__(self) -> str:
        return f"<JsonBody of {len(self.data)} bytes>"

    def outgoing(self, target: Target, brief: Brief) -> Sendable:
        ask_usage = "no_include_usage" not in target.quirks
        data = FORMATS[target.format].retarget(
            self.data, brief, model=target.upstream_name, ask_usage=ask_usage
        )
        if target.quirks & quirks.EDITED and brief.kind == GENERATE:
            data = quirks.edited(data, target.quirks)
        return Sendable(data, len(data))

    def close(self) -> None:
        self.data = b""


class Upload:
    """A multipart form: up to 1 MB in memory, beyond it in an unnamed file under the data directory, which is
    gone with its last handle, whatever ends the process. Raises BadRequest where the content type is none of
    a form."""

    def __init__(self, directory: Path, content_type: str) -> None:
        self._scanner = FormScanner(content_type)  # first: it may refuse, and then nothing is to be let go
        directory.mkdir(mode=0o700, exist_ok=True)
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=str(directory))  # noqa: SIM115
        self._form: Form | None = None

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the form. Raises BadRequest where it is none."""
        self._scanner.feed(chunk)
        self._file.write(chunk)

    def finish(self) -> Form:
        """The form at its end. Raises BadRequest where it is cut short."""
        self._form = self._scanner.finish()
        return self._form

    def outgoing(self, target: Target, brief: Brief) -> Sendable:
        if self._form is None:
            raise BadRequest("the form was not read to its end")
        return Sendable(
            self._pieces(self._form, target.upstream_name), self._form.retargeted_size(target.upstream_name)
        )

    def _pieces(self, form: Form, model: str) -> Iterator[bytes]:
        for piece in form.pieces(model):
            if isinstance(piece, bytes):
                yield piece
                continue
            position, end = piece
            while position < end:
                self._file.seek(position)
                data = self._file.read(min(CHUNK, end - position))
                position += len(data)
                yield data

    def close(self) -> None:
        self._file.close()
