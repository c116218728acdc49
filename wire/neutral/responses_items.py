"""The input items of OpenAI Responses, read into turns.

Items that the model made stand one after another in one assistant turn; results of tools in one user turn; a
message of anybody else is a turn of its own. The first text of an assistant's message holds in its bag what
the item said besides (`MESSAGE`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wire.jsons import as_text
from wire.neutral import seals
from wire.neutral.fields import list_at, object_at, text_at, wrong
from wire.neutral.parts import (
    Foreign,
    Media,
    Part,
    Refusal,
    Signature,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from wire.neutral.requests import BuiltIn, Tool
from wire.neutral.responses_tools import (
    FOUND,
    LATER,
    LOCAL,
    ORIGIN,
    bag,
    found_tools,
    joined,
    local_arguments,
    own,
    read_tools,
    rest,
)

OURS: Final = "_aether"
"""What stands in the ids of items that the relay made: no vendor knows them."""
MESSAGE: Final = "@message"
"""In the bag of a message's first text: the item without its content."""
SUMMARY: Final = "@summary"
"""In the bag of thinking: the pieces of a summary that has several."""
RAW: Final = "@raw"
"""In the bag of thinking: its text is the reasoning itself (`content`), not a summary."""
ITEM: Final = "@item"
"""In the bag of a picture that the model made: its item, less the picture."""

PROMPT: Final = "prompt"

_SOUNDS: Final = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_FILE_TYPES: Final = {"pdf": "application/pdf", "txt": "text/plain", "md": "text/markdown", "csv": "text/csv"}
_MODELS_OWN: Final = frozenset(("mcp_list_tools", "mcp_approval_request", "program", "compaction"))


def read_input(
    value: Any, instructions: Any, prompt: Any = None
) -> tuple[tuple[Turn, ...], list[Tool | BuiltIn]]:
    """The turns of `instructions` and `input`, and the tools that stand among its items. A `prompt`, which
    OpenAI keeps, stands behind them. Raises BadRequest."""
    reader = _Reader()
    if instructions is not None:
        text = Text(text_at(instructions, "instructions"))
        reader.turns.append(Turn("system", (text,), extras=bag({"instructions": True})))
    if isinstance(value, str):
        reader.turns.append(Turn("user", (Text(value),)))
    elif value is not None:
        for number, each in enumerate(list_at(value, "input")):
            reader.take(object_at(each, f"input.{number}"), f"input.{number}")
    reader.close()
    if prompt is not None:
        reader.turns.append(Turn("system", (Foreign(ORIGIN, {"type": PROMPT, PROMPT: prompt}),)))
    return tuple(reader.turns), reader.tools


class _Reader:
    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.tools: list[Tool | BuiltIn] = []
        self._said: list[tuple[Part, seals.On]] = []
        """The assistant's parts, each with what its signature is of."""
        self._results: list[Part] = []

    def take(self, item: dict[str, Any], where: str) -> None:
        kind = item.get("type")
        if kind is None:
            kind = "message" if "role" in item else "item_reference"
        kind = text_at(kind, f"{where}.type")
        read = _ITEMS.get(kind)
        if read is not None:
            read(self, item, where)
        elif kind.endswith("_call") or kind in _MODELS_OWN:
            self._say(Foreign(ORIGIN, item))
        else:
            self._result(Foreign(ORIGIN, item))

    def close(self) -> None:
        """Ends the turns that are not whole yet."""
        if self._said:
            self.turns.append(Turn("assistant", seals.restored(self._said)))
            self._said = []
        if self._results:
            self.turns.append(Turn("user", tuple(self._results)))
            self._results = []

    def _say(self, part: Part, on: seals.On = "own") -> None:
        if self._results:
            self.close()
        self._said.append((part, on))

    def _result(self, part: Part) -> None:
        if self._said:
            self.close()
        self._results.append(part)

    def message(self, item: dict[str, Any], where: str) -> None:
        role = item.get("role")
        if role not in ("user", "assistant", "system", "developer"):
            raise wrong(f"{where}.role", "must be user, assistant, system or developer")
        parts = _contents(item.get("content"), f"{where}.content")
        about = rest(item, ("type", "role", "content"))
        if role == "assistant":
            if parts and isinstance(parts[0], Text):
                first = parts[0]
                parts[0] = Text(first.text, extras=bag({**own(first.extras), MESSAGE: about}))
            for part in parts:
                self._say(part)
            return
        self.close()
        if role == "developer":
            about["role"] = role
        self.turns.append(Turn("user" if role == "user" else "system", tuple(parts), extras=bag(about)))

    def call(self, item: dict[str, Any], where: str) -> None:
        custom = item["type"] == "custom_tool_call"
        key = "input" if custom else "arguments"
        name, namespace = text_at(item.get("name"), f"{where}.name"), as_text(item.get("namespace"))
        self._say(
            ToolCall(
                text_at(item.get("call_id"), f"{where}.call_id"),
                joined(namespace, name),
                text_at(item.get(key), f"{where}.{key}"),
                custom=custom,
                extras=bag(rest(item, ("type", "call_id", "name", key))),
            )
        )

    def local_call(self, item: dict[str, Any], where: str) -> None:
        call_id = item.get("call_id")
        if call_id is None:  # one that OpenAI ran itself
            return self._say(Foreign(ORIGIN, item))
        name = LOCAL[item["type"]]
        call = ToolCall(text_at(call_id, f"{where}.call_id"), name, local_arguments(item), extras=bag(item))
        return self._say(call)

    def picture(self, item: dict[str, Any], where: str) -> None:
        if not item.get("result"):
            return self._say(Foreign(ORIGIN, item))
        data = text_at(item["result"], f"{where}.result")
        form = as_text(item.get("output_format")) or "png"
        mime = "image/svg+xml" if form == "svg" else f"image/{form}"
        return self._say(Media("image", mime, data, extras=bag({ITEM: rest(item, ("result",))})))

    def output(self, item: dict[str, Any], where: str) -> None:
        output = item.get("output")
        parts = [Text(output)] if isinstance(output, str) else _contents(output, f"{where}.output")
        self._result(
            ToolResult(
                text_at(item.get("call_id"), f"{where}.call_id"),
                tuple(parts),
                name=joined(as_text(item.get("namespace")), as_text(item.get("name"))),
                failed=item.get("status") == "incomplete",
                custom=item["type"] == "custom_tool_call_output",
                extras=bag(rest(item, ("type", "call_id", "output", "name"))),
            )
        )

    def shell_output(self, item: dict[str, Any], where: str) -> None:
        # The documents say call_id, the client library id.
        call_id = text_at(item.get("call_id") or item.get("id"), f"{where}.call_id")
        text = text_at(item.get("output"), f"{where}.output")
        self._result(ToolResult(call_id, (Text(text),), name="local_shell", extras=bag(item)))

    def search_output(self, item: dict[str, Any], where: str) -> None:
        tools = read_tools(item.get("tools"), f"{where}.tools")
        self._bring(tools, {FOUND: True})
        call_id = item.get("call_id")
        if call_id is None:
            self._result(Foreign(ORIGIN, item))
            return
        text = Text(found_tools(tools))
        call_id = text_at(call_id, f"{where}.call_id")
        self._result(ToolResult(call_id, (text,), name="tool_search", extras=bag(item)))

    def more_tools(self, item: dict[str, Any], where: str) -> None:
        self.close()
        about = {key: value for key, value in item.items() if key != "tools"}
        tools = read_tools(item.get("tools"), f"{where}.tools")
        self._bring(tools, {LATER: {"turn": len(self.turns), "item": about}})

    def _bring(self, tools: list[Tool | BuiltIn], about: dict[str, Any]) -> None:
        known = {tool.name for tool in self.tools if isinstance(tool, Tool)}
        for tool in tools:
            if isinstance(tool, Tool) and tool.name not in known:
                self.tools.append(
                    Tool(
                        tool.name,
                        tool.description,
                        tool.schema,
                        tool.strict,
                        tool.custom,
                        tool.grammar,
                        extras=bag({**own(tool.extras), **about}),
                    )
                )

    def reasoning(self, item: dict[str, Any], where: str) -> None:
        summary = _texts(item.get("summary"), f"{where}.summary")
        content = _texts(item.get("content"), f"{where}.content")
        about = rest(item, ("type", "id", "summary", "content", "encrypted_content"))
        if content and not summary:
            about[RAW] = True
        elif content:
            about["content"] = item["content"]
        pieces = summary or content
        if len(pieces) > 1:
            about[SUMMARY] = pieces
        signature, on = _signature(item, f"{where}.encrypted_content")
        self._say(Thinking("\n\n".join(pieces), signature, bag(about)), on)


def _signature(item: Mapping[str, Any], where: str) -> tuple[Signature | None, seals.On]:
    """Whose the item's seal is. One without, but with an id of OpenAI's, is what OpenAI itself keeps; one
    that the relay told is of a vendor that does not sign."""
    item_id, value = as_text(item.get("id")), item.get("encrypted_content")
    if value is None:
        kept = item_id and OURS not in item_id
        return (Signature(ORIGIN, "", item_id) if kept else None), "own"
    signature, on = seals.opened(text_at(value, where), ORIGIN)
    if signature.origin == ORIGIN and not signature.id:
        signature = Signature(ORIGIN, signature.value, item_id)
    return signature, on


def _texts(value: Any, where: str) -> list[str]:
    if value is None:
        return []
    return [
        text_at(object_at(each, f"{where}.{number}").get("text"), f"{where}.{number}.text")
        for number, each in enumerate(list_at(value, where))
    ]


def _contents(value: Any, where: str) -> list[Part]:
    if isinstance(value, str):
        return [Text(value)]
    return [
        _content(object_at(each, f"{where}.{number}"), f"{where}.{number}")
        for number, each in enumerate(list_at(value, where))
    ]


def _content(part: dict[str, Any], where: str) -> Part:
    read = _CONTENTS.get(text_at(part.get("type"), f"{where}.type"))
    return read(part, where) if read is not None else Foreign(ORIGIN, part)


def _text(part: dict[str, Any], where: str) -> Part:
    return Text(text_at(part.get("text"), f"{where}.text"), extras=bag(rest(part, ("type", "text"))))


def _refusal(part: dict[str, Any], where: str) -> Part:
    return Refusal(text_at(part.get("refusal"), f"{where}.refusal"))


def _image(part: dict[str, Any], where: str) -> Part:
    extras = bag(rest(part, ("type", "image_url", "file_id", "detail")))
    file_id, detail = as_text(part.get("file_id")), as_text(part.get("detail"))
    if file_id:
        return Media("image", file_id=file_id, detail=detail, extras=extras)
    address = text_at(part.get("image_url"), f"{where}.image_url")
    mime, data = data_of(address)
    if data:
        return Media("image", mime, data, detail=detail, extras=extras)
    return Media("image", url=address, detail=detail, extras=extras)


def _file(part: dict[str, Any], where: str) -> Part:
    known = ("type", "file_data", "file_url", "file_id", "filename", "detail")
    name, detail, extras = as_text(part.get("filename")), as_text(part.get("detail")), bag(rest(part, known))
    for key in ("file_id", "file_url", "file_data"):
        if part.get(key) is None:
            continue
        value = text_at(part[key], f"{where}.{key}")
        if key == "file_id":
            return Media("document", file_id=value, name=name, detail=detail, extras=extras)
        if key == "file_url":
            return Media("document", url=value, name=name, detail=detail, extras=extras)
        mime, data = data_of(value)
        if not data:  # bare base64
            mime, data = _FILE_TYPES.get(name.rpartition(".")[2].lower(), _FILE_TYPES["pdf"]), value
        return Media("document", mime, data, name=name, detail=detail, extras=extras)
    raise wrong(where, "must have file_data, file_url or file_id")


def _audio(part: dict[str, Any], where: str) -> Part:
    if "audio_url" in part:
        mime, data = data_of(text_at(part["audio_url"], f"{where}.audio_url"))
        if not data:
            return Media("audio", url=part["audio_url"])
        return Media("audio", mime, data, extras=bag({"audio_url": True}))
    audio = object_at(part.get("input_audio"), f"{where}.input_audio")
    sound = as_text(audio.get("format"))
    data = text_at(audio.get("data"), f"{where}.input_audio.data")
    return Media("audio", _SOUNDS.get(sound, f"audio/{sound}"), data)


def data_of(address: str) -> tuple[str, str]:
    """Type and base64 of a data URL; nothing of another address."""
    head, comma, data = address.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return "", ""
    return head[5:-7], data


_CONTENTS: Final[Mapping[str, Callable[[dict[str, Any], str], Part]]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
}
_ITEMS: Final[Mapping[str, Callable[[_Reader, dict[str, Any], str], None]]] = {
    "message": _Reader.message,
    "function_call": _Reader.call,
    "custom_tool_call": _Reader.call,
    "function_call_output": _Reader.output,
    "custom_tool_call_output": _Reader.output,
    "reasoning": _Reader.reasoning,
    "local_shell_call": _Reader.local_call,
    "tool_search_call": _Reader.local_call,
    "image_generation_call": _Reader.picture,
    "local_shell_call_output": _Reader.shell_output,
    "tool_search_output": _Reader.search_output,
    "additional_tools": _Reader.more_tools,
}
