"""An answer as it comes: what every dialect's stream says, in neutral words.

In order: one Start; for each part PartStart, PartDelta any number of times, PartEnd; a Finish for each
choice; one Over. Parts of one choice have an `index` of their own, counted from 0 without gaps, and may be
open at the same time (OpenAI's parallel tool calls): who cannot write that asks `order.one_by_one`. An answer
that breaks off has no Over. Upstream's errors are no events: `wire.format.StreamWatch` knows them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from wire.neutral.parts import NONE, Extras, Part, Signature
from wire.types import Usage

Reason = Literal[
    "stop",
    "stop_sequence",
    "length",
    "context_length",
    "tool_calls",
    "refusal",
    "pause",
    "malformed_call",
    "other",
]
"""Why a choice ended. `refusal` is also a vendor's filter; `pause` Anthropic's pause_turn."""


class Start(msgspec.Struct, frozen=True):
    """The answer begins: upstream's id for it, the model as upstream calls it, and the usage told so far."""

    id: str = ""
    model: str = ""
    usage: Usage | None = None
    extras: Extras = NONE


class PartStart(msgspec.Struct, frozen=True):
    """A part begins. It holds what is known already: a tool call's id and name, or all of a part that comes
    whole (Media, Foreign). Text, thinking and arguments come in deltas."""

    index: int
    part: Part
    choice: int = 0


class PartDelta(msgspec.Struct, frozen=True):
    """More of a part: of its text, of a tool call's arguments."""

    index: int
    text: str
    choice: int = 0


class PartEnd(msgspec.Struct, frozen=True):
    """A part is whole, and this is its signature, if it has one that its start did not tell. `extras` are
    added to the start's."""

    index: int
    signature: Signature | None = None
    extras: Extras = NONE
    choice: int = 0


class Finish(msgspec.Struct, frozen=True):
    """A choice is whole. `native` is the vendor's own word; `sequence` the stop sequence that ended it."""

    reason: Reason
    native: str = ""
    sequence: str = ""
    choice: int = 0


class Over(msgspec.Struct, frozen=True):
    """The answer is whole. `usage` is that of the ledger; None where upstream told none."""

    usage: Usage | None = None
    extras: Extras = NONE


Event = Start | PartStart | PartDelta | PartEnd | Finish | Over


class Choice(msgspec.Struct, frozen=True):
    """One of the alternatives of a whole answer."""

    parts: tuple[Part, ...]
    finish: Finish


class Reply(msgspec.Struct, frozen=True):
    """A whole answer: its events, folded."""

    start: Start
    choices: tuple[Choice, ...]
    over: Over
