"""What each wire format must do to take part in conversion. Everything is pure: no clock, no chance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import msgspec

from wire.neutral.events import Event, Reply
from wire.neutral.requests import Request, Target, Written
from wire.sse import Frame
from wire.types import Brief


class Asked(msgspec.Struct, frozen=True):
    """What readers and writers of answers must know of the request: its own id here and the time (Unix
    seconds), the model as the client called it, what was asked, about how many tokens the input is, for
    dialects that tell it first (conversion.md, 17), and the quirks of the endpoint that answers."""

    id: str
    now: int
    model: str
    brief: Brief
    request: Request
    input_estimate: int = 0
    quirks: frozenset[str] = frozenset()


class Decoder(Protocol):
    """Reads one streamed answer. Frames come whole, in order; those with an error are never shown to it."""

    def feed(self, frame: Frame) -> Iterable[Event]:
        """The events that a frame tells. Raises BadFrame where it cannot be read."""

    def finish(self) -> Iterable[Event]:
        """What is left to tell once the answer has ended; parts still open are ended here. No Over: whoever
        knows the usage tells it."""


class Encoder(Protocol):
    """Writes one streamed answer."""

    sequence: int
    """How many events were written: Responses counts them."""

    def feed(self, event: Event) -> bytes:
        """The bytes that tell an event. Of Over: the end of the stream."""


class Dialect(Protocol):
    """One wire format, both ways. Stateless."""

    name: str
    addresses: frozenset[str]
    """Kinds of Media that may stand by their address (http or https) in its requests."""

    def read_request(
        self, body: bytes, brief: Brief, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Request:
        """Raises BadRequest naming the field."""

    def write_request(self, request: Request, target: Target) -> Written:
        """Raises CannotHold where content has no place; BadRequest where the request is broken in itself
        (a result without its call), naming the message's index. Settings without a counterpart are dropped
        and told."""

    def path(self, brief: Brief) -> str:
        """The path that a client of this format would have called, for `WireFormat.upstream_url`."""

    def decoder(self, asked: Asked) -> Decoder:
        """A fresh one for one streamed answer of this format. Ids that the vendor does not give are made
        from `asked.id` and a count, so that nothing needs chance."""

    def read_reply(self, body: bytes, asked: Asked) -> Reply:
        """A whole answer, errors apart. Raises BadFrame."""

    def encoder(self, asked: Asked) -> Encoder:
        """A fresh one for one streamed answer in this format."""

    def write_reply(self, reply: Reply, asked: Asked) -> bytes:
        """A whole answer's body: what a client of this format gets for the same events folded."""

    def spelled(self, knob: str) -> str:
        """A field of the middle (`KNOBS`, or a field of Request) as this format calls it, for people."""
