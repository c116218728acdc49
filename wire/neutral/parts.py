"""What messages are made of, whoever says them.

A part's `extras` is its bag: what one dialect alone understands, under that dialect's name, so that going
back to it restores it. `cache` is a cache mark's time to live: `5m`, `1h`, or "" for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Extras = Mapping[str, Mapping[str, Any]]
"""By the name of a format: keys and values as they stand on its wire."""
NONE: Extras = {}


class Signature(msgspec.Struct, frozen=True):
    """A vendor's seal on its reasoning or on a tool call, which it wants back unaltered. `origin` is the
    format that it came in: no other understands it. `id` is the item's own in Responses, whose `value` is
    the encrypted content."""

    origin: str
    value: str
    id: str = ""


class Text(msgspec.Struct, frozen=True):
    """Words. Gemini signs them too."""

    text: str
    signature: Signature | None = None
    cache: str = ""
    extras: Extras = NONE


class Thinking(msgspec.Struct, frozen=True):
    """Reasoning, or a summary of it. Without text: what the vendor showed sealed alone (Anthropic's
    `redacted_thinking`, a Responses item without a summary)."""

    text: str = ""
    signature: Signature | None = None
    extras: Extras = NONE


class Media(msgspec.Struct, frozen=True):
    """A picture, document, sound or film: `data` (base64) with its `mime` type, an `url`, or `file_id`, a
    file that the vendor holds; the others are "". `detail` is OpenAI's fineness of a picture."""

    kind: Literal["image", "document", "audio", "video"]
    mime: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    cache: str = ""
    extras: Extras = NONE


class ToolCall(msgspec.Struct, frozen=True):
    """The model's wish to have a tool called. `arguments` is JSON as text, as the vendor wrote it, "" for
    none; free text where the tool is a `custom` one of Responses."""

    id: str
    name: str
    arguments: str = ""
    custom: bool = False
    signature: Signature | None = None
    cache: str = ""
    extras: Extras = NONE


class ToolResult(msgspec.Struct, frozen=True):
    """What came of a call. `parts` are Text and Media. `name` is the tool's, where the dialect says it."""

    call_id: str
    parts: tuple[Part, ...] = ()
    name: str = ""
    failed: bool = False
    custom: bool = False
    cache: str = ""
    extras: Extras = NONE


class Refusal(msgspec.Struct, frozen=True):
    """The model's words where it will not answer."""

    text: str


class Foreign(msgspec.Struct, frozen=True):
    """A block that only `origin` understands (a built-in tool's call, its result), as it stood on its
    wire."""

    origin: str
    value: Mapping[str, Any]


Part = Text | Thinking | Media | ToolCall | ToolResult | Refusal | Foreign
Role = Literal["system", "user", "assistant"]


class Turn(msgspec.Struct, frozen=True):
    """A message. Results of tools stand in the user's; `developer` is `system`."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""
    extras: Extras = NONE
