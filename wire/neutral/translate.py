"""From upstream's answer to the client's: streamed as it comes, or whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from wire.format import Passed, StreamWatch
from wire.neutral.collect import fold, unfold
from wire.neutral.dialect import Asked, Dialect
from wire.neutral.events import Event, Finish, Over, PartEnd, PartStart
from wire.neutral.keepsakes import Keeper
from wire.neutral.parts import Text, ToolCall
from wire.neutral.requests import Written
from wire.sse import frames
from wire.types import BadFrame, InbandError, Usage

NOTHING = Passed()
FORGIVEN = 1
"""Frames that could not be read and were skipped, before the answer counts as broken (faults.md)."""


class Translation:
    """A StreamWatch over a stream that goes out in another format. Upstream's own watch tells of usage,
    errors and the end; what it lets through is decoded, and encoded for the client. `late`: usage may come
    behind the end, so that the end is told by `finish` alone."""

    def __init__(
        self,
        inner: StreamWatch,
        upstream: Dialect,
        client: Dialect,
        *,
        asked: Asked,
        written: Written,
        late: bool = False,
    ) -> None:
        self._inner = inner
        self._decoder = upstream.decoder(asked)
        self._encoder = client.encoder(asked)
        self._edit = Edit(written)
        self._late = late
        self._unread = 0
        self._over = False
        self.keeper = Keeper()
        self.farewell = b""
        """What told the client the end."""
        self.error: InbandError | None = None

    @property
    def meaningful(self) -> bool:
        """Whether content, or the end, has come."""
        return self._inner.meaningful

    @property
    def ended(self) -> bool:
        """Whether upstream told the end."""
        return self._inner.ended

    @property
    def response_id(self) -> str:
        """Upstream's own."""
        return self._inner.response_id

    @property
    def finish_reason(self) -> str:
        """Why the answer ended, in the vendor's words."""
        return self._inner.finish_reason

    @property
    def frames(self) -> int:
        """Upstream's frames."""
        return self._inner.frames

    @property
    def data_frames(self) -> int:
        """Upstream's frames with data."""
        return self._inner.data_frames

    @property
    def sequence(self) -> int:
        """How many events the client was told."""
        return self._encoder.sequence

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of delivered text."""
        return self._inner.text_bytes

    def usage(self) -> Usage:
        """The tokens derived from all reports so far."""
        return self._inner.usage()

    def feed(self, data: bytes) -> Passed:
        """Takes one read. Raises FrameTooLarge; raises BadFrame only before the first meaningful frame."""
        return self._take(self._inner.feed(data))

    def finish(self) -> Passed:
        """Tells end of file."""
        passed = self._take(self._inner.finish())
        if self._late and self._inner.ended:
            passed = self._ended(passed.out)
        return passed

    def _take(self, passed: Passed) -> Passed:
        if self._over or self._failed():
            return NOTHING
        out = self._told(passed.out) if passed.out else b""
        if self._failed() or not self._inner.ended:
            return Passed(out)
        out += self._told(passed.end)
        return Passed(out) if self._late else self._ended(out)

    def _ended(self, out: bytes) -> Passed:
        """What is told with the end. What could not be told to its end is no end: it goes out at once, and
        the error follows."""
        end = self._end()
        return Passed(out, end) if self.error is None else Passed(out + end)

    def _failed(self) -> bool:
        self.error = self.error or self._inner.error
        return self.error is not None

    def _told(self, block: bytes) -> bytes:
        """Decodes whole frames, and encodes what they tell."""
        out: list[bytes] = []
        for frame in frames(block):
            if not frame.data or frame.data.startswith(b"[DONE]"):
                continue
            try:
                events = list(self._decoder.feed(frame))
            except BadFrame as error:
                self._unread += 1
                if self._unread > FORGIVEN:
                    self._break(error)
                    break
                continue
            if not self._write(events, out):
                break
        return b"".join(out)

    def _write(self, events: Iterable[Event], out: list[bytes]) -> bool:
        try:
            for event in self._edit.apply(events):
                self.keeper.feed(event)
                out.append(self._encoder.feed(event))
        except BadFrame as error:
            self._break(error)
            return False
        return True

    def _break(self, error: BadFrame) -> None:
        # What was told before it still goes out; a raised error would take it along.
        self.error = InbandError(502, "bad_frame", str(error))

    def _end(self) -> bytes:
        """What tells the end; nothing where it was told, or never comes."""
        if self._over or self.error is not None:
            return b""
        self._over = True
        usage = self._inner.usage()
        told = usage if usage.input_reported or usage.output_reported else None
        out: list[bytes] = []
        self._write([*self._decoder.finish(), Over(told)], out)
        self.farewell = b"".join(out)
        return self.farewell


class Edit:
    """Undoes in an answer what writing the request did: tools' names, and the tool that stood for a shape
    (conversion.md, 39 and 57)."""

    def __init__(self, written: Written) -> None:
        self._names = written.names
        self._shaped_by = written.shaped_by
        self._idle = not (written.names or written.shaped_by)
        self._shaped: set[int] = set()

    def apply(self, events: Iterable[Event]) -> Iterable[Event]:
        """The events as the client is to be told them."""
        return events if self._idle else self._edited(events)

    def _edited(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, PartStart) and isinstance(event.part, ToolCall):
                call = event.part
                if call.name == self._shaped_by:
                    self._shaped.add(event.choice)
                    yield PartStart(event.index, Text(call.arguments), event.choice)
                else:
                    name = self._names.get(call.name, call.name)
                    yield PartStart(event.index, msgspec.structs.replace(call, name=name), event.choice)
            elif isinstance(event, Finish) and event.choice in self._shaped and event.reason == "tool_calls":
                yield msgspec.structs.replace(event, reason="stop")
            elif isinstance(event, PartEnd) and event.choice in self._shaped:
                yield msgspec.structs.replace(event, signature=None)
            else:
                yield event


def translated(
    body: bytes, upstream: Dialect, client: Dialect, *, asked: Asked, written: Written, usage: Usage
) -> tuple[bytes, Keeper]:
    """A whole answer in the client's format, and what is to be kept of it. Raises BadFrame."""
    reply = upstream.read_reply(body, asked)
    told = usage if usage.input_reported or usage.output_reported else None
    over = msgspec.structs.replace(reply.over, usage=told)
    events = list(Edit(written).apply(unfold(msgspec.structs.replace(reply, over=over))))
    keeper = Keeper()
    for event in events:
        keeper.feed(event)
    return client.write_reply(fold(events), asked), keeper
