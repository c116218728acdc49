"""An answer as OpenAI Responses tells it: the whole ladder of events, and the response object at its end.

Items come one after another, as OpenAI's do. Every event has its number, every `.done` repeats the whole, and
the last event holds the whole response (conversion.md, 64).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from wire.jsons import as_text, dumps
from wire.neutral import seals
from wire.neutral.collect import merged
from wire.neutral.dialect import Asked
from wire.neutral.events import Event, Finish, Over, PartDelta, PartEnd, PartStart
from wire.neutral.order import OneByOne, Place
from wire.neutral.parts import (
    NONE,
    Extras,
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
)
from wire.neutral.requests import Tool
from wire.neutral.responses_items import MESSAGE, OURS, RAW
from wire.neutral.responses_tools import NAMESPACE, ORIGIN, FreeText, as_list, bare_name, local_call, own
from wire.neutral.responses_writing import TIERS, echo
from wire.types import Usage

_LIMITS: Final = ("length", "context_length")
_MALFORMED: Final = "The model called a tool in a form that could not be read."
_NOTHING: Final = "The model ended without a word ({})."
_PREFIXES: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "local_shell_call": "lsh",
    "tool_search_call": "tsc",
    "image_generation_call": "ig",
}
_FORMS: Final = frozenset(("png", "webp", "jpeg", "gif"))
_LOCAL: Final = frozenset(("local_shell", "tool_search"))


class _Ladder(msgspec.Struct, frozen=True):
    """The events that tell a text: the part's beginning and end (where it is part of an item), and the
    text's. `key` is what the text is called, `place` how parts are counted, `blank` a part as it begins."""

    text: str
    key: str
    part: str = ""
    place: str = ""
    blank: Mapping[str, Any] = {}
    logprobs: bool = False


_TEXT = _Ladder(
    "response.output_text",
    "text",
    "response.content_part",
    "content_index",
    {"type": "output_text", "annotations": [], "logprobs": [], "text": ""},
    logprobs=True,
)
_REFUSAL = _Ladder(
    "response.refusal",
    "refusal",
    "response.content_part",
    "content_index",
    {"type": "refusal", "refusal": ""},
)
_SUMMARY = _Ladder(
    "response.reasoning_summary_text",
    "text",
    "response.reasoning_summary_part",
    "summary_index",
    {"type": "summary_text", "text": ""},
)
_REASONING = _Ladder(
    "response.reasoning_text",
    "text",
    "response.content_part",
    "content_index",
    {"type": "reasoning_text", "text": ""},
)
_NONE = _Ladder("", "")
_ARGUMENTS = _Ladder("response.function_call_arguments", "arguments")
_INPUT = _Ladder("response.custom_tool_call_input", "input")


class Encoder:
    """Writes one answer."""

    def __init__(self, asked: Asked) -> None:
        self.sequence = 0
        self.response: dict[str, Any] = {}
        """The whole response, once the answer is over."""
        self._asked = asked
        self._plain_id = asked.id.replace("-", "")
        self._order = OneByOne()
        self._lower = seals.Lower(ORIGIN, thinking=True)
        self._tools = {tool.name: tool for tool in asked.request.tools if isinstance(tool, Tool)}
        self._base: dict[str, Any] = {}
        self._out: list[bytes] = []
        self._output: list[dict[str, Any]] = []
        self._item: dict[str, Any] = {}
        """The item that is open, if one is; its last part may be whole already."""
        self._finish = Finish("stop")
        self._refused = False
        self._said = False
        """Whether there was anything but thoughts."""
        # The open part:
        self._part: Part | None = None
        self._ladder = _NONE
        self._where: dict[str, Any] = {}
        self._pieces: list[str] = []
        self._free: FreeText | None = None
        """Reads free text that comes as a function's arguments."""
        self._live: Place | None = None
        self._head = self._tail = b""
        """What stands around the text of its deltas; nothing while they are held."""

    def feed(self, event: Event) -> bytes:
        """The bytes that tell an event."""
        if type(event) is PartDelta and self._head and self._live == (event.choice, event.index):
            return self._delta(event.text)
        if not self._base:
            self._open()
        if not getattr(event, "choice", 0):
            for placed in self._order.feed(event):
                for each in self._lower.feed(placed):
                    self._tell(each)
            self._live = self._order.now if self._free is None else None
        told = b"".join(self._out)
        self._out.clear()
        return told

    def _delta(self, text: str) -> bytes:
        if not text:
            return b""
        self._pieces.append(text)
        number = self.sequence
        self.sequence = number + 1
        return b"%b%b%b%d}\n\n" % (self._head, dumps(text), self._tail, number)

    def _event(self, kind: str, fields: Mapping[str, Any]) -> None:
        told = dumps({"type": kind, **fields, "sequence_number": self.sequence})
        self._out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), told))
        self.sequence += 1

    def _open(self) -> None:
        asked = self._asked
        self._base = {
            "id": f"resp_{self._plain_id}",
            "object": "response",
            "created_at": asked.now,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            **echo(asked.request, asked.model),
        }
        for kind in ("response.created", "response.in_progress"):
            self._event(kind, {"response": self._base})

    def _tell(self, event: Event) -> None:
        if isinstance(event, PartStart):
            self._start(event.part)
        elif isinstance(event, PartDelta):
            self._more(event.text)
        elif isinstance(event, PartEnd):
            self._end(event.signature, event.extras)
        elif isinstance(event, Finish):
            self._finish = event
        elif isinstance(event, Over):
            self._over(event.usage)

    def _start(self, part: Part) -> None:
        self._part, self._pieces = part, []
        self._said = self._said or not isinstance(part, Thinking | Foreign)
        if isinstance(part, Text):
            self._in_message(part.extras)
            self._begin(_TEXT)
            self._more(part.text)
        elif isinstance(part, Refusal):
            self._refused = True
            self._in_message(NONE)
            self._begin(_REFUSAL)
            self._more(part.text)
        elif isinstance(part, Thinking):
            self._add("reasoning", {"summary": []}, part.extras)
            self._more(part.text)
        elif isinstance(part, ToolCall):
            self._call(part)
            self._more(part.arguments)
        elif isinstance(part, Foreign) and part.origin == ORIGIN:
            self._close()
            self._item = dict(part.value)
            self._event("response.output_item.added", self._at_item())
        elif isinstance(part, Media) and part.kind == "image" and part.data:
            fields: dict[str, Any] = {"status": "in_progress", "result": None}
            if (form := part.mime.removeprefix("image/")) in _FORMS:
                fields["output_format"] = form
            self._add("image_generation_call", fields, NONE)
            self._item["result"] = part.data

    def _in_message(self, extras: Extras) -> None:
        """Goes on in the message that is open, unless the part begins one of its own."""
        about = own(extras).get(MESSAGE)
        if about is None and self._item.get("type") == "message":
            return
        fields: dict[str, Any] = {"status": "in_progress", "content": [], "role": "assistant"}
        about = about or {}
        if about.get("phase") is not None:
            fields["phase"] = about["phase"]
        self._add("message", fields, {ORIGIN: about})

    def _call(self, part: ToolCall) -> None:
        tool = self._tools.get(part.name)
        about = own(tool.extras) if tool is not None else {}
        if about.get("type") in _LOCAL:
            self._close()
            return
        namespace = as_text(own(part.extras).get("namespace"))
        namespace = as_text(about.get(NAMESPACE, {}).get("name", namespace))
        custom = part.custom or (tool is not None and tool.custom)
        fields = {"status": "in_progress", "call_id": part.id, "name": bare_name(namespace, part.name)}
        if namespace:
            fields["namespace"] = namespace
        if custom:
            self._add("custom_tool_call", fields | {"input": ""}, part.extras)
            self._begin(_INPUT)
            self._free = None if part.custom else FreeText()
        else:
            self._add("function_call", fields | {"arguments": ""}, part.extras)
            self._begin(_ARGUMENTS)

    def _begin(self, ladder: _Ladder) -> None:
        """Begins the text of a part of the open item."""
        self._ladder = ladder
        item = self._item
        where: dict[str, Any] = {"item_id": item["id"], "output_index": len(self._output)}
        if ladder.place:
            parts = item["summary" if ladder is _SUMMARY else "content"]
            where = {ladder.place: len(parts), **where}
            self._event(f"{ladder.part}.added", {**where, "part": ladder.blank})
        self._where = where
        before = {key: value for key, value in where.items() if key < "delta"}
        after = {key: value for key, value in where.items() if key > "delta"}
        if ladder.logprobs:
            after["logprobs"] = []
        kind = f"{ladder.text}.delta"
        head = dumps({"type": kind, **before})[:-1]
        self._head = b'event: %b\ndata: %b,"delta":' % (kind.encode(), head)
        self._tail = b',%b,"sequence_number":' % dumps(after)[1:-1]

    def _more(self, text: str) -> None:
        if not text:
            return
        if isinstance(self._part, Thinking) and not self._head:
            raw = RAW in own(self._part.extras)
            if raw:
                self._item["content"] = []
            self._begin(_REASONING if raw else _SUMMARY)
        if self._free is not None:
            text = self._free.feed(text)
        if self._head:
            self._out.append(self._delta(text))
        else:
            self._pieces.append(text)

    def _end(self, signature: Signature | None, extras: Extras) -> None:
        part, text = self._part, "".join(self._pieces)
        if isinstance(part, Text | Refusal):
            self._end_content(text, merged(part.extras if isinstance(part, Text) else NONE, extras))
        elif isinstance(part, Thinking):
            self._end_thinking(part, text, signature or part.signature)
        elif isinstance(part, ToolCall):
            self._end_call(part, text)
        self._part, self._ladder = None, _NONE
        self._head = b""

    def _end_content(self, text: str, extras: Extras) -> None:
        told = dict(self._done(text))
        for key in ("annotations", "logprobs"):
            if key in told:
                told[key] = as_list(own(extras).get(key))
        self._event("response.content_part.done", {**self._where, "part": told})
        self._item["content"].append(told)

    def _end_thinking(self, part: Thinking, text: str, signature: Signature | None) -> None:
        item = self._item
        if self._ladder is not _NONE:
            told = self._done(text)
            self._event(f"{self._ladder.part}.done", {**self._where, "part": told})
            item["summary" if self._ladder is _SUMMARY else "content"].append(told)
        if seal := seals.slot(signature, ORIGIN):
            item["encrypted_content"] = seal

    def _end_call(self, part: ToolCall, text: str) -> None:
        if not self._item:
            self._end_local(part, text)
            return
        if self._free is not None:
            text, more = self._free.finish()
            self._free = None
            self._more(more)
        elif self._ladder is _ARGUMENTS and not text:
            text = "{}"
            self._more(text)
        self._done(text)
        self._item[self._ladder.key] = text

    def _end_local(self, part: ToolCall, text: str) -> None:
        """A call of a tool that the client runs. Arguments that are none for it go as those of a function:
        the client says to the model what is wrong."""
        fields = local_call(part.name, text)
        if fields is None:
            call = {"status": "in_progress", "call_id": part.id, "name": part.name, "arguments": ""}
            self._add("function_call", call, NONE)
            self._begin(_ARGUMENTS)
            self._pieces = []
            self._more(text or "{}")
            self._done(text or "{}")
            self._item["arguments"] = text or "{}"
            return
        kind = fields.pop("type")
        self._add(kind, {"status": "in_progress", "call_id": part.id, **fields}, part.extras)

    def _done(self, text: str) -> dict[str, Any]:
        """Tells the whole text of the open part; the part as it is then."""
        ladder = self._ladder
        fields = {**self._where, "logprobs": []} if ladder.logprobs else self._where
        self._event(f"{ladder.text}.done", {**fields, ladder.key: text})
        return {**ladder.blank, ladder.key: text}

    def _add(self, kind: str, fields: Mapping[str, Any], extras: Extras) -> None:
        """Begins an item."""
        self._close()
        known = own(extras).get("id")
        made = f"{_PREFIXES[kind]}{OURS}{self._plain_id}{len(self._output):02x}"
        self._item = {"id": known if isinstance(known, str) and known else made, "type": kind, **fields}
        self._event("response.output_item.added", self._at_item())

    def _at_item(self) -> dict[str, Any]:
        return {"item": self._item, "output_index": len(self._output)}

    def _close(self, status: str = "completed") -> None:
        """Ends the item that is open, if there is one."""
        if not self._item:
            return
        if self._item.get("status") == "in_progress":
            self._item["status"] = status
        self._event("response.output_item.done", self._at_item())
        self._output.append(self._item)
        self._item = {}

    def _over(self, usage: Usage | None) -> None:
        reason, told = self._finish.reason, dict(self._base)
        told["status"] = "completed"
        if reason in _LIMITS or (reason == "refusal" and not self._refused):
            told["status"] = "incomplete"
            why = "max_output_tokens" if reason in _LIMITS else "content_filter"
            told["incomplete_details"] = {"reason": why}
        elif reason == "malformed_call" or (reason == "other" and not self._said):
            message = _MALFORMED if reason == "malformed_call" else _NOTHING.format(self._finish.native)
            told["status"] = "failed"
            told["error"] = {"code": "server_error", "message": message}
        self._close("completed" if told["status"] == "completed" else "incomplete")
        told["output"] = self._output
        if usage is not None:
            told["usage"] = _usage(usage)
            if usage.service_tier in TIERS:
                told["service_tier"] = usage.service_tier
        self.response = told
        self._event(f"response.{told['status']}", {"response": told})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
