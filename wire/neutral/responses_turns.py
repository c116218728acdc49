"""Turns, written as the input items of OpenAI Responses: the reverse of `responses_items`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from wire.jsons import as_text
from wire.neutral.names import fitted
from wire.neutral.parts import Foreign, Media, Part, Refusal, Text, Thinking, ToolCall, ToolResult, Turn
from wire.neutral.requests import CannotHold
from wire.neutral.responses_items import ITEM, MESSAGE, OURS, RAW, SUMMARY
from wire.neutral.responses_tools import ORIGIN, as_list, bare_name, own

_ENDINGS: Final = {"text/plain": "txt", "text/markdown": "md"}
LONGEST_ID: Final = 64


class TurnWriter:
    """Writes the turns of one request. `ours`: it came in this format, and is written as it was; what came in
    another is made to fit. `names` are tools' new names."""

    def __init__(self, *, ours: bool, names: Mapping[str, str]) -> None:
        self._ours = ours
        self._names = names

    def items(self, turn: Turn, number: int) -> list[dict[str, Any]]:
        """The items of a turn: parts of a message together, as long as nothing else stands between. Raises
        CannotHold."""
        items: list[dict[str, Any]] = []
        message: dict[str, Any] | None = None
        behind: list[dict[str, Any]] = []
        for at, part in enumerate(turn.parts):
            where = f"messages.{number}.content.{at}"
            if turn.role == "assistant" and isinstance(part, Media) and not self._ours:
                # A message of the model's cannot hold it: it stands in one of the user's behind it.
                behind.append(self._media(part, where))
                continue
            if turn.role == "assistant" and isinstance(part, Text) and not part.text and not self._ours:
                continue  # a message of nothing (conversion.md, 35)
            content = self._content(part, turn.role, where)
            if content is None:
                message = None
                items += self._item(part, where)
                continue
            if message is None or (isinstance(part, Text) and MESSAGE in own(part.extras)):
                message = _message(turn, part)
                items.append(message)
            message["content"].append(content)
        if behind:
            items.append({"type": "message", "role": "user", "content": behind})
        return items if self._ours else [_plain(item) for item in items]

    def _content(self, part: Part, role: str, where: str) -> dict[str, Any] | None:
        """A part of a message; None for what is an item of its own."""
        if isinstance(part, Text):
            kind = "output_text" if role == "assistant" else "input_text"
            mine = {key: value for key, value in own(part.extras).items() if not key.startswith("@")}
            return {"type": kind, "text": part.text, **mine}
        if isinstance(part, Refusal):
            return {"type": "refusal", "refusal": part.text}
        if isinstance(part, Media):
            return None if ITEM in own(part.extras) else self._media(part, where)
        if isinstance(part, Foreign) and part.origin == ORIGIN and _is_content_type(part):
            return dict(part.value)
        return None

    def _media(self, part: Media, where: str) -> dict[str, Any]:
        mine = {key: value for key, value in own(part.extras).items() if not key.startswith("@")}
        address = part.url or (f"data:{part.mime};base64,{part.data}" if part.data else "")
        if part.file_id and not self._ours:
            raise CannotHold(f"'{where}': another vendor holds the file", param=where)
        told: dict[str, Any]
        if part.kind == "image":
            told = {"type": "input_image", "image_url": address}
            if part.file_id:
                told = {"type": "input_image", "file_id": part.file_id}
            if not self._ours:
                told["detail"] = "auto"  # what it is anyway, but vendors who go by OpenAI's types want it
        elif part.kind == "document":
            told = {"type": "input_file"}
            if part.name or (part.data and not self._ours):
                told["filename"] = part.name or f"document.{_ending(part.mime)}"
            if part.file_id:
                told["file_id"] = part.file_id
            else:
                told["file_url" if part.url else "file_data"] = address
        elif part.kind == "audio" and self._ours:
            if part.url or mine.pop("audio_url", False):
                told = {"type": "input_audio", "audio_url": address}
            else:
                sound = {"audio/mpeg": "mp3"}.get(part.mime, part.mime.removeprefix("audio/"))
                told = {"type": "input_audio", "input_audio": {"data": part.data, "format": sound}}
        else:
            raise CannotHold(f"'{where}': Responses takes no {part.kind}", param=where)
        if part.detail:
            told["detail"] = part.detail
        return told | mine

    def _item(self, part: Part, where: str) -> Iterator[dict[str, Any]]:
        if isinstance(part, ToolCall):
            yield self._call(part)
        elif isinstance(part, ToolResult):
            yield self._output(part, where)
        elif isinstance(part, Thinking):
            yield from _reasoning(part)
        elif isinstance(part, Media):
            yield {**_known(own(part.extras)[ITEM]), "result": part.data}
        elif isinstance(part, Foreign):
            if part.origin != ORIGIN:
                kind = as_text(part.value.get("type")) or "block"
                raise CannotHold(f"'{where}': only {part.origin} understands a {kind}", param=where)
            yield _known(part.value)

    def _call(self, part: ToolCall) -> dict[str, Any]:
        mine = own(part.extras)
        if "type" in mine:  # of a tool that the client runs: it stands there whole
            return _known(mine)
        namespace = as_text(mine.get("namespace"))
        name = self._names.get(part.name, part.name)
        told = {
            "type": "custom_tool_call" if part.custom else "function_call",
            "call_id": call_id(part.id),
            "name": bare_name(namespace, name),
            "input" if part.custom else "arguments": part.arguments or ("" if part.custom else "{}"),
        }
        return told | _known(mine)

    def _output(self, part: ToolResult, where: str) -> dict[str, Any]:
        mine = own(part.extras)
        if "type" in mine:
            return dict(mine)
        told: dict[str, Any] = {
            "type": "custom_tool_call_output" if part.custom else "function_call_output",
            "call_id": call_id(part.call_id),
            "output": self._result(part, where),
        }
        if part.failed:
            told["status"] = "incomplete"
        if part.name and self._ours:
            told["name"] = bare_name(as_text(mine.get("namespace")), part.name)
        return told | _known(mine)

    def _result(self, part: ToolResult, where: str) -> str | list[dict[str, Any]]:
        parts = part.parts
        if not parts:
            return ""
        if len(parts) == 1 and isinstance(parts[0], Text) and not own(parts[0].extras):
            return parts[0].text
        told = []
        for at, each in enumerate(parts):
            content = self._content(each, "user", f"{where}.content.{at}")
            if content is None:
                raise CannotHold(f"'{where}.content.{at}': a result cannot hold it", param=where)
            told.append(content)
        return told


def _message(turn: Turn, first: Part) -> dict[str, Any]:
    about = own(first.extras).get(MESSAGE, {}) if isinstance(first, Text) else {}
    mine = own(turn.extras) if turn.role != "assistant" else {}
    return {"type": "message", "role": turn.role, "content": [], **_known(mine), **_known(about)}


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """The model's words as a string, where they are one text: the longer form wants an id, by OpenAI's
    types."""
    content = item.get("content")
    if item.get("role") == "assistant" and isinstance(content, list) and len(content) == 1:
        (only,) = content
        if only.keys() == {"type", "text"}:
            return {**item, "content": only["text"]}
    return item


def _known(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item without an id that the relay made, and without what the middle keeps for itself."""
    return {
        key: value
        for key, value in item.items()
        if not key.startswith("@") and not (key == "id" and isinstance(value, str) and OURS in value)
    }


def _is_content_type(part: Foreign) -> bool:
    kind = as_text(part.value.get("type"))
    return kind.startswith(("input_", "output_")) or kind in ("computer_screenshot", "encrypted_content")


def _reasoning(part: Thinking) -> Iterator[dict[str, Any]]:
    """A reasoning item, where it is OpenAI's own: others' thoughts do not go back into a prompt
    (conversion.md, 44 and 47)."""
    signature = part.signature
    if signature is None or signature.origin != ORIGIN:
        return
    mine = own(part.extras)
    pieces = as_list(mine.get(SUMMARY)) or ([part.text] if part.text else [])
    told: dict[str, Any] = {"type": "reasoning"}
    if signature.id and OURS not in signature.id:
        told["id"] = signature.id
    raw = RAW in mine
    told["summary"] = [] if raw else [{"type": "summary_text", "text": text} for text in pieces]
    if raw:
        told["content"] = [{"type": "reasoning_text", "text": text} for text in pieces]
    if signature.value:
        told["encrypted_content"] = signature.value
    yield told | _known(mine)


def call_id(text: str) -> str:
    """A call's id as OpenAI takes it: at most 64 characters."""
    return text if 0 < len(text) <= LONGEST_ID else fitted(text, longest=LONGEST_ID)


def attached(items: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without reasoning behind which nothing of the model's stands: OpenAI wants each right before the item
    that it led to."""
    waiting: list[dict[str, Any]] = []
    for item in items:
        if item["type"] == "reasoning":
            waiting.append(item)
            continue
        if item.get("role") == "assistant" or str(item["type"]).endswith("_call"):
            yield from waiting
        waiting.clear()
        yield item


def paired(items: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every call with a result, and every result with its call: what a client lost is said in words, as
    OpenAI refuses the one without the other (conversion.md, 32 and 33)."""
    items = list(items)
    calls = {item["call_id"] for item in items if str(item["type"]).endswith("_call") and "call_id" in item}
    answered = {item["call_id"] for item in items if str(item["type"]).endswith("_output")}
    told: list[dict[str, Any]] = []
    for item in items:
        if str(item["type"]).endswith("_output") and item["call_id"] not in calls:
            title = {"type": "input_text", "text": f"Result of the tool call {item['call_id']}:"}
            content = [title, *_as_content(item["output"])]
            told.append({"type": "message", "role": "user", "content": content})
            continue
        told.append(item)
        if str(item["type"]).endswith("_call") and item.get("call_id", "") in calls - answered:
            told.append(
                {
                    "type": f"{item['type']}_output",
                    "call_id": item["call_id"],
                    "output": "(no result)",
                    "status": "incomplete",
                }
            )
    return told


def _as_content(output: Any) -> list[dict[str, Any]]:
    return output if isinstance(output, list) else [{"type": "input_text", "text": output}]


def _ending(mime: str) -> str:
    """What the name of a file of this type ends with: OpenAI goes by it."""
    return _ENDINGS.get(mime) or mime.rpartition("/")[2] or "pdf"
